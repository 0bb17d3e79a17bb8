"""Why a run ended as it did, in one sentence made from what it left behind.

Training leaves facts; words are made here, so that a better sentence trains nothing again
(`study.provenance.BOOKKEEPING`).

Entry points:
    reason(record, history) -> str
    outdone(record, history) -> str                        what an epoch that was not kept did better for rare classes
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from study.names import COLLAPSED, COMPLETED, DIVERGED, EARLY_STOPPED
from study.recipe import Recipe
from study.train.scores import SCORES, monitored

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
    trained = f"All {record['epochs']} epochs were trained" if record["epochs"] > 1 else "The one epoch was trained"
    return f"{trained}; {_reached(record, history)}."


def _early_stopped(record: Record, history: Rows) -> str:
    recipe = Recipe.of("", **record["recipe"])
    score, least = monitored(recipe), recipe["training.early_stopping_min_delta"]
    return (
        f"Stopped after epoch {record['epochs']}: {record['facts']['early_stopping_patience']} epochs in a row without "
        f"a {'lower' if score.lowest else 'higher'} validation {score.label}"
        f"{f' (by more than {least:g})' if least else ''}; {_reached(record, history)}."
    )


def _reached(record: Record, history: Rows) -> str:
    best, score = _best(record, history), SCORES[record["facts"]["best_by"]]
    text = f"the {'lowest' if score.lowest else 'best'} validation {score.label} was {best[score.column]:.4f}"
    aside = "" if score.column == "val_accuracy" else f", with accuracy {best['val_accuracy']:.4f},"
    return f"{text}{aside} in epoch {best['epoch']:.0f}"


def _best(record: Record, history: Rows) -> Mapping[str, Any]:
    """The epoch whose weights were kept."""
    return history[record["best_epoch"] - 1]


def _diverged(record: Record, history: Rows) -> str:
    which = [f"{split} loss {history[-1][f'{split}_loss']}" for split in ("train", "val")]
    kept = f"weights of epoch {record['best_epoch']}" if record["best_epoch"] else "initial weights"
    return f"Not finite after epoch {record['epochs']} ({', '.join(which)}); the {kept} are kept."


def _collapsed(record: Record, history: Rows) -> str:
    """What the last epoch or the weights kept say of every image, and what other epochs told apart."""
    better = outdone(record, history)
    told = [_one_class(record, history), _others(record, history, best_too=not better), better]
    return " ".join(sentence for sentence in told if sentence)


def _one_class(record: Record, history: Rows) -> str:
    only = record["facts"]["only_class"]
    if not only:
        best, score = _best(record, history), SCORES[record["facts"]["best_by"]]
        return (
            f"The weights kept, of epoch {record['best_epoch']}, predict '{record['facts']['only_class_at_best']}' for "
            f"every validation image: no later epoch reached {'less' if score.lowest else 'more'} than its "
            f"{score.label}, {best[score.column]:.4f}."
        )
    last = history[-1]
    text = (
        f"Predicts '{only['name']}' for every validation image since epoch {only['since']} of {record['epochs']}; "
        f"validation accuracy {last['val_accuracy']:.4f}, loss {last['val_loss']:.4f}"
    )
    recipe = Recipe.of("", **record["recipe"])
    confined = recipe.double_softmax and recipe.formulas_hold
    return text + (_saturation(record["facts"], last["val_loss"]) if confined else "") + "."


def _others(record: Record, history: Rows, best_too: bool) -> str:
    """In how many epochs a run that ended with one class predicted several, and which of them was best; "" for none."""
    several = [row for row in history if row["predicted_classes"] > 1]
    if not several:
        return ""
    text = f"It predicted more than one class in {len(several)} of its {record['epochs']} epochs"
    if best_too:
        text += f", best in {_balanced(max(several, key=_BALANCED.rank))}"
    kept = _best(record, history)
    return text + (f"; the weights kept are those of {_balanced(kept)}." if kept["predicted_classes"] > 1 else ".")


def outdone(record: Record, history: Rows) -> str:
    """That an epoch told more classes apart than the one that was kept, and what would have kept it; "" if none did.

    Args:
        record, history: as `reason` has them.
    """
    facts = record["facts"]
    could = [row for row in history if row["epoch"] >= facts["best_from_epoch"] and math.isfinite(row["val_loss"])]
    if not record["best_epoch"] or not could:
        return ""
    kept, balanced = _best(record, history), max(could, key=_BALANCED.rank)
    more_classes = balanced["predicted_classes"] > kept["predicted_classes"]
    if not more_classes or _BALANCED.rank(balanced) <= _BALANCED.rank(kept):
        return ""
    classes = f"{kept['predicted_classes']:.0f} of the {facts['classes']} classes"
    return (
        f"The epoch kept for its {SCORES[facts['best_by']].extreme}, {_balanced(kept)}, predicts {classes}; "
        f"{_balanced(balanced)}, predicts {balanced['predicted_classes']:.0f}. With 'training.best_by: "
        "balanced_accuracy' it would have been kept."
    )


_BALANCED = SCORES["balanced_accuracy"]


def _balanced(row: Mapping[str, Any]) -> str:
    return f"epoch {row['epoch']:.0f} (balanced accuracy {row['val_balanced_accuracy']:.4f})"


def _saturation(facts: Mapping[str, Any], val_loss: float) -> str:
    """Whether the loss is where a double softmax that is certain of one class sits: ln(e + K − 1) minus its share.

    Cross entropy of a one-hot output is ln(e + K − 1) − 1 if the class is right and ln(e + K − 1) if it is wrong.
    """
    others, share = facts["classes"] - 1, facts["only_class"]["share"]
    saturated = math.log(math.e + others) - share
    formula = f"ln(e + {others}) − {share:.4f} = {saturated:.4f}"
    if abs(val_loss - saturated) < ROUNDING:
        stuck = "the double softmax is saturated, its gradient is all but gone, and it did not recover"
        return f", exactly {formula}: {stuck}"
    return f" (a saturated double softmax would sit at {formula})"


_SENTENCES: dict[str, Callable[[Record, Rows], str]] = {
    COMPLETED: _completed,
    EARLY_STOPPED: _early_stopped,
    COLLAPSED: _collapsed,
    DIVERGED: _diverged,
}
