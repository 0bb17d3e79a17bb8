"""A single image file becomes 8 bits and the packed size, or there is a reason why not."""

import io
import struct
import zlib

import numpy as np
import pytest
from example_images import noise
from PIL import Image

from study.data.decode import decode, holds_colour, pixels_sha256, resize
from study.data.file_kinds import UnreadableError


def saved(image: Image.Image, format: str, **options: object) -> io.BytesIO:
    file = io.BytesIO()
    image.save(file, format, **options)
    file.seek(0)
    return file


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"])
def test_every_mode_becomes_gray_or_rgb_of_8_bits(mode: str) -> None:
    if mode == "I;16":
        image = Image.fromarray(np.arange(12 * 12, dtype=np.uint16).reshape(12, 12) * 400)
    else:
        image = noise(0, mode="RGB").convert(mode)
    picture = decode(saved(image, "TIFF" if mode == "CMYK" else "PNG"), 1000)
    assert picture.mode == mode
    assert picture.image.mode == ("L" if mode in ("1", "L", "LA", "I;16") else "RGB")


def test_16_bits_keep_the_upper_8() -> None:
    values = np.array([[0, 255, 256], [32768, 65279, 65535]], dtype=np.uint16)
    decoded = np.asarray(decode(saved(Image.fromarray(values), "PNG"), 1000).image)
    assert decoded.tolist() == [[0, 0, 1], [128, 254, 255]]


def test_transparency_is_laid_on_white() -> None:
    picture = decode(saved(Image.new("RGBA", (2, 2), (200, 0, 0, 0)), "PNG"), 1000)
    assert (np.asarray(picture.image) == 255).all()


def test_exif_orientation_turns_the_image_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    assert decode(saved(noise(0, (20, 10)), "PNG", exif=exif), 1000).image.size == (10, 20)


def test_an_animation_is_its_first_frame() -> None:
    file = saved(noise(1), "GIF", save_all=True, append_images=[noise(2)])
    assert (np.asarray(decode(file, 1000).image.convert("L")) == np.asarray(noise(1))).all()


def test_the_hash_is_of_the_pixels_as_they_are_packed() -> None:
    def packed_hash(image: Image.Image, channels: int = 3, **options: object) -> str:
        return pixels_sha256(resize(decode(saved(image, **{"format": "PNG", **options}), 1000).image, 12, channels))

    gray, colour = noise(0), noise(0, mode="RGB")
    expected = packed_hash(gray)
    opaque = gray.convert("RGBA")
    palette = Image.frombytes("P", gray.size, gray.tobytes())
    palette.putpalette([level for value in range(256) for level in (value, value, value)])
    wide = Image.fromarray(np.asarray(gray).astype(np.uint16) * 257)
    turned = Image.Exif()
    turned[0x0112] = 6
    for image, options in (
        *((gray.convert(mode), {}) for mode in ("RGB", "LA")),
        *((image, {}) for image in (opaque, palette, wide)),
        *((gray, {"format": format}) for format in ("BMP", "TIFF", "GIF", "PPM", "PCX", "SGI")),
        *((gray.convert("RGB"), {"format": format, **{"lossless": True}}) for format in ("WEBP",)),
        (gray.transpose(Image.Transpose.ROTATE_90), {"exif": turned}),
    ):
        assert packed_hash(image, **options) == expected, (image.mode, options)
        assert packed_hash(image, 1, **options) == expected
    assert packed_hash(noise(1)) != expected
    assert packed_hash(colour) != packed_hash(colour, 1) == packed_hash(colour.convert("L"))
    assert packed_hash(noise(0, (24, 24))) == packed_hash(
        noise(0, (24, 24)).resize((12, 12), Image.Resampling.BILINEAR)
    )


def test_gray_in_three_channels_is_no_colour() -> None:
    assert not holds_colour(resize(noise(0).convert("RGB"), 12, 3))
    assert not holds_colour(resize(noise(0), 12, 1))
    assert holds_colour(resize(noise(0, mode="RGB"), 12, 3))


def png_header(width: int, height: int) -> bytes:
    """A PNG that says it has that size and holds no pixels."""
    content = bytearray(saved(Image.new("L", (1, 1)), "PNG").getvalue())
    content[16:24] = struct.pack(">II", width, height)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    return bytes(content)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "an empty file, not an image: fetch or copy it again"),
        (b"<html>not found</html>", r"a web page \(HTML\), not an image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", r"PostScript \(EPS\), which is not read: convert it"),
        (saved(noise(0, (64, 64)), "JPEG").getvalue()[:900], "damaged image: .*truncated"),
        (saved(noise(0, (64, 64)), "PNG").getvalue()[:900], "damaged image: "),
        (png_header(100_000, 100_000), "100000×100000 pixels, more than max_pixels = 1000000"),
        (saved(Image.new("F", (4, 4)), "TIFF").getvalue(), "floating-point pixels"),
        (saved(Image.new("I", (4, 4), -5), "TIFF").getvalue(), "more than 16 bits hold"),
    ],
    ids=["empty", "html", "postscript", "truncated jpeg", "truncated png", "absurd size", "float", "negative"],
)
def test_an_unreadable_file_says_why(content: bytes, message: str) -> None:
    with pytest.raises(UnreadableError, match=message):
        decode(io.BytesIO(content), 1_000_000)


@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("L", 3), ("RGB", 1), ("RGB", 3)])
def test_resizing_gives_the_packed_shape(mode: str, channels: int) -> None:
    image = noise(0, (20, 10), mode)
    packed = resize(image, 8, channels)
    assert packed.shape == (channels, 8, 8)
    assert packed.dtype == np.uint8
    assert packed.mean() == pytest.approx(np.asarray(image).mean(), abs=6)


def test_an_image_of_the_size_keeps_its_pixels() -> None:
    assert (resize(noise(0), 12, 1)[0] == np.asarray(noise(0))).all()
    colour = noise(0, mode="RGB")
    assert (resize(colour, 12, 3) == np.asarray(colour).transpose(2, 0, 1)).all()
