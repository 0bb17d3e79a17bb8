import math

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, f1_score

from study.names import HISTORY_COLUMNS
from study.recipe import Recipe
from study.schema import choices
from study.train.scores import SCORES, class_averages, monitored

RECIPE = {"optimizer": "SGD", "lr": 0.1, "batch_size": 8, "max_epochs": 2, "loss": "cross_entropy"}
RECIPE |= {"activation": "logits", "sampler": "shuffle"}


def test_every_score_is_a_choice_of_the_configuration_and_a_column_of_the_history():
    assert tuple(SCORES) == choices("training.best_by")
    assert {score.column for score in SCORES.values()} <= set(HISTORY_COLUMNS)


def test_what_can_be_watched_is_a_score():
    for column in choices("training.monitor"):
        score = monitored(Recipe.of("a", **RECIPE, monitor=column))
        assert score.column == column
        row = {column: 0.25}
        assert score.cost(row) == -score.rank(row) == (0.25 if column in ("val_loss", "val_nll") else -0.25)


def test_the_best_has_the_highest_rank_and_nan_the_lowest():
    rows = [{"val_accuracy": value, "val_nll": value} for value in (0.2, 0.9, math.nan, 0.5)]
    assert max(rows, key=SCORES["accuracy"].rank) is rows[1]
    assert max(rows, key=SCORES["nll"].rank) is rows[0]
    assert min(rows, key=SCORES["nll"].rank) is min(rows, key=SCORES["accuracy"].rank) is rows[2]


def test_scores_in_words():
    assert [score.extreme for score in SCORES.values()] == [
        "highest validation accuracy",
        "highest validation batch accuracy",
        "highest validation balanced accuracy",
        "highest validation macro-F1",
        "lowest validation NLL",
        "lowest validation loss",
    ]


@pytest.mark.parametrize("classes", [3, 7, 60])
@pytest.mark.parametrize("seed", range(5))
def test_averages_over_the_classes_that_occur_as_scikit_learn_has_them(classes, seed):
    """Some class has no image, some is never predicted, and the first has nearly all images."""
    random = np.random.default_rng([classes, seed])
    labels = np.where(random.random(300) < 0.9, 0, random.integers(classes, size=300))
    labels[labels == classes - 1] = 0
    predicted = np.where(random.random(300) < 0.6, labels, random.integers(classes, size=300))
    predicted[predicted == 1] = 0
    counts = [np.bincount(which, minlength=classes) for which in (labels[labels == predicted], labels, predicted)]
    balanced, macro = class_averages(*(which.tolist() for which in counts))
    present = np.unique(labels)
    assert balanced == pytest.approx(balanced_accuracy_score(labels, predicted), rel=1e-12)
    expected = f1_score(labels, predicted, labels=present, average="macro", zero_division=0)
    assert macro == pytest.approx(expected, rel=1e-12)


def test_one_class_for_every_image():
    assert class_averages([97, 0], [97, 3], [100, 0]) == (0.5, 97 / 197)
