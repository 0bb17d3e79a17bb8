"""The study's own arrangement: for each case a table with a column per recipe.

Entry point:
    case_table(comparison, case) -> DataFrame              tables/case_<n>.csv
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from study.compare import comparability
from study.compare.comparison import Comparison, mean_or_none
from study.compare.runs import RecipeRuns, Run
from study.elsewhere import from_file
from study.errors import StudyError
from study.recipe import HYPERPARAMETERS, shown_columns

MEASURES: dict[str, Callable[[Run], float | None]] = {
    "validation accuracy": lambda run: run.val_accuracy,
    "test accuracy": lambda run: run.test_accuracy,
    "test balanced accuracy": lambda run: run.metrics["test"]["balanced_accuracy"],
    "test macro-F1": lambda run: run.metrics["test"]["macro_f1"],
    "test NLL": lambda run: run.metrics["test"]["nll"],
}
LOWER_IS_BETTER = ("test NLL",)
# label -> metric with an interval by bootstrap
BOOTSTRAPPED = {"test balanced accuracy": "balanced_accuracy", "test macro-F1": "macro_f1", "test NLL": "nll"}
BASELINE = ("baseline accuracy", "baseline balanced accuracy")


def case_table(comparison: Comparison, case: int) -> pd.DataFrame:
    """A row per property of the recipe, then the results; a column per experiment.

    With several seeds a measure is the mean, followed by a row "… spread" (standard deviation over seeds). The
    interval of the accuracy is Wilson's over the test images, that of the other test scores by bootstrap over these; of
    several seeds both are over seeds, too. The verdict compares with the best recipe
    of this case, and the tiers are those of the case alone. What always answering the largest class reaches on the test
    images follows, and whether the recipe does better. Where the study shows reported values, they follow: the reported
    validation accuracy, the measured one minus it, what of the settings was otherwise, and the note. Last come where a
    published recipe stands and what of it is left out, where a recipe of the case has a source.

    Returns:
        column "property", then one column per experiment; cells are numbers, text or None.

    Raises:
        StudyError: if no run belongs to the case.
    """
    if case not in comparison.cases:
        raise StudyError(f"case {case}: no recipe belongs to it; the table of recipes has {comparison.cases}")
    within = comparison.of_case(case)
    differs_in = comparability.in_short(comparison)
    recipe_columns = shown_columns(group.recipe for group in within.recipes.values() if not from_file(group.recipe))
    published = any(group.recipe.source for group in within.recipes.values())
    columns = []
    for name, group in within.recipes.items():
        columns.append(_column(within, group, recipe_columns))
        if comparison.reported_protocol is not None:
            columns[-1] |= _reported_cells(group, differs_in[name])
        if published:
            columns[-1] |= {"source": group.recipe.source or None, "left out of it": group.recipe.left_out or None}
    rows = [[label, *(column[label] for column in columns)] for label in columns[0]]
    return pd.DataFrame(rows, columns=["property", *within.recipes], dtype=object)  # a recipe may have that name too


def _column(comparison: Comparison, group: RecipeRuns, recipe_columns: Sequence[str]) -> dict[str, Any]:
    cells: dict[str, Any] = {HYPERPARAMETERS[name].label: group.recipe.meant(name) for name in recipe_columns}
    cells["epochs allowed here"] = group.first.record["max_epochs"]
    outcomes = Counter(run.outcome for run in group)
    several = ", ".join(f"{count} × {outcome}" for outcome, count in outcomes.items())
    cells["outcome"] = several if group.several_seeds else group.first.outcome
    cells["reason"] = "; ".join(dict.fromkeys(run.reason for run in group if run.failed)) or None
    for name in ("epochs", "best_epoch"):
        cells[name.replace("_", " ")] = _over_seeds([run.record[name] for run in group])
    for label, measure in MEASURES.items():
        values = [measure(run) for run in group]
        cells[label] = mean_or_none(values)
        if group.several_seeds:
            cells[f"{label} spread"] = None if None in values else float(np.std(np.array(values, float), ddof=1))
        if label == "test accuracy":
            cells[f"{label} low"], cells[f"{label} high"] = group.interval("test")
        if label in BOOTSTRAPPED:
            interval = comparison.interval(group, BOOTSTRAPPED[label])
            cells[f"{label} low"], cells[f"{label} high"] = interval
    cells["compared with best"] = group.verdict
    cells["tier"] = group.tier
    if comparison.baseline is not None:
        reached = comparison.baseline.accuracy["test"], comparison.baseline.balanced_accuracy["test"]
        cells["baseline"] = f"always {comparison.baseline.name}"
        cells |= dict(zip(BASELINE, reached, strict=True))
        cells["compared with baseline"] = comparison.vs_baseline(group)
    return cells


def _reported_cells(group: RecipeRuns, differs_in: str) -> dict[str, Any]:
    recipe = group.recipe
    return {
        "reported accuracy": recipe.reported,
        "measured minus reported": None if recipe.reported is None else group.accuracy("val") - recipe.reported,
        "reported with other": differs_in or None,
        "note": recipe.reported_note or None,
    }


def _over_seeds(values: list[Any]) -> Any:
    """The value of a single seed, or all of them as text."""
    return values[0] if len(values) == 1 else ", ".join("–" if value is None else str(value) for value in values)
