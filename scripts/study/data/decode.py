"""One image file to pixels, and pixels to the packed size. Everything that Pillow does for the study is here and in
`wide_samples`."""

import hashlib
import struct
import warnings
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image

from study.data import file_kinds, wide_samples
from study.data.file_kinds import UnreadableError
from study.data.metadata import jpeg_segments, without_metadata
from study.errors import naming_trouble

# All that Pillow reads by itself from memory, the most common first; named, since it starts programs for others (EPS).
FORMATS: tuple[str, ...] = (
    *("JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP", "PPM", "AVIF", "JPEG2000", "DIB", "ICO", "PSD", "DDS", "QOI", "SGI"),
    "PCX",
)
TARGA = (".tga", ".icb", ".vda", ".vst")  # no first bytes tell a TGA, so its name has to
GRAYSCALE = ("1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "I;16N")  # Pillow's modes that hold no colour
FULL_DEPTH = 16  # bits of a sample that takes two bytes
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # by the EXIF orientation
RAW_BITS = {"L;2": 2, "L;4": 4}  # Pillow's raw modes of samples of fewer than 8 bits
ICO = b"\0\0\1\0"  # its first bytes
DNG_VERSION, SUBFILE_TYPE, SUB_DIRECTORIES = 50706, 254, 330  # tags of a TIFF

warnings.filterwarnings("ignore", module="PIL")  # a damaged file is reported in the manifest, not on the terminal


@dataclass(frozen=True)
class Picture:
    """A decoded image.

    Attributes:
        image: Pillow image of mode "L" or "RGB", 8 bits, upright, in its own size.
        mode: the mode of the file, before conversion ("P", "RGBA", "I;16" …).
        largest: the largest sample of a file whose samples take 16 bits without saying how many of them they use, at
            most 65535; None for every other file.
    """

    image: Image.Image
    mode: str
    largest: int | None = None


def decode(file: Path | BytesIO, max_pixels: int, bit_depth: int = FULL_DEPTH, name: str = "") -> Picture:
    """Decode an image: first frame of an animation, turned upright by its orientation, at 8 bits.

    Transparency is laid on white; palettes, CMYK and the like become RGB. Metadata that is damaged counts as none.

    Args:
        max_pixels: width × height above which nothing is decoded.
        bit_depth: bits that samples of 16 bits use, from 8; the upper 8 of these are kept. A file that says itself how
            many it uses (12 in a TIFF, JPEG 2000's precision, the largest value of a PGM) is taken at its word.
        name: of the file, where `file` is its content.

    Raises:
        UnreadableError: not an image, damaged, of more than `max_pixels` pixels, with samples that do not fit
            `bit_depth`, or in a form that is not read.
        StudyError: the machine's trouble, not the file's.
    """
    name = name or (str(file) if isinstance(file, Path) else "")
    with naming_trouble(name or "an image"):
        content = _content(file, name)
        failure: Exception | None = None
        for candidate in _candidates(content):
            try:
                return _decoded(candidate, name, max_pixels, bit_depth)
            except (UnreadableError, MemoryError):
                raise
            except Exception as error:  # a damaged file makes Pillow raise nearly anything
                if isinstance(error, OSError) and error.errno is not None:
                    raise
                failure = failure or error
        if isinstance(failure, Image.DecompressionBombError):
            raise UnreadableError(f"it holds an image of more pixels than max_pixels = {max_pixels}")
        if isinstance(failure, Image.UnidentifiedImageError):
            raise UnreadableError(_unidentified(content, name))
        raise UnreadableError(f"damaged image: {failure or type(failure).__name__}")


def _content(file: Path | BytesIO, name: str) -> bytes:
    """All of a file, unless its first bytes say that it is not an image."""
    if isinstance(file, Path):
        if not file.is_file():
            raise UnreadableError("not a regular file, or a link that leads nowhere")
        with file.open("rb") as opened:
            head = opened.read(file_kinds.HEAD)
            if not (words := file_kinds.never_read(head, name)):
                return head if len(head) < file_kinds.HEAD else head + opened.read()
    else:
        content = file.getvalue()
        if not (words := file_kinds.never_read(content[: file_kinds.HEAD], name)):
            return content
    raise UnreadableError(words)


def _candidates(content: bytes) -> Iterator[bytes]:
    yield content
    yield from without_metadata(content)


def _decoded(content: bytes, name: str, max_pixels: int, bit_depth: int) -> Picture:
    # `max_pixels` stands in its place, but an ICO loads the image inside when it is opened. Pillow refuses the double.
    Image.MAX_IMAGE_PIXELS = (max_pixels + 1) // 2 if content.startswith(ICO) else None
    formats = (*FORMATS, "TGA") if name.lower().endswith(TARGA) else FORMATS
    with Image.open(BytesIO(content), formats=formats) as opened:  # reads the header only
        if opened.width * opened.height > max_pixels:
            raise UnreadableError(f"{opened.width}×{opened.height} pixels, more than max_pixels = {max_pixels}")
        _refuse_what_is_misread(opened)
        samples = wide_samples.read(opened, content)
        if samples is None:
            return Picture(_upright(_to_8_bits(opened), opened), opened.mode)
        largest = None if samples.bits else samples.largest
        if largest is not None and largest >= 1 << bit_depth:
            raise UnreadableError(f"samples up to {largest}, more than {bit_depth} bits hold (data.bit_depth)")
        return Picture(_upright(samples.to_8_bits(bit_depth), opened), samples.mode, largest)


def _refuse_what_is_misread(opened: Any) -> None:
    """TIFFs of which Pillow makes another picture than they hold."""
    if opened.format != "TIFF":
        return
    tags = opened.tag_v2
    if DNG_VERSION in tags or (tags.get(SUBFILE_TYPE) == 1 and SUB_DIRECTORIES in tags):  # in front is a thumbnail
        raise UnreadableError(file_kinds.RAW)
    if opened.mode == "L" and set(tags.get(wide_samples.SAMPLE_FORMAT, ())) == {2}:
        raise UnreadableError("signed samples of 8 bits, whose range is not known; convert it to unsigned ones")


def _unidentified(content: bytes, name: str) -> str:
    if content.startswith(b"\xff\xd8"):
        with suppress(IndexError, struct.error):  # the file ends within a segment
            for marker, segment in jpeg_segments(content):
                if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC) and segment[4:5] not in (b"", b"\x08"):
                    return f"JPEG of {segment[4]} bits, {file_kinds.CONVERT}"
    return file_kinds.unreadable(content, name)


