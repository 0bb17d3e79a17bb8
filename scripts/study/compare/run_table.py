"""Every run in a row.

Entry point:
    run_table(comparison) -> DataFrame                     tables/comparison.csv
"""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from study.compare.comparison import Comparison
from study.compare.runs import RecipeRuns, Run
from study.compare.statistics import RESAMPLED, percentile_interval
from study.elsewhere import from_file
from study.names import EVALUATED_SPLITS
from study.recipe import HYPERPARAMETERS, shown_columns


def run_table(comparison: Comparison) -> pd.DataFrame:
    """Recipe, outcome, validation and test scores with intervals, how the recipe compares with the best, what it cost.

    Accuracies have Wilson's interval, the other test scores a bootstrap interval over images. `vs_best`, `p_vs_best`
    and `tier` are those of the recipe, the same for all its seeds: see `Comparison.verdicts` and `.tiers`. Where the
    training images of each class are known, there are `baseline_class`, the largest of them, `baseline_accuracy`, its
    share of the test images, and `vs_baseline`, see `Comparison.vs_baseline`. Where the study shows reported values
    there are the columns `reported` and `reported_difference` (validation accuracy minus reported) as well. Where
    images are of groups, `test_groups` says in how many independent units the `test_images` are, and intervals are over
    these. Of predictions from a file neither recipe nor cost is known, and the cells are empty.
    """
    columns = shown_columns(run.recipe for run in comparison.runs if not from_file(run.recipe))
    table = pd.DataFrame([_row(comparison, run, columns) for run in comparison.runs])
    whole = [name for name in columns if HYPERPARAMETERS[name].node.get("type") in ("integer", ["integer", "null"])]
    return table.astype(dict.fromkeys(("epochs", "best_epoch", "tier", "parameters", *whole), "Int64"))


def _row(comparison: Comparison, run: Run, columns: Sequence[str]) -> dict[str, Any]:
    row: dict[str, Any] = {"experiment": run.experiment, "seed": run.seed, "case": run.case}
    row |= {name: run.recipe.meant(name) for name in columns}
    row |= {"outcome": run.outcome, "reason": run.reason}
    row |= {name: run.record[name] for name in ("epochs", "best_epoch")}
    row |= _scores(comparison, run)
    row["vs_best"], row["p_vs_best"] = comparison.verdicts[run.experiment]
    row["tier"] = comparison.tiers[run.experiment]
    if comparison.baseline is not None:
        row |= {"baseline_class": comparison.baseline.name, "baseline_accuracy": comparison.baseline.accuracy["test"]}
        row["vs_baseline"] = comparison.vs_baseline(RecipeRuns((run,), comparison.confidence))
    row["test_images"] = comparison.test_images
    if comparison.units is not None:
        row["test_groups"] = comparison.test_units
    row["confidence"] = comparison.confidence
    row["parameters"] = run.record["parameters"]
    row |= {"images_per_second": run.record["images_per_second"] if run.recipe.trains else None}
    row["seconds"] = run.seconds
    if comparison.reported_protocol is not None:
        reported = run.recipe.reported
        row |= {"reported": reported, "reported_difference": None if reported is None else run.val_accuracy - reported}
    return row


def _scores(comparison: Comparison, run: Run) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for split in EVALUATED_SPLITS:
        row[f"{split}_accuracy"] = run.metrics[split]["accuracy"]
        row[f"{split}_accuracy_low"], row[f"{split}_accuracy_high"] = run.interval(split, comparison.confidence)
    resampled = comparison.bootstrap.scores(run)
    for name in RESAMPLED[1:]:
        row[f"test_{name}"] = run.metrics["test"][name]
        interval = percentile_interval(resampled[name], comparison.confidence)
        row[f"test_{name}_low"], row[f"test_{name}_high"] = interval
    return row | {"test_ece": run.metrics["test"]["ece"], "val_nll": run.metrics["val"]["nll"]}
