"""A file of rows as a table of text: CSV, TSV, with ";" or blanks between the cells, Parquet, JSON lines.

Entry points:
    is_table(path)                                         whether a file is named like a table
    read_cells(path, settings) -> Cells                    every cell as text, and the number of its row
    first_row(path, settings) -> [str]                     the names of the columns, without reading on
    as_text(path, table) -> DataFrame                      a table of Arrow as one of text
"""

import codecs
import csv
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json
import pyarrow.parquet as pq

from study.data.data_settings import TABLE_SUFFIXES, TableSettings
from study.data.sources.column_names import says_what_it_is
from study.errors import StudyError, naming_trouble

JSON_LINES = (".jsonl", ".ndjson")
PARQUET = ".parquet"
DELIMITERS = ("\t", ";", ",", "|", " ")  # the first of equally good ones
LOOKED_AT = 50  # rows that tell the delimiter
IMAGE_SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".pbm", ".pnm"),
    *(".avif", ".jp2", ".tga", ".ico"),
)
SEVERAL = "\x1f"  # between the members of a cell that is a list


@dataclass(frozen=True)
class Cells:
    """A table of text.

    Attributes:
        path: of its file.
        table: text in every cell, "" for nothing; columns by their names, by "1", "2" … where the file names none. A
            cell that is a list has its members with `SEVERAL` between them.
        first: number of the first row as messages count: from 1, the header included.
    """

    path: Path
    table: pd.DataFrame
    first: int

    def row(self, index: int) -> str:
        """What messages call the row with this index of `table`."""
        return f"{self.path}, row {index + self.first}"

    def found(self) -> str:
        """The columns, in words."""
        return ", ".join(map(repr, self.table.columns)) or "nothing"


def is_table(path: Path) -> bool:
    """Whether a file is named like a table; one of Parquet must hold no images itself."""
    suffix = path.suffix.lower()
    if not path.is_file() or path.stat().st_size == 0:
        return False
    if suffix != PARQUET:
        return suffix in TABLE_SUFFIXES and suffix != ".json"
    try:
        schema = pq.read_schema(path)
    except (pa.ArrowException, OSError):
        return True  # reading it says what is wrong
    return not any(pa.types.is_struct(field.type) or pa.types.is_binary(field.type) for field in schema)


def first_row(path: Path, settings: TableSettings) -> list[str]:
    """The names of the columns, as `read_cells` has them.

    Raises:
        StudyError: the file cannot be read.
    """
    suffix = path.suffix.lower()
    if suffix == PARQUET:
        return [str(name) for name in _parquet_schema(path).names]
    if suffix in JSON_LINES:
        with naming_trouble(path), path.open("rb") as file:
            head = file.readline()
        return [str(name) for name in _json_table(path, pa.BufferReader(head)).column_names] if head.strip() else []
    return _form(path, settings).names


def begins_with_an_image(path: Path, settings: TableSettings) -> bool:
    """Whether a file of text names no columns and has the name of an image in its first row.

    Raises:
        StudyError: the file cannot be read.
    """
    if path.suffix.lower() in (PARQUET, *JSON_LINES):
        return False
    form = _form(path, settings)
    return not form.header and any(cell.strip().lower().endswith(IMAGE_SUFFIXES) for cell in form.first)


def read_cells(path: Path, settings: TableSettings) -> Cells:
    """Read a whole table.

    Raises:
        StudyError: the file is no table, not UTF-8, or has a row with too many cells; it names the row.
    """
    suffix = path.suffix.lower()
    with naming_trouble(path):
        if suffix == PARQUET:
            _parquet_schema(path)
            cells = Cells(path, as_text(path, pq.read_table(path)), 1)
        elif suffix in JSON_LINES:
            cells = Cells(path, as_text(path, _json_table(path, path)), 1)
        else:
            cells = _text_cells(path, settings)
    if cells.table.empty:
        raise StudyError(f"{path}: no row below the names of the columns; each row is one image")
    return cells


@dataclass(frozen=True)
class _Form:
    """How a file of text is a table: encoding, what is between cells, the first row, whether it names the columns."""

    encoding: str
    delimiter: str
    first: list[str]
    header: bool
    names: list[str]


