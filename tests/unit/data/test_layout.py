"""Which folders are classes and which are splits, for the layouts that people have their images in.

A tree is written as words: a folder with two images, a file if it has a dot, an empty folder if it ends in "/".
"""

import itertools
import unicodedata
from typing import Any

import pytest
from example_images import data_settings
from hypothesis import given
from hypothesis import strategies as st

from study.data.folder_tree import NoClassFolderError, Tree, read_tree
from study.errors import StudyError


def read(words: str, **told: Any) -> Tree:
    paths = []
    for word in words.split():
        is_folder = "." not in word.rpartition("/")[2] and not word.endswith("/")
        paths += [f"{word}/{n}.png" for n in range(2)] if is_folder else [word]
    return read_tree(data_settings("images", **told), paths)


def classes(tree: Tree) -> str:
    """Sorted "split:class", or "class" without a split."""
    return " ".join(sorted({f"{entry.split}:{entry.label}".lstrip(":") for entry in tree.entries}))


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("a b", "a b"),
        ("x/y/z/a x/y/z/b", "a b"),
        ("images/a images/b annotations/a.xml annotations/b.xml", "a b"),
        ("images/a images/b images/c.png d.png", "a b"),
        # splits by other names
        ("x/x/train/a x/x/train/b x/x/test/a x/x/test/b", "test:a test:b train:a train:b"),
        (
            "seg_train/seg_train/a seg_train/seg_train/b seg_test/seg_test/a seg_pred/seg_pred",
            "test:a train:a train:b",
        ),
        ("training_set/training_set/a training_set/training_set/b test_set/test_set/a", "test:a train:a train:b"),
        ("train_images/a train_images/b val_data/a TestSet/b", "test:b train:a train:b val:a"),
        ("TRAIN/a TRAIN/b Dev/a holdout/a", "test:a train:a train:b val:a"),
        ("01_train/a 01_train/b 02_development/a 03-hold-out/b", "test:b train:a train:b val:a"),
        ("train2017/a train2017/b val2017/a val2017/b", "train:a train:b val:a val:b"),
        ("train/images/a train/images/b test/images/a", "test:a train:a train:b"),
        ("train/train/a train/train/b", "train:a train:b"),
        ("train/train/a train/train/b Test/Test/a val/valid/b", "test:a train:a train:b val:b"),
        ("eval/eval/a train/train/a train/train/b", "test:a train:a train:b"),
        ("train/train/a train/train/b train/val/a", "train:a train:b val:a"),
        # eval is what is missing of val and test
        ("train/a train/b eval/a", "test:a train:a train:b"),
        ("train/a train/b test/a evaluation/b", "test:a train:a train:b val:b"),
        ("train/a train/b dev/a eval/b", "test:b train:a train:b val:a"),
        # a folder of a split without class folders is set aside
        ("train/a train/b test", "train:a train:b"),
        ("train/a train/b test/test val/unknown", "train:a train:b"),
        ("train/n1/images train/n2/images val/images test/images wnids.txt", "train:n1 train:n2"),
        ("train/a train/b test/a val/", "test:a train:a train:b"),
        # splits inside the classes
        ("cat/train cat/test dog/train dog/val", "test:cat train:cat train:dog val:dog"),
        # pieces of one collection
        ("images_part_1/a images_part_1/b images_part_2/b images_part_2/c", "a b c"),
        ("batch1/train/a batch1/train/b batch2/train/a batch2/test/b", "test:b train:a train:b"),
        # classes with folders inside, where images beside them settle the level
        ("cat cat/more dog", "cat dog"),
        ("cat cat/2020 cat/2021 dog", "cat dog"),
        ("cat/2020 dog/2021", "cat dog"),
        ("cat/2020 dog/2020", "cat dog"),
        # names that only look like splits
        ("train bus", "bus train"),
        ("train_station airport test_tube", "airport test_tube train_station"),
        ("Testarossa Validus", "Testarossa Validus"),
        ("#recycle/x @eaDir/a a b lost+found/", "a b"),
    ],
)
def test_layouts_that_are_clear(words: str, found: str) -> None:
    assert classes(read(words)) == found
    wrapped = " ".join(f"wrap/wrapped/{word}" for word in words.split())
    assert classes(read(wrapped)) == found
    assert classes(read(wrapped, folder="wrap/wrapped")) == found


