"""The optimizers that the column `optimizer` of a table of recipes names.

To add one of `torch.optim`: its name in the schema (config/schemas/config.schema.yaml, `$defs.recipe`), beside the
columns that only it takes, and its record in OPTIMIZERS. A test compares the two and takes a step with every entry.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from study.recipe import Recipe, column_named
from study.train.parameter_groups import parameter_groups


@dataclass(frozen=True)
class Optimizer:
    """How an optimizer is built.

    Attributes:
        build: of torch.optim.
        takes: the columns of a recipe that it is built with, by their own names ("betas"), which are its arguments'.
        always: further arguments.
        on_cuda: further arguments for a model on a GPU.
        starts: what a tensor of its state begins with, by its name there, where that is not zero; see `graphs`.
    """

    build: type[torch.optim.Optimizer]
    takes: tuple[str, ...]
    always: Mapping[str, Any] = field(default_factory=dict)
    on_cuda: Mapping[str, Any] = field(default_factory=dict)
    starts: Mapping[str, float] = field(default_factory=dict)


# Fused: one kernel for all parameters. Capturable: the count of steps stays on the GPU, as `graphs` needs it.
FUSED, CAPTURABLE = {"fused": True}, {"capturable": True}
ADAMS = ("lr", "weight_decay", "betas", "eps")
OPTIMIZERS = {
    "SGD": Optimizer(torch.optim.SGD, ("lr", "momentum", "weight_decay", "nesterov"), FUSED),
    "Adam": Optimizer(torch.optim.Adam, ADAMS, FUSED, CAPTURABLE),
    "AdamW": Optimizer(torch.optim.AdamW, ADAMS, FUSED, CAPTURABLE),
    "RMSprop": Optimizer(torch.optim.RMSprop, ("lr", "weight_decay", "momentum", "alpha", "eps"), on_cuda=CAPTURABLE),
    "NAdam": Optimizer(torch.optim.NAdam, ADAMS, on_cuda=CAPTURABLE, starts={"mu_product": 1.0}),
    "RAdam": Optimizer(torch.optim.RAdam, ADAMS, on_cuda=CAPTURABLE),
}


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