def _upright(image: Image.Image, opened: Image.Image) -> Image.Image:
    """Turned as the file says; an orientation that cannot be read is none."""
    try:
        turn = TURNS.get(opened.getexif().get(ExifTags.Base.Orientation, 1))
    except MemoryError:
        raise
    except Exception:  # nearly anything, as in `decode`
        return image
    return image if turn is None else image.transpose(turn)


def _to_8_bits(image: Image.Image) -> Image.Image:
    """Mode "L" or "RGB", on white."""
    raw = image.tile[0].args if image.tile else None  # type: ignore[attr-defined]
    image.load()
    if image.mode == "F":
        raise UnreadableError("floating-point pixels (mode F), whose range is not known; convert it to 8 or 16 bits")
    key = image.info.get("transparency")
    if key is not None and image.mode in ("1", "L", "RGB"):
        return _without_key(image, key, RAW_BITS.get(str(raw), 8))
    if image.mode in ("L", "RGB"):
        return image.copy()
    if image.mode in ("La", "RGBa"):
        pixels = np.asarray(image).astype(np.int64)
        pixels = np.minimum(pixels[..., :-1] + 255 - pixels[..., -1:], 255).astype(np.uint8)
        return Image.fromarray(pixels[..., 0] if image.mode == "La" else pixels)
    gray = image.mode in GRAYSCALE
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, layer)
    return image.convert("L" if gray else "RGB")


def _without_key(image: Image.Image, key: int | tuple[int, ...], bits: int) -> Image.Image:
    """White where an opaque image has its one transparent colour, a sample of `bits` bits or three of them."""
    pixels = np.array(image.convert("L") if image.mode == "1" else image)
    if image.mode == "1":
        transparent = pixels == key
    else:
        most = (1 << bits) - 1
        values = (np.array(key) & most) * (255 // most)
        transparent = pixels == values if image.mode == "L" else (pixels == values).all(axis=-1)
    pixels[transparent] = 255
    return Image.fromarray(pixels)


def resize(image: Image.Image, size: int, channels: int, keep_aspect: bool = False) -> np.ndarray:
    """uint8 array (channels, size, size). A bilinear filter that averages when it shrinks. An image that has the size
    already keeps its pixels exactly. Colour becomes gray by ITU-R 601-2.

    Args:
        keep_aspect: keep the sides in proportion and cut the square out of the middle, as torchvision's Resize and
            CenterCrop do; else the image is squashed to the square.
    """
    mode = "L" if channels == 1 else "RGB"
    if image.mode != mode:
        image = image.convert(mode)
    width, height = image.size
    if keep_aspect:
        shorter = min(width, height)
        width, height = (int(size * length / shorter) for length in (width, height))
    else:
        width, height = size, size
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    if (width, height) != (size, size):
        left, top = round((width - size) / 2), round((height - size) / 2)
        image = image.crop((left, top, left + size, top + size))
    pixels = np.asarray(image)
    return pixels[np.newaxis] if channels == 1 else pixels.transpose(2, 0, 1)


def holds_colour(pixels: np.ndarray) -> bool:
    """Whether an image (C, S, S) has a pixel that is not gray."""
    return len(pixels) == 3 and not (np.array_equal(pixels[0], pixels[1]) and np.array_equal(pixels[0], pixels[2]))


def pixels_sha256(pixels: np.ndarray) -> str:
    """Hash of an image (C, S, S) as it is packed; gray repeated over three channels has the hash of one channel."""
    stored = pixels if holds_colour(pixels) else pixels[0]
    return hashlib.sha256(stored.tobytes()).hexdigest()
