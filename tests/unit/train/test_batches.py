import math
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from study.train.augmentation import Augmentation, augment, draw_augmentation, erase
from study.train.batches import (
    MEAN,
    READ_AHEAD,
    STD,
    Images,
    Normalize,
    batch_bounds,
    evaluation_batches,
    training_batches,
)
from study.train.samplers import draw_order
from study.train.seeds import epoch_seed

CPU = torch.device("cpu")
LABELS = np.repeat([0, 1, 2], [900, 90, 10])


def pictures(count: int = 4, channels: int = 1, side: int = 32) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(256, (count, channels, side, side), dtype=torch.uint8, generator=generator)


def draws_for(augmentation: Augmentation, count: int = 4, side: int = 32):
    draws = draw_augmentation(augmentation, count, side, seed=0, epoch=1)
    assert draws is not None
    return draws


class TestSeeds:
    def test_seed_of_an_epoch_is_the_same_everywhere(self):
        assert epoch_seed(0, 1, "order") == 7869624158837258281

    def test_seeds_do_not_meet(self):
        seeds = {epoch_seed(s, e, p) for s in range(20) for e in range(20) for p in ("order", "dropout")}
        assert len(seeds) == 800
        assert all(0 <= seed < 2**63 for seed in seeds)


class TestOrder:
    def test_shuffle_takes_every_image_once(self):
        order = draw_order(LABELS, "shuffle", seed=0, epoch=1)
        assert order.sort().values.tolist() == list(range(1000))

    def test_balanced_makes_classes_equally_likely(self):
        drawn = np.concatenate([LABELS[draw_order(LABELS, "balanced", 0, epoch)] for epoch in range(30)])
        assert len(drawn) == 30_000
        np.testing.assert_allclose(np.bincount(drawn) / len(drawn), 1 / 3, atol=0.01)

    @pytest.mark.parametrize("sampler", ["shuffle", "balanced"])
    def test_depends_on_seed_and_epoch_alone(self, sampler):
        def order(seed: int, epoch: int) -> list[int]:
            return draw_order(LABELS, sampler, seed, epoch).tolist()

        first = order(0, 5)
        torch.rand(17)  # whatever happened before does not matter
        assert order(0, 5) == first
        assert order(0, 6) != first
        assert order(1, 5) != first


class TestDraws:
    def test_nothing_to_do_is_none(self):
        assert draw_augmentation(Augmentation(), 4, 32, 0, 1) is None

    def test_depend_on_seed_and_epoch_alone_and_not_on_other_switches(self):
        some = draws_for(Augmentation(horizontal_flip=0.5, rotation=10), 100)
        more = draws_for(Augmentation(horizontal_flip=0.5, rotation=10, vertical_flip=0.5, erasing=0.5), 100)
        assert torch.equal(some.horizontal, more.horizontal)
        assert torch.equal(some.affine, more.affine)
        other = draw_augmentation(Augmentation(horizontal_flip=0.5), 100, 32, 0, 2)
        assert not torch.equal(some.horizontal, other.horizontal)

    def test_probabilities_and_ranges(self):
        draws = draws_for(Augmentation(0.25, 0.75, shift=0.1, rotation=20, erasing=0.4), 20_000)
        assert draws.horizontal.float().mean().item() == pytest.approx(0.25, abs=0.015)
        assert draws.vertical.float().mean().item() == pytest.approx(0.75, abs=0.015)
        angle = torch.atan2(draws.affine[:, 1, 0], draws.affine[:, 0, 0])
        assert angle.abs().max().item() == pytest.approx(math.radians(20), rel=1e-2)
        assert draws.affine[:, :, 2].abs().max().item() == pytest.approx(0.2, rel=1e-2)
        top, bottom, left, right = draws.erased.unbind(1)
        assert ((top >= 0) & (top <= bottom) & (bottom <= 32) & (left >= 0) & (left < right) & (right <= 32)).all()
        erased = bottom > top
        assert erased.float().mean().item() == pytest.approx(0.4, abs=0.015)
        area = ((bottom - top) * (right - left))[erased] / 32**2
        assert area.min() > 0.01
        assert 0.30 < area.max() < 0.36


