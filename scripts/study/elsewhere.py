"""Recipes whose predictions come from a file: who made them, on which images and how is not known here.

Such a recipe has no hyperparameters: each is None, so that it means nothing and its cells are empty. In the place of
the experiment that is trained for it stands its file, "file resources/theirs.csv", which is no name that an experiment
can have: it trains nothing, and two rows with one file are of one network. Entry points:
    recipe_from_file(experiment, case, file, told) -> Recipe
    from_file(recipe) -> bool                              whether a recipe is such a one
    made_elsewhere(training) -> bool                       the same of what stands in the place of the training
    predictions_file(recipe, seed) -> Path                 the file with the predictions for a seed
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from study.combinations import TRAINED_AS
from study.recipe import EVALUATION, HYPERPARAMETERS, Recipe

PREDICTIONS = f"{EVALUATION}.predictions"
SEED = "{seed}"  # in the path
IMPORTED = "imported"  # the outcome of a run whose predictions were read from a file
ABSENT = "absent"  # in the place of a hash
_FILE = "file "


def recipe_from_file(experiment: str, case: int, file: str, told: Mapping[str, Any]) -> Recipe:
    """The recipe of a row with predictions from a file.

    Args:
        file: as the cell has it.
        told: `reported`, `source` and the like.
    """
    unknown: dict[str, Any] = dict.fromkeys(HYPERPARAMETERS)
    how = {name: column.node["default"] for name, column in HYPERPARAMETERS.items() if column.section == EVALUATION}
    return Recipe(experiment, case, unknown | how | {PREDICTIONS: file, TRAINED_AS: f"{_FILE}{file}"}, **told)


def from_file(recipe: Recipe) -> bool:
    """Whether its predictions come from a file."""
    return bool(recipe.hyperparameters.get(PREDICTIONS))


def made_elsewhere(training: str) -> bool:
    """Whether what stands in the place of the experiment that is trained (`Recipe.training`) is a file."""
    return training.startswith(_FILE)


def predictions_file(recipe: Recipe, seed: int | str) -> Path:
    """The file with the predictions of a recipe for a seed: the seed stands in the place of `SEED`."""
    return Path(recipe[PREDICTIONS].replace(SEED, str(seed)))
