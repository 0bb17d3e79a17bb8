"""Finished runs, read back from their files; the runs of one recipe; and which recipe is chosen.

Entry points:
    load_runs(recipes, run_files, metrics_files, history_files, predictions_files, groups) -> list[Run]
    scores_by_split(table) -> {split: Scores}              of one run, or of several that vote
    by_recipe(runs, confidence) -> {experiment: RecipeRuns}
    choose(recipes, by) -> RecipeRuns                      the best recipe, chosen on validation alone
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_array

from study.compare.outcome_in_words import reason
from study.compare.statistics import Units, accuracy_interval, units_of, with_seeds
from study.elsewhere import from_file, made_elsewhere
from study.errors import StudyError
from study.evaluate import own_predictions
from study.evaluate.adjustment import Adjustment
from study.evaluate.predictions import read_scores
from study.files import read_json, read_table
from study.names import FAILURES
from study.paths import RunPaths, run_of
from study.recipe import Recipe


@dataclass(frozen=True)
class Scores:
    """What a run said about each image of one split; rows are sorted by image id, so runs line up.

    Attributes:
        image_ids: (N,) text.
        labels, predicted: class indices, (N,) int64.
        nll: −ln p of the true class in nats, (N,); not finite where the network diverged.
        confidence: probability of the predicted class, (N,).
        units: which image is of which independent unit, see `study.compare.statistics`; None if each is one.
    """

    image_ids: NDArray[np.str_]
    labels: NDArray[np.int64]
    predicted: NDArray[np.int64]
    nll: NDArray[np.float64]
    confidence: NDArray[np.float64]
    units: Units | None = None

    @property
    def correct(self) -> NDArray[np.bool_]:
        """Whether each image was classified correctly, (N,)."""
        return self.labels == self.predicted


@dataclass(frozen=True, eq=False)
class Subset:
    """Some images of a split, as the seeds of a recipe see them.

    Attributes:
        correct: whether each is classified correctly by each seed, (S, n).
        units: which of them are of one unit, (n,), see `study.compare.statistics`; None if each is by itself.
    """

    correct: NDArray[np.bool_]
    units: Units | None

    @property
    def of_seeds(self) -> NDArray[np.float64]:
        """Accuracy of each seed, (S,)."""
        return np.asarray(self.correct.mean(axis=1))

    @property
    def accuracy(self) -> float:
        """Mean over the seeds."""
        return float(self.correct.mean())

    @property
    def independent(self) -> int:
        """How many independent units they are."""
        return self.correct.shape[1] if self.units is None else len(np.unique(self.units))

    def over_images(self, confidence: float) -> tuple[float, float]:
        """Wilson's interval of the mean accuracy of these trained networks, over units where images are of groups."""
        return accuracy_interval(self.correct.mean(axis=0), self.units, confidence)

    def interval(self, confidence: float) -> tuple[float, float]:
        """The interval over images; of several seeds over seeds and images.

        See `study.compare.statistics.with_seeds`.
        """
        low, high = with_seeds(self.over_images(confidence), self.of_seeds.tolist(), confidence)
        return max(low, 0.0), min(high, 1.0)


