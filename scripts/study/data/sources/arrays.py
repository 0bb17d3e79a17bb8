"""Arrays of NumPy in one file (`.npz`), as MedMNIST has them: images and labels, with the split in their names.

Entry points:
    recognises(source), ArraySource(data)
"""

import math
import re
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np
import pandas as pd
from PIL import Image

from study.data.data_settings import DataSettings
from study.data.decode import FULL_DEPTH, Picture
from study.data.file_kinds import UnreadableError
from study.data.folder_tree import Entry, Listing, check_labels
from study.data.sources.column_names import split_of_word
from study.data.sources.table_labels import named, refuse_an_id
from study.data.sources.zip_archive import members_of, refuse_a_bomb
from study.errors import StudyError, naming_trouble
from study.names import SPLITS

# Words in the names of arrays, beside one for the split: train_images, x_train, labels.
IMAGES = {"images", "image", "imgs", "x", "data", "pixels"}
LABELS = {"labels", "label", "y", "target", "targets"}
HEADERS: dict[tuple[int, int], Callable[[Any], tuple[tuple[int, ...], bool, np.dtype]]] = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}  # by the version of the format; a later one is for names that images and labels have none of
ALLOWED = "train_images and train_labels (val_…, test_…), x_train and y_train, or images and labels"
Result = TypeVar("Result")


def recognises(source: str) -> bool:
    """Whether it names an `.npz`, which is a zip of arrays."""
    path = Path(source)
    return path.suffix.lower() == ".npz" and path.is_file() and zipfile.is_zipfile(path)


@dataclass(frozen=True)
class Pair:
    """The arrays of one split, by their names in the file."""

    images: str
    labels: str


class ArraySource(Listing):
    """Images N×H×W or N×H×W×3 of uint8, and as many labels: `train_<n>` is `train_images[n]`, `image_<n>` `images[n]`.

    The images are unpacked into a folder for temporary files (`TMPDIR`), where each process maps them into memory, and
    which goes away with the source. Nothing is unpickled.
    """

    def __init__(self, data: DataSettings) -> None:
        self.path, self.max_pixels = Path(data.source), data.max_pixels
        members, _ = members_of(self.path, data.name_encoding)
        refuse_a_bomb(self.path, members, data.max_unpacked_bytes)
        names = {name.removesuffix(".npy"): member for name, member in members.items() if name.endswith(".npy")}
        pairs, others = _pairs(self.path, names)
        self.ignored, self.columns = {}, {}
        shapes = {split: self._shape(names[pair.images], pair.images) for split, pair in pairs.items()}
        labels = {split: self._labels(names[pair.labels], pair, shapes[split][0]) for split, pair in pairs.items()}
        together = named(pd.concat(list(labels.values()), ignore_index=True), data.class_names, str(self.path))
        refuse_an_id(together, next(iter(pairs.values())).labels, self.path)
        self.entries = _entries(shapes, together)
        check_labels(str(self.path), self.entries)
        self.notes = [_note(self.path, pairs, shapes, others)]
        self.folder = tempfile.TemporaryDirectory(prefix="images-")
        self.files = {_prefix(split): Path(self.folder.name) / f"{_prefix(split)}.npy" for split in pairs}
        for split, pair in pairs.items():
            self._unpack(names[pair.images], pair.images, self.files[_prefix(split)])
        self.arrays = self._mapped()

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "folder": None, "arrays": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self.arrays = self._mapped()

    def read(self, image_id: str, bit_depth: int = FULL_DEPTH) -> Picture:
        prefix, _, number = image_id.rpartition("_")
        pixels = self.arrays[prefix][int(number)]
        height, width = pixels.shape[:2]
        if width * height > self.max_pixels:
            raise UnreadableError(f"{width}×{height} pixels, more than max_pixels = {self.max_pixels}")
        pixels = np.ascontiguousarray(pixels.reshape(height, width) if pixels.size == height * width else pixels)
        image = Image.fromarray(pixels)
        return Picture(image, image.mode)

    def _mapped(self) -> dict[str, np.ndarray]:
        return {prefix: np.load(file, mmap_mode="r", allow_pickle=False) for prefix, file in self.files.items()}

    def _shape(self, member: zipfile.ZipInfo, name: str) -> tuple[int, ...]:
        """Of an array of images, from its header."""
        shape, dtype = self._header(member, name)
        where = f"{self.path}, array '{name}'"
        if problem := _no_images(shape, dtype):
            raise StudyError(f"{where}: {problem}")
        return shape

    def _labels(self, member: zipfile.ZipInfo, pair: Pair, images: int) -> pd.Series:
        """The label of each image as text."""
        where = f"{self.path}, array '{pair.labels}'"
        shape, dtype = self._header(member, pair.labels)
        if problem := _no_labels(shape, dtype):
            raise StudyError(f"{where}: {problem}")
        if shape[0] != images:
            raise StudyError(
                f"{where}: {shape[0]:,} labels, but '{pair.images}' has {images:,} images; each image needs one"
            )
        labels = self._from(member, pair.labels, lambda file: np.lib.format.read_array(file, allow_pickle=False))
        labels = labels.reshape(images)
        if dtype.kind == "S":
            labels = np.char.decode(labels, "utf-8", "replace")
        if dtype.kind == "b":
            labels = labels.astype(np.uint8)
        text = pd.Series(labels).astype("str").str.strip()
        if (text == "").any():
            raise StudyError(
                f"{where}: label {int((text == '').to_numpy().argmax())} (from 0) is empty; name its class"
            )
        return text

    def _header(self, member: zipfile.ZipInfo, name: str) -> tuple[tuple[int, ...], np.dtype]:
        """Shape and type of an array; its values are there in full, unless they are objects."""
        shape, dtype = self._from(member, name, _header)
        said = math.prod(shape) * dtype.itemsize
        if not dtype.hasobject and said > member.file_size:
            error = f"{said:,} bytes by its header, {member.file_size:,} in the file"
            raise self._damaged(name, ValueError(error))
        return shape, dtype

    def _unpack(self, member: zipfile.ZipInfo, name: str, file: Path) -> None:
        def copy(content: BinaryIO) -> None:
            with naming_trouble(file), file.open("wb") as target:
                shutil.copyfileobj(content, target, 1 << 20)

        self._from(member, name, copy)

    def _from(self, member: zipfile.ZipInfo, name: str, read: Callable[[Any], Result]) -> Result:
        """What `read` makes of an array's content; whatever it finds wrong with that is damage."""
        try:
            with naming_trouble(self.path), zipfile.ZipFile(self.path) as archive, archive.open(member) as content:
                return read(content)
        except StudyError:
            raise
        except Exception as error:  # a damaged entry makes zipfile and its decompressors raise nearly anything
            raise self._damaged(name, error) from None

    def _damaged(self, name: str, error: Exception) -> StudyError:
        return StudyError(
            f"{self.path}, array '{name}': damaged ({error or type(error).__name__}); fetch or copy the file again"
        )


def _pairs(path: Path, names: Mapping[str, zipfile.ZipInfo]) -> tuple[dict[str, Pair], list[str]]:
    """The arrays of each split ("" for none), and the names of those that are neither images nor labels.

    Raises:
        StudyError: no pair, one without its other half, or several of one split.
    """
    found: dict[tuple[str, str], str] = {}
    others = []
    for name in names:
        place = _use(name)
        if place is None:
            others.append(name)
        elif other := found.get(place):
            of = f" of {place[1]}" * bool(place[1])
            raise StudyError(
                f"{path}: the arrays '{other}' and '{name}' may both be the {place[0]}{of}; save one of them"
            )
        else:
            found[place] = name
    listed = ", ".join(map(repr, names)) or "none"
    splits = [split for split in (*SPLITS, "") if {("images", split), ("labels", split)} & set(found)]
    for split in splits:
        for use, lacking in (("images", "labels"), ("labels", "images")):
            if (use, split) in found and (lacking, split) not in found:
                raise StudyError(
                    f"{path}: no {lacking} beside the array '{found[use, split]}'; found: {listed}, allowed are "
                    f"{ALLOWED}"
                )
    if not splits:
        raise StudyError(f"{path}: no arrays of images and labels; found: {listed}, allowed are {ALLOWED}")
    if "" in splits and len(splits) > 1:
        raise StudyError(
            f"{path}: '{found['images', '']}' beside '{found['images', splits[0]]}'; save either whole or split, as it "
            "cannot be told whether the one holds the other"
        )
    return {split: Pair(found["images", split], found["labels", split]) for split in splits}, others


def _use(name: str) -> tuple[str, str] | None:
    """ "images" or "labels", and the split, of the name of an array; None for another name."""
    words = re.findall(r"[^\W_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower())
    uses = ["images" if word in IMAGES else "labels" for word in words if word in IMAGES | LABELS]
    splits = [split for word in words if (split := split_of_word(word))]
    if len(uses) != 1 or len(splits) > 1 or len(words) != 1 + len(splits):
        return None
    return uses[0], "".join(splits)


def _header(file: Any) -> tuple[tuple[int, ...], np.dtype]:
    version = np.lib.format.read_magic(file)
    if version not in HEADERS:
        raise ValueError(f"version {version} of the format")
    shape, _, dtype = HEADERS[version](file)
    return shape, dtype


def _no_images(shape: tuple[int, ...], dtype: np.dtype) -> str:
    """Why an array holds no images that are read; "" if it does."""
    found = f"{'×'.join(map(str, shape)) or 'a single number'} of {dtype} found, allowed is N×H×W or N×H×W×3 of uint8"
    if dtype.hasobject:
        return (
            "an array of Python objects, which is not read: to unpickle it would run whatever code is in it; save an "
            "array of numbers (images.astype('uint8'))"
        )
    if len(shape) == 5 or (len(shape) == 4 and shape[3] not in (1, 3) and shape[1] not in (1, 3)):
        return f"{found}; volumes (3-D images) and images of other channels are not read"
    if len(shape) == 4 and shape[3] not in (1, 3):
        return f"{found}; the channels come first here, save np.moveaxis(images, 1, -1)"
    if len(shape) not in (3, 4):
        return f"{found}; give the array that shape (images.reshape)"
    if dtype != np.uint8:
        return f"{found}; save values from 0 to 255, of values from 0 to 1 (images * 255).round().astype('uint8')"
    return "" if min(shape) > 0 else f"{found}; it is empty"


def _no_labels(shape: tuple[int, ...], dtype: np.dtype) -> str:
    """Why an array holds no labels that are read; "" if it does."""
    sizes = "×".join(map(str, shape)) or "a single value"
    found = f"{sizes} of {dtype} found, allowed is N or N×1 of whole numbers or text"
    if dtype.hasobject:
        return (
            "an array of Python objects, which is not read: to unpickle it would run whatever code is in it; save "
            "numbers or text (labels.astype(int) or labels.astype(str))"
        )
    if len(shape) == 2 and shape[1] > 1:
        return (
            f"{found}: {shape[1]} labels for each image; data with several labels per image are not read. Where every "
            "row has a single 1, save labels.argmax(axis=1)"
        )
    if len(shape) not in (1, 2):
        return found
    return "" if dtype.kind in "iubUS" else f"{found}; save labels.astype(int)"


def _prefix(split: str) -> str:
    return split or "image"


def _entries(shapes: Mapping[str, tuple[int, ...]], labels: pd.Series) -> list[Entry]:
    """Images in the order of the arrays, numbered from 0 in each, with zeros in front: sorted ids keep that order."""
    ids = (
        (f"{_prefix(split)}_{number:0{len(str(shape[0] - 1))}}", split)
        for split, shape in shapes.items()
        for number in range(shape[0])
    )
    return [Entry(image_id, label, split) for (image_id, split), label in zip(ids, labels, strict=True)]


def _note(path: Path, pairs: Mapping[str, Pair], shapes: Mapping[str, tuple[int, ...]], others: list[str]) -> str:
    read = "; ".join(
        f"{shapes[split][0]:,} images from '{pair.images}', classes from '{pair.labels}'"
        for split, pair in pairs.items()
    )
    rest = f"; not read: {', '.join(map(repr, others))}" if others else ""
    return f"{path}: {read}{rest}."
