"""What became of a run, in one word, and the facts behind it; `study.compare.outcome_in_words` makes the sentence."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from study.names import COLLAPSED, COMPLETED, DIVERGED, EARLY_STOPPED


@dataclass(frozen=True)
class Ending:
    """What outcome and facts rest on.

    Attributes:
        history: one mapping per finished epoch, with the columns of history.csv.
        only_class: per epoch, the name of the class predicted for every validation image, or None.
        share: weight of each class among the validation images in the loss, adding up to 1.
        best_epoch: epoch of the saved weights; None if they are the initial ones.
        stopped_early: whether early stopping ended the run.
        patience: epochs without improvement after which it does; None for never.
        best_by: what chose the best epoch, a key of `scores.SCORES`.
        best_from_epoch: the first epoch that could be it.
    """

    history: Sequence[Mapping[str, Any]]
    only_class: Sequence[str | None]
    share: Mapping[str, float]
    best_epoch: int | None
    stopped_early: bool
    patience: int | None
    best_by: str
    best_from_epoch: int

    @property
    def only_class_at_best(self) -> str | None:
        """The class that the saved weights predict for every validation image."""
        return self.only_class[self.best_epoch - 1] if self.best_epoch else None


def is_finite(row: Mapping[str, Any]) -> bool:
    """Whether both losses of an epoch are numbers."""
    return math.isfinite(row["train_loss"]) and math.isfinite(row["val_loss"])


def judge(ending: Ending) -> str:
    """Outcome of a finished run, one of `study.names.OUTCOMES`."""
    if not is_finite(ending.history[-1]):
        return DIVERGED
    if ending.only_class[-1] or ending.only_class_at_best:
        return COLLAPSED
    return EARLY_STOPPED if ending.stopped_early else COMPLETED


def facts(ending: Ending) -> dict[str, Any]:
    """What a sentence about the outcome needs and neither history.csv nor the rest of run.json says.

    Returns:
        classes: how many there are.
        only_class: None, or the class that every validation image is called by after the last epoch: its `name`,
            `since` which epoch, its `share` in the validation loss.
        only_class_at_best: None, or the name of the class that the saved weights call every validation image by.
        early_stopping_patience: epochs; None without early stopping.
        best_by, best_from_epoch: what chose the best epoch, and the first that could be it.
    """
    name, since = ending.only_class[-1], len(ending.only_class)
    while since > 1 and ending.only_class[since - 2] == name:
        since -= 1
    return {
        "classes": len(ending.share),
        "only_class": name and {"name": name, "since": since, "share": ending.share[name]},
        "only_class_at_best": ending.only_class_at_best,
        "early_stopping_patience": ending.patience,
        "best_by": ending.best_by,
        "best_from_epoch": ending.best_from_epoch,
    }
