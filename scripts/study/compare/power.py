"""How many seeds, how many test images: what this study could have found, and what a smaller difference needs.

Entry points:
    power_table(comparison) -> DataFrame                   tables/power.csv
    variances_beside(comparison, recipe, differences)      of a recipe beside the others
    smallest_of(comparison, variances) -> float            the least difference that it finds with `POWER`
    found_in_words(between, smallest) -> str               the same as a sentence
"""

import math
from collections.abc import Callable
from typing import Any

import pandas as pd

from study.compare.comparison import Comparison, paired_differences
from study.compare.points import in_points
from study.compare.runs import RecipeRuns
from study.compare.seeds_and_images import (
    POWER,
    Differences,
    Variances,
    images_needed,
    network_difference,
    network_images_needed,
    seeds_needed,
    smallest_difference,
)

WISHED = (0.005, 0.01, 0.02, 0.05)  # differences in accuracy
RECIPES, NETWORKS = "the recipes: further seeds, further images", "these trained networks: further images"
SMALLEST, SEEDS, IMAGES = "smallest difference found", "seeds needed", "test images needed"
GROUPS = "test groups needed"  # the question in the place of `IMAGES` where images are of groups
NEEDED = {IMAGES: "test images", GROUPS: "test groups", SEEDS: "seeds"}
NOTHING = "none, however large, with this power"
UNREACHABLE, UNKNOWN = "not reachable with any number", "unknown: one seed says nothing about others"

POWER_COLUMNS = [
    *("question", "difference", "seeds", "test_images", "answer", "speaks_of", "power", "alpha", "tests"),
    *("sd_seeds", "sd_images", "sd_rest"),
]


def power_table(comparison: Comparison) -> pd.DataFrame:
    """What the study finds with `POWER`, and what the `WISHED` differences in test accuracy need.

    One row for the smallest difference of this study; then for each wished one the seeds that it takes with these test
    images, and the test images that it takes with these seeds. A difference is found if its p value is at most alpha,
    (1 − confidence) / tests, what Holm's correction asks of the first of so many tests. The standard deviations are
    those of the difference between the best recipe and another, in shares of the images, see `Variances`. With one seed
    the answers are about the trained networks, and how many seeds are needed is not known.

    Where images are of groups, these are what is asked for and counted: test_groups and sd_groups are in the place of
    test_images and sd_images, of groups with as many images as these have.

    Returns:
        POWER_COLUMNS; seeds and test_images are whole numbers, missing where no number suffices or it is not known;
        `answer` says which. Empty for one recipe.
    """
    variances = variances_beside(comparison, comparison.best)
    if variances is None:
        return pd.DataFrame(columns=POWER_COLUMNS)
    seeds, images, alpha = len(comparison.best), comparison.test_units, alpha_of(comparison)
    more = IMAGES if comparison.units is None else GROUPS
    smallest = smallest_of(comparison, variances)
    rows = [_row(SMALLEST, smallest, seeds, images, in_points(smallest) if smallest < 1 else NOTHING)]
    for wished in WISHED:
        if seeds == 1:
            rows.append(_row(SEEDS, wished, None, images, UNKNOWN))
            rows.append(_counted(more, wished, 1, network_images_needed(wished, variances, alpha)))
        else:
            rows.append(_counted(SEEDS, wished, seeds_needed(wished, variances, images, alpha), images))
            rows.append(_counted(more, wished, seeds, images_needed(wished, variances, seeds, alpha)))
    table = pd.DataFrame(rows).assign(
        speaks_of=NETWORKS if seeds == 1 else RECIPES,
        power=POWER,
        alpha=alpha,
        tests=len(comparison.recipes) - 1,
        sd_seeds=math.sqrt(variances.seeds),
        sd_images=math.sqrt(variances.images),
        sd_rest=math.sqrt(variances.rest),
    )
    table = table.astype({"seeds": "Int64", "test_images": "Int64"})[POWER_COLUMNS]
    if comparison.units is not None:
        table = table.rename(columns={"test_images": "test_groups", "sd_images": "sd_groups"})
    return table


def smallest_of(comparison: Comparison, variances: Variances) -> float:
    """The least true difference, of such variances, that the study finds with `POWER`; 1 or more if it finds none.

    With one seed a difference between the trained networks.
    """
    units, alpha = comparison.test_units, alpha_of(comparison)
    if not comparison.several_seeds:
        return network_difference(variances, units, alpha)
    return smallest_difference(variances, len(comparison.best), units, alpha)


def alpha_of(comparison: Comparison) -> float:
    """The p value that the first of all tests against the best recipe needs under Holm's correction."""
    return (1 - comparison.confidence) / (len(comparison.recipes) - 1)


def found_in_words(between: str, smallest: float) -> str:
    """What `smallest_of` says of the recipes that it is about, as a sentence."""
    if smallest >= 1:
        return f"No difference {between} would have been found with a power of {POWER:.0%}."
    return (
        f"A true difference {between} is found in {POWER:.0%} of such studies if it is {in_points(smallest)} or more."
    )


def variances_beside(
    comparison: Comparison,
    one: RecipeRuns,
    differences: Callable[[RecipeRuns, RecipeRuns], Differences] = paired_differences,
) -> Variances | None:
    """Of a recipe beside the others that did not fail, or beside all if they did; None if there is no other.

    None, too, if all test images are of one group, which tells nothing of further ones.

    Args:
        differences: of two recipes by seed and image or group, those in accuracy unless told otherwise.
    """
    if comparison.test_units == 1:
        return None
    others = [group for group in comparison.recipes.values() if group is not one]
    others = [group for group in others if not group.failed] or others
    return Variances.of(differences(group, one) for group in others) if others else None


def _counted(question: str, difference: float, seeds: int | None, images: int | None) -> dict[str, Any]:
    count = seeds if question == SEEDS else images
    answer = UNREACHABLE if count is None else f"{count:,} {NEEDED[question]}"
    return _row(question, difference, seeds, images, answer)


def _row(question: str, difference: float, seeds: int | None, images: int | None, answer: str) -> dict[str, Any]:
    return {
        "question": question, "difference": difference, "seeds": seeds, "test_images": images, "answer": answer,
    }  # fmt: skip
