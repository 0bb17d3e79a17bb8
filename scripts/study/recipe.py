"""The table of recipes: one validated row of `experiments.tsv` is one `Recipe`.

Reading is done with the standard library so that planning (`snakemake -n`) loads nothing heavy.
"""

import csv
import difflib
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any

from study.errors import StudyError

OPTIMIZERS = ("SGD", "Adam")
LOSSES = ("cross_entropy", "weighted_cross_entropy")
ACTIVATIONS = ("softmax", "log_softmax", "logits")
SAMPLERS = ("shuffle", "balanced")

NOT_HYPERPARAMETERS = ("experiment", "case", "reported", "reported_note")


@dataclass(frozen=True)
class Recipe:
    """One training recipe. Fields are the columns of `experiments.tsv`, in PyTorch's terms.

    Attributes:
        experiment: unique name; the `{experiment}` wildcard.
        case: number of the comparison (table) the recipe belongs to.
        optimizer: "SGD" or "Adam".
        lr: initial learning rate.
        min_lr: floor that ReduceLROnPlateau may not cross.
        batch_size: images per optimizer step.
        max_epochs: epochs if nothing stops the run earlier.
        loss: "cross_entropy" or "weighted_cross_entropy" (weights from the training split).
        activation: what stands between the last linear layer and the loss.
        sampler: "shuffle" (every image once per epoch) or "balanced" (drawn with replacement, classes equally likely).
        momentum, weight_decay, nesterov: passed to the optimizer; momentum and nesterov are SGD's.
        reported: best validation accuracy a publication reported, or None.
        reported_note: what it reported in words where there is no such number.
    """

    experiment: str
    case: int
    optimizer: str
    lr: float
    min_lr: float
    batch_size: int
    max_epochs: int
    loss: str
    activation: str
    sampler: str
    momentum: float = 0.0
    weight_decay: float = 0.0
    nesterov: bool = False
    reported: float | None = None
    reported_note: str = ""

    @property
    def weighted(self) -> bool:
        """Whether the loss weighs the classes."""
        return self.loss == "weighted_cross_entropy"

    def hyperparameters(self) -> dict[str, Any]:
        """All that decides the training, in the order of the fields; nothing that is only shown in tables."""
        return {name: value for name, value in asdict(self).items() if name not in NOT_HYPERPARAMETERS}


def _one_of(allowed: tuple[str, ...]) -> tuple[Callable[[str], str], str]:
    def parse(text: str) -> str:
        if text not in allowed:
            raise ValueError
        return text

    return parse, "one of " + ", ".join(allowed)


def _number(low: float, high: float = math.inf, *, above: bool = False) -> Callable[[str], float]:
    def parse(text: str) -> float:
        value = float(text)
        if not (low < value if above else low <= value) or value > high or not math.isfinite(value):
            raise ValueError
        return value

    return parse


def _integer(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ValueError
    return value


def _name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", text):
        raise ValueError
    return text


def _flag(text: str) -> bool:
    return {"true": True, "false": False}[text.lower()]


# column -> (parser of the cell, what is allowed, in words)
COLUMNS: dict[str, tuple[Callable[[str], Any], str]] = {
    "experiment": (_name, "letters, digits, '_', '-' and '.', beginning with a letter or digit"),
    "case": (_integer, "a whole number of at least 1"),
    "optimizer": _one_of(OPTIMIZERS),
    "lr": (_number(0, above=True), "a number above 0"),
    "min_lr": (_number(0), "a number of at least 0"),
    "batch_size": (_integer, "a whole number of at least 1"),
    "max_epochs": (_integer, "a whole number of at least 1"),
    "loss": _one_of(LOSSES),
    "activation": _one_of(ACTIVATIONS),
    "sampler": _one_of(SAMPLERS),
    "momentum": (_number(0, 1), "a number from 0 to 1"),
    "weight_decay": (_number(0), "a number of at least 0"),
    "nesterov": (_flag, "true or false"),
    "reported": (_number(0, 1), "an accuracy from 0 to 1, or nothing"),
    "reported_note": (str, "any text"),
}
OPTIONAL = tuple(field.name for field in fields(Recipe) if field.default is not MISSING)


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
    cells_of_rows = csv.reader((line for _, line in lines[1:]), delimiter="\t")
    return [
        (row, _read_row(path, row, header, [cell.strip() for cell in cells]))
        for (row, _), cells in zip(lines[1:], cells_of_rows, strict=True)
    ]


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
    missing = [name for name in COLUMNS if name not in header and name not in OPTIONAL]
    if missing:
        raise StudyError(f"{path}, row 1: missing column {', '.join(map(repr, missing))}; found: {', '.join(header)}")


def _read_row(path: Path, row: int, header: list[str], cells: list[str]) -> Recipe:
    if len(cells) != len(header):
        raise StudyError(f"{path}, row {row}: {len(cells)} cells found, {len(header)} expected (one per column)")
    values: dict[str, Any] = {}
    for column, cell in zip(header, cells, strict=True):
        if cell == "" and column in OPTIONAL:
            continue  # the field's default
        parse, allowed = COLUMNS[column]
        try:
            values[column] = parse(cell)
        except (ValueError, KeyError):
            raise StudyError(f"{path}, row {row}, column '{column}': found '{cell}', allowed is {allowed}") from None
    recipe = Recipe(**values)
    if recipe.min_lr > recipe.lr:
        raise StudyError(
            f"{path}, row {row}, column 'min_lr': found {recipe.min_lr:g}, allowed is at most lr = {recipe.lr:g}"
        )
    if recipe.optimizer == "Adam" and (recipe.momentum or recipe.nesterov):
        raise StudyError(
            f"{path}, row {row}, column 'momentum': Adam takes neither momentum nor nesterov; allowed is 0 or nothing"
        )
    if recipe.nesterov and not recipe.momentum:
        raise StudyError(f"{path}, row {row}, column 'nesterov': found true, which needs a momentum above 0")
    return recipe
