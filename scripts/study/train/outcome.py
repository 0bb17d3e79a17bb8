"""What became of a run, in one word and one sentence."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Ending:
    """What the verdict rests on.

    Attributes:
        history: one mapping per finished epoch, with the columns of history.csv.
        only_class: per epoch, the name of the class predicted for every validation image, or None.
        share: weight of each class among the validation images in the loss, adding up to 1.
        best_epoch: epoch of the saved weights; None if they are the initial ones.
        stopped_early: whether early stopping ended the run.
        patience: epochs without improvement that ended it.
        double_softmax: whether the loss was computed on softmax outputs.
    """

    history: Sequence[Mapping[str, Any]]
    only_class: Sequence[str | None]
    share: Mapping[str, float]
    best_epoch: int | None
    stopped_early: bool
    patience: int
    double_softmax: bool


def is_finite(row: Mapping[str, Any]) -> bool:
    """Whether both losses of an epoch are numbers."""
    return math.isfinite(row["train_loss"]) and math.isfinite(row["val_loss"])


def judge(ending: Ending) -> tuple[str, str]:
    """Outcome and reason of a finished run."""
    last = ending.history[-1]
    if not is_finite(last):
        return "diverged", _diverged(ending)
    best_only = ending.only_class[ending.best_epoch - 1] if ending.best_epoch else None
    if ending.only_class[-1] or best_only:
        return "collapsed", _collapsed(ending) if ending.only_class[-1] else _collapsed_at_best(ending)
    best = ending.history[ending.best_epoch - 1] if ending.best_epoch else last
    reached = f"the best validation accuracy was {best['val_accuracy']:.4f} in epoch {best['epoch']}"
    if ending.stopped_early:
        return "early_stopped", (
            f"Stopped after epoch {last['epoch']}: {ending.patience} epochs in a row without a lower validation loss; "
            f"{reached}."
        )
    return "completed", f"All {last['epoch']} epochs were trained; {reached}."


def _diverged(ending: Ending) -> str:
    last = ending.history[-1]
    which = [f"{split} loss {last[f'{split}_loss']}" for split in ("train", "val")]
    kept = f"weights of epoch {ending.best_epoch}" if ending.best_epoch else "initial weights"
    return f"Not finite after epoch {last['epoch']} ({', '.join(which)}); the {kept} are kept."


def _collapsed(ending: Ending) -> str:
    name = ending.only_class[-1]
    since = len(ending.only_class)
    while since > 1 and ending.only_class[since - 2] == name:
        since -= 1
    last = ending.history[-1]
    text = (
        f"Predicts '{name}' for every validation image since epoch {since} of {last['epoch']}; validation accuracy "
        f"{last['val_accuracy']:.4f}, loss {last['val_loss']:.4f}"
    )
    return text + (_saturation(ending) if ending.double_softmax else "") + "."


def _collapsed_at_best(ending: Ending) -> str:
    assert ending.best_epoch
    name = ending.only_class[ending.best_epoch - 1]
    return (
        f"The weights kept, of epoch {ending.best_epoch}, predict '{name}' for every validation image: no later epoch "
        f"reached more than its accuracy, {ending.history[ending.best_epoch - 1]['val_accuracy']:.4f}."
    )


def _saturation(ending: Ending) -> str:
    """Whether the loss is where a double softmax that is certain of one class sits: ln(e + K − 1) minus its share.

    Cross entropy of a one-hot output is ln(e + K − 1) − 1 if the class is right and ln(e + K − 1) if it is wrong.
    """
    name, loss = ending.only_class[-1], ending.history[-1]["val_loss"]
    assert name is not None
    others = len(ending.share) - 1
    saturated = math.log(math.e + others) - ending.share[name]
    formula = f"ln(e + {others}) − {ending.share[name]:.4f} = {saturated:.4f}"
    if abs(loss - saturated) < 5e-5:
        return f", exactly {formula}: the double softmax is saturated, its gradient is gone and it cannot recover"
    return f" (a saturated double softmax would sit at {formula})"
