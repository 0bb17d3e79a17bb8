"""Every operation beside torchvision.transforms.v2's, image by image."""

import math
from collections import Counter

import pytest
import torch
from scipy import stats
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from study.train import operations
from study.train.augmentation import Augmentation, augment, draw_augmentation
from study.train.operations import BINS, JITTER, KERNEL_NAMES, POLICY, Operations, draw_jitter, draw_policy, operate

POLICIES = {"ta_wide": v2.TrivialAugmentWide, "ra": v2.RandAugment}
# Operations with arithmetic whose last rounding may go the other way: at most one of 255, in so many pixels.
ROUNDED = 0.01


def pictures(count: int, channels: int = 3, side: int = 48) -> torch.Tensor:
    """Smooth and noisy ones, and one of a single colour."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randint(256, (count, channels, 6, 6), generator=generator).float()
    smooth = torch.nn.functional.interpolate(coarse, size=side, mode="bilinear")
    noise = torch.randint(-20, 21, smooth.shape, generator=generator)
    images = (smooth + noise).clamp(0, 255).to(torch.uint8)
    images[0] = 77
    return images


def alike(found: torch.Tensor, expected: torch.Tensor, exactly: bool) -> bool:
    difference = (found.int() - expected.int()).abs()
    return bool(difference.max() <= (0 if exactly else 1) and (difference > 0).double().mean() <= ROUNDED)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("name", POLICY)
@pytest.mark.parametrize("channels", [1, 3])
def test_every_operation_bin_and_sign_is_torchvisions(policy, name, channels):
    theirs = POLICIES[policy]()
    side = 48
    of_bins, signed = theirs._AUGMENTATION_SPACE[name]
    magnitudes = of_bins(BINS, side, side)
    values, matrices = operations._tables(operations.space_of(policy, side), side)
    cases = [(place, sign) for place in range(BINS) for sign in (0, 1)]
    row = list(POLICY).index(name)
    kernels = torch.full((len(cases), 1), KERNEL_NAMES.index(POLICY[name]))
    chosen = tuple(zip(*cases, strict=True))
    drawn = Operations(kernels, kernels, values[row][chosen][:, None], matrices[row][chosen][:, None])
    images = pictures(len(cases), channels, side)
    for image, found, (place, minus) in zip(images, operate(images, drawn), cases, strict=True):
        magnitude = 0.0 if magnitudes is None else float(magnitudes[place])
        magnitude *= -1 if signed and minus else 1
        expected = theirs._apply_image_or_video_transform(
            image, name, magnitude, interpolation=theirs.interpolation, fill=theirs._fill
        )
        assert alike(found, expected, exactly=name not in ("Brightness", "Color", "Contrast", "Sharpness")), place


def test_the_operations_are_those_of_torchvision():
    for policy in POLICIES.values():
        assert set(policy._AUGMENTATION_SPACE) == set(POLICY)


class TestPolicies:
    def test_trivial_augment_draws_operation_bin_and_sign_alike(self):
        drawn = draw_policy("ta_wide", 48, 14_000, 1, None, seed=0, epoch=1)
        counts = Counter(drawn.kernels.flatten().tolist())
        moves = counts.pop(KERNEL_NAMES.index("Move"))
        assert stats.chisquare([moves / 5, *counts.values()]).pvalue > 0.001 and len(counts) == 9
        bright = drawn.values[drawn.kernels == KERNEL_NAMES.index("Brightness")]
        assert len(bright.unique()) == 2 * BINS - 1
        assert (bright > 1).double().mean().item() == pytest.approx(30 / 62, abs=0.05)

    def test_rand_augment_draws_its_steps_at_one_magnitude(self):
        drawn = draw_policy("ra", 48, 3000, 3, 9, seed=0, epoch=1)
        assert drawn.kernels.shape == (3000, 3)
        bright = drawn.values[drawn.kernels == KERNEL_NAMES.index("Brightness")]
        assert sorted(bright.unique().tolist()) == pytest.approx([1 - 0.27, 1 + 0.27])

    def test_steps_follow_each_other(self):
        images = pictures(40)
        both = draw_policy("ra", 48, 40, 2, 20, seed=0, epoch=1)
        steps = [
            Operations(both.kernels[:, k : k + 1], both.kernels[:, k : k + 1], both.values[:, k : k + 1],
                       both.matrices[:, k : k + 1])
            for k in range(2)
        ]  # fmt: skip
        assert torch.equal(operate(images, both), operate(operate(images, steps[0]), steps[1]))


class TestColours:
    @pytest.mark.parametrize("channels", [1, 3])
    @pytest.mark.parametrize("ranges", [(0.4, 0.4, 0.4), (0.8, 0.5, 1.5, 0.5), (0.0, 0.3, 0.0, 0.1)])
    def test_jitter_is_torchvisions_for_the_same_order_and_factors(self, channels, ranges):
        images = pictures(60, channels)
        drawn = draw_jitter(ranges, 60, seed=0, epoch=1)
        apply = {
            "Brightness": functional.adjust_brightness,
            "Contrast": functional.adjust_contrast,
            "Color": functional.adjust_saturation,
            "Hue": functional.adjust_hue,
        }
        for step in range(drawn.kernels.shape[1]):  # one by one, as the next would make more of a rounding
            one = Operations(*(part[:, step : step + 1] for part in (drawn.planned, drawn.kernels, drawn.values)))
            found = operate(images, one)
            for image, after, kernel, value in zip(images, found, one.kernels[:, 0], one.values[:, 0], strict=True):
                assert alike(after, apply[KERNEL_NAMES[kernel]](image, value.item()), exactly=False)
            images = found

    def test_factors_and_orders_are_distributed_as_torchvisions(self):
        ranges = (0.4, 1.5, 0.2, 0.1)
        drawn = draw_jitter(ranges, 4000, seed=0, epoch=1)
        transform = v2.ColorJitter(*ranges)
        bounds = (transform.brightness, transform.contrast, transform.saturation, transform.hue)
        for name, (low, high) in zip(JITTER, bounds, strict=True):
            factors = drawn.values[drawn.kernels == KERNEL_NAMES.index(name)]
            assert stats.kstest(factors.numpy(), stats.uniform(low, high - low).cdf).pvalue > 0.001
        orders = Counter(tuple(order) for order in drawn.kernels.tolist())
        assert len(orders) == math.factorial(4) and stats.chisquare(list(orders.values())).pvalue > 0.001

    def test_grayscale_is_torchvisions(self):
        images = pictures(200)
        draws = draw_augmentation(Augmentation(grayscale=0.3), 200, 48, 0, 1)
        found = augment(images, draws)
        gray = draws.operations.kernels[:, 0] == KERNEL_NAMES.index("Grayscale")
        assert gray.double().mean().item() == pytest.approx(0.3, abs=0.1)
        assert torch.equal(found[gray], functional.rgb_to_grayscale(images[gray], num_output_channels=3))
        assert torch.equal(found[~gray], images[~gray])
        assert torch.equal(augment(images[:, :1], draws), images[:, :1])


EVERYTHING = {"auto_augment": "ra", "color_jitter": [0.4, 0.4, 0.4, 0.1], "grayscale": 0.2}


def test_operations_depend_on_the_position_alone_and_not_on_the_batch():
    images, draws = pictures(60), draw_augmentation(Augmentation(**EVERYTHING), 60, 48, 0, 1)
    whole = augment(images, draws)
    parts = [augment(images[part], draws[part]) for part in (slice(0, 7), slice(7, 8), slice(8, 60))]
    assert torch.equal(whole, torch.cat(parts))
    assert not torch.equal(whole, images)


def test_one_switch_moves_no_draw_of_another():
    both = draw_augmentation(Augmentation(**EVERYTHING), 60, 48, 0, 1).operations
    start = 0
    for name, value in EVERYTHING.items():
        alone = draw_augmentation(Augmentation(**{name: value}), 60, 48, 0, 1).operations
        end = start + alone.kernels.shape[1]
        assert torch.equal(both.kernels[:, start:end], alone.kernels)
        assert torch.equal(both.values[:, start:end], alone.values)
        start = end


def test_what_was_moved_before_is_rounded_to_whole_numbers():
    images, draws = pictures(5), draw_augmentation(Augmentation(shift=0.1, auto_augment="ta_wide"), 5, 48, 0, 1)
    assert augment(images, draws).dtype == torch.uint8
