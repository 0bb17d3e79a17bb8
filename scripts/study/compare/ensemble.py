"""Soft voting: the mean of several runs' probabilities, with members chosen on validation alone.

Entry points (runs come from `study.compare.runs.load_runs`, with predictions):
    members(comparison, allowed) -> list[Run]
    vote(chosen) -> Predictions                            what they say together
    seeds_together(recipe, networks) -> [{split: Scores}]  votes of so many seeds of one recipe each
    ensemble_table(comparison) -> DataFrame                tables/ensemble.csv
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from study.compare.comparison import Comparison
from study.compare.runs import RecipeRuns, Run, Scores, scores_by_split
from study.compare.statistics import accuracy_interval, paired_test, percentile_interval
from study.elsewhere import from_file
from study.errors import StudyError
from study.evaluate import own_predictions
from study.evaluate.metrics import evaluate
from study.evaluate.predictions import Predictions, blocks, most_probable, read_predictions

ENSEMBLE = "ensemble (soft voting)"


def members(comparison: Comparison, allowed: Callable[[Sequence[Run]], bool] = lambda chosen: True) -> list[Run]:
    """The runs that vote: added one by one, each time the one that lowers the validation NLL of the vote most.

    From the second member on it ends when no further run lowers it, or with `metrics.ensemble_members` of them. Failed
    runs and runs with probabilities that are not finite stand aside, and so do those that take another one's training
    or another seed's file, which would be a second vote of one network; if all do, the run of the recipe chosen on
    validation is alone.
    Source: Caruana, Niculescu-Mizil, Crew & Ksikes 2004, Ensemble selection from libraries of models (ICML),
    without replacement and by the NLL, which is finer than the accuracy of a few hundred images.

    Args:
        allowed: whether so many runs, in the order in which they were added, may vote together: what their trainings
            took, say. A run that may not is passed over.

    Raises:
        StudyError: if the runs were loaded without predictions.
    """
    runs, most = comparison.runs, comparison.metrics["ensemble_members"]
    if not all(run.scores for run in runs):
        raise StudyError("an ensemble needs the predictions of every run; evaluate them first")
    networks = {_network(run): run for run in reversed(runs) if run.recipe.trains or from_file(run.recipe)}
    free = [run for run in reversed(networks.values()) if not run.failed and np.isfinite(run.scores["val"].nll).all()]
    if not free:
        return [comparison.best.first]
    chosen: list[Run] = []
    total = np.full(len(free[0].scores["val"].nll), -np.inf)
    lowest = np.inf
    while (free := [run for run in free if allowed([*chosen, run])]) and len(chosen) < most:
        # NLL of the mean: of the true class's probabilities alone.
        sums = [np.logaddexp(total, -run.scores["val"].nll) for run in free]
        losses = [math.log(len(chosen) + 1) - float(log_sum.mean()) for log_sum in sums]
        if len(chosen) > 1 and min(losses) >= lowest:
            break
        lowest = min(losses)
        total = sums[int(np.argmin(losses))]
        chosen.append(free.pop(int(np.argmin(losses))))
    return chosen


def _network(run: Run) -> object:
    """The same for two runs of one network: of the same predictions of a file."""
    return own_predictions.source(run.metrics) if from_file(run.recipe) else run


def vote(chosen: Sequence[Run]) -> Predictions:
    """Mean probabilities of the members for every validation and test image, in the order of the first one's file.

    One member's log-probabilities are in memory at a time, beside their sum.
    """
    first, *others = chosen
    total = _predictions(first)
    scores, log_p = total.scores, total.log_p.astype(np.float64)
    place = pd.Index(scores["image_id"])
    for run in others:
        member = _predictions(run)
        rows = pd.Index(member.scores["image_id"]).get_indexer(place)
        for some in blocks(len(log_p)):
            log_p[some] = np.logaddexp(log_p[some], member.log_p[rows[some]])
    log_p -= math.log(len(chosen))
    labels = scores["label"].cat.codes
    return Predictions.of(scores["image_id"], scores["split"], labels, log_p, total.classes, most_probable(log_p))


def seeds_together(recipe: RecipeRuns, networks: int) -> list[dict[str, Scores]]:
    """What `networks` seeds of a recipe say together, for every so many of its seeds in their order.

    No run votes twice, so that the votes are as independent of one another as the runs are; seeds that are left over
    do not vote. Nothing is chosen.
    """
    if networks == 1:
        return [run.scores for run in recipe]
    starts = range(0, len(recipe) - networks + 1, networks)
    return [scores_by_split(vote(recipe.runs[start : start + networks]).scores) for start in starts]


def _predictions(run: Run) -> Predictions:
    assert run.predictions is not None
    return read_predictions(run.predictions)


def ensemble_table(
    comparison: Comparison, chosen: Sequence[Run] = (), votes: Predictions | None = None
) -> pd.DataFrame:
    """The vote beside its members and the recipe chosen alone, on the same test images.

    One row for the ensemble, then one per single run: the members, and every seed of the chosen recipe. Columns:
    name, role ("ensemble", "member", "best single recipe", or both), weight in the vote, val_accuracy, val_nll,
    test_accuracy with Wilson's interval, test_macro_f1, test_nll, test_ece, and against the ensemble:
    accuracy_difference (ensemble minus the run) with a paired bootstrap interval and p_mcnemar (exact, not adjusted),
    or p_sign_flip where images are of groups.

    Args:
        chosen, votes: what `members` and `vote` gave, where they are known.
    """
    confidence, bootstrap = comparison.confidence, comparison.bootstrap
    chosen = chosen or members(comparison)
    answers = (votes or vote(chosen)).scores
    metrics = evaluate(answers, comparison.metrics["ece_bins"])
    test = scores_by_split(answers)["test"]
    of_vote = bootstrap.scores_of(chosen[0], test.predicted, test.nll)["accuracy"]
    rows = [
        {
            "name": ENSEMBLE,
            "role": "ensemble",
            "weight": 1.0,
            **_scores(metrics, accuracy_interval(test.correct, comparison.units, confidence)),
        }
    ]
    for run in dict.fromkeys([*chosen, *comparison.best]):
        roles = ["member"] * (run in chosen) + ["best single recipe"] * (run.experiment == comparison.best.name)
        row: dict[str, Any] = {"name": f"{run.experiment}, seed {run.seed}", "role": ", ".join(roles)}
        row["weight"] = 1 / len(chosen) if run in chosen else 0.0
        row |= _scores(run.metrics, run.interval("test", confidence))
        low, high = percentile_interval(of_vote - bootstrap.scores(run)["accuracy"], confidence)
        row["accuracy_difference"] = metrics["test"]["accuracy"] - run.test_accuracy
        row |= {"accuracy_difference_low": low, "accuracy_difference_high": high}
        row[comparison.seed_test] = paired_test(test.correct, run.correct, comparison.units)
        rows.append(row)
    return pd.DataFrame(rows)


def _scores(metrics: dict[str, Any], interval: tuple[float, float]) -> dict[str, Any]:
    val, test = metrics["val"], metrics["test"]
    return {
        "val_accuracy": val["accuracy"],
        "val_nll": val["nll"],
        "test_accuracy": test["accuracy"],
        "test_accuracy_low": interval[0],
        "test_accuracy_high": interval[1],
        "test_macro_f1": test["macro_f1"],
        "test_nll": test["nll"],
        "test_ece": test["ece"],
    }