@dataclass(frozen=True, eq=False)
class Run:
    """One experiment trained with one seed, or a file of predictions for it.

    Attributes:
        recipe: the row of the table of recipes, with case and reported value.
        seed: the study's seed.
        record: the content of run.json; of predictions from a file the outcome, and that the rest is not known.
        metrics: the content of metrics.json.
        history: one row per epoch, as in history.csv; empty if predictions come from a file.
        scores: per split, what was predicted for each image; empty if predictions were not loaded.
        predictions: the file, which has the log-probabilities of all classes too.
    """

    recipe: Recipe
    seed: int
    record: dict[str, Any]
    metrics: dict[str, Any]
    history: pd.DataFrame
    scores: dict[str, Scores] = field(default_factory=dict)
    predictions: Path | None = None

    @property
    def experiment(self) -> str:
        return self.recipe.experiment

    @property
    def case(self) -> int:
        return self.recipe.case

    @property
    def outcome(self) -> str:
        return str(self.record["outcome"])

    @property
    def failed(self) -> bool:
        """Whether the run collapsed or diverged."""
        return self.outcome in FAILURES

    @property
    def adjustment(self) -> Adjustment | None:
        """What was done to the predictions after the training."""
        return Adjustment.of(self.metrics)

    @property
    def seconds(self) -> float:
        """What its training took; 0 without one of its own, nan where predictions come from a file."""
        return float(self.record["seconds"]) if self.recipe.trains or from_file(self.recipe) else 0.0

    @cached_property
    def reason(self) -> str:
        """The sentence about the outcome; needs the history. Without a training it begins with what was done instead.

        Raises:
            StudyError: the run was trained by a version that left no facts.
        """
        if from_file(self.recipe):
            return own_predictions.reason(self.metrics)
        if "best_by" not in self.record.get("facts", {}):
            raise StudyError(
                f"{self.experiment}, seed {self.seed}: run.json lacks the facts behind the outcome, it was made by an "
                "earlier version; run Snakemake again to train anew"
            )
        text = reason(self.record, self.history.to_dict("records"))
        return text if self.recipe.trains else f"{self._instead} {text}"

    @property
    def _instead(self) -> str:
        """What a run without training is."""
        done = f"; {self.adjustment.in_words()}" if self.adjustment else ""
        return f"Trained as {self.recipe.training}{done}."

    @property
    def classes(self) -> list[str]:
        """Class names in the order of their indices."""
        return list(self.metrics["test"]["recall"])

    def by_class(self, split: str, what: str) -> NDArray[np.int64]:
        """How many "images", "hits" or "guesses" of a split each class has, (K,); see `metrics.evaluate`."""
        return np.array(list(self.metrics[split][f"class_{what}"].values()), np.int64)

    def confusion(self, split: str) -> csr_array:
        """Images by true class (rows) and predicted class (columns), (K, K) with what occurs alone."""
        scores, side = self.scores[split], len(self.classes)
        return csr_array((np.ones(len(scores.labels), np.int64), (scores.labels, scores.predicted)), shape=(side, side))

    def interval(self, split: str, confidence: float) -> tuple[float, float]:
        """Wilson's interval of the accuracy, over the images of the split; over its units where images are of some."""
        return accuracy_interval(self.scores[split].correct, self.scores[split].units, confidence)

    @property
    def correct(self) -> NDArray[np.bool_]:
        """Whether each test image was classified correctly, (N,)."""
        return self.scores["test"].correct

    @property
    def val_accuracy(self) -> float:
        return float(self.metrics["val"]["accuracy"])

    @property
    def test_accuracy(self) -> float:
        return float(self.metrics["test"]["accuracy"])


