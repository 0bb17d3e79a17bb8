"""Every sentence about a run is one that its history bears out."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import made_runs
import numpy as np
import pandas as pd
import pytest
import small_run
import torch
from made_runs import CLASSES, comparison_of, fourteen, recipe
from torch.nn.functional import cross_entropy

from study.compare.diagnosis import DIAGNOSIS_COLUMNS, diagnose, diagnoses, spans
from study.compare.runs import Run
from study.names import COLLAPSED

COUNTS = np.array([14, 2, 13, 25, 17, 18, 11])  # of validation images, 100 in all
HAPPY = 0.25
SATURATED = math.log(math.e + 6) - HAPPY
LN_7 = math.log(7)


def made(epochs: int, outcome: str = "completed", recipe_changes: dict[str, Any] | None = None, **columns: Any) -> Run:
    """A run that learns a little in every epoch, but for the columns of its history that are given."""
    steps = np.arange(epochs)
    history = {
        "epoch": steps + 1,
        "lr": 1e-2,
        "train_loss": 1.5 - 0.01 * steps,
        "train_accuracy": 0.5,
        "val_loss": 1.6 - 0.01 * steps,
        "val_nll": 1.4 - 0.01 * steps,
        "val_accuracy": 0.5 + 0.01 * steps,
        "val_balanced_accuracy": 0.4 + 0.01 * steps,
        "predicted_classes": 7,
        "seconds": 1.0,
    }
    only_class = {"name": "happy", "since": 1, "share": HAPPY} if outcome == COLLAPSED else None
    facts = {"classes": 7, "only_class": only_class, "only_class_at_best": None, "early_stopping_patience": 10}
    facts |= {"best_by": "accuracy", "best_from_epoch": 1}
    record = {"outcome": outcome, "facts": facts, "epochs": epochs, "best_epoch": 1, "max_epochs": 100}
    metrics = {
        "val": {
            "class_images": dict(zip(CLASSES, COUNTS.tolist(), strict=True)),
            "recall": dict.fromkeys(CLASSES, 1.0),
            "images": 100,
        },
        "test": {"recall": dict.fromkeys(CLASSES, 1.0)},
    }
    one = recipe("made", **{"early_stopping_patience": 3, **(recipe_changes or {})})
    record["recipe"] = dict(one.hyperparameters)
    return Run(one, 0, record, metrics, pd.DataFrame({**history, **columns}))


def said(run: Run, weights: dict[str, float] | None = None, **settings: Any) -> str:
    """What is told beyond the reason for the outcome."""
    changed = replace(run, recipe=run.recipe.but(**settings))
    return " ".join(diagnose(changed, weights)[1:])


def test_the_verdict_of_the_training_comes_first() -> None:
    assert diagnose(made(5))[0].startswith("All 5 epochs were trained; ")


# --------------------------------------------------------------------------------------------------------- saturation


def saturating(losses: list[float], only: list[int], outcome: str, **changes: Any) -> Run:
    epochs = len(losses)
    return made(
        epochs, outcome, changes, val_loss=losses, train_loss=losses, val_nll=[LN_7] + [9.0] * (epochs - 1),
        val_accuracy=[0.3] + [HAPPY] * (epochs - 1), predicted_classes=only,
    )  # fmt: skip


def test_saturation_that_the_verdict_told_of_gets_its_epoch_and_its_gradient() -> None:
    run = saturating([1.9, 1.92, SATURATED, SATURATED], [7, 1, 1, 1], "collapsed")
    assert (
        "Saturated from epoch 3 on. Its mistakes were 12 logits apart on average; at 10 a mistake passes back about "
        "1e-4 of the proper gradient." in said(run)
    )
    assert "ln(e + 6)" not in said(run)


def test_saturation_that_was_left_is_told_with_its_formula() -> None:
    run = saturating([1.9, SATURATED, SATURATED, 1.8], [7, 1, 1, 5], "completed")
    assert (
        "The double softmax was saturated in epochs 2 to 3: one class for every validation image and a loss of "
        "ln(e + 6) − 0.2500 = 1.9154." in said(run)
    )


@pytest.mark.parametrize("loss", [SATURATED + 1e-4, SATURATED - 1e-4])
def test_a_loss_that_only_comes_close_is_no_saturation(loss: float) -> None:
    assert "aturated" not in said(saturating([1.9, loss, loss], [7, 1, 1], "collapsed"))


def test_the_same_loss_is_no_saturation_with_several_classes_or_another_activation() -> None:
    losses = [1.9, SATURATED, SATURATED]
    assert "aturated" not in said(saturating(losses, [7, 2, 2], "completed"))
    assert "aturated" not in said(saturating(losses, [7, 1, 1], "collapsed", activation="log_softmax"))


def test_saturation_of_a_weighted_loss_needs_the_weights() -> None:
    """The loss of always naming "happy" is that of PyTorch's weighted cross entropy behind a one-hot softmax."""
    weights = dict(zip(CLASSES, (1 - COUNTS / 100).tolist(), strict=True))
    labels = torch.arange(7).repeat_interleave(torch.tensor(COUNTS))
    certain = torch.eye(7, dtype=torch.float64)[3].expand(100, 7)
    loss = cross_entropy(certain, labels, weight=torch.tensor(list(weights.values()), dtype=torch.float64)).item()
    run = saturating([1.9, loss, loss], [7, 1, 1], "collapsed", loss="weighted_cross_entropy")
    assert "Saturated from epoch 2 on." in said(run, weights)
    assert "aturated" not in said(run)


