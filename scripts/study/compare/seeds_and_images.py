"""Two recipes over several seeds and the same test images: one test for both sources of variance, and its power.

d[s, i] is whether the run of seed s of the one recipe is right about image i, minus that of the other: 1, 0 or −1. It
is taken as a mean difference plus a random effect of the seed, one of the image, and the rest. The test speaks of the
recipes: of further seeds on further images of the same kind. McNemar's test of one seed speaks of two trained
networks. How often each of them errs is in docs/STATISTICS.md.

Where images are of groups, the groups take the place of the images: d[s, g] is the sum over the images of the group,
scaled so that the mean over groups is the difference in accuracy. All that is said of images is then said of groups.

Entry points:
    crossed_test(differences) -> p                         "both recipes are equally good"
    Variances.of(pairs) -> Variances                       between seeds, between images, and the rest
    smallest_difference(variances, seeds, images, alpha)   that is found with `POWER`
    seeds_needed, images_needed                            for a wished difference; None if no number suffices
    network_difference, network_images_needed              the same of one seed, for the trained networks alone
"""

import math
from bisect import bisect_left
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import chdtri, ndtr, ndtri, stdtr, stdtrit

POWER = 0.8  # the share of studies that find a difference: the convention of Cohen 1988
LEAST_P = 1e-100
MOST = 10**9  # more seeds or images than that are called unreachable
GRID = 2000  # points of the integral over the estimate of the variance between seeds

Differences = NDArray[np.int8] | NDArray[np.float64]  # of images, or of groups


@dataclass(frozen=True)
class _MeanSquares:
    """Of differences (S, N): analysis of variance of two crossed random factors with one value per cell.

    Source: Searle, Casella & McCulloch 1992, Variance Components, section 4.3. Expectations: of `seeds`
    σ²_rest + N σ²_seed, of `images` σ²_rest + S σ²_image, of `rest` σ²_rest.
    """

    mean: float
    seeds: float
    images: float
    rest: float

    @classmethod
    def of(cls, differences: Differences) -> "_MeanSquares":
        seeds, images = differences.shape
        by_seed = differences.sum(axis=1, dtype=np.float64) / images
        by_image = differences.sum(axis=0, dtype=np.float64) / seeds
        mean = float(by_seed.mean())
        of_seeds = images * float(np.square(by_seed - mean).sum())
        of_images = seeds * float(np.square(by_image - mean).sum())
        total = float(np.square(differences, dtype=np.float64).sum()) - seeds * images * mean**2
        rest = max(total - of_seeds - of_images, 0.0)
        return cls(mean, of_seeds / (seeds - 1), of_images / (images - 1), rest / ((seeds - 1) * (images - 1)))


def crossed_test(differences: Differences) -> float:
    """Two-sided p value of "both recipes are equally good", over seeds and images.

    The mean of the differences has the variance σ²_seed / S + σ²_image / N + σ²_rest / (S·N), estimated by mean squares
    as in multi-reader multi-case studies (Hillis 2007, Statistics in Medicine 26:596–619), where seeds are the readers.
    Each of its two parts has Student's critical value of its own degrees of freedom: the difference is significant at α
    if its square is at least the sum of each part times its t² (Banerjee 1960, Sankhyā 22:357–358). For normal effects
    that errs in at most α of all studies, whatever the variances; Satterthwaite's degrees of freedom, the usual
    alternative, err in up to 13 % for two seeds at α = 5 %, and in many times α at the small α that Holm's correction
    asks for.

    Whether images are right are counts, so that seeds may have the very same difference, on other images each, and with
    it a mean square of 0. So p is never less than that of these networks on further images alone: Student's test of the
    means over the seeds, one of each image, whose variance is less than that of the mean of all, by the seeds' part.

    Args:
        differences: correct of the one minus correct of the other, the same seeds and images, (S, N), 2 or more each;
            int8, or floats of groups.

    Returns:
        at least `LEAST_P`; 1 if they are equally often right, or if there is one group alone, which tells nothing.
    """
    seeds, images = differences.shape
    if images == 1:
        return 1.0
    squares = _MeanSquares.of(differences)
    if squares.mean == 0:
        return 1.0
    of_images = max(squares.images - squares.rest, 0.0)

    def beyond(log_p: float) -> float:
        p = math.exp(log_p) / 2
        critical = squares.seeds * stdtrit(seeds - 1, p) ** 2 + of_images * stdtrit(images - 1, p) ** 2
        return float(critical - squares.mean**2 * seeds * images)

    error = math.sqrt(squares.images / seeds / images)  # of these networks
    least = max(LEAST_P, 2 * float(stdtr(images - 1, -abs(squares.mean) / error)) if error else 0.0)
    if beyond(math.log(least)) <= 0:
        return least
    return math.exp(brentq(beyond, math.log(least), 0.0, xtol=1e-10))


