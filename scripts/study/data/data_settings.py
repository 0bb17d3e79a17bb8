"""Where the images come from: the settings, and a fingerprint of the files. Light enough to load while planning."""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from study.files import file_sha256

DIGITS = "digits"  # the word for the embedded images, in the place of a path


@dataclass(frozen=True)
class DataSettings:
    """The `data` section of the configuration, but for where the source comes from and what it is expected to be.

    config/schemas/config.schema.yaml says what each key means and may be.
    """

    source: str
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


def source_fingerprint(source: str) -> str:
    """What changes when the source does: the sha256 of a file, or of the names and sizes of a folder's files.

    "digits" for the embedded images and "missing" for a source that is not there (yet).
    """
    path = Path(source)
    if source == DIGITS:
        return DIGITS
    if path.is_dir():
        digest = hashlib.sha256()
        for name in files_below(path):
            entry = path / name
            size = entry.stat().st_size if entry.exists() else -1  # a link that leads nowhere
            digest.update(f"{name}\0{size}\n".encode("utf-8", "surrogateescape"))
        return digest.hexdigest()
    if path.is_file():
        return file_sha256(path)
    return "missing"


def files_below(folder: Path) -> list[str]:
    """Sorted relative paths ("/" between the parts, and at the end of a folder's) of all that lies below a folder.

    Links are followed, except one that leads back to a folder it lies in.
    """

    def walk(parent: Path, prefix: str, above: tuple[str, ...]) -> Iterator[str]:
        here = os.path.realpath(parent)
        if here in above:
            return
        with os.scandir(parent) as entries:
            for entry in entries:
                if entry.is_dir():
                    yield f"{prefix}{entry.name}/"
                    yield from walk(Path(entry.path), f"{prefix}{entry.name}/", (*above, here))
                else:
                    yield prefix + entry.name

    return sorted(walk(folder, "", ()))
