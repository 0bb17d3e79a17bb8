"""How the study writes and reads its files: tables, JSON, hashes, and files that are whole or not there."""

import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


def table_text(table: "pd.DataFrame") -> str:
    """A table as CSV, the same bytes on every platform."""
    return str(table.to_csv(index=False, lineterminator="\n"))


def write_table(table: "pd.DataFrame", path: str | Path) -> None:
    """Write a table as CSV."""
    Path(path).write_text(table_text(table), encoding="utf-8", newline="")


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
