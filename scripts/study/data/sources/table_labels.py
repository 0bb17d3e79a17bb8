"""The class of every row of a table: a name, a number, one column per class, or votes.

Entry points:
    labels_of(cells, columns) -> Labels                    the class of each row, "" for none
    one_hot_columns(cells, others) -> [str]                columns that together look like one per class
    named(labels, class_names, where) -> Series            classes by the names that `data.class_names` gives them
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from study.data.data_settings import composed
from study.data.folder_tree import alike_names
from study.data.sources.column_names import some_of
from study.data.sources.tables import SEVERAL, Cells
from study.errors import StudyError

BETWEEN_LABELS = ("|", ";", ",")  # of a cell with several classes
FEW = 10  # images; among fewer each may be the only one of its class


@dataclass(frozen=True)
class Labels:
    """The class of each row.

    Attributes:
        labels: text, index as the table's; "" for a row that names none.
        notes: sentences for the log.
    """

    labels: pd.Series
    notes: list[str] = field(default_factory=list)


def labels_of(cells: Cells, columns: list[str]) -> Labels:
    """The class of each row from one column, or from several with one class each.

    Raises:
        StudyError: several classes in a row; a cell that is no number in one of several columns; a row without a vote.
    """
    if len(columns) == 1:
        return Labels(_single(cells, columns[0]))
    return _of_several(cells, columns)


def one_hot_columns(cells: Cells, others: set[str]) -> list[str]:
    """Two columns or more, beside the others, in which every cell is 0 or 1, if most rows have one 1; else none."""
    candidates = [name for name in cells.table.columns if name not in others]
    flags = [name for name in candidates if cells.table[name].isin(["0", "1", "0.0", "1.0"]).all()]
    if len(flags) < 2:
        return []
    ones = sum((cells.table[name].isin(["1", "1.0"]).astype(int) for name in flags), pd.Series(0, cells.table.index))
    return flags if ((ones >= 1).mean() > 0.5) else []


def named(labels: pd.Series, class_names: dict[str, str], where: str) -> pd.Series:
    """The labels under the names that the configuration gives them, in Unicode's composed form; "" stays.

    Raises:
        StudyError: a name for a label that no row has; two classes that differ in case or blanks alone.
    """
    found = sorted(set(labels.unique()) - {""})
    if unknown := sorted(set(class_names) - set(found)):
        raise StudyError(
            f"config key data.class_names: no row of {where} has the label '{unknown[0]}'; found: {some_of(found)}"
        )
    names = {label: composed(class_names.get(label, label)) for label in found}
    if alike := alike_names(names.values()):
        raise StudyError(
            f"{where}: the classes '{alike[0]}' and '{alike[1]}' differ only in upper and lower case or in blanks; "
            "give them one name if they are one class (config key data.class_names), or names that differ more"
        )
    return labels.map(names | {"": ""}).astype("str")


def refuse_an_id(labels: pd.Series, column: str, path: Path) -> None:
    """Raise StudyError for a column in which more than every second image has a class of its own."""
    classes = labels[labels != ""].nunique()
    if len(labels) >= FEW and classes > len(labels) / 2:
        raise StudyError(
            f"{path}, column '{column}': {classes:,} labels for {len(labels):,} images, as in a column of ids, not of "
            "classes; name the column with the class (config key data.table.label)"
        )


def _single(cells: Cells, column: str) -> pd.Series:
    labels = cells.table[column].str.strip()
    found = pd.Series(labels.unique(), dtype="str")
    _refuse_several(cells, column, labels, found)
    if len(found) and found[found != ""].str.fullmatch(r"[+-]?\d+\.0+").all():
        labels = labels.str.replace(r"\.0+$", "", regex=True)
    return labels


def _refuse_several(cells: Cells, column: str, labels: pd.Series, found: pd.Series) -> None:
    """Raise StudyError for a list, or for words between signs that stand alone in other cells."""
    known = set(found)
    for sign in (SEVERAL, *BETWEEN_LABELS):
        joined = found[found.str.contains(sign, regex=False)]
        for label in joined:
            parts = [part.strip() for part in label.split(sign)]
            if sign == SEVERAL or any(part in known for part in parts):
                row = cells.row(labels.index[labels == label][0])
                raise StudyError(
                    f"{row}, column '{column}': several classes for one image ({some_of(parts)}); data with several "
                    "labels per image are not read: every image needs one class"
                )


def _of_several(cells: Cells, columns: list[str]) -> Labels:
    numbers = _numbers(cells, columns)
    values = numbers.to_numpy()
    names = np.array(columns, dtype=object)
    if bool(np.isin(values, (0, 1)).all()):
        _refuse_all_but_one(cells, columns, values)
        return Labels(pd.Series(names[values.argmax(axis=1)], cells.table.index, dtype="str"))
    most = values.max(axis=1)
    if (most <= 0).any():
        raise StudyError(
            f"{cells.row(cells.table.index[int(np.argmax(most <= 0))])}: no vote for any of {some_of(columns)}; "
            "correct or remove the row"
        )
    ties = int(((values == most[:, None]).sum(axis=1) > 1).sum())
    note = f"{cells.path}: the class is the one of {some_of(columns)} with most votes"
    note += f"; in {ties:,} rows several have as many, and the first in this order counts." if ties else "."
    return Labels(pd.Series(names[values.argmax(axis=1)], cells.table.index, dtype="str"), [note])


def _numbers(cells: Cells, columns: list[str]) -> pd.DataFrame:
    numbers = cells.table[columns].apply(pd.to_numeric, errors="coerce")
    wrong = numbers.isna() | (numbers < 0) | np.isinf(numbers)
    if wrong.any(axis=None):
        column = wrong.columns[wrong.any().to_numpy().argmax()]
        index = wrong.index[wrong[column].to_numpy().argmax()]
        raise StudyError(
            f"{cells.row(index)}, column '{column}': found '{cells.table.loc[index, column]}', allowed is 0 or 1, or a "
            "number of votes, as the columns of data.table.label have one class each"
        )
    return numbers


def _refuse_all_but_one(cells: Cells, columns: list[str], values: np.ndarray) -> None:
    ones = values.sum(axis=1)
    if not (ones == 1).all():
        place = int(np.argmax(ones != 1))
        classes = [name for name, value in zip(columns, values[place], strict=True) if value]
        what = f"several classes for one image ({some_of(classes)})" if classes else "no class"
        raise StudyError(
            f"{cells.row(cells.table.index[place])}: {what} in the columns {some_of(columns)}, allowed is a single 1 "
            "in every row: data with several labels per image are not read. If not all of these columns are classes, "
            "name those that are (config key data.table.label)"
        )
