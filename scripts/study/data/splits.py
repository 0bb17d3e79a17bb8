"""Training, validation and test: at random with every class in proportion, or as the source has it.

What is assigned is whole: copies of a picture that have to stay together, exact and near ones, the images of a group (a
patient, an object, a place), and all that these join. Any other image is by itself.

Entry points:
    assign_splits(images, settings, torn_groups, pairs) -> DataFrame
    check_official(splits, notes)                          before the images are read
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pandas as pd
from sklearn.model_selection import train_test_split

from study.data.groups import divide, joined, torn
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


def assign_splits(
    images: pd.DataFrame, settings: SplitSettings, torn_groups: str = "stop", pairs: pd.DataFrame | None = None
) -> pd.DataFrame:
    """The split of every image.

    Args:
        images: one row per image; columns image_id, label, original_split ("" for none), copies (any value; images of
            one value are copies of each other and end in one split), near and group ("" for none; images of one, that a
            chain of near copies joins or that are of one patient, end in one split), and sha256 where `pairs` are
            given.
        settings: method, fractions and seed.
        torn_groups: what happens to a group with images in several official splits, as `data.torn_groups` has it.
        pairs: near copies, as `study.data.near_copies.near_copies` gives them, for the reasons.

    Returns:
        Columns split, reason and cause, index as `images`. Of copies that the official splits tear apart, the images
        outside their test (else validation) part get an empty split, a reason and the cause "duplicates"; of near
        copies likewise, with the cause "near_duplicates", and of a torn group that is dropped, with "torn_groups".

    Raises:
        StudyError: a class too small for its splits, no official split to follow, or a group that it tears.
    """
    ordered = images.sort_values("image_id")
    result = METHODS[settings.method](ordered, settings)
    if settings.method == "official":  # the other method tears nothing apart
        result = _without_near_copies(ordered, result, pairs)
        result = _with_whole_groups(ordered, result, torn_groups)
    result = result.reindex(images.index)
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
    """Every class divided by the fractions: by scikit-learn where only copies are together, else by `divide`."""
    units = units_of(images)
    if units.nunique() < images["copies"].nunique():
        _check_units(images, units, SPLITS)
        fractions = {split: getattr(settings, split) for split in SPLITS}
        split = divide(images["label"], units, fractions, settings.seed)
    else:
        representatives = images.drop_duplicates("copies")
        split_of: dict[object, str] = {}
        for label, rows in representatives.groupby("label"):
            parts = two_step_split(list(rows["copies"]), settings, f"class '{label}'")
            split_of |= {copies: split for split, some in parts.items() for copies in some}
        split = images["copies"].map(split_of)
    return pd.DataFrame({"split": split, "reason": "", "cause": ""}, index=images.index)


def units_of(images: pd.DataFrame) -> pd.Series:
    """A number for all images that have to stay together: copies, near copies, groups, and what these join."""
    partitions = [images[name] for name in ("near", "group") if (images[name] != "").any()]
    if not partitions:
        return images["copies"]
    alone = "image " + images["image_id"]
    return joined(images["copies"], *(("of " + some).where(some != "", alone) for some in partitions))


def _check_units(images: pd.DataFrame, units: pd.Series, splits: Sequence[str]) -> None:
    """Raise StudyError for a class whose images are in fewer units than there are splits."""
    counts = units.groupby(images["label"]).nunique()
    for label, count in counts[counts < len(splits)].items():
        raise StudyError(
            f"class '{label}': its {int((images['label'] == label).sum())} images are in {count} groups (copies count "
            f"as one), needed are at least {len(splits)}, one in each of {', '.join(splits)}; add images of other "
            "groups, or remove the class"
        )


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
    stays, kept = _of_one_split(split, images["copies"], images["image_id"])
    return pd.DataFrame(
        {
            "split": split.where(stays, ""),
            "reason": ("copy of " + kept["split"] + " image " + kept["image_id"]).where(~stays, ""),
            "cause": stays.map({True: "", False: "duplicates"}),
        },
        index=images.index,
    )


def _of_one_split(split: pd.Series, together: pd.Series, image_id: pd.Series) -> tuple[pd.Series, pd.DataFrame]:
    """Which images are in the first split of `PRIORITY` that their like are in, and the first image there.

    Returns:
        bool for each image; columns split and image_id, of the one that stays.
    """
    rank = split.map({name: rank for rank, name in enumerate(PRIORITY)})
    stays = rank == rank.groupby(together).transform("min")
    kept = {
        name: column.where(stays).groupby(together).transform("first")
        for name, column in (("split", split), ("image_id", image_id))
    }
    return stays, pd.DataFrame(kept)


def _without_near_copies(images: pd.DataFrame, assigned: pd.DataFrame, pairs: pd.DataFrame | None) -> pd.DataFrame:
    """Splits without the images that near copies join with ones of the test (else validation) part."""
    some = images.assign(split=assigned["split"])
    some = some[(some["near"] != "") & (some["split"] != "")]
    if some.empty:
        return assigned
    stays, kept = _of_one_split(some["split"], some["near"], some["image_id"])
    if stays.all():
        return assigned
    reason = "near copies join it with " + kept["split"] + " image " + kept["image_id"]
    if pairs is not None:
        reason.update(_nearest(some[~stays], some[stays], pairs))
    out = stays.index[~stays]
    assigned = assigned.copy()
    assigned.loc[out, ["split", "cause"]] = ["", "near_duplicates"]
    assigned.loc[out, "reason"] = reason[out]
    return assigned


def _nearest(out: pd.DataFrame, staying: pd.DataFrame, pairs: pd.DataFrame) -> pd.Series:
    """In words, the nearest copy that stays, for each image that is out and has one itself."""
    columns = ["first", "second", "correlation"]
    both = pd.concat([pairs[columns], pairs[columns].set_axis(["second", "first", "correlation"], axis=1)])
    met = out[["sha256"]].reset_index(names="row").merge(both, left_on="sha256", right_on="first")
    met = met.merge(staying[["sha256", "split", "image_id"]], left_on="second", right_on="sha256")
    met = met.sort_values(["correlation", "image_id"], ascending=[False, True]).drop_duplicates("row").set_index("row")
    correlation = met["correlation"].map("{:.2f}".format).astype("str")
    return "near copy of " + met["split"] + " image " + met["image_id"] + " (correlation " + correlation + ")"


def _with_whole_groups(images: pd.DataFrame, assigned: pd.DataFrame, policy: str) -> pd.DataFrame:
    """Splits without the images of torn groups that are outside the group's test (else validation) part."""
    apart = torn(images["group"], assigned["split"])
    if policy == "keep" or not apart.any():
        return assigned
    some = images[apart].assign(split=assigned["split"])
    if policy == "stop":
        raise StudyError(
            f"{torn_in_words(some)}; a group on both sides of a split makes scores too good. Set config key "
            "data.torn_groups to drop (its images stay in the test, else validation, split alone) or keep, or use "
            "split.method: stratified"
        )
    stays, kept = _of_one_split(some["split"], some["group"], some["image_id"])
    out = stays.index[~stays]
    reason = "group '" + some["group"] + "' has " + kept["split"] + " images, such as " + kept["image_id"]
    assigned = assigned.copy()
    assigned.loc[out, ["split", "cause"]] = ["", "torn_groups"]
    assigned.loc[out, "reason"] = reason[out]
    return assigned