def test_two_classes_of_one_size_leave_a_weighted_saturation_open() -> None:
    weights = dict(zip(CLASSES, (1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 2.0), strict=True))
    first = math.log(math.e + 6) - 25 / 125  # if it is "happy" that is named
    run = saturating([1.9, first], [7, 1], "collapsed", loss="weighted_cross_entropy")
    run.metrics["val"]["class_images"] = dict(zip(CLASSES, [10, 10, 10, 25, 10, 10, 25], strict=True))
    assert "aturated" not in said(run, weights)


@pytest.mark.parametrize("classes", [2, 7, 10, 100])
def test_the_gradient_that_is_left_of_a_mistake_10_logits_apart(classes: int) -> None:
    def largest(double: bool) -> float:
        logits = torch.zeros(1, classes, dtype=torch.float64)
        logits[0, 0] = 10
        logits.requires_grad_()
        cross_entropy(logits.softmax(1) if double else logits, torch.tensor([1])).backward()
        assert logits.grad is not None
        return logits.grad.abs().max().item()

    assert round(math.log10(largest(double=True) / largest(double=False))) == -4


def test_a_real_run_that_saturates(tmp_path: Path) -> None:
    result = small_run.small_train(small_run.RECIPE.but(activation="softmax", lr=0.1, max_epochs=8))
    record = small_run.write(result, tmp_path)
    labels = small_run.small_data().labels["val"]
    images = dict(zip(small_run.CLASSES, np.bincount(labels).tolist(), strict=True))
    scores = {"class_images": images, "recall": dict.fromkeys(small_run.CLASSES, 1.0), "images": len(labels)}
    run = Run(
        small_run.RECIPE.but(activation="softmax", lr=0.1), 3, record, {"val": scores, "test": scores},
        pd.read_csv(tmp_path / "history.csv"),
    )  # fmt: skip
    sentences = diagnose(run)
    assert record["outcome"] == "collapsed"
    assert "the double softmax is saturated" in sentences[0]
    assert sentences[1] == "Saturated in every epoch."
    drop = record["lr_drops"][0]
    assert f"The lr fell once, from 0.1 to 1e-2, after epoch {drop}; its floor of 1e-8 was not reached." in sentences


# ----------------------------------------------------------------------------------------------------------- plateaus


def test_a_plateau_at_ln_k_and_when_it_was_left() -> None:
    run = made(5, val_nll=[LN_7, LN_7 + 0.019, LN_7 - 0.019, 1.8, 1.7], val_accuracy=[0.2, 0.25, 0.14, 0.3, 0.4])
    assert (
        "The network told no class from another in epochs 1 to 3: validation NLL within 0.02 of ln 7 = 1.9459. "
        "Epoch 4 left it, with NLL 1.8000 and accuracy 0.3000." in said(run)
    )


def test_a_plateau_to_the_end() -> None:
    run = made(5, val_nll=[1.7, 1.8, *[LN_7] * 3], val_accuracy=[0.3, 0.3, 0.25, 0.25, 0.25])
    assert "from epoch 3 on: validation NLL within 0.02 of ln 7 = 1.9459." in said(run)
    assert "left it" not in said(run)