class TestAugment:
    def test_flips(self):
        images = pictures()
        assert torch.equal(augment(images, draws_for(Augmentation(horizontal_flip=1))), images.flip(3))
        assert torch.equal(augment(images, draws_for(Augmentation(vertical_flip=1))), images.flip(2))
        some = draws_for(Augmentation(horizontal_flip=0.5))
        for image, flipped, was in zip(augment(images, some), some.horizontal, images, strict=True):
            assert torch.equal(image, was.flip(2) if flipped else was)

    @pytest.mark.parametrize("channels", [1, 3])
    def test_no_movement_leaves_images_as_they_are(self, channels):
        images = pictures(channels=channels)
        moved = augment(images, draws_for(Augmentation(rotation=1e-9)))
        torch.testing.assert_close(moved, images.float(), atol=1e-2, rtol=0)

    def test_a_shift_by_whole_pixels_moves_pixels_and_repeats_the_border(self):
        images = pictures(1)
        draws = draws_for(Augmentation(shift=1), 1)
        draws.affine[0] = torch.tensor([[1, 0, 2 * 3 / 32], [0, 1, 0]])  # reads 3 pixels further right
        moved = augment(images, draws)
        torch.testing.assert_close(moved[..., :-3], images.float()[..., 3:], atol=1e-2, rtol=0)
        torch.testing.assert_close(moved[..., -3:], images.float()[..., -1:].expand(1, 1, 32, 3), atol=1e-2, rtol=0)

    def test_a_quarter_turn(self):
        images = pictures(1)
        draws = draws_for(Augmentation(rotation=90), 1)
        draws.affine[0] = torch.tensor([[0.0, -1, 0], [1, 0, 0]])
        torch.testing.assert_close(augment(images, draws), images.float().rot90(1, (2, 3)), atol=1e-2, rtol=0)

    def test_erasing_sets_one_rectangle_to_the_mean(self):
        images = torch.ones(2, 3, 32, 32)
        erased = erase(images, torch.tensor([[2, 5, 10, 20], [7, 7, 0, 32]]))
        expected = torch.ones(2, 3, 32, 32)
        expected[0, :, 2:5, 10:20] = 0
        assert torch.equal(erased, expected)


class TestNormalize:
    @pytest.mark.parametrize("channels", [1, 3])
    def test_is_torchvisions(self, channels):
        from torchvision.transforms.functional import normalize

        images = pictures(channels=channels)
        expected = normalize(images.expand(-1, 3, -1, -1).float() / 255, list(MEAN), list(STD))
        result = Normalize(CPU)(images)
        torch.testing.assert_close(result, expected)
        assert result.shape == (4, 3, 32, 32)
        assert result.is_contiguous(memory_format=torch.channels_last)


class TestBatches:
    images = Images(pictures(50), torch.arange(50) % 3)

    def epoch(self, augmentation: Augmentation, batch_size: int) -> tuple[torch.Tensor, torch.Tensor]:
        order = draw_order(self.images.labels.numpy(), "shuffle", 0, 1)
        draws = draw_augmentation(augmentation, 50, 32, 0, 1)
        batches = list(training_batches(self.images, order, draws, batch_size, Normalize(CPU)))
        return torch.cat([images for images, _ in batches]), torch.cat([labels for _, labels in batches])

    def test_an_epoch_is_the_images_in_the_drawn_order(self):
        images, labels = self.epoch(Augmentation(), 16)
        order = draw_order(self.images.labels.numpy(), "shuffle", 0, 1)
        assert torch.equal(labels, self.images.labels[order])
        assert torch.equal(images, Normalize(CPU)(self.images.images[order]))

    def test_the_same_images_at_every_batch_size(self):
        everything = Augmentation(0.5, 0.5, 0.1, 10, 0.5)
        small, large = self.epoch(everything, 7), self.epoch(everything, 50)
        torch.testing.assert_close(small, large)
        assert not torch.equal(large[0], self.epoch(Augmentation(), 50)[0])

    def test_the_last_batch_takes_the_rest_but_never_a_single_image(self):
        assert batch_bounds(10, 4) == [(0, 4), (4, 8), (8, 10)]
        assert batch_bounds(8, 4) == [(0, 4), (4, 8)]
        assert batch_bounds(9, 4) == [(0, 4), (4, 9)]
        assert batch_bounds(1, 4) == [(0, 1)]

    def test_evaluation_keeps_the_order(self, monkeypatch):
        monkeypatch.setattr("study.train.batches.EVALUATION_PIXELS", 20 * 32**2)
        batches = list(evaluation_batches(self.images, Normalize(CPU)))
        assert [len(labels) for _, labels in batches] == [20, 20, 10]
        assert torch.equal(torch.cat([labels for _, labels in batches]), self.images.labels)
        assert torch.equal(torch.cat([images for images, _ in batches]), Normalize(CPU)(self.images.images))

    def test_loading_a_memory_mapped_split_copies_it(self, tmp_path):
        pixels = pictures(3).numpy()
        np.save(tmp_path / "train.npy", pixels)
        mapped = np.load(tmp_path / "train.npy", mmap_mode="r")
        images = Images.load(mapped, np.array([0, 1, 2]), CPU)
        assert images.images.dtype == torch.uint8
        assert images.labels.dtype == torch.int64
        assert torch.equal(images.images, torch.from_numpy(pixels))
        assert len(images) == 3


