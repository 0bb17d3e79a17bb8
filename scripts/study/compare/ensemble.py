"""Soft voting: the mean of several runs' probabilities, with members chosen on validation alone.

Entry points (runs come from `study.compare.runs.load_runs`, with predictions):
    members(comparison) -> list[Run]
    vote(chosen) -> DataFrame                              in the layout of predictions.csv
    ensemble_table(comparison) -> DataFrame                tables/ensemble.csv
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from study.compare.comparison import Comparison
from study.compare.runs import Run
from study.compare.statistics import mcnemar, percentile_interval, wilson_interval
from study.errors import StudyError
from study.evaluate.metrics import evaluate, negative_log_likelihood
from study.names import EVALUATED_SPLITS, PROBABILITY

ENSEMBLE = "ensemble (soft voting)"


def members(comparison: Comparison) -> list[Run]:
    """The runs that vote: added one by one, each time the one that lowers the validation NLL of the vote most.

    From the second member on it ends when no further run lowers it, or with `metrics.ensemble_members` of them. Failed
    runs and runs with probabilities that are not finite stand aside, and so do those without a training of their own,
    which would be a second vote of one network; if all do, the run of the recipe chosen on validation is alone.
    Source: Caruana, Niculescu-Mizil, Crew & Ksikes 2004, Ensemble selection from libraries of models (ICML),
    without replacement and by the NLL, which is finer than the accuracy of a few hundred images.

    Raises:
        StudyError: if the runs were loaded without predictions.
    """
    runs, most = comparison.runs, comparison.metrics["ensemble_members"]
    if not all(run.scores for run in runs):
        raise StudyError("an ensemble needs the predictions of every run; evaluate them first")
    trained = [run for run in runs if run.recipe.trains]
    free = [run for run in trained if not run.failed and np.isfinite(run.scores["val"].probabilities).all()]
    if not free:
        return [comparison.best.first]
    labels = free[0].scores["val"].labels
    chosen: list[Run] = []
    total = np.zeros_like(free[0].scores["val"].probabilities)
    lowest = np.inf
    while free and len(chosen) < most:
        scores = [_nll(labels, (total + run.scores["val"].probabilities) / (len(chosen) + 1)) for run in free]
        if len(chosen) > 1 and min(scores) >= lowest:
            break
        lowest = min(scores)
        chosen.append(free.pop(int(np.argmin(scores))))
        total = total + chosen[-1].scores["val"].probabilities
    return chosen


def _nll(labels: NDArray[np.int64], probabilities: NDArray[np.float64]) -> float:
    return float(negative_log_likelihood(labels, probabilities).mean())


def vote(chosen: Sequence[Run]) -> pd.DataFrame:
    """Mean probabilities of the members for every validation and test image, in the layout of predictions.csv."""
    classes = np.array(chosen[0].classes, dtype=object)
    parts = []
    for split in EVALUATED_SPLITS:
        first = chosen[0].scores[split]
        mean = np.mean([run.scores[split].probabilities for run in chosen], axis=0)
        part = pd.DataFrame({"image_id": first.image_ids, "split": split, "label": classes[first.labels]})
        parts.append(part.assign(**{PROBABILITY + name: mean[:, k] for k, name in enumerate(classes)}))
    return pd.concat(parts, ignore_index=True)


def ensemble_table(comparison: Comparison) -> pd.DataFrame:
    """The vote beside its members and the recipe chosen alone, on the same test images.

    One row for the ensemble, then one per single run: the members, and every seed of the chosen recipe. Columns:
    name, role ("ensemble", "member", "best single recipe", or both), weight in the vote, val_accuracy, val_nll,
    test_accuracy with Wilson's interval, test_macro_f1, test_nll, test_ece, and against the ensemble:
    accuracy_difference (ensemble minus the run) with a paired bootstrap interval and p_mcnemar (exact, not adjusted).
    """
    confidence, bootstrap = comparison.confidence, comparison.bootstrap
    chosen = members(comparison)
    votes = vote(chosen)
    metrics = evaluate(votes, comparison.metrics["ece_bins"])
    test = votes[votes["split"] == "test"]
    labels = chosen[0].scores["test"].labels
    predicted = test[[PROBABILITY + name for name in chosen[0].classes]].to_numpy().argmax(axis=1)
    of_vote = bootstrap.scores_of(chosen[0], predicted, np.zeros(len(labels)))["accuracy"]
    rows = [{"name": ENSEMBLE, "role": "ensemble", "weight": 1.0, **_scores(metrics, confidence)}]
    for run in dict.fromkeys([*chosen, *comparison.best]):
        roles = ["member"] * (run in chosen) + ["best single recipe"] * (run.experiment == comparison.best.name)
        row: dict[str, Any] = {"name": f"{run.experiment}, seed {run.seed}", "role": ", ".join(roles)}
        row |= {"weight": 1 / len(chosen) if run in chosen else 0.0, **_scores(run.metrics, confidence)}
        low, high = percentile_interval(of_vote - bootstrap.scores(run)["accuracy"], confidence)
        row["accuracy_difference"] = metrics["test"]["accuracy"] - run.test_accuracy
        row |= {"accuracy_difference_low": low, "accuracy_difference_high": high}
        row["p_mcnemar"] = mcnemar(predicted == labels, run.correct)
        rows.append(row)
    return pd.DataFrame(rows)


def _scores(metrics: dict[str, Any], confidence: float) -> dict[str, Any]:
    val, test = metrics["val"], metrics["test"]
    low, high = wilson_interval(round(test["accuracy"] * test["images"]), test["images"], confidence)
    return {
        "val_accuracy": val["accuracy"],
        "val_nll": val["nll"],
        "test_accuracy": test["accuracy"],
        "test_accuracy_low": low,
        "test_accuracy_high": high,
        "test_macro_f1": test["macro_f1"],
        "test_nll": test["nll"],
        "test_ece": test["ece"],
    }
