"""How often intervals miss and tests between two recipes err or find a difference, in simulated studies.

    python -m benchmarks.error_rates [--studies 1000]      the simulated tables of docs/STATISTICS.md, to the terminal
    python -m benchmarks.error_rates --calculated          the calculated one, without simulations

Every image has a difficulty that both recipes share and one for each recipe; every seed makes a recipe better or worse;
a network is right about an image if the sum, with noise, is above a threshold. Both recipes have the same distribution,
so whatever a test finds is an error; for the power the one has a higher threshold.

In the studies of `GroupWorld` images are of groups (patients) and alike within them: how often intervals miss the
true accuracy, and tests err, that take the images for independent, and that go by groups.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtri, ndtr, stdtrit
from scipy.stats import norm, t

from study.compare.seeds_and_images import _MeanSquares, crossed_test
from study.compare.statistics import (
    accuracy_interval,
    bootstrap_interval,
    draw_counts,
    mcnemar,
    mean_interval,
    paired_test,
    percentile_interval,
    resampled_scores,
    totals,
    wilson_interval,
    with_seeds,
)

SKILL = 1.0  # thresholds, in standard deviations of all that varies: four of five images are right


@dataclass(frozen=True)
class World:
    """What varies, as standard deviations beside the noise of 1.

    Attributes:
        seeds: between seeds of a recipe, as a share of all that varies.
        own: between images, of one recipe alone; the less, the more alike both recipes are.
        common: between images, the same for both recipes.
        images: test images.
        shared: share of the variance between seeds that both recipes have in common, as a seed is the same for both.
    """

    seeds: float
    own: float
    images: int = 1000
    common: float = 2.0
    shared: float = 0.0

    def draw(self, seeds: int, random: np.random.Generator, advantage: float = 0.0) -> list[NDArray[np.bool_]]:
        """Whether two recipes are right, (seeds, images) each; the second has its threshold lower by so much."""
        spread = float(np.sqrt(1 + self.common**2 + self.own**2))
        image = random.normal(0, self.common, self.images)
        seed = random.normal(0, spread * self.seeds * self.shared**0.5, (seeds, 1))
        right = []
        for skill in (SKILL, SKILL + advantage):
            own = random.normal(0, self.own, self.images)
            of_seed = random.normal(0, spread * self.seeds * (1 - self.shared) ** 0.5, (seeds, 1))
            noise = random.normal(size=(seeds, self.images))
            right.append(spread * skill + image + seed + own + of_seed + noise > 0)
        return right


def one_seed(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    """McNemar's test of the first seed's networks."""
    return mcnemar(a[0], b[0])


def every_seed(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    """The largest of the p values of the seeds; 1 if they disagree about which recipe is better."""
    signs = {int(np.sign(one.sum() - two.sum())) for one, two in zip(a, b, strict=True)}
    return max(mcnemar(one, two) for one, two in zip(a, b, strict=True)) if len(signs) == 1 else 1.0


def satterthwaite(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    """The same variance as `crossed_test`, with Satterthwaite's degrees of freedom (Hillis 2007)."""
    squares, (seeds, images) = _MeanSquares.of(a.astype(np.int8) - b), a.shape
    of_images = max(squares.images - squares.rest, 0.0)
    total = squares.seeds + of_images
    if total == 0:
        return 1.0
    freedom = total**2 / (squares.seeds**2 / (seeds - 1) + of_images**2 / (images - 1))
    return float(2 * t.sf(abs(squares.mean) / (total / seeds / images) ** 0.5, freedom))