class TestReadAhead:
    """A split that stays memory-mapped gives the batches of one that is on the device."""

    labels = np.arange(50) % 3

    def mapped(self, folder: Path) -> np.ndarray:
        np.save(folder / "train.npy", pictures(50, channels=3).numpy())
        return np.load(folder / "train.npy", mmap_mode="r")

    def both(self, folder: Path) -> list[Images]:
        kinds = [Images.load(self.mapped(folder), self.labels, CPU, resident=resident) for resident in (True, False)]
        assert [images.resident for images in kinds] == [True, False]
        return kinds

    def threads(self) -> list[str]:
        return [thread.name for thread in threading.enumerate() if thread.name.startswith("read-ahead")]

    @pytest.mark.parametrize("sampler", ["shuffle", "balanced"])
    @pytest.mark.parametrize("augmentation", [Augmentation(), Augmentation(0.5, 0.5, 0.1, 10, 0.5)])
    def test_training_batches_are_the_same(self, tmp_path, sampler, augmentation):
        order = draw_order(self.labels, sampler, 0, 1)
        draws = draw_augmentation(augmentation, 50, 32, 0, 1)
        one, other = (list(training_batches(images, order, draws, 4, Normalize(CPU))) for images in self.both(tmp_path))
        assert len(one) == 13
        for (images, labels), (same_images, same_labels) in zip(one, other, strict=True):
            assert torch.equal(images, same_images) and torch.equal(labels, same_labels)
            assert images.stride() == same_images.stride()
        assert not self.threads()

    def test_evaluation_batches_are_the_same(self, tmp_path, monkeypatch):
        monkeypatch.setattr("study.train.batches.EVALUATION_PIXELS", 20 * 32**2)
        with torch.inference_mode():
            one, other = (list(evaluation_batches(images, Normalize(CPU))) for images in self.both(tmp_path))
        assert [len(labels) for _, labels in other] == [20, 20, 10]
        assert all(torch.equal(x, y) for a, b in zip(one, other, strict=True) for x, y in zip(a, b, strict=True))

    def test_it_reads_a_few_batches_ahead_and_no_more(self, tmp_path, monkeypatch):
        read: list[int] = []
        take = np.take
        monkeypatch.setattr(np, "take", lambda array, indices, **more: read.append(1) or take(array, indices, **more))
        _, images = self.both(tmp_path)
        batches = training_batches(images, torch.arange(50), None, 2, Normalize(CPU))
        next(batches)
        deadline = time.monotonic() + 10
        while len(read) < READ_AHEAD + 1 and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(0.05)
        assert len(read) == READ_AHEAD + 1
        assert len(self.threads()) == 1
        batches.close()
        assert not self.threads()

    def test_an_error_while_reading_reaches_the_training(self, tmp_path, monkeypatch):
        _, images = self.both(tmp_path)

        def fail(*_: object, **__: object) -> None:
            raise OSError("the disk is gone")

        monkeypatch.setattr(np, "take", fail)
        with pytest.raises(OSError, match="the disk is gone"):
            next(training_batches(images, torch.arange(50), None, 2, Normalize(CPU)))
        assert not self.threads()

    def test_the_device_decides_unless_told(self, tmp_path, monkeypatch):
        asked: list[tuple] = []
        monkeypatch.setattr("study.train.devices.fits", lambda *arguments: bool(asked.append(arguments)))
        images = Images.load(self.mapped(tmp_path), self.labels, CPU, gpu_slots=2)
        assert not images.resident
        assert asked == [(50 * 3 * 32 * 32, CPU, 2)]
