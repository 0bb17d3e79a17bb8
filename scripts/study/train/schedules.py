"""How the learning rate moves during a run: the schedules by name, what each does and what is told of it.

A schedule is made of plain data and loads PyTorch only where it is put to work, so the comparison, which has no
PyTorch, asks the same class what a finished run's learning rates mean.

Entry points:
    schedule_of(recipe) -> Schedule                        the schedule of a recipe
    SCHEDULES                                              name in torch.optim.lr_scheduler -> class

To add one: a class like `ReduceLROnPlateau` and its line in SCHEDULES. One that moves by a formula ignores the loss in
`after_epoch`; one that moves within an epoch needs a call of its own from `learner.train_epoch`, before the step that
uses the new rate, and its `drops` are the epochs that are worth a mark, not every fall.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from study.provenance import only_words
from study.recipe import Recipe, listed, lr_text

if TYPE_CHECKING:
    from torch.optim import Optimizer


class Scheduler(Protocol):
    """A schedule at work on the optimizer of one run."""

    def after_epoch(self, val_loss: float) -> None:
        """Set the learning rate of the next epoch."""

    def restart(self) -> None:
        """Forget the losses seen so far: those to come are of another kind."""

    def state_dict(self) -> dict[str, Any]:
        """What has been seen so far, for a checkpoint."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state_dict()`. The learning rate itself is in the optimizer's state."""


class Schedule(ABC):
    """How the learning rate of one recipe moves.

    Args:
        recipe: has the initial learning rate and what else the schedule takes.
    """

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe

    @abstractmethod
    def start(self, optimizer: "Optimizer") -> Scheduler:
        """Put to work on an optimizer that has not taken a step."""

    @abstractmethod
    def floor(self) -> float:
        """The lowest learning rate that a run can reach, however long it is."""

    @abstractmethod
    def drops(self, lr: Sequence[float] | NDArray[np.float64]) -> NDArray[np.int64]:
        """Positions of the epochs that begin with a learning rate lowered enough to mark it in a figure of the run.

        Args:
            lr: learning rate of each epoch, (epochs,).
        """

    @abstractmethod
    def sentences(self, lr: NDArray[np.float64], epochs: NDArray[np.int64]) -> list[str]:
        """What became of the learning rate in a finished run.

        Args:
            lr: learning rate of each epoch, (epochs,).
            epochs: their numbers, (epochs,).
        """


class ReduceLROnPlateau(Schedule):
    """The rate is multiplied by a factor where the validation loss stopped falling; as PyTorch's class of that name.

    Takes `min_lr`, `scheduler_factor`, `scheduler_patience` and `scheduler_eps`.
    """

    def __init__(self, recipe: Recipe) -> None:
        super().__init__(recipe)
        self.factor = float(recipe["training.scheduler_factor"])
        self.eps = float(recipe["training.scheduler_eps"])

    def start(self, optimizer: "Optimizer") -> Scheduler:
        """Put to work on an optimizer that has not taken a step."""
        from torch.optim import lr_scheduler

        plateau = lr_scheduler.ReduceLROnPlateau(
            optimizer,
            mode="min",
            factor=self.factor,
            patience=self.recipe["training.scheduler_patience"],
            min_lr=self.recipe.min_lr,
            eps=self.eps,
        )
        return _StepWithLoss(plateau)

    def floor(self) -> float:
        """Where PyTorch ends: it sets max(lr · factor, min_lr), but only if that is more than `eps` below the lr."""
        lr: float = self.recipe.lr
        while True:
            lower = max(lr * self.factor, self.recipe.min_lr)
            if lr - lower <= self.eps:
                return lr
            lr = lower

    def drops(self, lr: Sequence[float] | NDArray[np.float64]) -> NDArray[np.int64]:
        """Every fall: each is an answer to a plateau."""
        return np.flatnonzero(np.diff(lr) < 0) + 1

    @only_words
    def sentences(self, lr: NDArray[np.float64], epochs: NDArray[np.int64]) -> list[str]:
        """How often the rate fell, whether it reached its floor, and whether `min_lr` is out of reach."""
        recipe, floor = self.recipe, self.floor()
        drops = epochs[self.drops(lr) - 1]
        times = "once" if len(drops) == 1 else f"{len(drops)} times"
        text = (
            f"The lr fell {times}, from {lr_text(lr[0])} to {lr_text(lr[-1])}, after epoch{'s' * (len(drops) > 1)} "
            f"{listed([str(number) for number in drops])}"
            if len(drops)
            else f"The lr stayed at {lr_text(lr[0])}"
        )
        at_floor = epochs[lr <= floor * (1 + 1e-9)]
        if math.isclose(floor, recipe.lr):
            text += " and cannot fall"
        elif len(at_floor):
            count = f"{len(at_floor)} epoch{'s' * (len(at_floor) > 1)}"
            text += f"; {count} at its floor of {lr_text(floor)}, from epoch {at_floor[0]} on"
        else:
            text += f"; its floor of {lr_text(floor)} was not reached"
        said = [f"{text}."]
        if not math.isclose(floor, recipe.min_lr):
            said.append(
                f"The recipe's min_lr of {lr_text(recipe.min_lr)} is never reached: ReduceLROnPlateau ignores "
                f"reductions of eps = {lr_text(self.eps)} or less."
            )
        return said


class _StepWithLoss:
    """A scheduler of PyTorch that is told the validation loss after each epoch."""

    def __init__(self, scheduler: Any) -> None:
        self._scheduler = scheduler
        self.state_dict = scheduler.state_dict
        self.load_state_dict = scheduler.load_state_dict

    def after_epoch(self, val_loss: float) -> None:
        self._scheduler.step(val_loss)

    def restart(self) -> None:
        fresh = {"best": self._scheduler.mode_worse, "num_bad_epochs": 0, "cooldown_counter": 0}
        self._scheduler.load_state_dict(fresh)


SCHEDULES: dict[str, type[Schedule]] = {"ReduceLROnPlateau": ReduceLROnPlateau}


def schedule_of(recipe: Recipe) -> Schedule:
    """The schedule of a recipe; so far there is no column for it."""
    return SCHEDULES["ReduceLROnPlateau"](recipe)
