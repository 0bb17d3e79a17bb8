"""Whatever `data.source` names is opened by the reader of its form, or there is a message that lists the forms."""

import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from example_images import data_settings, write_csv, write_tree, write_zip

from study.data.sources import READERS, forms_in_words, official_splits_in_words, open_source
from study.data.sources.arrays import ArraySource
from study.data.sources.digits import DigitsSource
from study.data.sources.fer2013_csv import Fer2013Source
from study.data.sources.ferplus import FerPlusSource
from study.data.sources.folder import FolderSource
from study.data.sources.shards import ShardSource
from study.data.sources.table import TableSource
from study.data.sources.zip_archive import ZipSource
from study.errors import StudyError


def test_a_missing_source_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        StudyError, match=r"nothing\.zip: the source of images does not exist .*data\.source.* allowed are .*a folder"
    ):
        open_source(data_settings(tmp_path / "nothing.zip"))


def test_an_empty_folder_or_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="no class folder found; expected is one folder of images per class"):
        open_source(data_settings(tmp_path))
    (tmp_path / "images.zip").touch()
    with pytest.raises(StudyError, match=r"images\.zip: the file is empty"):
        open_source(data_settings(tmp_path / "images.zip"))


def test_a_file_of_no_known_form_is_named_with_the_forms(tmp_path: Path) -> None:
    (tmp_path / "images.tar").write_bytes(b"not a zip")
    with pytest.raises(StudyError, match=r"images\.tar: the file is no source of images that can be read") as error:
        open_source(data_settings(tmp_path / "images.tar"))
    assert str(error.value).endswith(f"allowed are {forms_in_words()}")
    assert all(reader.form in forms_in_words() for reader in READERS)


def test_a_table_in_a_zip_or_a_folder_is_pointed_out(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "archive.zip", "w") as archive:
        archive.writestr("fer2013.csv", "emotion,pixels,Usage")
    with pytest.raises(StudyError, match=r"no class folder found; .*'fer2013\.csv' in it, name that file"):
        open_source(data_settings(tmp_path / "archive.zip"))
    with pytest.raises(StudyError, match=r"no class folder found; expected is one folder of images per class$"):
        open_source(data_settings(write_tree(tmp_path / "flat", {".": 1})))


def test_folders_of_a_source_that_is_not_read_by_folders_are_refused(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "tree", {"train/a": 2, "train/b": 2, "extra/a": 1})
    lines = ["file_name,label", *(f"{path.relative_to(tree)},x" for path in sorted(tree.rglob("*.png")))]
    (tree / "metadata.csv").write_text("\n".join(lines), encoding="utf-8")
    for source in ("digits", write_csv(tmp_path / "fer2013.csv", []), tree):
        for key, value in (("folder", "a"), ("split_folders", {"extra": "ignore"}), ("class_level", 1)):
            with pytest.raises(
                StudyError, match=rf"data\.{key}: found .* is read as .*, not by its folders; allowed is"
            ):
                open_source(data_settings(source, **{key: value}))


def test_what_is_wrong_with_a_tree_is_said_though_a_table_lies_beside_it(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "tree", {"a": 2, "b": 2})
    (tree / "labels.csv").write_text("file,label\na/0.png,x\nb/0.png,y\n", encoding="utf-8")
    with pytest.raises(StudyError, match="grey"):
        open_source(data_settings(tree, split_folders={"grey": "ignore"}))
    (tree / "labels.csv").unlink()
    (tree / "empty").mkdir()
    (tree / "classes.txt").write_text("0 a\n1 b\n2 empty\n", encoding="utf-8")
    with pytest.raises(StudyError, match=r"empty.*holds no image"):
        open_source(data_settings(tree))


def test_a_text_with_a_line_that_no_table_has_is_passed_over(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "tree", {"a": 2, "b": 2})
    (tree / "notes.txt").write_text("x" * 200_000, encoding="utf-8")
    assert {entry.label for entry in open_source(data_settings(tree)).entries} == {"a", "b"}


def test_names_for_classes_that_have_names_are_refused(tmp_path: Path) -> None:
    write_tree(tmp_path / "images", {"cat": 2, "dog": 2})
    with pytest.raises(StudyError, match=r"data\.class_names: found 1 names, .*images have names; allowed is \{\}"):
        open_source(data_settings(tmp_path / "images", class_names={"cat": "feline"}))


