"""Files that are no readable image are named by what they are, with what to do about it."""

import io
from pathlib import Path

import pytest

from study.data.decode import UnreadableError, decode
from study.errors import StudyError


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.jpg", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(99), "HEIC (an iPhone's picture), which is not read"),
        ("a.heic", b"anything", "HEIC (an iPhone's picture), which is not read"),
        ("a.dcm", bytes(128) + b"DICM" + bytes(99), "DICOM, which is not read: convert it to JPEG or PNG"),
        ("a.png", b"%PDF-1.4 ...", "a PDF, which is not read"),
        ("a.eps", b"%!PS-Adobe-3.0 EPSF-3.0", "PostScript (EPS), which is not read"),
        (
            "a.jpg",
            b"<!DOCTYPE html><html><body>404</body></html>",
            "a web page (HTML), not an image: the download failed",
        ),
        ("a.png", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "a Git LFS pointer, not the image"),
        ("a.jpg", b"\x1a\x45\xdf\xa3" + bytes(99), "a video, not an image"),
        ("a.jpg", b"PK\3\4" + bytes(99), "a compressed archive, not an image: unpack it"),
        ("a.cr2", b"II*\0\x10\0\0\0CR\2\0" + bytes(99), "a camera's raw file, which is not read"),
        ("a.png", b"", "empty"),
    ],
)
def test_what_is_no_image_is_named(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UnreadableError) as error:
        decode(path, 10**6)
    assert words in str(error.value)


def test_only_wrong_bytes_make_a_broken_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the machine says of itself stops the job and names the file."""
    from PIL import Image, ImageFile

    path = tmp_path / "x.png"
    Image.new("L", (4, 4), 7).save(path)
    for trouble in (OSError(5, "Input/output error"), OSError(24, "Too many open files"), MemoryError()):

        def fail(*arguments: object, error: BaseException = trouble) -> None:
            raise error

        with monkeypatch.context() as patch:
            patch.setattr(ImageFile.ImageFile, "load", fail)
            with pytest.raises((StudyError, OSError, MemoryError)) as raised:
                decode(path, 10**6)
        assert not isinstance(raised.value, UnreadableError)
    assert decode(io.BytesIO(path.read_bytes()), 10**6).image.getpixel((0, 0)) == 7
