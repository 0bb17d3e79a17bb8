"""Images whose samples take more than 8 bits, read at their full depth and brought to 8.

Pillow keeps the upper 8 of 16 bits of a colour, which is nothing of one that uses 8 of them. It tells the bytes of a
sample apart by the name of a raw mode, so reading a file twice, once with the order of the bytes turned round, gives
both.
"""

import sys
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

from study.data.file_kinds import CONVERT, UnreadableError

FULL = 65535  # the largest sample of two bytes
NATIVE = "L" if sys.byteorder == "little" else "B"
PLANAR, SAMPLE_BITS, SAMPLE_FORMAT, PHOTOMETRIC = 284, 258, 339, 262  # tags of a TIFF
FAINT = 64  # of 255: the upper bytes of a picture that uses at most 14 of its 16 bits stay below


@dataclass(frozen=True)
class Samples:
    """Samples of more than 8 bits.

    Attributes:
        values: integers (H, W), or (H, W, C) for colour and CMYK, from 0 to 65535.
        alpha: integers (H, W), 0 for transparent; None if every pixel is opaque.
        bits: of a sample, as the file says; None if it does not say how many of 16 it uses.
        mode: Pillow's mode of the file.
        premultiplied: whether alpha is in the values already.
        inverted: whether 0 is white.
    """

    values: np.ndarray
    alpha: np.ndarray | None
    bits: int | None
    mode: str
    premultiplied: bool = False
    inverted: bool = False

    @property
    def largest(self) -> int:
        """The largest sample of a pixel that is not fully transparent; 0 without any."""
        seen = self.values if self.alpha is None else self.values[self.alpha > 0]
        return int(seen.max(initial=0))

    def to_8_bits(self, bit_depth: int) -> Image.Image:
        """Upper 8 bits on white, of as many as the file says, or else of `bit_depth`; mode "L", "RGB" or "CMYK"."""
        depth = self.bits or bit_depth
        white = (1 << depth) - 1
        values = self.values
        if self.alpha is not None:
            # Whoever writes 12 bits writes 12 bits of alpha, or all 16.
            opaque = white if self.alpha.max() <= white else FULL
            alpha = self.alpha if values.ndim == 2 else self.alpha[..., np.newaxis]
            paper = white * (opaque - alpha)
            values = (
                values + paper // opaque if self.premultiplied else (values * alpha + paper + opaque // 2) // opaque
            )
        pixels = (np.minimum(values, white) >> (depth - 8)).astype(np.uint8)
        image = Image.fromarray(255 - pixels if self.inverted else pixels, "CMYK" if self.mode == "CMYK" else None)
        return image.convert("RGB") if self.mode == "CMYK" else image


def read(opened: Any, content: bytes) -> Samples | None:
    """The samples of an image with more than 8 bits of them; None for any other.

    Args:
        opened: what `Image.open` made of the content; not loaded yet.

    Raises:
        UnreadableError: the samples do not fit into 16 bits, or only their upper 8 can be had and say nothing.
    """
    tile = opened.tile[0] if opened.tile else None
    args: Any = tile.args if tile else ""
    raw = args if isinstance(args, str) else str(args[0]) if args else ""
    base, _, order = raw.partition(";16")
    if opened.mode.startswith("I"):
        return _gray(opened, args, raw, content)
    if opened.format == "PPM" and opened.mode == "RGB" and isinstance(args, tuple) and args[-1] > 255:
        return _ppm(opened, args[-1])
    if opened.format == "TIFF" and set(opened.tag_v2.get(SAMPLE_BITS, ())) == {16} and opened.tag_v2.get(PLANAR) == 2:
        raise UnreadableError(f"16-bit colour in separate planes, {CONVERT}")
    if raw == "LA;16B":
        upper_lower = _loaded(content, opened.format, "RGBA")
        values, alpha = (upper_lower[..., at] << 8 | upper_lower[..., at + 1] for at in (0, 2))
        return Samples(values, alpha, None, "LA")
    if order in ("B", "L", "N") and base:
        return _colour(opened, base, NATIVE if order == "N" else order, content)
    _check_upper_bytes(opened, content)
    return None


