"""What planning knows of torchvision's classifiers, compared with these."""

import pytest
import torch
from torch import nn

from study.networks import NETWORKS, problems
from study.train import models

# take one size alone, return several outputs, or have no linear layer at the end
UNSUITABLE = ("vit_", "maxvit", "inception", "googlenet", "squeezenet")
SMALL = (
    *("alexnet", "convnext_tiny", "densenet121", "efficientnet_b0", "mnasnet0_5", "mobilenet_v2", "mobilenet_v3_small"),
    *("regnet_y_400mf", "resnet18", "resnet50", "shufflenet_v2_x0_5", "swin_t", "vgg11", "vgg11_bn"),
)  # one of each family


def test_every_classifier_is_known() -> None:
    import torchvision.models

    names = torchvision.models.list_models(module=torchvision.models)
    assert sorted(NETWORKS) == sorted(name for name in names if not name.startswith(UNSUITABLE))


def trains(network: nn.Module, batch: int, size: int) -> bool:
    """Whether a training step's forward pass is possible; on the meta device it takes neither time nor memory."""
    try:
        network.train()(torch.zeros(batch, 3, size, size, device="meta"))
    except (RuntimeError, ValueError):
        return False
    return True


@pytest.mark.parametrize("name", SMALL)
def test_the_smallest_images_are_the_smallest_that_it_trains_on(name: str) -> None:
    settings = models.ModelSettings(name, head_hidden=8)
    with torch.device("cpu" if name.startswith("regnet") else "meta"):  # drawing the weights of regnet needs values
        network = models._vgg(settings, 3) if name in models.VGG else models._torchvision(settings, 3)
    network = network.to("meta")
    known = NETWORKS[name]
    for batch, least in ((2, known.least), (1, known.least_alone)):
        assert trains(network, batch, least)
        assert least == 8 or not trains(network, batch, least - 1)


def test_a_name_that_is_close_and_one_that_is_not() -> None:
    assert [*problems("vgg19", 0.25, 32), *problems("resnet18", 1, 8)] == []
    for name, words in (("vg19", "did you mean vgg19"), ("bert", "allowed: alexnet, convnext_base, ")):
        [(column, found, rule)] = problems(name, 1, 32)
        assert (column, found) == ("model.name", repr(name)) and rule.startswith(words)
