"""The table of recipes, `experiments.tsv`: one row is one recipe. A wrong cell is named with what is allowed.

Lines that begin with "#" are comments, and "# case 1: …" is the caption of a case. Rows are counted as in the file.

Entry points:
    read_recipes(tables) -> {experiment: Recipe}           the rows of the tables of recipes, checked
    place_of(tables, experiment) -> str                    where a recipe stands, for messages
    read_captions(tables) -> {case: caption}               what their cases ask
    map_cells(path, column, change, comment) -> str        a table with other cells in a column
"""

import codecs
import csv
import difflib
import functools
import io
import re
from collections.abc import Callable, Collection, Mapping, Sequence, Set
from pathlib import Path
from typing import Any

from study.combinations import TRAINED_AS, disagreements, spelled
from study.elsewhere import PREDICTIONS, recipe_from_file
from study.errors import StudyError
from study.recipe import (
    COLUMNS,
    EVALUATION,
    HYPERPARAMETERS,
    KEYS,
    NO_HYPERPARAMETERS,
    RECIPE_SECTIONS,
    TOLD,
    Column,
    Recipe,
    column_named,
)
from study.reference import allowed
from study.schema import SCHEMA, validator
from study.starts import start_of, wrong_start

SHOWN = 10  # wrong rows of a table, at most
SEPARATORS = {",": "commas", ";": "semicolons", "|": "bars", " ": "blanks"}  # that others put between columns
LOOK_ALIKES = str.maketrans({",": ".", **dict.fromkeys("\u2010\u2011\u2012\u2013\u2212", "-")})  # in a number's place


def read_recipes(
    tables: str | Path | Sequence[str | Path], folder: Path = Path(), study: Mapping[str, Any] | None = None
) -> dict[str, Recipe]:
    """The rows of one or several tab-separated tables, by experiment name, in the tables' order.

    Args:
        tables: paths, relative to `folder`.
        study: the values of empty cells, `values_of` the study's configuration; those of the shipped one without.

    Raises:
        StudyError: naming file, row, column, the value found and the value allowed.
    """
    rows: dict[str, tuple[str, dict[str, Any]]] = {}
    first_seen: dict[str, str] = {}
    for path in _listed(tables):
        for row, values in _read_table(folder / path):
            name, where = values["experiment"], f"{path}, row {row}"
            if name.lower() in first_seen:  # folders of file systems that ignore case
                raise StudyError(
                    f"{where}, column 'experiment': '{name}' stands in {first_seen[name.lower()]} already; each name "
                    "is used once (upper and lower case count as the same)"
                )
            first_seen[name.lower()] = where
            rows[name] = f"{folder / path}, row {row}", _spelled_as_in(study or {}, values)
    trained = {
        name: _checked(where, Recipe.of(study=study, **values), set(values))
        for name, (where, values) in rows.items()
        if not values.keys() & {TRAINED_AS, PREDICTIONS}
    }
    for recipe in trained.values():
        if why := wrong_start(recipe, trained):
            own = recipe["model.init_from"] != (study or {}).get("model.init_from", "none")
            where = "column" if own else "config key"
            found = f"{first_seen[recipe.experiment.lower()]}, {where} 'model.init_from': found {start_of(recipe)}"
            raise StudyError(f"{found}, {why}")
    return {
        name: trained[name]
        if name in trained
        else _from_file(where, values)
        if PREDICTIONS in values
        else _without_training(where, values, trained, list(rows))
        for name, (where, values) in rows.items()
    }


def place_of(tables: str | Path | Sequence[str | Path], experiment: str) -> str:
    """Where a recipe stands: "config/mine.tsv, row 7, experiment 'plain'"; without the row if it is in none of them."""
    for path in _listed(tables):
        for row, values in _read_table(Path(path)):
            if values["experiment"] == experiment:
                return f"{path}, row {row}, experiment '{experiment}'"
    return f"experiment '{experiment}'"


