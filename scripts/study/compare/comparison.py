"""All runs of a study beside each other: drawn, scored and judged once, read by every table, figure and page.

Entry points (runs come from `study.compare.runs.load_runs`, with predictions):
    Comparison(runs, metrics, …)
        .recipes, .best                                    the runs of each recipe with its verdict; the recipe chosen
        .baseline                                          what always answering the largest class reaches
        .p_value(a, b)                                     one test of two recipes, over all their runs
        .verdicts, .tiers                                  beside the best recipe; groups not worse than their best
        .bootstrap.scores(run)                             resampled scores
        .interval(group, metric), .difference_interval     of scores, and of differences between two recipes
        .pairs                                             pairs of recipes: tables/pairwise.csv
        .among(names)                                      the same within some of the recipes, such as a case
        .with_seeds_of(other)                              the same with further seeds from another study
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from study.compare.baseline import Baseline, baseline_of
from study.compare.runs import RecipeRuns, Run, by_recipe, choose, share_images
from study.compare.seeds_and_images import crossed_test
from study.compare.statistics import (
    RESAMPLED,
    Units,
    bootstrap_interval,
    draw_counts,
    holm,
    paired_test,
    resampled_scores,
    totals,
)
from study.compare.tested_pairs import pairs_to_test
from study.compare.verdicts import BEST, BETTER, NOT_BETTER, NOT_DISTINGUISHABLE, WORSE

BOOTSTRAP_SEED = 0  # the same resamples in every table and every run of the pipeline
EVERY_SEED = "all"  # in the column "seed" of the pairs: the seeds together
MCNEMAR, SIGN_FLIP = "p_mcnemar", "p_sign_flip"  # columns with the test of one seed: by images, by groups

PAIR_COLUMNS = [
    *("experiment_a", "experiment_b", "seed", "images", "accuracy_a", "accuracy_b"),
    *(f"{name}_{end}" for name in RESAMPLED for end in ("difference", "low", "high")),
    *("only_a_correct", "only_b_correct", MCNEMAR, "p_seeds_and_images", "p_holm", "distinguishable"),
]
IN_GROUPS = {"images": ["images", "groups"], MCNEMAR: [SIGN_FLIP]}  # a column -> those in its place
GROUPED_PAIR_COLUMNS = [name for column in PAIR_COLUMNS for name in IN_GROUPS.get(column, [column])]


class Bootstrap:
    """Scores of runs on resampled test images, drawn once and the same for all runs, so that differences are paired.

    Where images are of groups, whole groups are drawn.

    Args:
        samples: bootstrap samples.
    """

    def __init__(self, samples: int) -> None:
        self.samples = samples
        self._counts: NDArray[np.uint8] | None = None
        self._scores: dict[tuple[str, int], dict[str, NDArray[np.float64]]] = {}

    def counts(self, images: int, units: Units | None) -> NDArray[np.uint8]:
        """How often each test image is drawn in each sample, (samples, images)."""
        if self._counts is None:
            self._counts = draw_counts(images, self.samples, BOOTSTRAP_SEED, units)
        return self._counts

    def scores(self, run: Run) -> dict[str, NDArray[np.float64]]:
        """Each of `RESAMPLED` on every sample, (samples,)."""
        key = run.experiment, run.seed
        if key not in self._scores:
            self._scores[key] = self.scores_of(run, run.scores["test"].predicted, run.scores["test"].nll)
        return self._scores[key]

    def scores_of(
        self, run: Run, predicted: NDArray[np.int64], nll: NDArray[np.float64]
    ) -> dict[str, NDArray[np.float64]]:
        """The same for other predictions of the run's test images, (N,) each."""
        labels, units = run.scores["test"].labels, run.scores["test"].units
        return resampled_scores(labels, predicted, nll, len(run.classes), self.counts(len(labels), units))