@pytest.mark.parametrize(
    ("nll", "accuracy"),
    [([LN_7 + 0.021] * 3, [0.2] * 3), ([LN_7] * 3, [0.26] * 3), ([LN_7, 1.8, 1.7], [0.2, 0.3, 0.3])],
    ids=["too far", "better than one class", "one epoch"],
)
def test_no_plateau(nll: list[float], accuracy: list[float]) -> None:
    assert "no class from another" not in said(made(3, val_nll=nll, val_accuracy=accuracy))


@pytest.mark.parametrize("sampler", ["square_root", "balanced"])
def test_a_plateau_at_the_best_constant_answer_to_what_a_sampler_draws(sampler: str) -> None:
    """Classes drawn by the root of their images leave a bias at the logarithm of that."""
    drawn = np.sqrt(COUNTS) if sampler == "square_root" else np.ones(7)
    nll = -(COUNTS / 100) @ np.log(drawn / drawn.sum())
    run = made(3, "collapsed", {"activation": "logits", "sampler": sampler}, val_nll=nll, val_accuracy=HAPPY)
    assert (
        f"validation NLL within 0.02 of {f'{nll:.4f}, what the best' if sampler == 'square_root' else 'ln 7'}"
        in said(run)
    )
    for other in ({"sampler": "progressive"}, {"label_smoothing": 0.1}, {"loss": "focal"}, {"defer_until": 0.5}):
        assert "the best answer" not in said(run, **other)


def test_nothing_is_said_of_saturation_where_its_formula_does_not_hold() -> None:
    run = saturating([1.9, 1.92, SATURATED, SATURATED], [7, 1, 1, 1], "early_stopped")
    assert "aturated" in said(run)
    for other in ({"label_smoothing": 0.1}, {"defer_until": 0.5, "sampler": "balanced"}):
        assert "aturated" not in said(run, **other)


