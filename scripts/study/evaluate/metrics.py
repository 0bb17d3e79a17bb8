"""Metrics of one run, from the scores of its saved predictions alone.

Entry points:
    evaluate(scores, ece_bins) -> dict                     the content of metrics.json
    in_lines(metrics) -> str                               the same for a log
    reliability(correct, confidence, bins)                 what the expected calibration error adds up
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, f1_score, recall_score

from study.errors import StudyError
from study.evaluate.predictions import classes_of
from study.names import EVALUATED_SPLITS
from study.provenance import only_words


def evaluate(scores: pd.DataFrame, ece_bins: int) -> dict[str, Any]:
    """Metrics per split, in the layout of `metrics.json`.

    Per split: `images`, `accuracy`, `balanced_accuracy` (mean recall), `macro_f1`, `nll` (nats per image), `ece`, and
    by class: `recall`, `class_images` (how many there are), `class_hits` (how many of them are called by its name) and
    `class_guesses` (how many images are).

    A class without an image in a split has recall None and is left out of the split's averages, so that every recipe
    is averaged over the same classes whatever it predicts. What is called by its name is counted all the same.
    Where values are not finite (a diverged run), `nll` and `ece` are None.

    Args:
        scores: see `predictions.Predictions`.
        ece_bins: equal-width bins of the expected calibration error.

    Raises:
        StudyError: a split has no image.
    """
    return {split: _evaluate_split(scores[scores["split"] == split], split, ece_bins) for split in EVALUATED_SPLITS}


@only_words
def in_lines(metrics: Mapping[str, Any]) -> str:
    """A line for each split, for the log."""
    lines = []
    for split, values in metrics.items():
        nll = "not finite" if values["nll"] is None else f"{values['nll']:.4f}"
        lines.append(f"{split}: accuracy {values['accuracy']:.4f}, macro-F1 {values['macro_f1']:.4f}, NLL {nll}")
    return "\n".join(lines)


def _evaluate_split(scores: pd.DataFrame, split: str, ece_bins: int) -> dict[str, Any]:
    if scores.empty:
        raise StudyError(f"predictions: no row with split '{split}'; both {' and '.join(EVALUATED_SPLITS)} are needed")
    classes = classes_of(scores)
    labels, predicted = (scores[name].cat.codes.to_numpy(np.int64) for name in ("label", "predicted"))
    nll, confidence = (scores[name].to_numpy(np.float64) for name in ("nll", "confidence"))
    correct = labels == predicted
    present = np.unique(labels)
    every = np.arange(len(classes))
    recall = recall_score(labels, predicted, labels=every, average=None, zero_division=np.nan)
    counts = {"class_images": labels, "class_hits": labels[correct], "class_guesses": predicted}
    finite = bool(np.isfinite(nll).all() and np.isfinite(confidence).all())
    return {
        "images": len(labels),
        "accuracy": float(accuracy_score(labels, predicted)),
        "balanced_accuracy": float(recall[present].mean()),
        "macro_f1": float(f1_score(labels, predicted, labels=present, average="macro", zero_division=0)),
        "nll": float(nll.mean()) if finite else None,
        "ece": expected_calibration_error(correct, confidence, ece_bins) if finite else None,
        "recall": {
            name: None if np.isnan(value) else float(value) for name, value in zip(classes, recall, strict=True)
        },
        **{
            name: dict(zip(classes, np.bincount(which, minlength=len(classes)).tolist(), strict=True))
            for name, which in counts.items()
        },
    }


def expected_calibration_error(correct: NDArray[np.bool_], confidence: NDArray[np.float64], bins: int) -> float:
    """How far confidence and accuracy lie apart: Σ_b (n_b / N) · |accuracy_b − confidence_b|.

    Images are grouped by the probability of the predicted class into equal-width bins ((b−1)/B, b/B].
    Source: Guo, Pleiss, Sun & Weinberger 2017, On Calibration of Modern Neural Networks, eq. 3 (arXiv 1706.04599).

    Args:
        correct: whether the answer is right, (N,).
        confidence: its probability, (N,).
        bins: number of bins B; the paper uses 15.
    """
    images, accuracy, mean = reliability(correct, confidence, bins)
    filled = images > 0
    return float((images * np.abs(accuracy - mean))[filled].sum() / len(correct))


def reliability(
    correct: NDArray[np.bool_], confidence: NDArray[np.float64], bins: int
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Images, accuracy and mean confidence of each bin of `expected_calibration_error`, each (bins,); nan if empty."""
    bin_of = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    images = np.bincount(bin_of, minlength=bins)
    sums = [np.bincount(bin_of, weights=values, minlength=bins) for values in (correct, confidence)]
    accuracy, mean = (np.divide(total, images, out=np.full(bins, np.nan), where=images > 0) for total in sums)
    return images, accuracy, mean