def load_runs(
    recipes: Mapping[str, Recipe],
    run_files: Iterable[str | Path],
    metrics_files: Iterable[str | Path],
    history_files: Iterable[str | Path] = (),
    predictions_files: Iterable[str | Path] = (),
    groups: pd.Series | None = None,
) -> list[Run]:
    """Every run of a study, in the order of the table of recipes, then by seed.

    Files are matched by their folders `{experiment}/seed_{seed}`, so the lists may come in any order. Histories are
    needed for curves, predictions for paired tests; either list may be empty. A recipe without training has the
    run.json and the history of the one that was trained for it; of one whose predictions come from a file there are
    metrics.json and predictions.parquet alone.

    Args:
        groups: the group of every image that is of one, by image_id, as `study.data.manifest.read_groups` gives it.

    Raises:
        StudyError: if a run lacks one of its files, is not in the table of recipes, or two runs were evaluated on
            different images.
    """
    records = _by_run(run_files)
    metrics = _by_run(metrics_files)
    histories = _by_run(history_files)
    predictions = _by_run(predictions_files)
    trained_ones = {recipe.training for recipe in recipes.values()}
    if unknown := [key for key in sorted(records) if key[0] not in trained_ones]:
        raise StudyError(f"{records[unknown[0]]}: experiment '{unknown[0][0]}' is not in the table of recipes")
    runs = []
    for recipe, seed in _in_order(recipes, records, metrics):
        trained, evaluated, own = (recipe.training, seed), (recipe.experiment, seed), from_file(recipe)
        for files, key, name in (
            (metrics, evaluated, "metrics.json"),
            ({} if own else histories, trained, "history.csv"),
            (predictions, evaluated, "predictions.parquet"),
        ):
            if files and key not in files:
                of = "" if recipe.trains else f" for '{recipe.experiment}'"
                beside = records.get(trained) or metrics[evaluated]
                raise StudyError(f"{beside}: the run has no {name} beside it{of}; run Snakemake again to make it")
        scored = read_json(metrics[evaluated])
        runs.append(
            Run(
                recipe=recipe,
                seed=seed,
                record=own_predictions.record_of(scored) if own else read_json(records[trained]),
                metrics=scored,
                history=read_table(histories[trained], text=()) if histories and not own else pd.DataFrame(),
                scores=scores_by_split(read_scores(predictions[evaluated])) if predictions else {},
                predictions=predictions.get(evaluated),
            )
        )
        if len(runs) == 1:
            _set_units(runs[0], groups)
        share_images(runs[-1], runs[0])
    if not runs:
        raise StudyError("no run to compare: the table of recipes or the list of seeds is empty")
    return runs


def _in_order(
    recipes: Mapping[str, Recipe], records: Mapping[tuple[str, int], Path], metrics: Mapping[tuple[str, int], Path]
) -> Iterator[tuple[Recipe, int]]:
    """Recipe and seed of every run: of those that are trained all with a run.json, of the others all with metrics."""
    for name, recipe in recipes.items():
        here = records if recipe.trains else metrics
        for seed in sorted(seed for experiment, seed in here if experiment == name):
            if (recipe.training, seed) in records or from_file(recipe):
                yield recipe, seed


def files_of(runs: Sequence[RunPaths]) -> tuple[list[Path], list[Path], list[Path], list[Path]]:
    """The lists of files that `load_runs` takes."""
    trained = [run for run in runs if not made_elsewhere(run.training)]
    return (
        [run.run for run in trained],
        [run.metrics for run in runs],
        [run.history for run in trained],
        [run.predictions for run in runs],
    )


def _by_run(files: Iterable[str | Path]) -> dict[tuple[str, int], Path]:
    return {run_of(path): Path(path) for path in files}


def scores_by_split(table: pd.DataFrame) -> dict[str, Scores]:
    """From a row per image with the columns `study.evaluate.predictions.SCORES`."""
    table = table.sort_values("image_id", kind="stable")
    return {
        str(split): Scores(
            rows["image_id"].to_numpy(str),
            *(rows[name].cat.codes.to_numpy(np.int64) for name in ("label", "predicted")),
            *(rows[name].to_numpy(np.float64) for name in ("nll", "confidence")),
        )
        for split, rows in table.groupby("split")
    }


def _set_units(run: Run, groups: pd.Series | None) -> None:
    """Let a run know which of its images are of one unit."""
    for split, scores in run.scores.items():
        run.scores[split] = replace(scores, units=units_of(scores.image_ids, groups))


def share_images(run: Run, first: Run) -> None:
    """Check that a run was evaluated on the images of the first, and let it have these, so that they are held once.

    It has the units of the first run as well.

    Raises:
        StudyError: if it was evaluated on others.
    """
    if run.classes != first.classes:
        raise StudyError(
            f"{run.experiment}: classes {run.classes} differ from those of {first.experiment}: {first.classes}"
        )
    for split, scores in run.scores.items():
        known = first.scores[split]
        if not np.array_equal(scores.image_ids, known.image_ids):
            raise StudyError(
                f"{run.experiment}, seed {run.seed}: evaluated on other {split} images than {first.experiment}, "
                f"seed {first.seed}; only the same images can be compared, so evaluate both again"
            )
        run.scores[split] = replace(scores, image_ids=known.image_ids, units=known.units)


