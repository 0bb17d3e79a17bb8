"""Which conclusions of the reported study hold here, claim by claim.

A claim is read off the table of recipes: two recipes that differ in one treatment alone and both have a reported
accuracy say that the higher one's treatment is better; a recipe reported without an accuracy is one said to fail; and
the highest reported accuracy names the best of them. What is claimed about FER2013 need not hold on other images.

Entry point (runs come from `study.compare.runs.load_runs`, with predictions):
    conclusions(runs, confidence, samples) -> DataFrame    tables/conclusions.csv
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from study.compare.runs import Run, all_failed, by_experiment, choose, failure, reported_on
from study.compare.statistics import crossed, holm, mcnemar, percentile_interval, resampled_scores, resamples
from study.compare.tables import BEST, BOOTSTRAP_SEED, SAME, lr_text, recipe_verdict, verdicts
from study.recipe import Recipe

HOLDS, REVERSED, OPEN, UNJUDGED = "holds", "reversed", "not distinguishable", "cannot be judged"

# treatment -> the fields of a recipe that make it up; fields of no treatment may differ freely
TREATMENTS = {
    "batch size": ("batch_size",),
    "learning rate": ("lr",),
    "activation": ("activation",),
    "loss and sampler": ("loss", "sampler"),
    "optimizer": ("optimizer",),
}

# field -> how its value is told; the others are told by their value alone
WORDS = {
    "batch_size": "batch size {}",
    "lr": "learning rate {}",
    "momentum": "momentum {}",
    "nesterov": "Nesterov {}",
    "weight_decay": "weight decay {}",
}

COLUMNS = [
    *("claim", "kind", "experiment_a", "experiment_b", "reported_a", "reported_b", "accuracy_a", "accuracy_b"),
    *("difference", "low", "high", "p_holm", "verdict", "sentence"),
]


def conclusions(runs: Sequence[Run], confidence: float, samples: int) -> pd.DataFrame:
    """Every claim with what was measured: the accuracy of `a` (reported better) minus that of `b`, on the test images.

    A claim about a pair "holds" or is "reversed" only if every seed says so by exact McNemar tests with Holm's
    correction over all claims and seeds; otherwise it is "not distinguishable". Where both recipes failed it
    "cannot be judged". The interval is a paired bootstrap over the images (and seeds, if there are several).

    Returns:
        COLUMNS, in the order: best recipe, pairs by treatment, reported failures; empty without reported values.
    """
    groups = by_experiment(runs)
    rows = [*_best_claim(reported_on(runs), confidence), *_pair_claims(groups, confidence, samples)]
    rows += _failure_claims(groups)
    return pd.DataFrame(rows, columns=COLUMNS)


def _best_claim(runs: Sequence[Run], confidence: float) -> list[dict[str, Any]]:
    """Among the recipes that were reported on: the claim is not about those that were added here."""
    groups = by_experiment(runs)
    reported = {name: group[0].recipe.reported for name, group in groups.items()}
    known = {name: value for name, value in reported.items() if value is not None}
    if len(known) < 2:
        return []
    claimed, winner = max(known, key=lambda name: known[name]), choose(runs)
    found = verdicts(runs, confidence)
    verdict = recipe_verdict([found[run.experiment, run.seed][0] for run in groups[claimed]])
    if all_failed(groups[claimed]):
        here, judged = f"it {failure(groups[claimed])}", REVERSED
    elif verdict == BEST:
        here, judged = "it is chosen as well", HOLDS
    elif verdict == SAME:
        here, judged = f"it cannot be told apart from {winner}, the one chosen here", OPEN
    else:
        here, judged = f"{winner} is chosen, and {claimed} is {verdict} on the same test images", REVERSED
    return [
        {
            "claim": f"{claimed} is the best of the reported recipes",
            "kind": "best recipe",
            "experiment_a": claimed,
            "reported_a": known[claimed],
            "accuracy_a": _accuracy(groups[claimed]),
            "verdict": judged,
            "sentence": f"Reported as the best of {len(groups)}: {claimed}. Here {here}.",
        }
    ]


def _pair_claims(groups: dict[str, list[Run]], confidence: float, samples: int) -> list[dict[str, Any]]:
    pairs = []
    for one, two in itertools.combinations(groups.values(), 2):
        treatment = only_difference(one[0].recipe, two[0].recipe)
        values = one[0].recipe.reported, two[0].recipe.reported
        if treatment and None not in values and values[0] != values[1]:
            a, b = (one, two) if values[0] > values[1] else (two, one)  # type: ignore[operator]
            pairs.append((treatment, a, b))
    pairs.sort(key=lambda pair: list(TREATMENTS).index(pair[0]))
    tests = [
        (x.scores["test"].correct, y.scores["test"].correct) for _, a, b in pairs for x, y in zip(a, b, strict=True)
    ]
    p_values = iter(holm([mcnemar(x, y) for x, y in tests]))
    multiplicity = resamples(next(iter(groups.values()))[0].metrics["test"]["images"], samples, BOOTSTRAP_SEED)
    return [
        _pair_row(treatment, a, b, [next(p_values) for _ in a], multiplicity, confidence) for treatment, a, b in pairs
    ]


def only_difference(one: Recipe, two: Recipe, treatments: Mapping[str, Sequence[str]] = TREATMENTS) -> str:
    """The one treatment in which two recipes differ; "" if they differ in none or in several.

    Args:
        treatments: treatment -> the fields of a recipe that make it up.
    """
    differing = [
        treatment
        for treatment, fields in treatments.items()
        if any(getattr(one, field) != getattr(two, field) for field in fields)
    ]
    return differing[0] if len(differing) == 1 else ""


def _pair_row(
    treatment: str,
    a: list[Run],
    b: list[Run],
    p_values: list[float],
    multiplicity: np.ndarray,
    confidence: float,
) -> dict[str, Any]:
    difference = _accuracy(a) - _accuracy(b)
    differences = [_resampled(x, multiplicity) - _resampled(y, multiplicity) for x, y in zip(a, b, strict=True)]
    low, high = percentile_interval(crossed(np.array(differences), BOOTSTRAP_SEED), confidence)
    signs = {math.copysign(1, x.test_accuracy - y.test_accuracy) for x, y in zip(a, b, strict=True)}
    if all_failed(a) and all_failed(b):
        verdict = UNJUDGED
    elif max(p_values) > 1 - confidence or len(signs) > 1:
        verdict = OPEN
    else:
        verdict = HOLDS if difference > 0 else REVERSED
    fields = TREATMENTS[treatment]
    claim = f"{setting(a[0].recipe, b[0].recipe, fields)} beats {setting(b[0].recipe, a[0].recipe, fields)}"
    return {
        "claim": claim,
        "kind": treatment,
        "experiment_a": a[0].experiment,
        "experiment_b": b[0].experiment,
        "reported_a": a[0].recipe.reported,
        "reported_b": b[0].recipe.reported,
        "accuracy_a": _accuracy(a),
        "accuracy_b": _accuracy(b),
        "difference": difference,
        "low": low,
        "high": high,
        "p_holm": max(p_values),
        "verdict": verdict,
        "sentence": _pair_sentence(claim, a, b, verdict, (difference, low, high)),
    }


def setting(recipe: Recipe, other: Recipe, fields: Sequence[str]) -> str:
    """In which of these fields the recipe differs from the other, in words: "batch size 64", "cross entropy"."""
    words = []
    for field in fields:
        value = getattr(recipe, field)
        if value == getattr(other, field):
            continue
        text = lr_text(value) if field == "lr" else str(value).replace("_", " ")
        words.append(WORDS.get(field, "{}").format(text))
        if field == "sampler":
            words[-1] = "balanced sampling" if value == "balanced" else "plain shuffling"
    return " with ".join(words)


def _pair_sentence(claim: str, a: list[Run], b: list[Run], verdict: str, found: tuple[float, float, float]) -> str:
    names = f"{a[0].experiment} against {b[0].experiment}"
    claim = claim[0].upper() + claim[1:]
    points = "{:+.1f} points of test accuracy, {:+.1f} to {:+.1f}".format(*(100 * value for value in found))
    if verdict == UNJUDGED:
        return f"{claim} ({names}): cannot be judged, both failed here."
    lost = [f"{group[0].experiment} {failure(group)}" for group in (a, b) if all_failed(group)]
    aside = f"; {lost[0]}" if lost else ""
    words = {HOLDS: "holds", REVERSED: "the reverse is found", OPEN: "not distinguishable"}[verdict]
    return f"{claim} ({names}): {words} ({points}{aside})."


def _failure_claims(groups: dict[str, list[Run]]) -> list[dict[str, Any]]:
    """Recipes without a reported accuracy but with a note were reported as failed."""
    rows = []
    for name, group in groups.items():
        recipe = group[0].recipe
        if recipe.reported is not None or not recipe.reported_note:
            continue
        lost = [run for run in group if run.failed]
        verdict = HOLDS if len(lost) == len(group) else REVERSED if not lost else OPEN
        here = f"here it {failure(group)}" if lost else f"here it learns, to {_accuracy(group):.1%} of the test images"
        rows.append(
            {
                "claim": f"{name} fails",
                "kind": "failure",
                "experiment_a": name,
                "accuracy_a": _accuracy(group),
                "verdict": verdict,
                "sentence": f"{name} was reported as failed ({recipe.reported_note}): {here}.",
            }
        )
    return rows


def _accuracy(group: Sequence[Run]) -> float:
    return float(np.mean([run.test_accuracy for run in group]))


def _resampled(run: Run, multiplicity: np.ndarray) -> np.ndarray:
    scores = run.scores["test"]
    return resampled_scores(scores.labels, scores.predicted, scores.nll, len(run.classes), multiplicity)["accuracy"]
