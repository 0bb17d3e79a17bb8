"""Every source is read as it is meant, and what is wrong with one is named."""

import io
import stat
import struct
import subprocess
import sys
import tracemalloc
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import torchvision
from example_images import ROOT, data_settings, noise, pixel_cell, write_csv, write_images, write_tree, write_zip
from PIL import Image

from study.data.data_settings import source_fingerprint
from study.data.decode import UnreadableError, decode, resize
from study.data.folder_tree import Entry
from study.data.sources import CSV_CLASSES, Source, open_source
from study.errors import StudyError


def entries(source: Source) -> set[tuple[str, str, str]]:
    return {(entry.image_id, entry.label, entry.split) for entry in source.entries}


def pixels(source: Source, image_id: str) -> np.ndarray:
    return np.asarray(source.read(image_id).image)


# Folders


def test_a_folder_of_classes_is_read_sorted_with_its_pixels(tmp_path: Path) -> None:
    write_tree(tmp_path, {"sad": 2, "happy": 1})
    source = open_source(data_settings(tmp_path))
    assert source.entries == [
        Entry("happy/0.png", "happy", ""),
        Entry("sad/0.png", "sad", ""),
        Entry("sad/1.png", "sad", ""),
    ]
    assert (pixels(source, "sad/0.png") == np.asarray(noise(0))).all()


@pytest.mark.parametrize(
    "names", [("train", "val", "test"), ("Training", "valid", "testing"), ("x/train", "x/validation", "x/test")]
)
def test_folders_of_splits_give_the_original_split(tmp_path: Path, names: tuple[str, str, str]) -> None:
    write_tree(tmp_path, {f"{name}/{label}": 1 for name in names for label in ("cat", "dog")})
    found = entries(open_source(data_settings(tmp_path)))
    expected = zip(names, ("train", "val", "test"), strict=True)
    assert found == {(f"{name}/{label}/0.png", label, split) for name, split in expected for label in ("cat", "dog")}


def test_a_split_in_the_file_name_wins_over_the_folder(tmp_path: Path) -> None:
    names = {
        "train/a/Training_1.png": 1,
        "test/a/PublicTest_2.png": 2,
        "test/a/PrivateTest_3.png": 3,
        "train/b/4.png": 4,
    }
    write_images(tmp_path, {name: noise(seed) for name, seed in names.items()})
    found = {image_id: split for image_id, _, split in entries(open_source(data_settings(tmp_path)))}
    assert list(found.values()).count("train") == 2
    assert found["test/a/PublicTest_2.png"] == "val"
    assert found["test/a/PrivateTest_3.png"] == "test"


def test_a_class_may_be_called_like_a_split(tmp_path: Path) -> None:
    write_tree(tmp_path, {"train": 1, "bus": 1})
    assert {label for _, label, _ in entries(open_source(data_settings(tmp_path)))} == {"train", "bus"}


def test_names_with_html_and_odd_characters_are_kept_verbatim(tmp_path: Path) -> None:
    labels = {"<b>bold & 'quoted'", "naïve 😀", ' "q",comma'}
    write_tree(tmp_path, dict.fromkeys(labels, 1))
    assert {label for _, label, _ in entries(open_source(data_settings(tmp_path)))} == labels


def test_hidden_files_and_files_beside_the_classes_are_no_images(tmp_path: Path) -> None:
    write_tree(tmp_path, {"a": 1, "b": 1, "__MACOSX/a": 1, ".cache/c": 1})
    (tmp_path / "a/.DS_Store").write_text("x")
    (tmp_path / "a/Thumbs.db").write_text("x")
    (tmp_path / "README.md").write_text("x")
    source = open_source(data_settings(tmp_path))
    assert {entry.image_id for entry in source.entries} == {"a/0.png", "b/0.png"}
    assert source.ignored == ["README.md"]


def test_links_to_files_and_folders_are_followed(tmp_path: Path) -> None:
    write_tree(tmp_path / "elsewhere", {"a": 2})
    write_tree(tmp_path / "tree", {"b": 1}, seed=10)
    (tmp_path / "tree/a").symlink_to(tmp_path / "elsewhere/a")
    (tmp_path / "tree/b/1.png").symlink_to(tmp_path / "elsewhere/a/1.png")
    (tmp_path / "tree/b/loop").symlink_to(tmp_path / "tree")
    (tmp_path / "tree/b/lost.png").symlink_to(tmp_path / "nowhere.png")
    source = open_source(data_settings(tmp_path / "tree"))
    assert {entry.image_id for entry in source.entries} == {"a/0.png", "a/1.png", "b/0.png", "b/1.png", "b/lost.png"}
    assert (pixels(source, "b/1.png") == np.asarray(noise(1))).all()
    with pytest.raises(UnreadableError, match="a link that leads nowhere"):
        source.read("b/lost.png")


