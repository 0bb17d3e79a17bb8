"""One way in for every source of images: a folder, a zip, a CSV in FER2013's format, the embedded digits.

Nothing else touches raw files. A source lists its images without decoding them, and decodes one at a time. It can be
pickled, so that other processes decode as well.
"""

import csv
import io
import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from study.data.data_settings import DIGITS, DataSettings, files_below, source_fingerprint
from study.data.decode import Picture, UnreadableError, decode
from study.data.folder_tree import USAGES, Entry, check_labels, read_layout
from study.errors import StudyError

__all__ = ["DataSettings", "Entry", "Source", "open_source", "source_fingerprint"]

CSV_SIDE = 48  # pixels; FER2013's images
CSV_CLASSES = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")  # by the number in `emotion`
CSV_LONGEST_ROW = 1 << 20  # bytes; a row of FER2013 has 9,250 at most
DIGITS_SEED = 0  # of the choice of digits; not the study's seed, so that every study sees the same images


class Source(Protocol):
    """Images that can be listed and decoded.

    Attributes:
        entries: every image, sorted by id where the source has no order of its own.
        ignored: files that belong to no class.
    """

    entries: list[Entry]
    ignored: list[str]

    def read(self, image_id: str) -> Picture:
        """Decode one image.

        Raises:
            UnreadableError: there is no image in it.
        """


def open_source(data: DataSettings) -> Source:
    """List the images of `data.source`.

    Raises:
        StudyError: the source is missing, empty, of another kind, unsafe, or its tree or table is not as expected.
    """
    path = Path(data.source)
    if data.source == DIGITS:
        return DigitsSource(data.imbalance)
    if path.is_dir():
        return FolderSource(path, data.max_pixels)
    if not path.is_file():
        raise StudyError(
            f"{path}: the source of images does not exist (config key data.source); allowed are a folder with one "
            f"folder per class, a zip of one, a CSV with the columns emotion, pixels, Usage, or the word '{DIGITS}'"
        )
    if path.stat().st_size == 0:
        raise StudyError(f"{path}: the file is empty; fetch or copy it again")
    if path.suffix.lower() == ".csv":
        return CsvSource(path)
    return ZipSource(path, data.max_pixels, data.max_unpacked_bytes)


class FolderSource:
    """A tree of image files; links are followed."""

    def __init__(self, folder: Path, max_pixels: int) -> None:
        self.folder, self.max_pixels = folder, max_pixels
        paths = files_below(folder)
        for path in paths:
            _check_name(folder, path)
        self.entries, self.ignored = read_layout(str(folder), paths)

    def read(self, image_id: str) -> Picture:
        file = self.folder / image_id
        if not file.is_file():
            raise UnreadableError("not a regular file, or a link that leads nowhere")
        return decode(file, self.max_pixels)


class ZipSource:
    """A zip of a tree of image files, read in place: nothing is unpacked to disk."""

    def __init__(self, path: Path, max_pixels: int, max_unpacked_bytes: int) -> None:
        self.max_pixels = max_pixels
        try:
            self.zip = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError, NotImplementedError) as error:
            raise StudyError(f"{path}: not a folder, a .csv file or a readable zip ({error})") from None
        self.members: dict[str, zipfile.ZipInfo] = {}
        for member in self.zip.infolist():
            name = member.filename.replace("\\", "/")  # as some programs on Windows write it
            _check_member(path, member, name)
            if name in self.members:
                raise StudyError(f"{path}: the zip holds the entry '{name}' twice; allowed is once")
            self.members[name] = member
        total = sum(member.file_size for member in self.members.values())
        if total > max_unpacked_bytes:
            raise StudyError(
                f"{path}: the zip expands to {total:,} bytes, allowed are max_unpacked_bytes = {max_unpacked_bytes:,} "
                "(config key data.max_unpacked_bytes)"
            )
        self.entries, self.ignored = read_layout(str(path), self.members)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "zip": self.zip.filename}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, zip=zipfile.ZipFile(state["zip"]))

    def read(self, image_id: str) -> Picture:
        member = self.members[image_id]
        try:
            with self.zip.open(member) as file:
                content = file.read(member.file_size + 1)  # never more than the header declared and the limit counted
                file.read(1)  # makes zipfile compare the checksum
        except Exception as error:  # a damaged entry makes zipfile and its decompressors raise nearly anything
            raise UnreadableError(f"damaged zip entry: {error or type(error).__name__}") from None
        return decode(io.BytesIO(content), self.max_pixels)


def _check_member(path: Path, member: zipfile.ZipInfo, name: str) -> None:
    _check_name(path, name)
    if name.startswith("/") or name[1:2] == ":":
        raise StudyError(f"{path}: the zip entry '{name}' has an absolute path; allowed are paths inside the zip")
    if ".." in name.split("/"):
        raise StudyError(f"{path}: the zip entry '{name}' leaves its folder by '..'; allowed are paths inside the zip")
    if stat.S_ISLNK(member.external_attr >> 16):
        raise StudyError(f"{path}: the zip entry '{name}' is a link; allowed are files and folders")


def _check_name(source: Path, name: str) -> None:
    try:
        name.encode()
    except UnicodeEncodeError:
        raise StudyError(f"{source}: the file name {name!a} is not valid UTF-8; rename the file") from None


