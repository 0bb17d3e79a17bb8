"""The comparison of all runs as one page that sorts and filters, without anything from outside.

Entry point:
    comparison_html(table, study) -> str                   table is what `study.compare.run_table.run_table` returns
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from study.compare.statistics import level
from study.compare.verdicts import BEST
from study.names import FAILURES
from study.recipe import HYPERPARAMETERS
from study.report.answer import test_names
from study.report.symbols import SYMBOLS

TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Column:
    """A column of the page.

    Attributes:
        key: column of the comparison.
        label: heading.
        group: "main" (always shown), "recipe" (hidden where all visible rows agree) or "more" (shown on request).
        show: cell value -> text.
        bar: whether low and high are drawn as well.
        section: of the configuration that it is a key of, above the heading.
    """

    key: str
    label: str
    group: str
    show: Callable[[Any], str] = str
    bar: bool = False
    section: str = ""


def _score(value: float) -> str:
    return f"{value:.4f}"


def _words(value: Any) -> str:
    return str(value).replace("_", " ")


PAGE_COLUMNS = (
    Column("experiment", "Experiment", "main"),
    Column("seed", "Seed", "main"),
    Column("case", "Case", "main"),
    Column("outcome", "Outcome", "main", _words),
    Column("vs_best", "Compared with best", "main"),
    Column("tier", "Tier", "main"),
    Column("test_accuracy", "Test accuracy", "main", _score, bar=True),
    Column("val_accuracy", "Validation accuracy", "main", _score, bar=True),
    Column("vs_baseline", "Against the baseline", "main"),
    Column("test_macro_f1", "Test macro-F1", "main", _score),
    *(
        Column(name, column.heading, "recipe", column.show, section=column.section)
        for name, column in HYPERPARAMETERS.items()
    ),
    Column("reported", "Reported accuracy", "main", _score),
    Column("reported_difference", "Validation minus reported", "main", "{:+.4f}".format),
    Column("test_balanced_accuracy", "Test balanced accuracy", "more", _score),
    Column("test_nll", "Test NLL (nats)", "more", _score),
    Column("test_ece", "Test ECE", "more", _score),
    Column("p_vs_best", "p against best", "more", "{:.2g}".format),
    Column("epochs", "Epochs", "more"),
    Column("best_epoch", "Best epoch", "more"),
    Column("parameters", "Parameters", "more", "{:,.0f}".format),
    Column("images_per_second", "Images/s", "more", "{:,.0f}".format),
    Column("seconds", "Time (s)", "more", "{:,.0f}".format),
)
# Absent where no reported values are shown, or where the training images of each class are not known.
OPTIONAL = ("reported", "reported_difference", "vs_baseline")


MANY = 100


def comparison_html(table: pd.DataFrame, study: str) -> str:
    """One HTML page with a row per run, best test accuracy first; text from the data is escaped.

    Without JavaScript the table is complete; with it, it sorts by any column, filters, and hides what does not differ.
    Of more than `MANY` runs settings that are the same in all are left out: the page would be tens of megabytes.

    Args:
        table: as returned by `run_table`.
        study: name of the study, for the heading.

    Raises:
        KeyError: if the table lacks a column of `PAGE_COLUMNS`, other than the `OPTIONAL` ones.
    """
    absent = {"seed"} if len(set(table["seed"])) == 1 else set()
    absent |= _alike(table) if len(table) > MANY else set()
    absent |= (set(OPTIONAL) | {name for name in HYPERPARAMETERS if "." in name}) - set(table.columns)
    columns = [column for column in PAGE_COLUMNS if column.key not in absent]
    axis = _axis(table)
    rows = table.sort_values("test_accuracy", ascending=False, kind="stable").to_dict("records")
    return (
        environment()
        .get_template("comparison_page.html.j2")
        .render(
            study=study,
            columns=columns,
            rows=[_row(row, columns, axis) for row in rows],
            axis=[f"{value:.0%}" for value in axis],
            images=int(table["test_images"].iloc[0]),
            groups=int(table["test_groups"].iloc[0]) if "test_groups" in table else None,
            test_names=test_names("test_groups" in table),
            confidence=level(table["confidence"].iloc[0]),
            baseline=_baseline(table),
            failures=sum(row["outcome"] in FAILURES for row in rows),
            left_out=len(table) > MANY,
        )
    )


def _alike(table: pd.DataFrame) -> set[str]:
    """Hyperparameters that have one value in all runs, also where they mean something in some runs alone."""
    columns = [name for name in HYPERPARAMETERS if name in table.columns]
    return {name for name in columns if len({str(value) for value in table[name]}) == 1}


def _baseline(table: pd.DataFrame) -> tuple[str, str] | None:
    """The largest class and its share of the test images, in words."""
    if "vs_baseline" not in table:
        return None
    first = table.iloc[0]
    return str(first["baseline_class"]), f"{first['baseline_accuracy']:.1%}"


def environment(html: bool = True) -> Environment:
    """Templates that stop at a name they do not know; those of HTML escape what they are given.

    In Markdown, what comes from files goes through `case_text.escape_markdown`.
    """
    return Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=html,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _axis(table: pd.DataFrame) -> tuple[float, float]:
    """Ends of the bars' common axis: the intervals of runs that did not fail, widened to full 5 %."""
    alive = table[~table["outcome"].isin(FAILURES)]
    shown = alive if len(alive) else table
    low = shown[["test_accuracy_low", "val_accuracy_low"]].min(axis=None)
    high = shown[["test_accuracy_high", "val_accuracy_high"]].max(axis=None)
    return math.floor(20 * low) / 20, math.ceil(20 * high) / 20


