"""Who gets which learning rate and weight decay."""

import pytest
import torch
from small_run import MODEL, RECIPE
from torch import nn

from study.train import models
from study.train.models import ModelSettings, head_of
from study.train.optimizers import build_optimizer, set_lr
from study.train.parameter_groups import layers, parameter_groups


def network(name: str = "vgg11_bn") -> nn.Module:
    return models.build(ModelSettings(name=name, width=0.0625 if "vgg" in name else 1.0), 3, 64, 0)


def by_name(model: nn.Module, **columns) -> dict[str, tuple[float, float]]:
    """The factor on the rate and the weight decay of each parameter."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    groups = parameter_groups(RECIPE.but(optimizer="SGD", weight_decay=0.1, **columns), model)
    return {
        names[id(parameter)]: (group["lr_scale"], group["weight_decay"])
        for group in groups
        for parameter in group["params"]
    }


def test_there_is_one_group_by_default_in_the_models_order():
    model = network()
    (group,) = parameter_groups(RECIPE, model)
    assert list(group) == ["params"]
    assert [id(parameter) for parameter in group["params"]] == [id(parameter) for parameter in model.parameters()]


def test_norm_layers_and_biases_have_a_weight_decay_of_their_own():
    model = network()
    found = by_name(model, norm_weight_decay=0.0)
    assert set(found) == {name for name, _ in model.named_parameters()}
    for path, module in model.named_modules():
        for name, _ in module.named_parameters(recurse=False):
            exempt = isinstance(module, nn.BatchNorm2d) or name == "bias"
            assert found[f"{path}.{name}"] == (1.0, 0.0 if exempt else 0.1)


def test_the_head_has_a_factor_of_its_own():
    found = by_name(network(), head_lr_mult=10.0)
    assert all(scale == (10.0 if name.startswith("head.") else 1.0) for name, (scale, _) in found.items())


def test_the_rate_falls_layer_by_layer():
    """VGG11 has eight convolutions; a batch norm belongs to the one before it."""
    found = by_name(network(), layer_decay=0.5, head_lr_mult=2.0)
    scales = list(dict.fromkeys(scale for scale, _ in found.values()))
    assert scales == [0.5**k for k in range(8, 0, -1)] + [2.0]
    assert found["features.0.weight"][0] == found["features.1.weight"][0] == 0.5**8


@pytest.mark.parametrize(
    ("name", "count", "first", "last"),
    [
        ("resnet18", 9, "conv1.weight", "layer4.1.conv1.weight"),
        ("densenet121", 1 + 58 + 3, "features.conv0.weight", "features.norm5.weight"),
        ("mobilenet_v3_small", 1 + 11 + 1 + 1, "features.0.0.weight", "classifier.0.weight"),
        ("convnext_tiny", 1 + 18 + 3, "features.0.0.weight", "features.7.2.layer_scale"),
        ("swin_t", 1 + 12 + 3, "features.0.0.weight", "norm.weight"),
        ("mnasnet0_5", 3 + 16 + 1, "layers.0.weight", "layers.15.weight"),
        ("vit_b_32", 1 + 12, "encoder.pos_embedding", "encoder.ln.weight"),
    ],
)
def test_layers_of_networks_are_their_blocks(name, count, first, last):
    model = network(name)
    found = layers(model)
    assert len(found) == count
    assert first in found[0] and last in found[-1]
    head = head_of(model)[0]
    names = [name for name, _ in model.named_parameters() if not name.startswith(f"{head}.")]
    assert sorted(name for layer in found for name in layer) == sorted(names)


def test_a_rate_reaches_every_group_by_its_factor():
    model = models.build(MODEL, 3, 32, 0)
    for on_device in (False, True):
        built = build_optimizer(RECIPE.but(head_lr_mult=10.0), model, lr_on_device=on_device)
        held = [group["lr"] for group in built.param_groups]
        set_lr(built, 0.25)
        rates = [group["lr"] for group in built.param_groups]
        assert [float(rate) for rate in rates] == [0.25, 2.5]
        if on_device:
            assert all(rate is before and rate.dtype == torch.float32 for rate, before in zip(rates, held, strict=True))
