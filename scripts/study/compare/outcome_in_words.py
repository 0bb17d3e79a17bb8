"""Why a run ended as it did, in one sentence made from what it left behind.

Training leaves facts; words are made here, so that a better sentence trains nothing again
(`study.provenance.BOOKKEEPING`).

Entry point:
    reason(record, history) -> str
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from study.names import COLLAPSED, COMPLETED, DIVERGED, EARLY_STOPPED
from study.recipe import Recipe

# A loss that agrees in the four digits shown.
ROUNDING = 5e-5

Record = Mapping[str, Any]
Rows = Sequence[Mapping[str, Any]]


def reason(record: Record, history: Rows) -> str:
    """The sentence about the outcome of a run.

    Args:
        record: the content of run.json.
        history: one mapping per epoch with the columns of history.csv.
    """
    return _SENTENCES[record["outcome"]](record, history)


def _completed(record: Record, history: Rows) -> str:
    return f"All {record['epochs']} epochs were trained; {_reached(record, history)}."


def _early_stopped(record: Record, history: Rows) -> str:
    return (
        f"Stopped after epoch {record['epochs']}: {record['facts']['early_stopping_patience']} epochs in a row without "
        f"a lower validation loss; {_reached(record, history)}."
    )


def _reached(record: Record, history: Rows) -> str:
    best = _best(record, history)
    return f"the best validation accuracy was {best['val_accuracy']:.4f} in epoch {best['epoch']:.0f}"


def _best(record: Record, history: Rows) -> Mapping[str, Any]:
    """The epoch whose weights were kept."""
    return history[record["best_epoch"] - 1]


def _diverged(record: Record, history: Rows) -> str:
    which = [f"{split} loss {history[-1][f'{split}_loss']}" for split in ("train", "val")]
    kept = f"weights of epoch {record['best_epoch']}" if record["best_epoch"] else "initial weights"
    return f"Not finite after epoch {record['epochs']} ({', '.join(which)}); the {kept} are kept."


def _collapsed(record: Record, history: Rows) -> str:
    only = record["facts"]["only_class"]
    if not only:
        return (
            f"The weights kept, of epoch {record['best_epoch']}, predict '{record['facts']['only_class_at_best']}' for "
            "every validation image: no later epoch reached more than its accuracy, "
            f"{_best(record, history)['val_accuracy']:.4f}."
        )
    last = history[-1]
    text = (
        f"Predicts '{only['name']}' for every validation image since epoch {only['since']} of {record['epochs']}; "
        f"validation accuracy {last['val_accuracy']:.4f}, loss {last['val_loss']:.4f}"
    )
    recipe = Recipe.of("", **record["recipe"])
    return text + (_saturation(record["facts"], last["val_loss"]) if recipe.double_softmax else "") + "."


def _saturation(facts: Mapping[str, Any], val_loss: float) -> str:
    """Whether the loss is where a double softmax that is certain of one class sits: ln(e + K − 1) minus its share.

    Cross entropy of a one-hot output is ln(e + K − 1) − 1 if the class is right and ln(e + K − 1) if it is wrong.
    """
    others, share = facts["classes"] - 1, facts["only_class"]["share"]
    saturated = math.log(math.e + others) - share
    formula = f"ln(e + {others}) − {share:.4f} = {saturated:.4f}"
    if abs(val_loss - saturated) < ROUNDING:
        return f", exactly {formula}: the double softmax is saturated, its gradient is gone and it cannot recover"
    return f" (a saturated double softmax would sit at {formula})"


_SENTENCES: dict[str, Callable[[Record, Rows], str]] = {
    COMPLETED: _completed,
    EARLY_STOPPED: _early_stopped,
    COLLAPSED: _collapsed,
    DIVERGED: _diverged,
}
