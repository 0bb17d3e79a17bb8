"""The validation scores that may choose the best epoch, by the values of `training.best_by`, and be watched.

Loads neither PyTorch nor pandas: what a run was chosen by is said in words where there is neither.

Entry points:
    SCORES                                                 name -> Score
    monitored(recipe) -> Score                             what plateau and early stopping watch, `training.monitor`
    class_averages(hits, images, guesses)                  balanced accuracy and macro-F1 of an epoch

To add one: its name in the schema (config/schemas/config.schema.yaml, `training.best_by`), its column of history.csv
(`names.HISTORY_COLUMNS`, `learner.Validation`) and its record in SCORES.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from study.provenance import only_words
from study.recipe import Recipe


@dataclass(frozen=True)
class Score:
    """A score of the validation images.

    Attributes:
        column: of history.csv.
        lowest: whether the lowest is the best.
    """

    column: str
    lowest: bool = False

    def rank(self, row: Mapping[str, Any]) -> float:
        """The best epoch has the highest; a score that is not a number is worse than any other."""
        value = float(row[self.column])
        return -math.inf if math.isnan(value) else -value if self.lowest else value

    def cost(self, row: Mapping[str, Any]) -> float:
        """The score where the lowest is the best, its negative where that is the highest."""
        value = float(row[self.column])
        return value if self.lowest else -value

    @property
    @only_words
    def label(self) -> str:
        """What it is called in sentences: "accuracy", "macro-F1", "NLL"."""
        name = self.column.removeprefix("val_")
        return {"macro_f1": "macro-F1", "nll": "NLL"}.get(name, name.replace("_", " "))

    @property
    @only_words
    def extreme(self) -> str:
        """What the best epoch has: "highest validation accuracy", "lowest validation NLL"."""
        return f"{'lowest' if self.lowest else 'highest'} validation {self.label}"


SCORES = {
    "accuracy": Score("val_accuracy"),
    "batch_accuracy": Score("val_batch_accuracy"),
    "balanced_accuracy": Score("val_balanced_accuracy"),
    "macro_f1": Score("val_macro_f1"),
    "nll": Score("val_nll", lowest=True),
    "loss": Score("val_loss", lowest=True),
}


def monitored(recipe: Recipe) -> Score:
    """The score that the plateau and early stopping of a recipe watch."""
    return next(score for score in SCORES.values() if score.column == recipe["training.monitor"])


def class_averages(hits: Sequence[int], images: Sequence[int], guesses: Sequence[int]) -> tuple[float, float]:
    """Balanced accuracy (mean recall) and macro-F1, as `study.evaluate.metrics` defines them.

    A class without an image is left out of both means; one that is never predicted has an F1 of 0.

    Args:
        hits, images, guesses: of each class, the images that are right, that there are, that are called by its name.
    """
    present = [counts for counts in zip(hits, images, guesses, strict=True) if counts[1]]
    recall = [hit / image for hit, image, _ in present]
    f1 = [2 * hit / (image + guess) for hit, image, guess in present]
    return math.fsum(recall) / len(present), math.fsum(f1) / len(present)
