"""The exponential moving average of a model's weights."""

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


class WeightAverage:
    """A model whose parameters and buffers are averages of another's over its steps, for evaluation.

    w̄ ← decay · w̄ + (1 − decay) · w, the first w̄ being the weights after the first step (Polyak & Juditsky 1992); as
    `torch.optim.swa_utils.AveragedModel` with `use_buffers`, which would wait for a GPU at every update.

    Args:
        model: on its device; its tensors stay where they are.
        decay: above 0, below 1.
        steps: from one update to the next.

    Attributes:
        model: of the averages, in evaluation mode.
    """

    def __init__(self, model: nn.Module, decay: float, steps: int = 1) -> None:
        self.model = copy.deepcopy(model).requires_grad_(False).eval()
        self.steps = steps
        self._taken = 0
        self._average = get_ema_multi_avg_fn(decay)
        self._tensors: dict[torch.dtype, tuple[list[Tensor], list[Tensor]]] = {}
        for ours, theirs in zip(_tensors(self.model), _tensors(model), strict=True):
            pairs = self._tensors.setdefault(ours.dtype, ([], []))
            pairs[0].append(ours)
            pairs[1].append(theirs)

    @torch.no_grad()
    def step(self) -> None:
        """Take one step of the model into account. Waits for nothing."""
        first, due = self._taken == 0, self._taken % self.steps == 0
        self._taken += 1
        for ours, theirs in self._tensors.values() if due else ():
            if first:
                torch._foreach_copy_(ours, theirs)
            else:
                self._average(ours, theirs, None)

    def state_dict(self) -> dict[str, Any]:
        """All that changes from step to step."""
        return {"model": self.model.state_dict(), "taken": self._taken}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state_dict()`."""
        self.model.load_state_dict(state["model"])
        self._taken = state["taken"]


def _tensors(model: nn.Module) -> list[Tensor]:
    return [tensor.detach() for tensor in (*model.parameters(), *model.buffers())]
