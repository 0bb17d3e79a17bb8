"""Metrics of a run: right by independent means, and defined where a class is missing or a network diverged."""

import json
import warnings
from pathlib import Path

import made_runs
import numpy as np
import pandas as pd
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import balanced_accuracy_score, f1_score, log_loss

from study.errors import StudyError
from study.evaluate.metrics import class_names, evaluate, expected_calibration_error, read_predictions, reliability


@pytest.fixture
def predictions() -> pd.DataFrame:
    return made_runs.predictions(made_runs.Made(made_runs.recipe("a"), skill=0.6), images=600)


def test_scores_are_those_of_scikit_learn(predictions: pd.DataFrame) -> None:
    test = predictions[predictions["split"] == "test"]
    classes = class_names(predictions)
    probabilities = test[[f"p_{name}" for name in classes]].to_numpy()
    predicted = np.array(classes)[probabilities.argmax(axis=1)]

    scores = evaluate(predictions, 15)["test"]

    assert scores["images"] == 600
    assert scores["accuracy"] == (predicted == test["label"]).mean()
    assert scores["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(test["label"], predicted))
    assert scores["macro_f1"] == pytest.approx(f1_score(test["label"], predicted, average="macro"))
    assert scores["nll"] == pytest.approx(log_loss(test["label"], probabilities, labels=classes))
    assert np.trace(scores["confusion"]) == (predicted == test["label"]).sum()
    assert list(scores["recall"]) == classes


def test_calibration_error_by_hand() -> None:
    # Two bins: confidence 0.4 in (0, 0.5] with one of two right, 0.9 in (0.5, 1] with two of two right.
    probabilities = np.array([[0.4, 0.3, 0.3], [0.4, 0.3, 0.3], [0.9, 0.05, 0.05], [0.05, 0.9, 0.05]])
    labels = np.array([0, 1, 0, 1])
    assert expected_calibration_error(labels, probabilities, 2) == pytest.approx(0.5 * 0.1 + 0.5 * 0.1)


def test_reliability_is_scikit_learns_calibration_curve(predictions: pd.DataFrame) -> None:
    probabilities = predictions[[f"p_{name}" for name in class_names(predictions)]].to_numpy()
    labels = pd.Categorical(predictions["label"], class_names(predictions)).codes.astype(np.int64)
    images, accuracy, confidence = reliability(labels, probabilities, 10)
    correct = probabilities.argmax(axis=1) == labels
    expected = calibration_curve(correct, probabilities.max(axis=1), n_bins=10)
    assert images.sum() == len(labels)
    assert accuracy[images > 0] == pytest.approx(expected[0])
    assert confidence[images > 0] == pytest.approx(expected[1])
    assert np.isnan(accuracy[images == 0]).all()


def test_calibration_error_vanishes_for_calibrated_probabilities() -> None:
    random = np.random.default_rng(0)
    confidence = random.uniform(0.5, 1, 200_000)
    labels = (random.random(200_000) > confidence).astype(np.int64)
    probabilities = np.stack([confidence, 1 - confidence], axis=1)
    assert expected_calibration_error(labels, probabilities, 15) < 0.005


def test_a_class_without_images_is_left_out_of_averages_without_a_warning(predictions: pd.DataFrame) -> None:
    kept = predictions[(predictions["split"] == "val") | (predictions["label"] != "disgust")]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scores = evaluate(kept, 15)
    assert scores["test"]["recall"]["disgust"] is None
    others = [r for r in scores["test"]["recall"].values() if r is not None]
    assert scores["test"]["balanced_accuracy"] == pytest.approx(np.mean(others))
    assert scores["val"]["recall"]["disgust"] is not None
    assert len(scores["test"]["confusion"]) == len(made_runs.CLASSES)


def test_a_certain_mistake_costs_a_finite_loss() -> None:
    table = pd.DataFrame(
        {"image_id": ["a", "b"], "split": ["val", "test"], "label": ["x", "x"], "p_x": [0.0, 0.0], "p_y": [1.0, 1.0]}
    )
    assert evaluate(table, 15)["test"]["nll"] == pytest.approx(36.04, abs=0.01)


def test_a_diverged_network_has_no_loss_but_valid_json(predictions: pd.DataFrame) -> None:
    columns = [f"p_{name}" for name in class_names(predictions)]
    scores = evaluate(predictions.assign(**dict.fromkeys(columns, np.nan)), 15)
    assert scores["test"]["nll"] is None
    assert scores["test"]["ece"] is None
    json.dumps(scores, allow_nan=False)


def test_class_names_that_look_like_numbers_or_nothing_stay_text(tmp_path: Path) -> None:
    names = ["01", "1", "None", "nan", "p_x", ""]
    path = tmp_path / "predictions.csv"
    made_runs.predictions(made_runs.Made(made_runs.recipe("a")), names, images=200).to_csv(path, index=False)
    scores = evaluate(read_predictions(path), 15)
    assert list(scores["test"]["recall"]) == names


def test_unknown_label_is_named(predictions: pd.DataFrame) -> None:
    predictions.loc[3, "label"] = "joy"
    with pytest.raises(StudyError, match=r"label 'joy' has no column p_joy; allowed: angry, disgust"):
        evaluate(predictions, 15)


def test_missing_split_is_named(predictions: pd.DataFrame) -> None:
    with pytest.raises(StudyError, match="no row with split 'test'"):
        evaluate(predictions[predictions["split"] == "val"], 15)


def test_missing_column_is_named(tmp_path: Path) -> None:
    path = tmp_path / "predictions.csv"
    path.write_text("image_id,label,p_a\nx,a,1.0\n")
    with pytest.raises(StudyError, match="missing column split; found: image_id, label, p_a"):
        read_predictions(path)
