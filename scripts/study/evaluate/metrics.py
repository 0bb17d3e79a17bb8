"""Metrics of one run, from its saved predictions alone.

Entry points:
    read_predictions(path) -> DataFrame                    predictions.csv with labels as text
    evaluate(predictions, ece_bins) -> dict                the content of metrics.json
    in_lines(scores) -> str                                the same for a log
    reliability(labels, probabilities, bins)               what the expected calibration error adds up
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, recall_score

from study.errors import StudyError
from study.files import read_table
from study.names import EVALUATED_SPLITS, PROBABILITY
from study.provenance import only_words

# Clipped as scikit-learn's log_loss does: a wrong answer given with certainty costs 36.04 nats, not infinity.
SMALLEST_PROBABILITY = float(np.finfo(np.float64).eps)


def read_predictions(path: str | Path) -> pd.DataFrame:
    """`predictions.csv` with image ids, splits and labels as text: a class may be called "0", "01" or "None".

    Raises:
        StudyError: if a column is missing, or a probability is no number.
    """
    table = read_table(path, text=("image_id", "split", "label"))
    if not class_names(table):
        raise StudyError(
            f"{path}, row 1: missing column {PROBABILITY}<class>; found: {', '.join(map(str, table.columns))}"
        )
    return table


def class_names(predictions: pd.DataFrame) -> list[str]:
    """The classes, in the order of the probability columns `p_<class>`."""
    return [str(name)[len(PROBABILITY) :] for name in predictions.columns if str(name).startswith(PROBABILITY)]


def evaluate(predictions: pd.DataFrame, ece_bins: int) -> dict[str, Any]:
    """Metrics per split, in the layout of `metrics.json`.

    Per split: `images`, `accuracy`, `balanced_accuracy` (mean recall), `macro_f1`, `nll` (nats per image), `ece`,
    `recall` (class -> recall) and `confusion` (rows: true class, columns: predicted class, in the order of `recall`).

    A class without an image in a split has recall None and is left out of the split's averages, so that every recipe
    is averaged over the same classes whatever it predicts. Its column in the confusion matrix stays.
    Where a network's probabilities are not finite (a diverged run), `nll` and `ece` are None.

    Args:
        predictions: columns image_id, split ("val" or "test"), label, and p_<class> for each class.
        ece_bins: equal-width bins of the expected calibration error.

    Raises:
        StudyError: if a label has no probability column, or a split has no image.
    """
    classes = class_names(predictions)
    unknown = sorted(set(predictions["label"].astype(str)) - set(classes))
    if unknown:
        name = unknown[0]
        raise StudyError(
            f"predictions: label '{name}' has no column {PROBABILITY}{name}; allowed: {', '.join(classes)}"
        )
    return {
        split: _evaluate_split(predictions[predictions["split"] == split], split, ece_bins)
        for split in EVALUATED_SPLITS
    }


@only_words
def in_lines(scores: Mapping[str, Any]) -> str:
    """A line for each split, for the log."""
    lines = []
    for split, values in scores.items():
        nll = "not finite" if values["nll"] is None else f"{values['nll']:.4f}"
        lines.append(f"{split}: accuracy {values['accuracy']:.4f}, macro-F1 {values['macro_f1']:.4f}, NLL {nll}")
    return "\n".join(lines)


def _evaluate_split(predictions: pd.DataFrame, split: str, ece_bins: int) -> dict[str, Any]:
    if predictions.empty:
        raise StudyError(f"predictions: no row with split '{split}'; both {' and '.join(EVALUATED_SPLITS)} are needed")
    classes = class_names(predictions)
    labels, predicted, probabilities = decode(predictions)
    present = np.unique(labels)
    every = np.arange(len(classes))
    recall = recall_score(labels, predicted, labels=every, average=None, zero_division=np.nan)
    finite = bool(np.isfinite(probabilities).all())
    return {
        "images": len(labels),
        "accuracy": float(accuracy_score(labels, predicted)),
        "balanced_accuracy": float(recall[present].mean()),
        "macro_f1": float(f1_score(labels, predicted, labels=present, average="macro", zero_division=0)),
        "nll": float(negative_log_likelihood(labels, probabilities).mean()) if finite else None,
        "ece": expected_calibration_error(labels, probabilities, ece_bins) if finite else None,
        "recall": {name: float(recall[k]) if k in present else None for k, name in enumerate(classes)},
        "confusion": confusion_matrix(labels, predicted, labels=every).tolist(),
    }


def decode(predictions: pd.DataFrame) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """True class (N,), predicted class (N,) and probabilities (N, K) of a predictions table.

    The predicted class is the most probable one; equal ones and probabilities that are not numbers fall to the first.
    """
    classes = class_names(predictions)
    labels = pd.Categorical(predictions["label"].astype(str), categories=classes).codes.astype(np.int64)
    probabilities = predictions[[PROBABILITY + name for name in classes]].to_numpy(np.float64)
    predicted = np.nan_to_num(probabilities, nan=-1.0).argmax(axis=1)
    return labels, predicted, probabilities


def negative_log_likelihood(labels: NDArray[np.int64], probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """−ln p of the true class per image, in nats, (N,); p is clipped to at least `SMALLEST_PROBABILITY`."""
    return -np.log(np.clip(probabilities[np.arange(len(labels)), labels], SMALLEST_PROBABILITY, 1.0))


def expected_calibration_error(labels: NDArray[np.int64], probabilities: NDArray[np.float64], bins: int) -> float:
    """How far confidence and accuracy lie apart: Σ_b (n_b / N) · |accuracy_b − confidence_b|.

    Images are grouped by the probability of the predicted class into equal-width bins ((b−1)/B, b/B].
    Source: Guo, Pleiss, Sun & Weinberger 2017, On Calibration of Modern Neural Networks, eq. 3 (arXiv 1706.04599).

    Args:
        labels: true class, (N,).
        probabilities: (N, K), rows sum to 1.
        bins: number of bins B; the paper uses 15.
    """
    images, accuracy, confidence = reliability(labels, probabilities, bins)
    filled = images > 0
    return float((images * np.abs(accuracy - confidence))[filled].sum() / len(labels))


def reliability(
    labels: NDArray[np.int64], probabilities: NDArray[np.float64], bins: int
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Images, accuracy and mean confidence of each bin of `expected_calibration_error`, each (bins,); nan if empty."""
    confidence = probabilities.max(axis=1)
    correct = probabilities.argmax(axis=1) == labels
    bin_of = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    images = np.bincount(bin_of, minlength=bins)
    sums = [np.bincount(bin_of, weights=values, minlength=bins) for values in (correct, confidence)]
    accuracy, mean = (np.divide(total, images, out=np.full(bins, np.nan), where=images > 0) for total in sums)
    return images, accuracy, mean
