"""The answer in words: a paragraph for the terminal, and the first page of the report.

Entry points (runs come from `study.runs.load_runs`, with predictions):
    headline(runs, confidence) -> str                                         one plain paragraph
    summary_rst(runs, figure, questions, confidence, reported, pack, audit) -> str
        reStructuredText; see `study.audit` for the layout of `audit`
"""

import base64
import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from study.runs import Run, all_failed, by_experiment, choose, failure
from study.tables import (
    BETTER,
    SAME,
    WORSE,
    accuracy_interval,
    case_cells,
    case_note,
    case_remarks,
    case_table,
    recipe_verdict,
    verdicts,
)


def plain(text: str) -> str:
    """Text on one line."""
    return " ".join(str(text).split())


def escape_rst(text: str) -> str:
    """Text that reStructuredText (and a template around it) shows as it is, on one line; never empty."""
    printable = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in plain(text))
    return re.sub(r"([^\w\s]|_)", r"\\\1", printable) or "\\ "


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


def summary_rst(
    runs: Sequence[Run],
    figure: str | Path,
    questions: Mapping[Any, str],
    confidence: float,
    reported: bool,
    pack: Mapping[str, Any],
    audit: Mapping[str, Any],
) -> str:
    """The first page of the report: the answer, the comparison figure, the case tables, the data.

    Sections are underlined with "-"; the text has no title of its own, so that it can stand below one.

    Args:
        figure: the comparison figure, an SVG, embedded as a data URI.
        questions: what each case asks, by case number; cases without a question are shown too.
        reported: show reported values beside measured ones.
        pack: the content of pack.json.
        audit: the content of audit.json.
    """
    asked = {int(case): question for case, question in questions.items()}  # YAML keys may be text
    sentences = answer(runs, confidence, escape_rst, lambda text: f"**{text}**")
    parts = [sentences[0], *(f"* {sentence}" for sentence in sentences[1:]), _caution(runs), _image(Path(figure))]
    if failed := failures(runs):
        parts.append(_section("What failed, and why"))
        parts += [f"* **{escape_rst(name)}** {outcome}: {escape_rst(reason)}" for name, outcome, reason in failed]
    several_seeds = len({run.seed for run in runs}) > 1
    parts += [_section("The cases"), escape_rst(case_note(several_seeds, confidence))]
    for case in sorted({run.case for run in runs}):
        parts += _case(runs, case, asked.get(case, ""), confidence, reported)
    parts += [_section("The data"), *_data(pack, audit)]
    return "\n\n".join(parts) + "\n"


def _section(title: str) -> str:
    return f"{title}\n{'-' * len(title)}"


def _caution(runs: Sequence[Run]) -> str:
    seeds = len({run.seed for run in runs})
    if seeds > 1:
        return (
            f"Every recipe was trained with {seeds} seeds. A recipe counts as worse or better only if every one of its "
            "runs is, on the same test images \\(exact McNemar test, Holm's correction\\)."
        )
    return (
        "Each recipe was trained once. The tests compare these trained networks on the same test images \\(exact "
        "McNemar test, Holm's correction\\); how much another seed would change is not measured."
    )


def _image(path: Path) -> str:
    """An image directive with the file inside, in lines below docutils' line-length-limit of 10,000."""
    data = base64.b64encode(path.read_bytes()).decode("ascii")
    uri = textwrap.wrap("data:image/svg+xml;base64," + data, 1000, break_on_hyphens=False)
    alt = "Test accuracy of every recipe with its interval, validation accuracy and failures"
    return ".. image:: " + "\n   ".join(uri) + f"\n   :alt: {alt}\n   :width: 100%"


def _case(runs: Sequence[Run], case: int, question: str, confidence: float, reported: bool) -> list[str]:
    table = case_table(runs, case, confidence, reported)
    rows = [["", *(f"**{escape_rst(name)}**" for name in table.columns[1:])]]
    for label, cells in case_cells(table):
        if label == "reason":
            continue  # told above
        texts = [f"**{escape_rst(text)}**" if best else escape_rst(text) for text, best in cells]
        rows.append([escape_rst(label), *texts])
    heading = f"**Case {case}.** {escape_rst(question)}" if question else f"**Case {case}.**"
    return [heading, list_table(rows), *case_remarks(table)]


def list_table(rows: Sequence[Sequence[str]]) -> str:
    """A list-table directive; the first row is the header. Cells are reStructuredText already."""
    lines = [".. list-table::", "   :header-rows: 1", ""]
    for row in rows:
        for position, cell in enumerate(row):
            lines.append(("   * - " if position == 0 else "     - ") + cell)
    return "\n".join(lines)


def _data(pack: Mapping[str, Any], audit: Mapping[str, Any]) -> list[str]:
    splits = pack["splits"]
    rows = [["class", *splits]]
    for name in pack["classes"]:
        rows.append([escape_rst(name), *(f"{split['counts'].get(name, 0):,}" for split in splits.values())])
    rows.append(["**all**", *(f"**{split['images']:,}**" for split in splits.values())])
    size, channels = pack["image_size"], "grayscale" if pack["channels"] == 1 else "colour"
    parts = [f"Images of {size} × {size} pixels, {channels}, in {len(pack['classes'])} classes:", list_table(rows)]
    return [*parts, "\n".join(f"* {escape_rst(fact)}" for fact in audit_facts(audit))]


def audit_facts(audit: Mapping[str, Any]) -> list[str]:
    """What `audit.json` says, as plain sentences; findings that number zero are left out.

    Args:
        audit: as returned by `study.audit.audit`.
    """
    found, done, leakage = audit["found"], audit["done"], audit["leakage"]
    facts = [f"{audit['source']['images']:,} images in the source, {audit['kept']['images']:,} used."]
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
