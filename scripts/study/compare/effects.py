"""What each treatment does by itself: every two recipes that differ in one treatment alone, as a difference.

Entry point:
    effects(comparison) -> DataFrame                       tables/effects.csv
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from study.compare.comparison import EVERY_SEED, Comparison
from study.compare.runs import RecipeRuns
from study.compare.statistics import holm
from study.compare.verdicts import HIGHER, LOWER, NOT_DISTINGUISHABLE, UNJUDGED
from study.recipe import HYPERPARAMETERS, TREATMENTS, Recipe, differ, difference_in_words

DIFFERENCES = [f"{name}_{end}" for name in ("accuracy", "balanced_accuracy") for end in ("difference", "low", "high")]
EFFECT_COLUMNS = [
    *("treatment", "change", "experiment_from", "experiment_to", "accuracy_from", "accuracy_to"),
    *DIFFERENCES,
    *("p_holm", "verdict", "failed"),
]


def effects(comparison: Comparison) -> pd.DataFrame:
    """Test scores of the recipe with the treatment minus those of the recipe without (the smaller number is without).

    The effect is "higher" or "lower" only if every seed says so by exact McNemar tests with Holm's correction over
    all effects and seeds, else "not distinguishable"; where both recipes failed it "cannot be judged". Intervals are
    those of `Comparison.pairs`: paired bootstrap over images, and over seeds if there are several.

    Returns:
        EFFECT_COLUMNS, by treatment in the schema's order; `failed` names the recipes of the pair that failed, and
        how.
    """
    recipes = comparison.recipes
    pairs = []
    for (a, b), rows in comparison.pairs.groupby(["experiment_a", "experiment_b"], sort=False):
        treatment = only_difference(recipes[a].capped, recipes[b].capped)
        if treatment:
            pairs.append((treatment, *_in_order(treatment, recipes[a], recipes[b]), rows))
    pairs.sort(key=lambda pair: list(TREATMENTS).index(pair[0]))
    p_values = iter(holm([p for *_, rows in pairs for p in rows["p_mcnemar"].dropna()]))
    table = []
    for treatment, before, after, rows in pairs:
        p = max(next(p_values) for _ in rows["p_mcnemar"].dropna())
        table.append(_row(treatment, before, after, rows, p, comparison.confidence))
    return pd.DataFrame(table, columns=EFFECT_COLUMNS)


def only_difference(one: Recipe, two: Recipe, treatments: Mapping[str, Sequence[str]] = TREATMENTS) -> str:
    """The one treatment in which two recipes differ; "" if they differ in none or in several.

    Args:
        treatments: treatment -> the columns that make it up. Columns that the schema calls neutral are in none.
    """
    differing = [
        treatment for treatment, columns in treatments.items() if any(differ(one, two, column) for column in columns)
    ]
    return differing[0] if len(differing) == 1 else ""


def _in_order(treatment: str, one: RecipeRuns, two: RecipeRuns) -> tuple[RecipeRuns, RecipeRuns]:
    """The recipe without the treatment first."""

    def rank(recipe: Recipe) -> list[Any]:
        columns = TREATMENTS[treatment]
        return [HYPERPARAMETERS[column].rank(recipe[column]) for column in columns]

    return (one, two) if rank(one.recipe) < rank(two.recipe) else (two, one)


def _row(
    treatment: str, before: RecipeRuns, after: RecipeRuns, rows: pd.DataFrame, p: float, confidence: float
) -> dict[str, Any]:
    columns = TREATMENTS[treatment]
    words = [difference_in_words(x.recipe, y.recipe, columns) for x, y in ((before, after), (after, before))]
    over_seeds = rows["seed"] == EVERY_SEED
    shown = rows[over_seeds].iloc[0] if over_seeds.any() else rows.iloc[0]
    first_is_after = shown["experiment_a"] == after.name
    row: dict[str, Any] = {"treatment": treatment, "change": _arrow(*words)}
    row |= {"experiment_from": before.name, "experiment_to": after.name}
    row |= {"accuracy_from": before.accuracy("test"), "accuracy_to": after.accuracy("test")}
    for name in ("accuracy", "balanced_accuracy"):
        difference, low, high = (shown[f"{name}_{end}"] for end in ("difference", "low", "high"))
        if not first_is_after:
            difference, low, high = -difference, -high, -low
        row |= {f"{name}_difference": difference, f"{name}_low": low, f"{name}_high": high}
    signs = set(rows.loc[~over_seeds, "accuracy_difference"] > 0)
    verdict = NOT_DISTINGUISHABLE
    if before.failed and after.failed:
        verdict = UNJUDGED
    elif p <= 1 - confidence and len(signs) == 1:
        verdict = HIGHER if row["accuracy_difference"] > 0 else LOWER
    lost = [f"{group.name} {group.failure}" for group in (before, after) if group.failure]
    return row | {"p_holm": p, "verdict": verdict, "failed": "; ".join(lost)}


def _arrow(before: str, after: str) -> str:
    """ "batch size 64 → 128": the words that both begin with stand once."""
    common = 0
    for one, other in zip(before.split(), after.split(), strict=False):
        if one != other:
            break
        common += 1
    return f"{before} → {' '.join(after.split()[common:])}"
