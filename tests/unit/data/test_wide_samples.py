"""Images of more than 8 bits are read at their full depth, whatever the file and its order of bytes, or refused."""

import io

import numpy as np
import pytest
from example_images import png16, png_chunk, tiff
from PIL import Image

from study.data.decode import Picture, decode
from study.data.file_kinds import UnreadableError

GRAY = np.array([[0, 1, 255, 256], [4095, 32768, 65280, 65535]], dtype=np.uint16)
COLOUR = np.stack([GRAY, GRAY[::-1], GRAY[:, ::-1]], axis=-1)
SMALL = GRAY // 16  # 12 bits
SMALL_COLOUR = COLOUR // 16


def decoded(content: bytes, bit_depth: int = 16) -> Picture:
    return decode(io.BytesIO(content), 1000, bit_depth)


def pixels(content: bytes, bit_depth: int = 16) -> list:
    return np.asarray(decoded(content, bit_depth).image).tolist()


def ppm(values: np.ndarray, most: int) -> bytes:
    kind = b"P6" if values.ndim == 3 else b"P5"
    return b"%s %d %d %d\n" % (kind, values.shape[1], len(values), most) + values.astype(">u2").tobytes()


def with_alpha(values: np.ndarray, alpha: int) -> np.ndarray:
    values = values if values.ndim == 3 else values[..., np.newaxis]
    return np.concatenate([values, np.full((*values.shape[:2], 1), alpha, values.dtype)], axis=-1)


