"""Metadata that is damaged or huge leaves the picture as it is; damaged pixels stay damaged."""

import io
import struct
import zlib

import numpy as np
import pytest
from example_images import noise, png, png_chunk, tiff
from PIL import Image

from study.data.decode import decode
from study.data.file_kinds import UnreadableError

GRAY = np.asarray(noise(0, (16, 12)))
COLOUR = np.asarray(noise(1, (16, 12), "RGB"))
HUGE = b"x" * 70_000_000  # more than Pillow takes of text
ORIENTED = Image.Exif()
ORIENTED[0x0112] = 6


def pixels(content: bytes) -> list:
    return np.asarray(decode(io.BytesIO(content), 1000).image).tolist()


def saved(values: np.ndarray, format: str, **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(values).save(file, format, **options)
    return file.getvalue()


def segment(marker: int, body: bytes, length: int | None = None) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2 if length is None else length) + body


def wrong_checksum(kind: bytes, body: bytes) -> bytes:
    return png_chunk(kind, body)[:-4] + b"\0\1\2\3"


@pytest.mark.parametrize("behind", [False, True])
@pytest.mark.parametrize(
    "chunk",
    [
        pytest.param(png_chunk(b"zTXt", b"key\0\0" + zlib.compress(HUGE)), id="huge zTXt"),
        pytest.param(png_chunk(b"iTXt", b"key\0\1\0\0\0" + zlib.compress(HUGE)), id="huge iTXt"),
        pytest.param(png_chunk(b"iCCP", b"key\0\0" + zlib.compress(HUGE)), id="huge iCCP"),
        pytest.param(png_chunk(b"zTXt", b"key\0\0damaged"), id="damaged zTXt"),
        pytest.param(png_chunk(b"zTXt", b"key\0\7damaged"), id="unknown compression"),
        pytest.param(png_chunk(b"iTXt", b"key\0\1\0\0\0damaged"), id="damaged iTXt"),
        pytest.param(png_chunk(b"iTXt", b"key"), id="short iTXt"),
        pytest.param(png_chunk(b"iCCP", b"key\0\0damaged"), id="damaged iCCP"),
        pytest.param(png_chunk(b"eXIf", b"damaged"), id="damaged eXIf"),
        pytest.param(png_chunk(b"eXIf", b"MM\0*\0\0\xff\xff"), id="eXIf that leads nowhere"),
        pytest.param(png_chunk(b"pHYs", b"\0"), id="short pHYs"),
        pytest.param(png_chunk(b"gAMA", b""), id="empty gAMA"),
        pytest.param(png_chunk(b"cHRM", b"\0\0"), id="short cHRM"),
        pytest.param(png_chunk(b"acTL", b"\0"), id="short acTL"),
        pytest.param(wrong_checksum(b"tEXt", b"key\0text"), id="wrong checksum of text"),
        pytest.param(wrong_checksum(b"iCCP", b"key\0\0"), id="wrong checksum of a profile"),
    ],
)
def test_a_png_with_wrong_metadata(chunk: bytes, behind: bool) -> None:
    rows = [row.tobytes() for row in GRAY]
    content = png(rows, 16, 8, 0, after=chunk) if behind else png(rows, 16, 8, 0, chunk)
    assert pixels(content) == GRAY.tolist()


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(segment(0xE1, b"Exif\0\0damaged"), id="damaged EXIF"),
        pytest.param(segment(0xE1, b"Exif\0\0MM\0*\0\0\xff\xff"), id="EXIF that leads nowhere"),
        pytest.param(segment(0xE1, b"Exif\0\0II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\x63\0\0\0\0\0\0\0"), id="turn 99"),
        pytest.param(segment(0xE1, b"Exif\0\0II*\0\x08\0\0\0\1\0\x12\1\2\0\4\0\0\0abc\0\0\0\0\0"), id="turn in words"),
        pytest.param(segment(0xE0, b"JFIF"), id="short JFIF"),
        pytest.param(segment(0xE2, b"ICC_PROFILE\0"), id="short ICC"),
        pytest.param(segment(0xE2, b"ICC_PROFILE\0\1\5damaged"), id="a part of an ICC"),
        pytest.param(segment(0xE2, b"MPF\0damaged"), id="damaged MPF"),
        pytest.param(segment(0xE2, b"MPF\0MM\0*\0\0\xff\xff"), id="MPF that leads nowhere"),
        pytest.param(segment(0xED, b"Photoshop 3.0\x008BIM\4\4"), id="damaged Photoshop"),
        pytest.param(segment(0xFE, b""), id="empty comment"),
        pytest.param(segment(0xEC, b"x" * 65533), id="largest segment"),
    ],
)
@pytest.mark.parametrize("values", [GRAY, COLOUR], ids=["gray", "colour"])
def test_a_jpeg_with_wrong_metadata(values: np.ndarray, wrong: bytes) -> None:
    plain = saved(values, "JPEG", quality=90)
    expected = np.asarray(Image.open(io.BytesIO(plain))).tolist()
    for place in (2, 20):  # in front of JFIF's segment and behind it
        assert pixels(plain[:place] + wrong + plain[place:]) == expected