def torn_in_words(images: pd.DataFrame) -> str:
    """How many groups are torn, and where images of the first one are.

    Args:
        images: of torn groups alone, columns group, split and image_id.
    """
    first = images[images["group"] == images["group"].min()]
    where = [f"{len(rows)} in {split} such as '{rows['image_id'].iloc[0]}'" for split, rows in first.groupby("split")]
    count = images["group"].nunique()
    return (
        f"{count} group{'s have' if count > 1 else ' has'} images in several official splits, such as "
        f"'{first['group'].iloc[0]}' ({', '.join(where)})"
    )


def _with_validation(images: pd.DataFrame, settings: SplitSettings) -> pd.Series:
    """Original splits with a share val / (train + val) of each class's training units made validation."""
    split = images["original_split"].copy()
    units = units_of(images)
    free = images[~units.isin(units[split == "test"])].assign(unit=units)
    share = settings.val / (settings.train + settings.val)
    if units.nunique() < images["copies"].nunique():
        _check_units(free, free["unit"], ("train", "val"))
        parts = divide(free["label"], free["unit"], {"train": 1 - share, "val": share}, settings.seed)
        split[parts.index[parts == "val"]] = "val"
        return split
    taken = []
    for label, rows in free.drop_duplicates("unit").groupby("label"):
        if len(rows) < 2:
            raise StudyError(
                f"class '{label}': {len(rows)} training images found (copies of an image counted once), needed are "
                "at least 2 to take validation images from them; add images, or remove the class"
            )
        size = _ceil(len(rows) * share)
        taken += train_test_split(list(rows["unit"]), test_size=size, random_state=settings.seed)[1]
    split[units.isin(taken)] = "val"
    return split


# By the values of `split.method`. Takes images sorted by image_id, otherwise as `assign_splits` does.
METHODS: dict[str, Callable[[pd.DataFrame, SplitSettings], pd.DataFrame]] = {
    "stratified": stratified,
    "official": official,
}
