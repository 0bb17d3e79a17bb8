from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from small_run import NO_AUGMENTATION, RECIPE, SETTINGS, small_data, small_train, write

from study.errors import StudyError
from study.evaluate.prediction import predict, read_description


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    folder = tmp_path_factory.mktemp("run")
    result = small_train(RECIPE.but(max_epochs=10), **NO_AUGMENTATION)
    return folder / "best.safetensors", write(result, folder)


def test_layout(run):
    predictions = predict(run[0], small_data(), RECIPE, SETTINGS)
    assert list(predictions) == ["image_id", "split", "label", "p_left", "p_right", "p_top"]
    assert predictions["split"].tolist() == ["val"] * 30 + ["test"] * 30
    assert predictions["image_id"].tolist() == [f"{split}_{i}" for split in ("val", "test") for i in range(30)]
    assert predictions["label"].tolist() == ["left", "right", "top"] * 20
    p = predictions[["p_left", "p_right", "p_top"]]
    assert all(dtype == np.float32 for dtype in p.dtypes)
    np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-6)


def test_accuracy_is_the_one_that_training_saw(run):
    predictions = predict(run[0], small_data(), RECIPE, SETTINGS)
    val = predictions[predictions["split"] == "val"]
    predicted = val[["p_left", "p_right", "p_top"]].to_numpy().argmax(1)
    assert (np.array(["left", "right", "top"])[predicted] == val["label"]).mean() == run[1]["best_val_accuracy"]


def test_twice_gives_the_same_csv(run, tmp_path):
    for name in ("first", "second"):
        predict(run[0], small_data(), RECIPE, SETTINGS).to_csv(tmp_path / name, index=False)
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()
    read = pd.read_csv(tmp_path / "first", dtype={"p_left": np.float32})
    assert read["p_left"].tolist() == predict(run[0], small_data(), RECIPE, SETTINGS)["p_left"].tolist()


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
