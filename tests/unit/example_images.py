"""Small sources of images for the tests: trees, zips and tables of noise, no two images alike unless asked for."""

import struct
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_images

from study.data.data_settings import DataSettings
from study.data.sources import Source
from study.data.splits import SplitSettings

ROOT = Path(__file__).parents[2]
FULL_SHORT = 65535


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


def photographs(side: int) -> list[Image.Image]:
    """Different colour pictures of so many pixels: parts of scikit-learn's two photographs that are not flat."""
    parts = []
    for photograph in load_sample_images().images:
        for top in range(0, photograph.shape[0] - 96, 96):
            for left in range(0, photograph.shape[1] - 96, 96):
                part = Image.fromarray(photograph[top : top + 96, left : left + 96])
                parts.append(part.resize((side, side), Image.Resampling.BILINEAR))
    return [part for part in parts if np.asarray(part.convert("L")).std() > 25]


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


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(rows: Iterable[bytes], width: int, bits: int, colour: int, *before: bytes, after: bytes = b"") -> bytes:
    """A PNG by hand.

    Args:
        rows: the packed samples of each row.
        colour: 0 gray, 2 RGB, 3 palette, 4 gray with alpha, 6 RGB with alpha.
        before: whole chunks to stand in front of the pixels.
        after: whole chunks to stand behind them.
    """
    lines = list(rows)
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, len(lines), bits, colour, 0, 0, 0))
    data = png_chunk(b"IDAT", zlib.compress(b"".join(b"\0" + line for line in lines)))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(before) + data + after + png_chunk(b"IEND", b"")


def png16(values: np.ndarray, colour: int, *before: bytes) -> bytes:
    """A PNG of 16 bits by hand, of samples (H, W) or (H, W, C)."""
    return png([row.astype(">u2").tobytes() for row in values], values.shape[1], 16, colour, *before)


def tiff(values: np.ndarray, order: str = "<", photometric: int | None = None, **tags: int) -> bytes:
    """An uncompressed TIFF of one strip by hand, of samples (H, W) or (H, W, C) of any integer or floating type.

    Args:
        order: "<" or ">", of its bytes.
        photometric: 0 white is zero, 1 black is zero, 2 RGB, 5 CMYK; by default as many channels say.
        tags: number of a tag, after a "t", and its value.
    """
    height, width, *rest = values.shape
    channels = rest[0] if rest else 1
    extra = {2: 1, 4: 1}.get(channels, 0) if photometric != 5 else 0
    kind = {"u": 1, "i": 2, "f": 3}[values.dtype.kind]
    data = values.astype(values.dtype.newbyteorder(order)).tobytes()
    default = 2 if channels > 2 else 1
    fields: dict[int, tuple[int, ...]] = {
        256: (width,), 257: (height,), 258: (values.itemsize * 8,) * channels, 259: (1,),
        262: (default if photometric is None else photometric,), 273: (8,), 277: (channels,), 278: (height,),
        279: (len(data),), 339: (kind,) * channels,
    }  # fmt: skip
    if extra:
        fields[338] = (2,)
    fields |= {int(name[1:]): (value,) for name, value in tags.items()}
    start = 8 + len(data) + len(data) % 2
    later = start + 2 + 12 * len(fields) + 4
    entries, values_of_tags = b"", b""
    for tag, numbers in sorted(fields.items()):
        code = "I" if max(numbers) > FULL_SHORT else "H"
        packed = struct.pack(f"{order}{len(numbers)}{code}", *numbers)
        if len(packed) > 4:
            place, values_of_tags = later + len(values_of_tags), values_of_tags + packed
            packed = struct.pack(f"{order}I", place)
        entries += struct.pack(f"{order}HHI", tag, 4 if code == "I" else 3, len(numbers)) + packed.ljust(4, b"\0")
    directory = struct.pack(f"{order}H", len(fields)) + entries + bytes(4)
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", start)
    return head + data + bytes(len(data) % 2) + directory + values_of_tags
