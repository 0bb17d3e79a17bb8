"""A zip of images is read like the folder it was made of, and one that would do harm is refused."""

import errno
import stat
import struct
import tracemalloc
import zipfile
from pathlib import Path

import pytest
from example_images import data_settings, write_tree, write_zip

from study.data.decode import UnreadableError
from study.data.sources import open_source
from study.errors import StudyError


@pytest.mark.parametrize("prefix", ["", "fer2013/"])
def test_a_zip_reads_like_the_folder_it_was_made_of(tmp_path: Path, prefix: str) -> None:
    folder = write_tree(tmp_path / "tree", {"train/a": 2, "train/b": 1, "test/a": 1, "test/b": 1})
    path = write_zip(tmp_path / "images.zip", folder, prefix)
    of_folder, of_zip = open_source(data_settings(folder)), open_source(data_settings(path))
    assert [(prefix + e.image_id, e.label, e.split) for e in of_folder.entries] == [
        (e.image_id, e.label, e.split) for e in of_zip.entries
    ]
    for entry in of_folder.entries:
        assert of_folder.read(entry.image_id).image == of_zip.read(prefix + entry.image_id).image


def zip_with(path: Path, entry: zipfile.ZipInfo | str, content: bytes = b"x") -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for label in ("a", "b"):
            archive.writestr(f"{label}/0.png", b"x")
        archive.writestr(entry, content)
    return path


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a/../../evil.png", r"the zip entry 'a/\.\./\.\./evil\.png' leaves its folder by '\.\.'"),
        ("..\\evil.png", r"the zip entry '\.\./evil\.png' leaves its folder"),
        ("/etc/evil.png", "the zip entry '/etc/evil.png' has an absolute path"),
        ("C:\\evil.png", "the zip entry 'C:/evil.png' has an absolute path"),
    ],
)
def test_a_zip_entry_that_leads_outside_is_named(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(StudyError, match=message):
        open_source(data_settings(zip_with(tmp_path / "images.zip", name)))


def test_a_link_in_a_zip_is_named(tmp_path: Path) -> None:
    entry = zipfile.ZipInfo("a/link.png")
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    with pytest.raises(StudyError, match=r"the zip entry 'a/link.png' is a link; allowed are files and folders"):
        open_source(data_settings(zip_with(tmp_path / "images.zip", entry, b"/etc/passwd")))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_an_entry_twice_in_a_zip_is_named(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"the zip holds the entry 'a/0.png' twice"):
        open_source(data_settings(zip_with(tmp_path / "images.zip", "a/0.png")))


def test_a_zip_that_expands_beyond_the_limit_is_refused(tmp_path: Path) -> None:
    path = zip_with(tmp_path / "images.zip", "a/bomb.png", bytes(3_000_000))
    assert path.stat().st_size < 10_000
    with pytest.raises(StudyError, match="expands to 3,000,002 bytes, allowed are max_unpacked_bytes = 2,000,000"):
        open_source(data_settings(path, max_unpacked_bytes=2_000_000))


def test_a_zip_entry_with_a_false_size_is_not_expanded(tmp_path: Path) -> None:
    size = 300_000_000
    path = zip_with(tmp_path / "images.zip", "a/bomb.png", bytes(size))
    content = path.read_bytes()
    assert content.count(struct.pack("<L", size)) == 2
    path.write_bytes(content.replace(struct.pack("<L", size), struct.pack("<L", 1000)))
    source = open_source(data_settings(path, max_unpacked_bytes=10_000))
    tracemalloc.start()
    with pytest.raises(UnreadableError, match="damaged zip entry"):
        source.read("a/bomb.png")
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()


def test_a_damaged_zip_entry_is_unreadable(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "images.zip", write_tree(tmp_path / "tree", {"a": 1, "b": 1}))
    content = bytearray(path.read_bytes())
    content[200] ^= 255  # within the pixels of the first file
    path.write_bytes(content)
    source = open_source(data_settings(path))
    with pytest.raises(UnreadableError, match="damaged zip entry: Bad CRC-32"):
        for entry in source.entries:
            source.read(entry.image_id)


def test_a_zip_is_known_by_its_content_not_by_its_name(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "images", write_tree(tmp_path / "tree", {"a": 1, "b": 1}))
    assert len(open_source(data_settings(path)).entries) == 2
    directory = path.read_bytes().index(b"PK\x01\x02")
    path.write_bytes(path.read_bytes()[:directory] + b"XX" + path.read_bytes()[directory + 2 :])
    with pytest.raises(StudyError, match=r"images: not a readable zip \(.*\); fetch or copy it again"):
        open_source(data_settings(path))


@pytest.mark.parametrize("error", [OSError(errno.EIO, "Input/output error"), MemoryError()])
def test_the_trouble_of_the_machine_makes_no_entry_unreadable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    path = write_zip(tmp_path / "images.zip", write_tree(tmp_path / "tree", {"a": 1, "b": 1}))
    source = open_source(data_settings(path))

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(zipfile.ZipExtFile, "read", fail)
    with pytest.raises(StudyError, match=r"images\.zip, a/0\.png: .*this is the machine's trouble, not the file's"):
        source.read("a/0.png")
