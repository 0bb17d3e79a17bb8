"""manifest.csv, where every source ends: its columns, how it is written and read, and which of its images leak.

Light, for whoever reads a manifest; `study.data.manifest_building` makes one.
"""

from pathlib import Path

import pandas as pd

from study.files import read_table, write_table
from study.names import EVALUATED_SPLITS

MANIFEST_COLUMNS = (
    *("image_id", "label", "split", "sha256", "duplicate_group", "status", "reason"),
    *("width", "height", "mode", "bit_depth", "original_split"),
)


def write_manifest(manifest: pd.DataFrame, path: Path) -> None:
    """Write a manifest as CSV."""
    write_table(manifest, path)


def read_manifest(path: Path) -> pd.DataFrame:
    """Read what `write_manifest` wrote: every cell as text, so that a class may be called "007" or "NA"."""
    return read_table(path)


def leaked(images: pd.DataFrame) -> pd.Series:
    """Whether each image is of the split "val" or "test" and has an exact copy in the split "train" (bool).

    Args:
        images: columns sha256 and split, such as a manifest.
    """
    trained = set(images.loc[images["split"] == "train", "sha256"]) - {""}
    return images["split"].isin(EVALUATED_SPLITS) & images["sha256"].isin(trained)