@dataclass(frozen=True, eq=False)
class Comparison:
    """All runs of a study beside each other.

    Attributes:
        runs: with predictions; with histories for the diagnosis and the curves.
        metrics: the section of the configuration: confidence, bootstrap_samples, ece_bins, ensemble_members.
        class_weights: as `read_class_weights` gives it; for the diagnosis and the baseline.
        manifest: as `read_manifest` gives it; for the leakage.
        reported_protocol: what the reported accuracies were made with, see `study.settings.reported_protocol`; None
            leaves the reported values out.
        all_pairs_up_to: recipes of which every pair is tested, see `study.compare.tested_pairs`.
    """

    runs: Sequence[Run]
    metrics: Mapping[str, Any]
    class_weights: pd.DataFrame | None = None
    manifest: pd.DataFrame | None = None
    reported_protocol: Mapping[str, Sequence[Any]] | None = None
    all_pairs_up_to: int = 30
    _bootstrap: Bootstrap | None = None

    @property
    def confidence(self) -> float:
        """Level of every interval and of the tests, a share."""
        return float(self.metrics["confidence"])

    @property
    def several_seeds(self) -> bool:
        """Whether there is more than one seed."""
        return len({run.seed for run in self.runs}) > 1

    @property
    def cases(self) -> list[int]:
        """Numbers of the cases that have a run."""
        return sorted({run.case for run in self.runs})

    @property
    def test_images(self) -> int:
        """How many there are."""
        return int(self.runs[0].metrics["test"]["images"])

    @property
    def units(self) -> Units | None:
        """Which test image is of which independent unit, (N,) numbers from 0; None if every image is one.

        Images of a group of the manifest are one unit, any other image is its own.
        """
        test = self.runs[0].scores.get("test")
        return None if test is None else test.units

    @property
    def test_units(self) -> int:
        """How many independent units the test images are."""
        return self.test_images if self.units is None else int(self.units.max()) + 1

    @property
    def seed_test(self) -> str:
        """The column with the paired test of one seed."""
        return MCNEMAR if self.units is None else SIGN_FLIP

    @cached_property
    def bootstrap(self) -> Bootstrap:
        """The resamples, shared with the comparisons `among` some of the recipes."""
        return self._bootstrap or Bootstrap(self.metrics["bootstrap_samples"])

    @cached_property
    def _groups(self) -> dict[str, RecipeRuns]:
        """The runs of each recipe, before there are verdicts."""
        return by_recipe(self.runs, self.confidence)

    @cached_property
    def _chosen(self) -> RecipeRuns:
        return choose(self._groups.values())

    @cached_property
    def best(self) -> RecipeRuns:
        """The recipe chosen on validation."""
        return self.recipes[self._chosen.name]

    @cached_property
    def recipes(self) -> dict[str, RecipeRuns]:
        """The runs of each recipe, with its verdict and its tier."""
        return {
            name: replace(group, verdict=self.verdicts[name][0], tier=self.tiers[name])
            for name, group in self._groups.items()
        }

    @cached_property
    def baseline(self) -> Baseline | None:
        """What always answering the largest class reaches; None where its training images are not known."""
        return None if self.class_weights is None else baseline_of(self.class_weights, self.runs[0])

    def vs_baseline(self, group: RecipeRuns) -> str:
        """Whether a recipe does better on the test images than always answering the largest class, or not better.

        "" without a baseline.
        """
        if self.baseline is None:
            return ""
        return BETTER if self.beats_baseline(group, self.baseline) else NOT_BETTER

    def beats_baseline(self, runs: Iterable[Run], baseline: Baseline, split: str = "test") -> bool:
        """Whether runs of one recipe are right more often than the baseline by the same paired test as two recipes.

        Paired, as both answer for the same images: where nearly all of these are of one class, what they agree on says
        nothing. Each recipe is tested by itself, at the level of the study.
        """
        scores = [run.scores[split] for run in runs]
        always = scores[0].labels == self.runs[0].classes.index(baseline.name)
        correct = [one.correct for one in scores]
        higher = float(np.mean(correct)) > float(always.mean())
        return higher and _p_value(correct, [always] * len(correct), scores[0].units) <= 1 - self.confidence

    def p_value(self, a: RecipeRuns, b: RecipeRuns) -> float:
        """One test of "both recipes are right equally often", over all their runs, the seeds paired.

        With one seed McNemar's exact test of the two trained networks; with several `crossed_test` of the recipes, over
        seeds and images. Where images are of groups, `sign_flip` of these, or `crossed_test` over seeds and groups.
        """
        return _p_value([run.correct for run in a], [run.correct for run in b], self.units)

    @cached_property
    def verdicts(self) -> dict[str, tuple[str, float]]:
        """Each recipe beside the best one, on the same test images.

        The best recipe is chosen on validation, so the test images are fresh and comparing every other recipe with it
        is one family of tests: `p_value`, adjusted by Holm. A recipe is "worse" or "better" if its adjusted p value
        is at most 1 − confidence, else "not distinguishable". "better" can happen: validation chose, test disagrees.

        experiment -> (verdict, adjusted p value); p is nan for the best recipe itself.
        """
        return self.beside(self._chosen, self._groups.values())

    def beside(self, best: RecipeRuns, groups: Iterable[RecipeRuns]) -> dict[str, tuple[str, float]]:
        """Verdict and adjusted p value of each recipe beside one of them, which has `BEST` and nan."""
        others = [group for group in groups if group.name != best.name]
        verdicts = {best.name: (BEST, math.nan)}
        for group, p in zip(others, holm([self.p_value(group, best) for group in others]), strict=True):
            higher = group.accuracy("test") > best.accuracy("test")
            verdicts[group.name] = NOT_DISTINGUISHABLE if p > 1 - self.confidence else BETTER if higher else WORSE, p
        return verdicts

    @cached_property
    def tiers(self) -> dict[str, int | None]:
        """Groups of recipes, the best first: experiment -> tier, counted from 1.

        Tier 1 is the best recipe and all that are not worse than it. Of the rest, validation chooses the best again,
        and tier 2 is all of them that are not worse than that one, Holm's correction over the tests of this step; and
        so on. Every step keeps its own error rate; that some tier is wrong is likelier than that. A recipe of which
        every run failed has none, unless all failed.
        """
        groups = list(self._groups.values())
        alive = [group for group in groups if not group.failed] or groups
        tiers: dict[str, int | None] = dict.fromkeys(self._groups)
        verdicts, tier = self.verdicts, 1
        while alive:
            rest = [group for group in alive if verdicts[group.name][0] == WORSE]
            tiers |= {group.name: tier for group in alive if group not in rest}
            alive, tier = rest, tier + 1
            if alive:
                verdicts = self.beside(choose(alive), alive)
        return tiers

    def among(self, names: Iterable[str]) -> "Comparison":
        """The comparison of these recipes alone: another best one, other verdicts, the same resamples."""
        wanted = set(names)
        return replace(self, runs=[run for run in self.runs if run.experiment in wanted], _bootstrap=self.bootstrap)

    def with_seeds_of(self, other: "Comparison") -> "Comparison":
        """The comparison of these recipes over the seeds of both; of a seed that both have, the runs here.

        As it is where the other lacks one of the recipes or has it otherwise, as tests pair the seeds.

        Raises:
            StudyError: if the two were evaluated on different images.
        """
        recipes = {group.name: group.recipe for group in other.recipes.values()}
        if any(recipes.get(group.name) != group.recipe for group in self.recipes.values()):
            return self
        own = {run.seed for run in self.runs}
        further = [run for run in other.runs if run.experiment in self.recipes and run.seed not in own]
        for run in further:
            share_images(run, self.runs[0])
        order = list(self.recipes)
        runs = sorted([*self.runs, *further], key=lambda run: (order.index(run.experiment), run.seed))
        return replace(self, runs=runs, _bootstrap=self.bootstrap)

    def of_case(self, case: int) -> "Comparison":
        """The comparison of the recipes of a case."""
        return self.among(run.experiment for run in self.runs if run.case == case)

    def reported_on(self) -> "Comparison | None":
        """The comparison of the recipes that a publication reported on, with an accuracy or in words; None if none."""
        names = [name for name, group in self.recipes.items() if group.reported_on]
        return self.among(names) if names else None

    def interval(self, group: RecipeRuns, metric: str) -> tuple[float, float]:
        """`bootstrap_interval` of one of `RESAMPLED`, the mean over the seeds; (nan, nan) where a run has none."""
        resampled = [self.bootstrap.scores(run)[metric] for run in group]
        low, high = bootstrap_interval(_of_seeds(group, metric), np.array(resampled), self.confidence)
        return max(low, 0.0), high if metric == "nll" else min(high, 1.0)

    def difference_interval(self, a: RecipeRuns, b: RecipeRuns, metric: str) -> tuple[float, float]:
        """The same of the mean over the seeds of `a` minus `b`, paired by image and seed."""
        scores = self.bootstrap.scores
        resampled = [scores(one)[metric] - scores(two)[metric] for one, two in zip(a, b, strict=True)]
        differences = [one - two for one, two in zip(_of_seeds(a, metric), _of_seeds(b, metric), strict=True)]
        low, high = bootstrap_interval(differences, np.array(resampled), self.confidence)
        return (low, high) if metric == "nll" else (max(low, -1.0), min(high, 1.0))

    @cached_property
    def tested(self) -> list[tuple[RecipeRuns, RecipeRuns]]:
        """The pairs of recipes that have rows in `pairs`."""
        names = pairs_to_test(self.recipes, self.best.name, self.all_pairs_up_to)
        return [(self.recipes[a], self.recipes[b]) for a, b in names]

    @cached_property
    def pairs(self) -> pd.DataFrame:
        """Pairs of recipes with the same seed, on the same test images; no row, but columns, for one recipe.

        Every pair of up to `all_pairs_up_to` recipes; of more, those of `study.compare.tested_pairs`.

        Columns: experiment_a, experiment_b, seed, images, accuracy_a, accuracy_b, then for accuracy,
        balanced_accuracy, macro_f1 and nll the difference a − b with its paired bootstrap interval, only_a_correct,
        only_b_correct, p_mcnemar (exact), p_holm (adjusted over all pairs and seeds of the table), distinguishable
        (p_holm ≤ 1 − confidence).

        With several seeds there is one more row per pair, with seed "all": means over the seeds, intervals over seeds
        and images, and in p_seeds_and_images the test of `p_value`, with p_holm adjusted over those rows
        alone.

        Where images are of groups, `groups` says in how many independent units the images are, p_sign_flip (exact) is
        in the place of p_mcnemar, and intervals and tests are over units.
        """
        rows = [
            self._pair(replace(a, runs=(one,)), replace(b, runs=(two,))) | self._seed_cells(one, two)
            for a, b in self.tested
            for one, two in zip(a, b, strict=True)
        ]
        _adjust(rows, self.seed_test, self.confidence)
        if self.several_seeds:
            over_seeds = [self._pair(a, b) | {"p_seeds_and_images": self.p_value(a, b)} for a, b in self.tested]
            _adjust(over_seeds, "p_seeds_and_images", self.confidence)
            rows += over_seeds
        return pd.DataFrame(rows, columns=PAIR_COLUMNS if self.units is None else GROUPED_PAIR_COLUMNS)

    def _pair(self, a: RecipeRuns, b: RecipeRuns) -> dict[str, Any]:
        """Differences between the runs of two recipes, the seeds in the same order."""
        row: dict[str, Any] = {"experiment_a": a.name, "experiment_b": b.name}
        row |= {"seed": EVERY_SEED if a.several_seeds else a.first.seed, "images": self.test_images}
        row |= {} if self.units is None else {"groups": self.test_units}
        row |= {"accuracy_a": a.accuracy("test"), "accuracy_b": b.accuracy("test")}
        for name in RESAMPLED:
            one, two = (mean_or_none([run.metrics["test"][name] for run in group]) for group in (a, b))
            row[f"{name}_difference"] = math.nan if one is None or two is None else one - two
            row[f"{name}_low"], row[f"{name}_high"] = self.difference_interval(a, b, name)
        return row

    def _seed_cells(self, a: Run, b: Run) -> dict[str, Any]:
        """The test of two runs with one seed."""
        return {
            "only_a_correct": int(np.sum(a.correct & ~b.correct)),
            "only_b_correct": int(np.sum(b.correct & ~a.correct)),
            self.seed_test: paired_test(a.correct, b.correct, self.units),
        }


