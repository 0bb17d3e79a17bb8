"""The optimizers that the column `optimizer` of a table of recipes names.

To add one of `torch.optim`: its name in the schema (config/schemas/config.schema.yaml, `$defs.recipe`), beside the
columns that only it takes, and its record in OPTIMIZERS. A test compares the two and takes a step with every entry.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from study.recipe import Recipe


@dataclass(frozen=True)
class Optimizer:
    """How an optimizer is built.

    Attributes:
        build: of torch.optim.
        takes: the columns of a recipe that it is built with; each is the name of one of its arguments.
        always: further arguments.
        on_cuda: further arguments for a model on a GPU.
    """

    build: type[torch.optim.Optimizer]
    takes: tuple[str, ...]
    always: Mapping[str, Any] = field(default_factory=dict)
    on_cuda: Mapping[str, Any] = field(default_factory=dict)


# Fused: one kernel for all parameters. Capturable: Adam's count of steps stays on the GPU, as `graphs` needs it.
OPTIMIZERS = {
    "SGD": Optimizer(torch.optim.SGD, ("lr", "momentum", "weight_decay", "nesterov"), always={"fused": True}),
    "Adam": Optimizer(torch.optim.Adam, ("lr", "weight_decay"), always={"fused": True}, on_cuda={"capturable": True}),
}


def build_optimizer(recipe: Recipe, model: nn.Module, lr_on_device: bool = False) -> torch.optim.Optimizer:
    """The recipe's optimizer for what is trained of a model, which is on its device already.

    Args:
        lr_on_device: keep the learning rate as a tensor where the model is, float32, see `set_lr`.
    """
    optimizer = OPTIMIZERS[recipe.optimizer]
    columns = {name: recipe.hyperparameters[name] for name in optimizer.takes}
    first = next(model.parameters())
    on_cuda = optimizer.on_cuda if first.is_cuda else {}
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    built = optimizer.build(trained, **columns, **optimizer.always, **on_cuda)
    if lr_on_device:
        for group in built.param_groups:
            group["lr"] = torch.tensor(group["lr"], dtype=torch.float32, device=first.device)
    return built


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Set the learning rate of the next step; one on a device is written in place, and nothing waits for it."""
    for group in optimizer.param_groups:
        if isinstance(group["lr"], torch.Tensor):
            group["lr"].fill_(lr)
        else:
            group["lr"] = lr