def jpeg_2000(values: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(values).save(file, "JPEG2000", irreversible=False)
    return file.getvalue()


def pillow_tiff(values: np.ndarray, **options: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(values).save(file, "TIFF", **options)
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "values"),
    [
        pytest.param(png16(GRAY, 0), GRAY, id="gray PNG"),
        pytest.param(png16(COLOUR, 2), COLOUR, id="RGB PNG"),
        pytest.param(png16(with_alpha(GRAY, 65535), 4), GRAY, id="LA PNG"),
        pytest.param(png16(with_alpha(COLOUR, 65535), 6), COLOUR, id="RGBA PNG"),
        *(pytest.param(tiff(GRAY, order), GRAY, id=f"gray TIFF {order}") for order in "<>"),
        *(pytest.param(tiff(COLOUR, order), COLOUR, id=f"RGB TIFF {order}") for order in "<>"),
        *(pytest.param(tiff(with_alpha(COLOUR, 65535), order), COLOUR, id=f"RGBA TIFF {order}") for order in "<>"),
        pytest.param(pillow_tiff(GRAY, compression="tiff_adobe_deflate"), GRAY, id="compressed TIFF"),
        pytest.param(tiff(65535 - GRAY, photometric=0), GRAY, id="white is zero TIFF"),
        pytest.param(tiff(GRAY.astype(np.uint32)), GRAY, id="32-bit TIFF"),
        pytest.param(tiff(GRAY.astype(np.int32)), GRAY, id="signed 32-bit TIFF"),
        pytest.param(tiff((GRAY // 2).astype(np.int16)), GRAY // 2, id="signed 16-bit TIFF"),
        pytest.param(ppm(GRAY, 65535), GRAY, id="PGM"),
        pytest.param(ppm(COLOUR, 65535), COLOUR, id="PPM"),
        pytest.param(jpeg_2000(GRAY), GRAY, id="JPEG 2000"),
    ],
)
def test_16_bits_keep_the_upper_8_of_all_they_use(content: bytes, values: np.ndarray) -> None:
    picture = decoded(content)
    assert picture.largest == values.max()
    assert picture.image.mode == ("RGB" if values.ndim == 3 else "L")
    assert np.asarray(picture.image).tolist() == (values >> 8).tolist()


@pytest.mark.parametrize("bits", [8, 10, 12, 14])
@pytest.mark.parametrize("form", ["gray PNG", "RGB PNG", "RGBA PNG", "gray TIFF", "RGB TIFF"])
def test_fewer_bits_in_16_keep_the_upper_8_of_these(form: str, bits: int) -> None:
    values = (GRAY if "gray" in form else COLOUR) >> (16 - bits)
    if form == "RGBA PNG":
        content = png16(with_alpha(values, (1 << bits) - 1), 6)
    elif form.endswith("PNG"):
        content = png16(values, 0 if "gray" in form else 2)
    else:
        content = tiff(values)
    assert decoded(content).largest == (1 << bits) - 1
    assert pixels(content, bits) == (values >> (bits - 8)).tolist()
    if bits > 8:
        with pytest.raises(
            UnreadableError, match=rf"samples up to {(1 << bits) - 1}, more than {bits - 2} bits hold \(data.bit_depth"
        ):
            decoded(content, bits - 2)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(ppm(SMALL, 4095), SMALL >> 4, id="PGM of 12 bits"),
        pytest.param(ppm(SMALL_COLOUR, 4095), SMALL_COLOUR >> 4, id="PPM of 12 bits"),
        pytest.param(ppm(np.array([[0, 500, 1000]], np.uint16), 1000), [[0, 128, 255]], id="PGM up to 1000"),
    ],
)
def test_a_file_that_says_its_range_is_taken_at_its_word(content: bytes, expected: np.ndarray) -> None:
    assert decoded(content).largest is None
    for bit_depth in (8, 16):
        assert abs(np.array(pixels(content, bit_depth)) - expected).max() <= 1


def test_a_tiff_of_packed_12_bits() -> None:
    rows = bytes([0x00, 0x08, 0x00, 0x7F, 0xFF, 0xFF])  # 0, 2048, 2047, 4095
    content = bytearray(tiff(np.frombuffer(rows, np.uint8).reshape(1, 6), t256=4))
    at = content.index(b"\x02\x01\x03\x00\x01\x00\x00\x00\x08\x00")
    content[at + 8] = 12
    assert pixels(bytes(content)) == [[0, 128, 127, 255]]
    assert decoded(bytes(content)).largest is None


@pytest.mark.parametrize(
    ("values", "alpha", "expected"),
    [
        ([[1000, 65535]], [[0, 65535]], [[255, 255]]),
        ([[0, 0]], [[65535, 32768]], [[0, 127]]),
        ([[0, 51400]], [[0, 0]], [[255, 255]]),
    ],
)
@pytest.mark.parametrize("form", ["LA PNG", "RGBA PNG", "RGBA TIFF"])
def test_transparency_of_16_bits_is_laid_on_white(form: str, values: list, alpha: list, expected: list) -> None:
    channels = 1 if form == "LA PNG" else 3
    array = np.stack([np.array(values)] * channels + [np.array(alpha)], axis=-1).astype(np.uint16)
    content = tiff(array) if form == "RGBA TIFF" else png16(array, 4 if channels == 1 else 6)
    found = np.asarray(decoded(content).image)
    assert (found if channels == 1 else found[..., 0]).tolist() == expected


def test_alpha_of_12_bits_is_opaque_at_its_largest() -> None:
    values = with_alpha(SMALL_COLOUR, 4095)
    assert pixels(png16(values, 6), 12) == (SMALL_COLOUR >> 4).tolist()


def test_what_is_fully_transparent_does_not_set_the_range() -> None:
    values = np.array([[[65535, 0], [100, 65535]]], dtype=np.uint16)
    assert decoded(png16(values, 4)).largest == 100


def test_the_one_transparent_sample_of_16_bits_is_white() -> None:
    gray = png16(np.array([[256, 257, 65535]]), 0, png_chunk(b"tRNS", b"\1\1"))
    assert pixels(gray) == [[1, 255, 255]]
    colour = np.array([[[256, 257, 258], [257, 257, 258], [256, 257, 259]]])
    content = png16(colour, 2, png_chunk(b"tRNS", bytes([1, 0, 1, 1, 1, 2])))
    assert pixels(content) == [[[255, 255, 255], [1, 1, 1], [1, 1, 1]]]


def test_premultiplied_samples_are_laid_on_white() -> None:
    values = np.array([[[32768, 0, 0, 32768], [0, 0, 0, 0]]], dtype=np.uint16)
    assert pixels(tiff(values, t338=1)) == [[[255, 127, 127], [255, 255, 255]]]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.array([[-1, 5]], np.int16), "pixels from -1 to 5, more than 16 bits hold .allowed are 0 to 65535."),
        (np.array([[-7, 5]], np.int32), "pixels from -7 to 5, more than 16 bits hold .allowed are 0 to 65535."),
        (np.array([[0, 70000]], np.int32), "pixels from 0 to 70000, more than 16 bits hold"),
        (np.array([[0, 4294967295]], np.uint32), "pixels from 0 to 4294967295, more than 16 bits hold"),
        (np.array([[0.0, 0.5]], np.float32), "floating-point pixels"),
        (np.array([[-3, 5]], np.int8), "signed samples of 8 bits, whose range is not known"),
    ],
    ids=["signed 16", "signed 32", "above 16 bits", "unsigned 32", "float", "signed 8"],
)
def test_samples_without_a_range_are_refused(values: np.ndarray, message: str) -> None:
    with pytest.raises(UnreadableError, match=message):
        decoded(tiff(values))
    if values.dtype == np.uint32:
        message = "TIFF by its first bytes, but its header is damaged or of a kind that is not read"
    with pytest.raises(UnreadableError, match=message):
        decoded(tiff(values, ">"))


def test_colour_in_planes_is_refused() -> None:
    with pytest.raises(UnreadableError, match="16-bit colour in separate planes, which is not read: convert it"):
        decoded(tiff(COLOUR, t284=2))


def test_cmyk_of_16_bits() -> None:
    values = np.zeros((1, 2, 4), np.uint16)
    values[0, 1] = 65535
    assert pixels(tiff(values, photometric=5)) == [[[255, 255, 255], [0, 0, 0]]]


@pytest.mark.parametrize("bits", [12, 16])
def test_an_sgi_of_which_only_the_upper_bytes_are_read_is_refused_if_they_say_nothing(bits: int) -> None:
    values = COLOUR >> (16 - bits)
    header = bytes([1, 0xDA, 0, 2]) + np.array([3, *values.shape[1::-1], values.shape[2]], ">u2").tobytes()
    content = header.ljust(512, b"\0") + values[::-1].transpose(2, 0, 1).astype(">u2").tobytes()
    if bits == 16:
        assert pixels(content) == (values >> 8).tolist()
    else:
        with pytest.raises(UnreadableError, match="16-bit samples of which only the upper 8 bits can be read"):
            decoded(content)
