"""Recipes beside each other: the comparison of all, and the plane of two hyperparameters."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from study.compare.comparison import Comparison
from study.compare.cost import duration
from study.compare.runs import RecipeRuns, Run
from study.compare.statistics import level
from study.compare.verdicts import BEST, BETTER, NOT_DISTINGUISHABLE, WORSE
from study.errors import StudyError
from study.recipe import HYPERPARAMETERS
from study.report.figures.material import Material
from study.report.figures.style import BASELINE, BLUE, FAILED, GREY, ORANGE, PALE, SHADES, drawing, grid, name, percent
from study.report.shown import failures_counted, shown
from study.report.symbols import SYMBOLS

VERDICTS = {
    BEST: f"{SYMBOLS[BEST]} best",
    NOT_DISTINGUISHABLE: f"{SYMBOLS[NOT_DISTINGUISHABLE]} {NOT_DISTINGUISHABLE}",
    WORSE: "worse",
    BETTER: f"{SYMBOLS[BETTER]} better on test",
}

CELL_NAMES = 8  # recipes that a cell of the map names


def comparison(material: Material, path: str | Path) -> None:
    """Test accuracy of every recipe with its interval, sorted by tier; validation beside it; failures crossed out.

    Bands set off the tiers. Of many recipes `shown` has the best ones, and the title says how many there are. A line
    marks what always answering the largest class reaches on the test images. The reported validation accuracies are
    marked as well where the study shows them.
    """
    study = material.comparison
    best, reported = study.best, study.reported_protocol is not None
    groups = shown(study.recipes.values())
    order = sorted(groups, key=lambda g: (not g.failed, -(g.tier or 0), g.accuracy("test"), g is best))
    with drawing(path, 10.2, 1.75 + 0.34 * len(order)) as figure:
        axes = figure.subplots()
        axes.axvspan(*best.interval("test"), color=BLUE, alpha=0.08, linewidth=0)
        if study.baseline is not None:
            axes.axvline(study.baseline.accuracy["test"], zorder=0, **BASELINE)
        _tiers(axes, order)
        for y, group in enumerate(order):
            _row(axes, y, group, reported)
        axes.set_yticks(range(len(order)), [name(group.name, 28) for group in order])
        axes.get_yticklabels()[order.index(best)].set_fontweight("bold")
        axes.set_ylim(-0.6, len(order) - 0.4)
        axes.set_xlabel("Accuracy")
        axes.xaxis.set_major_formatter(percent)
        grid(axes, "x")
        _legend(figure, axes, study, reported)
        seeds = len({run.seed for run in study.runs})
        axes.set_title(
            f"Accuracy of {_counted(order, study)} on {study.test_images:,} test images"
            + (f", {seeds} seeds" if seeds > 1 else "")
        )


def _counted(order: Sequence[RecipeRuns], study: Comparison) -> str:
    """ "14 recipes", or what of them is shown, and how many failures are not."""
    if len(order) == len(study.recipes):
        return f"{len(order)} recipe{'s' * (len(order) > 1)}"
    names = {group.name for group in order}
    alive = sum(not group.failed for group in order) or len(order)
    hidden = failures_counted(group for group in study.recipes.values() if group.name not in names)
    return f"the best {alive} of {len(study.recipes):,} recipes" + f" (not shown: {hidden})" * bool(hidden)


def _tiers(axes: Axes, order: Sequence[RecipeRuns]) -> None:
    """A band behind every second tier, with its number at the left edge; none where there is one tier alone."""
    tiers = [group.tier for group in order]
    numbers = sorted({tier for tier in tiers if tier is not None})
    if len(numbers) < 2:
        return
    right = axes.get_yaxis_transform()
    for tier in numbers:
        rows = [y for y, one in enumerate(tiers) if one == tier]
        if tier % 2 == 0:
            axes.axhspan(min(rows) - 0.5, max(rows) + 0.5, color=GREY, alpha=0.1, linewidth=0, zorder=0)
        axes.text(0.005, max(rows), f"tier {tier}", transform=right, va="center", fontsize=8, color=GREY)


def _row(axes: Axes, y: int, group: RecipeRuns, reported: bool) -> None:
    """One recipe: interval and marker, the number, and how it compares, in words."""
    failed = group.failed
    color = FAILED if failed else GREY if group.verdict == WORSE else BLUE
    test = group.accuracy("test")
    low, high = group.interval("test")
    axes.plot([low, high], [y, y], color=color, linewidth=2.2, solid_capstyle="butt")
    if group.several_seeds:
        axes.plot([run.test_accuracy for run in group], [y] * len(group), "|", color=color, markersize=9)
    axes.plot(group.accuracy("val"), y, "o", markersize=9.5, markerfacecolor="none", color=color, markeredgewidth=1.3)
    axes.plot(test, y, "X" if failed else "o", color=color, markersize=8 if failed else 6.5, markeredgecolor="white")
    if reported and group.recipe.reported is not None:
        axes.plot(group.recipe.reported, y, "D", color=ORANGE, markersize=5.5, markeredgecolor="black")
    words = f"✕ {group.failure}" if group.failure else VERDICTS[group.verdict]
    right = axes.get_yaxis_transform()
    axes.text(1.02, y, f"{test:.1%}", transform=right, va="center", fontsize=10, fontweight="bold", color=color)
    axes.text(1.10, y, words, transform=right, va="center", fontsize=9, color=color)


def _legend(figure: Figure, axes: Axes, comparison: Comparison, reported: bool) -> None:
    groups = comparison.recipes.values()
    units = "images" if comparison.units is None else "groups"
    source = f"over seeds and {units}" if comparison.best.several_seeds else f"from the {units}"
    axes.plot([], [], "-o", color=GREY, markersize=7, label=f"test, {level(comparison.confidence)} interval {source}")
    axes.plot([], [], "o", color=GREY, markersize=9.5, markerfacecolor="none", label="validation (chooses the best)")
    if any(group.failed for group in groups):
        axes.plot([], [], "X", color=FAILED, markersize=8.5, markeredgecolor="white", label="failed, test")
    if reported and any(group.recipe.reported is not None for group in groups):
        axes.plot([], [], "D", color=ORANGE, markersize=5.5, markeredgecolor="black", label="reported (validation)")
    axes.fill_between(
        [], [], [], color=BLUE, alpha=0.12, linewidth=0, label=f"interval of {name(comparison.best.name, 28)}"
    )
    if (baseline := comparison.baseline) is not None:
        label = f"always {name(baseline.name, 20)}: {baseline.accuracy['test']:.1%} of the test images"
        axes.plot([], [], label=label, **BASELINE)
    figure.legend(loc="outside lower center", ncols=3)


def map_of_two(material: Material, path: str | Path, optimizer: str) -> None:
    """Two hyperparameters of the recipes with one optimizer: a cell shows the test accuracy of its best recipe and what
    it cost.

    The cost is optimizer steps and seconds of training and validation, the mean over seeds. Below it are all recipes
    of the cell, the best one first. Cells in which every run failed are hatched; the failures are named with their
    outcome. Recipes in which one of the two means nothing are left out. The layout is that of Kandel & Castelli 2020,
    The effect of batch size on the generalizability of the convolutional neural networks on a histopathology dataset,
    ICT Express 6:312–315.

    Raises:
        StudyError: if no recipe uses the optimizer.
    """
    runs, train_images = material.comparison.runs, material.pack["splits"]["train"]["images"]
    recipes = [group for group in material.comparison.recipes.values() if group.recipe.trains]
    groups = [group for group in recipes if group.recipe.optimizer == optimizer]
    if not groups:
        used = sorted({run.recipe.optimizer for run in runs})
        raise StudyError(f"no recipe uses the optimizer {optimizer}; found: {used}")
    up, along = (HYPERPARAMETERS[column] for column in material.map)
    placed = [g for g in groups if None not in (g.recipe.meant(up.name), g.recipe.meant(along.name))]
    ups = sorted({group.recipe[up.name] for group in placed})
    alongs = sorted({group.recipe[along.name] for group in placed})
    cells: dict[tuple[int, int], list[RecipeRuns]] = {}
    for group in placed:
        place = alongs.index(group.recipe[along.name]), ups.index(group.recipe[up.name])
        cells.setdefault(place, []).append(group)
    tallest = 0.95 + 0.19 * max([min(len(cell), CELL_NAMES + 1) for cell in cells.values()], default=1)
    with drawing(path, 2.6 + 2.7 * max(len(alongs), 1), 1.5 + tallest * max(len(ups), 1)) as figure:
        axes = figure.subplots()
        norm = _accuracy_scale(runs)
        for (x, y), cell in cells.items():
            _cell(axes, x, y, cell, train_images, norm, tallest)
        for x, y in sorted(set(np.ndindex(max(len(alongs), 1), max(len(ups), 1))) - set(cells)):
            axes.text(x, y, "no recipe", ha="center", va="center", fontsize=8.5, color=GREY)
        axes.set_xlim(-0.5, max(len(alongs), 1) - 0.5)
        axes.set_ylim(-0.5, max(len(ups), 1) - 0.5)
        axes.set_xticks(range(len(alongs)), [along.show(value) for value in alongs])
        axes.set_yticks(range(len(ups)), [up.show(value) for value in ups])
        axes.set_xlabel(along.heading)
        axes.set_ylabel(up.heading)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        axes.set_title(f"{name(optimizer)}: best test accuracy per cell")
        if not all(group.failed for group in groups):
            _colour_key(figure, axes, norm)


def _colour_key(figure: Figure, axes: Axes, norm: Normalize) -> None:
    ticks = MaxNLocator(5, steps=[1, 2, 5, 10])
    key = figure.colorbar(ScalarMappable(norm, SHADES), ax=axes, fraction=0.05, pad=0.02, aspect=18, ticks=ticks)
    key.ax.yaxis.set_major_formatter(percent)
    key.set_label("Test accuracy")
    key.outline.set_visible(False)


def _accuracy_scale(runs: Sequence[Run]) -> Normalize:
    """From the lowest to the highest test accuracy of runs that did not fail, in steps of 5 %, over all optimizers."""
    values = [run.test_accuracy for run in runs if not run.failed] or [0.0, 1.0]
    low = max(np.floor(20 * min(values)) / 20 - 0.05, 0.0)  # a step of room: the lowest cell is not white
    return Normalize(low, max(np.ceil(20 * max(values)) / 20, low + 0.05))


def _cell(
    axes: Axes, x: int, y: int, cell: list[RecipeRuns], train_images: int, norm: Normalize, height: float
) -> None:
    ordered = sorted(cell, key=lambda group: (group.failed, -group.accuracy("test")))
    best, failed = ordered[0], ordered[0].failed
    accuracy = best.accuracy("test")
    if failed:
        axes.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, facecolor="none", edgecolor=PALE, linewidth=0, hatch="////"))
    face = "none" if failed else SHADES(norm(accuracy))
    axes.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, facecolor=face, edgecolor="white", linewidth=4))
    look: dict[str, Any] = {"ha": "center", "va": "center"}
    if failed:
        look["bbox"] = {"facecolor": "white", "edgecolor": "none", "pad": 2}
    top = y + 0.5 - 0.32 / height
    axes.text(x, top, f"{'✕ ' * failed}{accuracy:.1%}", fontsize=14, fontweight="bold", **look)
    axes.text(x, top - 0.29 / height, _cost(best, train_images), fontsize=8.5, **look)
    if len(ordered) > CELL_NAMES:
        more = f"and {len(ordered) - CELL_NAMES:,} more"
        axes.text(x, top - (0.53 + 0.19 * CELL_NAMES) / height, more, fontsize=8.5, **look)
    for k, group in enumerate(ordered[:CELL_NAMES]):
        share = f" {group.accuracy('test'):.1%}" if len(cell) > 1 else ""
        line = name(group.name, 22) + (f" ✕ {group.failure}" if group.failure else share)
        axes.text(x, top - (0.53 + 0.19 * k) / height, line, fontsize=8.5, **look)


def _cost(group: RecipeRuns, train_images: int) -> str:
    """Optimizer steps and wall time of a recipe, "12,345 steps · 1.2 h"."""
    steps, seconds = steps_and_seconds(group, train_images)
    return f"{steps:,.0f} steps · {duration(seconds)}"


def steps_and_seconds(group: RecipeRuns, train_images: int) -> tuple[float, float]:
    """Optimizer steps and wall time of a recipe's training, the mean over its seeds."""
    steps = batches_per_epoch(train_images, group.recipe.batch_size) * np.mean([run.record["epochs"] for run in group])
    return float(steps), float(np.mean([run.record["seconds"] for run in group]))


def batches_per_epoch(images: int, batch_size: int) -> int:
    """Optimizer steps of an epoch: those of `study.train.batches.batch_bounds`; one image left over makes none."""
    batches = math.ceil(images / batch_size)
    alone = images - (batches - 1) * batch_size == 1
    return batches - 1 if alone and batches > 1 and batch_size > 1 else batches
