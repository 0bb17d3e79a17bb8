"""How the learning rate moves during a run: the schedules by name, what each does and what is told of it.

A schedule is made of plain data and loads PyTorch only where it is put to work, so the comparison, which has no
PyTorch, asks the same class what a finished run's learning rates mean.

Entry points:
    schedule_of(recipe, epochs) -> Schedule                the schedule of a recipe
    SCHEDULES                                              name in torch.optim.lr_scheduler -> class

To add one: its name and its keys in the schema (config/schemas/config.schema.yaml, `training.lr_scheduler`), a class
like `ExponentialLR`, which is a formula and a sentence, and its line in SCHEDULES; `bound_with` of the column
`max_epochs` if it depends on how many epochs there are. Tests compare each with PyTorch's of that name, and runs of two
lengths.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from study.provenance import only_words
from study.recipe import Recipe, listed, lr_text
from study.train.scores import monitored


class Scheduler:
    """A schedule at work in one run. By a formula: it has no state, and the rate follows from the step alone.

    Args:
        schedule: of the run's recipe.
    """

    def __init__(self, schedule: "Schedule") -> None:
        self.schedule = schedule

    def lr(self, epoch: int, step: int = 0, steps: int = 1) -> float:
        """The learning rate of one step.

        Args:
            epoch: epochs that are finished.
            step: of the epoch, from 0.
            steps: that an epoch has.
        """
        schedule = self.schedule
        now = epoch + step / steps if schedule.by_step else float(epoch)
        if now < schedule.warm_up:
            return schedule.warm_up_factor(now) * schedule.recipe.lr
        return self._lr(now - schedule.warm_up, steps)

    def _lr(self, now: float, steps: int) -> float:
        """That of a time in epochs since the end of the warm-up."""
        return self.schedule.formula(now, steps)

    def after_epoch(self, epoch: int, value: float) -> None:
        """Take into account what the monitored score is after so many epochs."""

    def restart(self) -> None:
        """Forget the scores seen so far: those to come are of another kind."""

    def state_dict(self) -> dict[str, Any]:
        """What has been seen so far, for a checkpoint."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state_dict()`."""


class Schedule(ABC):
    """How the learning rate of one recipe moves: a warm-up, then a formula.

    Args:
        recipe: has the learning rate and what else the schedule takes.
        epochs: that the run may take; without it those of the recipe.

    Attributes:
        warm_up: how long it is, in epochs.
        by_step: whether the rate moves within an epoch.
        on_device: whether a GPU has the rate in its memory, so that a recorded step goes on with the next one. It is
            float32 there; a rate that seldom changes stays a number, see `study.train.graphs`.
    """

    on_device = True

    def __init__(self, recipe: Recipe, epochs: int | None = None) -> None:
        self.recipe = recipe
        self.epochs = epochs or recipe.max_epochs
        self.warm_up = float(recipe.meant("training.lr_warmup_epochs") or 0)
        self.by_step = recipe["training.lr_interval"] == "step"

    def start(self) -> Scheduler:
        """Put to work in a run that begins."""
        return Scheduler(self)

    def warm_up_factor(self, now: float) -> float:
        """On the learning rate, `now` epochs after the start of the warm-up; as LinearLR and ConstantLR of PyTorch."""
        decay = float(self.recipe["training.lr_warmup_decay"])
        linear = self.recipe["training.lr_warmup_method"] == "linear"
        return decay + (1 - decay) * now / self.warm_up if linear else decay

    @property
    def span(self) -> float:
        """Epochs of the run after the warm-up."""
        return self.epochs - self.warm_up

    @abstractmethod
    def formula(self, now: float, steps: int) -> float:
        """The learning rate `now` epochs after the warm-up, where an epoch has so many steps."""

    def floor(self) -> float:
        """The lowest learning rate after the warm-up that an epoch of a whole run begins with."""
        return min(self.formula(float(now), 1) for now in range(math.ceil(self.span)))

    def drops(self, lr: Sequence[float] | NDArray[np.float64]) -> NDArray[np.int64]:
        """Positions of the epochs that begin with a learning rate lowered enough to mark it in a figure of the run.

        Args:
            lr: learning rate of each epoch, (epochs,).
        """
        return np.array([], dtype=np.int64)

    @only_words
    def sentences(self, lr: NDArray[np.float64], epochs: NDArray[np.int64]) -> list[str]:
        """What became of the learning rate in a finished run.

        Args:
            lr: learning rate of each epoch, (epochs,).
            epochs: their numbers, (epochs,).
        """
        after = epochs > math.ceil(self.warm_up)
        said = []
        if self.warm_up:
            count = f"{self.warm_up:g} epoch{'s' * (self.warm_up != 1)}"
            said = [f"The lr warmed up for {count}, from {lr_text(lr[0])} to {lr_text(self.recipe.lr)}."]
            if not after.any():
                return [f"The run ended before its warm-up of {count} was over."]
        return said + self.told(lr[after], epochs[after])

    @abstractmethod
    def told(self, lr: NDArray[np.float64], epochs: NDArray[np.int64]) -> list[str]:
        """`sentences` about the epochs after the warm-up, at least one."""


