"""Finished runs, read back from their files, and which recipe the study chooses.

Entry points:
    load_runs(recipes, run_files, metrics_files, history_files, predictions_files) -> list[Run]
    choose(runs) -> str                                    the winning experiment, chosen on validation alone
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from study.errors import StudyError
from study.evaluate.metrics import decode, negative_log_likelihood, read_predictions
from study.recipe import Recipe

FAILURES = ("collapsed", "diverged")


@dataclass(frozen=True)
class Scores:
    """What a run said about each image of one split; rows are sorted by image id, so runs line up.

    Attributes:
        image_ids: (N,) text.
        labels, predicted: class indices, (N,) int64.
        nll: −ln p of the true class in nats, (N,); nan throughout if any probability is not finite.
        probabilities: of each class, (N, K).
    """

    image_ids: NDArray[np.str_]
    labels: NDArray[np.int64]
    predicted: NDArray[np.int64]
    nll: NDArray[np.float64]
    probabilities: NDArray[np.float64]

    @property
    def correct(self) -> NDArray[np.bool_]:
        """Whether each image was classified correctly, (N,)."""
        return self.labels == self.predicted


@dataclass(frozen=True, eq=False)
class Run:
    """One experiment trained with one seed.

    Attributes:
        recipe: the row of the table of recipes, with case and reported value.
        seed: the study's seed.
        record: the content of run.json.
        metrics: the content of metrics.json.
        history: one row per epoch, as in history.csv.
        scores: per split, what was predicted for each image; empty if predictions were not loaded.
    """

    recipe: Recipe
    seed: int
    record: dict[str, Any]
    metrics: dict[str, Any]
    history: pd.DataFrame
    scores: dict[str, Scores] = field(default_factory=dict)

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
    def reason(self) -> str:
        return str(self.record.get("reason") or "")

    @property
    def classes(self) -> list[str]:
        """Class names in the order of the confusion matrix."""
        return list(self.metrics["test"]["recall"])

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
) -> list[Run]:
    """Every run of a study, in the order of the table of recipes, then by seed.

    Files are matched by their folders `{experiment}/seed_{seed}`, so the lists may come in any order. Histories are
    needed for curves, predictions for paired tests; either list may be empty.

    Raises:
        StudyError: if a run lacks one of its files, is not in the table of recipes, or two runs were evaluated on
            different images.
    """
    records = _by_run(run_files)
    metrics = _by_run(metrics_files)
    histories = _by_run(history_files)
    predictions = _by_run(predictions_files)
    order = {name: position for position, name in enumerate(recipes)}
    runs = []
    for key in sorted(records, key=lambda key: (order.get(key[0], len(order)), key)):
        experiment, seed = key
        if experiment not in recipes:
            raise StudyError(f"{records[key]}: experiment '{experiment}' is not in the table of recipes")
        for files, name in ((metrics, "metrics.json"), (histories, "history.csv"), (predictions, "predictions.csv")):
            if files and key not in files:
                raise StudyError(f"{records[key]}: the run has no {name} beside it; run Snakemake again to make it")
        runs.append(
            Run(
                recipe=recipes[experiment],
                seed=seed,
                record=json.loads(records[key].read_text(encoding="utf-8")),
                metrics=json.loads(metrics[key].read_text(encoding="utf-8")),
                history=pd.read_csv(histories[key]) if histories else pd.DataFrame(),
                scores=_scores(predictions[key]) if predictions else {},
            )
        )
    if not runs:
        raise StudyError("no run to compare: the table of recipes or the list of seeds is empty")
    _check_same_images(runs)
    return runs


def _by_run(files: Iterable[str | Path]) -> dict[tuple[str, int], Path]:
    return {(path.parents[1].name, int(path.parent.name.removeprefix("seed_"))): path for path in map(Path, files)}


def _scores(path: Path) -> dict[str, Scores]:
    table = read_predictions(path).sort_values("image_id", kind="stable")
    scores = {}
    for split, rows in table.groupby("split"):
        labels, predicted, probabilities = decode(rows)
        finite = np.isfinite(probabilities).all()
        nll = negative_log_likelihood(labels, probabilities) if finite else np.full(len(labels), np.nan)
        scores[str(split)] = Scores(rows["image_id"].to_numpy(str), labels, predicted, nll, probabilities)
    return scores


def _check_same_images(runs: list[Run]) -> None:
    first = runs[0]
    for run in runs[1:]:
        if run.classes != first.classes:
            raise StudyError(
                f"{run.experiment}: classes {run.classes} differ from those of {first.experiment}: {first.classes}"
            )
        for split, scores in run.scores.items():
            if not np.array_equal(scores.image_ids, first.scores[split].image_ids):
                raise StudyError(
                    f"{run.experiment}, seed {run.seed}: evaluated on other {split} images than {first.experiment}, "
                    f"seed {first.seed}; only the same images can be compared, so evaluate both again"
                )


def by_experiment(runs: Iterable[Run]) -> dict[str, list[Run]]:
    """Runs per experiment, seeds together, in the order given."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(run.experiment, []).append(run)
    return groups


def reported_on(runs: Iterable[Run]) -> list[Run]:
    """The runs of recipes that a publication reported on, with an accuracy or in words."""
    return [run for run in runs if run.recipe.reported is not None or run.recipe.reported_note]


def all_failed(group: Iterable[Run]) -> bool:
    """Whether every run of a recipe collapsed or diverged."""
    return all(run.failed for run in group)


def failure(group: Sequence[Run]) -> str:
    """How runs of a recipe failed, in words: "", "collapsed", or "collapsed in 1 of 3 seeds"."""
    lost = [run.outcome for run in group if run.failed]
    share = f" in {len(lost)} of {len(group)} seeds" if lost and len(group) > 1 else ""
    return " and ".join(dict.fromkeys(lost)) + share


def choose(runs: Iterable[Run]) -> str:
    """The experiment with the highest mean validation accuracy over its seeds; test scores play no part.

    A recipe of which every run failed is chosen only if all recipes failed. Ties go to the lower validation NLL,
    then to the order given.
    """

    def rank(group: list[Run]) -> tuple[bool, float, float]:
        nlls = [run.metrics["val"]["nll"] for run in group]
        nll = float(np.mean(nlls)) if all(value is not None for value in nlls) else np.inf
        return not all_failed(group), float(np.mean([run.val_accuracy for run in group])), -nll

    groups = by_experiment(runs)
    return max(groups, key=lambda name: rank(groups[name]))
