"""What happened in a run, computed from its own history: saturation, plateaus, divergence, learning rate, over-fitting.

Entry points:
    diagnoses(comparison) -> DataFrame                     tables/diagnosis.csv
    diagnose(run, class_weights) -> list[str]              the sentences about one run
    no_better(comparison, run) -> list[str]                whether one class for every image reaches as much

Losses are compared with numbers of their own kind only: the loss a recipe trains on with its own earlier values, the
validation NLL with what guessing costs.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from study.compare.comparison import Comparison
from study.compare.outcome_in_words import ROUNDING, outdone
from study.compare.runs import Run
from study.data.class_weights import weights_of
from study.names import COMPLETED, EVALUATED_SPLITS
from study.recipe import listed, lr_text
from study.train.schedules import schedule_of
from study.train.scores import monitored
from study.train.stopping import EarlyStopping

DIAGNOSIS_COLUMNS = ["experiment", "seed", "outcome", "what_happened"]

# A validation NLL within this share of ln K of what guessing costs is a plateau: a network there has gone at most a
# hundredth of the way from uniform guesses, ln K, to certainty, 0. For FER2013's seven classes that is 0.02 nats, small
# beside the 0.14 that knowing how frequent each class is gains.
PLATEAU = 0.01
PLATEAU_EPOCHS = 2  # in a row; every run may begin near ln K

# Validation NLL jumps by a few percent between epochs; a tenth above its lowest is a rise.
CLEAR_RISE = 0.1

# The power of a class's images that its share among those drawn goes by, of samplers that draw alike in every epoch.
DRAWN_BY = {"shuffle": 1.0, "square_root": 0.5, "balanced": 0.0}

Spans = list[tuple[int, int]]


def diagnoses(comparison: Comparison) -> pd.DataFrame:
    """What happened in every run, one row each, with the columns `DIAGNOSIS_COLUMNS`."""
    table = comparison.class_weights
    rows = []
    for run in comparison.runs:
        if not run.recipe.trains:  # what its training did is told of the recipe that was trained
            rows.append([run.experiment, run.seed, run.outcome, " ".join([run.reason, *no_better(comparison, run)])])
            continue
        weights = (
            None if table is None else dict(zip(table["class"], weights_of(run.recipe, table["count"]), strict=True))
        )
        sentences = [*diagnose(run, weights), *no_better(comparison, run)]
        rows.append([run.experiment, run.seed, run.outcome, " ".join(sentences)])
    return pd.DataFrame(rows, columns=DIAGNOSIS_COLUMNS)


def diagnose(run: Run, class_weights: Mapping[str, float] | None = None) -> list[str]:
    """Sentences about a finished run: the reason for its outcome first, then what else its history shows.

    Args:
        class_weights: weight of each class in a weighted loss; without it nothing is said about the saturation of
            recipes with a weighted loss, which needs them.
    """
    return [
        run.reason,
        *_saturation(run, class_weights),
        *_plateaus(run, class_weights),
        *_divergence(run),
        *_deferral(run),
        *_learning_rate(run),
        *_late_stop(run),
        *_end(run),
    ]


# --------------------------------------------------------------------------------------------------------- saturation


def _saturation(run: Run, class_weights: Mapping[str, float] | None) -> list[str]:
    """Epochs in which the double softmax was certain of one class, and what gradient that leaves.

    Cross entropy of a one-hot output is ln(e + K − 1) − 1 for a right and ln(e + K − 1) for a wrong class. Images of
    the class named cost next to nothing in the NLL, so NLL / (1 − accuracy) is the mean −ln p of the mistakes: how far
    the logit of the true class is below that of the class named.
    """
    if not (run.recipe.double_softmax and run.recipe.formulas_hold):
        return []
    epochs, others = run.history, len(run.classes) - 1
    share = _share_named(run, class_weights)
    expected = math.log(math.e + others) - share
    saturated = (epochs["predicted_classes"] == 1) & ((epochs["val_loss"] - expected).abs() < ROUNDING)
    if not saturated.any():
        return []
    when = _epochs(spans(epochs["epoch"], saturated), len(epochs))
    at = int(np.flatnonzero(saturated)[-1])
    if saturated.iloc[-1]:  # the reason has the formula
        said = [f"Saturated {when}."]
    else:
        said = [
            f"The double softmax was saturated {when}: one class for every validation image and a loss of "
            f"ln(e + {others}) − {share[at]:.4f} = {expected[at]:.4f}."
        ]
    last = epochs.iloc[at]
    if last["val_accuracy"] < 1 and math.isfinite(last["val_nll"]):
        apart = last["val_nll"] / (1 - last["val_accuracy"])
        said.append(
            f"Its mistakes were {apart:.4g} logits apart on average; at 10 a mistake passes back about 1e-4 of the "
            "proper gradient."
        )
    return said


def _share_named(run: Run, class_weights: Mapping[str, float] | None) -> NDArray[np.float64]:
    """Per epoch, the share in the validation loss of the one class that all images were called by, (epochs,).

    It is the accuracy, unless classes are weighted: then the class is the one whose share of images is the accuracy;
    nan where weights are unknown or no class fits alone. Of no meaning for epochs that predict several classes.
    """
    accuracy = run.history["val_accuracy"].to_numpy(float)
    if not run.recipe.weighted:
        return accuracy
    if class_weights is None:
        return np.full(len(accuracy), np.nan)
    counts = _counts(run)
    weighted = counts * np.array([class_weights[name] for name in run.classes])
    shares = weighted / weighted.sum()
    fitting = [shares[counts == round(value * counts.sum())] for value in accuracy]
    return np.array([fit[0] if len(fit) and np.ptp(fit) < ROUNDING else math.nan for fit in fitting])


def _counts(run: Run) -> NDArray[np.int64]:
    """Validation images of each class, (K,)."""
    return run.by_class("val", "images")


# ----------------------------------------------------------------------------------------------------------- plateaus


def _plateaus(run: Run, class_weights: Mapping[str, float] | None) -> list[str]:
    """Epochs in which the network did no better than an answer that is the same for every image.

    An NLL near that of guessing is not enough, a good but over-confident network passes there too: the accuracy must
    be what naming one class reaches as well.
    """
    epochs, counts = run.history, _counts(run)
    largest = counts.max() / counts.sum()
    tolerance = PLATEAU * math.log(len(counts))
    guesses = {f"ln {len(counts)} = {math.log(len(counts)):.4f}": math.log(len(counts))}
    constant = _constant_nll(run, counts, class_weights)
    if constant is not None and abs(constant - math.log(len(counts))) > tolerance:
        guesses[f"{constant:.4f}, what the best answer that is the same for every image has"] = constant
    said = []
    for words, nll in guesses.items():
        near = ((epochs["val_nll"] - nll).abs() <= tolerance) & (epochs["val_accuracy"] <= largest + 1e-9)
        plateaus = [span for span in spans(epochs["epoch"], near) if span[1] - span[0] + 1 >= PLATEAU_EPOCHS]
        if not plateaus:
            continue
        tells = (
            f"The network told no class from another {_epochs(plateaus, len(epochs))}: validation NLL within "
            f"{tolerance:.2f} of {words}"
        )
        left = epochs[epochs["epoch"] == plateaus[-1][1] + 1]
        if len(left) and math.isfinite(left["val_nll"].iloc[0]):
            row = left.iloc[0]
            tells += (
                f". Epoch {row['epoch']:.0f} left it, with NLL {row['val_nll']:.4f} and accuracy "
                f"{row['val_accuracy']:.4f}"
            )
        said.append(f"{tells}.")
    return said


def _constant_nll(run: Run, counts: NDArray[np.int64], class_weights: Mapping[str, float] | None) -> float | None:
    """Validation NLL of the constant answer that the training loss likes best: each class's share in that loss.

    Classes are taken to be as frequent in training as in validation. None for a double softmax, which likes certainty
    best, for losses other than cross entropy of labels as they are, for a sampler that changes from epoch to epoch, for
    classes without an image, and for unknown weights.
    """
    recipe = run.recipe
    known = recipe.formulas_hold and not recipe.double_softmax and (class_weights is not None or not recipe.weighted)
    if not known or not counts.all() or recipe.sampler not in DRAWN_BY:
        return None
    drawn = counts ** DRAWN_BY[recipe.sampler]
    if run.recipe.weighted and class_weights is not None:
        drawn = drawn * np.array([class_weights[name] for name in run.classes])
    return float(-(counts / counts.sum()) @ np.log(drawn / drawn.sum()))


# --------------------------------------------------------------------------------------------------------- divergence


def _divergence(run: Run) -> list[str]:
    """Which loss was the first that is not finite, and where the run stood before."""
    finite = np.isfinite(run.history[["train_loss", "val_loss"]].to_numpy(float))
    if finite.all():
        return []
    at = int(np.flatnonzero(~finite.all(axis=1))[0])
    row = run.history.iloc[at]
    which = "training" if not finite[at, 0] else "validation"
    text = f"The {which} loss was the first that is not finite, in epoch {row['epoch']:.0f} at lr {lr_text(row['lr'])}"
    if at:
        before = run.history.iloc[at - 1]
        text += (
            f"; the epoch before had training loss {before['train_loss']:.4f} and validation loss "
            f"{before['val_loss']:.4f}"
        )
    return [f"{text}."]


# ----------------------------------------------------------------------------------------------------------- deferral


def _deferral(run: Run) -> list[str]:
    """From which epoch class weights and sampler acted, and whether the weights kept have met them."""
    recipe, best = run.recipe, run.record["best_epoch"]
    acts_from = recipe.acts_from(run.record["max_epochs"])
    if not recipe["loss.defer_until"]:
        return []
    weighs = recipe.meant("loss.class_weights") not in (None, "none")
    sampler = [f"the sampler {recipe.sampler.replace('_', ' ')}"] if recipe.sampler != "shuffle" else []
    deferred = " and ".join([*["class weights"] * weighs, *sampler])
    if run.history["epoch"].iloc[-1] < acts_from:
        return [f"The run ended before epoch {acts_from}, from which on {deferred} would have acted."]
    said = [f"Deferred until epoch {acts_from}: {deferred}."]
    if best is not None and best < acts_from:
        said.append(f"The weights kept, of epoch {best}, were trained without.")
    return said


# ------------------------------------------------------------------------------------------------------ learning rate


def _learning_rate(run: Run) -> list[str]:
    """What the recipe's schedule has to say of the learning rates."""
    lr, epochs = run.history["lr"].to_numpy(float), run.history["epoch"].to_numpy(int)
    return schedule_of(run.recipe, run.record["max_epochs"]).sentences(lr, epochs)


