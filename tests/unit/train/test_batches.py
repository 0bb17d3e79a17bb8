import mmap
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from study.data.packed import middle
from study.train.augmentation import Augmentation, draw_augmentation
from study.train.batches import (
    MEAN,
    READ_AHEAD,
    STD,
    Images,
    Normalize,
    _requests,
    batch_bounds,
    evaluation_batches,
    training_batches,
)
from study.train.samplers import draw_order

CPU = torch.device("cpu")


def pictures(count: int = 4, channels: int = 1, side: int = 32) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(256, (count, channels, side, side), dtype=torch.uint8, generator=generator)


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
        order = draw_order(self.images.labels.numpy(), "shuffle", 0, 1, 9)
        draws = draw_augmentation(augmentation, 50, 32, 0, 1)
        batches = list(training_batches(self.images, order, draws, batch_size, Normalize(CPU)))
        return torch.cat([images for images, _ in batches]), torch.cat([labels for _, labels in batches])

    def test_an_epoch_is_the_images_in_the_drawn_order(self):
        images, labels = self.epoch(Augmentation(), 16)
        order = draw_order(self.images.labels.numpy(), "shuffle", 0, 1, 9)
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

    def test_batches_of_one_image_stay_so(self):
        assert batch_bounds(3, 1) == [(0, 1), (1, 2), (2, 3)]

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
        order = draw_order(self.labels, sampler, 0, 1, 9)
        draws = draw_augmentation(augmentation, 50, 32, 0, 1)
        one, other = (list(training_batches(images, order, draws, 4, Normalize(CPU))) for images in self.both(tmp_path))
        assert len(one) == 13
        for (images, labels), (same_images, same_labels) in zip(one, other, strict=True):
            assert torch.equal(images, same_images) and torch.equal(labels, same_labels)
            assert images.stride() == same_images.stride()
        assert not self.threads()

    def test_the_middle_of_larger_images_is_the_same(self, tmp_path):
        middle_part = middle(self.mapped(tmp_path), 20)
        kinds = [Images.load(middle_part, self.labels, CPU, resident=resident) for resident in (True, False)]
        one, other = (list(training_batches(images, torch.arange(50), None, 4, Normalize(CPU))) for images in kinds)
        for (images, _), (same_images, _) in zip(one, other, strict=True):
            assert images.shape[2:] == (20, 20) and torch.equal(images, same_images)

    def test_the_kernel_is_asked_for_the_images_of_a_batch_and_for_nothing_else(self):
        asked = []

        class Recorded(mmap.mmap):
            def madvise(self, *given: int) -> None:
                asked.append(given)
                super().madvise(*given)

        side, page = 100, mmap.PAGESIZE  # neither an image nor its rows begin at a page
        file = Recorded(-1, 7 + 50 * 3 * side**2)
        pixels = np.ndarray((50, 3, side, side), np.uint8, file, 7)
        for images, edge in ((pixels, 0), (middle(pixels, 80), 10)):
            ask_for = _requests(images)
            assert asked == [(mmap.MADV_RANDOM,)]
            ask_for(np.array([49, 3]))
            for (_, start, length), index in zip(asked[1:], (49, 3), strict=True):
                first = 7 + index * 3 * side**2 + edge * side + edge
                end = 7 + (index + 1) * 3 * side**2 - edge * side - edge
                assert start == first // page * page and start + length == end
            asked.clear()
        assert _requests(np.zeros((2, 3, 4, 4), np.uint8))(np.array([0])) is None

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