VARIANTS = "pv/color/Apple pv/color/Corn pv/gray/Apple pv/gray/Corn"
INDOOR = "cat/indoor cat/outdoor dog/indoor dog/outdoor"
NESTED = "animals/cat animals/dog vehicles/car vehicles/bus"
MIXED = "cat animals/dog animals/bird"


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (VARIANTS, ["'pv/color', 'pv/gray'", "'Apple', 'Corn'", "data.folder: pv/color", "data.class_level: 2 if"]),
        (INDOOR, ["'cat', 'dog'", "'indoor', 'outdoor'", "data.class_level: 1 if 'cat', 'dog'"]),
        (NESTED, ["'animals', 'vehicles'", "'cat', 'dog', 'bus', 'car'", "data.class_level: 2 if 'cat', 'dog'"]),
        (
            MIXED,
            ["images in 'cat', but folders ('bird', 'dog') in 'animals'", "data.class_level: 2 if 'bird', 'dog', "],
        ),
        ("f/daisy f/rose f/f/daisy f/f/rose", ["2 if 'daisy', 'rose' are;", "data.split_folders: {f/f: ignore}"]),
        ("foo/a foo/b bar/a bar/b", ["folders of the same names ('a', 'b') in 'bar', 'foo'", "data.split_folders"]),
        ("train/x/a train/x/b train/y/c train/y/d", ["images, 'train': it cannot be told", "'train/x', 'train/y'"]),
        ("cat/2019 cat/2020 dog/2019 dog/2020", ["folders of the same names ('2019', '2020') in 'cat', 'dog'"]),
        ("train/a train/b extra/a", ["beside the folder 'train' of a split", "'extra'", "{extra: ignore}"]),
        ("train/a train/b x/train/a", ["beside the folder 'train' of a split there is the folder 'x'"]),
        ("train test", ["no class folders in 'test', 'train'", "data.class_level: 1"]),
        ("train_images test_images", ["no class folders in 'test_images', 'train_images'"]),
        ("train", ["no class folders in 'train'"]),
        ("cat dog test", ["the folder 'test' is not called like a class", "{test: ignore}", "data.class_level: 1"]),
        ("cat dog unlabeled", ["the folder 'unlabeled' is not called like a class"]),
        ("train test/a test/b", ["the folder 'train' of the training split holds images but no class folders"]),
        ("train/a train/b val/a test/a eval/a", ["'eval' may be of the validation or of the test split"]),
        ("train/a train/b train2/a test/a", ["'train', 'train2' are all folders of the train split", "train2: ignore"]),
        ("train/a train/b val/a valid/a", ["'val', 'valid' are all folders of the val split"]),
        ("train/a train/b test/train/a test/val/a", ["the folder 'test' of a split holds folders of splits"]),
        ("train/a train/b pred/a pred/b", ["'pred' is called like one of images without labels, but holds folders"]),
        ("images_part_1 images_part_2", ["are called like pieces of one collection", "no class folders"]),
        ("a b c/", ["the class folder 'c/' holds no image; add images"]),
        ("a b docs/x.pdf docs/y.txt", ["'docs/' holds no image (files of other kinds: 2)", "{docs: ignore}"]),
        ("cat/2019 cat/2020 dog/", ["the class folder 'dog/' holds no image"]),
        ("Cat dog cat", ["the class folders 'Cat' and 'cat' differ only in upper and lower case or in blanks"]),
        ("train/a train/b test/A", ["the class folders 'train/a' and 'test/A' differ only in upper and lower case"]),
        ("train/a train/b test/a test/c", ["the class 'c' is in the test split", "classes are a, b"]),
        ("a", ["a single class found, 'a'"]),
    ],
)
def test_layouts_that_cannot_be_told_name_the_folders_and_the_ways_out(words: str, named: list[str]) -> None:
    with pytest.raises(StudyError) as error:
        read(words)
    assert "\n" not in str(error.value)
    for text in named:
        assert text in str(error.value)


