"""The sentence about each outcome, from run.json and history.csv alone."""

import math
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import small_run
from made_runs import recipe

from study.compare import outcome_in_words
from study.compare.outcome_in_words import reason
from study.names import OUTCOMES
from study.train.augmentation import Augmentation


def told(outcome: str, losses: list[float], accuracies: list[float], best=1, activation="softmax", **facts) -> str:
    rows = [
        {"epoch": epoch, "train_loss": loss, "val_loss": loss, "val_accuracy": accuracy}
        for epoch, (loss, accuracy) in enumerate(zip(losses, accuracies, strict=True), 1)
    ]
    record = {
        "outcome": outcome,
        "epochs": len(rows),
        "best_epoch": best,
        "recipe": dict(recipe("a", activation=activation).hyperparameters),
        "facts": {"classes": 3, "only_class": None, "only_class_at_best": None, "early_stopping_patience": 10, **facts},
    }
    return reason(record, rows)


def test_completed():
    assert told("completed", [1.0, 0.5, 0.6], [0.3, 0.6, 0.5], best=2) == (
        "All 3 epochs were trained; the best validation accuracy was 0.6000 in epoch 2."
    )


def test_early_stopped():
    assert told("early_stopped", [1.0, 0.5, 0.6], [0.3, 0.6, 0.5], best=2) == (
        "Stopped after epoch 3: 10 epochs in a row without a lower validation loss; the best validation accuracy was "
        "0.6000 in epoch 2."
    )


def test_diverged_keeps_the_best_or_the_initial_weights():
    assert told("diverged", [1.0, math.nan], [0.3, 0.1]) == (
        "Not finite after epoch 2 (train loss nan, val loss nan); the weights of epoch 1 are kept."
    )
    assert told("diverged", [math.inf], [0.1], best=None) == (
        "Not finite after epoch 1 (train loss inf, val loss inf); the initial weights are kept."
    )


def test_collapsed_into_a_saturated_double_softmax():
    """adam_ver1 of the study: always "happy" at accuracy 0.2422 and loss 1.9232, for 7 classes."""
    loss = math.log(math.e + 6) - 0.2422
    only = {"name": "happy", "since": 2, "share": 0.2422}
    assert told("collapsed", [2.0, 1.95, loss, loss], [0.3, 0.2422, 0.2422, 0.2422], classes=7, only_class=only) == (
        "Predicts 'happy' for every validation image since epoch 2 of 4; validation accuracy 0.2422, loss 1.9232, "
        "exactly ln(e + 6) − 0.2422 = 1.9232: the double softmax is saturated, its gradient is gone and it cannot "
        "recover."
    )


def test_collapsed_without_saturation():
    only = {"name": "happy", "since": 2, "share": 0.2422}
    assert told("collapsed", [1.5, 1.5], [0.2422, 0.2422], only_class=only) == (
        "Predicts 'happy' for every validation image since epoch 2 of 2; validation accuracy 0.2422, loss 1.5000 "
        "(a saturated double softmax would sit at ln(e + 2) − 0.2422 = 1.3092)."
    )
    plain = told("collapsed", [1.5, 1.5], [0.2422, 0.2422], only_class=only, activation="logits")
    assert plain.endswith("accuracy 0.2422, loss 1.5000.")


def test_collapsed_where_the_weights_kept_predict_one_class():
    assert told("collapsed", [1.0, 1.1], [0.4, 0.3], only_class_at_best="happy") == (
        "The weights kept, of epoch 1, predict 'happy' for every validation image: no later epoch reached more than "
        "its accuracy, 0.4000."
    )


def test_every_outcome_has_a_sentence():
    assert set(outcome_in_words._SENTENCES) == set(OUTCOMES)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"optimizer": "SGD", "lr": 100.0, "momentum": 0.9, "activation": "softmax", "max_epochs": 4},
            r"Predicts '(left|right|top)' for every validation image since epoch \d of 4; .*"
            r"exactly ln\(e \+ 2\) − 0\.3333 = 1\.2181: the double softmax is saturated",
        ),
        ({"optimizer": "SGD", "lr": 1e30}, r"Not finite after epoch 1 \(.*\); the initial weights are kept\."),
        ({"max_epochs": 15}, r"All 15 epochs were trained; the best validation accuracy was \d\.\d{4} in epoch \d+\."),
    ],
)
def test_the_files_of_a_run_give_the_sentence_that_its_training_logs(tmp_path, changes, words):
    result = small_run.small_train(small_run.RECIPE.but(**changes), augmentation=Augmentation())
    record = small_run.write(result, tmp_path)
    sentence = reason(record, pd.read_csv(tmp_path / "history.csv").to_dict("records"))
    assert re.match(words, sentence)
    assert sentence == reason(record, result.history)


def test_training_loads_it_without_pandas():
    code = "import sys; sys.modules['pandas'] = sys.modules['torch'] = None; import study.compare.outcome_in_words"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(outcome_in_words.__file__).parents[2])
