"""Which pairs of recipes are tested: all of a few recipes; of many those that a question is about.

Entry points:
    pairs_to_test(recipes, best, limit) -> [(name, name)]   of tables/pairwise.csv
    alone(recipes, limit, treatments)                      pairs that differ in one treatment alone, with it
    only_difference(one, two, treatments) -> treatment     the same of two recipes
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components

from study.compare.runs import RecipeRuns, choose
from study.recipe import HYPERPARAMETERS, TREATMENTS, Recipe, differ

Pair = tuple[str, str]


def pairs_to_test(recipes: Mapping[str, RecipeRuns], best: str, limit: int) -> list[Pair]:
    """The pairs, in the order of the table of recipes.

    Args:
        best: the recipe chosen; beyond the limit every recipe is tested against it.
        limit: of so many recipes all pairs are tested. Of more, those of a case, and those that differ in one
            treatment alone: all of them again up to so many, else each with the one that validation chooses of them.
    """
    names = list(recipes)
    if len(names) <= limit:
        return list(itertools.combinations(names, 2))
    pairs = {(best, name) for name in names if name != best}
    cases: dict[int, list[str]] = {}
    for name, group in recipes.items():
        cases.setdefault(group.recipe.case, []).append(name)
    for case in cases.values():
        pairs.update(_within(case, recipes, limit))
    pairs.update((a, b) for _, a, b in alone(recipes, limit))
    place = {name: k for k, name in enumerate(names)}
    ordered = {tuple(sorted(pair, key=place.__getitem__)) for pair in pairs}
    return sorted(((a, b) for a, b in ordered), key=lambda pair: (place[pair[0]], place[pair[1]]))


def _within(names: Sequence[str], recipes: Mapping[str, RecipeRuns], limit: int) -> Iterator[Pair]:
    """All pairs of a few recipes; each of many with the one that validation chooses of them."""
    if len(names) <= limit:
        yield from itertools.combinations(names, 2)
    else:
        best = choose(recipes[name] for name in names).name
        yield from ((best, name) for name in names if name != best)


def alone(
    recipes: Mapping[str, RecipeRuns], limit: int, treatments: Mapping[str, Sequence[str]] = TREATMENTS
) -> list[tuple[str, str, str]]:
    """(treatment, name, name) of recipes that differ in one treatment alone, by treatment, then as the table has them.

    Args:
        limit: recipes that differ from each other in this treatment alone, of which all pairs are taken; of more, each
            with the one that validation chooses.
        treatments: treatment -> the columns that make it up.
    """
    names = list(recipes)
    found = []
    for treatment, alike in single_differences([recipes[name].capped for name in names], treatments).items():
        families, family = connected_components(alike, directed=False)
        large = {k for k, size in enumerate(np.bincount(family, minlength=families)) if size > limit}
        members = [[names[i] for i in np.flatnonzero(family == k)] for k in large]
        kept = {pair for some in members for pair in _within(some, recipes, limit)}
        for i, j in zip(*np.nonzero(np.triu(alike)), strict=True):
            pair = names[i], names[j]
            if family[i] not in large or pair in kept or pair[::-1] in kept:
                found.append((treatment, *pair))
    return found


def only_difference(one: Recipe, two: Recipe, treatments: Mapping[str, Sequence[str]] = TREATMENTS) -> str:
    """The one treatment in which two recipes differ; "" if they differ in none or in several."""
    matrices = single_differences([one, two], treatments)
    return next((treatment for treatment, alike in matrices.items() if alike[0, 1]), "")


def single_differences(
    recipes: Sequence[Recipe], treatments: Mapping[str, Sequence[str]] = TREATMENTS
) -> dict[str, NDArray[np.bool_]]:
    """Treatment -> whether two recipes differ in it and in no other, (R, R).

    Args:
        treatments: treatment -> the columns that make it up. Columns that the schema calls neutral are in none.
    """
    differing = {
        treatment: np.logical_or.reduce([_differing(recipes, column) for column in columns])
        for treatment, columns in treatments.items()
    }
    single = np.sum(list(differing.values()), axis=0, dtype=np.int16) == 1
    return {treatment: matrix & single for treatment, matrix in differing.items()}


def _differing(recipes: Sequence[Recipe], column: str) -> NDArray[np.bool_]:
    """`study.recipe.differ` for every pair of recipes, (R, R)."""
    node = HYPERPARAMETERS[column].node
    values = [recipe[column] if recipe.takes(column) else node.get("default") for recipe in recipes]
    codes, _ = pd.factorize(np.array([repr(_comparable(value)) for value in values], dtype=object))
    differing = np.asarray(codes[:, None] != codes[None, :])
    if "neutral_with" in node:
        for i, j in zip(*np.nonzero(differing), strict=True):
            differing[i, j] = differ(recipes[i], recipes[j], column)
    return differing


def _comparable(value: object) -> object:
    """What has one text where two values are equal: 1 and 1.0."""
    if isinstance(value, list):
        return [_comparable(one) for one in value]
    return float(value) if isinstance(value, int) else value
