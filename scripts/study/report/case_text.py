"""A case's table as a person reads it: cells as text, the best of a row marked, remarks and notes below.

Entry points (table is what `study.compare.case_table.case_table` returns):
    case_cells(table) -> [(label, [(text, best)])]
    case_remarks(table) -> sentences
    case_note(several_seeds, confidence, grouped) -> str
    case_markdown(table, case, question, confidence, notes, grouped) -> str  tables/case_<n>.md
"""

import math
import re
from collections.abc import Sequence
from typing import Any

import pandas as pd

from study.compare.case_table import BASELINE, LOWER_IS_BETTER, MEASURES
from study.compare.statistics import level
from study.names import FAILURES
from study.recipe import HYPERPARAMETERS
from study.report.answer import test_names

OF_LABEL = {column.label: column for column in HYPERPARAMETERS.values()}


def case_cells(table: pd.DataFrame) -> list[tuple[str, list[tuple[str, bool]]]]:
    """A case table as it is read: (label, [(text, best of its row)]); spread and interval are part of the text.

    A key of a section of the configuration has the section before its label: they stand together.

    A failed recipe is never the best of a row. Rows that say nothing are left out: empty ones, optional hyperparameters
    that stand at their default in every recipe, the epochs allowed where they are those of the recipes, and what the
    reported values were made with where it is the same for all (the note below the table says it).
    """
    rows = {label: values for label, *values in table.itertuples(index=False, name=None)}
    alive = [not outcome_is_failure(str(outcome)) for outcome in rows["outcome"]]
    shown = []
    for label, values in rows.items():
        part = label.endswith((" spread", " low", " high"))
        column = OF_LABEL.get(label)
        unused = column is not None and all(value in (column.node.get("default"), None) for value in values)
        uncapped = label == "epochs allowed here" and values == rows["maximum epochs"]
        in_the_note = label == "reported with other" and len(set(values)) == 1
        if part or unused or uncapped or in_the_note or all(value is None for value in values):
            continue
        texts = [_cell(label, value) for value in values]
        for extra, form in ((" spread", " ± {:.4f}"), (" low", " ({:.4f}"), (" high", "–{:.4f})")):
            for k, value in enumerate(rows.get(label + extra, [])):
                texts[k] += "" if value is None or math.isnan(value) else form.format(value)
        section = column.section if column else ""
        words = f"{section}: {label}" if section not in ("", label) else label
        shown.append((words, list(zip(texts, _best(label, values, alive), strict=True))))
    return shown


def outcome_is_failure(outcome: str) -> bool:
    """Whether an outcome cell ("collapsed", "2 × collapsed, 1 × completed") says that every seed failed."""
    return all(part.split()[-1] in FAILURES for part in outcome.split(", "))


def _best(label: str, values: list[Any], alive: list[bool]) -> list[bool]:
    if label not in MEASURES or len(values) < 2:
        return [False] * len(values)
    sign = -1 if label in LOWER_IS_BETTER else 1
    scores = [sign * v if ok and v is not None else -math.inf for v, ok in zip(values, alive, strict=True)]
    return [score == max(scores) and score > -math.inf for score in scores]


def _cell(label: str, value: Any) -> str:
    if value is None:
        return "–"
    if label in OF_LABEL:
        return OF_LABEL[label].show(value)
    if label == "measured minus reported":
        return f"{value:+.4f}"
    if label in (*MEASURES, *BASELINE, "reported accuracy"):
        return f"{value:.4f}"
    return str(value).replace("_", " ") if label == "outcome" else str(value)


def case_markdown(
    table: pd.DataFrame, case: int, question: str, confidence: float, notes: Sequence[str] = (), grouped: bool = False
) -> str:
    """A case table as Markdown; the best value of a row is bold. `notes` are paragraphs below it.

    Args:
        grouped: whether test images are of groups.
    """
    names = list(table.columns[1:])
    lines = [f"# Case {case}", "", _paragraph(question), ""] if question else [f"# Case {case}", ""]
    lines += ["| | " + " | ".join(map(escape_markdown, names)) + " |", "| --- |" + " --- |" * len(names)]
    for label, cells in case_cells(table):
        texts = [f"**{escape_markdown(text)}**" if best else escape_markdown(text) for text, best in cells]
        lines.append(f"| {label} | " + " | ".join(texts) + " |")
    remarks = [line for remark in [*case_remarks(table), *map(_paragraph, notes)] for line in ("", remark)]
    several_seeds = "test accuracy spread" in set(table.iloc[:, 0])
    return "\n".join([*lines, *remarks, "", case_note(several_seeds, confidence, grouped), ""])


def case_remarks(table: pd.DataFrame) -> list[str]:
    """Sentences that a reader of this case table has to know: two treatments that change together, failures alone."""
    rows = {label: values for label, *values in table.itertuples(index=False, name=None)}
    treatments = {pair for pair in zip(rows["loss"], rows["sampler"], strict=True) if pair != (None, None)}
    losses, samplers = ({pair[k] for pair in treatments} for k in range(2))
    remarks = []
    if len(treatments) == len(losses) == len(samplers) > 1:
        remarks.append(
            "Loss and sampler change together here: both treat the imbalance of the classes, and this case cannot tell "
            "the effect of one from that of the other."
        )
    if all(outcome_is_failure(outcome) for outcome in rows["outcome"]):
        remarks.append("Every recipe of this case failed.")
    return remarks


def case_note(several_seeds: bool, confidence: float, grouped: bool = False) -> str:
    """What the marks of a case table mean, in one paragraph; `grouped`: whether test images are of groups."""
    _, test, over = test_names(grouped)
    source = (
        f"over seeds and {over} (accuracy: Student and Wilson; the others: Student and bootstrap)"
        if several_seeds
        else f"from the test {over} (accuracy: Wilson; the others: bootstrap)"
    )
    test = f"one test over seeds and {over}" if several_seeds else test
    spread = " ±: standard deviation over seeds." if several_seeds else ""
    return (
        f"Bold: best of the row, failed recipes aside.{spread} In brackets: {level(confidence)} interval {source}. "
        "Compared with best: against the recipe of the case with the highest validation accuracy, on the same test "
        f"images ({test}, Holm's correction). Recipes of one tier are not worse than the one of it that validation "
        "chooses. Baseline: always answering the largest class in training, against which each recipe is tested in the "
        "same way, by itself."
    )


def _paragraph(text: str) -> str:
    """Text as a paragraph of Markdown, though it may begin as a list, a rule or a heading does."""
    return re.sub(r"^(\d{0,9})([-+=.)])", r"\1\\\2", escape_markdown(text))


def escape_markdown(text: str) -> str:
    """Text that Markdown shows as it is, on one line."""
    return re.sub(r"([\\`*\[\]<>|&~#$]|(?<![^\W_])_|_(?![^\W_]))", r"\\\1", " ".join(str(text).split()))
