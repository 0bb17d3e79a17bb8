"""Test-time augmentation beside torchvision's transforms and an average written out."""

import pytest
import torch
from torch import nn
from torchvision import transforms

from study.evaluate.views import VIEWS, log_mean_probabilities
from study.recipe import HYPERPARAMETERS

SIDE = 8
IMAGES = torch.rand(5, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
STORED = torch.rand(5, 3, 11, 11, generator=torch.Generator().manual_seed(2))


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE * SIDE, 4))


def images_for(tta: str) -> torch.Tensor:
    return STORED if VIEWS[tta].crops else IMAGES


def test_the_registry_is_what_the_schema_allows() -> None:
    assert list(VIEWS) == list(HYPERPARAMETERS["evaluation.tta"].choices)


def test_one_view_is_the_network_alone(network: nn.Module) -> None:
    found = log_mean_probabilities(network, VIEWS["none"].of(IMAGES, SIDE))
    torch.testing.assert_close(found, network(IMAGES).log_softmax(dim=1), rtol=0, atol=0)


def test_hflip_is_the_mean_of_the_softmax_over_image_and_mirror_image(network: nn.Module) -> None:
    found = log_mean_probabilities(network, VIEWS["hflip"].of(IMAGES, SIDE))
    expected = (network(IMAGES).softmax(dim=1) + network(IMAGES[..., range(SIDE - 1, -1, -1)]).softmax(dim=1)) / 2
    torch.testing.assert_close(found.exp(), expected)
    mirrored = log_mean_probabilities(network, VIEWS["hflip"].of(IMAGES.flip(3), SIDE))
    torch.testing.assert_close(found, mirrored)  # the mirror image has the same two views


@pytest.mark.parametrize(
    ("tta", "transform"), [("five_crop", transforms.FiveCrop(SIDE)), ("ten_crop", transforms.TenCrop(SIDE))]
)
def test_crops_are_those_of_torchvisions_first_transforms(tta: str, transform: nn.Module, network: nn.Module) -> None:
    views = VIEWS[tta].of(STORED, SIDE)
    expected = [torch.stack(view) for view in zip(*(transform(image) for image in STORED), strict=True)]
    assert len(views) == len(expected)
    for view, other in zip(views, expected, strict=True):
        torch.testing.assert_close(view, other, rtol=0, atol=0)
    mean = sum(network(view).softmax(dim=1) for view in expected) / len(expected)
    torch.testing.assert_close(log_mean_probabilities(network, views).exp(), mean)


@pytest.mark.parametrize("tta", VIEWS)
def test_probabilities_add_up_to_one_and_are_float32(network: nn.Module, tta: str) -> None:
    found = log_mean_probabilities(network, VIEWS[tta].of(images_for(tta), SIDE))
    assert found.dtype == torch.float32 and found.shape == (5, 4)
    torch.testing.assert_close(found.exp().sum(dim=1), torch.ones(5))


@pytest.mark.parametrize("tta", ["none", "hflip"])
def test_a_probability_too_small_for_a_float_keeps_its_logarithm(tta: str) -> None:
    """The softmax of logits 200 apart is 0 in float32; the NLL of such a mistake is 200 nats, not infinity."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE * SIDE, 2))
    with torch.no_grad():
        network[1].weight.zero_()
        network[1].bias.copy_(torch.tensor([0.0, 200.0]))
    assert network(IMAGES).softmax(dim=1)[0, 0] == 0
    assert log_mean_probabilities(network, VIEWS[tta].of(IMAGES, SIDE))[0].tolist() == [-200.0, 0.0]
