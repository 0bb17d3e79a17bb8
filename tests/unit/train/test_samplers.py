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
        draw_order(LABELS, "alphabetical", seed=0, epoch=1)


def test_shuffle_takes_every_image_once():
    order = draw_order(LABELS, "shuffle", seed=0, epoch=1)
    assert order.sort().values.tolist() == list(range(1000))


def test_balanced_makes_classes_equally_likely():
    drawn = np.concatenate([LABELS[draw_order(LABELS, "balanced", 0, epoch)] for epoch in range(30)])
    assert len(drawn) == 30_000
    np.testing.assert_allclose(np.bincount(drawn) / len(drawn), 1 / 3, atol=0.01)


@pytest.mark.parametrize("sampler", SAMPLERS)
class TestEverySampler:
    def test_takes_as_many_images_as_there_are(self, sampler):
        order = draw_order(LABELS, sampler, 0, 1)
        assert order.dtype == torch.int64 and order.device.type == "cpu"
        assert len(order) == len(LABELS) and 0 <= order.min() <= order.max() < len(LABELS)

    def test_depends_on_seed_and_epoch_alone(self, sampler):
        def order(seed: int, epoch: int) -> list[int]:
            return draw_order(LABELS, sampler, seed, epoch).tolist()

        first = order(0, 5)
        torch.rand(17)  # whatever happened before does not matter
        assert order(0, 5) == first
        assert order(0, 6) != first
        assert order(1, 5) != first
