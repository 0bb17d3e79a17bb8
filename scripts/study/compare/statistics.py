"""Intervals, paired tests and corrections for scores on one set of images.

All of them speak of the trained networks at hand on further images of the same kind. How much another seed of the
same recipe would differ is a question of its own, answered by several seeds.

Images of one group (a patient, an object, a place) are alike, so they are less than as many independent ones: where
there are groups, these are the units that are drawn again, flipped and counted. `units` says which image is of which:
(N,) numbers from 0, or None where every image is by itself. How often intervals miss and tests err is in
docs/STATISTICS.md.

Entry points:
    units_of(image_ids, groups) -> (N,) or None            which images are of one unit
    wilson_interval(correct, images, confidence) -> (low, high)
    accuracy_interval(correct, units, confidence)          the same, of as many images as the units are worth
    effective_images(correct, units, confidence)           how many that is
    mean_interval(values, confidence) -> (low, high)       over seeds
    with_seeds(interval, of_seeds, confidence)             an interval over images, wider by what seeds vary
    mcnemar(correct_a, correct_b) -> p                     exact, paired
    sign_flip(differences) -> p                            exact, paired, of units
    paired_test(correct_a, correct_b, units) -> p          the one of the two that fits
    holm(p_values) -> adjusted p values
    draw_counts(images, samples, seed, units)              how often each image is drawn, shared by all runs
    resampled_scores(labels, predicted, nll, classes, counts) -> {metric: (samples,)}
    percentile_interval(values, confidence) -> (low, high)
    bootstrap_interval(of_seeds, resampled, confidence)    of a mean over seeds, for further images and seeds
    level(confidence) -> str                               "95%", "99.9%"
"""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.stats import binom, t
from statsmodels.stats.contingency_tables import mcnemar as _mcnemar
from statsmodels.stats.proportion import proportion_confint

SAMPLES_AT_A_TIME = 64  # bootstrap samples that are scored together: 50,000 images are 13 MB of float32
RESAMPLED = ("accuracy", "balanced_accuracy", "macro_f1", "nll")
NEGLIGIBLE = 1e-100  # a probability that adds nothing to a sum

Units = NDArray[np.int64]


def units_of(image_ids: NDArray[np.str_], groups: pd.Series | None) -> Units | None:
    """The unit of each image, (N,) numbers from 0; None if every image is by itself.

    Args:
        image_ids: (N,) text.
        groups: the group of every image that is of one, by image_id; None for no groups.
    """
    if groups is None or groups.empty:
        return None
    of_image = groups.reindex(image_ids)
    alone = of_image.isna().to_numpy()
    codes, names = pd.factorize(of_image)
    units = np.where(alone, len(names) + np.cumsum(alone) - 1, codes)
    return units if units.max() + 1 < len(units) else None


def wilson_interval(correct: float, images: float, confidence: float) -> tuple[float, float]:
    """Interval of an accuracy, `correct` of `images` images.

    Source: Wilson 1927, JASA 22:209–212; statsmodels' `proportion_confint(method="wilson")`.
    Unlike the normal interval it stays within 0 and 1 and holds near both ends and for few images.
    """
    low, high = proportion_confint(correct, images, alpha=1 - confidence, method="wilson")
    return float(low), float(high)


def accuracy_interval(
    correct: NDArray[np.bool_] | NDArray[np.float64], units: Units | None, confidence: float
) -> tuple[float, float]:
    """Wilson's interval of an accuracy, with as many images as the units are worth.

    Source: Franco, Little, Louis & Slud 2019, Journal of Survey Statistics and Methodology 7:334–364, who compare such
    intervals: Wilson's with the effective number of images is among those that cover what they say.

    Args:
        correct: whether each image was classified correctly, or the share of seeds that did, (N,).
    """
    if units is None:
        return wilson_interval(correct.sum(), len(correct), confidence)
    images = effective_images(correct, units, confidence)
    return wilson_interval(float(correct.mean()) * images, images, confidence)