def test_a_missing_source_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        StudyError, match=r"nothing\.zip: the source of images does not exist .*data\.source.* allowed are a folder"
    ):
        open_source(data_settings(tmp_path / "nothing.zip"))


def test_an_empty_folder_or_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="no class folder found; expected is one folder of images per class"):
        open_source(data_settings(tmp_path))
    (tmp_path / "images.zip").touch()
    with pytest.raises(StudyError, match=r"images\.zip: the file is empty"):
        open_source(data_settings(tmp_path / "images.zip"))


@pytest.mark.parametrize("empty", ["c", "train"])
def test_a_class_folder_with_no_image_is_named(tmp_path: Path, empty: str) -> None:
    write_tree(tmp_path, {"a": 1, "b": 1})
    (tmp_path / empty).mkdir()
    with pytest.raises(StudyError, match=f"the class folder '{empty}/' holds no image"):
        open_source(data_settings(tmp_path))


def test_a_class_folder_of_a_split_with_no_image_is_named(tmp_path: Path) -> None:
    write_tree(tmp_path, {"train/a": 1, "train/b": 1, "test/a": 1})
    (tmp_path / "test/b").mkdir()
    with pytest.raises(StudyError, match="the class folder 'test/b/' holds no image"):
        open_source(data_settings(tmp_path))


@pytest.mark.parametrize("folder", ["a", "train/a", "wrapped/a"])
def test_a_single_class_is_refused(tmp_path: Path, folder: str) -> None:
    write_tree(tmp_path, {folder: 3})
    with pytest.raises(StudyError, match="a single class found, 'a'; at least 2 are needed"):
        open_source(data_settings(tmp_path))


def test_a_class_in_test_that_is_not_in_train_is_named(tmp_path: Path) -> None:
    write_tree(tmp_path, {"train/a": 1, "train/b": 1, "test/a": 1, "test/B": 1})
    with pytest.raises(
        StudyError, match=r"the class 'B' is in the test split \('test/B/0.png'\) but not in .* are a, b"
    ):
        open_source(data_settings(tmp_path))


def test_a_folder_beside_the_splits_is_named(tmp_path: Path) -> None:
    write_tree(tmp_path, {"train/a": 1, "train/b": 1, "test/a": 1, "old": 1})
    with pytest.raises(StudyError, match=r"beside the folder 'test' of a split there is the folder 'old'"):
        open_source(data_settings(tmp_path))


def test_a_file_name_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    write_tree(tmp_path, {"a": 1, "b": 1})
    (tmp_path / "a/0.png").rename(tmp_path / "a/caf\udce9.png")
    with pytest.raises(StudyError, match=r"the file name 'a/caf.udce9.png' is not valid UTF-8"):
        open_source(data_settings(tmp_path))


# Zips


@pytest.mark.parametrize("prefix", ["", "fer2013/"])
def test_a_zip_reads_like_the_folder_it_was_made_of(tmp_path: Path, prefix: str) -> None:
    folder = write_tree(tmp_path / "tree", {"train/a": 2, "train/b": 1, "test/a": 1, "test/b": 1})
    path = write_zip(tmp_path / "images.zip", folder, prefix)
    of_folder, of_zip = open_source(data_settings(folder)), open_source(data_settings(path))
    assert [(prefix + e.image_id, e.label, e.split) for e in of_folder.entries] == [
        (e.image_id, e.label, e.split) for e in of_zip.entries
    ]
    for entry in of_folder.entries:
        assert of_folder.read(entry.image_id).sha256 == of_zip.read(prefix + entry.image_id).sha256


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


def test_a_file_that_is_no_zip_is_named(tmp_path: Path) -> None:
    (tmp_path / "images.tar").write_bytes(b"not a zip")
    with pytest.raises(StudyError, match=r"images\.tar: not a folder, a \.csv file or a readable zip"):
        open_source(data_settings(tmp_path / "images.tar"))


def test_a_table_in_a_zip_is_pointed_out(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "archive.zip", "w") as archive:
        archive.writestr("fer2013.csv", "emotion,pixels,Usage")
    with pytest.raises(StudyError, match=r"no class folder found; .*'fer2013\.csv' in it, name that file"):
        open_source(data_settings(tmp_path / "archive.zip"))


def test_a_damaged_zip_entry_is_unreadable(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "images.zip", write_tree(tmp_path / "tree", {"a": 1, "b": 1}))
    content = bytearray(path.read_bytes())
    content[200] ^= 255  # within the pixels of the first file
    path.write_bytes(content)
    source = open_source(data_settings(path))
    with pytest.raises(UnreadableError, match="damaged zip entry: Bad CRC-32"):
        for entry in source.entries:
            source.read(entry.image_id)


# Tables


USAGE = ("Training", "PublicTest", "PrivateTest")


