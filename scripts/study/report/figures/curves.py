"""Loss and accuracy against the epoch."""

import math
import textwrap
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from study.compare.runs import RecipeRuns, Run
from study.elsewhere import from_file
from study.recipe import lr_text
from study.report.figures.material import Material
from study.report.figures.style import BLUE, GREY, ORANGE, VERMILLION, drawing, grid, headed, name, percent, series
from study.report.shown import of_all
from study.report.shown import shown as recipes_shown
from study.train.schedules import schedule_of
from study.train.scores import SCORES

LOG_FROM = 6.0  # ratio of largest to smallest loss from which the axis is logarithmic

# column of history.csv -> (label, colour, dashes)
LOSS_CURVES = {
    "train_loss": ("training loss", ORANGE, "--"),
    "val_loss": ("validation loss", BLUE, "-"),
    "val_nll": ("validation NLL", VERMILLION, "-."),
}
ACCURACY_CURVES = {
    "train_accuracy": ("training", ORANGE, "--"),
    "val_accuracy": ("validation", BLUE, "-"),
}
# A training image with two labels is predicted right by the one with the larger share.
MIXED_TRAINING = {"train_accuracy": ("training, mixed images, by the heavier label", ORANGE, "--")}


def curves(material: Material, path: str | Path, experiment: str) -> None:
    """Loss and accuracy of one recipe per epoch, with learning rate drops and best epoch; thin lines for several seeds.

    Losses are those that were optimised, of a kind that differs from recipe to recipe; the NLL (nats per image) is the
    one to compare. Grey lines show what guessing gives: ln K for K equally likely classes, and what always answering
    the largest class reaches. A dashed line shows from where deferred class weights or a deferred sampler act, and so
    from where losses are of another kind.
    """
    group = material.comparison.recipes[experiment]
    classes = len(group.first.classes)
    accuracies = ACCURACY_CURVES | (MIXED_TRAINING if group.recipe.mixes_images else {})
    baseline = material.comparison.baseline
    assert baseline is not None
    with drawing(path, 9.6, 3.9) as figure:
        left, right = figure.subplots(1, 2)
        for run in group:
            _lines(left, run.history, LOSS_CURVES, thin=len(group) > 1)
            _lines(right, run.history, accuracies, thin=len(group) > 1)
        _loss_axis(left, pd.concat([run.history[list(LOSS_CURVES)] for run in group]))
        if not group.recipe.cross_entropy:
            left.set_ylabel("Loss (of the NLL: nats per image)")
        _accuracy_axis(right, "Accuracy")
        left.axhline(math.log(classes), color=GREY, linewidth=1, linestyle=(0, (1, 2)), zorder=0)
        right.axhline(baseline.accuracy["val"], color=GREY, linewidth=1, linestyle=(0, (1, 2)), zorder=0)
        left.plot(
            [], [], color=GREY, linewidth=1, linestyle=(0, (1, 2)), label=f"ln {classes}: all classes equally likely"
        )
        right.plot([], [], color=GREY, linewidth=1, linestyle=(0, (1, 2)), label="always the largest class")
        for axes in (left, right):
            _epochs(axes, max(len(run.history) for run in group))
            for run in group:
                _lr_drops(axes, run, labelled=not group.several_seeds)
            if (acts_from := group.recipe.acts_from(group.first.record["max_epochs"])) > 1:
                label = f"deferred until epoch {acts_from}"
                axes.axvline(acts_from - 0.5, color=GREY, linewidth=1.2, linestyle="--", zorder=0, label=label)
        best = f"best epoch: {group.first.record['best_epoch']}" if len(group) == 1 else "best epoch of a seed"
        if (score := SCORES[group.first.record["facts"]["best_by"]]) is not SCORES["accuracy"]:
            best += f" ({score.extreme})"
        for k, run in enumerate(group):
            _best_epoch(left, right, run, best if k == 0 else None)
        for axes in (left, right):
            axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.17), ncols=2, columnspacing=1.4, handlelength=2.6)
        headed(figure, _title(group))


