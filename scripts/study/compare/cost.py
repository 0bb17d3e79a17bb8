"""What each recipe's training costs, beside what it reaches on the test images.

The frontier holds the recipes that no other one beats in both (Pareto): none that did not fail is at least as accurate
and at least as quick to train, and better in one of the two. Seconds are wall time, measured where each run was
trained: they compare only where all runs had the same machine to themselves.

Entry points:
    costs(comparison) -> DataFrame                         tables/cost.csv
    cost_in_words(table) -> list[str]                      the frontier as sentences
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from study.compare.comparison import Comparison
from study.compare.runs import RecipeRuns, Run
from study.compare.verdicts import BEST, NOT_DISTINGUISHABLE
from study.elsewhere import from_file
from study.recipe import Recipe
from study.starts import start_of


def costs(comparison: Comparison) -> pd.DataFrame:
    """One row per recipe, the cheapest training first.

    Columns:
        experiment
        trained_as: the experiment whose training a row without one of its own takes; "" for all others.
        starts_from: the experiment whose weights its training starts from, whose seconds count too; "" for none.
        seeds
        seconds: of training and validation, the mean over the seeds; seconds_total: their sum. Of predictions from a
            file these are not known, and neither is the rest.
        images_per_second: mean over the seeds; peak_memory_bytes: the highest of the seeds.
        parameters
        test_accuracy, test_accuracy_low, test_accuracy_high: as everywhere.
        failure: how runs failed; "" if none did.
        verdict: beside the best recipe.
        on_frontier: whether no recipe that did not fail beats it; a recipe of which every run failed never is, nor is
            one whose cost is not known.
    """
    groups = comparison.recipes
    recipes = {name: group.recipe for name, group in groups.items()}
    table = pd.DataFrame([_row(comparison, group, recipes) for group in groups.values()])
    alive = np.array([not group.failed for group in groups.values()])
    seconds = table["seconds"].to_numpy()
    table["on_frontier"] = frontier(seconds, table["test_accuracy"].to_numpy(), alive & ~np.isnan(seconds))
    table = table.astype({"peak_memory_bytes": "Int64", "parameters": "Int64"})
    return table.sort_values("seconds", kind="stable", ignore_index=True)


def frontier(seconds: NDArray[np.float64], accuracy: NDArray[np.float64], alive: NDArray[np.bool_]) -> list[bool]:
    """Which recipes no other one beats in both; those that are not alive neither belong nor beat.

    Args:
        seconds, accuracy: of each recipe, (R,) float.
        alive: (R,) bool.
    """
    order = sorted(np.flatnonzero(alive), key=lambda k: (seconds[k], -accuracy[k]))
    members, highest, at = [False] * len(seconds), -np.inf, -np.inf
    for k in order:
        if accuracy[k] > highest or (accuracy[k] == highest and seconds[k] == at):
            members[k], highest, at = True, accuracy[k], seconds[k]
    return members


def _row(comparison: Comparison, group: RecipeRuns, recipes: Mapping[str, Recipe]) -> dict[str, Any]:
    trainings = trainings_of(group.recipe, recipes)
    seconds = [_over(comparison, trainings, run, lambda record: float(record["seconds"]), sum) for run in group]
    memory = [_over(comparison, trainings, run, lambda record: record["peak_memory_bytes"], max) for run in group]
    low, high = group.interval("test")
    return {
        "experiment": group.name,
        "trained_as": "" if group.recipe.trains or from_file(group.recipe) else group.recipe.training,
        "starts_from": trainings[1] if len(trainings) > 1 else "",
        "seeds": len(group),
        "seconds": float(np.mean(seconds)),
        "seconds_total": float(np.sum(seconds)),
        "images_per_second": float(np.mean([run.record["images_per_second"] for run in group])),
        "peak_memory_bytes": max(memory),
        "parameters": group.first.record["parameters"],
        "test_accuracy": group.accuracy("test"),
        "test_accuracy_low": low,
        "test_accuracy_high": high,
        "failure": group.failure,
        "verdict": group.verdict,
    }


def trainings_of(recipe: Recipe, recipes: Mapping[str, Recipe]) -> list[str]:
    """The experiments whose trainings a recipe's weights took: the one it is trained as, then those it starts from."""
    names = [recipe.training]
    while (trained := recipes.get(names[-1])) is not None and (start := start_of(trained)):
        names.append(start)
    return names


def _over(
    comparison: Comparison,
    trainings: list[str],
    run: Run,
    of: Callable[[Mapping[str, Any]], Any],
    together: Callable[[list[Any]], Any],
) -> Any:
    """A number of the run.json of every training that a run took; recipes left out of the comparison are not known."""
    own = [of(run.record)]
    others = [one.record for name in trainings[1:] for one in comparison.recipes.get(name, ()) if one.seed == run.seed]
    return together([*own, *map(of, others)])


def cost_in_words(table: pd.DataFrame) -> list[str]:
    """What the frontier says, as plain sentences.

    Args:
        table: as `costs` gives it.
    """
    best = table[table["verdict"] == BEST].iloc[0]
    alike = table[
        table["verdict"].isin([BEST, NOT_DISTINGUISHABLE]) & ((table["failure"] == "") | (table["verdict"] == BEST))
    ]
    cheapest = alike.iloc[0]
    taken = f"{best['experiment']} takes {duration(best['seconds'])} to train"
    if math.isnan(best["seconds"]):
        first = f"What the training of {best['experiment']} took is not known: its predictions come from a file."
    elif cheapest["seconds"] >= best["seconds"]:  # itself, or a row that has its training
        first = f"{taken}; no cheaper recipe is indistinguishable from it." if len(table) > 1 else f"{taken}."
    else:
        share = cheapest["seconds"] / best["seconds"]
        first = (
            f"{taken}. The cheapest recipe not distinguishable from it, {cheapest['experiment']}, takes "
            f"{duration(cheapest['seconds'])} ({share:.0%}) and has {cheapest['test_accuracy']:.1%} of the test images "
            f"right, not {best['test_accuracy']:.1%}."
        )
    members = table[table["on_frontier"]]
    listed = [f"{row.experiment} ({duration(row.seconds)}, {row.test_accuracy:.1%})" for row in members.itertuples()]
    if not listed:  # every recipe failed
        return [first]
    return [first, f"On the frontier, where no other recipe is as accurate and as cheap: {', '.join(listed)}."]


def duration(seconds: float) -> str:
    """Wall time in the unit that reads best: "2.4 s", "12 s", "3.2 min", "45 min", "1.8 h"; "–" where not known."""
    if math.isnan(seconds):
        return "–"
    value, unit = (
        (seconds, "s") if seconds < 100 else (seconds / 60, "min") if seconds < 6000 else (seconds / 3600, "h")
    )
    return f"{value:.1f}".removesuffix(".0") + f" {unit}" if value < 10 else f"{value:,.0f} {unit}"