@pytest.mark.parametrize(
    ("words", "told", "found"),
    [
        (VARIANTS, {"folder": "pv/color"}, "Apple Corn"),
        (VARIANTS, {"folder": "./pv\\gray/"}, "Apple Corn"),
        (VARIANTS, {"split_folders": {"gray": "ignore"}}, "Apple Corn"),
        (VARIANTS, {"class_level": 2}, "Apple Corn"),
        (INDOOR, {"class_level": 1}, "cat dog"),
        (INDOOR, {"class_level": 2}, "indoor outdoor"),
        (NESTED, {"class_level": 2}, "bus car cat dog"),
        (MIXED, {"class_level": 2}, "bird cat dog"),
        (MIXED, {"class_level": 1}, "animals cat"),
        (
            "train/animals/cat train/animals/dog train/vehicles/car train/vehicles/bus test/animals/cat",
            {"class_level": 2},
            "test:cat train:bus train:car train:cat train:dog",
        ),
        ("train test", {"class_level": 1}, "test train"),
        ("train/steam train/diesel bus/city bus/coach", {"class_level": 1}, "bus train"),
        ("foo/a foo/b bar/a", {"split_folders": {"foo": "train", "bar": "test"}}, "test:a train:a train:b"),
        ("train/a train/b train2/c test/c", {"split_folders": {"train2": "train"}}, "test:c train:a train:b train:c"),
        (
            "train/a train/b val/a test/a eval/b",
            {"split_folders": {"eval": "test"}},
            "test:a test:b train:a train:b val:a",
        ),
        ("train/a train/b extra/a", {"split_folders": {"extra": "ignore"}}, "train:a train:b"),
        ("a b docs/x.pdf", {"split_folders": {"docs": "ignore"}}, "a b"),
        ("c/train/a c/train/b c/test/a c/c/test/b", {"split_folders": {"c/c": "ignore"}}, "test:a train:a train:b"),
        ("cat dog test", {"split_folders": {"test": "ignore"}}, "cat dog"),
    ],
)
def test_what_was_told_decides(words: str, told: dict[str, Any], found: str) -> None:
    assert classes(read(words, **told)) == found


@pytest.mark.parametrize(
    ("words", "told", "message"),
    [
        (
            VARIANTS,
            {"folder": "pv/colour"},
            r"data\.folder: no folder 'colour' in 'pv' of images; found: 'color', 'gray'",
        ),
        (VARIANTS, {"folder": "../pv"}, r"data\.folder: no folder '\.\.' in images; found: 'pv'"),
        (
            VARIANTS,
            {"split_folders": {"grey": "ignore"}},
            r"data\.split_folders: no folder 'grey' in images; found: 'pv/",
        ),
        (
            INDOOR,
            {"split_folders": {"indoor": "test"}, "class_level": 1},
            "'indoor' is said to be of the test split, but",
        ),
        ("train/a train/b", {"split_folders": {"a": "test"}}, "beside the folder 'train/a' of a split"),
        (INDOOR, {"class_level": 3}, r"data\.class_level: found 3, allowed is at most 2"),
        ("a b", {"split_folders": {"a": "ignore", "b": "ignore"}}, "no class folder found"),
        (VARIANTS + " x.png", {"folder": "pv/gray/Corn"}, "images, 'pv/gray/Corn': no class folder found"),
    ],
)
def test_what_was_told_and_is_not_there_is_named(words: str, told: dict[str, Any], message: str) -> None:
    with pytest.raises(StudyError, match=message):
        read(words, **told)