def test_the_transform_of_adobe_survives_damage_elsewhere() -> None:
    values = np.zeros((8, 8, 3), np.uint8) + np.array([200, 40, 90], np.uint8)
    plain = saved(values, "JPEG", quality=100, keep_rgb=True)
    wrong = plain[:2] + segment(0xE2, b"MPF\0damaged") + plain[2:]
    assert abs(np.array(pixels(wrong)) - values).max() <= 2


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_the_orientation_survives_damage_elsewhere(format: str) -> None:
    plain = saved(COLOUR, format, exif=ORIENTED, **({"lossless": True} if format == "WEBP" else {}))
    upright = pixels(plain)
    assert np.array(upright).shape == (16, 12, 3)
    if format == "PNG":
        plain = plain[:33] + png_chunk(b"iTXt", b"key\0\1\0\0\0damaged") + plain[33:]
    if format == "JPEG":
        plain = plain[:2] + segment(0xE2, b"MPF\0damaged") + plain[2:]
    assert pixels(plain) == upright


@pytest.mark.parametrize("exif", [b"damaged", b"Exif\0\0II*\0\xff\xff\xff\x7f", b"MM\0*\0\0\0\x08\0\x09"])
def test_a_webp_with_wrong_exif(exif: bytes) -> None:
    assert pixels(saved(COLOUR, "WEBP", lossless=True, exif=exif)) == COLOUR.tolist()


@pytest.mark.parametrize(
    "tags", [{"t305": 70000}, {"t34665": 70001}, {"t700": 66000}, {"t65000": 1}, {"t282": 0}, {"t34675": 99999}]
)
@pytest.mark.parametrize("order", ["<", ">"])
def test_a_tiff_with_odd_tags(order: str, tags: dict[str, int]) -> None:
    assert pixels(tiff(COLOUR, order, **tags)) == COLOUR.tolist()


@pytest.mark.parametrize("turn", [0, 9, 77])
def test_an_orientation_that_does_not_exist_is_none(turn: int) -> None:
    assert pixels(tiff(GRAY, t274=turn)) == GRAY.tolist()


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("format", ["PNG", "JPEG", "TIFF", "WEBP"])
def test_every_orientation_is_turned_upright(format: str, turn: int) -> None:
    stored = np.zeros((16, 24), np.uint8)
    stored[:8, :8] = 255  # a mark in the first corner
    exif = Image.Exif()
    exif[0x0112] = turn
    found = np.array(pixels(saved(stored, format, exif=exif)))
    found = found if found.ndim == 2 else found[..., 0]
    assert found.shape == ((16, 24) if turn <= 4 else (24, 16))
    # Where the first row and the first column of what is stored belong (TIFF 6.0, Orientation).
    row, column = {1: (0, 0), 2: (0, -1), 3: (-1, -1), 4: (-1, 0), 5: (0, 0), 6: (0, -1), 7: (-1, -1), 8: (-1, 0)}[turn]
    assert found[row, column] > 240
    assert sorted(found[at, to] > 240 for at in (0, -1) for to in (0, -1)) == [False, False, False, True]


def cut(content: bytes) -> bytes:
    return content[: len(content) * 2 // 3]


def scrambled(content: bytes) -> bytes:
    middle = content.index(b"IDAT") + 20
    return content[:middle] + bytes(16) + content[middle + 16 :]


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(cut(saved(COLOUR, "PNG")), id="cut PNG"),
        pytest.param(scrambled(saved(COLOUR, "PNG")), id="scrambled PNG"),
        pytest.param(cut(saved(COLOUR, "JPEG")), id="cut JPEG"),
        pytest.param(cut(saved(COLOUR, "TIFF")), id="cut TIFF"),
        pytest.param(cut(saved(COLOUR, "WEBP")), id="cut WebP"),
        pytest.param(cut(saved(COLOUR, "BMP")), id="cut BMP"),
        pytest.param(cut(saved(COLOUR, "AVIF")), id="cut AVIF"),
        pytest.param(saved(COLOUR, "PNG")[:40], id="PNG of a header"),
        pytest.param(saved(COLOUR, "JPEG")[:30], id="JPEG of a header"),
        pytest.param(b"\xff\xd8\xff", id="JPEG of three bytes"),
        pytest.param(b"\xff\xd8\xff\xe1\xff", id="JPEG of half a segment"),
        pytest.param(b"\x89PNG\r\n\x1a\n", id="PNG of eight bytes"),
        pytest.param(b"II*\0\xff\xff\xff\xff", id="TIFF that leads nowhere"),
        pytest.param(b"RIFF\0\0\0\0WEBPVP8X", id="WebP of half a header"),
    ],
)
def test_damaged_pixels_stay_damaged(content: bytes) -> None:
    with pytest.raises(UnreadableError, match="damaged image: "):
        decode(io.BytesIO(content), 1000)