@dataclass(frozen=True)
class Variances:
    """Variance of the differences between two recipes, in squares of a share of images (1 is every image).

    Attributes:
        seeds: between seeds, of the accuracy on endless images; nan for a single seed, which cannot tell.
        images: between images, of the mean over endless seeds; for a single seed of that seed's differences.
        rest: what is left of one seed and one image; nan for a single seed.
    """

    seeds: float
    images: float
    rest: float

    @classmethod
    def of(cls, pairs: Iterable[Differences]) -> "Variances":
        """From the mean squares of several pairs of recipes, averaged; an estimate below 0 counts as 0.

        Args:
            pairs: differences as `crossed_test` takes them, (S, N) each, or (1, N).
        """
        pairs = list(pairs)
        seeds, images = pairs[0].shape
        if seeds == 1:
            return cls(math.nan, float(np.mean([np.var(pair, ddof=1) for pair in pairs])), math.nan)
        squares = [_MeanSquares.of(pair) for pair in pairs]
        of_seeds, of_images, rest = (
            float(np.mean([getattr(one, name) for one in squares])) for name in ("seeds", "images", "rest")
        )
        return cls(max(of_seeds - rest, 0.0) / images, max(of_images - rest, 0.0) / seeds, rest)


def power(difference: float, variances: Variances, seeds: float, images: float, alpha: float) -> float:
    """Share of studies in which `crossed_test` finds a true difference at level alpha.

    Normal effects: the mean square of the seeds is its expectation times χ²/(S − 1), over which is integrated; that of
    the images is taken as known. `seeds` or `images` may be infinite.
    """
    of_seeds = variances.seeds / seeds + variances.rest / seeds / images
    of_images = variances.images / images
    if of_seeds + of_images == 0:
        return float(difference > 0)
    error = math.sqrt(of_seeds + of_images)
    share = of_images / (of_seeds + of_images)
    normal = ndtri(alpha / 2) ** 2 if math.isinf(images) else stdtrit(images - 1, alpha / 2) ** 2
    least = normal * (of_images + variances.rest / seeds / images) / error**2
    if math.isinf(seeds):
        critical = np.array([math.sqrt(ndtri(alpha / 2) ** 2 * (1 - share) + normal * share)])
    else:
        middles = (np.arange(GRID) + 0.5) / GRID
        found = chdtri(seeds - 1, middles) / (seeds - 1)  # the estimate, as a multiple of the truth
        of_both = (1 - share) * found * stdtrit(seeds - 1, alpha / 2) ** 2 + share * normal
        critical = np.sqrt(np.maximum(of_both, least))
    shift = abs(difference) / error
    return float(np.mean(ndtr(shift - critical) + ndtr(-shift - critical)))


def smallest_difference(variances: Variances, seeds: int, images: int, alpha: float) -> float:
    """The least true difference in accuracy that is found with `POWER`; at most 1, which may not be found either."""
    if power(1.0, variances, seeds, images, alpha) < POWER:
        return 1.0
    return float(brentq(lambda d: power(d, variances, seeds, images, alpha) - POWER, 0.0, 1.0, xtol=1e-7))


def seeds_needed(difference: float, variances: Variances, images: int, alpha: float) -> int | None:
    """Fewest seeds, two at least, with which the difference is found with `POWER` on so many test images."""
    if power(difference, variances, math.inf, images, alpha) <= POWER:
        return None
    return _first(lambda seeds: power(difference, variances, seeds, images, alpha))


def images_needed(difference: float, variances: Variances, seeds: int, alpha: float) -> int | None:
    """Fewest test images with which the difference is found with `POWER` by so many seeds."""
    if power(difference, variances, seeds, math.inf, alpha) <= POWER:
        return None
    return _first(lambda images: power(difference, variances, seeds, images, alpha))


def network_difference(variances: Variances, images: int, alpha: float) -> float:
    """`smallest_difference` between two trained networks, one seed: that of further images alone.

    McNemar's test in its normal approximation (Miettinen 1968, Biometrics 24:339–352).
    """
    return float((ndtri(1 - alpha / 2) + ndtri(POWER)) * math.sqrt(variances.images / images))


def network_images_needed(difference: float, variances: Variances, alpha: float) -> int:
    """Test images with which the difference of two trained networks is found with `POWER`."""
    return math.ceil(((ndtri(1 - alpha / 2) + ndtri(POWER)) / difference) ** 2 * variances.images)


def _first(power_of: Callable[[int], float]) -> int | None:
    """The least number from 2 to `MOST` of which the power, which grows with it, is `POWER`; None if there is none."""
    found = bisect_left(range(2, MOST), POWER, key=power_of) + 2
    return None if found >= MOST else found
