"""What each treatment does by itself: every two recipes that differ in one treatment alone, as a difference.

Entry point (pairs as made by `study.compare.tables.pairwise`, runs come from `study.compare.runs.load_runs`):
    effects(pairs, runs, confidence) -> DataFrame          tables/effects.csv
"""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from study.compare.conclusions import UNJUDGED, only_difference, setting
from study.compare.runs import Run, all_failed, by_experiment, failure
from study.compare.statistics import holm
from study.compare.tables import EVERY_SEED, SAME
from study.recipe import ACTIVATIONS, LOSSES, OPTIMIZERS, SAMPLERS, Recipe

# treatment -> the fields of a recipe that make it up; min_lr and max_epochs are of none and may differ freely.
TREATMENTS = {
    "activation": ("activation",),
    "loss weighting": ("loss",),
    "sampler": ("sampler",),
    "learning rate": ("lr",),
    "batch size": ("batch_size",),
    "optimizer": ("optimizer", "momentum", "nesterov"),
    "weight decay": ("weight_decay",),
}
WORDS = {name: rank for names in (ACTIVATIONS, LOSSES, SAMPLERS, OPTIMIZERS) for rank, name in enumerate(names)}
HIGHER, LOWER = "higher", "lower"

DIFFERENCES = [f"{name}_{end}" for name in ("accuracy", "balanced_accuracy") for end in ("difference", "low", "high")]
COLUMNS = [
    *("treatment", "change", "experiment_from", "experiment_to", "accuracy_from", "accuracy_to"),
    *DIFFERENCES,
    *("p_holm", "verdict", "failed"),
]


def effects(pairs: pd.DataFrame, runs: Sequence[Run], confidence: float) -> pd.DataFrame:
    """Test scores of the recipe with the treatment minus those of the recipe without (the smaller number is without).

    The effect is "higher" or "lower" only if every seed says so by exact McNemar tests with Holm's correction over
    all effects and seeds, else "not distinguishable"; where both recipes failed it "cannot be judged". Intervals are
    those of `pairwise`: paired bootstrap over images, and over seeds if there are several.

    Args:
        pairs: every pair of recipes, see `study.compare.tables.pairwise`.

    Returns:
        COLUMNS, by treatment; `failed` names the recipes of the pair that failed, with how.
    """
    groups = by_experiment(runs)
    found = []
    for (a, b), rows in pairs.groupby(["experiment_a", "experiment_b"], sort=False):
        treatment = only_difference(groups[a][0].recipe, groups[b][0].recipe, TREATMENTS)
        if treatment:
            found.append((treatment, *_in_order(treatment, groups[a], groups[b]), rows))
    found.sort(key=lambda pair: list(TREATMENTS).index(pair[0]))
    tests = [p for *_, rows in found for p in rows["p_mcnemar"].dropna()]
    p_values = iter(holm(tests))
    made = []
    for treatment, before, after, rows in found:
        p = max(next(p_values) for _ in rows["p_mcnemar"].dropna())
        made.append(_row(treatment, before, after, rows, p, confidence))
    return pd.DataFrame(made, columns=COLUMNS)


def _in_order(treatment: str, one: list[Run], two: list[Run]) -> tuple[list[Run], list[Run]]:
    """The recipe without the treatment first."""

    def rank(recipe: Recipe) -> list[Any]:
        return [WORDS.get(value, value) for value in (getattr(recipe, field) for field in TREATMENTS[treatment])]

    return (one, two) if rank(one[0].recipe) < rank(two[0].recipe) else (two, one)


def _row(
    treatment: str, before: list[Run], after: list[Run], rows: pd.DataFrame, p: float, confidence: float
) -> dict[str, Any]:
    fields = TREATMENTS[treatment]
    words = [setting(x[0].recipe, y[0].recipe, fields) for x, y in ((before, after), (after, before))]
    over_seeds = rows["seed"] == EVERY_SEED
    shown = rows[over_seeds].iloc[0] if over_seeds.any() else rows.iloc[0]
    first_is_after = shown["experiment_a"] == after[0].experiment
    row: dict[str, Any] = {"treatment": treatment, "change": _arrow(*words)}
    row |= {"experiment_from": before[0].experiment, "experiment_to": after[0].experiment}
    row |= {"accuracy_from": _accuracy(before), "accuracy_to": _accuracy(after)}
    for name in ("accuracy", "balanced_accuracy"):
        difference, low, high = (shown[f"{name}_{end}"] for end in ("difference", "low", "high"))
        if not first_is_after:
            difference, low, high = -difference, -high, -low
        row |= {f"{name}_difference": difference, f"{name}_low": low, f"{name}_high": high}
    signs = set(rows.loc[~over_seeds, "accuracy_difference"] > 0)
    verdict = SAME
    if all_failed(before) and all_failed(after):
        verdict = UNJUDGED
    elif p <= 1 - confidence and len(signs) == 1:
        verdict = HIGHER if row["accuracy_difference"] > 0 else LOWER
    lost = [f"{group[0].experiment} {failure(group)}" for group in (before, after) if failure(group)]
    return row | {"p_holm": p, "verdict": verdict, "failed": "; ".join(lost)}


def _arrow(before: str, after: str) -> str:
    """ "batch size 64 → 128": the words that both begin with stand once."""
    common = 0
    for one, other in zip(before.split(), after.split(), strict=False):
        if one != other:
            break
        common += 1
    return f"{before} → {' '.join(after.split()[common:])}"


def _accuracy(group: Sequence[Run]) -> float:
    return sum(run.test_accuracy for run in group) / len(group)
