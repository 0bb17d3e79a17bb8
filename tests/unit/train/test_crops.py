"""Random crops, beside torchvision's own."""

import pytest
import torch
from scipy import stats

from study.train.augmentation import Augmentation, augment, draw_augmentation
from study.train.crops import crop, draw_crops, draw_resized_crops


def pictures(count: int = 6, channels: int = 3, side: int = 40) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(256, (count, channels, side, side), dtype=torch.uint8, generator=generator)


class TestResizedCrops:
    @pytest.mark.parametrize(
        ("scale", "ratio"), [((0.08, 1), (0.75, 1.3333)), ((0.8, 1), (1, 1)), ((0.9, 1), (0.5, 2))]
    )
    def test_are_distributed_as_torchvisions(self, scale, ratio):
        from torchvision.transforms.v2 import RandomResizedCrop

        torch.manual_seed(0)
        transform, image = RandomResizedCrop(32, scale, ratio), torch.zeros(3, 40, 40)
        theirs = torch.tensor([list(transform.make_params([image]).values()) for _ in range(2000)]).double()
        ours = draw_resized_crops(scale, ratio, 2000, 40, seed=0, epoch=1).double()
        assert torch.equal(ours, ours.round())
        assert (ours[:, :2] >= 0).all() and (ours[:, :2] + ours[:, 2:] <= 40).all() and (ours[:, 2:] >= 1).all()
        for measure in (lambda b: b[:, 0], lambda b: b[:, 1], lambda b: b[:, 2] * b[:, 3], lambda b: b[:, 3] / b[:, 2]):
            assert stats.ks_2samp(measure(ours).numpy(), measure(theirs).numpy(), method="asymp").pvalue > 0.001

    @pytest.mark.parametrize("ratio", [(3, 4), (0.2, 0.3), (0.5, 2)])
    def test_where_nothing_fits_it_is_torchvisions_fallback(self, ratio):
        from torchvision.transforms.v2 import RandomResizedCrop

        transform = RandomResizedCrop(32, (1, 1), ratio)
        torch.manual_seed(1)
        theirs = {tuple(transform.make_params([torch.zeros(3, 41, 41)]).values()) for _ in range(5)}
        ours = draw_resized_crops((1, 1), ratio, 20, 41, seed=0, epoch=1)
        assert {tuple(map(int, box)) for box in ours.tolist()} == theirs

    @pytest.mark.parametrize("channels", [1, 3])
    @pytest.mark.parametrize("side", [24, 40, 64])
    def test_pixels_are_torchvisions_with_antialias(self, channels, side):
        from torchvision.transforms.v2.functional import resized_crop

        images = pictures(30, channels).float()
        boxes = draw_resized_crops((0.08, 1), (0.75, 1.3333), 30, 40, seed=0, epoch=1)
        boxes[0] = torch.tensor([0, 0, 40, 40])
        found = crop(images, boxes, side)
        for image, box, cut in zip(images, boxes.int().tolist(), found, strict=True):
            expected = resized_crop(image, *box, size=[side, side], antialias=True)
            torch.testing.assert_close(cut, expected, atol=1e-3, rtol=0)


class TestCropsAfterPadding:
    @pytest.mark.parametrize(("padding", "side"), [(4, 40), (0, 32), (3, 32)])
    def test_every_place_is_drawn_alike(self, padding, side):
        boxes = draw_crops(padding, 20_000, 40, side, seed=0, epoch=1).int()
        assert (boxes[:, 2:] == side).all()
        for places in boxes[:, :2].unbind(1):
            count = torch.bincount(places + padding)
            assert len(count) == 40 + 2 * padding - side + 1
            assert stats.chisquare(count.numpy()).pvalue > 0.001

    @pytest.mark.parametrize(("padding", "side"), [(4, 40), (0, 32), (3, 32)])
    def test_pixels_are_torchvisions_exactly(self, padding, side):
        from torchvision.transforms.v2.functional import crop as cut
        from torchvision.transforms.v2.functional import pad

        images, boxes = pictures(20), draw_crops(padding, 20, 40, side, seed=0, epoch=1)
        for image, box, found in zip(images, boxes.int().tolist(), crop(images, boxes, side), strict=True):
            expected = cut(pad(image, padding), box[0] + padding, box[1] + padding, side, side)
            assert torch.equal(found, expected.float())


def test_switching_a_crop_on_moves_no_other_draw():
    plain = draw_augmentation(Augmentation(horizontal_flip=0.5, erasing=0.5), 50, 32, 0, 1)
    for switched in ({"crop_padding": 4}, {"random_resized_crop": [0.08, 1.0]}):
        draws = draw_augmentation(Augmentation(horizontal_flip=0.5, erasing=0.5, **switched), 50, 32, 0, 1)
        assert torch.equal(draws.horizontal, plain.horizontal) and torch.equal(draws.erased, plain.erased)
        assert plain.boxes is None and draws.boxes.shape == (50, 4)


def test_crops_come_out_of_the_stored_image_at_the_networks_size():
    images = pictures(side=40)
    for switched in ({"random_crop": True}, {"crop_padding": 2}, {"random_resized_crop": [0.08, 1.0]}):
        draws = draw_augmentation(Augmentation(horizontal_flip=1, **switched), 6, 32, 0, 1, stored=40)
        assert augment(images, draws, 32).shape == (6, 3, 32, 32)
        assert torch.equal(augment(images, draws, 32), crop(images, draws.boxes, 32).flip(3))


def test_lists_of_the_configuration_switch_nothing_on_by_themselves():
    assert draw_augmentation(Augmentation(crop_ratio=[0.75, 1.3333]), 6, 32, 0, 1) is None
