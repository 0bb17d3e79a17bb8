"""The optimizers of `torch.optim` that the column `optimizer` of a table of recipes names.

To add one: its name in the schema (config/schemas/config.schema.yaml, `$defs.recipe`), and under `only_with` of the
columns that it takes. Nothing else; tests compare every entry with PyTorch's, and say if its state begins otherwise.
"""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from study.recipe import HYPERPARAMETERS, Recipe, column_named
from study.train.parameter_groups import parameter_groups

ALL_TAKE = ("lr", "weight_decay")
# What a tensor of an optimizer's state begins with, by its name there, where that is not zero.
STARTS = {"NAdam": {"mu_product": 1.0}}


@dataclass(frozen=True)
class Optimizer:
    """How an optimizer is built.

    Attributes:
        build: of torch.optim.
        takes: the columns of a recipe that it is built with, by their own names ("betas"), which are its arguments'.
        always: further arguments.
        on_cuda: further arguments for a model on a GPU.
        starts: as in STARTS; see `graphs`.
    """

    build: type[torch.optim.Optimizer]
    takes: tuple[str, ...]
    always: Mapping[str, Any] = field(default_factory=dict)
    on_cuda: Mapping[str, Any] = field(default_factory=dict)
    starts: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def named(cls, name: str) -> "Optimizer":
        """The one of torch.optim with this name, with the columns that the schema gives it.

        Fused, where there is that: one kernel for all parameters. Capturable, where there is that: the count of steps
        stays on the GPU, as `graphs` needs it.
        """
        build = getattr(torch.optim, name)
        known = inspect.signature(build).parameters
        own = [
            column.key
            for column in HYPERPARAMETERS.values()
            if name in column.node.get("only_with", {}).get("optimizer", ())
        ]
        fused, capturable = ({word: True} if word in known else {} for word in ("fused", "capturable"))
        return cls(build, (*ALL_TAKE, *own), fused, capturable, STARTS.get(name, {}))


OPTIMIZERS = {name: Optimizer.named(name) for name in HYPERPARAMETERS["optimizer"].choices}


def build_optimizer(recipe: Recipe, model: nn.Module, lr_on_device: bool = False) -> torch.optim.Optimizer:
    """The recipe's optimizer for what is trained of a model, which is on its device already.

    Args:
        lr_on_device: keep the learning rate as a tensor where the model is, float32, see `set_lr`.
    """
    optimizer = OPTIMIZERS[recipe.optimizer]
    columns = {name: recipe[column_named(name) or name] for name in optimizer.takes}
    columns = {name: tuple(map(float, v)) if isinstance(v, list) else v for name, v in columns.items()}
    first = next(model.parameters())
    on_cuda = optimizer.on_cuda if first.is_cuda else {}
    built = optimizer.build(parameter_groups(recipe, model), **columns, **optimizer.always, **on_cuda)
    if lr_on_device:
        for group in built.param_groups:
            group["lr"] = torch.tensor(group["lr"], dtype=torch.float32, device=first.device)
    return built


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Set the learning rate of the next step, of each group by its factor.

    One on a device is written in place, and nothing waits for it.
    """
    for group in optimizer.param_groups:
        rate = lr * group.get("lr_scale", 1.0)
        if isinstance(group["lr"], torch.Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate
