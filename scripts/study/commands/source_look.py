"""What a source of images holds, seen before a study is configured: its form, its counts, and a sample of its images.

Entry points:
    look_at(data) -> Look
    planned_splits(look, data, split) -> Series            the split that each image would get
"""

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pandas as pd

from study.data.data_settings import DataSettings
from study.data.decode import GRAYSCALE
from study.data.file_kinds import UnreadableError
from study.data.groups import torn
from study.data.leftovers import in_words
from study.data.sources import Source, open_source, reader_of
from study.data.splits import SplitSettings, assign_splits
from study.names import SPLITS

SAMPLE = 200  # images that are decoded, evenly spread over the source


@dataclass(frozen=True)
class Look:
    """What was seen.

    Attributes:
        form: of the source, in words.
        notes: how it was read.
        ignored: what of it is read as no image of a class, in words; "" for nothing.
        images: one row per image: image_id, label, original_split, group.
        columns: what else the source says of each image, by name.
        sizes: width and height in pixels of each sampled image that could be read.
        gray: how many of these are grayscale.
        unreadable: names of those that could not, with the reason.
        nameable: whether `data.class_names` may name its classes.
    """

    form: str
    notes: list[str]
    ignored: str
    images: pd.DataFrame
    columns: list[str]
    sizes: list[tuple[int, int]]
    gray: int
    unreadable: list[str]
    nameable: bool

    @property
    def numbered(self) -> bool:
        """Whether all classes are called by numbers."""
        return all(label.isdecimal() for label in self.images["label"].unique())

    @property
    def counts(self) -> pd.DataFrame:
        """Images of each class: in all, and in each split that the source brings; the largest class first."""
        counts = pd.crosstab(self.images["label"], self.images["original_split"])
        counts = counts.reindex(columns=[name for name in (*SPLITS, "") if name in counts.columns])
        counts.insert(0, "images", counts.sum(axis=1))
        return counts.sort_values("images", ascending=False, kind="stable")

    @property
    def splits(self) -> dict[str, int]:
        """Images of each split that the source brings; "" for those of none."""
        found = Counter(self.images["original_split"])
        return {name: found[name] for name in (*SPLITS, "") if name in found}

    @property
    def imbalance(self) -> float:
        """Images of the largest class over those of the smallest."""
        counts = self.images["label"].value_counts()
        return float(counts.max() / counts.min())

    @property
    def torn_groups(self) -> int:
        """Groups with images in several of the source's own splits."""
        groups = self.images["group"]
        return groups[torn(groups, self.images["original_split"])].nunique()

    @property
    def side(self) -> int:
        """Median of the shorter sides of the sampled images, in pixels; 0 if none could be read."""
        return int(np.median([min(size) for size in self.sizes])) if self.sizes else 0

    @property
    def aspect(self) -> float:
        """Median of longer over shorter side."""
        return float(np.median([max(size) / min(size) for size in self.sizes])) if self.sizes else 1.0


def look_at(data: DataSettings) -> Look:
    """List the images of `data.source`, and decode a few.

    Raises:
        StudyError: as `open_source` does.
    """
    reader = reader_of(data)
    source = open_source(data)
    cells = [(entry.image_id, entry.label, entry.split, entry.group) for entry in source.entries]
    images = pd.DataFrame(cells, columns=["image_id", "label", "original_split", "group"], dtype="str")
    sizes, gray, unreadable = _sample(source)
    ignored = in_words(source.ignored)
    columns = list(source.columns)
    return Look(reader.form, source.notes, ignored, images, columns, sizes, gray, unreadable, reader.names_classes)


def _sample(source: Source) -> tuple[list[tuple[int, int]], int, list[str]]:
    sizes, gray, unreadable = [], 0, []
    count = len(source.entries)
    for place in sorted({number * count // SAMPLE for number in range(SAMPLE)}):
        image_id = source.entries[place].image_id
        try:
            picture = source.read(image_id)
        except UnreadableError as error:
            unreadable.append(f"{image_id}: {error}")
            continue
        sizes.append(picture.image.size)
        gray += picture.mode in GRAYSCALE
    return sizes, gray, unreadable


def planned_splits(look: Look, data: DataSettings, split: SplitSettings) -> pd.Series:
    """The split of each image, "" for one that is left out, as far as it can be told before copies are known.

    Raises:
        StudyError: as `assign_splits` does: a class too small, no official split, a torn group.
    """
    images = look.images.assign(copies=np.arange(len(look.images)), near="")
    return assign_splits(images, split, data.torn_groups)["split"]
