from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_run import NO_AUGMENTATION, RECIPE, SETTINGS, small_data, small_train, write

from study.errors import StudyError
from study.evaluate.metrics import evaluate
from study.evaluate.prediction import predict, read_description
from study.evaluate.predictions import predictions_bytes
from study.files import read_table


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    folder = tmp_path_factory.mktemp("run")
    result = small_train(RECIPE.but(max_epochs=10), **NO_AUGMENTATION)
    return folder / "best.safetensors", write(result, folder)


def test_layout(run):
    predictions = predict(run[0], small_data(), RECIPE, SETTINGS)
    scores = predictions.scores
    assert predictions.classes == ["left", "right", "top"]
    assert scores["split"].tolist() == ["val"] * 30 + ["test"] * 30
    assert scores["image_id"].tolist() == [f"{split}_{i}" for split in ("val", "test") for i in range(30)]
    assert scores["label"].tolist() == ["left", "right", "top"] * 20
    assert predictions.log_p.dtype == np.float32
    np.testing.assert_allclose(np.exp(predictions.log_p).sum(axis=1), 1, atol=1e-6)


def test_accuracy_is_the_one_that_training_saw(run):
    metrics = evaluate(predict(run[0], small_data(), RECIPE, SETTINGS).scores, 15)
    assert metrics["val"]["accuracy"] == run[1]["best_val_accuracy"]


def test_the_nll_is_the_one_that_training_saw(run):
    """Of the best epoch, to the rounding of float32, for a network that is too sure of its mistakes, too."""
    history = read_table(run[0].with_name("history.csv"), text=()).set_index("epoch")
    metrics = evaluate(predict(run[0], small_data(), RECIPE, SETTINGS).scores, 15)
    assert metrics["val"]["nll"] == pytest.approx(history.loc[run[1]["best_epoch"], "val_nll"], rel=1e-6)


def test_the_nll_of_certain_mistakes_is_the_one_that_training_saw(tmp_path):
    """A learning rate with which logits lie hundreds apart: no probability is clipped."""
    record = write(small_train(RECIPE.but(lr=1.0, max_epochs=2), **NO_AUGMENTATION), tmp_path)
    history = read_table(tmp_path / "history.csv", text=()).set_index("epoch")
    predictions = predict(tmp_path / "best.safetensors", small_data(), RECIPE, SETTINGS)
    assert predictions.scores["nll"].max() > 100
    nll = evaluate(predictions.scores, 15)["val"]["nll"]
    assert nll == pytest.approx(history.loc[record["best_epoch"], "val_nll"], rel=1e-6)


def test_twice_gives_the_same_file(run):
    one, other = (predictions_bytes(predict(run[0], small_data(), RECIPE, SETTINGS)) for _ in range(2))
    assert one == other


def test_weights_of_another_model(run):
    with pytest.raises(
        StudyError, match=r"best.safetensors: trained with width 0.0625, used with width 0.5; train again"
    ):
        predict(run[0], small_data(), RECIPE.but(width=0.5), SETTINGS)


def test_weights_of_other_classes(run):
    data = replace(small_data(), classes=("a", "b", "c"))
    with pytest.raises(StudyError, match=r"trained with classes \['left', 'right', 'top'\], used with classes \['a'"):
        predict(run[0], data, RECIPE, SETTINGS)


def test_weights_of_other_images(run):
    with pytest.raises(StudyError, match="trained with channels 1, used with channels 3"):
        predict(run[0], small_data(channels=3), RECIPE, SETTINGS)


def test_no_weights(tmp_path):
    with pytest.raises(StudyError, match=r"best.safetensors: the weights do not exist; train first"):
        read_description(tmp_path / "best.safetensors")


def test_damaged_weights(run, tmp_path):
    (tmp_path / "best.safetensors").write_bytes(run[0].read_bytes()[:100])
    with pytest.raises(StudyError, match=r"best.safetensors: not readable as safetensors"):
        read_description(tmp_path / "best.safetensors")