class CsvSource:
    """`fer2013.csv` or `icml_face_data.csv`: one image of 48×48 gray values per row, `row_<n>` in row n of the file.

    The header is row 1. Columns are found by name, in any order and with spaces around them; `Usage` may be missing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.ignored: list[str] = []
        self.entries: list[Entry] = []
        self.offsets: dict[str, int] = {}  # of a row in the file, in bytes
        rows = self._rows()
        _, _, header = next(rows, (1, 0, []))
        columns = [name.strip().lower() for name in header]
        for name in ("emotion", "pixels"):
            if name not in columns:
                found = ", ".join(map(repr, header)) or "nothing"
                raise StudyError(
                    f"{path}, row 1: missing column '{name}'; found {found}, allowed is emotion, pixels, Usage"
                )
        self.columns = {name: columns.index(name) for name in columns}
        for row, offset, cells in rows:
            image_id = f"row_{row}"
            self.offsets[image_id] = offset
            self.entries.append(Entry(image_id, self._label(row, cells), self._split(row, cells)))
        if not self.entries:
            raise StudyError(f"{path}: no row of pixels below the header; each row is one image")
        check_labels(str(path), self.entries)

    def _rows(self) -> Iterator[tuple[int, int, list[str]]]:
        """Number (from 1), offset in bytes and cells of each row that is not empty."""
        offset, width = 0, 0
        with self.path.open("rb") as file:
            for number, line in enumerate(iter(lambda: file.readline(CSV_LONGEST_ROW), b""), 1):
                cells = self._cells(number, line)
                width = width or len(cells)
                if cells:
                    if len(cells) != width:
                        raise StudyError(f"{self.path}, row {number}: {len(cells)} cells found, allowed are {width}")
                    yield number, offset, cells
                offset += len(line)

    def _cells(self, row: int, line: bytes) -> list[str]:
        text = line.decode("utf-8-sig", errors="replace").strip("\r\n")
        try:
            return next(csv.reader([text]), [])
        except csv.Error as error:
            raise StudyError(f"{self.path}, row {row}: not a row of a CSV file ({error})") from None

    def _label(self, row: int, cells: list[str]) -> str:
        text = cells[self.columns["emotion"]].strip()
        if text not in map(str, range(len(CSV_CLASSES))):
            raise StudyError(
                f"{self.path}, row {row}, column 'emotion': found '{text}', allowed is a whole number from 0 to "
                f"{len(CSV_CLASSES) - 1} ({', '.join(CSV_CLASSES)})"
            )
        return CSV_CLASSES[int(text)]

    def _split(self, row: int, cells: list[str]) -> str:
        if "usage" not in self.columns:
            return ""
        text = cells[self.columns["usage"]].strip()
        if text not in USAGES:
            raise StudyError(
                f"{self.path}, row {row}, column 'Usage': found '{text}', allowed is one of {', '.join(USAGES)}"
            )
        return USAGES[text]

    def read(self, image_id: str) -> Picture:
        """As the protocol says, but a wrong cell is a StudyError: a table is right or wrong as a whole."""
        row = int(image_id.removeprefix("row_"))
        with self.path.open("rb") as file:
            file.seek(self.offsets[image_id])
            text = self._cells(row, file.readline(CSV_LONGEST_ROW))[self.columns["pixels"]]
        try:
            values = np.fromstring(text, dtype=np.int64, sep=" ")
        except ValueError:
            values = np.empty(0, dtype=np.int64)
        if len(values) != CSV_SIDE**2 or values.min() < 0 or values.max() > 255:
            raise StudyError(f"{self.path}, row {row}, column 'pixels': {_what_is_wrong(text.split())}")
        return Picture(Image.fromarray(values.astype(np.uint8).reshape(CSV_SIDE, CSV_SIDE)), "L")


def _what_is_wrong(values: list[str]) -> str:
    for position, value in enumerate(values, 1):
        if not (value.isascii() and value.isdigit() and len(value) <= 3 and int(value) <= 255):
            return f"value {position} is '{value[:20]}', allowed is a whole number from 0 to 255"
    return f"{len(values)} values found, allowed are {CSV_SIDE**2} ({CSV_SIDE}×{CSV_SIDE})"


class DigitsSource:
    """scikit-learn's handwritten digits (8×8, gray), thinned to a long tail: class k of K keeps n·imbalance^(−k/(K−1)).

    n is the size of the smallest class before thinning, so that the largest class over the smallest is `imbalance` but
    for rounding. `digit_<n>` is image n of `load_digits`.
    """

    def __init__(self, imbalance: float) -> None:
        from sklearn.datasets import load_digits  # slow to load, and no other source needs it

        digits = load_digits()
        self.ignored: list[str] = []
        self.pixels = np.rint(digits.images * (255 / 16)).astype(np.uint8)  # from 0…16
        counts = np.bincount(digits.target)
        shares = imbalance ** -np.linspace(0, 1, len(counts))
        rng = np.random.default_rng(DIGITS_SEED)
        self.entries = []
        for label, share in enumerate(shares):
            indices = rng.permutation(np.flatnonzero(digits.target == label))
            kept = indices[: round(counts.min() * share)]
            self.entries += [Entry(f"digit_{index}", str(label), "") for index in kept]
        self.entries.sort(key=lambda entry: entry.image_id)

    def read(self, image_id: str) -> Picture:
        return Picture(Image.fromarray(self.pixels[int(image_id.removeprefix("digit_"))]), "L")
