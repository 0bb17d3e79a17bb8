"""Intervals, paired tests and corrections for scores on one set of images.

All of them speak of the trained networks at hand on further images of the same kind. How much another seed of the
same recipe would differ is a question of its own, answered by several seeds.

Entry points:
    wilson_interval(correct, images, confidence) -> (low, high)
    mean_interval(values, confidence) -> (low, high)       over seeds
    mcnemar(correct_a, correct_b) -> p                     exact, paired
    holm(p_values) -> adjusted p values
    draw_counts(images, samples, seed)                     how often each image is drawn, shared by all runs
    resampled_scores(labels, predicted, nll, classes, counts) -> {metric: (samples,)}
    over_seeds_and_images(scores, seed) -> (samples,)      bootstrap over seeds × images
    percentile_interval(values, confidence) -> (low, high)
    level(confidence) -> str                               "95%", "99.9%"
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.stats import t
from statsmodels.stats.contingency_tables import mcnemar as _mcnemar
from statsmodels.stats.proportion import proportion_confint

SAMPLES_AT_A_TIME = 64  # bootstrap samples that are scored together: 50,000 images are 13 MB of float32
RESAMPLED = ("accuracy", "balanced_accuracy", "macro_f1", "nll")


def wilson_interval(correct: int, images: int, confidence: float) -> tuple[float, float]:
    """Interval of an accuracy, `correct` of `images` images.

    Source: Wilson 1927, JASA 22:209–212; statsmodels' `proportion_confint(method="wilson")`.
    Unlike the normal interval it stays within 0 and 1 and holds near both ends and for few images.
    """
    low, high = proportion_confint(correct, images, alpha=1 - confidence, method="wilson")
    return float(low), float(high)


def mean_interval(values: Sequence[float], confidence: float) -> tuple[float, float]:
    """Interval of the mean over seeds; (nan, nan) for a single seed, which says nothing about the spread.

    Source: Student 1908, Biometrika 6:1–25; `scipy.stats.t`. With two or three seeds it is wide, and rightly so.
    """
    if len(values) < 2:
        return math.nan, math.nan
    half = t.ppf((1 + confidence) / 2, len(values) - 1) * np.std(values, ddof=1) / math.sqrt(len(values))
    return float(np.mean(values) - half), float(np.mean(values) + half)


def mcnemar(correct_a: NDArray[np.bool_], correct_b: NDArray[np.bool_]) -> float:
    """Two-sided p value of "both recipes are right equally often", from the images that exactly one of them gets right.

    Source: McNemar 1947, Psychometrika 12:153–157, in its exact (binomial) form; statsmodels' `mcnemar(exact=True)`.

    Args:
        correct_a, correct_b: whether each image was classified correctly, (N,), the same images in the same order.
    """
    only_a = int(np.sum(correct_a & ~correct_b))
    only_b = int(np.sum(~correct_a & correct_b))
    return float(_mcnemar([[0, only_a], [only_b, 0]], exact=True).pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """p values adjusted so that the chance of any false difference among them stays at the stated level.

    Source: Holm 1979, Scandinavian Journal of Statistics 6:65–70. Not statsmodels' `multipletests`, which collects the
    garbage of the whole process at every call: most of the time of a comparison of hundreds of recipes.
    """
    p = np.asarray(p_values, float)
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1)
    return adjusted.tolist()


def draw_counts(images: int, samples: int, seed: int) -> NDArray[np.uint8]:
    """How often each image is drawn in each bootstrap sample, (samples, images); every row sums to `images`.

    Scoring every run on the same rows makes differences between runs paired. One byte counts to 255, and an image is
    drawn as often as 20 times in one of 10^18 samples: 2,000 samples of 50,000 images are 100 MB.
    """
    generator = np.random.default_rng(seed)
    counts = np.empty((samples, images), np.uint8)
    for row in counts:
        row[:] = np.bincount(generator.integers(images, size=images), minlength=images)
    return counts


def resampled_scores(
    labels: NDArray[np.int64],
    predicted: NDArray[np.int64],
    nll: NDArray[np.float64],
    classes: int,
    counts: NDArray[np.uint8],
) -> dict[str, NDArray[np.float64]]:
    """Accuracy, balanced accuracy, macro-F1 and mean NLL of each bootstrap sample, each (samples,).

    Defined as in `metrics.evaluate`: a class that a sample holds no image of is left out of its averages.
    It takes time and memory linear in the number of classes: a sample needs each class's images, hits and guesses.
    Source: Efron & Tibshirani 1993, An Introduction to the Bootstrap, chapter 13; images are the resampled units.

    Args:
        labels, predicted: class indices, (images,).
        nll: −ln p of the true class, (images,); not finite where a network diverged.
        classes: number of classes K.
        counts: what `draw_counts` returned.
    """
    images, correct = len(labels), np.flatnonzero(labels == predicted)
    every = np.arange(images)
    column = np.concatenate([labels, classes + predicted, 2 * classes + labels[correct]])
    row = np.concatenate([every, every, correct])
    cells = csr_array((np.ones(len(row), np.float32), (row, column)), shape=(images, 3 * classes))
    scores = np.empty((len(RESAMPLED), len(counts)))
    for start in range(0, len(counts), SAMPLES_AT_A_TIME):
        block = slice(start, start + SAMPLES_AT_A_TIME)
        drawn = counts[block].astype(np.float32)  # counts to 2^24 exactly
        true, guessed, hits = np.split(np.asarray(drawn @ cells, np.float64), 3, axis=1)
        present = true > 0
        recall = np.divide(hits, true, out=np.zeros_like(hits), where=present)
        f1 = np.divide(2 * hits, true + guessed, out=np.zeros_like(hits), where=present)
        of_present = present.sum(axis=1)
        scores[:, block] = (
            hits.sum(axis=1) / images,
            recall.sum(axis=1) / of_present,
            f1.sum(axis=1) / of_present,
            (drawn @ nll) / images,
        )
    return dict(zip(RESAMPLED, scores, strict=True))


def over_seeds_and_images(scores: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    """Bootstrap values of a mean over seeds, with seeds and images both drawn again, (samples,).

    Source: Owen 2007, The pigeonhole bootstrap, Annals of Applied Statistics 1:386–411: in a crossed design the rows
    and the columns are resampled independently. It errs on the wide side.

    Args:
        scores: one row per seed, from `resampled_scores` with the same counts for all, (seeds, samples).
        seed: of the draws of seeds. A single row comes back as it is.
    """
    seeds, samples = scores.shape
    drawn = np.random.default_rng(seed).integers(seeds, size=(seeds, samples))
    return np.asarray(np.take_along_axis(scores, drawn, axis=0).mean(axis=0))


def percentile_interval(values: NDArray[np.float64], confidence: float) -> tuple[float, float]:
    """The central `confidence` share of bootstrap values; (nan, nan) where they are not numbers."""
    low, high = np.quantile(values, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def level(confidence: float) -> str:
    """The level of intervals in words, with all its digits: "95%", "99.9%"."""
    return f"{100 * confidence:.10g}%"
