"""Which of many recipes are shown where all of them cannot be read.

Entry points:
    shown(groups, most) -> [RecipeRuns]                    the best ones, and failures that were reported on
    best_ones(comparison, most) -> [RecipeRuns]            the recipe chosen and the next best that did not fail
    largest_effects(pairs) -> (DataFrame, left out)        of tables/effects.csv
    of_all(some, groups) -> str                            " (30 of 500 recipes)"
    failures_counted(groups) -> str                        "12 collapsed, 3 diverged"
"""

from collections import Counter
from collections.abc import Iterable, Sized

import pandas as pd

from study.compare.comparison import Comparison
from study.compare.runs import RecipeRuns
from study.compare.verdicts import HIGHER, LOWER

# Recipes, and as many failures that a publication reported on: what a figure and a table can hold and be read.
MOST = 30
EFFECTS_OF_EACH, EFFECTS = 5, 60  # of a treatment, and of all, where there are more


def shown(groups: Iterable[RecipeRuns], most: int = MOST) -> list[RecipeRuns]:
    """All of up to `most` recipes; of more the best ones, in the order given.

    These are those with the highest validation accuracy, recipes that failed last, and up to as many failures that a
    publication reported on.
    """
    groups = list(groups)
    if len(groups) <= most:
        return groups
    ranked = sorted(groups, key=lambda group: (group.failed, -group.accuracy("val")))[:most]
    reported = [group for group in groups if group.failed and group.reported_on][:most]
    kept = {group.name for group in (*ranked, *reported)}
    return [group for group in groups if group.name in kept]


def best_ones(comparison: Comparison, most: int = 4) -> list[RecipeRuns]:
    """The recipe chosen, and those that come next by validation accuracy and did not fail."""
    best = comparison.best
    others = sorted(comparison.recipes.values(), key=lambda group: -group.accuracy("val"))
    return [best, *(group for group in others if group is not best and not group.failed)][:most]


def of_all(some: Sized, groups: Sized) -> str:
    """How many recipes are shown, for the end of a title; "" if all are."""
    return f" ({len(some)} of {len(groups):,} recipes)" if len(some) < len(groups) else ""


def failures_counted(groups: Iterable[RecipeRuns]) -> str:
    """How many failed in which way, in words; "" if none did."""
    counts = Counter(group.failure for group in groups if group.failure)
    return ", ".join(f"{count:,} {failure}" for failure, count in counts.most_common())


def largest_effects(pairs: pd.DataFrame, each: int = EFFECTS_OF_EACH, most: int = EFFECTS) -> tuple[pd.DataFrame, int]:
    """The largest differences of each treatment, in the order of the table, and how many are left out.

    Of at most `most` pairs all are taken. Of more, those that can be told apart come before the others, larger
    differences before smaller ones, pairs without a failure before those with one.

    Args:
        each: pairs of a treatment.
        most: pairs of all.
    """
    if len(pairs) <= most:
        return pairs, 0
    rank = pd.DataFrame({
        "failed": pairs["failed"] != "", "unsure": ~pairs["verdict"].isin((HIGHER, LOWER)),
        "size": -pairs["accuracy_difference"].abs(),
    })  # fmt: skip
    ordered = pairs.loc[rank.sort_values(list(rank), kind="stable").index]
    place = ordered.groupby("treatment", sort=False).cumcount()
    kept = ordered[place < each].index[:most]
    return pairs.loc[sorted(kept)], len(pairs) - len(kept)
