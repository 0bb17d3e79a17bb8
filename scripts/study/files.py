"""How the study writes and reads its files: tables, JSON, YAML, hashes, and files that are whole or not there."""

import hashlib
import json
import os
import re
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from study.errors import StudyError

if TYPE_CHECKING:
    import pandas as pd


def table_text(table: "pd.DataFrame") -> str:
    """A table as CSV, the same bytes on every platform; a cell with a line break of any kind is in quotes."""
    text = table.to_csv(index=False, lineterminator="\r\n")  # Python 3.11 quotes a "\r" only if it ends the lines
    return re.sub(r'("[^"]*")|\r\n', lambda found: found[1] or "\n", text)


def write_table(table: "pd.DataFrame", path: str | Path) -> None:
    """Write a table as CSV."""
    Path(path).write_text(table_text(table), encoding="utf-8", newline="")


def read_table(path: str | Path, text: Collection[str] | None = None) -> "pd.DataFrame":
    """What `write_table` wrote. Text comes back as it was: "NA", "01", "1e5" and "True" are names like any other.

    Args:
        text: the columns that hold text, where an empty cell is ""; None for all columns. The others hold numbers,
            where an empty cell is nan.

    Raises:
        StudyError: not a table, a column of `text` is missing, or a cell that should be a number is none.
    """
    import pandas as pd

    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8")
    except ValueError as error:  # pandas' own errors, and bytes that are no UTF-8
        raise StudyError(f"{path}: not readable as a table ({' '.join(str(error).split())}); make it again") from None
    if missing := [name for name in text or () if name not in table.columns]:
        raise StudyError(
            f"{path}, row 1: missing column {', '.join(missing)}; found: {', '.join(map(str, table.columns))}"
        )
    for name in [] if text is None else table.columns.difference(list(text), sort=False):
        cells = table[name].replace({"": None, "nan": None})
        table[name] = pd.to_numeric(cells, errors="coerce")
        if (wrong := cells.notna() & table[name].isna()).any():
            row = int(wrong.argmax())
            raise StudyError(
                f"{path}, row {row + 2}, column '{name}': found {cells[row]!r}, allowed is a number or nothing"
            )
    return table


def read_yaml(path: str | Path) -> Any:
    """What a YAML file holds; None for an empty one.

    Raises:
        StudyError: the file does not exist or is no YAML.
    """
    import yaml

    try:
        return yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StudyError(f"{path}: the configuration does not exist in {Path.cwd()}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise StudyError(f"{path}: not YAML ({' '.join(str(error).split())})") from None


def write_json(value: Any, path: str | Path) -> None:
    """Write a value as JSON that a person can read."""
    Path(path).write_text(json_text(value), encoding="utf-8")


def json_text(value: Any) -> str:
    """A value as JSON with a line for each part, and a line break at its end."""
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def read_json(path: str | Path) -> Any:
    """What `write_json` wrote."""
    return json.loads(Path(path).read_text(encoding="utf-8"))


def file_sha256(path: str | Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal digits."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_atomically(path: Path, *parts: bytes | memoryview) -> None:
    """Write a file so that `path` is, at any instant, absent, the old file or the whole new one.

    Written aside in the same folder, flushed to the disk, renamed.

    Raises:
        OSError: if it cannot be written; nothing is left behind.
    """
    aside = path.with_name(f".{path.name}.tmp")  # one name: what a kill leaves behind is overwritten next time
    try:
        with aside.open("wb") as file:
            for part in parts:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except BaseException as error:
        aside.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:  # a full disk is noticed by a write, without a name
            error.filename = str(path)
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Make a rename durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
