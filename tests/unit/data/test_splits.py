"""Every image lands in one split, copies and groups together, and classes that cannot be split are named."""

import numpy as np
import pandas as pd
import pytest
from example_images import split_settings
from sklearn.model_selection import train_test_split

from study.data.groups import torn
from study.data.splits import METHODS, assign_splits
from study.errors import StudyError
from study.names import SPLITS
from study.schema import choices


def table(counts: dict[str, int], original: str = "") -> pd.DataFrame:
    """Images `<label>/<number>`, no copies, near or exact, and no groups."""
    ids = [f"{label}/{number:03}" for label, count in counts.items() for number in range(count)]
    labels = [image_id.split("/")[0] for image_id in ids]
    columns = {"image_id": ids, "label": labels, "original_split": original, "copies": ids, "group": "", "near": ""}
    return pd.DataFrame(columns)


def official(counts: dict[str, dict[str, int]]) -> pd.DataFrame:
    """`counts`: split -> class -> number of images `<split>/<label>/<number>`."""
    parts = []
    for split, classes in counts.items():
        part = table(classes, split)
        parts.append(part.assign(image_id=split + "/" + part["image_id"], copies=split + "/" + part["copies"]))
    return pd.concat(parts, ignore_index=True)


def members(images: pd.DataFrame, result: pd.DataFrame, split: str) -> set[str]:
    return set(images.loc[result["split"] == split, "image_id"])


def test_each_class_is_split_by_scikit_learn_in_two_steps() -> None:
    images = table({"a": 50, "b": 23})
    result = assign_splits(images.sample(frac=1, random_state=1), split_settings(train=0.8, val=0.1, test=0.1))
    result = result.loc[images.index]
    for label in ("a", "b"):
        ids = sorted(images.loc[images["label"] == label, "image_id"])
        train, rest = train_test_split(ids, test_size=0.2, random_state=42)
        val, test = train_test_split(rest, test_size=0.5, random_state=42)
        for split, expected in zip(SPLITS, (train, val, test), strict=True):
            assert {i for i in members(images, result, split) if i.startswith(label)} == set(expected)


def test_fractions_are_not_off_by_one_through_rounding() -> None:
    # 0.1 + 0.2 is a little more than 0.3 in binary, which would hold out 4 of 10
    result = assign_splits(table({"a": 10, "b": 10}), split_settings(train=0.7, val=0.1, test=0.2))
    assert result["split"].value_counts().to_dict() == {"train": 14, "test": 4, "val": 2}


def test_another_seed_gives_another_split() -> None:
    images = table({"a": 30, "b": 30})
    one, same, other = (assign_splits(images, split_settings(seed=seed)) for seed in (1, 1, 2))
    assert one.equals(same)
    assert not one.equals(other)


def test_copies_stay_together_even_with_several_labels() -> None:
    images = table({"a": 40, "b": 40})
    images["copies"] = [f"copies {number % 25}" for number in range(80)]
    result = assign_splits(images, split_settings())
    assert result["split"].groupby(images["copies"]).nunique().max() == 1
    assert set(result["split"]) == set(SPLITS)


def test_a_class_too_small_for_its_splits_is_named() -> None:
    with pytest.raises(StudyError, match=r"class 'b': 2 images found .* at least 3 for splits of 0\.6, 0\.2 and 0\.2"):
        assign_splits(table({"a": 20, "b": 2}), split_settings())
    assert assign_splits(table({"a": 20, "b": 3}), split_settings())["split"].isin(SPLITS).all()


def test_a_class_whose_images_are_all_copies_is_too_small() -> None:
    images = table({"a": 20, "b": 10})
    images.loc[images["label"] == "b", "copies"] = "one"
    with pytest.raises(StudyError, match="class 'b': 1 images found"):
        assign_splits(images, split_settings())


def test_a_class_lost_to_copies_of_another_is_named() -> None:
    images = table({"a": 20, "b": 5})
    images.loc[20:, "copies"] = images.loc[0, "copies"]  # every image of b is a copy of one labelled a
    with pytest.raises(StudyError, match=r"class 'b': 0 images kept in the .* split, needed is at least 1 in each"):
        assign_splits(images, split_settings())


def test_official_splits_are_followed() -> None:
    images = official({split: {"a": 3, "b": 2} for split in SPLITS})
    result = assign_splits(images, split_settings("official"))
    assert list(result["split"]) == list(images["original_split"])
    assert set(result["reason"]) == {""}


