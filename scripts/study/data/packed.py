"""Packed images, opened: all that training and evaluation know of the data."""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from study.errors import StudyError
from study.files import read_json, read_table


@dataclass(frozen=True)
class PackedData:
    """Packed images of a study.

    Attributes:
        classes: sorted names; a label is an index into them.
        images: split -> uint8 (N, C, S, S), memory-mapped: the middle of the stored ones, as networks see it.
        labels: split -> int64 (N,).
        image_ids: split -> N names, in the arrays' order.
        digest: sha256 of all of it.
        bit_depth: bits that samples of 16 bits were taken to use.
        stored: split -> uint8 (N, C, T, T), memory-mapped, with T ≥ S: what random crops are cut out of.
        keep_aspect: whether images kept their proportions, so that what sticks out of the square was cut off.
    """

    classes: tuple[str, ...]
    images: dict[str, np.ndarray]
    labels: dict[str, np.ndarray]
    image_ids: dict[str, list[str]]
    digest: str
    bit_depth: int = 16
    stored: dict[str, np.ndarray] = field(default_factory=dict)
    keep_aspect: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "stored", self.stored or self.images)

    @property
    def preparation(self) -> dict[str, Any]:
        """What else than resizing to S × S pixels happened to an image: its stored size, its kept proportions."""
        (side, stored), kept = (arrays["train"].shape[-1] for arrays in (self.images, self.stored)), self.keep_aspect
        return ({"stored_size": stored} if stored != side else {}) | ({"keep_aspect": True} if kept else {})


def middle(pixels: np.ndarray, side: int) -> np.ndarray:
    """The middle (…, side, side) of images (…, T, T), where torchvision's CenterCrop has it; a view."""
    start = round((pixels.shape[-1] - side) / 2)
    return pixels[..., start : start + side, start : start + side]


def load(directory: Path) -> PackedData:
    """Open what `study.data.packing.pack` wrote, images memory-mapped.

    Raises:
        StudyError: a file is missing or does not fit the others.
    """
    try:
        content = read_json(directory / "pack.json")
        splits = content["splits"]
        stored = {split: np.load(directory / f"{split}.npy", mmap_mode="r") for split in splits}
        tables = {split: read_table(directory / f"{split}.csv", text=("image_id", "label")) for split in splits}
    except (OSError, ValueError, KeyError) as error:
        raise StudyError(f"{directory}: packed images are missing or damaged ({error}); make them again") from None
    number = {name: index for index, name in enumerate(content["classes"])}
    for split in splits:
        expected = splits[split]["images"]
        if not len(stored[split]) == len(tables[split]) == expected:
            raise StudyError(
                f"{directory / split}.npy: {len(stored[split])} images and {len(tables[split])} labels found, allowed "
                f"are {expected} as in pack.json; make them again"
            )
    return PackedData(
        classes=tuple(content["classes"]),
        images={split: middle(pixels, content["image_size"]) for split, pixels in stored.items()},
        labels={s: np.array([number[label] for label in tables[s]["label"]], dtype=np.int64) for s in splits},
        image_ids={s: list(tables[s]["image_id"]) for s in splits},
        digest=hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest(),
        bit_depth=content["bit_depth"],
        stored=stored,
        keep_aspect=content.get("keep_aspect", False),
    )
