"""What is trained, in groups of one learning rate and one weight decay."""

from collections.abc import Iterator
from typing import Any

from torch import nn

from study.recipe import Recipe
from study.train.models import head_of

CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


def parameter_groups(recipe: Recipe, model: nn.Module) -> list[dict[str, Any]]:
    """Groups for an optimizer of `torch.optim`: their `params`, `weight_decay` and `lr_scale`, a factor on the rate.

    `training.norm_weight_decay` is that of parameters of one dimension, so of norm layers and of all biases, as in
    timm's `param_groups_weight_decay`. The rate falls by `training.layer_decay` from each layer of `layers` to the one
    before, the head's being the whole one (timm's `--layer-decay`; Bao et al. 2022), and the head's is multiplied by
    `training.head_lr_mult`. Where all of these are at their defaults there is one group, in the model's order.
    """
    norm, decay = recipe["training.norm_weight_decay"], recipe["training.layer_decay"]
    head_mult, head = recipe["training.head_lr_mult"], f"{head_of(model)[0]}."
    trained = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    if norm is None and decay == head_mult == 1:
        return [{"params": list(trained.values())}]
    below = layers(model)
    depths = {name: depth for depth, names in enumerate(below) for name in names}
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in trained.items():
        scale = float(head_mult) if name.startswith(head) else float(decay ** (len(below) - depths[name]))
        weight_decay = norm if norm is not None and parameter.ndim <= 1 else recipe.weight_decay
        groups.setdefault((scale, weight_decay), []).append(parameter)
    return [
        {"params": parameters, "lr_scale": scale, "weight_decay": weight_decay}
        for (scale, weight_decay), parameters in groups.items()
    ]


def layers(model: nn.Module) -> list[list[str]]:
    """The parameters of a backbone by layer, from the input on: names as `named_parameters` has them.

    A layer is the outermost module that neither is a container nor has one of blocks: a convolution of a VGG, a block
    of a ResNet or of a transformer's encoder. Modules without a weight of two dimensions, such as norm layers, belong
    to the layer before, and what comes ahead of the first layer to that.
    """
    found: list[list[str]] = []
    early: list[str] = []
    head = f"{head_of(model)[0]}."
    for module, names in _modules(model, ""):
        kept = [f"{module}{name}" for name, _ in names if not f"{module}{name}".startswith(head)]
        if any(parameter.ndim > 1 for name, parameter in names if f"{module}{name}" in kept) and module:
            found.append(early + kept)
            early = []
        else:
            (found[-1] if found else early).extend(kept)
    return found


def _modules(module: nn.Module, path: str) -> Iterator[tuple[str, list[tuple[str, nn.Parameter]]]]:
    """The parameters of a container itself, then those of each module in it, with the prefix of their names."""
    yield "", [(f"{path}{name}", parameter) for name, parameter in module.named_parameters(recurse=False)]
    for name, child in module.named_children():
        inside = f"{path}{name}."
        if isinstance(child, CONTAINERS) or any(map(_of_blocks, child.children())):
            yield from _modules(child, inside)
        else:
            yield inside, list(child.named_parameters())


def _of_blocks(module: nn.Module) -> bool:
    """Whether it is a container of blocks: of modules of one class, each with modules of its own."""
    parts = list(module.children())
    one_class = len({type(part) for part in parts}) == 1 and not isinstance(parts[0], CONTAINERS)
    return isinstance(module, CONTAINERS) and one_class and all(any(part.children()) for part in parts)
