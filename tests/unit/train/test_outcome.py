import json
import math
from dataclasses import replace

import pytest

from study.train.outcome import Ending, facts, judge

SHARE = {"happy": 0.25, "sad": 0.15, "other": 0.6}


def ending(losses: list[float], accuracies: list[float], only: list[str | None] | None = None) -> Ending:
    rows = [
        {"epoch": epoch, "train_loss": loss, "val_loss": loss, "val_accuracy": accuracy}
        for epoch, (loss, accuracy) in enumerate(zip(losses, accuracies, strict=True), 1)
    ]
    best = max(range(len(rows)), key=lambda i: rows[i]["val_accuracy"]) + 1
    return Ending(rows, only or [None] * len(rows), SHARE, best, False, 10, "accuracy", 1)


def test_completed_or_stopped_early():
    run = ending([1.0, 0.5, 0.6], [0.3, 0.6, 0.5])
    assert judge(run) == "completed"
    assert judge(replace(run, stopped_early=True)) == "early_stopped"


@pytest.mark.parametrize(("train", "val"), [(math.nan, 1.0), (1.0, math.inf)])
def test_diverged_whichever_loss_it_was(train, val):
    run = ending([1.0, 1.0], [0.3, 0.1])
    run.history[-1].update(train_loss=train, val_loss=val)
    assert judge(run) == "diverged"
    assert judge(replace(run, only_class=["happy", "happy"])) == "diverged"


def test_collapsed_at_the_end_or_where_the_weights_were_kept():
    assert judge(ending([1.5, 1.5], [0.3, 0.25], [None, "happy"])) == "collapsed"
    assert judge(ending([1.0, 1.1], [0.4, 0.3], ["happy", None])) == "collapsed"


@pytest.mark.parametrize("only", [["happy", None, None], [None, "happy", None]])
def test_a_run_that_recovered_is_not_collapsed(only):
    assert judge(ending([1.0, 0.9, 0.5], [0.2, 0.2, 0.7], only)) == "completed"


@pytest.mark.parametrize(
    ("only", "since"),
    [(["happy"] * 4, 1), ([None, "happy", "happy", "happy"], 2), (["happy", None, "sad", "happy"], 4)],
)
def test_facts_say_which_class_and_since_when(only, since):
    found = facts(ending([1.5] * 4, [0.3, 0.25, 0.25, 0.25], only))
    assert found["only_class"] == {"name": "happy", "since": since, "share": 0.25}
    assert found["only_class_at_best"] == only[0]


def test_facts_of_a_run_that_told_classes_apart():
    found = facts(ending([1.0, 0.5], [0.3, 0.6]))
    expected = {"classes": 3, "only_class": None, "only_class_at_best": None, "early_stopping_patience": 10}
    expected |= {"best_by": "accuracy", "best_from_epoch": 1}
    assert found == expected == json.loads(json.dumps(found))
    untouched = facts(replace(ending([math.nan], [0.1], ["happy"]), best_epoch=None))
    assert untouched["only_class_at_best"] is None
