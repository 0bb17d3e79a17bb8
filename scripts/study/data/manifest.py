"""manifest.csv, where every source ends: its columns, how it is written and read, and which of its images leak.

Entry points:
    write_manifest(manifest, path), read_manifest(path)    the table as CSV
    read_groups(path), groups_of(manifest)                 the group of every image that has one
    write_rows(table, path)                                any table with a row per image, in little memory
    leaked(images) -> Series                               which evaluated images have a copy in training
    nearly_leaked(images) -> Series                        which of them have a copy there, exact or near

Light, for whoever reads a manifest; `study.data.manifest_building` makes one.
"""

from pathlib import Path

import pandas as pd

from study.files import read_table, table_text
from study.names import EVALUATED_SPLITS

MANIFEST_COLUMNS = (
    *("image_id", "label", "split", "sha256", "duplicate_group", "status", "reason"),
    *("width", "height", "mode", "bit_depth", "original_split", "group", "near_duplicate_group"),
)


ROWS_AT_ONCE = 2**16  # of a table that are Python objects or text at one time


def write_manifest(manifest: pd.DataFrame, path: Path) -> None:
    """Write a manifest as CSV."""
    write_rows(manifest, path)


def write_rows(table: pd.DataFrame, path: Path) -> None:
    """The file that `study.files.write_table` writes, made piece by piece."""
    head = table_text(table.head(0))
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(head)
        for start in range(0, len(table), ROWS_AT_ONCE):
            file.write(table_text(table.iloc[start : start + ROWS_AT_ONCE]).removeprefix(head))


def read_manifest(path: Path) -> pd.DataFrame:
    """Read what `write_manifest` wrote: every cell as text, so that a class may be called "007" or "NA"."""
    return read_table(path)


def read_groups(path: Path) -> pd.Series:
    """The group of every image that is of one, text by image_id; of a manifest of any size little is read."""
    table = pd.read_csv(path, dtype="str", keep_default_na=False, usecols=lambda name: name in ("image_id", "group"))
    return groups_of(table)


def groups_of(manifest: pd.DataFrame) -> pd.Series:
    """The group of every image that is of one, text by image_id."""
    if "group" not in manifest:  # made by a version that knew none
        return pd.Series(dtype="str")
    return manifest[manifest["group"] != ""].set_index("image_id")["group"]


def leaked(images: pd.DataFrame) -> pd.Series:
    """Whether each image is of the split "val" or "test" and has an exact copy in the split "train" (bool).

    Args:
        images: columns sha256 and split, such as a manifest.
    """
    trained = images.loc[(images["split"] == "train") & (images["sha256"] != ""), "sha256"]
    return images["split"].isin(EVALUATED_SPLITS) & images["sha256"].isin(trained)


def nearly_leaked(images: pd.DataFrame) -> pd.Series:
    """Whether each image is of the split "val" or "test" and has a copy in the split "train", exact or near (bool).

    Near is what a chain of near copies joins with a training image.

    Args:
        images: columns sha256, near_duplicate_group and split, such as a manifest.
    """
    near = images["near_duplicate_group"]
    trained = near[(images["split"] == "train") & (near != "")]
    return leaked(images) | (images["split"].isin(EVALUATED_SPLITS) & near.isin(trained))