def pairwise(comparison: Comparison) -> pd.DataFrame:
    """tables/pairwise.csv."""
    return comparison.pairs


def paired_differences(a: RecipeRuns, b: RecipeRuns) -> NDArray[np.int8] | NDArray[np.float64]:
    """Correct of `a` minus correct of `b` for each seed and test image, (S, N).

    Where images are of groups, for each seed and unit, (S, G): the sum over the unit's images, times G / N, so that the
    mean over the units is the difference in accuracy.
    """
    return _differences([run.correct for run in a], [run.correct for run in b], a.first.scores["test"].units)


def _of_seeds(group: RecipeRuns, metric: str) -> list[float]:
    """A test score of each seed; nan where it has none."""
    values = [run.metrics["test"][metric] for run in group]
    return [math.nan if value is None else float(value) for value in values]


Correct = Sequence[NDArray[np.bool_]]  # whether each image is classified correctly, (N,), of each seed


def _p_value(a: Correct, b: Correct, units: Units | None) -> float:
    if len(a) > 1:
        return crossed_test(_differences(a, b, units))
    return paired_test(a[0], b[0], units)


def _differences(a: Correct, b: Correct, units: Units | None) -> NDArray[np.int8] | NDArray[np.float64]:
    found = np.array([one.astype(np.int8) - two for one, two in zip(a, b, strict=True)], np.int8)
    if units is None:
        return found
    of_units = np.array([totals(row, units) for row in found])
    return of_units * (of_units.shape[1] / found.shape[1])


def mean_or_none(values: Sequence[float | None]) -> float | None:
    """The mean; None if a value is missing."""
    return None if None in values else float(np.mean(np.array(values, float)))


def _adjust(rows: list[dict[str, Any]], test: str, confidence: float) -> None:
    """Add p_holm and distinguishable to rows that are one family of tests."""
    for row, p in zip(rows, holm([row[test] for row in rows]), strict=True):
        row |= {"p_holm": p, "distinguishable": p <= 1 - confidence}
