"""Predictions of one run: what its network says of every validation and test image, and the file that holds it.

The file is Parquet: a row per image, and beside the columns of `SCORES` a float32 column `log_p_<class>` with the
natural logarithm of the probability of each class. What needs no more than the answers reads them without the K
columns. Entry points:
    Predictions.of(image_ids, splits, labels, log_p, classes) -> Predictions
    write_predictions(predictions, path)                   the same bytes for the same predictions
    read_predictions(path) -> Predictions                  all of it, float32 (N, K) in memory
    read_scores(path) -> DataFrame                         without the log-probabilities, in memory O(N)
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import ArrayLike, NDArray

from study.errors import StudyError
from study.files import write_atomically

LOG_PROBABILITY = "log_p_"
# What is known of an image without the log-probabilities; nll is −log p of its class, confidence that of the answer.
SCORES = ("image_id", "split", "label", "predicted", "nll", "confidence")
TEXT = SCORES[:4]
ROWS = 16_384  # that are written, read and computed with at a time
SHOWN_CLASSES = 20  # in a message


@dataclass(frozen=True, eq=False)
class Predictions:
    """What one network says of N images.

    Attributes:
        scores: one row per image, with the columns `SCORES`: image_id and split as text, label and predicted as
            categories that are the classes, in their order, nll (nats) and confidence (a share) as float32.
        log_p: natural logarithm of the probability of each class, float32 (N, K); not finite where a network diverged.
    """

    scores: pd.DataFrame
    log_p: NDArray[np.float32]

    @property
    def classes(self) -> list[str]:
        """Names in the order of the log-probabilities."""
        return classes_of(self.scores)

    @classmethod
    def of(
        cls,
        image_ids: Sequence[str],
        splits: Sequence[str],
        labels: ArrayLike,
        log_p: NDArray[np.floating],
        classes: Sequence[str],
        predicted: ArrayLike | None = None,
    ) -> "Predictions":
        """From labels as indices of the classes, (N,), and log-probabilities, (N, K).

        Args:
            predicted: the answers as indices, where log_p was rounded after they were known; else the most probable
                class is the answer. Equal ones and values that are not numbers fall to the first.
        """
        labels = np.asarray(labels)
        log_p = np.asarray(log_p, np.float32)
        answers = most_probable(log_p) if predicted is None else np.asarray(predicted)
        rows = np.arange(len(labels))
        scores = pd.DataFrame(
            {
                "image_id": pd.Series(list(image_ids), dtype="str"),
                "split": pd.Series(list(splits), dtype="str"),
                "label": pd.Categorical.from_codes(labels, categories=_index(classes)),
                "predicted": pd.Categorical.from_codes(answers, categories=_index(classes)),
                "nll": -log_p[rows, labels],
                "confidence": np.exp(log_p[rows, answers]),
            }
        )
        return cls(scores, log_p)


def classes_of(scores: pd.DataFrame) -> list[str]:
    """All classes of a table of scores, in their order."""
    return list(scores["label"].cat.categories)


def most_probable(log_p: NDArray[np.floating]) -> NDArray[np.int64]:
    """Index of the largest value of each row, (N,); equal ones and values that are not numbers fall to the first."""
    answers = np.empty(len(log_p), np.int64)
    for rows in blocks(len(log_p)):
        answers[rows] = np.nan_to_num(log_p[rows], nan=-np.inf, neginf=-np.inf).argmax(axis=1)
    return answers


def blocks(rows: int) -> Iterator[slice]:
    """Slices of `ROWS` rows, the last one shorter, for arithmetic in float64 that need not hold all rows."""
    return (slice(start, min(start + ROWS, rows)) for start in range(0, rows, ROWS))


def write_predictions(predictions: Predictions, path: Path) -> None:
    """Write the file whole or not at all."""
    write_atomically(path, predictions_bytes(predictions))


def predictions_bytes(predictions: Predictions) -> memoryview:
    """The bytes of the file: the same for the same predictions and version of pyarrow, wherever it is written."""
    scores, log_p = predictions.scores, predictions.log_p
    text = [pa.array(scores[name].astype(object), pa.string()) for name in TEXT]
    numbers = [pa.array(scores[name].to_numpy(np.float32)) for name in SCORES[len(TEXT) :]]
    names = [LOG_PROBABILITY + name for name in predictions.classes]
    values = [pa.array(log_p[:, k]) for k in range(log_p.shape[1])]
    table = pa.Table.from_arrays([*text, *numbers, *values], names=[*SCORES, *names])
    sink = pa.BufferOutputStream()
    pq.write_table(
        table,
        sink,
        row_group_size=ROWS,
        compression="zstd",
        use_dictionary=list(TEXT[1:]),
        use_byte_stream_split=[*SCORES[len(TEXT) :], *names],
        write_statistics=False,
        store_schema=False,
    )
    return memoryview(sink.getvalue()).cast("B")


def read_predictions(path: str | Path) -> Predictions:
    """What `write_predictions` wrote.

    Raises:
        StudyError: not Parquet, a column is missing, or a label or an answer without a column of its own.
        FileNotFoundError: there is no such file.
    """
    with Path(path).open("rb") as raw:
        file = _opened(raw, path)
        classes = _classes(file, path)
        scores = _scores(file, path, classes)
        # A class's values lie together, as they do in the file.
        log_p = np.empty((len(classes), file.metadata.num_rows), np.float32)
        start = 0
        for group in range(file.metadata.num_row_groups):
            table = file.read_row_group(group, columns=[LOG_PROBABILITY + name for name in classes])
            for row, column in zip(log_p, table.itercolumns(), strict=True):
                row[start : start + table.num_rows] = column.to_numpy()
            start += table.num_rows
    return Predictions(scores, log_p.T)


def read_scores(path: str | Path) -> pd.DataFrame:
    """The columns `SCORES` alone, as `Predictions.scores` has them.

    Raises:
        StudyError, FileNotFoundError: as `read_predictions`.
    """
    with Path(path).open("rb") as raw:
        file = _opened(raw, path)
        return _scores(file, path, _classes(file, path))


def _opened(raw: object, path: str | Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(raw)
    except pa.ArrowException as error:
        reason = " ".join(str(error).split())
        raise StudyError(f"{path}: not readable as Parquet ({reason}); evaluate the run again") from None


def _classes(file: pq.ParquetFile, path: str | Path) -> list[str]:
    """The classes, in the order of their columns, once all columns are known to be there."""
    names = file.schema_arrow.names
    classes = [name.removeprefix(LOG_PROBABILITY) for name in names if name.startswith(LOG_PROBABILITY)]
    missing = [name for name in SCORES if name not in names] or ([] if classes else [f"{LOG_PROBABILITY}<class>"])
    if missing:
        raise StudyError(f"{path}: missing column {', '.join(missing)}; found: {_some(names)}")
    return classes


def _scores(file: pq.ParquetFile, path: str | Path, classes: Sequence[str]) -> pd.DataFrame:
    try:
        table = file.read(columns=list(SCORES))
    except (pa.ArrowException, OSError) as error:
        reason = " ".join(str(error).split())
        raise StudyError(f"{path}: not readable as Parquet ({reason}); evaluate the run again") from None
    columns = {name: table[name].to_pandas() for name in SCORES}
    place = {one: k for k, one in enumerate(classes)}
    for name in ("label", "predicted"):
        found = table[name].combine_chunks().dictionary_encode()
        if unknown := [value for value in found.dictionary.to_pylist() if value not in place]:
            row = 1 + table[name].to_pylist().index(unknown[0])
            raise StudyError(
                f"{path}, row {row}: {name} '{unknown[0]}' has no column {LOG_PROBABILITY}{unknown[0]}; "
                f"allowed: {_some(classes)}"
            )
        codes = np.array([place[value] for value in found.dictionary.to_pylist()], np.int64)[found.indices.to_numpy()]
        columns[name] = pd.Categorical.from_codes(codes, categories=_index(classes))
    return pd.DataFrame(columns)


def _index(classes: Sequence[str]) -> pd.Index:
    return pd.Index(list(classes), dtype=object)


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN_CLASSES} more" if len(names) > SHOWN_CLASSES else ""
    return ", ".join(map(str, names[:SHOWN_CLASSES])) + more
