"""Small sources of images for the tests: trees, zips and tables of noise, no two images alike unless asked for."""

import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from study.data.data_settings import DataSettings
from study.data.sources import Source
from study.data.splits import SplitSettings

ROOT = Path(__file__).parents[2]


def data_settings(source: Path | str, **changes: Any) -> DataSettings:
    settings: dict[str, Any] = {
        "source": str(source),
        "folder": None,
        "split_folders": {},
        "class_level": "auto",
        "name_encoding": "auto",
        "image_size": 12,
        "channels": "auto",
        "max_unreadable": 0.0,
        "max_pixels": 1_000_000,
        "max_unpacked_bytes": 1_000_000_000,
        "duplicates": "keep",
        "contradictory": "keep",
        "blank": "keep",
        "odd_size": "keep",
        "odd_mode": "keep",
        "digits_imbalance": 8,
        "oversample": {},
    }
    return DataSettings(**settings | changes)


def split_settings(method: str = "stratified", **changes: Any) -> SplitSettings:
    settings: dict[str, Any] = {"method": method, "train": 0.6, "val": 0.2, "test": 0.2, "seed": 42}
    return SplitSettings(**settings | changes)


def noise(seed: int, size: tuple[int, int] = (12, 12), mode: str = "L") -> Image.Image:
    width, height = size
    shape = (height, width) if mode == "L" else (height, width, len(mode))
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8))


def write_images(folder: Path, images: Mapping[str, Image.Image]) -> Path:
    for name, image in images.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path)
    return folder


def write_tree(folder: Path, counts: Mapping[str, int], seed: int = 0) -> Path:
    """`counts`: folder of a class -> number of images in it."""
    numbers = iter(range(seed, 10**6))
    names = [f"{name}/{index}.png" for name, count in counts.items() for index in range(count)]
    return write_images(folder, {name: noise(next(numbers)) for name in names})


def write_zip(path: Path, folder: Path, prefix: str = "") -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for file in folder.rglob("*"):
            if file.is_file():
                archive.write(file, prefix + file.relative_to(folder).as_posix())
    return path


def pixel_cell(seed: int, count: int = 48 * 48) -> str:
    return " ".join(map(str, np.random.default_rng(seed).integers(0, 256, count)))


def write_csv(path: Path, rows: Iterable[str], header: str = "emotion,pixels,Usage") -> Path:
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def pixels(source: Source, image_id: str) -> np.ndarray:
    return np.asarray(source.read(image_id).image)