def case_curves(material: Material, path: str | Path, case: int) -> None:
    """Validation accuracy and NLL of every training behind the recipes of a case, by final validation accuracy.

    Of many recipes the best ones, see `study.report.shown`. Predictions from a file have no curves.
    """
    recipes = material.comparison.recipes
    all_within = [group for group in recipes.values() if group.recipe.case == case]
    within = recipes_shown(all_within)
    trainings = dict.fromkeys(group.recipe.training for group in within if not from_file(group.recipe))
    groups = {one: recipes[one] for one in trainings}
    question = material.questions.get(str(case), "")
    position = {experiment: k for k, experiment in enumerate(groups)}
    ordered = sorted(groups, key=lambda e: -max(run.val_accuracy for run in groups[e]))
    with drawing(path, 10.4, max(3.9, 1.2 + 0.2 * len(groups))) as figure:  # room for the legend
        left, right = figure.subplots(1, 2)
        for experiment in ordered:
            group = groups[experiment]
            look = series(position[experiment])
            label = name(experiment, 30) + (f"\n✕ {group.failure}" if group.failure else "")
            for k, run in enumerate(group):
                _line(left, run.history, "val_accuracy", look, len(group) > 1, label if k == 0 else None)
                _line(right, run.history, "val_nll", look, len(group) > 1, None)
        _accuracy_axis(left, "Validation accuracy")
        histories = [run.history[["epoch", "val_nll"]] for group in groups.values() for run in group]
        _loss_axis(right, pd.concat([history[["val_nll"]] for history in histories] or [pd.DataFrame()]))
        right.set_ylabel("Validation NLL (nats per image)")
        for axes in (left, right):
            _epochs(axes, max(map(len, histories), default=1))
        if groups:
            figure.legend(loc="outside right center", handlelength=3)
        else:
            left.text(0.5, 0.5, "Every recipe is predictions from a file", ha="center", transform=left.transAxes)
        asked = f"Case {case}. {name(question, 200)}" if question else f"Case {case}"
        headed(figure, textwrap.fill(asked + of_all(within, all_within), 110))


def _title(group: RecipeRuns) -> str:
    outcomes = [run.outcome.replace("_", " ") for run in group]
    if len(group) == 1:
        epochs = group.first.record["epochs"]
        return f"{name(group.name, 40)}: {outcomes[0]} after {epochs} epoch{'s' * (epochs > 1)}"
    counted = ", ".join(f"{outcomes.count(outcome)} {outcome}" for outcome in dict.fromkeys(outcomes))
    return f"{name(group.name, 40)}: {len(group)} seeds, {counted}"


def _lines(axes: Axes, history: pd.DataFrame, columns: dict[str, tuple[str, str, str]], thin: bool) -> None:
    known = axes.get_legend_handles_labels()[1]
    for column, (label, color, dashes) in columns.items():
        look = {"color": color, "linestyle": dashes}
        _line(axes, history, column, look, thin, None if label in known else label)


def _line(axes: Axes, history: pd.DataFrame, column: str, look: dict[str, str], thin: bool, label: str | None) -> None:
    """One curve; where it turns into values that are not finite, a cross marks the last finite one."""
    values = history[column].where(np.isfinite(history[column]))
    marker = "o" if len(history) == 1 else None
    width = 1.0 if thin else 1.8
    axes.plot(history["epoch"], values, label=label, linewidth=width, marker=marker, markersize=4, **look)  # type: ignore[arg-type]
    last = values.last_valid_index()
    if last is not None and last != values.index[-1]:
        axes.plot(history["epoch"][last], values[last], marker="X", markersize=8, color=look["color"])


def _lr_drops(axes: Axes, run: Run, labelled: bool) -> None:
    """A vertical line at each drop of the learning rate, as its schedule has it, with the new one on top."""
    lr = run.history["lr"].to_numpy(float)
    for k in schedule_of(run.recipe, run.record["max_epochs"]).drops(lr):
        at = float(run.history["epoch"].iloc[k]) - 0.5
        axes.axvline(at, color=GREY, linewidth=0.8, zorder=0)
        if labelled:
            axes.text(
                at, 1.015, f"lr {lr_text(lr[k])}", transform=axes.get_xaxis_transform(),
                ha="center", va="bottom", fontsize=7, color=GREY, rotation=90,
            )  # fmt: skip


def _best_epoch(loss: Axes, accuracy: Axes, run: Run, label: str | None) -> None:
    """The epoch whose weights were kept, on the validation curves."""
    best = run.record["best_epoch"]
    if best is None:
        return
    row = run.history[run.history["epoch"] == best].iloc[0]
    look = {"marker": "o", "markersize": 8, "markerfacecolor": "white", "markeredgewidth": 2, "linestyle": "none"}
    accuracy.plot(best, row["val_accuracy"], color=BLUE, label=label, zorder=5, **look)  # type: ignore[arg-type]
    loss.plot(best, row["val_nll"], color=VERMILLION, zorder=5, **look)  # type: ignore[arg-type]


def _epochs(axes: Axes, epochs: int) -> None:
    axes.set_xlabel("Epoch")
    axes.set_xlim(0.5, epochs + max(0.5, 0.02 * epochs))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
    grid(axes, "y")


def _accuracy_axis(axes: Axes, label: str) -> None:
    axes.set_ylim(0, 1.02)
    axes.set_ylabel(label)
    axes.yaxis.set_major_formatter(percent)


def _loss_axis(axes: Axes, losses: pd.DataFrame) -> None:
    """From zero, or logarithmic where losses differ by more than `LOG_FROM`."""
    values = losses.to_numpy(float)
    values = values[np.isfinite(values) & (values > 0)]
    axes.set_ylabel("Loss (nats per image)")
    if len(values) and values.max() / values.min() > LOG_FROM:
        axes.set_yscale("log")
        decades = np.log10(values.max() / values.min())
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if decades < 2.5 else (1,)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
    else:
        axes.set_ylim(bottom=0)
