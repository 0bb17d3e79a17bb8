"""What is in the data, and what was done about it, in numbers."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from study.data.data_settings import DataSettings, Expected
from study.data.folder_tree import Entry
from study.data.groups import torn
from study.data.manifest import leaked, nearly_leaked
from study.data.splits import SplitSettings
from study.errors import StudyError
from study.files import file_sha256
from study.names import EVALUATED_SPLITS, SPLITS


def audit(
    images: pd.DataFrame, data: DataSettings, split: SplitSettings, ignored: dict[str, list[str]], notes: list[str]
) -> dict[str, Any]:
    """Counts of the finished manifest.

    Args:
        images: the manifest with the findings of `study.data.manifest_building.inspect` and the columns status, cause
            (the policy that dropped it), oversampled (bool) and source_id (image_id without the "#2" of such a copy).
        data, split: what was configured.
        ignored: files of the source that are read as no image of a class, by kind.
        notes: sentences about how the source was read.

    Returns:
        source: name, images and classes {class: n} of the source, the sha256 of its file (None for a folder or the
            digits), its official_splits {split: {class: n}} or None, most_common_size [width, height],
            most_common_mode, bit_depth (None, or of the images with samples of 16 bits: images, largest sample and the
            bits that are taken to be in use), ignored_files {kind: n} (kinds of `study.data.leftovers.KINDS`), notes.
        found: counts in the source, whatever was done: unreadable, duplicate_groups, duplicate_images,
            contradictory_groups, contradictory_images, blank, odd_size, odd_mode, and
            groups_across_official_splits (groups of copies with images in more than one of them).
        done: the policy and the number of images dropped per finding, the number dropped in all, the split's settings,
            oversampled {class: copies added}.
        kept: images, classes {class: n} and splits {split: {"images": n, "classes": {class: n}}} after all that.
        near_copies: None where they are not looked for, else the least correlation of two, groups and images in the
            source (what a chain of near copies joins, with exact copies of these), the images of the largest, groups
            of_several_classes and across_official_splits, and leakage "official" and "final", as below: {"val" |
            "test": images with a copy in training, exact or near}.
        groups: None for a source without groups, else groups and images in the source that are of one, the images of
            the largest, groups of_several_classes and across_official_splits, the groups that are torn in the end,
            and, for each of the splits, its images of groups {"groups", "ungrouped"} (images of none): as many
            independent units as these add up to.
        leakage: "official" (as the source has it; None without official splits) and "final" (as the manifest
            has it), each {"val" | "test": {"images", "copied", "copied_by_oversampling"}, "total": copied in both};
            copied counts images with an exact copy in training, copied_by_oversampling those with no other one.

    Raises:
        StudyError: a group is in several splits, though data.torn_groups is not keep, or near copies, though
            data.duplicates is not; then the splitting is wrong.
    """
    original = images[~images["oversampled"]]
    kept = images[images["status"] == "kept"]
    has_official = (original["original_split"] != "").any()
    return {
        "source": _source(original, data, ignored) | {"notes": notes},
        "found": _found(original),
        "done": _done(images, data, split),
        "kept": {
            "images": len(kept),
            "classes": _count(kept["label"]),
            "splits": {
                name: {"images": len(part), "classes": _count(part["label"])}
                for name in SPLITS
                for part in [kept[kept["split"] == name]]
            },
        },
        "near_copies": _near_copies(original, kept, data, has_official),
        "groups": _groups(original, kept, data, split),
        "leakage": {
            "official": _leakage(original.assign(split=original["original_split"])) if has_official else None,
            "final": _leakage(kept),
        },
    }


def differences(source: str, entries: Sequence[Entry], expected: Expected) -> list[str]:
    """How a source differs from what is expected of it, a sentence for each difference.

    Args:
        source: its path.
        entries: every image of it.
    """
    counts = []
    if expected.classes:
        labels = Counter(entry.label for entry in entries)
        names = sorted({*labels, *expected.classes})
        counts += [(f"Class '{name}'", labels[name], expected.classes.get(name, 0)) for name in names]
    splits = Counter(entry.split for entry in entries)
    counts += [(f"Official split '{name}'", splits[name], count) for name, count in expected.splits.items()]
    sentences = [
        f"{what}: {found:,} images found, {count:,} expected." for what, found, count in counts if found != count
    ]
    if expected.sha256 and (sha256 := _sha256(source)) != expected.sha256:
        found = sha256 or "none (a folder has none)"
        sentences.append(f"SHA-256 of {source}: {found} found, {expected.sha256} expected.")
    return sentences


def _sha256(source: str) -> str | None:
    return file_sha256(Path(source)) if Path(source).is_file() else None


def _count(values: pd.Series) -> dict[str, int]:
    return {str(value): int(count) for value, count in values.value_counts().sort_index().items()}


def _source(original: pd.DataFrame, data: DataSettings, ignored: dict[str, list[str]]) -> dict[str, Any]:
    readable = original[original["unreadable"] == ""]
    usual = readable[~readable["odd_size"]].head(1)
    splits = {name: original.loc[original["original_split"] == name, "label"] for name in SPLITS}
    return {
        "name": data.source,
        "images": len(original),
        "sha256": _sha256(data.source),
        "classes": _count(original["label"]),
        "official_splits": {name: _count(labels) for name, labels in splits.items() if len(labels)} or None,
        "most_common_size": [int(usual["width"].iloc[0]), int(usual["height"].iloc[0])],
        "most_common_mode": str(readable.loc[~readable["odd_mode"], "mode"].mode().min()),
        "bit_depth": _bit_depth(original[original["largest"].notna()]),
        "ignored_files": {kind: len(names) for kind, names in ignored.items()},
    }


def _bit_depth(wide: pd.DataFrame) -> dict[str, int] | None:
    if wide.empty:
        return None
    return {"images": len(wide), "largest": int(wide["largest"].max()), "bits": int(wide["bit_depth"].iloc[0])}


def _found(original: pd.DataFrame) -> dict[str, int]:
    hashes = original["sha256"]
    copies = original[(hashes != "") & hashes.duplicated(keep=False)]
    contradictory = original[original["contradictory"]]
    splits_of_group = copies.groupby("sha256")["original_split"].nunique()
    return {
        "unreadable": int((original["unreadable"] != "").sum()),
        "duplicate_groups": copies["sha256"].nunique(),
        "duplicate_images": len(copies),
        "contradictory_groups": contradictory["sha256"].nunique(),
        "contradictory_images": len(contradictory),
        "groups_across_official_splits": int((splits_of_group > 1).sum()),
        "blank": int(original["blank"].sum()),
        "odd_size": int(original["odd_size"].sum()),
        "odd_mode": int(original["odd_mode"].sum()),
    }


def _near_copies(
    original: pd.DataFrame, kept: pd.DataFrame, data: DataSettings, has_official: bool
) -> dict[str, Any] | None:
    if data.near_duplicates is None:
        return None
    apart = torn(kept["near_duplicate_group"], kept["split"])
    if apart.any() and data.duplicates != "keep":
        raise StudyError(
            f"audit of {data.source}: near copies of '{kept.loc[apart, 'image_id'].iloc[0]}' are in several splits, "
            "allowed is one; the division is wrong, please report it"
        )
    near = original[original["near_duplicate_group"] != ""]
    by_group = near.groupby("near_duplicate_group")
    official = original.assign(split=original["original_split"])
    return {
        "correlation": data.near_duplicates,
        "groups": by_group.ngroups,
        "images": len(near),
        "largest": int(by_group.size().max()) if len(near) else 0,
        "of_several_classes": int(by_group["label"].nunique().gt(1).sum()),
        "across_official_splits": int(
            near.loc[torn(near["near_duplicate_group"], near["original_split"]), "near_duplicate_group"].nunique()
        ),
        "leakage": {
            "official": _nearly_leaked(official) if has_official else None,
            "final": _nearly_leaked(kept),
        },
    }


def _nearly_leaked(images: pd.DataFrame) -> dict[str, int]:
    copied = nearly_leaked(images)
    return {name: int((copied & (images["split"] == name)).sum()) for name in EVALUATED_SPLITS}


def _groups(
    original: pd.DataFrame, kept: pd.DataFrame, data: DataSettings, split: SplitSettings
) -> dict[str, Any] | None:
    grouped = original[original["group"] != ""]
    if grouped.empty:
        return None
    official = torn(grouped["group"], grouped["original_split"])
    apart = torn(kept["group"], kept["split"])
    if apart.any() and (split.method != "official" or data.torn_groups != "keep"):
        raise StudyError(
            f"audit of {data.source}: group '{kept.loc[apart, 'group'].iloc[0]}' has images in several splits, allowed "
            "is one; the division is wrong, please report it"
        )
    return {
        "groups": grouped["group"].nunique(),
        "images": len(grouped),
        "largest": int(grouped["group"].value_counts().max()),
        "of_several_classes": int(grouped.groupby("group")["label"].nunique().gt(1).sum()),
        "across_official_splits": grouped.loc[official, "group"].nunique(),
        "torn": kept.loc[apart, "group"].nunique(),
        "splits": {
            name: {"groups": some[some != ""].nunique(), "ungrouped": int((some == "").sum())}
            for name in SPLITS
            for some in [kept.loc[kept["split"] == name, "group"]]
        },
    }


def _done(images: pd.DataFrame, data: DataSettings, split: SplitSettings) -> dict[str, Any]:
    policies = ("duplicates", "contradictory", "blank", "odd_size", "odd_mode", "torn_groups")
    dropped = images["cause"].value_counts()
    done = {name: {"policy": getattr(data, name), "dropped": int(dropped.get(name, 0))} for name in policies}
    done["unreadable"] = {"policy": "drop", "dropped": int(dropped.get("unreadable", 0))}
    if data.near_duplicates is not None:
        done["near_duplicates"] = {"policy": data.duplicates, "dropped": int(dropped.get("near_duplicates", 0))}
    fractions = {name: getattr(split, name) for name in SPLITS}
    return done | {
        "dropped": int((images["status"] == "dropped").sum()),
        "split": {"method": split.method, **fractions, "seed": split.seed},
        "oversampled": _count(images.loc[images["oversampled"], "label"]),
    }


def _leakage(images: pd.DataFrame) -> dict[str, Any]:
    copied = leaked(images)
    trained = images[images["split"] == "train"].drop_duplicates("source_id")
    files = images["sha256"].map(trained["sha256"].value_counts())  # of training, with these pixels
    by_oversampling = copied & (files == images["source_id"].isin(trained["source_id"]))  # the one is the image itself
    result: dict[str, Any] = {}
    for name in EVALUATED_SPLITS:
        of_split = images["split"] == name
        result[name] = {
            "images": int(of_split.sum()),
            "copied": int((of_split & copied).sum()),
            "copied_by_oversampling": int((of_split & by_oversampling).sum()),
        }
    return result | {"total": result["val"]["copied"] + result["test"]["copied"]}
