"""One image file to pixels, and pixels to the packed size. Everything that Pillow does for the study is here."""

import hashlib
import warnings
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

FORMATS = ("JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP", "PPM")  # named, because Pillow starts programs for others (EPS)
GRAYSCALE = ("1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "I;16N")  # Pillow's modes that hold no colour

Image.MAX_IMAGE_PIXELS = None  # `max_pixels` of the configuration stands in its place
warnings.filterwarnings("ignore", module="PIL")  # a damaged file is reported in the manifest, not on the terminal


class UnreadableError(Exception):
    """The file holds no image that can be decoded; the message says why."""


@dataclass(frozen=True)
class Picture:
    """A decoded image.

    Attributes:
        image: Pillow image of mode "L" or "RGB", 8 bits, upright, in its own size.
        mode: the mode of the file, before conversion ("P", "RGBA", "I;16" …).
    """

    image: Image.Image
    mode: str

    @property
    def sha256(self) -> str:
        """Hash of the decoded mode, size and pixels: equal for exact copies, whatever their file format."""
        header = f"{self.image.mode} {self.image.width} {self.image.height}\n".encode()
        return hashlib.sha256(header + self.image.tobytes()).hexdigest()

    @property
    def blank(self) -> bool:
        """Whether every pixel has the same colour."""
        extrema = np.array(self.image.getextrema()).reshape(-1, 2)
        return bool((extrema[:, 0] == extrema[:, 1]).all())


def decode(file: Path | BytesIO, max_pixels: int) -> Picture:
    """Decode an image: first frame of an animation, turned upright by its EXIF orientation, at 8 bits.

    Transparency is laid on white; 16-bit grayscale keeps its upper 8 bits; palettes, CMYK and the like become RGB.

    Raises:
        UnreadableError: not an image, damaged, of more than `max_pixels` pixels, or of floating-point values.
    """
    try:
        with Image.open(file, formats=FORMATS) as opened:  # reads the header only
            if opened.width * opened.height > max_pixels:
                raise UnreadableError(f"{opened.width}×{opened.height} pixels, more than max_pixels = {max_pixels}")
            mode = opened.mode
            opened.load()
            return Picture(_to_8_bits(ImageOps.exif_transpose(opened)), mode)
    except UnreadableError:
        raise
    except Image.UnidentifiedImageError:
        raise UnreadableError("not an image, or its header is damaged") from None
    except Exception as error:  # a damaged file makes Pillow raise nearly anything
        raise UnreadableError(f"damaged image: {error or type(error).__name__}") from None


def _to_8_bits(image: Image.Image) -> Image.Image:
    if image.mode in ("L", "RGB"):
        return image.copy()
    if image.mode == "F":
        raise UnreadableError("floating-point pixels (mode F), whose range is not known")
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise UnreadableError(f"pixels from {values.min()} to {values.max()}, more than 16 bits hold")
        return Image.fromarray((values >> 8).astype(np.uint8))
    gray = image.mode in GRAYSCALE
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, layer)
    return image.convert("L" if gray else "RGB")


def resize(image: Image.Image, size: int, channels: int) -> np.ndarray:
    """uint8 array (channels, size, size). A bilinear filter that averages when it shrinks; the sides are not kept in
    proportion. An image that has the size already keeps its pixels exactly. Colour becomes gray by ITU-R 601-2."""
    image = image.convert("L" if channels == 1 else "RGB")
    if image.size != (size, size):
        image = image.resize((size, size), Image.Resampling.BILINEAR)
    pixels = np.asarray(image)
    return pixels[np.newaxis] if channels == 1 else pixels.transpose(2, 0, 1)
