"""Whatever `data.source` names is opened by the reader of its form, or there is a message that lists the forms."""

import zipfile
from pathlib import Path

import pytest
from example_images import data_settings, write_csv, write_tree, write_zip

from study.data.sources import READERS, forms_in_words, official_splits_in_words, open_source
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


@pytest.mark.parametrize(("form", "reader"), [("digits", 0), ("folder", 1), ("zip", 2), ("csv", 3)])
def test_exactly_one_reader_recognises_each_form(tmp_path: Path, form: str, reader: int) -> None:
    folder = write_tree(tmp_path / "tree", {"a": 1, "b": 1})
    sources = {
        "digits": "digits",
        "folder": folder,
        "zip": write_zip(tmp_path / "images.zip", folder),
        "csv": write_csv(tmp_path / "fer2013.csv", []),
    }
    assert [one.recognises(str(sources[form])) for one in READERS] == [number == reader for number in range(4)]


def test_where_official_splits_come_from_is_told_once() -> None:
    assert official_splits_in_words() == (
        "folders (train, val, test), file names (Training_…, PublicTest_…, PrivateTest_…) or the CSV's column Usage"
    )