# ------------------------------------------------------------------------------------------------------------- ending


def _late_stop(run: Run) -> list[str]:
    """Epochs that were trained only because early stopping took an equal score for an improvement."""
    recipe, score = run.recipe, monitored(run.recipe)
    if not recipe["training.early_stopping_equal_improves"] or recipe["training.early_stopping_patience"] is None:
        return []
    strict = EarlyStopping(
        recipe["training.early_stopping_patience"], recipe["training.early_stopping_min_delta"], equal_improves=False
    )
    watched = run.history[run.history["epoch"] >= recipe.acts_from(run.record["max_epochs"])]
    for row in watched.to_dict("records"):
        if strict.step(score.cost(row)) and row["epoch"] < run.history["epoch"].iloc[-1]:
            return [
                f"Early stopping took an equal {score.label} for an improvement; without that it would have stopped "
                f"the run after epoch {row['epoch']}."
            ]
    return []


def _end(run: Run) -> list[str]:
    """How a run that did not fail stood when it ended: over-fitted, over-confident, or not yet done."""
    if run.failed:
        return []
    rare = outdone(run.record, run.history.to_dict("records"))
    said = [rare] if rare else []
    # A training loss falls or rises by itself where deferred weights or a sampler begin to act.
    alike = run.history[run.history["epoch"] >= run.recipe.acts_from(run.record["max_epochs"])]
    alike = alike if len(alike) else run.history
    last, lowest = alike.iloc[-1], alike.iloc[int(alike["val_nll"].argmin())]
    if last["val_nll"] > (1 + CLEAR_RISE) * lowest["val_nll"] and last["train_loss"] < lowest["train_loss"]:
        said.append(
            f"Validation NLL rose from its lowest, {lowest['val_nll']:.4f} in epoch {lowest['epoch']:.0f}, to "
            f"{last['val_nll']:.4f} in epoch {last['epoch']:.0f} while the training loss fell"
            f"{_kind(run, lowest, last)}."
        )
    if run.outcome == COMPLETED and run.record["best_epoch"] == last["epoch"] > 1:
        cap = run.record["max_epochs"]
        cut = (
            f" (the study allows {cap} of the recipe's {run.recipe.max_epochs})" if cap < run.recipe.max_epochs else ""
        )
        said.append(f"The last epoch is the best one: still improving when its epochs ended{cut}.")
    return said