class ReduceLROnPlateau(Schedule):
    """The rate is multiplied by a factor where the monitored score stopped improving; as PyTorch's class of that name.

    Takes `min_lr`, `scheduler_factor`, `scheduler_patience`, `scheduler_eps` and `monitor`.
    """

    def __init__(self, recipe: Recipe, epochs: int | None = None) -> None:
        super().__init__(recipe, epochs)
        self.factor = float(recipe["training.scheduler_factor"])
        self.eps = float(recipe["training.scheduler_eps"])
        self.on_device = self.warm_up > 0

    def start(self) -> Scheduler:
        """Put to work in a run that begins."""
        return _Plateau(self)

    def formula(self, now: float, steps: int) -> float:
        """Without a plateau."""
        return float(self.recipe.lr)

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
        return _falls(lr)

    @only_words
    def told(self, lr: NDArray[np.float64], epochs: NDArray[np.int64]) -> list[str]:
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


class _Plateau(Scheduler):
    """PyTorch's plateau scheduler on an optimizer that stands in for the run's and holds nothing but the rate."""

    def __init__(self, schedule: ReduceLROnPlateau) -> None:
        import torch
        from torch.optim import lr_scheduler

        super().__init__(schedule)
        recipe = schedule.recipe
        self._holder = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=recipe.lr)
        self._plateau = lr_scheduler.ReduceLROnPlateau(
            self._holder,
            mode="min" if monitored(recipe).lowest else "max",
            factor=schedule.factor,
            patience=recipe["training.scheduler_patience"],
            min_lr=recipe.min_lr,
            eps=schedule.eps,
        )

    def _lr(self, now: float, steps: int) -> float:
        return float(self._holder.param_groups[0]["lr"])

    def after_epoch(self, epoch: int, value: float) -> None:
        """An epoch that began within the warm-up counts for nothing."""
        if epoch - 1 >= self.schedule.warm_up:
            self._plateau.step(value)

    def state_dict(self) -> dict[str, Any]:
        return {"lr": self._holder.param_groups[0]["lr"], "plateau": self._plateau.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._holder.param_groups[0]["lr"] = state["lr"]
        self._plateau.load_state_dict(state["plateau"])

    def restart(self) -> None:
        """Forget the scores seen so far."""
        self._plateau.load_state_dict({"best": self._plateau.mode_worse, "num_bad_epochs": 0, "cooldown_counter": 0})


class CosineAnnealingLR(Schedule):
    """min_lr + (lr − min_lr) (1 + cos(π t / T)) / 2, T being the epochs after the warm-up.

    Loshchilov & Hutter 2017, SGDR, equation 5 without restarts.
    """

    def formula(self, now: float, steps: int) -> float:
        """The learning rate `now` epochs after the warm-up."""
        lr, low = self.recipe.lr, self.recipe.min_lr
        return float(low + (lr - low) * (1 + math.cos(math.pi * now / self.span)) / 2)

    @only_words
    def told(self, lr: NDArray[np.float64], epochs: NDArray[np.int64]) -> list[str]:
        """How far down the cosine the run came."""
        return [
            f"The lr followed half a cosine from {lr_text(lr[0])} to {lr_text(lr[-1])} in epoch {epochs[-1]}, on its "
            f"way to {lr_text(self.recipe.min_lr)} at the end of epoch {self.epochs}."
        ]


class StepLR(Schedule):
    """lr · gamma^⌊t / step_size⌋."""

    def formula(self, now: float, steps: int) -> float:
        """The learning rate `now` epochs after the warm-up."""
        return float(self.recipe.lr * self.recipe["training.lr_gamma"] ** self.steps_taken(now))

    def steps_taken(self, now: float) -> int:
        """How often the rate was multiplied."""
        return math.floor(now / self.recipe["training.lr_step_size"] + 1e-9)  # 0.3 / 0.1 is less than 3

    def drops(self, lr: Sequence[float] | NDArray[np.float64]) -> NDArray[np.int64]:
        """Every fall."""
        return _falls(lr)

    @only_words
    def told(self, lr: NDArray[np.float64], epochs: NDArray[np.int64]) -> list[str]:
        """How often the rate fell."""
        size, gamma = self.recipe["training.lr_step_size"], self.recipe["training.lr_gamma"]
        return [_fell(lr, epochs, self.drops(lr), f"multiplied by {gamma:g} every {size:g} epochs")]


class MultiStepLR(StepLR):
    """lr · gamma^(milestones that are behind)."""

    def steps_taken(self, now: float) -> int:
        """How often the rate was multiplied."""
        return sum(milestone <= now + 1e-9 for milestone in self.recipe["training.lr_milestones"])

    @only_words
    def told(self, lr: NDArray[np.float64], epochs: NDArray[np.int64]) -> list[str]:
        """How often the rate fell, and the milestones that the run is too short for."""
        milestones, gamma = self.recipe["training.lr_milestones"], self.recipe["training.lr_gamma"]
        said = [_fell(lr, epochs, self.drops(lr), f"multiplied by {gamma:g} at its milestones")]
        beyond = [f"{milestone:g}" for milestone in milestones if milestone >= self.span]
        if beyond:
            some = f"milestone {beyond[0]} is" if len(beyond) == 1 else f"milestones {listed(beyond)} are"
            said.append(f"Its {some} beyond the {self.epochs} epochs that it may take.")
        return said


class ExponentialLR(Schedule):
    """lr · gamma^t."""

    def formula(self, now: float, steps: int) -> float:
        """The learning rate `now` epochs after the warm-up."""
        return float(self.recipe.lr * self.recipe["training.lr_gamma"] ** now)

    @only_words
    def told(self, lr: NDArray[np.float64], epochs: NDArray[np.int64]) -> list[str]:
        """From where to where it fell."""
        return [
            f"The lr was multiplied by {self.recipe['training.lr_gamma']:g} every epoch, from {lr_text(lr[0])} to "
            f"{lr_text(lr[-1])} in epoch {epochs[-1]}."
        ]


class OneCycleLR(Schedule):
    """Half a cosine from lr / div_factor up to lr, another one down to lr / (div_factor · final_div_factor).

    Smith & Topin 2018; two phases counted in steps, as PyTorch's class of that name has them.
    """

    def __init__(self, recipe: Recipe, epochs: int | None = None) -> None:
        super().__init__(recipe, epochs)
        self.by_step = True

    def formula(self, now: float, steps: int) -> float:
        """The learning rate `now` epochs after the start."""
        recipe, last = self.recipe, self.epochs * steps - 1
        start = recipe.lr / recipe["training.div_factor"]
        end, step = start / recipe["training.final_div_factor"], min(round(now * steps), last)
        top = recipe["training.pct_start"] * self.epochs * steps - 1  # the step with the highest rate
        if step < top:
            return float(recipe.lr + (start - recipe.lr) * (1 + math.cos(math.pi * step / top)) / 2)
        return float(end + (recipe.lr - end) * (1 + math.cos(math.pi * (step - top) / (last - top))) / 2)

    @only_words
    def told(self, lr: NDArray[np.float64], epochs: NDArray[np.int64]) -> list[str]:
        """When the highest rate was, and how far down the run came."""
        top = math.ceil(self.recipe["training.pct_start"] * self.epochs)
        way = f"The lr rose from {lr_text(lr[0])}"
        if epochs[-1] < top:
            to_come = f"its highest, {lr_text(self.recipe.lr)}, was to come"
            return [f"{way} to {lr_text(lr[-1])} in epoch {epochs[-1]}; {to_come}."]
        fell = f" and fell to {lr_text(lr[-1])} by epoch {epochs[-1]} of {self.epochs}" if epochs[-1] > top else ""
        return [f"{way} to {lr_text(self.recipe.lr)} in epoch {max(1, top)}{fell}."]


class ConstantLR(Schedule):
    """lr."""

    def formula(self, now: float, steps: int) -> float:
        """The learning rate."""
        return float(self.recipe.lr)

    @only_words
    def told(self, lr: NDArray[np.float64], epochs: NDArray[np.int64]) -> list[str]:
        """That it stayed."""
        return [f"The lr stayed at {lr_text(lr[-1])}, as its schedule is constant."]


def _falls(lr: Sequence[float] | NDArray[np.float64]) -> NDArray[np.int64]:
    """Positions of the epochs that begin with a lower learning rate than the one before."""
    return np.flatnonzero(np.diff(lr) < 0) + 1


@only_words
def _fell(lr: NDArray[np.float64], epochs: NDArray[np.int64], drops: NDArray[np.int64], how: str) -> str:
    if not len(drops):
        return f"The lr stayed at {lr_text(lr[-1])}, to be {how}."
    after = listed([str(number) for number in epochs[drops - 1]])
    return f"The lr was {how}: from {lr_text(lr[0])} to {lr_text(lr[-1])}, after epoch{'s' * (len(drops) > 1)} {after}."


SCHEDULES: dict[str, type[Schedule]] = {
    "ReduceLROnPlateau": ReduceLROnPlateau,
    "CosineAnnealingLR": CosineAnnealingLR,
    "StepLR": StepLR,
    "MultiStepLR": MultiStepLR,
    "ExponentialLR": ExponentialLR,
    "OneCycleLR": OneCycleLR,
    "ConstantLR": ConstantLR,
}


def schedule_of(recipe: Recipe, epochs: int | None = None) -> Schedule:
    """The schedule of a recipe.

    Args:
        epochs: that the run may take; without it those of the recipe.
    """
    return SCHEDULES[recipe["training.lr_scheduler"]](recipe, epochs)
