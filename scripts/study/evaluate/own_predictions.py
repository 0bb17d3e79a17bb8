"""Predictions of somebody else's network, read from a file and checked against the images of the study.

A CSV (.tsv with tabs) or Parquet file with a row per image: `image_id`, as manifest.csv has it, and a column per class
with its probability, named as the class, `p_<class>`, or `log_p_<class>` for its natural logarithm (the form of
predictions.parquet). A column `seed`, if there is one, says which rows are of which seed. Nothing is scaled or
clipped: what is written is what the file says. Entry points:
    read(path, images, seed) -> Imported
    Imported.record() -> dict                              what metrics.json says of the file, under `KEY`
    record_of(metrics) -> dict                             what stands in the place of a run.json
    source(metrics) -> (path, seed)                        the same for two runs of the same predictions
    reason(metrics) -> str                                 the sentence about it
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from study.data.packed import PackedData
from study.elsewhere import IMPORTED
from study.errors import StudyError
from study.evaluate.predictions import LOG_PROBABILITY, Predictions, blocks, most_probable
from study.files import file_sha256
from study.names import COLLAPSED, EVALUATED_SPLITS, PROBABILITY

KEY = "file"  # in metrics.json
TOLERANCE = 1e-3  # of the sum of an image's probabilities: four digits each, and some classes
FORMS = (LOG_PROBABILITY, PROBABILITY, "")  # what stands before the name of a class
SHOWN = 3  # of many images or columns, in a message


@dataclass(frozen=True)
class Images:
    """The images of a study.

    Attributes:
        classes: names, in their order.
        ids: split -> N image ids, of validation and test at least.
        labels: split -> int64 (N,), indices of the classes.
        known: every image id of the manifest, kept or not: rows with others are refused.
        digest: of the packed images.
    """

    classes: Sequence[str]
    ids: Mapping[str, Sequence[str]]
    labels: Mapping[str, NDArray[np.int64]]
    known: Sequence[str]
    digest: str

    @classmethod
    def of(cls, data: PackedData, manifest: pd.DataFrame) -> "Images":
        """Those of a study.

        Args:
            manifest: as `read_manifest` gives it.
        """
        return cls(data.classes, data.image_ids, data.labels, list(manifest["image_id"]), data.digest)


@dataclass(frozen=True, eq=False)
class Imported:
    """Predictions from a file.

    Attributes:
        predictions: of the validation images, then of the test images, in their packed order.
        path: of the file.
        digest: of the packed images.
        left_out: rows of images that are of neither split (training images, images that the audit dropped).
        seed: of the rows, where the file says it; None if they count for every seed.
    """

    predictions: Predictions
    path: Path
    digest: str
    left_out: int
    seed: int | None

    @property
    def only_class(self) -> str | None:
        """The class that every validation image is called by; None if there are several."""
        scores = self.predictions.scores
        said = scores.loc[scores["split"] == "val", "predicted"].unique()
        return str(said[0]) if len(said) == 1 else None

    def record(self) -> dict[str, Any]:
        """What metrics.json has under `KEY`: the file with its SHA-256, the images, and what was found."""
        return {
            "path": str(self.path),
            "sha256": file_sha256(self.path),
            "seed": self.seed,
            "data": self.digest,
            "left_out": self.left_out,
            "only_class": self.only_class,
        }

    def in_words(self) -> str:
        """A line for the log."""
        zero = np.isinf(self.predictions.scores["nll"]).sum()
        said = [f"{self.path}: {len(self.predictions.scores):,} validation and test images"]
        if self.left_out:
            said.append(f"{self.left_out:,} rows of other images of the study are left out")
        if zero:
            said.append(f"{zero:,} images have probability 0 for their class, so the NLL is not finite")
        return "; ".join(said)


def record_of(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """What stands in the place of the run.json of a training: the outcome; all else is not known.

    Args:
        metrics: the content of metrics.json.
    """
    numbers = dict.fromkeys(("seconds", "images_per_second", "peak_memory_bytes", "parameters"), math.nan)
    unknown = dict.fromkeys(("epochs", "best_epoch", "max_epochs", "precision"))
    return {"outcome": COLLAPSED if metrics[KEY]["only_class"] else IMPORTED, **unknown, **numbers}


def source(metrics: Mapping[str, Any]) -> tuple[str, int | None]:
    """The file and the seed that it has the predictions for: the same for two runs of the same predictions.

    Args:
        metrics: the content of metrics.json.
    """
    return metrics[KEY]["path"], metrics[KEY]["seed"]


def reason(metrics: Mapping[str, Any]) -> str:
    """The sentence about a run whose predictions come from a file.

    Args:
        metrics: the content of metrics.json.
    """
    made = metrics[KEY]
    only = f" Predicts '{made['only_class']}' for every validation image." if made["only_class"] else ""
    return (
        f"Predictions read from {made['path']}: nothing is known here of how they were made, who chose them, and on "
        f"which images.{only}"
    )


def read(path: Path, images: Images, seed: int) -> Imported:
    """The predictions of a file for the validation and test images.

    Args:
        seed: of the study; the rows of a column `seed` with another one are not looked at.

    Raises:
        StudyError: the file is not readable, an image is missing, unknown or there twice, a class has no column or a
            column no class, or a row's values are no probabilities.
    """
    names = _columns(path)
    form = _form(path, names, images.classes)
    table = _table(path, ["image_id", *["seed"] * ("seed" in names), *(form + name for name in images.classes)])
    table["row"] = np.arange(len(table)) + (1 if _parquet(path) else 2)  # as the file counts: a CSV has a header
    if "seed" in names:
        table = _of_seed(path, table, seed)
    wanted = [image_id for split in EVALUATED_SPLITS for image_id in images.ids[split]]
    place, left_out = _rows(path, table, wanted, images.known)
    rows = table.iloc[place]
    values = _numbers(path, rows, [form + name for name in images.classes])
    log_p = _log_probabilities(path, rows, values, form, images.classes)
    predictions = Predictions.of(
        wanted,
        [split for split in EVALUATED_SPLITS for _ in images.ids[split]],
        np.concatenate([images.labels[split] for split in EVALUATED_SPLITS]),
        log_p.astype(np.float32),
        images.classes,
        most_probable(log_p),
    )
    return Imported(predictions, path, images.digest, left_out, seed if "seed" in names else None)


def _parquet(path: Path) -> bool:
    return path.suffix == ".parquet"


def _separator(path: Path) -> str:
    return "\t" if path.suffix == ".tsv" else ","


def _columns(path: Path) -> list[str]:
    """The names of the columns, once there is an image_id."""
    try:
        if _parquet(path):
            names = list(pq.read_schema(path).names)
        else:
            head = pd.read_csv(path, sep=_separator(path), dtype=str, nrows=1, header=None, keep_default_na=False)
            names = [str(name) for name in head.iloc[0]]
    except (OSError, ValueError, pa.ArrowException) as error:
        raise _unreadable(path, error) from None
    for name in ("image_id", *names):
        if names.count(name) != 1:
            how = "missing" if name not in names else "there twice"
            raise StudyError(f"{path}, row 1: the column {name} is {how}, allowed is once; found: {_some(names)}")
    return names


def _unreadable(path: Path, error: Exception) -> StudyError:
    kind = "Parquet" if _parquet(path) else "a table of text in UTF-8"
    return StudyError(f"{path}: not readable as {kind} ({' '.join(str(error).split())}); write the file anew")


def _form(path: Path, names: Sequence[str], classes: Sequence[str]) -> str:
    """What stands before the names of the classes: the form of which every class has a column."""
    there = {form: [name for name in classes if form + name in names] for form in FORMS}
    form = max(FORMS, key=lambda form: len(there[form]))  # of equal ones the first
    missing = [form + name for name in classes if name not in there[form]]
    if missing:
        raise StudyError(
            f"{path}, row 1: {len(missing)} of {len(classes)} classes have no column ({_some(missing)}); found: "
            f"{_some(names)}; allowed are columns named as the classes of the study, or p_ or log_p_ before each name"
        )
    prefixed = [name for name in names if form and name.startswith(form)]
    if strange := [name for name in prefixed if name.removeprefix(form) not in classes]:
        raise StudyError(
            f"{path}, row 1: the column {strange[0]} is of no class of the study; allowed: {_some(list(classes))}; "
            "predict these classes, or leave the others out and let the rest sum to 1"
        )
    return form


def _table(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """Some columns; image_id and seed as text."""
    text = [name for name in columns if name in ("image_id", "seed")]
    try:
        if _parquet(path):
            table = pd.read_parquet(path, columns=list(columns))
            for name in text:
                table[name] = ["" if pd.isna(value) else str(value) for value in table[name].to_numpy(object)]
            return table
        return pd.read_csv(
            path,
            sep=_separator(path),
            usecols=list(columns),
            dtype=dict.fromkeys(text, "str"),
            keep_default_na=False,
            skip_blank_lines=False,
            low_memory=False,
        )
    except (OSError, ValueError, pa.ArrowException) as error:
        raise _unreadable(path, error) from None


def _of_seed(path: Path, table: pd.DataFrame, seed: int) -> pd.DataFrame:
    mine = table[table["seed"].str.strip() == str(seed)]
    if mine.empty:
        found = _some(list(dict.fromkeys(table["seed"]))) or "none"
        raise StudyError(
            f"{path}, column 'seed': found {found}, allowed is every seed of the study, among them {seed}; without "
            "the column the predictions count for every seed"
        )
    return mine


def _rows(
    path: Path, table: pd.DataFrame, wanted: Sequence[str], known: Sequence[str]
) -> tuple[NDArray[np.int64], int]:
    """The row of every image that is wanted, (N,), and how many are of other images of the study."""
    ids = pd.Index(table["image_id"], dtype=object)
    example = f"the study's are named as in data/manifest.csv, such as {wanted[0]}"
    if (twice := ids.duplicated()).any():
        first = ids[twice][0]
        rows = ", ".join(map(str, table["row"][ids == first]))
        raise StudyError(
            f"{path}, rows {rows}: {int(twice.sum())} rows are of an image that has one already, the first {first!r}; "
            "allowed is one row per image (for several seeds a column 'seed', or {seed} in the path)"
        )
    strange = table[~ids.isin(pd.Index(known, dtype=object))]
    if len(strange):
        raise StudyError(
            f"{path}, row {strange['row'].iloc[0]}: {len(strange):,} image ids are unknown "
            f"({_some(list(strange['image_id']), SHOWN)}); {example}; take the rows out, or name the images so"
        )
    place = ids.get_indexer(pd.Index(wanted, dtype=object))
    if (absent := place < 0).any():
        names = [image_id for image_id, missing in zip(wanted, absent, strict=True) if missing]
        raise StudyError(
            f"{path}: {len(names):,} of {len(wanted):,} validation and test images have no row "
            f"({_some(names, SHOWN)}); allowed is one for each, as all recipes are compared on the same images"
        )
    return place, len(ids) - len(wanted)


def _numbers(path: Path, rows: pd.DataFrame, columns: Sequence[str]) -> NDArray[np.float64]:
    """The values as float64 (N, K)."""
    for name in columns:
        if not pd.api.types.is_numeric_dtype(rows[name]) or pd.api.types.is_bool_dtype(rows[name]):
            wrong = pd.to_numeric(rows[name].astype(str), errors="coerce").isna().to_numpy()
            if wrong.any():
                raise _no_probability(path, rows, int(wrong.argmax()), name, repr(rows[name].iloc[wrong.argmax()]))
    return np.column_stack([pd.to_numeric(rows[name].astype(object), errors="coerce") for name in columns]).astype(
        np.float64
    )


def _no_probability(path: Path, rows: pd.DataFrame, at: int, column: str, found: str) -> StudyError:
    logarithm = column.startswith(LOG_PROBABILITY)
    allowed = "the natural logarithm of a probability" if logarithm else "a probability from 0 to 1"
    how = "" if logarithm else " (for logarithms name the columns log_p_<class>)"
    return StudyError(
        f"{path}, row {rows['row'].iloc[at]} (image {rows['image_id'].iloc[at]}), column '{column}': found {found}, "
        f"allowed is {allowed}{how}"
    )


def _log_probabilities(
    path: Path, rows: pd.DataFrame, values: NDArray[np.float64], form: str, classes: Sequence[str]
) -> NDArray[np.float64]:
    """Natural logarithms of probabilities that are finite, not negative, and sum to 1 within `TOLERANCE`, (N, K)."""
    logarithms = form == LOG_PROBABILITY
    log_p = values if logarithms else np.empty_like(values)
    for some in blocks(len(values)):
        block = values[some]
        wrong = np.isnan(block) | (block > TOLERANCE if logarithms else ~np.isfinite(block) | (block < 0))
        if wrong.any():
            at, k = np.argwhere(wrong)[0]
            raise _no_probability(path, rows, some.start + int(at), form + classes[k], f"{block[at, k]:g}")
        p = np.exp(block) if logarithms else block
        sums = p.sum(axis=1)
        if (off := np.abs(sums - 1) > TOLERANCE).any():
            at = int(off.argmax())
            row = rows.iloc[some.start + at]
            raise StudyError(
                f"{path}, row {row['row']} (image {row['image_id']}): the probabilities of the {len(classes)} classes "
                f"sum to {sums[at]:.6g}, allowed is 1 within {TOLERANCE:g} ({int(off.sum())} rows like it among "
                f"{len(block):,}); write the softmax of the network"
            )
        if not logarithms:
            with np.errstate(divide="ignore"):
                log_p[some] = np.log(block)
    return log_p


def _some(names: Sequence[str], most: int = 20) -> str:
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(map(str, names[:most])) + more