def _spelled_as_in(study: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """The cells, a number that is the study's as the study has it: 10.0 and 10 would be two recipes to Snakemake."""
    return {
        name: study[name] if isinstance(value, float) and study.get(name) == value else value
        for name, value in values.items()
    }


def read_captions(tables: str | Path | Sequence[str | Path], folder: Path = Path()) -> dict[str, str]:
    """What the cases of one or several tables ask, by the case's number as text: their lines "# case 1: …".

    Raises:
        StudyError: a table is not readable.
    """
    captions = {}
    for path in _listed(tables):
        for _, line in _lines(folder / path):
            if found := re.fullmatch(r"#\s*case\s+0*(\d+)\s*:(.*)", _comment(line), re.IGNORECASE):
                captions[found[1]] = found[2].strip()
    return captions


def map_cells(path: Path, column: str, change: Callable[[str], str], comment: Callable[[str], str]) -> str:
    """The text of a table with other cells in a column and other comments; empty cells stay.

    Raises:
        StudyError: the table is not readable.
    """
    text = io.StringIO()
    table = csv.writer(text, delimiter="\t", lineterminator="\n")
    header: list[str] = []
    for row, line in _lines(path):
        if words := _comment(line):
            text.write(f"{comment(words)}\n")
        elif line.strip():
            cells = _cells(path, row, line)
            if not header:
                header = [column_named(name) or name for name in cells]
            elif column in header and (cell := cells[header.index(column)]):
                cells[header.index(column)] = change(cell)
            table.writerow(cells)
    return text.getvalue()


def _listed(tables: str | Path | Sequence[str | Path]) -> Sequence[str | Path]:
    return [tables] if isinstance(tables, str | Path) else tables


def _read_table(path: Path) -> list[tuple[int, dict[str, Any]]]:
    """The cells of one table that are not empty, by column, with the rows they stand in."""
    lines = [(row, line) for row, line in _lines(path) if line.strip() and not _comment(line)]
    if not lines:
        raise StudyError(f"{path}: the table is empty; its first row names the columns: {', '.join(COLUMNS)}")
    row, line = lines[0]
    names = _cells(path, row, line)
    while len(names) > 1 and not names[-1]:  # columns without a name at the end
        names.pop()
    header = _read_header(path, row, names)
    if len(lines) == 1:
        raise StudyError(f"{path}: no recipe below the header; each row is one recipe")
    rows, wrong = [], []
    for row, line in lines[1:]:
        try:
            rows.append((row, _read_row(path, row, header, _cells(path, row, line))))
        except StudyError as error:
            wrong.append(str(error))
    if wrong:
        more = [f"{len(wrong) - SHOWN + 1} more rows like these"] if len(wrong) > SHOWN else []
        raise StudyError("\n  ".join([*wrong[: SHOWN - bool(more)], *more]))
    return rows


def _lines(path: Path) -> list[tuple[int, str]]:
    """The lines of a file with their numbers from 1, whatever ends them; UTF-8, or UTF-16 as Excel writes it."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise StudyError(f"{path}: the table of recipes does not exist (config key 'experiments')") from None
    except OSError as error:
        raise StudyError(f"{path}: the table of recipes is not readable ({error.strerror})") from None
    wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = content.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        row = len(re.split(rb"\r\n|\r|\n", content[: error.start]))
        raise StudyError(f"{path}, row {row}: not UTF-8 text ({error.reason}); save the table as UTF-8") from None
    if "\0" in text:
        raise StudyError(f"{path}: not UTF-8 text (it holds zero bytes); save the table as UTF-8")
    return list(enumerate(re.split(r"\r\n|\r|\n", text), 1))


def _comment(line: str) -> str:
    """The line if it is a comment, without the quotes and empty columns that a spreadsheet adds; else ""."""
    text = line.strip()
    if text.startswith('"#'):
        text = text[1:].removesuffix('"').replace('""', '"')
    return text if text.startswith("#") else ""


def _cells(path: Path, row: int, line: str) -> list[str]:
    try:
        return [cell.strip() for cell in next(csv.reader([line], delimiter="\t", strict=True))]
    except csv.Error as error:
        raise StudyError(
            f"{path}, row {row}: a quotation mark at the start of a cell needs one at its end ({error}); quote the "
            "whole cell, or none of it"
        ) from None


def _read_header(path: Path, row: int, header: list[str]) -> list[str]:
    """The columns that a row of names stands for."""
    if len(header) == 1:
        for separator, words in SEPARATORS.items():
            if separator in header[0]:
                raise StudyError(f"{path}, row {row}: one column found; columns are separated by tabs, not by {words}")
    columns: list[str] = []
    for number, name in enumerate(header, 1):
        if not name:
            raise StudyError(f"{path}, row {row}: column {number} has no name; name it or remove it")
        column = _column_of(path, row, name)
        if column in columns:
            before = header[columns.index(column)]
            how = "twice" if before == name else f"twice, as '{before}' and as '{name}'"
            raise StudyError(f"{path}, row {row}: the column '{column}' stands {how}; each is used once")
        columns.append(column)
    _need(path, row, columns, NO_HYPERPARAMETERS if PREDICTIONS in columns else COLUMNS)
    return columns


def _need(path: Path, row: int, columns: Sequence[str], needed: Collection[str]) -> None:
    """Refuse a table without a column that is no optional one."""
    missing = [name for name in needed if name not in columns and not COLUMNS[name].optional]
    if missing:
        raise StudyError(
            f"{path}, row {row}: missing column {', '.join(map(repr, missing))}; found: {', '.join(columns)}"
        )


def _column_of(path: Path, row: int, name: str) -> str:
    if column := column_named(name):
        return column
    name = _key_named(name)
    section = name.partition(".")[0]
    if name in KEYS:
        why = f"is the same for every recipe: {KEYS[name]['for_all']}"
    elif section in SCHEMA["properties"] and section not in RECIPE_SECTIONS:
        why = "is the same for every recipe, as recipes are compared on the same images by the same measures"
    else:
        known = [*COLUMNS, *(column.key for column in COLUMNS.values() if column_named(column.key))]
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean '{close[0]}'? Allowed" if close else "; allowed"
        bare = ", ".join(name for name, column in COLUMNS.items() if not column.section)
        keys = f"and the keys of the sections {', '.join(RECIPE_SECTIONS)} (config/README.md)"
        raise StudyError(f"{path}, row {row}: unknown column {name!r}{hint}: {bare}, {keys}")
    raise StudyError(f"{path}, row {row}: the key '{name}' is no column, it {why}; set it in the study's configuration")


def _key_named(name: str) -> str:
    """The key of the configuration that is no column, by its own name where one section alone has it; else the name."""
    meant = [
        f"{section}.{name}" for section, node in SCHEMA["properties"].items() if name in node.get("properties", ())
    ]
    return meant[0] if len(meant) == 1 and column_named(meant[0]) is None else name


def _read_row(path: Path, row: int, header: list[str], cells: list[str]) -> dict[str, Any]:
    while len(cells) > len(header) and not cells[-1]:
        cells.pop()
    if len(cells) != len(header):
        raise StudyError(f"{path}, row {row}: {len(cells)} cells found, {len(header)} expected (one per column)")
    values: dict[str, Any] = {}
    trains = not any(cells[header.index(name)] for name in (TRAINED_AS, PREDICTIONS) if name in header)
    if trains:
        _need(path, row, header, COLUMNS)
    for name, cell in zip(header, cells, strict=True):
        column = COLUMNS[name]
        if cell == "" and (column.optional or (name in HYPERPARAMETERS and not trains)):
            continue  # the default, the study's value, or that of the recipe that is trained
        try:
            values[name] = parse(column, cell)
        except ValueError:
            raise StudyError(
                f"{path}, row {row}, column '{name}': found {cell!r}, allowed is {allowed(column.node)}"
                + _plain_number(column, cell)
            ) from None
    return values


def _checked(row: str, recipe: Recipe, given: Set[str]) -> Recipe:
    """The recipe, whose values fit each other.

    Args:
        row: where it stands, "config/experiments.tsv, row 7".
        given: the columns whose cell is not empty.
    """
    for name, found, rule in disagreements(recipe, given):
        where = f"column '{name}'" if name in given else f"config key '{name}'"
        raise StudyError(f"{row}, {where}: found {found}, {rule}")
    return recipe


def _from_file(row: str, values: Mapping[str, Any]) -> Recipe:
    """The recipe of a row with predictions from a file, which has no hyperparameters."""
    for name in values:
        if name in HYPERPARAMETERS and name != PREDICTIONS:
            raise StudyError(
                f"{row}, column '{name}': found {spelled(values[name])}, allowed is nothing: the row's predictions "
                f"come from a file ('{PREDICTIONS}' is {values[PREDICTIONS]}), and it is not known how they were made"
            )
    told = {name: values[name] for name in TOLD if name in values}
    return recipe_from_file(values["experiment"], values["case"], values[PREDICTIONS], told)


def _without_training(
    row: str, values: Mapping[str, Any], trained: Mapping[str, Recipe], names: Sequence[str]
) -> Recipe:
    """The recipe of a row that takes another one's training: that one's hyperparameters, evaluated in its own way.

    Args:
        trained: the recipes that are trained.
        names: of all rows.
    """
    of, where = values[TRAINED_AS], f"{row}, column '{TRAINED_AS}': found '{values[TRAINED_AS]}'"
    if of == values["experiment"]:
        raise StudyError(
            f"{where}, the row itself; allowed is another experiment, or nothing for a training of its own"
        )
    if of not in names:
        close = difflib.get_close_matches(of, trained, n=1)
        hint = f"; did you mean '{close[0]}'?" if close else ""
        raise StudyError(f"{where}, an experiment that no table has{hint}; allowed: {', '.join(trained)}")
    if of not in trained:
        raise StudyError(f"{where}, a row without training itself; allowed: {', '.join(trained)}")
    base = trained[of]
    for name, value in values.items():
        own = name not in HYPERPARAMETERS or HYPERPARAMETERS[name].section == EVALUATION
        if not own and value != base[name]:
            raise StudyError(
                f"{row}, column '{name}': found {spelled(value)}, allowed is nothing: the row is trained as '{of}', "
                f"which has {spelled(base[name])}"
            )
    recipe = _checked(row, Recipe.of(study={}, **{**base.hyperparameters, **values}), set(values))
    if recipe.adjusted and recipe["evaluation.tta"] != base["evaluation.tta"]:
        raise StudyError(
            f"{row}, column '{EVALUATION}.tta': found {recipe['evaluation.tta']}, allowed is nothing: the predictions "
            f"of '{of}' are adjusted as they are; give '{of}' this tta"
        )
    if recipe.evaluation == {**base.evaluation, TRAINED_AS: of}:
        raise StudyError(
            f"{row}, column '{TRAINED_AS}': found '{of}', of which the row differs in nothing; allowed is a row with "
            "another posthoc or tta"
        )
    return recipe


def parse(column: Column, cell: str) -> Any:
    """The value of a cell.

    Raises:
        ValueError: it is none of the allowed ones.
    """
    kinds = column.node.get("type", "")
    kind, null = (kinds, False) if isinstance(kinds, str) else (kinds[0], "null" in kinds)
    value = None if null and cell.lower() == "null" else _READ.get(kind, str)(cell)
    if not _validator(column.name).is_valid(value):
        raise ValueError
    return value


def _plain_number(column: Column, cell: str) -> str:
    """How a number would be written that has a comma for its point, or a dash for its minus sign."""
    plain = cell.translate(LOOK_ALIKES)
    if plain == cell or not column.numeric:
        return ""
    try:
        parse(column, plain)
    except ValueError:
        return ""
    return f"; write {plain}, with a point and a plain minus sign"


def _number(kind: Callable[[str], Any]) -> Callable[[str], Any]:
    """Reads a number; Python would take "1_0" for 10, and the digits of any script."""

    def read(text: str) -> Any:
        if not text.isascii() or "_" in text:
            raise ValueError
        return kind(text)

    return read


def _flag(text: str) -> bool:
    try:
        return {"true": True, "false": False}[text.lower()]
    except KeyError:
        raise ValueError from None


def _numbers(text: str) -> list[int | float]:
    """What a list is written as in a cell: numbers with commas between them."""
    return [_whole(part) if part.strip().isdigit() else _real(part) for part in text.split(",")]


_whole, _real = _number(int), _number(float)
_READ: dict[str, Callable[[str], Any]] = {"integer": _whole, "number": _real, "boolean": _flag, "array": _numbers}


@functools.cache
def _validator(column: str) -> Any:
    return validator(COLUMNS[column].node)
