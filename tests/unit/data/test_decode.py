"""A single image file becomes 8 bits and the packed size, or there is a reason why not."""

import io
import struct
import zlib

import numpy as np
import pytest
from example_images import noise, png, png_chunk, tiff
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


PALETTE = png_chunk(b"PLTE", bytes([10, 20, 30, 40, 50, 60, 70, 80, 90]))
HALF = [132, 137, 142]  # the first colour of it under an alpha of 128


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (png([b"\x40"], 2, 1, 0, png_chunk(b"tRNS", b"\0\0")), [255, 255]),
        (png([b"\x40"], 2, 1, 0, png_chunk(b"tRNS", b"\0\1")), [0, 255]),
        (png([b"\x1b"], 4, 2, 0, png_chunk(b"tRNS", b"\0\1")), [0, 255, 170, 255]),
        (png([b"\x1b"], 4, 2, 0), [0, 85, 170, 255]),
        (png([b"\x12"], 2, 4, 0, png_chunk(b"tRNS", b"\0\1")), [255, 34]),
        (png([b"\x1f"], 2, 4, 0), [17, 255]),
        (png([b"\5\6"], 2, 8, 0, png_chunk(b"tRNS", b"\0\5")), [255, 6]),
        (png([b"\1\2\3\1\2\4"], 2, 8, 2, png_chunk(b"tRNS", b"\0\1\0\2\0\3")), [[255, 255, 255], [1, 2, 4]]),
        (png([b"\0\1"], 2, 8, 3, PALETTE + png_chunk(b"tRNS", b"\xff\0")), [[10, 20, 30], [255, 255, 255]]),
        (png([b"\0\2"], 2, 8, 3, PALETTE + png_chunk(b"tRNS", b"\x80\0")), [HALF, [70, 80, 90]]),
        (png([b"\x01"], 2, 4, 3, PALETTE + png_chunk(b"tRNS", b"\x80\0")), [HALF, [255, 255, 255]]),
        (png([bytes([100, 128, 100, 0])], 2, 8, 4), [177, 255]),
        (png([bytes([100, 0, 200, 128, 1, 2, 3, 0])], 2, 8, 6), [[177, 127, 227], [255, 255, 255]]),
    ],
    ids=[
        *("black of 1 bit", "white of 1 bit", "2 bits", "2 bits opaque", "4 bits", "4 bits opaque", "8 bits", "RGB"),
        *("one index", "table of alpha", "table of 4 bits", "LA", "RGBA"),
    ],
)
def test_every_transparency_of_a_png(content: bytes, expected: list) -> None:
    assert np.asarray(decode(io.BytesIO(content), 1000).image)[0].tolist() == expected


def test_transparency_in_other_formats() -> None:
    clear, opaque = [255, 255, 255], [200, 100, 0]
    image = Image.new("RGBA", (2, 1))
    image.putpixel((0, 0), (*opaque, 255))
    for format, options in (("GIF", {}), ("WEBP", {"lossless": True}), ("TIFF", {}), ("TGA", {}), ("DDS", {})):
        picture = decode(saved(image, format, **options), 1000, name="x.tga" if format == "TGA" else "")
        assert np.asarray(picture.image)[0].tolist() == [opaque, clear], format
    avif = decode(saved(image.resize((16, 16), Image.Resampling.NEAREST), "AVIF", quality=100), 1000)
    assert np.abs(np.asarray(avif.image)[8, [2, 13]].astype(int) - [opaque, clear]).max() < 12
    palette = Image.new("P", (2, 1))
    palette.putpalette([*opaque, 0, 0, 0])
    palette = palette.convert("PA")
    palette.putalpha(Image.frombytes("L", (2, 1), b"\xff\0"))
    assert np.asarray(decode(saved(palette, "TIFF"), 1000).image)[0].tolist() == [opaque, clear]
    assert palette.mode == "PA"


def test_premultiplied_gray_is_laid_on_white() -> None:
    values = np.array([[[50, 128], [0, 0], [9, 255]]], np.uint8)  # 50 of 128 is a gray of 100 under an alpha of 128
    picture = decode(io.BytesIO(tiff(values, t338=1)), 1000)
    assert (picture.mode, np.asarray(picture.image)[0].tolist()) == ("La", [177, 255, 9])


@pytest.mark.parametrize("format", ["JPEG2000", "PCX", "SGI", "DDS", "QOI", "PPM", "DIB", "TGA", "BMP", "MPO", "AVIF"])
def test_every_format_that_pillow_reads_by_itself(format: str) -> None:
    image = Image.new("RGB", (16, 16), (10, 20, 30))
    picture = decode(saved(image, format), 1000, name="X.TGA" if format == "TGA" else "x")
    assert picture.image.size == (16, 16)
    assert np.abs(np.asarray(picture.image).astype(int) - [10, 20, 30]).max() <= (3 if format in ("MPO", "AVIF") else 0)


@pytest.mark.filterwarnings("ignore:Image size")
def test_what_an_ico_holds_is_held_to_the_limit() -> None:
    inside = png_header(3000, 3000)
    directory = struct.pack("<3H4B2H2I", 0, 1, 1, 16, 16, 0, 0, 1, 32, len(inside), 22)
    with pytest.raises(UnreadableError, match=r"an image of more pixels than max_pixels = 1000000"):
        decode(io.BytesIO(directory + inside), 1_000_000)
    inside = saved(noise(0, (16, 16)), "PNG").getvalue()
    directory = struct.pack("<3H4B2H2I", 0, 1, 1, 16, 16, 0, 0, 1, 32, len(inside), 22)
    assert (np.asarray(decode(io.BytesIO(directory + inside), 256).image) == np.asarray(noise(0, (16, 16)))).all()


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
