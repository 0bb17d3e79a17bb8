"""Packed images, opened: all that training and evaluation know of the data."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from study.errors import StudyError
from study.files import read_json, read_table


@dataclass(frozen=True)
class PackedData:
    """Packed images of a study.

    Attributes:
        classes: sorted names; a label is an index into them.
        images: split -> uint8 (N, C, S, S), memory-mapped.
        labels: split -> int64 (N,).
        image_ids: split -> N names, in the arrays' order.
        digest: sha256 of all of it.
        bit_depth: bits that samples of 16 bits were taken to use.
    """

    classes: tuple[str, ...]
    images: dict[str, np.ndarray]
    labels: dict[str, np.ndarray]
    image_ids: dict[str, list[str]]
    digest: str
    bit_depth: int = 16


def load(directory: Path) -> PackedData:
    """Open what `study.data.packing.pack` wrote, images memory-mapped.

    Raises:
        StudyError: a file is missing or does not fit the others.
    """
    try:
        content = read_json(directory / "pack.json")
        splits = content["splits"]
        images = {split: np.load(directory / f"{split}.npy", mmap_mode="r") for split in splits}
        tables = {split: read_table(directory / f"{split}.csv", text=("image_id", "label")) for split in splits}
    except (OSError, ValueError, KeyError) as error:
        raise StudyError(f"{directory}: packed images are missing or damaged ({error}); make them again") from None
    number = {name: index for index, name in enumerate(content["classes"])}
    for split in splits:
        expected = splits[split]["images"]
        if not len(images[split]) == len(tables[split]) == expected:
            raise StudyError(
                f"{directory / split}.npy: {len(images[split])} images and {len(tables[split])} labels found, allowed "
                f"are {expected} as in pack.json; make them again"
            )
    return PackedData(
        classes=tuple(content["classes"]),
        images=images,
        labels={s: np.array([number[label] for label in tables[s]["label"]], dtype=np.int64) for s in splits},
        image_ids={s: list(tables[s]["image_id"]) for s in splits},
        digest=hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest(),
        bit_depth=content["bit_depth"],
    )
