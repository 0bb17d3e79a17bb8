"""Write the kept images as memory-mappable arrays, one per split; `study.data.packed` opens them."""

import functools
import hashlib
import json
import re
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from study.data.data_settings import DataSettings
from study.data.decode import FULL_DEPTH, GRAYSCALE, pixels_sha256, resize
from study.data.file_kinds import UnreadableError
from study.data.manifest import write_rows
from study.data.sources import Source, open_source
from study.errors import StudyError
from study.files import write_json
from study.names import SPLITS
from study.progress import in_parallel

HASHED_AT_ONCE = 2**24  # bytes


def pack(manifest: pd.DataFrame, data: DataSettings, directory: Path, workers: int) -> dict[str, Any]:
    """Write `<split>.npy`, `<split>.csv` (image_id, label) and `pack.json`; all of them or, on an error, none.

    Args:
        manifest: as `manifest_building.build_manifest` made it or `manifest.read_manifest` read it.
        data: the section of the configuration that the manifest was made with.
        directory: where the files go.
        workers: processes that decode.

    Returns:
        The content of pack.json: classes, channels, image_size, where they are set stored_size and keep_aspect,
        bit_depth (of samples of 16 bits), and splits {split: {images, counts, sha256}}.

    Raises:
        StudyError: an image is not what it was when the manifest was made.
    """
    source = open_source(data)
    kept = manifest[manifest["status"] == "kept"].sort_values("image_id")
    channels = _channels(kept["mode"], data.channels)
    classes = sorted(set(kept["label"]))
    bit_depth = _bit_depth(manifest["bit_depth"], data.bit_depth)
    content: dict[str, Any] = {"classes": classes, "channels": channels, "image_size": data.image_size}
    content |= {"stored_size": data.stored_size} if data.stored_size else {}
    content |= {"keep_aspect": True} if data.keep_aspect else {}
    content |= {"bit_depth": bit_depth, "splits": {}}
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory, prefix=".packing-") as temporary:
        for split in SPLITS:
            rows = kept[kept["split"] == split]
            base = Path(temporary) / split
            content["splits"][split] = _pack_split(source, rows, data, channels, bit_depth, workers, base)
        write_json(content, Path(temporary) / "pack.json")
        for file in sorted(Path(temporary).iterdir()):
            file.replace(directory / file.name)
    return content


def _channels(modes: pd.Series, wanted: str | int) -> int:
    if wanted != "auto":
        return int(wanted)
    return 1 if modes.isin(GRAYSCALE).all() else 3


def _bit_depth(decided: pd.Series, wanted: str | int) -> int:
    """What the manifest says of its images of 16 bits, and without any what is wanted of those still to come."""
    if wanted != "auto":
        return int(wanted)
    return max((int(bits) for bits in decided.unique() if bits), default=FULL_DEPTH)


def _pack_split(
    source: Source, rows: pd.DataFrame, data: DataSettings, channels: int, bit_depth: int, workers: int, base: Path
) -> dict[str, Any]:
    """Write `base`.npy and `base`.csv for the rows of one split, in their order, and describe them."""
    shape, array_file = (len(rows), channels, data.stored_side, data.stored_side), base.with_suffix(".npy")
    array = np.lib.format.open_memmap(array_file, mode="w+", dtype=np.uint8, shape=shape)
    known = {entry.image_id for entry in source.entries}

    def places() -> Iterator[tuple[int, str, bool, str]]:
        """Of each image its place in the array, its id in the source, whether it is still there, and its hash."""
        for index, (image_id, sha256) in enumerate(zip(rows["image_id"], rows["sha256"], strict=True)):
            name = image_id if image_id in known else re.sub(r"#\d+$", "", image_id)  # an oversampled copy
            yield index, name, name in known, sha256

    def fill(place: tuple[int, str, bool, str]) -> None:
        index, image_id, there, sha256 = place
        try:
            picture = source.read(image_id, bit_depth) if there else None
        except UnreadableError:
            picture = None
        pixels = resize(picture.image, data.stored_side, channels, data.keep_aspect) if picture else None
        if pixels is None or pixels_sha256(pixels) != sha256:
            raise StudyError(
                f"{data.source}: '{image_id}' has changed since the manifest was made; make the manifest again"
            )
        _writable(array_file)[index] = pixels

    for _ in in_parallel(f"Packing {base.name}", fill, places(), workers, total=len(rows)):
        pass
    write_rows(rows[["image_id", "label"]], base.with_suffix(".csv"))
    labels = list(rows["label"])
    counts = dict(sorted(Counter(labels).items()))
    return {"images": len(rows), "counts": counts, "sha256": array_digest(array, labels)}


@functools.lru_cache(maxsize=1)
def _writable(file: Path) -> np.ndarray:
    """An array on disk, shared with the other processes that fill it."""
    return np.load(file, mmap_mode="r+")


def array_digest(array: np.ndarray, labels: list[str]) -> str:
    """SHA-256 of an array (N, …) and its N labels."""
    digest = hashlib.sha256(json.dumps([array.shape, labels]).encode())
    rows = max(1, HASHED_AT_ONCE // max(1, array[:1].nbytes))
    for start in range(0, len(array), rows):
        digest.update(np.ascontiguousarray(array[start : start + rows]).data)
    return digest.hexdigest()
