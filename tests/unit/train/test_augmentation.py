import math

import pytest
import torch

from study.train.augmentation import Augmentation, augment, draw_augmentation, erase


def pictures(count: int = 4, channels: int = 1, side: int = 32) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(256, (count, channels, side, side), dtype=torch.uint8, generator=generator)


def draws_for(augmentation: Augmentation, count: int = 4, side: int = 32):
    draws = draw_augmentation(augmentation, count, side, seed=0, epoch=1)
    assert draws is not None
    return draws


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
