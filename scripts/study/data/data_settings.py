"""Where the images come from: the settings, and a fingerprint of the files. Light enough to load while planning."""

import errno
import hashlib
import math
import os
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from study.data.leftovers import kind_of
from study.errors import StudyError
from study.files import file_sha256

DIGITS = "digits"  # the word for the embedded images, in the place of a path
# Of files that may be tables of images.
TABLE_SUFFIXES = (".csv", ".tsv", ".tab", ".txt", ".lst", ".list", ".parquet", ".jsonl", ".ndjson", ".json")
METADATA_DEPTH = 2  # folders below the source in which Hugging Face's metadata may lie: train/, data/train/


@dataclass(frozen=True)
class TableSettings:
    """The section `data.table` of the configuration: how a table of images is read.

    config/schemas/config.schema.yaml says what each key means and may be.
    """

    root: str | None = None
    image: str | int | None = None
    label: str | int | list[str | int] | None = None
    split: str | int | None = None
    group: str | int | None = None
    splits: dict[str, str] = field(default_factory=dict)
    columns: list[str] | None = None
    suffix: str | None = None
    delimiter: str | None = None
    header: bool | None = None

    def __post_init__(self) -> None:  # YAML makes numbers of the names of folds
        object.__setattr__(self, "splits", {str(word): split for word, split in self.splits.items()})


@dataclass(frozen=True)
class DataSettings:
    """The `data` section of the configuration, but for where the source comes from and what it is expected to be.

    config/schemas/config.schema.yaml says what each key means and may be.
    """

    source: str
    folder: str | None
    split_folders: dict[str, str]
    class_level: str | int
    name_encoding: str
    image_size: int
    channels: str | int
    max_unreadable: float
    max_pixels: int
    max_unpacked_bytes: int
    duplicates: str
    contradictory: str
    blank: str
    odd_size: str
    odd_mode: str
    digits_imbalance: float
    oversample: dict[str, int]
    bit_depth: str | int = "auto"
    digits_tail: str = "all"
    stored_size: int | None = None
    keep_aspect: bool = False
    class_names: dict[str, str] = field(default_factory=dict)
    table: TableSettings = TableSettings()
    torn_groups: str = "stop"
    near_duplicates: float | None = None

    @property
    def stored_side(self) -> int:
        """Side in pixels that images are stored with."""
        return self.stored_size or self.image_size

    def __post_init__(self) -> None:
        object.__setattr__(self, "oversample", {composed(name): n for name, n in self.oversample.items()})
        if not isinstance(self.table, TableSettings):  # as it comes from the configuration
            object.__setattr__(self, "table", TableSettings(**self.table))
        object.__setattr__(self, "class_names", {str(label): name for label, name in self.class_names.items()})


@dataclass(frozen=True)
class Expected:
    """What the source should be. What is empty is not compared.

    Attributes:
        classes: class name -> number of images.
        splits: official split ("train", "val", "test") -> number of images.
        sha256: of the source's file, in hexadecimal digits.
    """

    classes: dict[str, int] = field(default_factory=dict)
    splits: dict[str, int] = field(default_factory=dict)
    sha256: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "classes", {composed(name): n for name, n in self.classes.items()})


def composed(name: str) -> str:
    """A name in Unicode's composed form (NFC), as labels are: macOS writes é as two characters, others as one."""
    return unicodedata.normalize("NFC", str(name))  # YAML makes a number of a class that is called 7


def as_yaml(text: str) -> str:
    """A text as it stands in a mapping of YAML, in quotes if it would be a number or a truth value without."""
    import yaml

    return yaml.safe_dump([text], default_flow_style=True, allow_unicode=True, width=math.inf).strip()[1:-1]


def source_fingerprint(source: str, data: DataSettings | None = None) -> str:
    """What changes when the source does: the sha256 of a file, or of the names and sizes of a folder's files.

    What a system leaves in a folder does not count. Of a source that is read by tables the tables' contents and the
    names and sizes of their images count. "digits" for the embedded images and "missing" for a source that is not there
    (yet).

    Args:
        source: a file or folder.
        data: how it is read, where it is a source of images.

    Raises:
        StudyError: a folder that cannot be listed, or a table that cannot be read.
    """
    path = Path(source)
    if source == DIGITS:
        return DIGITS
    if data and (tables_in(path) if path.is_dir() else path.suffix.lower() in TABLE_SUFFIXES and path.is_file()):
        from study.data.sources.table import fingerprint  # loads pandas, which planning does without

        if of_tables := fingerprint(data):
            return of_tables
    if path.is_dir():
        names = [name for name in files_below(path) if kind_of(name) != "system"]
        return names_and_sizes(path, names).hexdigest()
    if path.is_file():
        return file_sha256(path)
    return "missing"


def names_and_sizes(folder: Path, names: Iterable[str]) -> "hashlib._Hash":
    """SHA-256 of paths below a folder and the sizes of their files in bytes, −1 for one that leads nowhere."""
    digest = hashlib.sha256()
    for name in names:
        try:
            size = (folder / name).stat().st_size
        except OSError:
            size = -1
        digest.update(f"{name}\0{size}\n".encode("utf-8", "surrogateescape"))
    return digest


def tables_in(folder: Path) -> list[Path]:
    """Files of a folder that are named like tables, and `metadata.…` in folders below, sorted."""
    names = [path for path in folder.glob("*") if path.suffix.lower() in TABLE_SUFFIXES]
    for depth in range(1, METADATA_DEPTH + 1):
        names += [path for path in folder.glob("*/" * depth + "metadata.*") if path.suffix.lower() in TABLE_SUFFIXES]
    shown = [path for path in names if path.is_file() and kind_of(path.relative_to(folder).as_posix()) != "system"]
    return sorted(shown)


def files_below(folder: Path) -> list[str]:
    """Sorted relative paths ("/" between the parts, and at the end of a folder's) of all that lies below a folder.

    Links are followed, except one that leads back to a folder it lies in.

    Raises:
        StudyError: a folder that cannot be listed.
    """

    def walk(parent: Path, prefix: str, above: tuple[str, ...]) -> Iterator[str]:
        here = os.path.realpath(parent)
        if here in above:
            return
        for entry in _listed(parent):
            if _is_folder(entry):
                yield f"{prefix}{entry.name}/"
                yield from walk(Path(entry.path), f"{prefix}{entry.name}/", (*above, here))
            else:
                yield prefix + entry.name

    return sorted(walk(folder, "", ()))


def _listed(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            found = list(entries)
        if not os.access(folder, os.X_OK):  # its files have names, but cannot be opened
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise StudyError(
            f"{folder}: the folder cannot be listed ({error.strerror}); make it readable (chmod u+rwx), or move it out "
            "of the source"
        ) from None
    return found


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """False for a link that leads to itself as well."""
    try:
        return entry.is_dir()
    except OSError as error:
        if error.errno == errno.ELOOP:
            return False
        raise StudyError(f"{entry.path}: it cannot be looked into ({error.strerror})") from None
