"""Accuracy by subgroup: the best recipes on the test images with each value of the manifest's further columns."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes

from study.compare.runs import RecipeRuns
from study.compare.statistics import level
from study.compare.verdicts import HIGHER, LOWER
from study.report.figures.material import Material
from study.report.figures.style import GREY, PALE, drawing, grid, headed, name, percent, series
from study.report.shown import best_ones
from study.report.symbols import SYMBOLS

PANELS = 6  # columns of the manifest; of more those with the largest differences
ROW = 0.36  # inches of a value
ROOM = 0.02  # accuracy left free on either side


def subgroups(material: Material, path: str | Path) -> None:
    """A panel for each column, a row for each value: accuracy of the best recipes with intervals, number of images.

    A dotted line marks the chosen recipe's accuracy on all test images; the values on which it is told apart from the
    rest are marked. Of many columns those in which its accuracy differs most.
    """
    comparison, table = material.comparison, material.subgroups
    best, recipes = comparison.best, best_ones(comparison)
    columns = _columns(table, best.name)
    values = [list(table.loc[_of(table, best.name, column), "value"]) for column in columns]
    heights = [len(some) + 0.9 for some in values]
    with drawing(path, 9.6, 1.5 + ROW * sum(heights) + 0.35 * len(columns)) as figure:
        if not columns:
            text = "The source says nothing of its images by which they could be divided."
            figure.text(0.5, 0.4, text, ha="center", va="center", color=GREY)
            headed(figure, "Accuracy by subgroup")
            return
        panels = figure.subplots(len(columns), 1, squeeze=False, sharex=True, height_ratios=heights)[:, 0]
        for axes, column in zip(panels, columns, strict=True):
            _panel(axes, table[table["column"] == column], recipes, best.accuracy("test"))
            axes.set_title(name(column, 40), fontsize=10)
        shown = table[table["column"].isin(columns) & table["experiment"].isin([group.name for group in recipes])]
        panels[-1].set_xlim(shown["accuracy_low"].min() - ROOM, shown["accuracy_high"].max() + ROOM)
        panels[-1].set_xlabel("Accuracy on the test images with the value")
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3)
        every = table.loc[table["experiment"] == best.name, "column"].nunique()
        more = f" ({len(columns)} of {every:,} columns)" if len(columns) < every else ""
        headed(figure, f"Accuracy by subgroup with {level(comparison.confidence)} intervals{more}")


def _columns(table: pd.DataFrame, experiment: str) -> list[str]:
    """At most `PANELS` columns, in the order of the table."""
    if table.empty:
        return []
    rows = table[table["experiment"] == experiment]
    largest = rows["difference"].abs().groupby(rows["column"], sort=False).max()
    kept = set(largest.sort_values(ascending=False, kind="stable").index[:PANELS])
    return [column for column in largest.index if column in kept]


def _of(table: pd.DataFrame, experiment: str, column: str) -> pd.Series:
    return (table["experiment"] == experiment) & (table["column"] == column)


def _panel(axes: Axes, table: pd.DataFrame, recipes: Sequence[RecipeRuns], overall: float) -> None:
    """The values of a column from top to bottom."""
    axes.axvline(overall, color=GREY, linewidth=1.1, linestyle=(0, (1, 2)), zorder=0, label="all test images, the best")
    for position, group in enumerate(recipes):
        rows = table[table["experiment"] == group.name]
        look, offset = series(position), (position - (len(recipes) - 1) / 2) * 0.7 / len(recipes)
        at = [y + offset for y in range(len(rows))]
        axes.hlines(at, rows["accuracy_low"], rows["accuracy_high"], color=look["color"], linewidth=2)
        label = name(group.name, 24) + (f" ✕ {group.failure}" if group.failure else "")
        marker = "osD^v"[position % 5]
        axes.plot(rows["accuracy"], at, marker, color=look["color"], markeredgecolor="white", label=label)
    rows = table[table["experiment"] == recipes[0].name]
    labels = [f"{name(value, 26)}, n = {n:,.0f}" for value, n in zip(rows["value"], rows["images"], strict=True)]
    axes.set_yticks(range(len(rows)), labels)
    for y, verdict in enumerate(rows["verdict"]):
        if verdict in (LOWER, HIGHER):
            right = axes.get_yaxis_transform()
            axes.text(1.01, y, f"{SYMBOLS[verdict]} {verdict}", transform=right, va="center", fontsize=9)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.xaxis.set_major_formatter(percent)
    axes.tick_params(axis="y", length=0)
    for y in range(len(rows) - 1):
        axes.axhline(y + 0.5, color=PALE, linewidth=0.6)
    grid(axes, "x")
