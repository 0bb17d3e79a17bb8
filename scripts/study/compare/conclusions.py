"""Which conclusions of the reported study hold here, claim by claim.

A claim is read off the table of recipes: two recipes that differ in one treatment alone and both have a reported
accuracy say that the higher one's treatment is better; a recipe reported without an accuracy is one said to fail; and
the highest reported accuracy names the best of them. What is claimed about FER2013 need not hold on other images.

Entry point:
    conclusions(comparison) -> DataFrame                   tables/conclusions.csv
"""

from typing import Any

import pandas as pd

from study.compare.comparison import Comparison
from study.compare.points import signed
from study.compare.runs import RecipeRuns
from study.compare.statistics import holm
from study.compare.tested_pairs import alone
from study.compare.verdicts import BETTER, HOLDS, NOT_BETTER, NOT_DISTINGUISHABLE, REVERSED, UNJUDGED
from study.recipe import TREATMENTS, difference_in_words, listed

# The study changed the two together, so its claims are about both at once.
TOGETHER = ("loss", "sampler")
CLAIMED = {
    "batch size": TREATMENTS["batch size"],
    "learning rate": TREATMENTS["learning rate"],
    "activation": TREATMENTS["activation"],
    "loss and sampler": tuple(column for treatment in TOGETHER for column in TREATMENTS[treatment]),
    **{treatment: columns for treatment, columns in TREATMENTS.items() if treatment not in TOGETHER},
}

CONCLUSION_COLUMNS = [
    *("claim", "kind", "experiment_a", "experiment_b", "reported_a", "reported_b", "accuracy_a", "accuracy_b"),
    *("difference", "low", "high", "p_holm", "verdict", "sentence"),
]


def conclusions(comparison: Comparison) -> pd.DataFrame:
    """Every claim with what was measured: the accuracy of `a` (reported better) minus that of `b`, on the test images.

    A claim about a pair "holds" or is "reversed" if the p value of `Comparison.p_value`, adjusted by Holm over all
    claims about pairs, is at most 1 − confidence; otherwise it is "not distinguishable". Where both recipes failed it
    "cannot be judged". That a recipe is the best holds if the tests find all others worse, and is reversed if they find
    one better. The sentences say which accuracy is not better than always answering the largest class; a recipe
    reported as failed that gets no further does not count as one that learns. The interval is a paired bootstrap over
    the images, of several seeds over these too.

    Returns:
        CONCLUSION_COLUMNS, in the order: best recipe, pairs by treatment, reported failures; empty if nothing was
        reported.
    """
    rows = [*_best_claim(comparison.reported_on()), *_pair_claims(comparison), *_failure_claims(comparison)]
    return pd.DataFrame(rows, columns=CONCLUSION_COLUMNS)


def _best_claim(reported: Comparison | None) -> list[dict[str, Any]]:
    """Among the recipes that were reported on, each tested against the claimed one, whichever validation chooses here.

    The claim is not about recipes that were added here.
    """
    groups = {} if reported is None else reported.recipes
    known = {name: group.recipe.reported for name, group in groups.items() if group.recipe.reported is not None}
    if reported is None or len(known) < 2:
        return []
    claimed = groups[max(known, key=lambda name: known[name])]
    beside = reported.beside(claimed, groups.values())
    better, alike = (
        [name for name, (found, _) in beside.items() if found == one] for one in (BETTER, NOT_DISTINGUISHABLE)
    )
    if claimed.failed:
        here, verdict = f"it {claimed.failure}", REVERSED
    elif better:
        here, verdict = (
            f"{listed(better)} {'is' if len(better) == 1 else 'are'} better on the same test images",
            REVERSED,
        )
    elif alike:
        here, verdict = f"it cannot be told apart from {listed(alike)} on the same test images", NOT_DISTINGUISHABLE
    else:
        here, verdict = "every other one is worse on the same test images", HOLDS
    return [
        {
            "claim": f"{claimed.name} is the best of the reported recipes",
            "kind": "best recipe",
            "experiment_a": claimed.name,
            "reported_a": claimed.recipe.reported,
            "accuracy_a": claimed.accuracy("test"),
            "verdict": verdict,
            "sentence": f"Reported as the best of {len(groups)}: {claimed.name}. Here {here}"
            f"{_no_better(reported, claimed)}.",
        }
    ]


