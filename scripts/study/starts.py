"""Which trained weights a recipe starts from, where they are those of another experiment of the study.

Entry points:
    start_of(recipe) -> str | None                         the experiment that a training starts from
    wrong_start(recipe, recipes) -> str | None             why it cannot, in words
    starts_first(recipes) -> [name]                        an experiment after the one that it starts from
"""

import difflib
import graphlib
from collections.abc import Mapping

from study.recipe import TREATMENTS, Recipe

OF_THE_HEAD = ("model.head_hidden",)  # columns that may differ where only the backbone is started from


def start_of(recipe: Recipe) -> str | None:
    """The experiment whose weights, of the same seed, a training starts from; None for any other start."""
    name: str = recipe["model.init_from"]
    return None if name == "none" else name


def wrong_start(recipe: Recipe, recipes: Mapping[str, Recipe]) -> str | None:
    """Why a recipe cannot start from the experiment that it names, as the end of a sentence; None if it can."""
    start = start_of(recipe)
    if start is None:
        return None
    if start not in recipes:
        close = difflib.get_close_matches(start, recipes, n=1)
        hint = f"did you mean {close[0]}? " if close else ""
        return (
            f"which is no experiment with a training of its own; {hint}allowed is none or one of {', '.join(recipes)}"
        )
    line = _line(start, recipes)
    if recipe.experiment in line:
        circle = " from ".join([recipe.experiment, *line])
        return f"and so starts from itself ({circle}); allowed is none or an experiment that does not lead back to it"
    other, free = recipes[start], OF_THE_HEAD if recipe["model.init_part"] == "backbone" else ()
    for column in TREATMENTS["model"]:
        if recipe[column] != other[column] and column not in free:
            return (
                f"whose {column} is {other[column]}, not {recipe[column]}; allowed is an experiment of the same model"
            )
    if recipe["model.init_part"] == "all" and recipe.normed != other.normed:
        return (
            f"whose loss is {other.loss}, not {recipe.loss}, and LDAM alone ends in a normalised layer; allowed is an "
            "experiment with such a loss, or the init_part backbone"
        )
    return None


def _line(start: str, recipes: Mapping[str, Recipe]) -> list[str]:
    """An experiment and those that it starts from in turn, up to one that stands there already."""
    names = [start]
    while (start := start_of(recipes[start]) or "") in recipes and start not in names:
        names.append(start)
    return names


def starts_first(recipes: Mapping[str, Recipe]) -> list[str]:
    """The names of recipes without a `wrong_start`, each after the one that it starts from."""
    graph = {name: [start] if (start := start_of(recipe)) else [] for name, recipe in recipes.items()}
    return list(graphlib.TopologicalSorter(graph).static_order())
