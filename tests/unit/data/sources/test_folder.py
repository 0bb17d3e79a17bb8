"""A folder of images is read as it is meant, and what is wrong with its tree is named."""

import errno
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from example_images import data_settings, noise, pixels, write_images, write_tree

from study.data.data_settings import source_fingerprint
from study.data.decode import UnreadableError
from study.data.folder_tree import Entry
from study.data.sources import Source, open_source
from study.errors import StudyError


def entries(source: Source) -> set[tuple[str, str, str]]:
    return {(entry.image_id, entry.label, entry.split) for entry in source.entries}


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
    assert source.ignored == {
        "system": [".cache/c/0.png", "__MACOSX/a/0.png", "a/.DS_Store", "a/Thumbs.db"],
        "document": ["README.md"],
    }


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
    write_tree(tmp_path, {"train/a": 1, "train/b": 1, "test/a": 1, "test/c": 1})
    with pytest.raises(
        StudyError, match=r"the class 'c' is in the test split \('test/c/0.png'\) but not in .* are a, b"
    ):
        open_source(data_settings(tmp_path))


def test_a_folder_beside_the_splits_is_named(tmp_path: Path) -> None:
    write_tree(tmp_path, {"train/a": 1, "train/b": 1, "test/a": 1, "old": 1})
    with pytest.raises(StudyError, match=r"beside the folder 'test' of a split there is the folder 'old'"):
        open_source(data_settings(tmp_path))


def test_a_name_that_the_locale_cannot_read_blames_the_locale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tree(tmp_path, {"a": 1, "b": 1})
    (tmp_path / "a/0.png").rename(tmp_path / "a/caf\udce9.png")
    monkeypatch.setattr("sys.getfilesystemencoding", lambda: "ascii")
    with pytest.raises(StudyError, match=r"cannot be read in the locale's ascii; set LC_ALL=C.UTF-8 and run again"):
        open_source(data_settings(tmp_path))


def test_a_link_to_itself_is_no_folder(tmp_path: Path) -> None:
    write_tree(tmp_path, {"a": 1, "b": 1})
    (tmp_path / "b/self").symlink_to(tmp_path / "b/self")
    source = open_source(data_settings(tmp_path))
    assert [entry.image_id for entry in source.entries] == ["a/0.png", "b/0.png", "b/self"]
    with pytest.raises(UnreadableError):
        source.read("b/self")


@pytest.mark.parametrize("right", ["r", "x"])
def test_a_folder_that_cannot_be_listed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, right: str) -> None:
    """As the system answers anyone but root, for whom all folders are open."""
    write_tree(tmp_path, {"a": 1, "b": 1})
    scandir, access = os.scandir, os.access

    def closed(path: Path) -> bool:
        return Path(path).name == "b"

    def scan(path: Path) -> Any:
        if right == "r" and closed(path):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", scan)
    monkeypatch.setattr(os, "access", lambda path, mode: access(path, mode) and not (right == "x" and closed(path)))
    for use in (lambda: open_source(data_settings(tmp_path)), lambda: source_fingerprint(str(tmp_path))):
        with pytest.raises(
            StudyError, match=r"/b: the folder cannot be listed \(Permission denied\); make it readable"
        ):
            use()


def test_a_file_name_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    write_tree(tmp_path, {"a": 1, "b": 1})
    (tmp_path / "a/0.png").rename(tmp_path / "a/caf\udce9.png")
    with pytest.raises(StudyError, match=r"the file name 'a/caf.udce9.png' is not valid UTF-8"):
        open_source(data_settings(tmp_path))