@dataclass(frozen=True, eq=False)
class RecipeRuns:
    """The runs of one recipe, one for each seed.

    Attributes:
        runs: at least one, in the order of the seeds.
        confidence: level of the intervals, a share.
        verdict: how the recipe compares with the best one, see `study.compare.verdicts`; "" outside a comparison.
        tier: see `study.compare.comparison.Comparison.tiers`.
    """

    runs: tuple[Run, ...]
    confidence: float
    verdict: str = ""
    tier: int | None = None

    def __iter__(self) -> Iterator[Run]:
        return iter(self.runs)

    def __len__(self) -> int:
        return len(self.runs)

    @property
    def first(self) -> Run:
        """The run of the first seed."""
        return self.runs[0]

    @property
    def recipe(self) -> Recipe:
        """The row of the table of recipes."""
        return self.first.recipe

    @property
    def capped(self) -> Recipe:
        """The recipe with the epochs that its runs were allowed, which the study may have cut; for differences."""
        if from_file(self.recipe):
            return self.recipe
        return self.recipe.but(max_epochs=min(self.recipe.max_epochs, self.first.record["max_epochs"]))

    @property
    def one_network(self) -> bool:
        """Whether the runs of all seeds are of the same predictions, read from one file."""
        return from_file(self.recipe) and len({own_predictions.source(run.metrics) for run in self.runs}) == 1

    @property
    def name(self) -> str:
        """The experiment."""
        return self.recipe.experiment

    @property
    def several_seeds(self) -> bool:
        """Whether there is more than one run."""
        return len(self.runs) > 1

    def accuracy(self, split: str) -> float:
        """Mean over the seeds."""
        return self.score(split, "accuracy")

    def score(self, split: str, metric: str) -> float:
        """Mean of a metric of metrics.json over the seeds."""
        return float(np.mean([run.metrics[split][metric] for run in self.runs]))

    def interval(self, split: str) -> tuple[float, float]:
        """`Subset.interval` of the accuracy on all images of a split."""
        right = np.array([run.scores[split].correct for run in self.runs])
        return Subset(right, self.first.scores[split].units).interval(self.confidence)

    @property
    def failed(self) -> bool:
        """Whether every run collapsed or diverged."""
        return all(run.failed for run in self.runs)

    @property
    def failure(self) -> str:
        """How runs failed, in words: "", "collapsed", or "collapsed in 1 of 3 seeds"."""
        lost = [run.outcome for run in self.runs if run.failed]
        share = f" in {len(lost)} of {len(self.runs)} seeds" if lost and self.several_seeds else ""
        return " and ".join(dict.fromkeys(lost)) + share

    @property
    def reported_on(self) -> bool:
        """Whether a publication reported on the recipe, with an accuracy or in words."""
        return self.recipe.reported is not None or bool(self.recipe.reported_note)

    @property
    def reported_as_failed(self) -> bool:
        """Whether a publication reported on the recipe in words alone: it did not get far."""
        return self.reported_on and self.recipe.reported is None


def by_recipe(runs: Iterable[Run], confidence: float = math.nan) -> dict[str, RecipeRuns]:
    """Runs per experiment, seeds together, in the order given.

    Args:
        confidence: level of the intervals; to choose a recipe there need be none.
    """
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(run.experiment, []).append(run)
    return {name: RecipeRuns(tuple(group), confidence) for name, group in groups.items()}


def choose(recipes: Iterable[RecipeRuns], by: str = "accuracy") -> RecipeRuns:
    """The recipe with the highest mean validation accuracy over its seeds; test scores play no part.

    A recipe of which every run failed is chosen only if all recipes failed. Ties go to the lower validation NLL,
    then to the order given.

    Args:
        by: another metric of metrics.json to look at instead, of which the highest is the best.
    """

    def rank(recipe: RecipeRuns) -> tuple[bool, float, float]:
        nlls = [run.metrics["val"]["nll"] for run in recipe]
        nll = float(np.mean(nlls)) if all(value is not None for value in nlls) else np.inf
        return not recipe.failed, recipe.score("val", by), -nll

    return max(recipes, key=rank)