def test_copies_stay_in_test_before_val_before_train() -> None:
    images = official({split: {"a": 4, "b": 4} for split in SPLITS})
    images.index = pd.Index(list(images["image_id"]))
    images.loc[["train/a/000", "val/a/001", "test/a/002", "test/a/003"], "copies"] = "three"
    images.loc[["train/b/000", "train/b/001", "val/b/001"], "copies"] = "two"
    result = assign_splits(images, split_settings("official"))
    dropped = result[result["split"] == ""]["reason"].to_dict()
    assert dropped == {
        "train/a/000": "copy of test image test/a/002",
        "val/a/001": "copy of test image test/a/002",
        "train/b/000": "copy of val image val/b/001",
        "train/b/001": "copy of val image val/b/001",
    }
    assert list(result.loc[["test/a/002", "test/a/003"], "split"]) == ["test", "test"]


def test_validation_is_taken_from_training_if_the_source_has_none() -> None:
    images = official({"train": {"a": 40, "b": 20}, "test": {"a": 5, "b": 5}})
    images.loc[[0, 1], "copies"] = "copies"
    images.loc[[2, 60], "copies"] = "copies of a test image"
    result = assign_splits(images, split_settings("official", train=0.6, val=0.2))  # a quarter of the training images
    counts = pd.crosstab(images["label"], result["split"])
    assert list(counts["val"]) in ([10, 5], [11, 5])
    assert (images.loc[result["split"] == "test", "original_split"] == "test").all()
    assert result["split"][0] == result["split"][1]
    assert result["reason"][2] == "copy of test image test/a/000"


@pytest.mark.parametrize(
    ("splits", "found"), [((), "none"), (("train",), "train"), (("train", "val"), "train, val"), (("test",), "test")]
)
def test_official_without_an_official_split_is_refused(splits: tuple[str, ...], found: str) -> None:
    images = official({split: {"a": 5, "b": 5} for split in splits}) if splits else table({"a": 5, "b": 5})
    with pytest.raises(
        StudyError, match=rf"needs the source's own train and test splits; found: {found}\..*stratified"
    ):
        assign_splits(images, split_settings("official"))


def test_official_with_an_image_outside_the_splits_is_refused() -> None:
    images = pd.concat([official({split: {"a": 5, "b": 5} for split in SPLITS}), table({"a": 2})], ignore_index=True)
    with pytest.raises(StudyError, match="2 images have no official split, such as 'a/000'"):
        assign_splits(images, split_settings("official"))


def test_a_class_missing_from_an_official_split_is_named() -> None:
    images = official({"train": {"a": 5, "b": 5}, "val": {"a": 5}, "test": {"a": 5, "b": 5}})
    with pytest.raises(StudyError, match="class 'b': 0 images kept in the val split, needed is at least 1"):
        assign_splits(images, split_settings("official"))
    images = official({"train": {"a": 5, "b": 1}, "test": {"a": 5, "b": 5}})
    with pytest.raises(StudyError, match=r"class 'b': 1 training images found .* at least 2 to take validation images"):
        assign_splits(images, split_settings("official"))


def of_patients(counts: dict[str, int], patients: int, original: str = "") -> pd.DataFrame:
    """The images of `table`, shown by patients in turn: a patient has images of every class."""
    images = table(counts, original)
    return images.assign(group=[f"patient {number % patients}" for number in range(len(images))])


@pytest.mark.parametrize("seed", range(3))
def test_groups_stay_together_and_every_class_keeps_its_fractions(seed: int) -> None:
    images = of_patients({"a": 200, "b": 101, "c": 40}, 60)
    result = assign_splits(images, split_settings(seed=seed))
    assert not torn(images["group"], result["split"]).any()
    counts = pd.crosstab(images["label"], result["split"])[list(SPLITS)]
    wished = np.outer([200, 101, 40], [0.6, 0.2, 0.2])
    assert np.abs(counts.to_numpy() - wished).max() <= 2
    mixed = assign_splits(images.sample(frac=1, random_state=1), split_settings(seed=seed))
    assert result.equals(mixed.loc[images.index])


def test_groups_of_one_image_change_nothing() -> None:
    images = table({"a": 50, "b": 23})
    alone = assign_splits(images.assign(group=images["image_id"]), split_settings())
    assert alone.equals(assign_splits(images, split_settings()))


def test_copies_join_groups_to_one_unit() -> None:
    """Two patients with a picture in common may be one: they are not parted."""
    images = of_patients({"a": 60, "b": 60}, 20)
    images.loc[[0, 1], "copies"] = "shared"
    for seed in range(5):
        split = assign_splits(images, split_settings(seed=seed))["split"]
        assert len(set(split[images["group"].isin(["patient 0", "patient 1"])])) == 1


def test_a_class_in_too_few_groups_is_named() -> None:
    images = of_patients({"a": 60, "b": 10}, 10)
    images.loc[images["label"] == "b", "group"] = ["patient 0", "patient 1"] * 5
    with pytest.raises(StudyError, match=r"class 'b': its 10 images are in 2 groups .* at least 3, one in each"):
        assign_splits(images, split_settings())


