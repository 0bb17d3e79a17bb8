"""Mixup and CutMix, image by image as torchvision does them for a batch."""

import pytest
import torch
from scipy import stats

from study.train.mixing import Mixes, draw_mixing, mix


def drawn(mixup_alpha: float, cutmix_alpha: float, count: int = 8, epoch: int = 1) -> Mixes:
    mixes = draw_mixing(mixup_alpha, cutmix_alpha, count, side=32, seed=0, epoch=epoch)
    assert mixes is not None
    return mixes


def batch(count: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(count, 3, 32, 32, generator=generator), torch.arange(count) % 3


class TestDraws:
    def test_without_alphas_nothing_is_mixed(self):
        assert draw_mixing(0, 0, 4, 32, 0, 1) is None

    @pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
    def test_shares_are_of_the_beta_distribution(self, alpha):
        share = drawn(alpha, 0, 5000).share
        assert stats.kstest(share.double().numpy(), stats.beta(alpha, alpha).cdf).pvalue > 0.01

    def test_a_box_has_its_share_and_lies_inside(self):
        mixes = drawn(0, 1.0, 5000)
        top, bottom, left, right = mixes.box.unbind(1)
        assert ((top >= 0) & (top <= bottom) & (bottom <= 32) & (left >= 0) & (left <= right) & (right <= 32)).all()
        assert torch.equal(mixes.share, 1 - (bottom - top) * (right - left) / 32**2)
        assert torch.equal(mixes.blend, torch.ones(5000))

    def test_with_both_an_image_is_mixed_in_one_way_half_of_the_time_each(self):
        both, mixed, cut = drawn(4.0, 1.0, 5000), drawn(4.0, 0, 5000), drawn(0, 1.0, 5000)
        is_cut = both.blend == 1
        assert is_cut.float().mean().item() == pytest.approx(0.5, abs=0.03)
        # either way as without the other: one switch does not move the draws of the other
        for part in ("blend", "share"):
            assert torch.equal(getattr(both, part)[~is_cut], getattr(mixed, part)[~is_cut])
            assert torch.equal(getattr(both, part)[is_cut], getattr(cut, part)[is_cut])
        assert torch.equal(both.box[is_cut], cut.box[is_cut]) and not both.box[~is_cut].any()

    def test_depend_on_seed_and_epoch(self):
        assert torch.equal(drawn(1, 1).share, drawn(1, 1).share)
        assert not torch.equal(drawn(1, 1).share, drawn(1, 1, epoch=2).share)


class TestMix:
    def torchvisions(self, transform, images, labels, **params) -> tuple[torch.Tensor, torch.Tensor]:
        """What the transform makes of a batch with these parameters: images and, per class, the shares of labels."""
        params |= {"batch_size": len(images), "labels": labels}
        return transform.transform(images, params), transform.transform(labels, params)

    def soft(self, labels, others, share) -> torch.Tensor:
        one, other = (torch.nn.functional.one_hot(part, 3) * 1.0 for part in (labels, others))
        return one * share[:, None] + other * (1 - share[:, None])

    def test_mixup_is_torchvisions(self):
        from torchvision.transforms.v2 import MixUp

        images, labels = batch()
        mixes = drawn(0.4, 0)
        mixed, *of_labels = mix(images, labels, mixes)
        for place, share in enumerate(mixes.share.tolist()):
            expected, shares = self.torchvisions(MixUp(num_classes=3), images, labels, lam=share)
            torch.testing.assert_close(mixed[place], expected[place])
            torch.testing.assert_close(self.soft(*of_labels)[place], shares[place])

    def test_cutmix_is_torchvisions(self):
        from torchvision.transforms.v2 import CutMix

        images, labels = batch()
        mixes = drawn(0, 1.0)
        mixed, *of_labels = mix(images, labels, mixes)
        for place, (top, bottom, left, right) in enumerate(mixes.box.tolist()):
            params = {"box": (left, top, right, bottom), "lam_adjusted": mixes.share[place].item()}
            expected, shares = self.torchvisions(CutMix(num_classes=3), images, labels, **params)
            assert torch.equal(mixed[place], expected[place])
            torch.testing.assert_close(self.soft(*of_labels)[place], shares[place])

    def test_boxes_are_drawn_as_torchvision_draws_them(self, monkeypatch):
        """From the same share and place, the same box and share of the label."""
        from torchvision.transforms.v2 import CutMix

        from study.train import mixing

        for share in (0.0, 0.1, 0.37, 0.9, 1.0):
            for place in ((0, 0), (31, 5), (16, 16)):
                transform = CutMix(num_classes=3)
                monkeypatch.setattr(transform._dist, "sample", lambda shape, value=share: torch.tensor(value))
                drawn_places = iter([torch.tensor([place[1]]), torch.tensor([place[0]])])
                with monkeypatch.context() as patch:
                    patch.setattr(torch, "randint", lambda *_, values=drawn_places, **__: next(values))
                    params = transform.make_params([torch.zeros(2, 3, 32, 32)])
                (top, bottom, left, right), *_ = mixing._boxes(
                    torch.tensor([share]), torch.tensor(place)[:, None], 32
                ).tolist()
                assert (left, top, right, bottom) == params["box"]

    def test_a_batch_keeps_its_memory_format(self):
        images, labels = batch()
        images = images.contiguous(memory_format=torch.channels_last)
        mixed, *_ = mix(images, labels, drawn(0.2, 1.0))
        assert mixed.stride() == images.stride()