def effective_images(correct: NDArray[np.bool_] | NDArray[np.float64], units: Units, confidence: float) -> float:
    """How many independent images tell as much about an accuracy as these do, which are alike within their units.

    The images N by the design effect (Kish 1965, Survey Sampling): the variance of the accuracy between units beside
    that of independent images. The former is the jackknife's that leaves out a unit at a time (Wolter 2007,
    Introduction to Variance Estimation, chapter 4), (G − 1)/G · Σ_g (p_g − p)², p_g the accuracy without unit g. As
    units estimate it, the number is lowered by the square of Student's critical value of N − 1 over that of as many
    degrees of freedom as the units have, and it is N at most (Korn & Graubard 1998, Survey Methodology 24:193–201);
    units of unequal sizes n_g count as N²/Σ n_g² of one size (Carter, Schnepel & Steigerwald 2017, Review of Economics
    and Statistics 99:698–709). Where all or none are right nothing is known of the variance, and every unit counts as
    one image.
    """
    sizes = np.bincount(units)
    images, groups, share = len(correct), int(np.count_nonzero(sizes)), float(correct.mean())
    if share in (0.0, 1.0) or groups == 1:
        return groups
    shifts = np.bincount(units, correct - share) / (images - sizes)
    between = (groups - 1) / groups * float(np.square(shifts).sum())
    if not between:
        return images
    effect = between / (share * (1 - share) / (images - 1))
    equal_sized = images**2 / float(np.square(sizes).sum())
    critical = t.ppf((1 + confidence) / 2, [images - 1, equal_sized - 1])
    return min(images, max(1.0, images / effect * float(critical[0] / critical[1]) ** 2))


def mean_interval(values: Sequence[float], confidence: float) -> tuple[float, float]:
    """Interval of the mean over seeds; (nan, nan) for a single seed, which says nothing about the spread.

    Source: Student 1908, Biometrika 6:1–25; `scipy.stats.t`. With two or three seeds it is wide, and rightly so.
    """
    if len(values) < 2:
        return math.nan, math.nan
    half = t.ppf((1 + confidence) / 2, len(values) - 1) * np.std(values, ddof=1) / math.sqrt(len(values))
    return float(np.mean(values) - half), float(np.mean(values) + half)


def with_seeds(interval: tuple[float, float], of_seeds: Sequence[float], confidence: float) -> tuple[float, float]:
    """Interval of a mean over seeds, for further images and further seeds, from one for further images alone.

    Either side is the root of the squares of two: that of the interval given, and Student's over the seeds. Each source
    of variance has a critical value of its own, as in `study.compare.seeds_and_images.crossed_test` (Banerjee 1960,
    Sankhyā 22:357–358); a bootstrap that draws seeds as well misses several times as often as it says where these are
    few (docs/STATISTICS.md).

    Args:
        interval: of the mean of these seeds.
        of_seeds: what each has, (S,); a single one says nothing of others, and the interval comes back as it is.
    """
    low, high = interval
    if len(of_seeds) < 2:
        return low, high
    middle, (below, above) = float(np.mean(of_seeds)), mean_interval(of_seeds, confidence)
    half = (above - below) / 2
    return middle - math.hypot(max(middle - low, 0.0), half), middle + math.hypot(max(high - middle, 0.0), half)


def mcnemar(correct_a: NDArray[np.bool_], correct_b: NDArray[np.bool_]) -> float:
    """Two-sided p value of "both recipes are right equally often", from the images that exactly one of them gets right.

    Source: McNemar 1947, Psychometrika 12:153–157, in its exact (binomial) form; statsmodels' `mcnemar(exact=True)`.

    Args:
        correct_a, correct_b: whether each image was classified correctly, (N,), the same images in the same order.
    """
    only_a = int(np.sum(correct_a & ~correct_b))
    only_b = int(np.sum(~correct_a & correct_b))
    return float(_mcnemar([[0, only_a], [only_b, 0]], exact=True).pvalue)