def no_better(comparison: Comparison, run: Run) -> list[str]:
    """That a run which did not fail is not right more often than always answering one class."""
    baseline = comparison.baseline
    if run.failed or baseline is None:
        return []
    lost = [split for split in EVALUATED_SPLITS if not comparison.beats_baseline([run], baseline, split)]
    shares = {"val": "validation accuracy, {:.4f}", "test": "test accuracy, {:.4f}"}
    words = [
        f"{shares[split].format(run.metrics[split]['accuracy'])} ({baseline.accuracy[split]:.4f})" for split in lost
    ]
    if not lost:
        return []
    reached = run.metrics["test"]["balanced_accuracy"], baseline.balanced_accuracy["test"]
    return [
        f"Not better than always answering '{baseline.name}': {' and '.join(words)}; balanced accuracy on the test "
        "images, {:.4f} ({:.4f}).".format(*reached)
    ]


def _kind(run: Run, lowest: pd.Series, last: pd.Series) -> str:
    """What a risen NLL is, by what the validation loss that the recipe trains on did meanwhile."""
    if last["val_loss"] > lowest["val_loss"]:
        return ": over-fitting"
    own = ", and its own validation loss did not rise"
    return f"{own}: over-confidence, which a double softmax hardly punishes" if run.recipe.double_softmax else own


# -------------------------------------------------------------------------------------------------------------- words


def spans(epochs: pd.Series, mask: Sequence[bool] | pd.Series) -> Spans:
    """First and last epoch of each run of epochs for which `mask` holds."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], np.asarray(mask, int), [0]])))
    numbers = epochs.to_numpy(int)
    return [(int(numbers[start]), int(numbers[stop - 1])) for start, stop in edges.reshape(-1, 2)]


def _epochs(which: Spans, final: int) -> str:
    """Spans in words: "in every epoch", "in epochs 3 to 9 and 12", "from epoch 3 on", "in epochs 3 and from 12 on"."""
    if which == [(1, final)]:
        return "in every epoch"
    first, last = which[-1]
    if len(which) == 1 and last == final:
        return f"from epoch {first} on" if first < final else f"in epoch {final}, its last"
    parts = [str(start) if start == stop else f"{start} to {stop}" for start, stop in which]
    if last == final and first < final:
        parts[-1] = f"from {first} on"
    single = len(which) == 1 and first == last
    return f"in epoch{'s' * (not single)} {listed(parts)}"
