"""What copies of evaluated images in the training split do to a score: accuracy with them, without them, on them alone.

Exact copies first; then near ones (the manifest's near_duplicate_group), where they were looked for.

Entry points:
    leakage(comparison) -> DataFrame                       tables/leakage.csv
    by_copies(scores, copies, confidence) -> [row]         the same for what several networks say together
    leakage_facts(table, experiment) -> sentences
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from study.compare.comparison import Comparison
from study.compare.runs import Scores
from study.compare.statistics import accuracy_interval
from study.data.manifest import leaked, nearly_leaked
from study.names import EVALUATED_SPLITS

LEAKAGE_COLUMNS = [
    *("experiment", "seed", "split", "images", "copied", "accuracy"),
    *("accuracy_without_copies", "accuracy_without_copies_low", "accuracy_without_copies_high", "accuracy_of_copies"),
    *("near_copied", "accuracy_without_near_copies", "accuracy_without_near_copies_low"),
    *("accuracy_without_near_copies_high", "accuracy_of_near_copies"),
]


def leakage(comparison: Comparison) -> pd.DataFrame:
    """Accuracy of every run on validation and test images, by whether a copy of the image is in training.

    Args:
        comparison: with the manifest.

    Returns:
        LEAKAGE_COLUMNS, one row per run and split; accuracies of no images are missing. copied counts images with an
        exact copy in training, near_copied those with a near copy and no exact one. accuracy_without_near_copies is
        that of images with neither. These columns are missing where no image of the study has a near copy or none was
        looked for. The intervals are Wilson's, over units where images are of groups.
    """
    copies = copies_in_training(comparison)
    rows = [
        {"experiment": run.experiment, "seed": run.seed, **row}
        for run in comparison.runs
        for row in by_copies(run.scores, copies, comparison.confidence)
    ]
    return pd.DataFrame(rows, columns=LEAKAGE_COLUMNS)


class Copies(NamedTuple):
    """Images that have a copy in training: an exact one; a near one and no exact one, None if none was looked for."""

    exact: list[str]
    near: list[str] | None


def copies_in_training(comparison: Comparison) -> Copies:
    """Of the images of the comparison's manifest."""
    assert comparison.manifest is not None
    kept = comparison.manifest[comparison.manifest["status"] == "kept"]
    exact = leaked(kept)
    near = None
    if (comparison.manifest.get("near_duplicate_group", pd.Series(dtype="str")) != "").any():
        near = list(kept.loc[nearly_leaked(kept) & ~exact, "image_id"])
    return Copies(list(kept.loc[exact, "image_id"]), near)


def by_copies(scores: Mapping[str, Scores], copies: Copies, confidence: float) -> list[dict[str, Any]]:
    """The columns of `leakage` but for experiment and seed, a row per evaluated split.

    Args:
        scores: per split, of one run, or of several that vote.
    """
    rows = []
    for split in EVALUATED_SPLITS:
        of_split = scores[split]
        copied = np.isin(of_split.image_ids, copies.exact)
        row = {
            "split": split,
            "images": len(copied),
            "copied": int(copied.sum()),
            "accuracy": of_split.correct.mean(),
            **_accuracies("copies", of_split, copied, ~copied, confidence),
        }
        if copies.near is not None:
            near = np.isin(of_split.image_ids, copies.near)
            row["near_copied"] = int(near.sum())
            row |= _accuracies("near_copies", of_split, near, ~copied & ~near, confidence)
        rows.append(row)
    return rows


def _accuracies(
    name: str, scores: Scores, copied: NDArray[np.bool_], clean: NDArray[np.bool_], confidence: float
) -> dict[str, Any]:
    """The accuracy on images with copies, and with its interval on clean ones."""
    low = high = None
    if clean.any():
        units = None if scores.units is None else scores.units[clean]
        low, high = accuracy_interval(scores.correct[clean], units, confidence)
    return {
        f"accuracy_without_{name}": scores.correct[clean].mean() if clean.any() else None,
        f"accuracy_without_{name}_low": low,
        f"accuracy_without_{name}_high": high,
        f"accuracy_of_{name}": scores.correct[copied].mean() if copied.any() else None,
    }


def leakage_facts(table: pd.DataFrame, experiment: str) -> list[str]:
    """What the copies do to the scores of one recipe (means over its seeds), a sentence per split and kind of copy."""
    facts = []
    for split, words in (("val", "validation"), ("test", "test")):
        rows = table[(table["experiment"] == experiment) & (table["split"] == split)]
        images, copied, near = (rows[name].iloc[0] for name in ("images", "copied", "near_copied"))
        means = rows[[name for name in LEAKAGE_COLUMNS if name.startswith("accuracy")]].astype(float).mean()
        for count, kind, name, others in (
            (copied, "an exact copy", "copies", "the others"),
            (near, "a near copy, but no exact one,", "near_copies", "those without a copy of either kind"),
        ):
            if pd.isna(count) or not count:
                continue
            without = means[f"accuracy_without_{name}"]
            facts.append(
                f"{count:,.0f} of {images:,} {words} images have {kind} in training: {experiment} classifies "
                f"{means['accuracy']:.1%} of all correctly, {means[f'accuracy_of_{name}']:.1%} of these"
                + ("." if np.isnan(without) else f" and {without:.1%} of {others}.")
            )
    return facts