def _form(path: Path, settings: TableSettings) -> _Form:
    encoding = _encoding(path)
    try:
        with naming_trouble(path), path.open(encoding=encoding, newline="") as file:
            lines = [line for line in islice(file, LOOKED_AT) if line.strip()]
    except UnicodeDecodeError as error:
        raise _not_utf8(path, error) from None
    if not lines:
        raise StudyError(f"{path}: the table is empty; its first row names the columns")
    try:
        delimiter = settings.delimiter or _delimiter(lines)
        first = _split(lines[:1], delimiter)[0]
    except csv.Error as error:  # a cell longer than any of a table of images
        raise StudyError(f"{path}: not a table ({error})") from None
    header = _names_columns(first) if settings.header is None else settings.header
    names = [name.strip() for name in first] if header else [str(place) for place in range(1, len(first) + 1)]
    names = [name or f"column {place}" for place, name in enumerate(names, 1)]
    if twice := [name for name in names if names.count(name) > 1]:
        raise StudyError(f"{path}: two columns are called '{twice[0]}'; give one of them another name")
    return _Form(encoding, delimiter, first, header, names)


def _encoding(path: Path) -> str:
    with naming_trouble(path), path.open("rb") as file:
        start = file.read(4)
    return "utf-16" if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"


def _not_utf8(path: Path, error: UnicodeDecodeError) -> StudyError:
    return StudyError(f"{path}: the table is not UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8")


def _split(lines: Sequence[str], delimiter: str) -> list[list[str]]:
    if delimiter == " ":
        return [line.split() for line in lines]
    return list(csv.reader(lines, delimiter=delimiter))


def _delimiter(lines: Sequence[str]) -> str:
    """The one that gives all rows the same number of cells, the most of them; a comma where none does."""
    best, most = ",", 1
    for delimiter in DELIMITERS:
        widths = {len(row) for row in _split(lines, delimiter)}
        if len(widths) == 1 and (width := widths.pop()) > most and (delimiter != " " or most == 1):
            best, most = delimiter, width
    return best


def _names_columns(first: Sequence[str]) -> bool:
    """Whether a first row is a header: it has a usual name, or nothing in it is a number or the name of an image."""
    if any(says_what_it_is(name) for name in first):
        return True
    return not any(_is_number(cell) or cell.strip().lower().endswith(IMAGE_SUFFIXES) for cell in first)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _text_cells(path: Path, settings: TableSettings) -> Cells:
    form = _form(path, settings)
    try:
        table = pd.read_csv(
            path,
            sep=r"\s+" if form.delimiter == " " else form.delimiter,
            header=0 if form.header else None,
            names=form.names,
            index_col=False,
            dtype="str",
            na_filter=False,
            skip_blank_lines=False,
            encoding=form.encoding,
            on_bad_lines="error",
        )
    except UnicodeDecodeError as error:
        raise _not_utf8(path, error) from None
    except (pd.errors.ParserError, ValueError) as error:
        what = str(error).replace("Error tokenizing data. C error: ", "").strip()
        raise StudyError(
            f"{path}: not a table with the same number of cells in every row ({what}); repair it"
        ) from None
    blank = (table == "").all(axis=1)
    return Cells(path, table[~blank], 1 + form.header)


def _parquet_schema(path: Path) -> pa.Schema:
    try:
        return pq.read_schema(path)
    except (pa.ArrowException, OSError) as error:
        raise StudyError(f"{path}: not a readable Parquet file ({error}); fetch or copy it again") from None


def _json_table(path: Path, source: Path | pa.BufferReader) -> pa.Table:
    """The rows of JSON lines. Text that looks like a date stays the text that it is."""
    try:
        table = pyarrow.json.read_json(source)
        dates = [field.name for field in table.schema if pa.types.is_timestamp(field.type)]
        if dates:
            if isinstance(source, pa.BufferReader):
                source.seek(0)
            schema = pa.schema([(name, pa.string()) for name in dates])
            table = pyarrow.json.read_json(source, parse_options=pyarrow.json.ParseOptions(explicit_schema=schema))
    except (pa.ArrowException, OSError) as error:
        raise StudyError(
            f"{path}: not JSON lines, one object per row with cells of one kind per column ({error})"
        ) from None
    return table


def as_text(path: Path, table: pa.Table) -> pd.DataFrame:
    """The columns of text and numbers, each cell as text, "" for nothing.

    Raises:
        StudyError: there is none.
    """
    columns = {}
    for field in table.schema:
        try:
            columns[field.name] = _column_as_text(table[field.name])
        except pa.ArrowException:  # an object within an object; nothing that is read, unless it is named
            continue
    if not columns:
        raise StudyError(f"{path}: no column of text or numbers found")
    return pd.DataFrame(columns)


def _column_as_text(column: pa.ChunkedArray) -> pd.Series:
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
        column = pc.binary_join(column.cast(pa.list_(pa.string())), SEVERAL)
    return pd.Series(column.cast(pa.large_string()).fill_null("").to_pandas(), dtype="str")
