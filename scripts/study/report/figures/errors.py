"""Where a recipe errs: how far its confidence can be trusted, which classes it confuses, how sure its recalls are."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from numpy.typing import NDArray

from study.compare.runs import RecipeRuns, Run, Subset
from study.compare.statistics import level
from study.evaluate.metrics import reliability as bins_of
from study.report.figures.classes import MANY, groups_of
from study.report.figures.material import Material
from study.report.figures.style import BLUE, FAILED, GREY, PALE, drawing, grid, headed, name, percent, picture, series
from study.report.shown import best_ones, of_all
from study.report.shown import shown as recipes_shown

DIAGRAMS_PER_ROW = 5
WORST = 15  # classes that are shown by themselves where there are many

Rows = tuple[str, NDArray[np.int64]]  # what a row is called, and the classes that are together in it


def reliability(material: Material, path: str | Path) -> None:
    """Accuracy against confidence on the test images, one small diagram per recipe; the seeds' images together.

    A calibrated network lies on the diagonal; below it, it is surer than it is right. The area of a dot is the share
    of the images. Of many recipes the best ones, see `study.report.shown`.
    Source: Guo et al. 2017, On Calibration of Modern Neural Networks, figure 1 (arXiv 1706.04599).
    """
    recipes, bins = material.comparison.recipes, material.comparison.metrics["ece_bins"]
    groups = recipes_shown(recipes.values())
    columns = min(DIAGRAMS_PER_ROW, len(groups))
    rows = -(-len(groups) // DIAGRAMS_PER_ROW)
    with drawing(path, 2.3 * columns + 0.9, 2.55 * rows + 0.9) as figure:
        grid_of_axes = figure.subplots(
            rows, columns, squeeze=False, sharex=True, sharey=True, subplot_kw={"box_aspect": 1}
        )
        for axes, group in zip(grid_of_axes.flat, groups, strict=False):
            _frame(axes)
            _dots(axes, group, bins)
            axes.set_title(_reliability_title(group), fontsize=9)
        for axes in grid_of_axes.flat[len(groups) :]:
            axes.set_visible(False)
        figure.supxlabel("Confidence: probability of the predicted class", fontsize=10)
        figure.supylabel("Accuracy", fontsize=10)
        some = of_all(groups, recipes)
        headed(figure, f"Reliability on the test images, {bins} bins (ECE: expected calibration error){some}")


def _frame(axes: Axes) -> None:
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=(0, (1, 2)), zorder=0)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(percent)
    axes.set(xlim=(0, 1.03), ylim=(0, 1.03), xticks=(0, 0.5, 1), yticks=(0, 0.5, 1))
    grid(axes)


def _dots(axes: Axes, group: RecipeRuns, bins: int) -> None:
    correct = np.concatenate([run.correct for run in group])
    sure = np.concatenate([run.scores["test"].confidence for run in group])
    if not np.isfinite(sure).all():
        axes.text(0.5, 0.5, "not finite", ha="center", va="center", fontsize=9, color=FAILED)
        return
    images, accuracy, confidence = bins_of(correct, sure, bins)
    filled = images > 0
    color = FAILED if group.failed else BLUE
    axes.vlines(confidence[filled], confidence[filled], accuracy[filled], color=color, linewidth=1.2, alpha=0.6)
    area = 12 + 260 * images[filled] / images.sum()
    axes.scatter(confidence[filled], accuracy[filled], s=area, color=color, edgecolor="white", linewidth=0.7, zorder=3)


def _reliability_title(group: RecipeRuns) -> str:
    errors = [run.metrics["test"]["ece"] for run in group]
    ece = "–" if None in errors else f"{np.mean(np.array(errors, float)):.3f}"
    mark = "✕ " if group.failed else ""
    return f"{mark}{name(group.name, 16)}\nECE {ece}"


def class_recall(material: Material, path: str | Path, most: int = 4) -> None:
    """Recall of each class on the test images with its interval, for the recipe chosen and the next best ones.

    Classes run from the rarest to the most frequent; of many the worst are shown, then all in groups. Of several seeds
    the mean recall is shown, its interval is over seeds and images: see `study.compare.runs.Subset`.
    """
    comparison = material.comparison
    best, confidence, first = comparison.best, comparison.confidence, comparison.runs[0]
    shown = best_ones(comparison, most)
    classes = first.classes
    images = first.by_class("test", "images")
    order = [(f"{name(classes[k], 22)}, n", np.array([k])) for k in np.argsort(images, kind="stable") if images[k]]
    head = f"Recall per class with {level(confidence)} intervals, rarest class on top"
    if len(order) > MANY:
        order = [*_worst(best, order), *((f"{label} images, n", some) for label, some in groups_of(images))]
        which = f"the {WORST} worst of {len(classes):,} classes, then all by their test images"
        head = f"Recall with {level(confidence)} intervals: {which}"
    with drawing(path, 9.6, 1.6 + 0.62 * len(order)) as figure:
        axes = figure.subplots()
        for position, group in enumerate(shown):
            _recalls(axes, group, position, len(shown), order, confidence)
        axes.set_yticks(range(len(order)), [f"{label} = {images[some].sum():,}" for label, some in order])
        axes.set_xlim(-0.02, 1.02)
        axes.set_ylim(-0.6, len(order) - 0.4)
        axes.invert_yaxis()
        axes.set_xlabel("Recall: share of the class's test images that is recognised")
        axes.xaxis.set_major_formatter(percent)
        axes.tick_params(axis="y", length=0)
        grid(axes, "x")
        axes.hlines(np.arange(len(order) - 1) + 0.5, -0.02, 1.02, color=PALE, linewidth=0.8)
        figure.legend(loc="outside lower center", ncols=min(4, len(shown)))
        headed(figure, head)


def _worst(group: RecipeRuns, order: list[Rows]) -> list[Rows]:
    """Those of the recipe's `WORST` lowest recalls, of equal ones those with most images first."""
    recall = np.mean([run.by_class("test", "hits") for run in group], axis=0) / np.maximum(
        group.first.by_class("test", "images"), 1
    )
    return sorted(reversed(order), key=lambda row: recall[row[1]].mean())[:WORST]


