"""The answer in words, for the terminal and for the first page of the report.

Entry points (runs come from `study.compare.runs.load_runs`, with predictions; audit is what `study.data.audit` makes):
    headline(runs, confidence) -> str                      one plain paragraph
    answer(runs, confidence, escape, strong) -> sentences
    caution(runs, confidence) -> str                       what the tests can say at all
    failures(runs) -> [(experiment, outcome, reasons)]
    audit_facts(audit) -> sentences
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from study.compare.runs import Run, all_failed, by_experiment, choose, failure
from study.compare.statistics import seeds_needed, smallest_p
from study.compare.tables import BETTER, SAME, WORSE, accuracy_interval, recipe_verdict, verdicts


def plain(text: str) -> str:
    """Text on one line."""
    return " ".join(str(text).split())


def headline(runs: Sequence[Run], confidence: float) -> str:
    """Which recipe wins, how sure that is, and what failed: one paragraph of plain text."""
    return " ".join(answer(runs, confidence, plain, lambda text: text))


def answer(
    runs: Sequence[Run], confidence: float, escape: Callable[[str], str], strong: Callable[[str], str]
) -> list[str]:
    """The answer as sentences: the winner, what it cannot be told apart from, what is better or worse, what failed."""
    groups = by_experiment(runs)
    winner = choose(runs)
    best = groups[winner]
    images = best[0].metrics["test"]["images"]
    low, high = accuracy_interval(best, "test", confidence)
    over = f"over {len(best)} seeds" if len(best) > 1 else f"from {images:,} test images"
    opening = f"{strong(escape(winner))} is the best recipe of {len(groups)}"
    if all_failed(runs):
        opening = f"Every recipe failed; {strong(escape(winner))} is merely the best of them"
    if len(groups) == 1:
        opening = f"{strong(escape(winner))} is the only recipe"
    val, test = (float(np.mean([run.metrics[split]["accuracy"] for run in best])) for split in ("val", "test"))
    sentences = [
        f"{opening}: chosen by its validation accuracy of {val:.1%}, "
        f"it classifies {strong(f'{test:.1%}')} of the test images correctly "
        f"({confidence:.0%} interval {low:.1%} to {high:.1%}, {over}).".replace("%", escape("%"))
    ]
    found = verdicts(runs, confidence)
    names: dict[str, list[str]] = {}
    for name, group in groups.items():
        if name != winner and not all_failed(group):
            verdict = recipe_verdict([found[run.experiment, run.seed][0] for run in group])
            names.setdefault(verdict, []).append(escape(name))
    for verdict, words in (
        (SAME, "Not distinguishable from it"),
        (BETTER, "Better on the test images, though validation chose otherwise"),
        (WORSE, "Worse"),
    ):
        if verdict in names:
            sentences.append(f"{words}: {', '.join(names[verdict])}.")
    failed: dict[str, list[str]] = {}
    for name, outcome, _ in failures(runs):
        failed.setdefault(outcome, []).append(escape(name))
    return sentences + [f"{outcome.capitalize()}: {', '.join(lost)}." for outcome, lost in failed.items()]


def failures(runs: Sequence[Run]) -> list[tuple[str, str, str]]:
    """Each recipe with a failed run: its name, the outcome (and in how many seeds), and the reasons given."""
    found = []
    for name, group in by_experiment(runs).items():
        if words := failure(group):
            reasons = " ".join(dict.fromkeys(plain(run.reason) for run in group if run.failed and run.reason))
            found.append((name, words, reasons))
    return found


def caution(runs: Sequence[Run], confidence: float) -> str:
    """What the comparison can and cannot say, in words."""
    seeds = len({run.seed for run in runs})
    if seeds == 1:
        return (
            "Each recipe was trained once. The tests compare these trained networks on the same test images (exact "
            "McNemar test, Holm's correction); how much another seed would change is not measured."
        )
    tests = len(by_experiment(runs)) - 1
    text = (
        f"Every recipe was trained with {seeds} seeds. A recipe counts as worse or better only if every one of its "
        "runs is, on the same test images (exact McNemar test, Holm's correction)."
    )
    if tests * smallest_p(seeds) > 1 - confidence:
        many = f" and {seeds_needed(confidence, tests)} for {tests} corrected ones" if tests > 1 else ""
        text += (
            f" A paired test over {seeds} seeds cannot give a p value below {smallest_p(seeds):.3g}, so by itself it "
            f"shows nothing; it takes at least {seeds_needed(confidence)} seeds for one pair of recipes{many}."
        )
    return text


def audit_facts(audit: Mapping[str, Any]) -> list[str]:
    """What `audit.json` says, as plain sentences; findings that number zero are left out.

    Args:
        audit: as returned by `study.data.manifest_building.build_manifest`.
    """
    found, done, leakage = audit["found"], audit["done"], audit["leakage"]
    facts = list(audit["expected"])
    facts.append(f"{audit['source']['images']:,} images in the source, {audit['kept']['images']:,} used.")
    if found["duplicate_groups"]:
        contradictory = f", {found['contradictory_groups']:,} groups of them with contradictory labels"
        facts.append(
            f"{found['duplicate_images']:,} images have exact copies, in {found['duplicate_groups']:,} groups"
            + (contradictory if found["contradictory_groups"] else "")
            + f" ({_policy(done['duplicates'])}; contradictory ones: {_policy(done['contradictory'])})."
        )
    for name in ("unreadable", "blank", "odd_size", "odd_mode"):
        if found[name]:
            facts.append(f"{found[name]:,} images {FINDINGS[name]} ({_policy(done[name])}).")
    if done["oversampled"]:
        added = ", ".join(f"{count:,} of {name}" for name, count in done["oversampled"].items())
        facts.append(f"Copies added before the split: {added}.")
    for name, words in (("official", "In the source's own split"), ("final", "In the split used here")):
        if leakage[name]:
            images = leakage[name]["val"]["images"] + leakage[name]["test"]["images"]
            total = leakage[name]["total"]
            facts.append(f"{words}, {total:,} of {images:,} validation and test images have an exact copy in training.")
    return facts


FINDINGS = {
    "unreadable": "could not be read",
    "blank": "are blank",
    "odd_size": "have another size than most",
    "odd_mode": "have another colour mode than most",
}


def _policy(done: Mapping[str, Any]) -> str:
    """A policy of the configuration with its effect: "keep", "drop: 12 dropped"."""
    return str(done["policy"]) + (f": {done['dropped']:,} dropped" if done["dropped"] else "")
