"""A zip of images is read like the folder it was made of, and one that would do harm is refused."""

import errno
import io
import pickle
import stat
import struct
import tracemalloc
import unicodedata
import zipfile
import zlib
from pathlib import Path

import pytest
from example_images import data_settings, noise, write_tree, write_zip

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


class RawName(zipfile.ZipInfo):
    """An entry whose name stands in the file in the bytes given, without saying how they are encoded."""

    def __init__(self, raw: bytes) -> None:
        super().__init__(raw.decode("cp437"))
        self.filename = raw.decode("cp437")  # a backslash and all
        self.raw = raw

    def _encodeFilenameFlags(self) -> tuple[bytes, int]:
        return self.raw, self.flag_bits & ~0x800


def zip_named(path: Path, *names: bytes, extra: bytes = b"") -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for seed, name in enumerate(names):
            content = io.BytesIO()
            noise(seed).save(content, "PNG")
            entry = RawName(name)
            entry.extra = extra
            archive.writestr(entry, content.getvalue())
    return path


@pytest.mark.parametrize(
    ("encoding", "label", "told", "expected"),
    [
        ("utf-8", "Cèpe", "auto", "Cèpe"),
        ("utf-8", unicodedata.normalize("NFD", "Cèpe"), "auto", "Cèpe"),
        ("utf-8", "猫", "auto", "猫"),
        ("cp437", "Café", "auto", "Café"),
        ("cp1252", "Café", "auto", "CafΘ"),
        ("cp1252", "Café", "cp1252", "Café"),
        ("cp932", "表示", "cp932", "表示"),  # its first character ends in the byte of a backslash
        ("gbk", "汉字", "gb18030", "汉字"),
        ("cp866", "Кот", "cp866", "Кот"),
    ],
)
def test_names_in_a_zip_that_do_not_say_their_encoding(
    tmp_path: Path, encoding: str, label: str, told: str, expected: str
) -> None:
    path = zip_named(tmp_path / "images.zip", f"{label}/é.png".encode(encoding, "replace"), b"dog/1.png")
    source = open_source(data_settings(path, name_encoding=told))
    assert {entry.label for entry in source.entries} == {expected, "dog"}
    elsewhere = pickle.loads(pickle.dumps(source))
    for entry in source.entries:
        assert elsewhere.read(entry.image_id).image.size == (12, 12)
    guessed = [note for note in source.notes if "data.name_encoding" in note]
    assert len(guessed) == (told == "auto" and encoding != "utf-8")


def test_a_guessed_name_is_not_torn_at_half_a_character(tmp_path: Path) -> None:
    names = [f"{label}/{n}.png".encode("cp932") for n, label in enumerate(("表示", "犬", "表示"))]
    source = open_source(data_settings(zip_named(tmp_path / "images.zip", *names)))
    assert len({entry.label for entry in source.entries}) == 2
    assert all(entry.image_id.count("/") == 1 for entry in source.entries)
    assert "names are encoded and they are not UTF-8; they are read as cp437" in source.notes[0]


def test_a_name_that_is_not_in_the_encoding_that_was_told(tmp_path: Path) -> None:
    path = zip_named(tmp_path / "images.zip", b"Caf\xe9\xff/0.png", b"dog/1.png")
    with pytest.raises(
        StudyError, match=r"the name b'Caf.*' of a zip entry is not cp932 \(config key data\.name_encoding"
    ):
        open_source(data_settings(path, name_encoding="cp932"))


def test_the_extra_field_with_a_name_in_unicode_is_read(tmp_path: Path) -> None:
    raw = b"Caf?/0.png".replace(b"?", b"\x82")
    content = struct.pack("<BL", 1, zlib.crc32(raw)) + "Café ☕/0.png".encode()
    extra = struct.pack("<HH", 0x7075, len(content)) + content
    source = open_source(data_settings(zip_named(tmp_path / "images.zip", raw, b"dog/1.png", extra=extra)))
    assert {entry.label for entry in source.entries} == {"Café ☕", "dog"}, "it belongs to the name with its checksum"
    assert source.notes == []
    assert source.read("Café ☕/0.png").image.size == (12, 12)


def test_a_name_that_says_it_is_utf8_and_is_not(tmp_path: Path) -> None:
    path = zip_with(tmp_path / "images.zip", "c/é.png")
    path.write_bytes(path.read_bytes().replace("é".encode(), b"\xe9\xe9"))
    with pytest.raises(StudyError, match="the name of an entry is said to be UTF-8 and is not"):
        open_source(data_settings(path))


def test_an_encrypted_zip_is_named(tmp_path: Path) -> None:
    path = zip_with(tmp_path / "images.zip", "a/1.png")
    content = bytearray(path.read_bytes())
    for header, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):  # of the first entry
        content[content.index(header) + offset] |= 1
    path.write_bytes(content)
    with pytest.raises(StudyError, match=r"the zip entry 'a/0\.png' is encrypted; unpack the zip with its password"):
        open_source(data_settings(path))


@pytest.mark.parametrize(("method", "name"), [(9, "deflate64"), (98, "ppmd"), (93, "unknown")])
def test_a_compression_that_is_not_read_is_named(tmp_path: Path, method: int, name: str) -> None:
    path = zip_with(tmp_path / "images.zip", "a/1.png")
    content = bytearray(path.read_bytes())
    for header, offset in ((b"PK\3\4", 8), (b"PK\1\2", 10)):
        content[content.index(header) + offset] = method
    path.write_bytes(content)
    with pytest.raises(
        StudyError, match=rf"'a/0\.png' is compressed by method {method} \({name}\), allowed are store, "
    ):
        open_source(data_settings(path))


def test_the_last_of_several_parts_is_named(tmp_path: Path) -> None:
    path = zip_with(tmp_path / "images.zip", "a/1.png")
    content = bytearray(path.read_bytes())
    content[content.rindex(b"PK\5\6") + 4] = 2
    path.write_bytes(content)
    with pytest.raises(StudyError, match="the zip is in 3 parts, and this is the last; join them"):
        open_source(data_settings(path))


def test_zip64_folders_twice_and_dots_in_paths_are_read(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        for name in ("./", "./a/", "a/"):
            archive.writestr(name, b"")
        for seed, name in enumerate(("./a/0.png", "b//1.png")):
            with archive.open(name, "w", force_zip64=True) as file:
                noise(seed).save(file, "PNG")
    source = open_source(data_settings(tmp_path / "images.zip"))
    assert [entry.image_id for entry in source.entries] == ["a/0.png", "b/1.png"]
    assert source.read("b/1.png").image.size == (12, 12)


def test_a_zip_and_a_folder_with_leftovers_read_the_same(tmp_path: Path) -> None:
    folder = write_tree(tmp_path / "tree", {"a": 1, "b": 1, "__MACOSX/c": 1, "@eaDir/d": 1})
    for name in ("a/Thumbs.db", "a/._0.png", "b/clip.MOV", "labels.csv"):
        (folder / name).write_bytes(b"x")
    of_folder = open_source(data_settings(folder))
    of_zip = open_source(data_settings(write_zip(tmp_path / "images.zip", folder)))
    assert of_folder.entries == of_zip.entries and len(of_zip.entries) == 2
    assert of_folder.ignored == of_zip.ignored
    assert {kind: len(names) for kind, names in of_zip.ignored.items()} == {"system": 4, "video": 1, "document": 1}
