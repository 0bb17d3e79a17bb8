"""Test-time augmentation beside torchvision's transforms and an average written out."""

import pytest
import torch
from torch import nn

from study.evaluate.views import VIEWS, mean_probabilities
from study.recipe import HYPERPARAMETERS


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 4))


IMAGES = torch.rand(5, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def test_the_registry_is_what_the_schema_allows() -> None:
    assert list(VIEWS) == list(HYPERPARAMETERS["evaluation.tta"].choices)


def test_one_view_is_the_network_alone(network: nn.Module) -> None:
    torch.testing.assert_close(
        mean_probabilities(network, VIEWS["none"](IMAGES)), network(IMAGES).softmax(dim=1), rtol=0, atol=0
    )


def test_hflip_is_the_mean_of_the_softmax_over_image_and_mirror_image(network: nn.Module) -> None:
    found = mean_probabilities(network, VIEWS["hflip"](IMAGES))
    expected = (network(IMAGES).softmax(dim=1) + network(IMAGES[..., range(7, -1, -1)]).softmax(dim=1)) / 2
    torch.testing.assert_close(found, expected)
    mirrored = mean_probabilities(network, VIEWS["hflip"](IMAGES.flip(3)))
    torch.testing.assert_close(found, mirrored)  # the mirror image has the same two views


@pytest.mark.parametrize("tta", VIEWS)
def test_probabilities_add_up_to_one_and_are_float32(network: nn.Module, tta: str) -> None:
    found = mean_probabilities(network, VIEWS[tta](IMAGES))
    assert found.dtype == torch.float32 and found.shape == (5, 4)
    torch.testing.assert_close(found.sum(dim=1), torch.ones(5))