def _recalls(
    axes: Axes,
    group: RecipeRuns,
    position: int,
    recipes: int,
    order: list[Rows],
    confidence: float,
) -> None:
    look = series(position)
    offset = (position - (recipes - 1) / 2) * 0.8 / recipes
    scores, recalls = group.first.scores["test"], []
    for y, (_, some) in enumerate(order):
        of_row = np.isin(scores.labels, some)
        units = None if scores.units is None else scores.units[of_row]
        seen = Subset(np.array([run.correct[of_row] for run in group]), units)
        low, high = seen.interval(confidence)
        recalls.append(seen.accuracy)
        axes.plot([low, high], [y + offset] * 2, color=look["color"], linewidth=2, solid_capstyle="butt")
    label = name(group.name, 24) + (f" ✕ {group.failure}" if group.failure else "")
    marker = "osD^v"[position % 5]
    at = np.arange(len(order)) + offset
    axes.plot(recalls, at, marker, color=look["color"], markeredgecolor="white", label=label)


def confused_pairs(material: Material, path: str | Path, pairs: int = 6, examples: int = 8) -> None:
    """The most frequent confusions of the best recipe's first seed, with the test images it was surest about."""
    best, images = material.comparison.best, material.data.images["test"]
    run = best.first
    confusions = most_confused(run, pairs)
    with drawing(path, 2.6 + 0.8 * examples, 0.7 + 0.95 * max(len(confusions), 1)) as figure:
        first = f"seed {run.seed}, " if best.several_seeds else ""
        headed(figure, f"{name(best.name, 30)}: most confused pairs of classes ({first}test images)")
        if not confusions:
            figure.text(0.5, 0.5, "No test image is mistaken.", ha="center", va="center", color=GREY)
            return
        grid_of_axes = figure.subplots(len(confusions), examples, squeeze=False)
        position = {image_id: k for k, image_id in enumerate(material.data.image_ids["test"])}
        for axes_row, (true, guess, rows) in zip(grid_of_axes, confusions, strict=True):
            _examples(list(axes_row), run, true, guess, rows, images, position)


def most_confused(run: Run, pairs: int) -> list[tuple[int, int, NDArray[np.int64]]]:
    """(true class, predicted class, rows of the test scores by falling confidence), most frequent confusion first."""
    scores = run.scores["test"]
    wrong = pd.DataFrame({"true": scores.labels, "guess": scores.predicted})[~scores.correct]
    cells = wrong.value_counts(sort=False).sort_index().sort_values(ascending=False, kind="stable").index[:pairs]
    surest = np.nan_to_num(scores.confidence)
    confusions = []
    for true, guess in cells.tolist():
        rows = np.flatnonzero((scores.labels == true) & (scores.predicted == guess))
        confusions.append((true, guess, rows[np.argsort(-surest[rows], kind="stable")]))
    return confusions


def _examples(
    row: list[Axes],
    run: Run,
    true: int,
    guess: int,
    rows: NDArray[np.int64],
    images: NDArray[np.uint8],
    position: dict[str, int],
) -> None:
    scores = run.scores["test"]
    total = int((scores.labels == true).sum())
    for axes in row:
        axes.set_axis_off()
    for axes, k in zip(row, rows, strict=False):
        picture(axes, images[position[str(scores.image_ids[k])]])
        axes.set_title(f"{scores.confidence[k]:.0%}", fontsize=8.5, fontweight="normal", loc="center", pad=2)
    head = f"{name(run.classes[true], 18)} → {name(run.classes[guess], 18)}\n{len(rows)} of {total:,} images"
    row[0].text(-0.25, 0.5, head, transform=row[0].transAxes, ha="right", va="center", fontsize=9.5, linespacing=1.4)
