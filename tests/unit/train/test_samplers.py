"""The orders of an epoch; what holds for one sampler is tried on every one."""

import numpy as np
import pytest
import torch

from study.recipe import HYPERPARAMETERS
from study.train.samplers import SAMPLERS, draw_order

LABELS = np.repeat([0, 1, 2], [900, 90, 10])


def test_they_are_those_of_the_schema():
    assert tuple(SAMPLERS) == HYPERPARAMETERS["sampler"].choices


def test_an_unknown_name_is_an_error():
    with pytest.raises(KeyError):
        draw_order(LABELS, "alphabetical", 0, 1, 30)


def test_shuffle_takes_every_image_once():
    order = draw_order(LABELS, "shuffle", 0, 1, 30)
    assert order.sort().values.tolist() == list(range(1000))


def shares(sampler: str, epochs: list[int], repeats: int, max_epochs: int = 30) -> np.ndarray:
    """Of each class among the images that are drawn in some epochs, with as many seeds."""
    drawn = [
        LABELS[draw_order(LABELS, sampler, seed, epoch, max_epochs)] for seed in range(repeats) for epoch in epochs
    ]
    counts = np.bincount(np.concatenate(drawn))
    return counts / counts.sum()


def test_balanced_makes_classes_equally_likely():
    np.testing.assert_allclose(shares("balanced", list(range(1, 31)), 1), 1 / 3, atol=0.01)


def test_square_root_draws_a_class_by_the_root_of_its_images():
    roots = np.sqrt([900, 90, 10])
    np.testing.assert_allclose(shares("square_root", list(range(1, 31)), 1), roots / roots.sum(), atol=0.01)


@pytest.mark.parametrize(("epoch", "t_over_T"), [(1, 0.0), (4, 1 / 3), (10, 1.0)])
def test_progressive_moves_from_images_to_classes_that_are_equally_likely(epoch: int, t_over_T: float):
    expected = (1 - t_over_T) * np.array([0.9, 0.09, 0.01]) + t_over_T / 3
    np.testing.assert_allclose(shares("progressive", [epoch], 30, max_epochs=10), expected, atol=0.01)


def test_progressive_leaves_out_a_class_without_images():
    gap = np.repeat([0, 2], [90, 10])
    assert set(gap[draw_order(gap, "progressive", 0, 10, 10)]) == {0, 2}


@pytest.mark.parametrize("sampler", SAMPLERS)
class TestEverySampler:
    def test_takes_as_many_images_as_there_are(self, sampler):
        order = draw_order(LABELS, sampler, 0, 1, 30)
        assert order.dtype == torch.int64 and order.device.type == "cpu"
        assert len(order) == len(LABELS) and 0 <= order.min() <= order.max() < len(LABELS)

    def test_depends_on_seed_and_epoch_alone(self, sampler):
        def order(seed: int, epoch: int) -> list[int]:
            return draw_order(LABELS, sampler, seed, epoch, 30).tolist()

        first = order(0, 5)
        torch.rand(17)  # whatever happened before does not matter
        assert order(0, 5) == first
        assert order(0, 6) != first
        assert order(1, 5) != first
