"""Classes: how many images, what they look like, which are recognised and which are mistaken for which."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from study.compare.runs import RecipeRuns
from study.report.figures.material import Material
from study.report.figures.style import BLUE, GREY, ORANGE, PALE, PURPLE, SHADES, SKY, drawing, grid, headed, name

SPLIT_COLORS = {"train": BLUE, "val": SKY, "test": ORANGE}


def confusion(material: Material, path: str | Path, experiment: str) -> None:
    """Confusion matrix of one recipe on the test images, each row in percent of its class; seeds are added up."""
    group = material.comparison.recipes[experiment]
    counts = np.sum([run.confusion("test").toarray() for run in group], axis=0)
    classes = group.first.classes
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


def recall(material: Material, path: str | Path) -> None:
    """Recall on the test images per recipe (rows, by mean recall) and class (columns, from rarest to most frequent)."""
    groups, first = material.comparison.recipes, material.comparison.runs[0]
    classes = first.classes
    images = first.by_class("test", "images")
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
        headed(figure, "Recall per class on the test images, in percent")


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


def samples(material: Material, path: str | Path, per_class: int = 10) -> None:
    """A row of training images per class, spread evenly over the class's images in the packed order.

    Args:
        per_class: images shown per class; fewer where a class has fewer.
    """
    data = material.data
    images, labels, classes = data.images["train"], data.labels["train"], data.classes
    size, gap = images.shape[-1], max(1, images.shape[-1] // 12)
    step = size + gap
    sheet = np.full((len(classes) * step - gap, per_class * step - gap, 3), 255, np.uint8)
    counts = np.bincount(labels, minlength=len(classes))
    for row, count in enumerate(counts):
        spread = np.unique(np.linspace(0, max(count - 1, 0), per_class).astype(int))[:count]
        for column, k in enumerate(np.flatnonzero(labels == row)[spread]):
            image = np.moveaxis(images[k], 0, -1)  # one channel spreads to three
            sheet[row * step : row * step + size, column * step : column * step + size] = image
    with drawing(path, 2.1 + 0.72 * per_class, 0.5 + 0.72 * len(classes)) as figure:
        axes = figure.subplots()
        axes.imshow(sheet, interpolation="none")
        heads = [f"{name(c, 24)}\n{n:,} images" for c, n in zip(classes, counts, strict=True)]
        axes.set_yticks(np.arange(len(classes)) * step + size / 2, heads, fontsize=9.5, linespacing=1.3)
        axes.set_xticks([])
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        headed(figure, "Training images per class")
