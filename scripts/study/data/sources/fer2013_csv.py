"""The table that Kaggle has FER2013 as: `fer2013.csv` or `icml_face_data.csv`."""

import csv
from array import array
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from study.data.data_settings import DataSettings
from study.data.decode import FULL_DEPTH, Picture
from study.data.folder_tree import USAGES, Entry, Listing, check_labels
from study.errors import StudyError, naming_trouble

SIDE = 48  # pixels of an image
CLASSES = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")  # by the number in `emotion`
LONGEST_ROW = 1 << 20  # bytes; a row of FER2013 has 9,250 at most


def recognises(source: str) -> bool:
    """Whether it names a table with the column `pixels`. Another column that is missing is named."""
    path = Path(source)
    if path.suffix.lower() != ".csv" or not path.is_file():
        return False
    with naming_trouble(path), path.open("rb") as file:
        header = file.readline(LONGEST_ROW).decode("utf-8-sig", errors="replace")
    return "pixels" in [cell.strip(' \r\n"').lower() for cell in header.split(",")]


class Fer2013Source(Listing):
    """One image of 48×48 gray values per row, `row_<n>` in row n of the file.

    The header is row 1. Columns are found by name, in any order and with spaces around them; `Usage` may be missing.
    """

    def __init__(self, data: DataSettings) -> None:
        self.path = Path(data.source)
        self.ignored, self.notes, self.entries = {}, [], []
        self.offsets = array("q")  # of each row in the file, in bytes, the header first; −1 for an empty one
        rows = self._rows()
        _, header = next(rows, (1, []))
        columns = [name.strip().lower() for name in header]
        for name in ("emotion", "pixels"):
            if name not in columns:
                found = ", ".join(map(repr, header)) or "nothing"
                raise StudyError(
                    f"{self.path}, row 1: missing column '{name}'; found {found}, allowed is emotion, pixels, Usage"
                )
        self.places = {name: columns.index(name) for name in columns}
        for row, cells in rows:
            self.entries.append(Entry(f"row_{row}", self._label(row, cells), self._split(row, cells)))
        if not self.entries:
            raise StudyError(f"{self.path}: no row of pixels below the header; each row is one image")
        check_labels(str(self.path), self.entries)

    def _rows(self) -> Iterator[tuple[int, list[str]]]:
        """Number (from 1) and cells of each row that is not empty."""
        offset, width = 0, 0
        with self.path.open("rb") as file:
            for number, line in enumerate(iter(lambda: file.readline(LONGEST_ROW), b""), 1):
                cells = self._cells(number, line)
                width = width or len(cells)
                self.offsets.append(offset if cells else -1)
                if cells:
                    if len(cells) != width:
                        raise StudyError(f"{self.path}, row {number}: {len(cells)} cells found, allowed are {width}")
                    yield number, cells
                offset += len(line)

    def _cells(self, row: int, line: bytes) -> list[str]:
        text = line.decode("utf-8-sig", errors="replace").strip("\r\n")
        try:
            return next(csv.reader([text]), [])
        except csv.Error as error:
            raise StudyError(f"{self.path}, row {row}: not a row of a CSV file ({error})") from None

    def _label(self, row: int, cells: list[str]) -> str:
        text = cells[self.places["emotion"]].strip()
        if text not in map(str, range(len(CLASSES))):
            raise StudyError(
                f"{self.path}, row {row}, column 'emotion': found '{text}', allowed is a whole number from 0 to "
                f"{len(CLASSES) - 1} ({', '.join(CLASSES)})"
            )
        return CLASSES[int(text)]

    def _split(self, row: int, cells: list[str]) -> str:
        if "usage" not in self.places:
            return ""
        text = cells[self.places["usage"]].strip()
        if text not in USAGES:
            raise StudyError(
                f"{self.path}, row {row}, column 'Usage': found '{text}', allowed is one of {', '.join(USAGES)}"
            )
        return USAGES[text]

    def read(self, image_id: str, bit_depth: int = FULL_DEPTH) -> Picture:
        """As the protocol says, but a wrong cell is a StudyError: a table is right or wrong as a whole."""
        row = int(image_id.removeprefix("row_"))
        with self.path.open("rb") as file:
            file.seek(self.offsets[row - 1])
            text = self._cells(row, file.readline(LONGEST_ROW))[self.places["pixels"]]
        try:
            values = np.fromstring(text, dtype=np.int64, sep=" ")
        except ValueError:
            values = np.empty(0, dtype=np.int64)
        if len(values) != SIDE**2 or values.min() < 0 or values.max() > 255:
            raise StudyError(f"{self.path}, row {row}, column 'pixels': {_what_is_wrong(text.split())}")
        return Picture(Image.fromarray(values.astype(np.uint8).reshape(SIDE, SIDE)), "L")


def _what_is_wrong(values: list[str]) -> str:
    for position, value in enumerate(values, 1):
        if not (value.isascii() and value.isdigit() and len(value) <= 3 and int(value) <= 255):
            return f"value {position} is '{value[:20]}', allowed is a whole number from 0 to 255"
    return f"{len(values)} values found, allowed are {SIDE**2} ({SIDE}×{SIDE})"
