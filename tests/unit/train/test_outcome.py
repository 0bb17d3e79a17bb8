import math
from dataclasses import replace

import pytest

from study.train.outcome import Ending, judge

HAPPY = {"happy": 0.2422, "sad": 0.1667, "other": 0.5911}


def ending(losses: list[float], accuracies: list[float], only: list[str | None] | None = None) -> Ending:
    rows = [
        {"epoch": epoch, "train_loss": loss, "val_loss": loss, "val_accuracy": accuracy}
        for epoch, (loss, accuracy) in enumerate(zip(losses, accuracies, strict=True), 1)
    ]
    best = max(range(len(rows)), key=lambda i: rows[i]["val_accuracy"]) + 1
    return Ending(rows, only or [None] * len(rows), HAPPY, best, stopped_early=False, patience=10, double_softmax=True)


def test_completed():
    assert judge(ending([1.0, 0.5, 0.6], [0.3, 0.6, 0.5])) == (
        "completed",
        "All 3 epochs were trained; the best validation accuracy was 0.6000 in epoch 2.",
    )


def test_early_stopped():
    assert judge(replace(ending([1.0, 0.5, 0.6], [0.3, 0.6, 0.5]), stopped_early=True)) == (
        "early_stopped",
        "Stopped after epoch 3: 10 epochs in a row without a lower validation loss; the best validation accuracy was "
        "0.6000 in epoch 2.",
    )


def test_diverged_keeps_the_best_or_the_initial_weights():
    run = ending([1.0, math.nan], [0.3, 0.1])
    assert judge(run) == (
        "diverged",
        "Not finite after epoch 2 (train loss nan, val loss nan); the weights of epoch 1 are kept.",
    )
    first = replace(ending([math.inf], [0.1]), best_epoch=None)
    assert judge(first) == (
        "diverged",
        "Not finite after epoch 1 (train loss inf, val loss inf); the initial weights are kept.",
    )


def test_collapsed_into_a_saturated_double_softmax():
    """adam_ver1 of the study: always "happy" at accuracy 0.2422 and loss 1.9232, for 7 classes."""
    share = {"happy": 0.2422, **dict.fromkeys("abcdef", 0.1263)}
    loss = math.log(math.e + 6) - 0.2422
    run = ending([2.0, 1.95, loss, loss], [0.3, 0.2422, 0.2422, 0.2422], [None, "happy", "happy", "happy"])
    assert judge(replace(run, share=share)) == (
        "collapsed",
        "Predicts 'happy' for every validation image since epoch 2 of 4; validation accuracy 0.2422, loss 1.9232, "
        "exactly ln(e + 6) − 0.2422 = 1.9232: the double softmax is saturated, its gradient is gone and it cannot "
        "recover.",
    )


def test_collapsed_without_saturation():
    run = ending([1.5, 1.5], [0.2422, 0.2422], ["sad", "happy"])
    assert judge(run)[1] == (
        "Predicts 'happy' for every validation image since epoch 2 of 2; validation accuracy 0.2422, loss 1.5000 "
        "(a saturated double softmax would sit at ln(e + 2) − 0.2422 = 1.3092)."
    )
    outcome, reason = judge(replace(run, double_softmax=False))
    assert outcome == "collapsed"
    assert reason.endswith("accuracy 0.2422, loss 1.5000.")


def test_collapsed_where_the_weights_kept_predict_one_class():
    assert judge(ending([1.0, 1.1], [0.4, 0.3], ["happy", None])) == (
        "collapsed",
        "The weights kept, of epoch 1, predict 'happy' for every validation image: no later epoch reached more than "
        "its accuracy, 0.4000.",
    )


@pytest.mark.parametrize("only", [["happy", None, None], [None, "happy", None]])
def test_a_run_that_recovered_is_not_collapsed(only):
    assert judge(ending([1.0, 0.9, 0.5], [0.2, 0.2, 0.7], only))[0] == "completed"