def _pair_claims(comparison: Comparison) -> list[dict[str, Any]]:
    known = {name: group for name, group in comparison.recipes.items() if group.recipe.reported is not None}
    pairs = []
    for treatment, one, two in alone(known, len(known), CLAIMED):
        a, b = sorted((known[one], known[two]), key=lambda group: -(group.recipe.reported or 0))
        if a.recipe.reported != b.recipe.reported:
            pairs.append((treatment, a, b))
    p_values = holm([comparison.p_value(a, b) for _, a, b in pairs])
    return [_pair_row(comparison, *pair, p) for pair, p in zip(pairs, p_values, strict=True)]


def _pair_row(comparison: Comparison, treatment: str, a: RecipeRuns, b: RecipeRuns, p: float) -> dict[str, Any]:
    difference = a.accuracy("test") - b.accuracy("test")
    low, high = comparison.difference_interval(a, b, "accuracy")
    if a.failed and b.failed:
        verdict = UNJUDGED
    elif p > 1 - comparison.confidence:
        verdict = NOT_DISTINGUISHABLE
    else:
        verdict = HOLDS if difference > 0 else REVERSED
    one, other = (difference_in_words(x.recipe, y.recipe, CLAIMED[treatment]) for x, y in ((a, b), (b, a)))
    claim = f"{one} beats {other}"
    return {
        "claim": claim,
        "kind": treatment,
        "experiment_a": a.name,
        "experiment_b": b.name,
        "reported_a": a.recipe.reported,
        "reported_b": b.recipe.reported,
        "accuracy_a": a.accuracy("test"),
        "accuracy_b": b.accuracy("test"),
        "difference": difference,
        "low": low,
        "high": high,
        "p_holm": p,
        "verdict": verdict,
        "sentence": _pair_sentence(claim, a, b, verdict, (difference, low, high), _no_better(comparison, a, b)),
    }


def _pair_sentence(
    claim: str, a: RecipeRuns, b: RecipeRuns, verdict: str, difference: tuple[float, float, float], no_better: str
) -> str:
    names = f"{a.name} against {b.name}"
    claim = claim[0].upper() + claim[1:]
    found, low, high = map(signed, difference)
    points = f"{found} points of test accuracy, {low} to {high}"
    if verdict == UNJUDGED:
        return f"{claim} ({names}): {UNJUDGED}, both failed here."
    aside = "".join(f"; {group.name} {group.failure}" for group in (a, b) if group.failure)
    words = "the reverse is found" if verdict == REVERSED else verdict
    return f"{claim} ({names}): {words} ({points}{aside}{no_better})."


def _no_better(comparison: Comparison, *groups: RecipeRuns) -> str:
    """The end of a sentence on recipes that did not fail: which are not better than always answering one class."""
    lost = [g.name for g in groups if not g.failed and comparison.vs_baseline(g) == NOT_BETTER]
    if not lost or comparison.baseline is None:
        return ""
    none = " is" if len(lost) == 1 else " are"
    return f"; {' and '.join(lost)}{none} not better than always answering '{comparison.baseline.name}'"


def _failure_claims(comparison: Comparison) -> list[dict[str, Any]]:
    """Recipes without a reported accuracy but with a note were reported as failed."""
    rows = []
    for group in comparison.recipes.values():
        if not group.reported_as_failed:
            continue
        lost = [run for run in group if run.failed]
        accuracy, no_better = group.accuracy("test"), _no_better(comparison, group)
        verdict = HOLDS if group.failed else NOT_DISTINGUISHABLE if lost or no_better else REVERSED
        learns = "here it gets" if no_better else "here it learns,"
        here = f"here it {group.failure}" if lost else f"{learns} to {accuracy:.1%} of the test images{no_better}"
        rows.append(
            {
                "claim": f"{group.name} fails",
                "kind": "failure",
                "experiment_a": group.name,
                "accuracy_a": accuracy,
                "verdict": verdict,
                "sentence": f"{group.name} was reported as failed ({group.recipe.reported_note}): {here}.",
            }
        )
    return rows
