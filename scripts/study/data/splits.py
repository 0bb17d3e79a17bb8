"""Training, validation and test: at random with every class in proportion, or as the source has it.

The unit that is assigned is the group: exact copies that have to stay together share one, any other image is its own.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pandas as pd
from sklearn.model_selection import train_test_split

from study.data.sources import official_splits_in_words
from study.errors import StudyError
from study.names import SPLITS

PRIORITY = ("test", "val", "train")  # of the splits an image may stay in if it has copies in several


@dataclass(frozen=True)
class SplitSettings:
    """The `split` section of the configuration; config/schemas/config.schema.yaml says what each key means and may be.

    The three fractions add up to 1.
    """

    method: str
    train: float
    val: float
    test: float
    seed: int


def assign_splits(images: pd.DataFrame, settings: SplitSettings) -> pd.DataFrame:
    """The split of every image.

    Args:
        images: one row per image; columns image_id, label, original_split ("" for none) and group (any value; images of
            one group end in one split).
        settings: method, fractions and seed.

    Returns:
        Columns split and reason, index as `images`. Of a group that the official splits tear apart, the images outside
        its test (else validation) part get an empty split and a reason.

    Raises:
        StudyError: a class too small for its splits, or no official split to follow.
    """
    ordered = images.sort_values("image_id")
    result = METHODS[settings.method](ordered, settings).reindex(images.index)
    counts = pd.crosstab(images["label"], result["split"]).reindex(columns=list(SPLITS), fill_value=0)
    for label, row in counts.iterrows():
        for split in SPLITS:
            if row[split] == 0:
                raise StudyError(
                    f"class '{label}': 0 images kept in the {split} split, needed is at least 1 in each of "
                    f"{', '.join(SPLITS)}; add images, or remove the class, or use split.method: stratified"
                )
    return result


def stratified(images: pd.DataFrame, settings: SplitSettings) -> pd.DataFrame:
    """Every class divided by the fractions."""
    representatives = images.drop_duplicates("group")
    split_of_group: dict[object, str] = {}
    for label, rows in representatives.groupby("label"):
        parts = two_step_split(list(rows["group"]), settings, f"class '{label}'")
        split_of_group |= {group: split for split, groups in parts.items() for group in groups}
    return pd.DataFrame({"split": images["group"].map(split_of_group), "reason": ""}, index=images.index)


def two_step_split(items: Sequence, settings: SplitSettings, what: str) -> dict[str, list]:
    """Items of one class per split: validation and test are cut off together, then divided, each by scikit-learn.

    Raises:
        StudyError: a split would stay empty; `what` names the class.
    """

    def sizes(count: int) -> tuple[int, int, int]:
        rest = _ceil(count * (settings.val + settings.test))
        test = _ceil(rest * settings.test / (settings.val + settings.test))
        return count - rest, rest - test, test

    if min(sizes(len(items))) < 1:
        needed = next(count for count in range(1, 10**6) if min(sizes(count)) > 0)
        raise StudyError(
            f"{what}: {len(items)} images found (copies of an image counted once), needed are at least {needed} "
            f"for splits of {settings.train:g}, {settings.val:g} and {settings.test:g}; add images, or remove the class"
        )
    _, val_size, test_size = sizes(len(items))
    train, rest = train_test_split(items, test_size=val_size + test_size, random_state=settings.seed)
    val, test = train_test_split(rest, test_size=test_size, random_state=settings.seed)
    return {"train": train, "val": val, "test": test}


def _ceil(size: float) -> int:
    """Rounded up as by train_test_split, but for what binary fractions add: (0.1 + 0.2) · 10 is 3, not 4."""
    return math.ceil(size - 1e-9)


def check_official(splits: set[str], notes: Sequence[str] = ()) -> None:
    """Raise StudyError for a source without training or test images of its own; notes are how it was read."""
    if not {"train", "test"} <= splits:
        found = ", ".join(sorted(splits - {""})) or "none"
        raise StudyError(
            f"split.method is 'official', which needs the source's own train and test splits; found: {found}. They are "
            f"taken from {official_splits_in_words()}; without them use split.method: stratified"
            + "".join(f". {note.rstrip('.')}" for note in notes)
        )


def official(images: pd.DataFrame, settings: SplitSettings) -> pd.DataFrame:
    """The source's own splits; validation images are taken from training by val / (train + val) if it has none."""
    original = images["original_split"]
    check_official(set(original))
    if (original == "").any():
        outside = images.loc[original == "", "image_id"]
        raise StudyError(
            f"split.method is 'official', but {len(outside)} images have no official split, such as "
            f"'{outside.iloc[0]}'; put them into a folder of a split, or use split.method: stratified"
        )
    split = original
    if "val" not in set(original):
        split = _with_validation(images, settings)
    rank = split.map({name: rank for rank, name in enumerate(PRIORITY)})
    stays = rank == rank.groupby(images["group"]).transform("min")
    kept_id = images["image_id"].where(stays).groupby(images["group"]).transform("first")
    kept_split = split.where(stays).groupby(images["group"]).transform("first")
    reason = ("copy of " + kept_split + " image " + kept_id).where(~stays, "")
    return pd.DataFrame({"split": split.where(stays, ""), "reason": reason}, index=images.index)


def _with_validation(images: pd.DataFrame, settings: SplitSettings) -> pd.Series:
    """Original splits with a share val / (train + val) of each class's training groups made validation."""
    split = images["original_split"].copy()
    in_test = images["group"].isin(images.loc[split == "test", "group"])
    groups = images[~in_test].drop_duplicates("group")
    share = settings.val / (settings.train + settings.val)
    taken = []
    for label, rows in groups.groupby("label"):
        if len(rows) < 2:
            raise StudyError(
                f"class '{label}': {len(rows)} training images found (copies of an image counted once), needed are "
                "at least 2 to take validation images from them; add images, or remove the class"
            )
        size = _ceil(len(rows) * share)
        taken += train_test_split(list(rows["group"]), test_size=size, random_state=settings.seed)[1]
    split[images["group"].isin(taken)] = "val"
    return split


# By the values of `split.method`. Takes images sorted by image_id, otherwise as `assign_splits` does.
METHODS: dict[str, Callable[[pd.DataFrame, SplitSettings], pd.DataFrame]] = {
    "stratified": stratified,
    "official": official,
}