@pytest.mark.parametrize("weighted", [False, True])
def test_a_plateau_at_the_best_constant_answer(weighted: bool) -> None:
    """Where a bias alone ends when it is trained on the labels, with PyTorch's own weighted cross entropy."""
    labels = torch.arange(7).repeat_interleave(torch.tensor(COUNTS))
    weights = torch.tensor(1 - COUNTS / 100) ** 3 if weighted else torch.ones(7, dtype=torch.float64)
    bias = torch.zeros(7, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([bias], max_iter=100)

    def closure() -> float:
        optimizer.zero_grad()
        loss = cross_entropy(bias.expand(100, 7), labels, weight=weights)
        loss.backward()
        return loss.item()

    optimizer.step(closure)
    nll = cross_entropy(bias.expand(100, 7), labels).item()
    changes = {"activation": "logits", "loss": "weighted_cross_entropy" if weighted else "cross_entropy"}
    run = made(3, "collapsed", changes, val_nll=nll, val_accuracy=HAPPY, predicted_classes=1)
    found = said(run, dict(zip(CLASSES, weights.tolist(), strict=True)))
    assert f"in every epoch: validation NLL within 0.02 of {nll:.4f}, what the best answer that is the same" in found
    assert "told no class" not in said(replace(run, recipe=run.recipe.but(sampler="balanced", loss="cross_entropy")))


# --------------------------------------------------------------------------------------------------------- divergence


def test_divergence_names_the_first_loss_and_the_epoch_before() -> None:
    run = made(3, "diverged", train_loss=[1.5, 1.4, math.nan], val_loss=[1.5, 1.6, math.nan])
    assert (
        "The training loss was the first that is not finite, in epoch 3 at lr 1e-2; the epoch before had training loss "
        "1.4000 and validation loss 1.6000." in said(run)
    )
    late = made(1, "diverged", val_loss=[math.inf])
    assert "The validation loss was the first that is not finite, in epoch 1 at lr 1e-2." in said(late)


# ----------------------------------------------------------------------------------------------------------- deferral


def test_what_was_deferred_and_whether_the_weights_kept_met_it() -> None:
    run = made(100, recipe_changes={"loss": "weighted_focal", "activation": "logits", "sampler": "square_root"})
    run.record["best_epoch"] = 81
    assert "eferred" not in said(run)
    words = "Deferred until epoch 81: class weights and the sampler square root."
    assert words in said(run, defer_until=0.8) and "trained without" not in said(run, defer_until=0.8)
    assert words in said(run, defer_until=0.8, early_stopping_equal_improves=True)
    run.record["best_epoch"] = 80
    assert f"{words} The weights kept, of epoch 80, were trained without." in said(run, defer_until=0.8)
    run.record["best_epoch"] = 60
    short = replace(run, history=run.history[:60])
    words = "The run ended before epoch 81, from which on the sampler square root would have acted."
    assert words in said(short, defer_until=0.8, loss="focal")


# ------------------------------------------------------------------------------------------------------------- ending


def test_epochs_that_an_equal_loss_bought() -> None:
    run = saturating([1.9] + [SATURATED] * 9, [7] + [1] * 9, "collapsed")
    run.history.loc[0, "val_loss"] = SATURATED
    words = "without that it would have stopped the run after epoch 4."
    assert words in said(run, early_stopping_equal_improves=True)
    assert words not in said(run)
    assert words not in said(replace(run, history=run.history[:4]), early_stopping_equal_improves=True)


def test_over_fitting_and_over_confidence() -> None:
    nll = [1.2, 1.0, 1.05, 1.2]
    risen = "Validation NLL rose from its lowest, 1.0000 in epoch 2, to 1.2000 in epoch 4 while the training loss fell"
    assert f"{risen}: over-fitting." in said(made(4, val_nll=nll, val_loss=nll))
    own = f"{risen}, and its own validation loss did not rise"
    assert f"{own}: over-confidence, which a double softmax hardly punishes." in said(made(4, val_nll=nll))
    weighted = {"activation": "logits", "loss": "weighted_cross_entropy"}
    assert f"{own}." in said(made(4, recipe_changes=weighted, val_nll=nll))
    for calm in (made(4, val_nll=[1.2, 1.0, 1.05, 1.09]), made(4, val_nll=nll, train_loss=[1.0, 1.0, 1.1, 1.2])):
        assert "rose" not in said(calm)
    assert "rose" not in said(made(4, "collapsed", val_nll=nll))


def test_still_improving_when_the_epochs_ended() -> None:
    run = made(4)
    run.record.update(best_epoch=4, max_epochs=4)
    words = "The last epoch is the best one: still improving when its epochs ended"
    assert f"{words} (the study allows 4 of the recipe's 100)." in said(run)
    assert f"{words}." in said(replace(run, recipe=run.recipe.but(max_epochs=4)))
    assert words not in said(made(1))
    run.record["best_epoch"] = 3
    assert words not in said(run)
    run.record.update(best_epoch=4, outcome="early_stopped")
    assert words not in said(run)


# --------------------------------------------------------------------------------------------------------- the table


def test_spans() -> None:
    epochs = pd.Series([1, 2, 3, 4, 5])
    assert spans(epochs, [True, False, True, True, False]) == [(1, 1), (3, 4)]
    assert spans(epochs, [False] * 5) == []
    assert spans(epochs, [True] * 5) == [(1, 5)]


def test_every_run_has_a_row(tmp_path: Path) -> None:
    runs = made_runs.study(tmp_path, fourteen())
    table = diagnoses(comparison_of(runs))
    assert list(table.columns) == DIAGNOSIS_COLUMNS
    assert list(table["experiment"]) == [run.experiment for run in runs]
    assert table["what_happened"].str.endswith(".").all()
    beyond_the_reason = table["what_happened"].str.removeprefix(
        "Not finite after epoch 3 (train loss nan, val loss nan)"
    )
    assert not beyond_the_reason.str.contains(r"\bnan\b").any()


def test_an_epoch_kept_for_its_accuracy_that_leaves_out_classes_is_told() -> None:
    run = made(3, predicted_classes=[5, 7, 6], val_balanced_accuracy=[0.4, 0.6, 0.5])
    assert (
        "The epoch kept for its highest validation accuracy, epoch 1 (balanced accuracy 0.4000), predicts 5 of the 7 "
        "classes; epoch 2 (balanced accuracy 0.6000), predicts 7. With 'training.best_by: balanced_accuracy'"
    ) in said(run)
    assert "best_by" not in said(made(3, predicted_classes=[7, 7, 6], val_balanced_accuracy=[0.4, 0.6, 0.5]))
