"""Accuracy against cost: every recipe by the seconds of its training and its test accuracy, the frontier named."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from study.compare.cost import costs, duration
from study.compare.verdicts import BEST
from study.report.figures.material import Material
from study.report.figures.style import BLUE, FAILED, GREY, drawing, grid, name, percent

WIDE_SPAN = 5  # the longest training over the shortest one from which the axis is logarithmic
WIDTH, HEIGHT = 10.2, 5.2
TICKS = [unit * n for unit, ns in ((0.1, (1, 2, 5)), (1, (1, 2, 5, 10, 30)), (60, (1, 2, 5, 10, 30))) for n in ns]
TICKS += [3600.0 * n for n in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)]
MOST_LINES = 19  # lines of text beside the axis
FEW = 40  # recipes up to which every interval is drawn


def cost(material: Material, path: str | Path) -> None:
    """Test accuracy with its interval against seconds of training; the frontier's members joined and named.

    Predictions from a file, whose cost is not known, are left out.
    """
    every = costs(material.comparison)
    table = every[every["seconds"].notna()]
    alive = table[table["failure"] == ""]
    failed, members = table[table["failure"] != ""], table[table["on_frontier"]]
    with drawing(path, WIDTH, HEIGHT) as figure:
        axes = figure.subplots()
        others = alive[~alive["on_frontier"]]
        _points(axes, others, "o", GREY, "other recipes", intervals=len(table) <= FEW)
        _points(axes, failed, "X", FAILED, "failed in a seed or in all", intervals=False)
        _points(axes, members, "o", BLUE, "on the frontier: none is as accurate and as cheap", intervals=True)
        axes.plot(
            members["seconds"], members["test_accuracy"], color=BLUE, linewidth=1, drawstyle="steps-post", zorder=1
        )
        _time_axis(axes, table["seconds"])
        axes.set_ylabel("Test accuracy")
        axes.yaxis.set_major_formatter(percent)
        grid(axes)
        _names(axes, table[table["on_frontier"] | (table["verdict"] == BEST)].sort_values("test_accuracy"))
        axes.set_title(f"Accuracy against the time of training of {len(table)} recipe{'s' * (len(table) != 1)}")
        if len(table):
            figure.legend(loc="outside lower center", ncols=3)


def _points(axes: Axes, rows: pd.DataFrame, marker: str, color: str, label: str, intervals: bool) -> None:
    if rows.empty:
        return
    if intervals:
        axes.vlines(rows["seconds"], rows["test_accuracy_low"], rows["test_accuracy_high"], color=color, alpha=0.45)
    axes.plot(
        rows["seconds"], rows["test_accuracy"], marker, color=color, markersize=7, markeredgecolor="white", label=label
    )


def _time_axis(axes: Axes, seconds: pd.Series) -> None:
    """Ticks in words; a logarithmic axis where trainings differ much."""
    shown = seconds[seconds > 0]
    if len(shown) and shown.max() / shown.min() >= WIDE_SPAN:
        low, high = shown.min() / 1.5, shown.max() * 1.5
        axes.set_xscale("log")
        axes.set_xlim(low, high)
        axes.xaxis.set_major_locator(FixedLocator([tick for tick in TICKS if low <= tick <= high]))
        axes.xaxis.set_minor_locator(NullLocator())
    else:
        axes.xaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 5, 10]))
        axes.margins(x=0.12)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: duration(value)))
    axes.set_xlabel("Training and validation, wall time (mean over seeds)")


def _names(axes: Axes, members: pd.DataFrame) -> None:
    """Names in a column at the right edge, each joined to its point, so that none overlaps; the best recipe in bold.

    Args:
        members: those to name, by rising accuracy.
    """
    heights = np.linspace(0.02, 0.98, len(members)) if len(members) > MOST_LINES else _spread(axes, members)
    for row, y in zip(members.itertuples(), heights, strict=False):
        look: dict[str, Any] = {"fontweight": "bold"} if row.verdict == BEST else {}
        axes.annotate(
            f"{name(row.experiment, 28)}  {duration(row.seconds)}, {row.test_accuracy:.1%}",
            (row.seconds, row.test_accuracy), (1.03, y), textcoords="axes fraction", va="center", fontsize=9,
            color=BLUE, annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": BLUE, "linewidth": 0.6, "alpha": 0.5, "shrinkB": 4}, **look,
        )  # fmt: skip


def _spread(axes: Axes, members: pd.DataFrame) -> "np.ndarray[Any, Any]":
    """Heights of the names, as shares of the axis: those of the points, moved apart by a line each."""
    low, high = axes.get_ylim()
    heights = np.array((members["test_accuracy"] - low) / (high - low), float)
    for k in range(1, len(heights)):
        heights[k] = max(heights[k], heights[k - 1] + 1 / MOST_LINES)
    heights -= max(0.0, heights[-1] - 0.98) if len(heights) else 0.0
    for k in range(len(heights) - 2, -1, -1):
        heights[k] = min(heights[k], heights[k + 1] - 1 / MOST_LINES)
    return heights
