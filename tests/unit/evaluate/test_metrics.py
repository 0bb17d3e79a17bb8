"""Metrics of a run: right by independent means, and defined where a class is missing or a network diverged."""

import json
import warnings

import made_runs
import numpy as np
import pytest
from scipy.special import softmax
from sklearn.calibration import calibration_curve
from sklearn.metrics import balanced_accuracy_score, confusion_matrix, f1_score, log_loss

from study.errors import StudyError
from study.evaluate.metrics import evaluate, expected_calibration_error, reliability
from study.evaluate.predictions import Predictions


@pytest.fixture
def predictions() -> Predictions:
    return made_runs.predictions(made_runs.Made(made_runs.recipe("a"), skill=0.6), images=600)


def test_scores_are_those_of_scikit_learn(predictions: Predictions) -> None:
    classes, of_test = predictions.classes, predictions.scores["split"] == "test"
    labels = predictions.scores.loc[of_test, "label"].astype(str)
    probabilities = softmax(predictions.log_p[of_test].astype(float), axis=1)
    predicted = np.array(classes)[probabilities.argmax(axis=1)]

    scores = evaluate(predictions.scores, 15)["test"]

    assert scores["images"] == 600
    assert scores["accuracy"] == (predicted == labels).mean()
    assert scores["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(labels, predicted))
    assert scores["macro_f1"] == pytest.approx(f1_score(labels, predicted, average="macro"))
    assert scores["nll"] == pytest.approx(log_loss(labels, probabilities, labels=classes), rel=1e-6)
    counts = confusion_matrix(labels, predicted, labels=classes)
    assert list(scores["class_images"].values()) == counts.sum(axis=1).tolist()
    assert list(scores["class_hits"].values()) == np.diagonal(counts).tolist()
    assert list(scores["class_guesses"].values()) == counts.sum(axis=0).tolist()
    assert list(scores["recall"]) == classes


def test_calibration_error_by_hand() -> None:
    # Two bins: confidence 0.4 in (0, 0.5] with one of two right, 0.9 in (0.5, 1] with two of two right.
    confidence = np.array([0.4, 0.4, 0.9, 0.9])
    correct = np.array([True, False, True, True])
    assert expected_calibration_error(correct, confidence, 2) == pytest.approx(0.5 * 0.1 + 0.5 * 0.1)


def test_reliability_is_scikit_learns_calibration_curve(predictions: Predictions) -> None:
    scores = predictions.scores
    correct, sure = (scores["label"] == scores["predicted"]).to_numpy(), scores["confidence"].to_numpy(float)
    images, accuracy, confidence = reliability(correct, sure, 10)
    expected = calibration_curve(correct, sure, n_bins=10)
    assert images.sum() == len(scores)
    assert accuracy[images > 0] == pytest.approx(expected[0])
    assert confidence[images > 0] == pytest.approx(expected[1])
    assert np.isnan(accuracy[images == 0]).all()


def test_calibration_error_vanishes_for_calibrated_probabilities() -> None:
    random = np.random.default_rng(0)
    confidence = random.uniform(0.5, 1, 200_000)
    correct = random.random(200_000) <= confidence
    assert expected_calibration_error(correct, confidence, 15) < 0.005


def test_a_class_without_images_is_left_out_of_averages_without_a_warning(predictions: Predictions) -> None:
    kept = predictions.scores[(predictions.scores["split"] == "val") | (predictions.scores["label"] != "disgust")]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scores = evaluate(kept, 15)
    assert scores["test"]["recall"]["disgust"] is None
    others = [r for r in scores["test"]["recall"].values() if r is not None]
    assert scores["test"]["balanced_accuracy"] == pytest.approx(np.mean(others))
    assert scores["val"]["recall"]["disgust"] is not None
    assert scores["test"]["class_images"]["disgust"] == 0 < scores["test"]["class_guesses"]["disgust"]


def test_a_certain_mistake_costs_what_it_costs() -> None:
    log_p = np.array([[-2000.0, 0.0], [-2000.0, 0.0]])
    made = Predictions.of(["a", "b"], ["val", "test"], [0, 1], log_p, ["x", "y"])
    assert evaluate(made.scores, 15)["val"]["nll"] == 2000 and evaluate(made.scores, 15)["test"]["nll"] == 0


def test_a_diverged_network_has_no_loss_but_valid_json(predictions: Predictions) -> None:
    scores = predictions.scores
    labels, nothing = scores["label"].cat.codes, np.full_like(predictions.log_p, np.nan)
    lost = Predictions.of(scores["image_id"], scores["split"], labels, nothing, predictions.classes)
    metrics = evaluate(lost.scores, 15)
    assert metrics["test"]["nll"] is None
    assert metrics["test"]["ece"] is None
    assert set(lost.scores["predicted"]) == {predictions.classes[0]}
    json.dumps(metrics, allow_nan=False)


def test_missing_split_is_named(predictions: Predictions) -> None:
    with pytest.raises(StudyError, match="no row with split 'test'"):
        evaluate(predictions.scores[predictions.scores["split"] == "val"], 15)