def test_how_a_table_is_read_means_nothing_where_none_is(tmp_path: Path) -> None:
    """Folders of patients would be classes, and the table with the classes left aside, without a word."""
    write_tree(tmp_path / "images", {"patient_1": 2, "patient_2": 2})
    said = r"data\.table: .*images is read as a folder with one folder per class, not by a table; allowed is \{\}, or"
    with pytest.raises(StudyError, match=said):
        open_source(data_settings(tmp_path / "images", table={"label": "grade"}))
    for name in ("first.csv", "second.csv"):
        (tmp_path / "images" / name).write_text("image,grade\n", encoding="utf-8")
    with pytest.raises(StudyError, match=r"or the table's path as data\.source \(found: .*first\.csv, .*second\.csv\)"):
        open_source(data_settings(tmp_path / "images", table={"label": "grade"}))


def test_a_zip_in_a_zip_is_pointed_out(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "archive.zip", "w") as archive:
        archive.writestr("data/train.zip", "PK")
        archive.writestr("sample_submission.csv", "id,label")
    with pytest.raises(StudyError, match=r"no class folder found; .*to read 'data/train\.zip' in it, name that file"):
        open_source(data_settings(tmp_path / "archive.zip"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            b"\x1f\x8b\x08rest",
            r"the file is a gzip archive \(\.tar\.gz\), which is not read; unpack it and name the folder",
        ),
        (b"a/0.png".ljust(257, b"\0") + b"ustar\0", "the file is a tar archive, which is not read; unpack it"),
        (b"7z\xbc\xaf\x27\x1crest", "the file is a 7z archive"),
        (
            b"PK\3\4rest of a download",
            "begins as a zip, but its end is missing: an incomplete download, or the first of",
        ),
        (b"PK\7\x08PK\3\4rest", "the first of several parts of a zip; join them"),
        (b"\n<!DOCTYPE html><html>", "the file is a web page, not the data"),
    ],
)
def test_a_file_that_is_something_else_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "images.zip"
    path.write_bytes(content)
    with pytest.raises(StudyError, match=message):
        open_source(data_settings(path))


@pytest.mark.parametrize(
    ("form", "opener"),
    [
        *(("digits", DigitsSource), ("folder", FolderSource), ("zip", ZipSource), ("csv", Fer2013Source)),
        *(("table", TableSource), ("json", TableSource), ("imagefolder", TableSource), ("votes", FerPlusSource)),
        *(("arrays", ArraySource), ("shard", ShardSource), ("shards", ShardSource)),
    ],
)
def test_each_form_goes_to_its_reader(tmp_path: Path, form: str, opener: type) -> None:
    folder = write_tree(tmp_path / "tree", {"a": 1, "b": 1})
    np.savez(tmp_path / "mnist.npz", x_train=np.zeros((1, 2, 2)), y_train=np.zeros(1))
    shard = tmp_path / "data/train-00000-of-00001.parquet"
    shard.parent.mkdir()
    pq.write_table(pa.table({"image": [{"bytes": b"", "path": "0.png"}], "label": [0]}), shard)
    sources = {
        "digits": "digits",
        "arrays": tmp_path / "mnist.npz",
        "shard": shard,
        "shards": shard.parent,
        "folder": folder,
        "zip": write_zip(tmp_path / "images.zip", folder),
        "csv": write_csv(tmp_path / "fer2013.csv", []),
        "table": write_csv(tmp_path / "labels.csv", [], "image,label"),
        "json": write_csv(tmp_path / "train.json", [], "{}"),
        "imagefolder": write_csv(write_tree(tmp_path / "hub", {".": 1}) / "metadata.csv", [], "file_name,label").parent,
        "votes": write_csv(
            tmp_path / "fer2013new.csv",
            [],
            "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF",
        ),
    }
    assert next(one.open for one in READERS if one.recognises(str(sources[form]))) is opener


def test_where_official_splits_come_from_is_told_once() -> None:
    assert official_splits_in_words() == (
        "data.digits_tail: train, the table's column of splits, or the name of its file (train.csv, test.csv), the "
        "names of the shards (train-…, test-…) or of their folders, the names of the arrays (train_images, x_test), "
        "folders (train, val, test), file names (Training_…, PublicTest_…, PrivateTest_…) or the CSV's column Usage"
    )
