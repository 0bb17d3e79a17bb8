"""Where the images come from: the settings, and a fingerprint of the files. Light enough to load while planning."""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from study.errors import StudyError

DIGITS = "digits"
CHOICES: dict[str, tuple[object, ...]] = {
    "channels": ("auto", 1, 3),
    "duplicates": ("keep", "drop", "group"),
    "contradictory": ("keep", "drop", "group"),
    "blank": ("keep", "drop"),
    "odd_size": ("keep", "drop"),
    "odd_mode": ("keep", "drop"),
}


@dataclass(frozen=True)
class DataSettings:
    """The `data` section of the configuration, but for where the source comes from and what it is expected to be.

    Attributes:
        source: "digits" (the embedded images), or a folder, a zip of one, or a CSV in FER2013's format.
        image_size: side of the packed images, in pixels.
        channels: 1 or 3 packed channels; "auto" is 1 if every kept image is grayscale, else 3.
        max_unreadable: largest share of unreadable files that is dropped rather than refused.
        max_pixels: width × height above which a file is taken as unreadable, without decoding it.
        max_unpacked_bytes: largest total size of a zip's files, uncompressed.
        duplicates: exact copies with one label: "keep" them as independent images, "drop" all but one, or "group" them
            into one split.
        contradictory: exact copies with different labels: "keep", "group" as above, or "drop" every one of them.
        blank: images of one constant colour: "keep" or "drop".
        odd_size: images that have not the most common size: "keep" (resized) or "drop".
        odd_mode: images that have not the most common mode (grayscale, RGB …): "keep" (converted) or "drop".
        imbalance: size of the largest class over that of the smallest (digits only).
        oversample: class name -> how many times each of its images is taken.
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
    imbalance: float = 1.0
    oversample: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, allowed in CHOICES.items():
            if (value := getattr(self, name)) not in allowed:
                raise StudyError(f"config key data.{name}: found {value!r}, allowed is one of {_words(allowed)}")
        if self.image_size < 1:
            raise StudyError(f"config key data.image_size: found {self.image_size}, allowed is at least 1")
        if self.imbalance < 1:
            raise StudyError(f"config key data.imbalance: found {self.imbalance:g}, allowed is at least 1")
        for label, factor in self.oversample.items():
            if not isinstance(factor, int) or factor < 1:
                raise StudyError(
                    f"config key data.oversample.{label}: found {factor!r}, allowed is a whole number from 1"
                )


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


def _words(allowed: tuple[object, ...]) -> str:
    return ", ".join(map(str, allowed))


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


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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
