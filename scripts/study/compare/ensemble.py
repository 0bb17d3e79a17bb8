"""Soft voting: the mean of several runs' probabilities, with members chosen on validation alone.

Entry points (runs come from `study.compare.runs.load_runs`, with predictions):
    members(runs, most) -> list[Run]
    vote(chosen) -> DataFrame                              in the layout of predictions.csv
    ensemble_table(runs, chosen, confidence, samples, ece_bins) -> DataFrame      tables/ensemble.csv
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from study.compare.runs import Run, by_experiment, choose
from study.compare.statistics import mcnemar, percentile_interval, resampled_scores, resamples, wilson_interval
from study.compare.tables import BOOTSTRAP_SEED
from study.errors import StudyError
from study.evaluate.metrics import PROBABILITY, SPLITS, evaluate, negative_log_likelihood

ENSEMBLE = "ensemble (soft voting)"


def members(runs: Sequence[Run], most: int) -> list[Run]:
    """The runs that vote: added one by one, each time the one that lowers the validation NLL of the vote most.

    From the second member on it ends when no further run lowers it, or with `most` members. Failed runs and runs with
    probabilities that are not finite stand aside; if all do, the run of the recipe chosen on validation is alone.
    Source: Caruana, Niculescu-Mizil, Crew & Ksikes 2004, Ensemble selection from libraries of models (ICML),
    without replacement and by the NLL, which is finer than the accuracy of a few hundred images.

    Raises:
        StudyError: if the runs were loaded without predictions.
    """
    if not all(run.scores for run in runs):
        raise StudyError("an ensemble needs the predictions of every run; evaluate them first")
    free = [run for run in runs if not run.failed and np.isfinite(run.scores["val"].probabilities).all()]
    if not free:
        return [by_experiment(runs)[choose(runs)][0]]
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
    for split in SPLITS:
        first = chosen[0].scores[split]
        mean = np.mean([run.scores[split].probabilities for run in chosen], axis=0)
        part = pd.DataFrame({"image_id": first.image_ids, "split": split, "label": classes[first.labels]})
        parts.append(part.assign(**{PROBABILITY + name: mean[:, k] for k, name in enumerate(classes)}))
    return pd.concat(parts, ignore_index=True)


def ensemble_table(
    runs: Sequence[Run], chosen: Sequence[Run], confidence: float, samples: int, ece_bins: int
) -> pd.DataFrame:
    """The vote beside its members and the recipe chosen alone, on the same test images.

    One row for the ensemble, then one per single run: the members, and every seed of the chosen recipe. Columns:
    name, role ("ensemble", "member", "best single recipe", or both), weight in the vote, val_accuracy, val_nll,
    test_accuracy with Wilson's interval, test_macro_f1, test_nll, test_ece, and against the ensemble:
    accuracy_difference (ensemble minus the run) with a paired bootstrap interval and p_mcnemar (exact, not adjusted).
    """
    winner = choose(runs)
    votes = vote(chosen)
    metrics = evaluate(votes, ece_bins)
    test = votes[votes["split"] == "test"]
    labels = chosen[0].scores["test"].labels
    predicted = test[[PROBABILITY + name for name in chosen[0].classes]].to_numpy().argmax(axis=1)
    multiplicity = resamples(len(labels), samples, BOOTSTRAP_SEED)

    def resampled(guess: NDArray[np.int64]) -> NDArray[np.float64]:
        zero = np.zeros(len(labels))
        return resampled_scores(labels, guess, zero, len(chosen[0].classes), multiplicity)["accuracy"]

    of_vote = resampled(predicted)
    rows = [{"name": ENSEMBLE, "role": "ensemble", "weight": 1.0, **_scores(metrics, confidence)}]
    for run in dict.fromkeys([*chosen, *by_experiment(runs)[winner]]):
        roles = ["member"] * (run in chosen) + ["best single recipe"] * (run.experiment == winner)
        row: dict[str, Any] = {"name": f"{run.experiment}, seed {run.seed}", "role": ", ".join(roles)}
        row |= {"weight": 1 / len(chosen) if run in chosen else 0.0, **_scores(run.metrics, confidence)}
        single = run.scores["test"]
        low, high = percentile_interval(of_vote - resampled(single.predicted), confidence)
        row["accuracy_difference"] = metrics["test"]["accuracy"] - run.test_accuracy
        row |= {"accuracy_difference_low": low, "accuracy_difference_high": high}
        row["p_mcnemar"] = mcnemar(predicted == labels, single.correct)
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
