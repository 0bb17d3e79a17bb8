"""Weights of the classes in the loss, from their counts alone: no torch needed.

Entry points:
    class_weights(counts, scheme, beta) -> array           by the scheme of that name
    weights_of(recipe, counts) -> array                    those of a recipe
    read_class_weights(path) -> DataFrame                  class_weights.csv
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from study.errors import StudyError
from study.files import read_table
from study.recipe import Recipe


def none(n: np.ndarray, beta: float) -> np.ndarray:
    """All ones."""
    return np.ones_like(n)


def complement(n: np.ndarray, beta: float) -> np.ndarray:
    """1 − n_c / N, the original study's."""
    return 1 - n / n.sum()


def balanced(n: np.ndarray, beta: float) -> np.ndarray:
    """N / (K n_c), scikit-learn's `compute_class_weight`."""
    return n.sum() / (n.size * n)


def sqrt_inverse(n: np.ndarray, beta: float) -> np.ndarray:
    """√(N / (K n_c)), the square root of `balanced`; Ultralytics' `cls_pw` of 0.5 up to scale."""
    return np.sqrt(balanced(n, beta))


def effective_number(n: np.ndarray, beta: float) -> np.ndarray:
    """(1 − β) / (1 − β^n_c) scaled to sum to K (Cui et al. 2019, CVPR, equation 2 and section 4.1)."""
    weights = (1 - beta) / (1 - beta**n)
    return weights * n.size / weights.sum()


# By the values of `loss.class_weights`. Takes the training images n_c of each of the K classes (N is their sum),
# float64 (K,), and `loss.effective_number_beta`; gives float64 (K,).
CLASS_WEIGHT_SCHEMES: dict[str, Callable[[np.ndarray, float], np.ndarray]] = {
    "none": none,
    "complement": complement,
    "balanced": balanced,
    "sqrt_inverse": sqrt_inverse,
    "effective_number": effective_number,
}


def class_weights(counts: Sequence[int], scheme: str, beta: float) -> np.ndarray:
    """Weight of each class in the loss.

    Args:
        counts: training images of each of the K classes, each at least 1.
        scheme: a name in CLASS_WEIGHT_SCHEMES.
        beta: of the scheme "effective_number".

    Returns:
        float64 (K,)

    Raises:
        StudyError: an empty class, or weights that are not finite or all zero.
    """
    n = np.asarray(counts, dtype=np.float64)
    if n.size == 0 or (n < 1).any():
        raise StudyError(f"class weights: the training images per class are {list(counts)}, allowed is at least 1 each")
    with np.errstate(all="ignore"):
        weights = CLASS_WEIGHT_SCHEMES[scheme](n, beta)
    if not np.isfinite(weights).all() or not weights.any():
        raise StudyError(
            f"class weights: 'loss.class_weights: {scheme}' gives {weights.tolist()} for {list(counts)} training "
            "images, allowed are finite weights, not all of them 0; choose another scheme, or another "
            "'loss.effective_number_beta'"
        )
    return weights


def weights_of(recipe: Recipe, counts: Sequence[int]) -> np.ndarray:
    """Weights of the classes in the loss of a recipe, float64 (K,), from the training images of each."""
    return class_weights(counts, recipe["loss.class_weights"], recipe["loss.effective_number_beta"])


def read_class_weights(path: Path) -> pd.DataFrame:
    """What rule class_weights wrote: columns class (text, also for "007" or "NA"), count, weight."""
    return read_table(path, text=("class",))
