"""The figures of the page on the record: published results and ours in one list, and what the training time buys."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, MultipleLocator, NullLocator

from study.report.figures.style import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PALE,
    VERMILLION,
    drawing,
    grid,
    headed,
    name,
    percent,
)
from study.report.record_page import CROWD_AGREES, HUMAN, HUMAN_SPREAD, PRIVATE_TEST, UNTOLD, Entry, Reached

MARKS: dict[str, dict[str, Any]] = {
    "ours, from scratch": {"color": BLUE, "marker": "o"},
    "ours, several networks averaged": {"color": BLUE, "marker": "P"},
    "from scratch, epoch chosen without the scored images": {"color": GREEN, "marker": "s"},
    "from scratch, choice not told": {"color": GREY, "marker": "s", "markerfacecolor": "white"},
    "epoch chosen on the scored images, or scored on PublicTest": {"color": VERMILLION, "marker": "X"},
    "pre-trained on ImageNet": {"color": ORANGE, "marker": "D", "markerfacecolor": "white"},
}


def mark(entry: Entry) -> str:
    """Which of `MARKS` a result has."""
    ours, averaged, scratch, untold, on_scored, pretrained = MARKS
    if not entry.from_scratch:
        return pretrained
    if entry.honest:
        return (ours if entry.networks == 1 else averaged) if entry.ours else scratch
    return untold if entry.protocol["chosen_on"] == UNTOLD else on_scored


def draw_published(entries: Sequence[Entry], path: str | Path) -> None:
    """Every result with its interval, the highest on top, beside a human and the agreement of the crowd."""
    order = list(entries)[::-1]
    with drawing(path, 10.2, 1.9 + 0.3 * len(order)) as figure:
        axes = figure.subplots()
        headed(figure, "FER2013: published results and ours")
        axes.axvspan(HUMAN - HUMAN_SPREAD, HUMAN + HUMAN_SPREAD, color=PALE, alpha=0.5, linewidth=0, zorder=0)
        axes.axvline(HUMAN, color=GREY, linewidth=1, zorder=0)
        axes.axvline(CROWD_AGREES / PRIVATE_TEST, color=BLACK, linewidth=1.2, linestyle="--", zorder=0)
        for y, entry in enumerate(order):
            style = MARKS[mark(entry)]
            axes.plot([entry.low, entry.high], [y, y], color=style["color"], linewidth=1.4)
            axes.plot(entry.accuracy, y, linestyle="", markersize=7, **style)
        labels = [
            name(f"{entry.name}: {entry.network}" if entry.network and entry.networks == 1 else entry.name, 60)
            for entry in order
        ]
        axes.set_yticks(range(len(order)), labels)
        for label, entry in zip(axes.get_yticklabels(), order, strict=True):
            label.set_fontweight("bold" if entry.ours else "normal")
        axes.set_ylim(-0.6, len(order) + 0.3)
        for x, text in ((HUMAN, "a human"), (CROWD_AGREES / PRIVATE_TEST, "ten taggers' majority")):
            axes.annotate(text, (x, len(order) - 0.25), ha="center", va="center", fontsize=9, color="#333333",
                          bbox={"color": "white", "pad": 1})  # fmt: skip
        axes.set_xlabel("Accuracy, with the interval for other images (ours: and other seeds)")
        axes.xaxis.set_major_locator(MultipleLocator(0.02))
        axes.xaxis.set_major_formatter(percent)
        grid(axes, "x")
        used = [which for which in MARKS if any(mark(entry) == which for entry in entries)]
        handles = [Line2D([], [], linestyle="", markersize=7, label=which, **MARKS[which]) for which in used]
        figure.legend(handles=handles, loc="outside lower left", ncols=2)


def draw_budget(rows: Sequence[Reached], path: str | Path) -> None:
    """Accuracy by training time: a line for each recipe, from one network to the average of all its seeds.

    Args:
        rows: as `study.report.record_page.budget` gives them.
    """
    with drawing(path, 7.2, 4.4) as figure:
        axes = figure.subplots()
        headed(figure, "What the training time buys")
        if not rows:
            axes.set_axis_off()
            axes.text(0, 0.5, "No run has finished yet.", va="center", fontsize=11)
            return
        for recipe in dict.fromkeys(row.recipe for row in rows):
            line = [row for row in rows if row.recipe == recipe]
            times, ours = [row.minutes for row in line], "P" if line[0].chosen else "o"
            axes.plot(times, [row.test for row in line], color=BLUE, marker=ours)
            axes.plot(times, [row.val for row in line], color=GREY, marker=ours, markerfacecolor="white",
                      linestyle="--")  # fmt: skip
            label = "chosen on PublicTest" if line[0].chosen else name(recipe, 30)
            side = "center" if times[-1] == rows[-1].minutes else "left"  # clear of the lines before it
            axes.annotate(label, (times[-1], line[-1].high), textcoords="offset points", xytext=(0, 4), ha=side,
                          va="bottom", fontsize=9, color="#333333")  # fmt: skip
        for row in rows:
            axes.vlines(row.minutes, row.low, row.high, color=BLUE, linewidth=1.4)
            axes.plot([row.minutes] * len(row.each), row.each, color=BLUE, linestyle="", marker="_", alpha=0.6)
        times = [row.minutes for row in rows]
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(FixedLocator(times))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xticklabels([f"{row.minutes:.0f}\n{row.networks}" for row in rows], fontsize=8)
        axes.set_xlim(times[0] / 1.3, times[-1] * 1.3)
        axes.margins(y=0.12)
        axes.set_xlabel("Minutes of training on two processor cores, and networks that are averaged")
        axes.set_ylabel("Accuracy")
        axes.yaxis.set_major_formatter(percent)
        grid(axes)
        handles = [
            Line2D([], [], color=BLUE, marker="o", label="PrivateTest, with the interval; a dash is one result"),
            Line2D([], [], color=GREY, marker="o", markerfacecolor="white", linestyle="--", label="PublicTest"),
        ]
        figure.legend(handles=handles, loc="outside lower left", ncols=2)
