"""Any recipe that can be written: it is refused in one line, or trains the same however often it is killed.

Recipes are drawn from the schema, so a column that comes later is drawn too.
"""

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hypothesis import HealthCheck, assume, event, given, settings
from hypothesis import strategies as st
from small_run import CLASSES, RECIPE, SIZES, small_data, small_train

from study.data.class_weights import class_weights
from study.errors import StudyError
from study.names import HISTORY_COLUMNS
from study.recipe import HYPERPARAMETERS, Column, Recipe
from study.recipe_table import read_recipes

EPOCHS = 4
# What the small training needs as it is: its network and how far it goes. Which weights it starts from, and whose
# predictions it takes, is for studies of several recipes.
FIXED = {
    *("model.name", "model.width", "model.weights", "model.head_hidden", "model.init_from", "model.init_part"),
    *("model.normalized_head", "batch_size", "max_epochs", "training.precision"),
    *(name for name, column in HYPERPARAMETERS.items() if column.section == "evaluation"),
}
# Where bounds leave more than makes sense for four epochs of four batches.
RANGES = {"lr": (1e-4, 3e-2), "min_lr": (0.0, 1e-4), "weight_decay": (0.0, 1e-2), "augmentation.rotation": (0, 30)}


def values(column: Column) -> st.SearchStrategy[Any]:
    """Values of a column that its part of the schema allows."""
    node = column.node
    if "enum" in node:
        return st.sampled_from(node["enum"])
    kinds = node["type"] if isinstance(node["type"], list) else [node["type"]]
    if "null" in kinds:
        return st.one_of(st.none(), numbers(column.name, {**node, "type": kinds[0]}))
    if kinds == ["boolean"]:
        return st.booleans()
    if kinds == ["array"]:
        least, most = node.get("minItems", 1), node.get("maxItems", 3)
        items = node.get("items") or node["prefixItems"][-1]
        parts = st.lists(numbers(column.name, items), min_size=least, max_size=most, unique=True)
        return parts.map(sorted)
    return numbers(column.name, node)


def numbers(name: str, node: Any) -> st.SearchStrategy[float | int]:
    """Numbers within the bounds of the schema; without an upper one at most 3, as counts and factors have it."""
    low, high = RANGES.get(name, (node.get("minimum", node.get("exclusiveMinimum", 0)), None))
    if high is None:
        high = node.get("maximum", node.get("exclusiveMaximum", low + 3))
    if node["type"] == "integer":
        return st.integers(int(low), int(high))
    beside = {"exclude_min": "exclusiveMinimum" in node, "exclude_max": "exclusiveMaximum" in node}
    inside = {} if name in RANGES else beside
    return st.floats(float(low), float(high), **inside).map(lambda value: float(f"{value:.4g}"))  # as a cell has it


@st.composite
def rows(draw: st.DrawFn) -> dict[str, Any]:
    """Columns of a recipe: the required ones, and a handful of the others, those that another one asks for first."""
    row = {name: RECIPE[name] for name in ("batch_size", "optimizer", "lr", "min_lr", "loss", "activation", "sampler")}
    row |= {"max_epochs": EPOCHS}
    free = [name for name in HYPERPARAMETERS if name not in FIXED]
    chosen = draw(st.lists(st.sampled_from(free), min_size=2, max_size=9, unique=True))
    for name in sorted(chosen, key=free.index):
        for other, allowed in HYPERPARAMETERS[name].node.get("only_with", {}).items():
            row[other] = 1 if isinstance(allowed, dict) else draw(st.sampled_from(list(allowed)))
        row[name] = draw(values(HYPERPARAMETERS[name]))
    return row


def cell(value: Any) -> str:
    """A value as a cell of the table spells it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(map(cell, value)) if isinstance(value, list) else str(value)


def written(row: dict[str, Any], folder: Path) -> Recipe:
    """The recipe that reading the row as a table gives.

    Raises:
        StudyError: it cannot be.
    """
    cells = {"experiment": "small", "case": 1, **row}
    path = folder / "recipes.tsv"
    path.write_text("\n".join("\t".join(map(cell, part)) for part in (cells, cells.values())) + "\n", encoding="utf-8")
    return read_recipes(path, study=RECIPE.hyperparameters)["small"]


class Killed(BaseException):
    """What ends a training in the middle of it."""


def weights_of(recipe: Recipe) -> np.ndarray | None:
    if not recipe.weighted:
        return None
    counts = np.bincount(np.arange(SIZES["train"]) % len(CLASSES)) * np.arange(1, len(CLASSES) + 1)
    return class_weights(counts.tolist(), recipe["loss.class_weights"], recipe["loss.effective_number_beta"])


def history(result: Any) -> list[tuple[float, ...]]:
    """What is to be the same: every column but the seconds, nan equal to nan."""
    names = [name for name in HISTORY_COLUMNS if name != "seconds"]
    return [tuple(repr(row[name]) for name in names) for row in result.history]


@settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)
@given(row=rows(), kill_after=st.integers(1, EPOCHS - 1))
def test_a_recipe_is_refused_in_one_line_or_trains_the_same_after_a_kill(
    tmp_path_factory: Any, row: dict[str, Any], kill_after: int
) -> None:
    folder = tmp_path_factory.mktemp("any")
    try:
        recipe = written(row, folder)
    except StudyError as error:
        event("refused")
        assert "\n" not in str(error) and "recipes.tsv, row 2, column '" in str(error)
        assume(False)
    assert written({name: recipe[name] for name in row}, folder).deciding == recipe.deciding
    recipe = Recipe.of("small", study={}, **recipe.deciding)  # as a job makes it of its params
    event("trained")
    common: dict[str, Any] = {"class_weights": weights_of(recipe), "data": small_data(3)}
    whole = small_train(recipe, **common)
    assert all(math.isfinite(row["val_loss"]) for row in whole.history[:-1])
    lines: list[str] = []

    def report(line: str) -> None:
        lines.append(line)
        if len(lines) > kill_after + 1:  # the opening line, then one per epoch, before its checkpoint
            raise Killed

    as_in_params = Recipe.of("small", 1, study={}, **recipe.deciding)
    try:
        small_train(as_in_params, checkpoint_dir=folder / "checkpoints", report=report, **common)
    except Killed:
        event("killed")
    again = small_train(as_in_params, checkpoint_dir=folder / "checkpoints", **common)
    assert history(again) == history(whole)
    assert again.outcome == whole.outcome and again.best_epoch == whole.best_epoch
    assert all(torch.equal(again.weights[name], tensor) for name, tensor in whole.weights.items())
