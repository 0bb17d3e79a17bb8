"""Kept images as memory-mappable arrays, one per split."""

import csv
import hashlib
import json
import re
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from study.decode import GRAYSCALE, UnreadableError, resize
from study.errors import StudyError
from study.images import Source, open_source
from study.progress import in_parallel
from study.source import DataSettings
from study.splits import SPLITS

ROWS_AT_ONCE = 4096  # hashed together


@dataclass(frozen=True)
class PackedData:
    """What `pack` wrote.

    Attributes:
        classes: sorted names; a label is an index into them.
        images: split -> uint8 (N, C, S, S), memory-mapped.
        labels: split -> int64 (N,).
        image_ids: split -> N names, in the arrays' order.
        digest: sha256 of all of it.
    """

    classes: tuple[str, ...]
    images: dict[str, np.ndarray]
    labels: dict[str, np.ndarray]
    image_ids: dict[str, list[str]]
    digest: str


def pack(manifest: pd.DataFrame, data: DataSettings, directory: Path, workers: int) -> dict[str, Any]:
    """Write `<split>.npy`, `<split>.csv` (image_id, label) and `pack.json`; all of them or, on an error, none.

    Args:
        manifest: as made by `study.manifest.build_manifest` or read by `read_manifest`.
        data: the section of the configuration that the manifest was made with.
        directory: where the files go.
        workers: threads that decode.

    Returns:
        The content of pack.json: classes, channels, image_size, and splits {split: {images, counts, sha256}}.

    Raises:
        StudyError: an image is not what it was when the manifest was made.
    """
    source = open_source(data)
    kept = manifest[manifest["status"] == "kept"].sort_values("image_id")
    channels = _channels(kept["mode"], data.channels)
    classes = sorted(set(kept["label"]))
    content: dict[str, Any] = {"classes": classes, "channels": channels, "image_size": data.image_size, "splits": {}}
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory, prefix=".packing-") as temporary:
        for split in SPLITS:
            rows = kept[kept["split"] == split]
            content["splits"][split] = _pack_split(source, rows, data, channels, workers, Path(temporary) / split)
        text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
        (Path(temporary) / "pack.json").write_text(text, encoding="utf-8")
        for file in sorted(Path(temporary).iterdir()):
            file.replace(directory / file.name)
    return content


def _channels(modes: pd.Series, wanted: str | int) -> int:
    if wanted != "auto":
        return int(wanted)
    return 1 if modes.isin(GRAYSCALE).all() else 3


def _pack_split(
    source: Source, rows: pd.DataFrame, data: DataSettings, channels: int, workers: int, base: Path
) -> dict[str, Any]:
    """Write `base`.npy and `base`.csv for the rows of one split, in their order, and describe them."""
    shape = (len(rows), channels, data.image_size, data.image_size)
    array = np.lib.format.open_memmap(base.with_suffix(".npy"), mode="w+", dtype=np.uint8, shape=shape)
    known = {entry.image_id for entry in source.entries}
    ids, hashes = list(rows["image_id"]), list(rows["sha256"])

    def fill(index: int) -> None:
        image_id = ids[index] if ids[index] in known else re.sub(r"#\d+$", "", ids[index])  # an oversampled copy
        try:
            picture = source.read(image_id) if image_id in known else None
        except UnreadableError:
            picture = None
        if picture is None or picture.sha256 != hashes[index]:
            raise StudyError(
                f"{data.source}: '{image_id}' has changed since the manifest was made; make the manifest again"
            )
        array[index] = resize(picture.image, data.image_size, channels)

    in_parallel(f"Packing {base.name}", fill, range(len(ids)), workers)
    array.flush()
    labels = list(rows["label"])
    with base.with_suffix(".csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("image_id", "label"))
        writer.writerows(zip(ids, labels, strict=True))
    counts = dict(sorted(Counter(labels).items()))
    return {"images": len(ids), "counts": counts, "sha256": _digest(array, labels)}


def _digest(array: np.ndarray, labels: list[str]) -> str:
    digest = hashlib.sha256(json.dumps([array.shape, labels]).encode())
    for start in range(0, len(array), ROWS_AT_ONCE):
        digest.update(array[start : start + ROWS_AT_ONCE].tobytes())
    return digest.hexdigest()


def load(directory: Path) -> PackedData:
    """Open what `pack` wrote, images memory-mapped.

    Raises:
        StudyError: a file is missing or does not fit the others.
    """
    try:
        content = json.loads((directory / "pack.json").read_text(encoding="utf-8"))
        images = {split: np.load(directory / f"{split}.npy", mmap_mode="r") for split in SPLITS}
        tables = {split: _read_table(directory / f"{split}.csv") for split in SPLITS}
    except (OSError, ValueError) as error:
        raise StudyError(f"{directory}: packed images are missing or damaged ({error}); make them again") from None
    number = {name: index for index, name in enumerate(content["classes"])}
    for split in SPLITS:
        expected = content["splits"][split]["images"]
        if not len(images[split]) == len(tables[split]) == expected:
            raise StudyError(
                f"{directory / split}.npy: {len(images[split])} images and {len(tables[split])} labels found, allowed "
                f"are {expected} as in pack.json; make them again"
            )
    return PackedData(
        classes=tuple(content["classes"]),
        images=images,
        labels={s: np.array([number[label] for _, label in tables[s]], dtype=np.int64) for s in SPLITS},
        image_ids={s: [image_id for image_id, _ in tables[s]] for s in SPLITS},
        digest=hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest(),
    )


def _read_table(path: Path) -> list[tuple[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return [(row["image_id"], row["label"]) for row in csv.DictReader(file)]