def crossed(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    """What the pipeline does."""
    return crossed_test(a.astype(np.int8) - b)


TESTS: dict[str, Callable[[NDArray[np.bool_], NDArray[np.bool_]], float]] = {
    "one seed (McNemar)": one_seed,
    "every seed (McNemar)": every_seed,
    "Satterthwaite": satterthwaite,
    "crossed_test": crossed,
}
WORLDS = {
    "no seed variance": World(0.0, 1.0),
    "none, 60 images": World(0.0, 1.0, images=60),
    "little": World(0.03, 1.0),
    "much": World(0.1, 1.0),
    "much, 5,000 images": World(0.1, 1.0, images=5000),
    "much, alike recipes": World(0.1, 0.1),
    "much, half shared": World(0.1, 1.0, shared=0.5),
}


def rates(
    world: World, seeds: int, studies: int, alpha: float = 0.05, advantage: float = 0.0, tests: Sequence[str] = ()
) -> dict[str, float]:
    """Share of simulated studies in which each test finds a difference."""
    random = np.random.default_rng([seeds, studies])
    found = dict.fromkeys(tests or TESTS, 0)
    for _ in range(studies):
        a, b = world.draw(seeds, random, advantage)
        for name in found:
            found[name] += TESTS[name](a, b) <= alpha
    return {name: count / studies for name, count in found.items()}


def rows(seeds: Sequence[int], studies: int, alpha: float, advantage: float) -> Iterator[str]:
    """The rates as a table in Markdown, line by line, in percent."""
    yield "| seeds | variance between seeds | " + " | ".join(TESTS) + " |"
    yield "| --- | --- |" + " ---: |" * len(TESTS)
    for count in seeds:
        for name, world in WORLDS.items():
            found = rates(world, count, studies, alpha, advantage)
            yield f"| {count} | {name} | " + " | ".join(f"{100 * rate:.1f}" for rate in found.values()) + " |"


LEVELS, POINTS = (0.05, 0.005, 0.0005), 20_000  # of the calculation: its levels, the points of its integral


def calculated(seeds: int, alpha: float) -> tuple[float, float]:
    """How often Satterthwaite's test and `crossed_test` err at that share of the seeds where each errs most.

    For normal effects and so many images that their part of the variance is known: the mean square of the seeds is χ²
    over its degrees of freedom, over which is integrated, and the mean is independent of it.
    """
    found = chdtri(seeds - 1, (np.arange(POINTS) + 0.5) / POINTS) / (seeds - 1)
    rates = []
    for share in np.linspace(0.005, 1, 200):
        of_seeds, of_images = share * found, 1 - share
        freedom = (of_seeds + of_images) ** 2 / of_seeds**2 * (seeds - 1)
        squares = (
            stdtrit(freedom, alpha / 2) ** 2 * (of_seeds + of_images),
            stdtrit(seeds - 1, alpha / 2) ** 2 * of_seeds + norm.isf(alpha / 2) ** 2 * of_images,
        )
        rates.append([float(2 * ndtr(-np.sqrt(square)).mean()) for square in squares])
    satterthwaites, here = np.max(rates, axis=0)
    return float(satterthwaites), float(here)


def calculated_rows(seeds: Sequence[int]) -> Iterator[str]:
    """The errors as a table in Markdown, line by line."""
    yield "| seeds | " + " | ".join(f"{name}, at {a:.2%}" for name in ("Satterthwaite", "here") for a in LEVELS) + " |"
    yield "| --- |" + " ---: |" * 2 * len(LEVELS)
    for count in seeds:
        errors = np.array([calculated(count, alpha) for alpha in LEVELS]).T.ravel()
        yield f"| {count} | " + " | ".join(f"{100 * error:.2g} %" for error in errors) + " |"


CONFIDENCE, SAMPLES = 0.95, 400  # of intervals; of a bootstrap
Right = NDArray[np.bool_]
Interval = tuple[float, float]


@cache
def _drawn(images: int) -> NDArray[np.float32]:
    """How often each image is in each sample, as shares of the sample, (images, samples)."""
    return draw_counts(images, SAMPLES, 0).T.astype(np.float32) / images


def _resampled(values: NDArray[np.float32]) -> NDArray[np.float64]:
    """The mean of each seed's values, (seeds, images), on every sample, (seeds, samples)."""
    return np.asarray(values @ _drawn(values.shape[1]), np.float64)


def _pigeonhole(values: NDArray[np.float32]) -> Interval:
    """Seeds and images both drawn again, independently (Owen 2007, Annals of Applied Statistics 1:386–411)."""
    resampled = _resampled(values)
    drawn = np.random.default_rng(0).integers(len(values), size=resampled.shape)
    return percentile_interval(np.take_along_axis(resampled, drawn, axis=0).mean(axis=0), CONFIDENCE)


def _here(values: NDArray[np.float32]) -> Interval:
    """What the pipeline does of differences, and of scores other than the accuracy."""
    return bootstrap_interval(values.mean(axis=1).tolist(), _resampled(values), CONFIDENCE)


def _wilson(right: Right) -> Interval:
    """What the pipeline does of an accuracy."""
    seeds, images = right.shape
    interval = wilson_interval(right.sum() / seeds, images, CONFIDENCE)
    return with_seeds(interval, right.mean(axis=1).tolist(), CONFIDENCE)


def _apart(a: Right, b: Right) -> NDArray[np.float32]:
    return a.astype(np.float32) - b


# Of several seeds: an interval, and whether it is of the difference between two recipes, of which the truth is 0.
SEED_INTERVALS: dict[str, tuple[Callable[[Right, Right], Interval], bool]] = {
    "accuracy: Student over seeds": (lambda a, b: mean_interval(a.mean(axis=1).tolist(), CONFIDENCE), False),
    "accuracy: bootstrap of seeds and images": (lambda a, b: _pigeonhole(a.astype(np.float32)), False),
    "accuracy: as here": (lambda a, b: _wilson(a), False),
    "difference: bootstrap of seeds and images": (lambda a, b: _pigeonhole(_apart(a, b)), True),
    "difference: as here": (lambda a, b: _here(_apart(a, b)), True),
}


def seed_misses(world: World, seeds: int, studies: int) -> dict[str, float]:
    """Share of simulated studies in which each interval misses the true accuracy, or the true difference."""
    random = np.random.default_rng([seeds, studies])
    truth = float(norm.cdf(SKILL / (1 + world.seeds**2) ** 0.5))
    missed = dict.fromkeys(SEED_INTERVALS, 0)
    for _ in range(studies):
        a, b = world.draw(seeds, random)
        for name, (interval, of_difference) in SEED_INTERVALS.items():
            low, high = interval(a, b)
            missed[name] += not low <= (0.0 if of_difference else truth) <= high
    return {name: count / studies for name, count in missed.items()}


def seed_rows(seeds: Sequence[int], studies: int) -> Iterator[str]:
    """The misses as a table in Markdown, line by line, in percent."""
    yield "| seeds | variance between seeds | " + " | ".join(SEED_INTERVALS) + " |"
    yield "| --- | --- |" + " ---: |" * len(SEED_INTERVALS)
    for count in seeds:
        for name, world in WORLDS.items():
            found = seed_misses(world, count, studies)
            yield f"| {count} | {name} | " + " | ".join(f"{100 * rate:.1f}" for rate in found.values()) + " |"


@dataclass(frozen=True)
class GroupWorld:
    """Images of groups. An image is right if its group's effect and its own, of variance 1 together, exceed −SKILL.

    Attributes:
        groups: of test images; each has 1 to `largest`, as often each.
        largest: images of a group.
        correlation: share of the variance that the group has: the intra-class correlation.
        own: share of the variance between groups that each recipe has for itself.
        seeds: of each recipe; they share the effects of groups, and half of those of images.
    """

    groups: int = 200
    largest: int = 30
    correlation: float = 0.5
    own: float = 0.5
    seeds: int = 3

    def draw(self, random: np.random.Generator) -> tuple[NDArray[np.int64], list[NDArray[np.bool_]]]:
        """The group of each image, (N,), and whether two recipes are right, (seeds, N) each."""
        units = np.repeat(np.arange(self.groups), random.integers(1, self.largest + 1, self.groups))
        common = random.normal(size=self.groups)
        right = []
        for _ in range(2):
            of_group = (1 - self.own) ** 0.5 * common + self.own**0.5 * random.normal(size=self.groups)
            image = (random.normal(size=len(units)) + random.normal(size=(self.seeds, len(units)))) / 2**0.5
            right.append(self.correlation**0.5 * of_group[units] + (1 - self.correlation) ** 0.5 * image > -SKILL)
        return units, right


def _misses(interval: Interval) -> bool:
    return not interval[0] <= float(norm.cdf(SKILL)) <= interval[1]


def _bootstrap(right: Right, units: NDArray[np.int64] | None) -> Interval:
    zero = np.zeros(len(right), np.int64)
    counts = draw_counts(len(right), SAMPLES, 0, units)
    return percentile_interval(
        resampled_scores(zero, np.where(right, 0, 1), np.zeros(len(right)), 2, counts)["accuracy"], CONFIDENCE
    )


def _by_groups(a: Right, b: Right, units: NDArray[np.int64]) -> float:
    """`crossed_test` over seeds and groups."""
    of_groups = np.array([totals(row, units) for row in a.astype(np.int64) - b])
    return crossed_test(of_groups.astype(np.float64))


# Whether an interval misses the true accuracy or a test of two equal recipes errs, with one seed or with several.
GROUP_METHODS: dict[str, Callable[[Right, Right, NDArray[np.int64]], bool]] = {
    "interval by images (Wilson)": lambda a, b, units: _misses(accuracy_interval(a[0], None, CONFIDENCE)),
    "interval by groups": lambda a, b, units: _misses(accuracy_interval(a[0], units, CONFIDENCE)),
    "bootstrap by images": lambda a, b, units: _misses(_bootstrap(a[0], None)),
    "bootstrap by groups": lambda a, b, units: _misses(_bootstrap(a[0], units)),
    "McNemar by images": lambda a, b, units: mcnemar(a[0], b[0]) <= 1 - CONFIDENCE,
    "sign flips by groups": lambda a, b, units: paired_test(a[0], b[0], units) <= 1 - CONFIDENCE,
    "crossed_test by images": lambda a, b, units: crossed(a, b) <= 1 - CONFIDENCE,
    "crossed_test by groups": lambda a, b, units: _by_groups(a, b, units) <= 1 - CONFIDENCE,
}
GROUP_WORLDS = {
    "200 groups of 1–30 images, correlation 0.5": GroupWorld(),
    "the same, correlation 0.1": GroupWorld(correlation=0.1),
    "the same, independent images": GroupWorld(correlation=0.0),
    "50 groups": GroupWorld(groups=50),
    "20 groups": GroupWorld(groups=20),
    "10 groups": GroupWorld(groups=10),
    "1,000 groups of 1–4 images": GroupWorld(groups=1000, largest=4),
}


def group_rates(world: GroupWorld, studies: int, methods: Sequence[str] = ()) -> dict[str, float]:
    """Share of simulated studies in which each interval misses, or each test errs."""
    random = np.random.default_rng([world.groups, studies])
    wrong = dict.fromkeys(methods or GROUP_METHODS, 0)
    for _ in range(studies):
        units, (a, b) = world.draw(random)
        for name in wrong:
            wrong[name] += bool(GROUP_METHODS[name](a, b, units))
    return {name: count / studies for name, count in wrong.items()}


def group_rows(studies: int) -> Iterator[str]:
    """The rates as a table in Markdown, line by line, in percent."""
    yield "| test images | " + " | ".join(GROUP_METHODS) + " |"
    yield "| --- |" + " ---: |" * len(GROUP_METHODS)
    for name, world in GROUP_WORLDS.items():
        yield f"| {name} | " + " | ".join(f"{100 * rate:.1f}" for rate in group_rates(world, studies).values()) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=1000, help="simulated studies of each row")
    parser.add_argument("--seeds", type=int, nargs="*", default=[2, 3, 5, 10], help="none for the groups alone")
    parser.add_argument("--calculated", action="store_true", help="the calculated table in place of the simulated ones")
    arguments = parser.parse_args()
    if arguments.calculated:
        print("\n".join(calculated_rows(arguments.seeds)))
        return
    for alpha, advantage in ((0.05, 0.0), (0.05, 0.15), (0.005, 0.0)) if arguments.seeds else ():
        what = "no difference" if not advantage else f"a threshold lower by {advantage:g}"
        print(f"\nSignificant at {alpha:.1%} with {what}, % of {arguments.studies:,} studies\n")
        for row in rows(arguments.seeds, arguments.studies, alpha, advantage):
            print(row, flush=True)
    if arguments.seeds:
        print(f"\nSeveral seeds: intervals of {CONFIDENCE:.0%} that miss, % of {arguments.studies:,} studies\n")
        for row in seed_rows(arguments.seeds, arguments.studies):
            print(row, flush=True)
    print(f"\nGroups: intervals of {CONFIDENCE:.0%} that miss, tests that err, % of {arguments.studies:,} studies\n")
    for row in group_rows(arguments.studies):
        print(row, flush=True)


if __name__ == "__main__":
    main()