def _loaded(content: bytes, format: str, raw: str) -> np.ndarray:
    """Bytes (H, W, C) as int64 of an image whose samples are read by another raw mode."""
    with Image.open(BytesIO(content), formats=(format,)) as opened:
        opened.tile = [
            tile._replace(args=(raw, *tile.args[1:]) if isinstance(tile.args, tuple) else raw) for tile in opened.tile
        ]
        opened.load()
        return np.asarray(opened).astype(np.int64)


def _colour(opened: Any, base: str, order: str, content: bytes) -> Samples:
    plain = base.replace("a", "A")  # what is premultiplied is taken as it is
    turned = "L" if order == "B" else "B"
    upper, lower = (_loaded(content, opened.format, f"{plain};16{which}") for which in (order, turned))
    values = upper << 8 | lower
    alpha = None
    if opened.mode == "RGBA":
        values, alpha = values[..., :3], values[..., 3]
    elif "transparency" in opened.info:  # the one colour of a PNG that is transparent
        alpha = np.where((values == np.array(opened.info["transparency"])).all(axis=-1), 0, FULL)
    return Samples(values, alpha, None, opened.mode, premultiplied="a" in base)


def _ppm(opened: Any, most: int) -> Samples:
    """Colours of two bytes, read as gray values in rows three times as long; Pillow scales them to 16 bits."""
    opened._mode, opened._size = "I", (opened.width * 3, opened.height)
    opened.tile = [opened.tile[0]._replace(extents=(0, 0, *opened.size), args=("L", most))]
    opened.load()
    values = np.asarray(opened).astype(np.int64)
    return Samples(values.reshape(len(values), -1, 3), None, None if most == FULL else 16, "RGB")


def _gray(opened: Any, args: Any, raw: str, content: bytes) -> Samples:
    bits = None
    if raw == "I;12":
        bits = 12
    elif opened.format == "JPEG2000" and _precision(content) < 16:
        bits = 16  # Pillow scales them
    elif opened.format == "PPM" and isinstance(args, tuple) and args[-1] != FULL:
        bits = 16  # here too
    inverted = opened.format == "TIFF" and opened.tag_v2.get(PHOTOMETRIC) == 0
    mode = opened.mode
    opened.load()
    pixels = np.asarray(opened)
    values = (pixels.view(np.uint32) if raw == "I;32N" else pixels).astype(np.int64)
    if values.min() < 0 or values.max() > FULL:
        raise UnreadableError(
            f"pixels from {values.min()} to {values.max()}, more than 16 bits hold (allowed are 0 to {FULL}); convert "
            "it to 16 or 8 bits"
        )
    key = opened.info.get("transparency")
    alpha = np.where(values == key, 0, FULL) if isinstance(key, int) else None
    return Samples(values, alpha, bits, mode, inverted=inverted)


def _check_upper_bytes(opened: Any, content: bytes) -> None:
    """Refuse a picture of 16 bits of which Pillow keeps the upper 8, if these say next to nothing."""
    if not (
        (opened.format == "SGI" and content[3] == 2)
        or (opened.format == "JPEG2000" and _precision(content) == 16 and opened.mode != "P")
    ):
        return
    opened.load()
    largest = int(np.asarray(opened.convert("RGB")).max())
    if largest < FAINT:
        raise UnreadableError(
            f"16-bit samples of which only the upper 8 bits can be read, and these are {largest} of 255 at most; "
            "convert it to PNG, or to 8 bits"
        )


def _precision(content: bytes) -> int:
    """Bits of the first component of a JPEG 2000 (ISO 15444-1, A.5.1); 0 if it cannot be found."""
    start = content.find(b"\xff\x4f\xff\x51")
    return (content[start + 42] & 0x7F) + 1 if 0 <= start < len(content) - 42 else 0