@pytest.mark.parametrize("seed", range(3))
def test_near_copies_stay_together_with_groups_and_exact_copies(seed: int) -> None:
    images = of_patients({"a": 60, "b": 60}, 20)
    images.loc[[0, 1], "copies"] = "shared"
    images.loc[[1, 42], "near"] = "7"
    split = assign_splits(images, split_settings(seed=seed))["split"]
    assert len(set(split[images["group"].isin(["patient 0", "patient 1", "patient 2"])])) == 1
    assert split.nunique() == 3


def test_official_near_copies_leave_with_the_nearest_that_stays_and_the_correlation() -> None:
    images = official({split: {"a": 6, "b": 6} for split in SPLITS}).assign(sha256=lambda table: table["image_id"])
    images.index = pd.Index(list(images["image_id"]))
    one = ["train/a/000", "train/a/001", "train/a/002", "test/a/000", "test/b/001"]  # 002 by way of 000 alone
    two = ["train/b/003", "val/a/004", "val/b/005"]
    images.loc[one, "near"], images.loc[two, "near"] = "1", "2"
    pairs = pd.DataFrame(
        [
            ("train/a/000", "test/b/001", 0.91), ("test/a/000", "train/a/000", 0.876),
            ("train/a/001", "test/a/000", 0.9), ("train/a/000", "train/a/002", 0.99),
            ("val/a/004", "train/b/003", 0.95), ("val/a/004", "val/b/005", 0.99),
        ],
        columns=["first", "second", "correlation"],
    )  # fmt: skip
    result = assign_splits(images, split_settings("official"), pairs=pairs)
    assert result.loc[result["split"] == "", ["reason", "cause"]].to_dict("index") == {
        "train/a/000": {"reason": "near copy of test image test/b/001 (correlation 0.91)", "cause": "near_duplicates"},
        "train/a/001": {"reason": "near copy of test image test/a/000 (correlation 0.90)", "cause": "near_duplicates"},
        "train/a/002": {"reason": "near copies join it with test image test/a/000", "cause": "near_duplicates"},
        "train/b/003": {"reason": "near copy of val image val/a/004 (correlation 0.95)", "cause": "near_duplicates"},
    }


def official_patients() -> pd.DataFrame:
    """Patient 1 is in all official splits, patient 2 in train and val, every other one in one."""
    images = official({split: {"a": 4, "b": 4} for split in SPLITS})
    images["group"] = "of " + images["image_id"]
    one, two = ["train/a/000", "val/a/001", "test/b/002"], ["train/b/000", "train/b/001", "val/b/001"]
    images.loc[images["image_id"].isin(one), "group"] = "patient 1"
    images.loc[images["image_id"].isin(two), "group"] = "patient 2"
    return images


def test_a_group_in_two_official_splits_is_named_with_the_choice() -> None:
    with pytest.raises(
        StudyError,
        match=r"2 groups have images in several official splits, such as 'patient 1' \(1 in test such as 'test/b/002', "
        r"1 in train such as 'train/a/000', .*data\.torn_groups to drop .* or keep",
    ):
        assign_splits(official_patients(), split_settings("official"))


def test_a_torn_group_keeps_its_images_in_test_before_val_before_train() -> None:
    images = official_patients()
    images.index = pd.Index(list(images["image_id"]))
    result = assign_splits(images, split_settings("official"), "drop")
    assert result.loc[result["split"] == "", ["reason", "cause"]].to_dict("index") == {
        "train/a/000": {"reason": "group 'patient 1' has test images, such as test/b/002", "cause": "torn_groups"},
        "val/a/001": {"reason": "group 'patient 1' has test images, such as test/b/002", "cause": "torn_groups"},
        "train/b/000": {"reason": "group 'patient 2' has val images, such as val/b/001", "cause": "torn_groups"},
        "train/b/001": {"reason": "group 'patient 2' has val images, such as val/b/001", "cause": "torn_groups"},
    }
    assert not torn(images["group"], result["split"]).any()


def test_a_torn_group_can_be_kept() -> None:
    images = official_patients()
    result = assign_splits(images, split_settings("official"), "keep")
    assert list(result["split"]) == list(images["original_split"])


def test_validation_is_taken_in_whole_groups() -> None:
    images = official({"train": {"a": 60, "b": 40}, "test": {"a": 5, "b": 5}})
    images.loc[images["original_split"] == "train", "group"] = [f"patient {number % 20}" for number in range(100)]
    result = assign_splits(images, split_settings("official", train=0.6, val=0.2))
    assert not torn(images["group"], result["split"]).any()
    assert pd.crosstab(images["label"], result["split"])["val"].to_dict() == {"a": 15, "b": 10}


def test_the_schema_names_every_method() -> None:
    assert set(choices("split.method")) == set(METHODS)
