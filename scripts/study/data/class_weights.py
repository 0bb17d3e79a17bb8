"""Weights of the classes in the loss, from their counts alone: no torch needed."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from study.errors import StudyError

CLASS_WEIGHT_SCHEMES = ("none", "complement", "balanced", "effective_number")


def class_weights(counts: Sequence[int], scheme: str, beta: float) -> np.ndarray:
    """Weight of each class in the loss.

    Args:
        counts: training images n_c of each of the K classes, each at least 1; N is their sum.
        scheme: "none", all ones;
            "complement", 1 − n_c / N, the study's;
            "balanced", N / (K n_c), scikit-learn's `compute_class_weight`;
            "effective_number", (1 − β) / (1 − β^n_c) scaled to sum to K (Cui et al. 2019, CVPR, equation 2 and
            section 4.1).
        beta: β of "effective_number", from 0 to below 1.

    Returns:
        float64 (K,)

    Raises:
        StudyError: on an unknown scheme, an empty class or a beta out of range.
    """
    n = np.asarray(counts, dtype=np.float64)
    if n.size == 0 or (n < 1).any():
        raise StudyError(f"class weights: the training images per class are {list(counts)}, allowed is at least 1 each")
    if scheme == "none":
        return np.ones_like(n)
    if scheme == "complement":
        return 1 - n / n.sum()
    if scheme == "balanced":
        return n.sum() / (n.size * n)
    if scheme == "effective_number":
        if not 0 <= beta < 1:
            raise StudyError(f"config key 'loss.effective_number_beta': found {beta}, allowed is from 0 to below 1")
        weights = (1 - beta) / (1 - beta**n)
        return weights * n.size / weights.sum()
    raise StudyError(
        f"config key 'loss.class_weights': found '{scheme}', allowed is one of {', '.join(CLASS_WEIGHT_SCHEMES)}"
    )


def read_class_weights(path: Path) -> pd.DataFrame:
    """What rule class_weights wrote: columns class (text, also for "007" or "NA"), count, weight."""
    return pd.read_csv(path, dtype={"class": str}, keep_default_na=False)