def sign_flip(differences: NDArray[np.int64]) -> float:
    """Two-sided p value of "both recipes are right equally often", from how many more images of a unit one gets right.

    Were the recipes equal, each unit's difference could as well have the other sign: the p value is the share of all
    2^G choices of signs whose sum is as far from 0 as the sum found, or farther. The distribution of the sum is
    computed exactly, one binomial per size of a difference, not drawn. With differences of 1 and −1 alone it is
    McNemar's exact test. Source: Fisher 1935, The Design of Experiments, section 21.

    Args:
        differences: images that the one gets right minus those that the other does, of each unit, (G,).
    """
    sizes, counts = np.unique(np.abs(differences[differences != 0]), return_counts=True)
    chances = np.ones(1)  # of the sum of the positive differences, from 0 on
    for size, count in zip(sizes.tolist(), counts.tolist(), strict=True):
        wider = np.zeros(len(chances) + size * count)
        for positive, chance in enumerate(binom.pmf(np.arange(count + 1), count, 0.5).tolist()):
            if chance > NEGLIGIBLE:
                wider[size * positive : size * positive + len(chances)] += chance * chances
        chances = wider
    sums = 2 * np.arange(len(chances)) - (len(chances) - 1)
    return min(1.0, float(chances[np.abs(sums) >= abs(int(differences.sum()))].sum()))


def paired_test(correct_a: NDArray[np.bool_], correct_b: NDArray[np.bool_], units: Units | None) -> float:
    """`mcnemar` of images, or `sign_flip` of units where there are any."""
    if units is None:
        return mcnemar(correct_a, correct_b)
    return sign_flip(totals(correct_a.astype(np.int64) - correct_b, units))


def totals(values: NDArray[np.int64], units: Units) -> NDArray[np.int64]:
    """Sum of whole numbers over the images of each unit, (G,)."""
    return np.bincount(units, values).astype(np.int64)


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


def draw_counts(images: int, samples: int, seed: int, units: Units | None = None) -> NDArray[np.uint8]:
    """How often each image is drawn in each bootstrap sample, (samples, images); every row sums to `images`.

    With units these are drawn, as many as there are, each with all its images: a row sums to what they have. Source:
    Davison & Hinkley 1997, Bootstrap Methods and Their Application, section 3.8 (strategy 1).

    Scoring every run on the same rows makes differences between runs paired. One byte counts to 255, and an image is
    drawn as often as 20 times in one of 10^18 samples: 2,000 samples of 50,000 images are 100 MB.
    """
    generator = np.random.default_rng(seed)
    drawable = images if units is None else int(units.max()) + 1
    counts = np.empty((samples, images), np.uint8)
    for row in counts:
        drawn = np.bincount(generator.integers(drawable, size=drawable), minlength=drawable)
        row[:] = drawn if units is None else drawn[units]
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
    Source: Efron & Tibshirani 1993, An Introduction to the Bootstrap, chapter 13.

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
        of_present, of_sample = present.sum(axis=1), true.sum(axis=1)
        scores[:, block] = (
            hits.sum(axis=1) / of_sample,
            recall.sum(axis=1) / of_present,
            f1.sum(axis=1) / of_present,
            (drawn @ nll) / of_sample,
        )
    return dict(zip(RESAMPLED, scores, strict=True))


def percentile_interval(values: NDArray[np.float64], confidence: float) -> tuple[float, float]:
    """The central `confidence` share of bootstrap values; (nan, nan) where they are not numbers."""
    low, high = np.quantile(values, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def bootstrap_interval(
    of_seeds: Sequence[float], resampled: NDArray[np.float64], confidence: float
) -> tuple[float, float]:
    """Interval of a mean over seeds: over images by bootstrap, and `with_seeds`; (nan, nan) where these are no numbers.

    Args:
        of_seeds: the score of each seed, or its difference to another recipe's, (S,).
        resampled: the same on the samples of `draw_counts`, (S, samples).
    """
    return with_seeds(percentile_interval(resampled.mean(axis=0), confidence), of_seeds, confidence)


def level(confidence: float) -> str:
    """The level of intervals in words, with all its digits: "95%", "99.9%"."""
    return f"{100 * confidence:.10g}%"
