"""What each treatment does by itself, as a forest plot."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from study.compare.verdicts import HIGHER, LOWER, NOT_DISTINGUISHABLE, UNJUDGED
from study.report.figures.material import Material
from study.report.figures.style import BLACK, BLUE, FAILED, GREY, ORANGE, PALE, drawing, grid, headed, name
from study.report.shown import largest_effects
from study.report.symbols import SYMBOLS

DISTINGUISHABLE = (HIGHER, LOWER)
ROW, HEADER = 1.0, 0.85  # heights of a pair of recipes and of a treatment's name, in units of the y axis
INCHES = 0.42  # of one unit
ROOM = 0.08  # share of the axis left free at either end, where the crosses of failures stand that lie beyond
ACCURACY, BALANCED = (["accuracy_difference", "accuracy_low", "accuracy_high"],
                      ["balanced_accuracy_difference", "balanced_accuracy_low", "balanced_accuracy_high"])  # fmt: skip


def effects(material: Material, path: str | Path) -> None:
    """Each pair of recipes that differ in one treatment: difference in test accuracy with its interval, around zero.

    Percentage points, the recipe right of the arrow minus the one left of it. The axis spans the pairs in which no
    recipe failed; where a failure lies beyond, its cross stands at the edge and the number beside it.
    """
    pairs, left_out = largest_effects(material.effects)
    positions, headers, depth = _layout(pairs)
    with drawing(path, 11.6, 1.5 + INCHES * depth) as figure:
        axes = figure.subplots()
        more = f" (the largest; {left_out:,} more are in tables/effects.csv)" if left_out else ""
        headed(figure, f"Effect of each treatment by itself on test accuracy{more}")
        if pairs.empty:
            _nothing(axes)
            return
        limits = _limits(pairs)
        for treatment, y in headers.items():
            label = str(treatment)[:1].upper() + str(treatment)[1:]
            _beside(axes, 0, -14, y, label, va="center", fontweight="bold")
            axes.axhline(y - HEADER / 2, color=PALE, linewidth=0.8)
        for y, (_, pair) in zip(positions, pairs.iterrows(), strict=True):
            _pair(axes, y, pair, limits)
        axes.axvline(0, color=BLACK, linewidth=1)
        axes.set_xlim(*limits)
        axes.set_ylim(depth, 0)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.set_xlabel("Right of the arrow minus left of it (percentage points)")
        axes.xaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 5, 10]))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _signed(value, "+g") if value else "0"))
        grid(axes, "x")
        _legend(figure, axes, pairs)


def _layout(pairs: pd.DataFrame) -> tuple[list[float], dict[str, float], float]:
    """Middle of each row, middle of each treatment's header, and the height of it all; y grows downwards."""
    positions: list[float] = []
    headers: dict[str, float] = {}
    depth = 0.0
    for treatment in pairs["treatment"]:
        if treatment not in headers:
            headers[treatment] = depth + HEADER / 2
            depth += HEADER
        positions.append(depth + ROW / 2)
        depth += ROW
    return positions, headers, max(depth, ROW)


def _nothing(axes: Axes) -> None:
    axes.set_axis_off()
    axes.text(0, 0.5, "No two recipes differ in one treatment alone.", va="center", fontsize=11)


def _limits(pairs: pd.DataFrame) -> tuple[float, float]:
    """Of the x axis, in percentage points: all intervals of the pairs without a failure, zero, and a little room."""
    sound = pairs[pairs["failed"] == ""]
    values = 100 * (sound if len(sound) else pairs)[ACCURACY + BALANCED].to_numpy(float)
    values = np.append(values[np.isfinite(values)], [-1.0, 1.0])
    room = ROOM * (values.max() - values.min())
    return float(values.min() - room), float(values.max() + room)