def _row(row: dict[Any, Any], columns: list[Column], axis: tuple[float, float]) -> dict[str, Any]:
    return {
        "name": row["experiment"] + f", seed {row['seed']}",
        "failed": row["outcome"] in FAILURES,
        "best": row["vs_best"] == BEST,
        "reason": row["reason"],
        "brief": re.split(r"[;(]|\. ", row["reason"], maxsplit=1)[0].strip(),
        "cells": [_cell(row, column, axis) for column in columns],
    }


def _same(value: Any) -> str:
    """What is equal where two runs agree in a setting; one that means nothing in a recipe counts as its default."""
    return f"{value:g}" if isinstance(value, int | float) else "" if value is None else str(value)


def _cell(row: dict[Any, Any], column: Column, axis: tuple[float, float]) -> dict[str, Any]:
    value, several = row[column.key], isinstance(row[column.key], list)
    if not several and pd.isna(value):
        default = HYPERPARAMETERS[column.key].node.get("default") if column.group == "recipe" else None
        return {"key": column.key, "text": "–", "sort": "", "numeric": True, "same": _same(default)}
    text = column.show(value)
    sort, numeric = text if several else value, not isinstance(value, str | list)
    cell: dict[str, Any] = {"key": column.key, "text": text, "sort": sort, "numeric": numeric, "same": _same(sort)}
    if column.key == "vs_best":
        cell["symbol"] = SYMBOLS[value]
    if column.key == "outcome" and value in FAILURES:
        cell["symbol"] = "✕"
    if column.bar:
        ends = row[f"{column.key}_low"], row[f"{column.key}_high"]
        cell["interval"] = "–".join(f"{end:.3f}" for end in ends)
        baseline = row.get("baseline_accuracy", math.nan) if column.key == "test_accuracy" else math.nan
        low, high, at, mark = (
            round(100 * (x - axis[0]) / (axis[1] - axis[0]), 2) for x in (*ends, value, float(baseline))
        )
        cell["bar"] = {"low": max(low, 0), "width": round(high - max(low, 0), 2), "at": at, "outside": at < 0}
        cell["bar"]["baseline"] = mark if 0 <= mark <= 100 else None
    return cell
