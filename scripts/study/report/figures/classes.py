"""Classes: how many images, what they look like, which are recognised and which are mistaken for which."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.ticker import FuncFormatter, StrMethodFormatter
from numpy.typing import NDArray

from study.compare.runs import RecipeRuns
from study.report.figures.material import Material
from study.report.figures.style import (
    BLUE,
    GREY,
    ORANGE,
    PALE,
    PURPLE,
    SHADES,
    SKY,
    drawing,
    grid,
    headed,
    name,
    percent,
)
from study.report.shown import of_all
from study.report.shown import shown as recipes_shown

MANY = 30  # classes that a figure shows one by one; of more it shows groups, or some of them
GROUPS = 10
SAMPLE_PIXELS = 48  # side of an image at most where there are many classes, so that the figure stays small
PIXELS = 250  # side of the picture of a large confusion matrix
SPLIT_COLORS = {"train": BLUE, "val": SKY, "test": ORANGE}


def confusion(material: Material, path: str | Path, experiment: str) -> None:
    """Confusion matrix of one recipe on the test images, each row in percent of its class; seeds are added up."""
    group = material.comparison.recipes[experiment]
    classes = group.first.classes
    if len(classes) > MANY:
        _large_confusion(group, path)
        return
    counts = np.sum([run.confusion("test").toarray() for run in group], axis=0)
    rows = counts.sum(axis=1)
    share = np.divide(counts, rows[:, None], out=np.full(counts.shape, np.nan), where=rows[:, None] > 0)
    side = 0.62 * len(classes)
    with drawing(path, side + 3.2, side + 1.9) as figure:
        axes = figure.subplots()
        _heat(axes, share)
        images = (rows / len(group)).round().astype(int)
        axes.set_xticks(range(len(classes)), [name(c) for c in classes])
        if max(map(len, classes)) > 5:
            for label in axes.get_xticklabels():
                label.set(rotation=35, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(len(classes)), [f"{name(c)} ({n:,})" for c, n in zip(classes, images, strict=True)])
        axes.set_xlabel("Predicted class")
        axes.set_ylabel("True class (test images)")
        axes.set_title("Percent of each row; blank: none", fontsize=9, fontweight="normal", color=GREY)
        accuracy = np.trace(counts) / counts.sum()
        seeds = f", {len(group)} seeds" if len(group) > 1 else ""
        failed = f" ✕ {group.failure}" if group.failure else ""
        headed(figure, f"{name(experiment, 30)}{failed}: {accuracy:.1%} of test images right{seeds}")


def _large_confusion(group: RecipeRuns, path: str | Path) -> None:
    """The matrix of many classes as a picture, from the most frequent to the rarest; a pixel may be several classes."""
    images = group.first.by_class("test", "images")
    classes, bins = len(images), min(len(images), PIXELS)
    rank = np.empty(classes, np.int64)
    rank[np.argsort(-images, kind="stable")] = np.arange(classes)
    place = rank * bins // classes
    counts = np.zeros((bins, bins))
    for run in group:
        cells = run.confusion("test").tocoo()
        np.add.at(counts, (place[cells.row], place[cells.col]), cells.data)
    rows = counts.sum(axis=1, keepdims=True)
    share = np.divide(counts, rows, out=np.full(counts.shape, np.nan), where=rows > 0)
    with drawing(path, 7.4, 6.6) as figure:
        axes = figure.subplots()
        picture = axes.imshow(share, cmap="Blues", norm=PowerNorm(0.4, 0, 1), interpolation="none")
        axes.set(xticks=[], yticks=[], xlabel="Predicted class, from the most frequent to the rarest")
        axes.set_ylabel("True class, from the most frequent to the rarest")
        figure.colorbar(picture, ax=axes, format=FuncFormatter(percent), label="Share of the row", shrink=0.8)
        together = f"{classes / bins:.3g} classes a pixel" if bins < classes else "a class a pixel"
        axes.set_title(f"{classes:,} classes, {together}", fontsize=9, fontweight="normal", color=GREY)
        failed = f" ✕ {group.failure}" if group.failure else ""
        headed(figure, f"{name(group.name, 30)}{failed}: {group.accuracy('test'):.1%} of test images right")


def groups_of(images: NDArray[np.int64]) -> list[tuple[str, NDArray[np.int64]]]:
    """Classes with an image in `GROUPS` groups of as many, from the rarest: (which they are, their indices)."""
    order = np.argsort(images, kind="stable")
    groups = np.array_split(order[images[order] > 0], GROUPS)
    ends = [(images[some[0]], images[some[-1]]) for some in groups if len(some)]
    return [(f"{len(some)} classes of {a:,} to {b:,}", some) for some, (a, b) in zip(groups, ends, strict=False)]


def recall(material: Material, path: str | Path) -> None:
    """Recall on the test images per recipe (rows, by mean recall) and class (columns, from rarest to most frequent).

    Of many recipes the best ones, see `study.report.shown`.
    """
    groups, first = _groups(material), material.comparison.runs[0]
    classes = first.classes
    images = first.by_class("test", "images")
    if len(classes) > MANY:
        _recall_of_groups(material, path, images)
        return
    columns = np.argsort(images, kind="stable")
    values = {e: _mean_recall(group)[columns] for e, group in groups.items()}
    order = sorted(groups, key=lambda e: -np.nanmean(values[e]))
    with drawing(path, 3.4 + 0.78 * len(classes), 2.3 + 0.36 * len(order)) as figure:
        axes = figure.subplots()
        _heat(axes, np.array([values[e] for e in order]), aspect="auto")
        heads = [f"{name(classes[k], 16)}, n = {images[k]:,}" for k in columns]
        rarest = int(np.argmax(images[columns] > 0))
        heads[rarest] += " (rarest)"
        axes.set_xticks(range(len(classes)), heads, rotation=35, ha="left", rotation_mode="anchor")
        axes.xaxis.tick_top()
        axes.get_xticklabels()[rarest].set_fontweight("bold")
        lost = {e: f" ✕ {group.failure}" if group.failure else "" for e, group in groups.items()}
        axes.set_yticks(range(len(order)), [name(e, 28) + lost[e] for e in order])
        headed(figure, f"Recall per class on the test images, in percent{of_all(groups, material.comparison.recipes)}")


def _groups(material: Material) -> dict[str, RecipeRuns]:
    return {group.name: group for group in recipes_shown(material.comparison.recipes.values())}


def _recall_of_groups(material: Material, path: str | Path, images: NDArray[np.int64]) -> None:
    """The same for groups of classes that have about as many test images: the mean of their recalls."""
    recipes, groups = _groups(material), groups_of(images)
    values = {e: np.array([_mean_recall(group)[some].mean() for _, some in groups]) for e, group in recipes.items()}
    order = sorted(recipes, key=lambda e: -values[e].mean())
    with drawing(path, 3.8 + 0.78 * len(groups), 2.8 + 0.36 * len(order)) as figure:
        axes = figure.subplots()
        _heat(axes, np.array([values[e] for e in order]), aspect="auto")
        heads = [f"{head} images" for head, _ in groups]
        axes.set_xticks(range(len(groups)), heads, rotation=35, ha="left", rotation_mode="anchor")
        axes.xaxis.tick_top()
        lost = {e: f" ✕ {group.failure}" if group.failure else "" for e, group in recipes.items()}
        axes.set_yticks(range(len(order)), [name(e, 28) + lost[e] for e in order])
        some = of_all(recipes, material.comparison.recipes)
        headed(figure, f"Mean recall of classes by their test images, in percent{some}")


def _mean_recall(group: RecipeRuns) -> NDArray[np.float64]:
    table = [[np.nan if r is None else r for r in run.metrics["test"]["recall"].values()] for run in group]
    return np.array(table, float).mean(axis=0)


def _heat(axes: Axes, share: NDArray[np.float64], aspect: str = "equal") -> None:
    """Shares as coloured cells with whole percents; nothing is written where the share is zero or undefined."""
    rows, columns = share.shape
    edges = np.arange(columns + 1) - 0.5, np.arange(rows + 1) - 0.5
    cells = np.ma.masked_invalid(share)
    axes.pcolormesh(*edges, cells, cmap=SHADES, vmin=0, vmax=1, edgecolors=PALE, linewidth=0.8)
    for (row, column), value in np.ndenumerate(share):
        if value > 0:
            text = f"{100 * value:.0f}" if value >= 0.005 else "<1"
            axes.text(column, row, text, ha="center", va="center", fontsize=9.5)
    axes.set_aspect(aspect)  # type: ignore[arg-type]
    axes.invert_yaxis()
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def class_counts(material: Material, path: str | Path) -> None:
    """Images per class and split, and the weight of each class in the weighted loss."""
    pack, weights = material.pack, material.class_weights
    splits = pack["splits"]
    counts = {split: [content["counts"].get(c, 0) for c in pack["classes"]] for split, content in splits.items()}
    order = np.argsort(counts["train"], kind="stable")
    if len(order) > MANY:
        _many_counts(material, path, order, counts)
        return
    by_class = weights.set_index(weights["class"].astype(str))["weight"]
    labels = [name(pack["classes"][k], 24) for k in order]
    with drawing(path, 9.6, 1.5 + 0.5 * len(labels)) as figure:
        left, right = figure.subplots(1, 2, sharey=True, width_ratios=(3, 2))
        thickness = 0.8 / len(counts)
        for position, (split, images) in enumerate(counts.items()):
            offsets = np.arange(len(labels)) + (1 - position) * thickness
            bars = left.barh(offsets, np.array(images)[order], thickness * 0.94, color=SPLIT_COLORS[split], label=split)
            left.bar_label(bars, fmt="{:,.0f}", padding=3, fontsize=8, color="#333333")
        left.set_yticks(range(len(labels)), labels)
        left.set_xlabel("Images")
        left.set_title("Images per class and split")
        left.margins(x=0.1)
        left.legend(loc="lower right", fontsize=9.5)
        weight = by_class.loc[[pack["classes"][k] for k in order]].to_numpy(float)
        right.hlines(range(len(labels)), 0, weight, color=PURPLE, linewidth=2.5)
        right.plot(weight, range(len(labels)), "o", color=PURPLE, markersize=8)
        for y, value in enumerate(weight):
            right.annotate(f"{value:#.3g}", (value, y), (8, 0), textcoords="offset points", va="center", fontsize=9)
        right.set_xlim(0, 1.2 * weight.max())
        right.set_xlabel("Weight in the weighted loss")
        right.set_title("Class weights")
        for axes in (left, right):
            axes.tick_params(axis="y", length=0)
            grid(axes, "x")


def _many_counts(material: Material, path: str | Path, order: NDArray[np.int64], counts: dict[str, list[int]]) -> None:
    """The same for many classes, as curves over the classes from the most frequent to the rarest."""
    weights, names, rank = material.class_weights, material.pack["classes"], np.arange(1, len(order) + 1)
    weight = weights.set_index(weights["class"].astype(str))["weight"].loc[[names[k] for k in order[::-1]]]
    with drawing(path, 9.6, 4.2) as figure:
        left, right = figure.subplots(1, 2, width_ratios=(3, 2))
        for split, images in counts.items():
            left.step(rank, np.array(images)[order[::-1]], color=SPLIT_COLORS[split], label=split, where="mid")
        left.set_yscale("symlog", linthresh=1)
        left.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        left.set(ylabel="Images", title="Images per class and split")
        left.legend(loc="best", fontsize=9.5)
        right.step(rank, weight.to_numpy(float), color=PURPLE, where="mid")
        right.set(ylabel="Weight in the weighted loss", title="Class weights", ylim=(0, 1.1 * weight.max()))
        for axes in (left, right):
            axes.set_xlabel("Classes, from the most frequent to the rarest")
            grid(axes)
        ends = (names[order[-1]], names[order[0]])
        headed(figure, f"{len(order):,} classes, from {name(ends[0], 24)} to {name(ends[1], 24)}")


def samples(material: Material, path: str | Path, per_class: int = 10) -> None:
    """A row of training images per class, spread evenly over the class's images in the packed order.

    Args:
        per_class: images shown per class; fewer where a class has fewer.
    """
    data = material.data
    images, labels, classes = data.images["train"], data.labels["train"], data.classes
    counts = np.bincount(labels, minlength=len(classes))
    shown = _shown(counts)
    thinned = -(-images.shape[-1] // SAMPLE_PIXELS) if len(shown) < len(classes) else 1
    size = -(-images.shape[-1] // thinned)
    gap = max(1, size // 12)
    step = size + gap
    sheet = np.full((len(shown) * step - gap, per_class * step - gap, 3), 255, np.uint8)
    for row, (true, count) in enumerate(zip(shown, counts[shown], strict=True)):
        spread = np.unique(np.linspace(0, max(count - 1, 0), per_class).astype(int))[:count]
        for column, k in enumerate(np.flatnonzero(labels == true)[spread]):
            image = np.moveaxis(images[k, :, ::thinned, ::thinned], 0, -1)  # one channel spreads to three
            sheet[row * step : row * step + size, column * step : column * step + size] = image
    with drawing(path, 2.1 + 0.72 * per_class, 0.5 + 0.72 * len(shown)) as figure:
        axes = figure.subplots()
        axes.imshow(sheet, interpolation="none")
        heads = [f"{name(classes[k], 24)}\n{counts[k]:,} images" for k in shown]
        axes.set_yticks(np.arange(len(shown)) * step + size / 2, heads, fontsize=9.5, linespacing=1.3)
        axes.set_xticks([])
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        some = "" if len(shown) == len(classes) else f": the largest, middle and smallest of {len(classes):,}"
        headed(figure, f"Training images per class{some}")


def _shown(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Indices of the classes that have a row: all, or of many the largest, those in the middle and the smallest."""
    if len(counts) <= MANY:
        return np.arange(len(counts))
    order, third = np.argsort(-counts, kind="stable"), MANY // 6
    middle = (len(order) - third) // 2
    return np.concatenate([order[:third], order[middle : middle + third], order[-third:]])