def _pair(axes: Axes, y: float, pair: pd.Series, limits: tuple[float, float]) -> None:
    """One row: what changed and between which recipes, both differences, the number and the verdict in words."""
    sure = pair["verdict"] in DISTINGUISHABLE
    color = FAILED if pair["failed"] else BLUE if sure else GREY
    difference, low, high = (100 * float(value) for value in pair[ACCURACY])
    at = difference
    axes.plot([low, high], [y - 0.1] * 2, color=color, linewidth=2.2, solid_capstyle="butt")
    look: dict[str, Any] = {"color": color, "zorder": 3}
    if pair["failed"]:
        if not limits[0] <= difference <= limits[1]:
            at = _at_the_edge(axes, y - 0.1, difference > limits[1], limits, look)
        axes.plot(at, y - 0.1, "X", markersize=9, markeredgecolor="white", **look)
    else:
        axes.plot(at, y - 0.1, "o", markersize=7.5, markerfacecolor=color if sure else "white", **look)
    balanced, low, high = (100 * float(value) for value in pair[BALANCED])
    axes.plot([low, high], [y + 0.2] * 2, color=ORANGE, linewidth=1.2, solid_capstyle="butt")
    axes.plot(balanced, y + 0.2, "D", markersize=4, color=ORANGE)
    _words(axes, y, pair, color)


def _at_the_edge(axes: Axes, y: float, right: bool, limits: tuple[float, float], look: dict[str, Any]) -> float:
    """An arrowhead that points out of the axes; where the cross before it stands."""
    room = ROOM * (limits[1] - limits[0])
    edge, inwards = (limits[1], -room) if right else (limits[0], room)
    axes.plot(edge + 0.2 * inwards, y, ">" if right else "<", markersize=5, **look)
    return edge + 0.6 * inwards


def _words(axes: Axes, y: float, pair: pd.Series, color: str) -> None:
    recipes = f"{name(pair['experiment_from'], 24)} → {name(pair['experiment_to'], 24)}"
    _beside(axes, 0, -14, y - 0.02, name(pair["change"], 60), va="bottom", fontsize=9)
    _beside(axes, 0, -14, y + 0.04, recipes, va="top", fontsize=8, color=GREY)
    number = _signed(100 * float(pair["accuracy_difference"]), "+.1f")
    lost = [f"✕ {name(text, 48)}" for text in pair["failed"].split("; ") if text]
    middle = y - 0.1 * (len(lost) - 1)
    look = {"va": "bottom" if lost else "center", "color": color}
    _beside(axes, 1, 46, middle if lost else y, number, fontsize=10, fontweight="bold", **look)
    verdict = pair["verdict"] if pair["verdict"] == UNJUDGED else f"{SYMBOLS[pair['verdict']]} {pair['verdict']}"
    _beside(axes, 1, 54, middle if lost else y, verdict, ha="left", fontsize=9, **look)
    _beside(axes, 1, 54, middle + 0.06, "\n".join(lost), ha="left", va="top", fontsize=7.5, color=color)


def _beside(axes: Axes, edge: int, points: float, y: float, text: str, ha: str = "right", **look: Any) -> None:
    """Text in row y, so many points from the left (0) or right (1) edge of the axes."""
    axes.annotate(
        text, (edge, y), (points, 0), xycoords=axes.get_yaxis_transform(), textcoords="offset points", ha=ha, **look
    )


def _signed(value: float, form: str) -> str:
    text = format(value, form).replace("-", "−")
    return text if text.strip("+−0.") else text.lstrip("+−")


def _legend(figure: Figure, axes: Axes, pairs: pd.DataFrame) -> None:
    failed = pairs["failed"] != ""
    sure = pairs["verdict"].isin(DISTINGUISHABLE)
    if (sure & ~failed).any():
        axes.plot([], [], "-o", color=BLUE, markersize=7, label="accuracy, distinguishable")
    if (~sure & ~failed).any():
        axes.plot(
            [], [], "-o", color=GREY, markersize=7, markerfacecolor="white", label=f"accuracy, {NOT_DISTINGUISHABLE}"
        )
    if failed.any():
        axes.plot([], [], "-X", color=FAILED, markersize=8, markeredgecolor="white", label="accuracy, a recipe failed")
    axes.plot([], [], "-D", color=ORANGE, linewidth=1.2, markersize=4, label="balanced accuracy")
    figure.legend(loc="outside lower center", ncols=4)
