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
from study.train.scores import SCORES


def told(
    outcome: str, losses: list[float], accuracies: list[float], best=1, activation="softmax", predicted=None,
    balanced=None, monitor="val_loss", **facts,
) -> str:  # fmt: skip
    """The sentence; `predicted` and `balanced` are the classes predicted and the balanced accuracy of each epoch."""
    rows = [
        {
            "epoch": epoch, "train_loss": loss, "val_loss": loss, "val_nll": loss / 2, "val_accuracy": accuracy,
            "val_macro_f1": accuracy / 2, "val_balanced_accuracy": (balanced or accuracies)[epoch - 1],
            "predicted_classes": predicted[epoch - 1] if predicted else 1,
        }
        for epoch, (loss, accuracy) in enumerate(zip(losses, accuracies, strict=True), 1)
    ]  # fmt: skip
    record = {
        "outcome": outcome,
        "epochs": len(rows),
        "best_epoch": best,
        "recipe": dict(recipe("a", activation=activation, monitor=monitor).hyperparameters),
        "facts": {
            "classes": 3,
            "only_class": None,
            "only_class_at_best": None,
            "early_stopping_patience": 10,
            "best_by": "accuracy",
            "best_from_epoch": 1,
            **facts,
        },
    }
    return reason(record, rows)


@pytest.mark.parametrize(
    ("best_by", "words"),
    [
        ("macro_f1", "the best validation macro-F1 was 0.3000, with accuracy 0.6000, in epoch 2."),
        ("balanced_accuracy", "the best validation balanced accuracy was 0.6000, with accuracy 0.6000, in epoch 2."),
        ("nll", "the lowest validation NLL was 0.2500, with accuracy 0.6000, in epoch 2."),
    ],
)
def test_the_sentence_names_the_score_that_chose_the_epoch(best_by, words):
    assert told("completed", [1.0, 0.5, 0.6], [0.3, 0.6, 0.5], best=2, best_by=best_by).endswith(f"trained; {words}")
    kept = told("collapsed", [1.0, 1.1], [0.4, 0.3], only_class_at_best="happy", best_by=best_by)
    assert f"reached {'less' if best_by == 'nll' else 'more'} than its {SCORES[best_by].label}, " in kept


RARE = {"predicted": [1, 2, 2, 1], "balanced": [0.5, 0.6, 0.8, 0.5], "classes": 2, "activation": "logits"}


def test_a_run_that_found_the_rare_class_but_kept_one_class_says_so_with_the_remedy():
    """97 of 100 images are common: the epochs that tell the classes apart have the lower accuracy."""
    only = {"name": "common", "since": 4, "share": 0.97}
    assert told("collapsed", [0.7] * 4, [0.97, 0.9, 0.88, 0.97], only_class=only, **RARE) == (
        "Predicts 'common' for every validation image since epoch 4 of 4; validation accuracy 0.9700, loss 0.7000. It "
        "predicted more than one class in 2 of its 4 epochs. The epoch kept for its highest validation accuracy, epoch "
        "1 (balanced accuracy 0.5000), predicts 1 of the 2 classes; epoch 3 (balanced accuracy 0.8000), predicts 2. "
        "With 'training.best_by: balanced_accuracy' it would have been kept."
    )


def test_a_run_that_kept_the_rare_class_is_not_sent_to_the_remedy():
    only = {"name": "common", "since": 4, "share": 0.97}
    run = {"best": 3, "only_class": only, "best_by": "balanced_accuracy", **RARE}
    assert told("collapsed", [0.7] * 4, [0.97, 0.9, 0.88, 0.97], **run).endswith(
        "loss 0.7000. It predicted more than one class in 2 of its 4 epochs, best in epoch 3 (balanced accuracy "
        "0.8000); the weights kept are those of epoch 3 (balanced accuracy 0.8000)."
    )
    early = told("collapsed", [0.7] * 4, [0.97, 0.9, 0.88, 0.97], best=4, only_class=only, best_from_epoch=4, **RARE)
    assert "best in epoch 3" in early and "best_by" not in early


def test_completed():
    assert told("completed", [1.0, 0.5, 0.6], [0.3, 0.6, 0.5], best=2) == (
        "All 3 epochs were trained; the best validation accuracy was 0.6000 in epoch 2."
    )


def test_early_stopped():
    assert told("early_stopped", [1.0, 0.5, 0.6], [0.3, 0.6, 0.5], best=2) == (
        "Stopped after epoch 3: 10 epochs in a row without a lower validation loss; the best validation accuracy was "
        "0.6000 in epoch 2."
    )


@pytest.mark.parametrize(
    ("monitor", "words"), [("val_nll", "lower validation NLL"), ("val_macro_f1", "higher validation macro-F1")]
)
def test_early_stopped_by_another_score(monitor, words):
    assert f"epochs in a row without a {words};" in told("early_stopped", [1.0, 0.5], [0.3, 0.6], monitor=monitor)


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
        "exactly ln(e + 6) − 0.2422 = 1.9232: the double softmax is saturated, its gradient is all but gone, and it "
        "did not recover."
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
    result = small_run.small_train(small_run.RECIPE.but(**changes), **small_run.NO_AUGMENTATION)
    record = small_run.write(result, tmp_path)
    sentence = reason(record, pd.read_csv(tmp_path / "history.csv").to_dict("records"))
    assert re.match(words, sentence)
    assert sentence == reason(record, result.history)


def test_training_loads_it_without_pandas():
    code = "import sys; sys.modules['pandas'] = sys.modules['torch'] = None; import study.compare.outcome_in_words"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(outcome_in_words.__file__).parents[2])