def test_what_is_set_aside_is_counted_and_said() -> None:
    tree = read("train/a train/b train/loose.png train/a/x.xml test pred old/x.md train/.DS_Store")
    assert tree.ignored == {
        "system": ["train/.DS_Store"],
        "document": ["old/x.md", "train/a/x.xml"],
        "unlabelled": ["pred/0.png", "pred/1.png", "test/0.png", "test/1.png"],
        "outside": ["train/loose.png"],
    }


def test_what_lies_outside_the_folder_that_is_read_is_not_counted() -> None:
    tree = read(VARIANTS + " pv/color/notes.txt pv/notes.txt", folder="pv/color")
    assert tree.ignored == {"document": ["pv/color/notes.txt"]}
    assert {entry.image_id.rpartition("/")[0] for entry in tree.entries} == {"pv/color/Apple", "pv/color/Corn"}


def test_how_a_tree_was_read_is_said_where_it_is_not_plain() -> None:
    assert read("a b").notes == read("train/a train/b test/a").notes == []
    assert read("x/a x/b").notes == ["images: read is 'x' (classes: 2)."]
    assert read("seg_train/a seg_train/b seg_pred").notes == [
        "images: the folder 'seg_pred' holds 2 images but no class folders; they have no label and are set aside.",
        "images: read is train from 'seg_train' (classes: 2).",
    ]
    assert "read as pieces of one collection" in read("part1/a part1/b part2/a part2/b").notes[0]


def test_forms_of_one_name_in_unicode_are_one_class() -> None:
    forms = {form: unicodedata.normalize(form, "Cèpe") for form in ("NFC", "NFD")}
    tree = read(f"train/{forms['NFC']} train/b test/{forms['NFD']} test/b")
    assert classes(tree) == f"test:{forms['NFC']} test:b train:{forms['NFC']} train:b"
    assert f"test/{forms['NFD']}/0.png" in {entry.image_id for entry in tree.entries}, "the id opens the file"
    tree = read(f"{forms['NFC']} {forms['NFD']} b x/y", split_folders={"x": "ignore"})
    assert len({entry.label for entry in tree.entries}) == 2
    assert classes(read(f"{forms['NFD']}/a {forms['NFD']}/b c/d", folder=forms["NFC"])) == "a b"


def test_a_tree_without_folders_names_its_files() -> None:
    with pytest.raises(NoClassFolderError) as error:
        read("fer2013.csv x.png")
    assert sorted(error.value.files) == ["fer2013.csv", "x.png"]


WORDS = ("a", "b", "train", "test", "val", "images", "seg_train", "eval", "part1", "part2")
NAMES = st.lists(st.sampled_from(WORDS), min_size=1, max_size=4)


@given(st.lists(NAMES, min_size=1, max_size=8), st.sampled_from(["auto", 1, 2]))
def test_every_tree_is_read_whole_or_refused(folders: list[list[str]], level: str | int) -> None:
    paths = sorted({"/".join(names) + "/0.png" for names in folders})
    try:
        tree = read_tree(data_settings("images", class_level=level), paths)
    except StudyError:
        return
    read_paths = [entry.image_id for entry in tree.entries]
    ignored = list(itertools.chain.from_iterable(tree.ignored.values()))
    assert sorted(read_paths + ignored) == paths
    assert read_paths == sorted(read_paths)
    assert all(entry.label in entry.image_id.split("/")[:-1] for entry in tree.entries)
    assert len({bool(entry.split) for entry in tree.entries}) == 1, "all images are of a split, or none"


def test_a_deep_and_a_wide_tree_are_read() -> None:
    deep = "/".join(["x"] * 1500)
    assert classes(read(f"{deep}/a {deep}/b")) == "a b"
    wide = [f"{label}/{n}/0.png" for label in "ab" for n in range(20_000)]
    wide += ["a/0.png", "b/0.png", "c/0.png"]
    assert len(read_tree(data_settings("images"), wide).entries) == len(wide)