def fer_rows(count: int = 14) -> list[str]:
    return [f"{n % 7},{pixel_cell(n)},{USAGE[n // 7 % 3]}" for n in range(count)]


def test_fer2013_csv_gives_classes_splits_and_row_numbers(tmp_path: Path) -> None:
    source = open_source(data_settings(write_csv(tmp_path / "fer2013.csv", fer_rows(21))))
    assert source.entries[0] == Entry("row_2", "angry", "train")
    assert source.entries[8] == Entry("row_10", "disgust", "val")
    assert source.entries[20] == Entry("row_22", "neutral", "test")
    assert " ".join(map(str, pixels(source, "row_10").ravel())) == pixel_cell(8)


def test_icml_face_data_csv_reads_the_same(tmp_path: Path) -> None:
    rows = [row.split(",") for row in fer_rows()]
    icml = write_csv(tmp_path / "icml_face_data.csv", [f"{e}, {u}, {p}" for e, p, u in rows], "emotion, Usage, pixels")
    fer = write_csv(tmp_path / "fer2013.csv", fer_rows())
    one, other = open_source(data_settings(fer)), open_source(data_settings(icml))
    assert one.entries == other.entries
    assert all(one.read(e.image_id).sha256 == other.read(e.image_id).sha256 for e in one.entries)


def test_a_table_without_usage_quoted_with_byte_order_mark_and_empty_lines(tmp_path: Path) -> None:
    rows = [f'"{label}","{pixel_cell(label)}"\r\n\r' for label in range(7)]
    source = open_source(data_settings(write_csv(tmp_path / "train.csv", rows, "\ufeffemotion,pixels\r")))
    assert [entry.label for entry in source.entries] == list(CSV_CLASSES)
    assert {entry.split for entry in source.entries} == {""}
    assert source.entries[1].image_id == "row_4"
    assert source.read("row_4").image.size == (48, 48)


@pytest.mark.parametrize("name", ["fer2013.csv", "icml_face_data.csv"])
def test_torchvision_reads_the_same_images_and_labels(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [row.split(",") for row in fer_rows(42)]
    (tmp_path / "fer2013").mkdir()
    path = tmp_path / "fer2013" / name
    if name == "fer2013.csv":
        write_csv(path, [f"{e},{p},{u}" for e, p, u in rows])
    else:
        write_csv(path, [f"{e},{u},{p}" for e, p, u in rows], "emotion, Usage, pixels")
    # torchvision accepts only the original file, by its hash
    monkeypatch.setattr("torchvision.datasets.fer2013.check_integrity", lambda path, md5: True)
    ours = open_source(data_settings(path))
    for split, names in {"train": ("train",), "test": ("val", "test")}.items():
        theirs = torchvision.datasets.FER2013(tmp_path, split=split)
        selected = [entry for entry in ours.entries if entry.split in names]
        assert len(theirs) == len(selected) > 0
        for (image, label), entry in zip(theirs, selected, strict=True):
            assert CSV_CLASSES[label] == entry.label
            assert (np.asarray(image) == pixels(ours, entry.image_id)).all()


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        (pixel_cell(0, 2303), r"2303 values found, allowed are 2304 \(48×48\)"),
        ("", r"0 values found, allowed are 2304"),
        ("7 eight " + pixel_cell(0, 2302), "value 2 is 'eight', allowed is a whole number from 0 to 255"),
        ("1.5 " + pixel_cell(0, 2303), r"value 1 is '1\.5', allowed"),
        (pixel_cell(0, 2303) + " 256", "value 2304 is '256', allowed"),
        ("-1 " + pixel_cell(0, 2303), "value 1 is '-1', allowed"),
        ("9" * 40 + " " + pixel_cell(0, 2303), "value 1 is '99999999999999999999', allowed"),
    ],
)
def test_wrong_pixels_in_a_table_are_named_with_their_row(tmp_path: Path, cell: str, message: str) -> None:
    rows = [*fer_rows(8), f"3,{cell},Training"]
    source = open_source(data_settings(write_csv(tmp_path / "fer2013.csv", rows)))
    with pytest.raises(StudyError, match=rf"fer2013\.csv, row 10, column 'pixels': {message}"):
        source.read("row_10")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("7,1 2 3,Training", r"column 'emotion': found '7', allowed is a whole number from 0 to 6 \(angry, disgust"),
        ("-1,1 2 3,Training", "column 'emotion': found '-1', allowed"),
        ("happy,1 2 3,Training", "column 'emotion': found 'happy', allowed"),
        ("2.0,1 2 3,Training", r"column 'emotion': found '2\.0', allowed"),
        ("3,1 2 3,Test", "column 'Usage': found 'Test', allowed is one of Training, PublicTest, PrivateTest"),
        ("3,1 2 3", "2 cells found, allowed are 3"),
        ("3,1,2,3,Training", "5 cells found, allowed are 3"),
    ],
)
def test_other_wrong_cells_in_a_table_are_named_with_their_row(tmp_path: Path, row: str, message: str) -> None:
    with pytest.raises(StudyError, match=rf"fer2013\.csv, row 5[,:] {message}"):
        open_source(data_settings(write_csv(tmp_path / "fer2013.csv", [*fer_rows(3), row])))


