"""What copies of evaluated images in the training split do to a score: accuracy with them, without them, on them alone.

Entry points:
    leakage(comparison) -> DataFrame                       tables/leakage.csv
    leakage_facts(table, experiment) -> sentences
"""

import numpy as np
import pandas as pd

from study.compare.comparison import Comparison
from study.compare.statistics import accuracy_interval
from study.data.manifest import leaked
from study.names import EVALUATED_SPLITS

LEAKAGE_COLUMNS = [
    *("experiment", "seed", "split", "images", "copied", "accuracy"),
    *("accuracy_without_copies", "accuracy_without_copies_low", "accuracy_without_copies_high", "accuracy_of_copies"),
]


def leakage(comparison: Comparison) -> pd.DataFrame:
    """Accuracy of every run on validation and test images, by whether an exact copy of the image is in training.

    Args:
        comparison: with the manifest.

    Returns:
        LEAKAGE_COLUMNS, one row per run and split; accuracies of no images are missing. The interval is Wilson's, over
        units where images are of groups.
    """
    assert comparison.manifest is not None
    kept = comparison.manifest[comparison.manifest["status"] == "kept"]
    copied_ids = set(kept.loc[leaked(kept), "image_id"])
    rows = []
    for run in comparison.runs:
        for split in EVALUATED_SPLITS:
            scores = run.scores[split]
            copied = np.isin(scores.image_ids, list(copied_ids))
            clean = scores.correct[~copied]
            low = high = None
            if len(clean):
                units = None if scores.units is None else scores.units[~copied]
                low, high = accuracy_interval(clean, units, comparison.confidence)
            rows.append(
                {
                    "experiment": run.experiment,
                    "seed": run.seed,
                    "split": split,
                    "images": len(copied),
                    "copied": int(copied.sum()),
                    "accuracy": scores.correct.mean(),
                    "accuracy_without_copies": clean.mean() if len(clean) else None,
                    "accuracy_without_copies_low": low,
                    "accuracy_without_copies_high": high,
                    "accuracy_of_copies": scores.correct[copied].mean() if copied.any() else None,
                }
            )
    return pd.DataFrame(rows, columns=LEAKAGE_COLUMNS)


def leakage_facts(table: pd.DataFrame, experiment: str) -> list[str]:
    """What the copies do to the scores of one recipe (means over its seeds), a sentence per split that has any."""
    facts = []
    for split, words in (("val", "validation"), ("test", "test")):
        rows = table[(table["experiment"] == experiment) & (table["split"] == split)]
        images, copied = rows["images"].iloc[0], rows["copied"].iloc[0]
        if not copied:
            continue
        means = rows[["accuracy", "accuracy_without_copies", "accuracy_of_copies"]].astype(float).mean()
        without = means["accuracy_without_copies"]
        facts.append(
            f"{copied:,} of {images:,} {words} images have an exact copy in training: {experiment} classifies "
            f"{means['accuracy']:.1%} of all correctly, {means['accuracy_of_copies']:.1%} of these"
            + ("." if np.isnan(without) else f" and {without:.1%} of the others.")
        )
    return facts
