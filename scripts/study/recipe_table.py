"""The table of recipes, `experiments.tsv`: one row is one recipe. A wrong cell is named with what is allowed.

Entry point:
    read_recipes(tables) -> {experiment: Recipe}           the rows of the tables of recipes, checked
"""

import csv
import difflib
import functools
import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from study.errors import StudyError
from study.recipe import COLUMNS, HYPERPARAMETERS, Column, Recipe
from study.reference import allowed


def read_recipes(tables: str | Path | Sequence[str | Path], folder: Path = Path()) -> dict[str, Recipe]:
    """The rows of one or several tab-separated tables, by experiment name, in the tables' order.

    Args:
        tables: paths, relative to `folder`.

    Raises:
        StudyError: naming file, row, column, the value found and the value allowed.
    """
    recipes: dict[str, Recipe] = {}
    first_seen: dict[str, str] = {}
    for path in [tables] if isinstance(tables, str | Path) else tables:
        for row, recipe in _read_table(folder / path):
            key = recipe.experiment.lower()  # folders of file systems that ignore case
            if key in first_seen:
                raise StudyError(
                    f"{path}, row {row}, column 'experiment': '{recipe.experiment}' stands in {first_seen[key]} "
                    "already; each name is used once (upper and lower case count as the same)"
                )
            first_seen[key] = f"{path}, row {row}"
            recipes[recipe.experiment] = recipe
    return recipes


def _read_table(path: Path) -> list[tuple[int, Recipe]]:
    """The recipes of one table with the rows they stand in."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise StudyError(f"{path}: the table of recipes does not exist (config key 'experiments')") from None
    except (OSError, UnicodeDecodeError) as error:
        raise StudyError(f"{path}: not readable as UTF-8 text ({error})") from None
    lines = [(n, line) for n, line in enumerate(text.splitlines(), 1) if line.strip() and not line.startswith("#")]
    if not lines:
        raise StudyError(f"{path}: the table is empty; its first row names the columns: {', '.join(COLUMNS)}")
    header = [name.strip() for name in lines[0][1].split("\t")]
    _check_header(path, header)
    if len(lines) == 1:
        raise StudyError(f"{path}: no recipe below the header; each row is one recipe")
    return [(row, _read_row(path, row, header, _cells(path, row, line))) for row, line in lines[1:]]


def _cells(path: Path, row: int, line: str) -> list[str]:
    try:
        return [cell.strip() for cell in next(csv.reader([line], delimiter="\t", strict=True))]
    except csv.Error as error:
        raise StudyError(
            f"{path}, row {row}: a quotation mark at the start of a cell needs one at its end ({error}); quote the "
            "whole cell, or none of it"
        ) from None


def _check_header(path: Path, header: list[str]) -> None:
    if len(header) == 1 and "," in header[0]:
        raise StudyError(f"{path}, row 1: one column found; columns are separated by tabs, not by commas")
    for name in header:
        if name not in COLUMNS:
            close = difflib.get_close_matches(name, COLUMNS, n=1)
            hint = f"; did you mean '{close[0]}'?" if close else ""
            raise StudyError(f"{path}, row 1: unknown column '{name}'{hint} Allowed: {', '.join(COLUMNS)}")
        if header.count(name) > 1:
            raise StudyError(f"{path}, row 1: the column '{name}' stands twice; each is used once")
    missing = [name for name, column in COLUMNS.items() if name not in header and not column.optional]
    if missing:
        raise StudyError(f"{path}, row 1: missing column {', '.join(map(repr, missing))}; found: {', '.join(header)}")


def _read_row(path: Path, row: int, header: list[str], cells: list[str]) -> Recipe:
    if len(cells) != len(header):
        raise StudyError(f"{path}, row {row}: {len(cells)} cells found, {len(header)} expected (one per column)")
    values: dict[str, Any] = {}
    for name, cell in zip(header, cells, strict=True):
        column = COLUMNS[name]
        if cell == "" and column.optional:
            continue  # the default
        try:
            values[name] = parse(column, cell)
        except ValueError:
            what = allowed(column.node)
            raise StudyError(f"{path}, row {row}, column '{name}': found '{cell}', allowed is {what}") from None
    recipe = Recipe.of(**values)
    for name, found, rule in _disagreements(recipe):
        raise StudyError(f"{path}, row {row}, column '{name}': found {found}, {rule}")
    return recipe


def parse(column: Column, cell: str) -> Any:
    """The value of a cell.

    Raises:
        ValueError: it is none of the allowed ones.
    """
    value = _READ.get(column.node.get("type", ""), str)(cell)
    finite = not isinstance(value, float) or math.isfinite(value)
    if not finite or not _validator(column.name).is_valid(value):
        raise ValueError
    return value


def _flag(text: str) -> bool:
    try:
        return {"true": True, "false": False}[text.lower()]
    except KeyError:
        raise ValueError from None


_READ: dict[str, Callable[[str], Any]] = {"integer": int, "number": float, "boolean": _flag}


@functools.cache
def _validator(column: str) -> Any:
    from jsonschema import Draft202012Validator

    return Draft202012Validator(dict(COLUMNS[column].node))


def _disagreements(recipe: Recipe) -> Iterable[tuple[str, str, str]]:
    """Values that do not fit each other: the column, its value as text, and what is allowed instead."""
    for name, column in HYPERPARAMETERS.items():
        value = recipe.hyperparameters[name]
        for other, values in column.node.get("only_with", {}).items():
            chosen = recipe.hyperparameters[other]
            if chosen not in values and value != (default := column.node["default"]):
                rule = f"which the {other} {chosen} does not take; allowed is {_spelled(default)} or nothing"
                yield name, _spelled(value), rule
    if recipe.min_lr > recipe.lr:
        yield "min_lr", f"{recipe.min_lr:g}", f"allowed is at most lr = {recipe.lr:g}"
    if recipe.nesterov and not recipe.momentum:
        yield "nesterov", "true", "which needs a momentum above 0"


def _spelled(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value:g}"