@pytest.mark.parametrize(
    ("header", "missing"), [("pixels,Usage", "emotion"), ("emotion,Usage", "pixels"), ("", "emotion")]
)
def test_a_missing_column_is_named(tmp_path: Path, header: str, missing: str) -> None:
    with pytest.raises(
        StudyError, match=f"row 1: missing column '{missing}'; found .*allowed is emotion, pixels, Usage"
    ):
        open_source(data_settings(write_csv(tmp_path / "fer2013.csv", ["1,2"], header)))


def test_a_table_without_rows_or_with_a_single_class_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="no row of pixels below the header"):
        open_source(data_settings(write_csv(tmp_path / "fer2013.csv", [])))
    with pytest.raises(StudyError, match="a single class found, 'angry'"):
        open_source(data_settings(write_csv(tmp_path / "fer2013.csv", fer_rows(1))))


# Digits


def test_digits_are_a_long_tail_of_the_asked_ratio() -> None:
    source = open_source(data_settings("digits", imbalance=8))
    labels = [entry.label for entry in source.entries]
    counts = [labels.count(str(digit)) for digit in range(10)]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] / counts[-1] == pytest.approx(8, rel=0.02)
    assert source.entries == open_source(data_settings("digits", imbalance=8)).entries
    brightest = max(pixels(source, entry.image_id).max() for entry in source.entries)
    assert brightest == 255


# Single images


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


def test_the_hash_is_of_the_pixels_not_of_the_file() -> None:
    png, bmp = decode(saved(noise(0), "PNG"), 1000), decode(saved(noise(0), "BMP"), 1000)
    assert png.sha256 == bmp.sha256
    assert png.sha256 != decode(saved(noise(1), "PNG"), 1000).sha256
    wide, high = Image.new("L", (6, 4)), Image.new("L", (4, 6))
    assert decode(saved(wide, "PNG"), 1000).sha256 != decode(saved(high, "PNG"), 1000).sha256


def test_blank_is_one_colour_everywhere() -> None:
    assert decode(saved(Image.new("RGB", (4, 4), (3, 2, 1)), "PNG"), 1000).blank
    assert not decode(saved(noise(0), "PNG"), 1000).blank


def png_header(width: int, height: int) -> bytes:
    """A PNG that says it has that size and holds no pixels."""
    content = bytearray(saved(Image.new("L", (1, 1)), "PNG").getvalue())
    content[16:24] = struct.pack(">II", width, height)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    return bytes(content)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not an image"),
        (b"<html>not found</html>", "not an image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", "not an image"),
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


# Fingerprints


def test_the_fingerprint_follows_the_source(tmp_path: Path) -> None:
    assert source_fingerprint("digits") == "digits"
    assert source_fingerprint(str(tmp_path / "nothing")) == "missing"
    folder = write_tree(tmp_path / "tree", {"a": 1, "b": 1})
    path = write_zip(tmp_path / "images.zip", folder)
    before = source_fingerprint(str(folder)), source_fingerprint(str(path))
    (folder / "a/0.png").touch()
    assert source_fingerprint(str(folder)) == before[0]
    write_tree(folder, {"c": 1}, seed=9)
    write_zip(path, folder)
    assert source_fingerprint(str(folder)) != before[0]
    assert source_fingerprint(str(path)) != before[1]


def test_planning_loads_nothing_heavy() -> None:
    code = (
        "import sys, study.data.data_settings; print({'numpy', 'pandas', 'PIL', 'sklearn', 'torch'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT / "scripts", capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"duplicates": "group by"}, r"data\.duplicates: found 'group by', allowed is one of keep, drop, group"),
        ({"blank": "group"}, r"data\.blank: found 'group', allowed is one of keep, drop"),
        ({"channels": 2}, r"data\.channels: found 2, allowed is one of auto, 1, 3"),
        ({"image_size": 0}, r"data\.image_size: found 0, allowed is at least 1"),
        ({"imbalance": 0.5}, r"data\.imbalance: found 0\.5, allowed is at least 1"),
        ({"oversample": {"sad": 0}}, r"data\.oversample\.sad: found 0, allowed is a whole number from 1"),
    ],
)
def test_a_wrong_setting_is_named(change: dict[str, object], message: str) -> None:
    with pytest.raises(StudyError, match=message):
        data_settings("digits", **change)
