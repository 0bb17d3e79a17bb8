"""What each treatment does by itself: every two recipes that differ in one treatment alone, as a difference.

Entry point:
    effects(comparison) -> DataFrame                       tables/effects.csv
"""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from study.compare.comparison import EVERY_SEED, Comparison
from study.compare.runs import RecipeRuns
from study.compare.statistics import holm
from study.compare.tested_pairs import alone
from study.compare.verdicts import HIGHER, LOWER, NOT_DISTINGUISHABLE, UNJUDGED
from study.recipe import HYPERPARAMETERS, TREATMENTS, Recipe, difference_in_words

DIFFERENCES = [f"{name}_{end}" for name in ("accuracy", "balanced_accuracy") for end in ("difference", "low", "high")]
EFFECT_COLUMNS = [
    *("treatment", "change", "experiment_from", "experiment_to", "accuracy_from", "accuracy_to"),
    *DIFFERENCES,
    *("p_holm", "verdict", "failed"),
]


def effects(comparison: Comparison) -> pd.DataFrame:
    """Test scores of the recipe with the treatment minus those of the recipe without (the smaller number is without).

    The effect is "higher" or "lower" if the p value of `Comparison.p_value`, adjusted by Holm over all effects, is at
    most 1 − confidence, else "not distinguishable"; where both recipes failed it "cannot be judged". Intervals are
    those of `Comparison.pairs`: paired bootstrap over images, of several seeds over these too.

    Returns:
        EFFECT_COLUMNS, by treatment in the schema's order; `failed` names the recipes of the pair that failed, and
        how.
    """
    recipes = comparison.recipes
    pairs = [
        (treatment, *_in_order(treatment, recipes[a], recipes[b]))
        for treatment, a, b in alone(recipes, comparison.all_pairs_up_to)
    ]
    tested = _tested(comparison)
    cells = [tested[frozenset((before.name, after.name))] for _, before, after in pairs]
    p_values = holm(
        [pair["p_seeds_and_images" if comparison.several_seeds else comparison.seed_test] for pair in cells]
    )
    table = [
        _row(treatment, before, after, pair, p, comparison.confidence)
        for (treatment, before, after), pair, p in zip(pairs, cells, p_values, strict=True)
    ]
    return pd.DataFrame(table, columns=EFFECT_COLUMNS)


def _tested(comparison: Comparison) -> dict[frozenset[str], dict[Any, Any]]:
    """The row of each pair of recipes, with several seeds the one of all of them."""
    rows = comparison.pairs
    if comparison.several_seeds:
        rows = rows[rows["seed"] == EVERY_SEED]
    return {frozenset((row["experiment_a"], row["experiment_b"])): row for row in rows.to_dict("records")}


def _in_order(treatment: str, one: RecipeRuns, two: RecipeRuns) -> tuple[RecipeRuns, RecipeRuns]:
    """The recipe without the treatment first."""

    def rank(recipe: Recipe) -> list[Any]:
        columns = TREATMENTS[treatment]
        return [HYPERPARAMETERS[column].rank(recipe[column]) for column in columns]

    return (one, two) if rank(one.capped) < rank(two.capped) else (two, one)


def _row(
    treatment: str, before: RecipeRuns, after: RecipeRuns, shown: Mapping[Any, Any], p: float, confidence: float
) -> dict[str, Any]:
    columns = TREATMENTS[treatment]
    words = [difference_in_words(x.capped, y.capped, columns) for x, y in ((before, after), (after, before))]
    first_is_after = shown["experiment_a"] == after.name
    row: dict[str, Any] = {"treatment": treatment, "change": _arrow(*words)}
    row |= {"experiment_from": before.name, "experiment_to": after.name}
    row |= {"accuracy_from": before.accuracy("test"), "accuracy_to": after.accuracy("test")}
    for name in ("accuracy", "balanced_accuracy"):
        difference, low, high = (shown[f"{name}_{end}"] for end in ("difference", "low", "high"))
        if not first_is_after:
            difference, low, high = -difference, -high, -low
        row |= {f"{name}_difference": difference, f"{name}_low": low, f"{name}_high": high}
    verdict = NOT_DISTINGUISHABLE
    if before.failed and after.failed:
        verdict = UNJUDGED
    elif p <= 1 - confidence:
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
