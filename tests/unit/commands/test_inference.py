"""New images labelled by a trained run, and the exported file: the run's own answers, without this code."""

import json
import subprocess
import sys
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from small_run import CLASSES, MODEL, RECIPE, SETTINGS, small_data, small_train, write

from study.commands.inference import Classifier, Exported, export, find_run, label_images
from study.errors import StudyError
from study.evaluate import metrics
from study.evaluate.prediction import predict
from study.train import augmentation

CPU = torch.device("cpu")
# PyTorch would rather see torch.export; why it is TorchScript stands at `export`.
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.*deprecated:FutureWarning")


def finish(results: Path, experiment: str, seed: int, epochs: int, channels: int = 1) -> Path:
    """Train and evaluate one small run in the layout of a study."""
    data = small_data(channels)
    recipe = replace(RECIPE, experiment=experiment, max_epochs=epochs)
    run = results / "train" / experiment / f"seed_{seed}"
    write(small_train(recipe, data=data, seed=seed, augmentation=augmentation.Augmentation()), run)
    evaluated = results / "evaluate" / experiment / f"seed_{seed}"
    evaluated.mkdir(parents=True)
    predictions = predict(run / "best.safetensors", data, MODEL, SETTINGS)
    predictions.to_csv(evaluated / "predictions.csv", index=False)
    (evaluated / "metrics.json").write_text(json.dumps(metrics.evaluate(predictions, 15)))
    return run


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results") / "small"
    finish(folder, "long", 0, 10)
    finish(folder, "short", 0, 1)
    finish(folder, "short", 1, 1)
    (folder / "data").mkdir()
    np.save(folder / "data/test.npy", small_data().images["test"])
    return folder


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """The test images as PNG files, in two folders."""
    data = small_data()
    for name, image in zip(data.image_ids["test"], data.images["test"], strict=True):
        path = tmp_path / "images" / ("even" if int(name[-1]) % 2 == 0 else "odd") / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[0]).save(path)
    return tmp_path / "images"


def test_new_images_get_the_probabilities_of_the_evaluation(results: Path, images: Path) -> None:
    table = label_images(Classifier.load(results / "train/long/seed_0", CPU), images)
    saved = metrics.read_predictions(results / "evaluate/long/seed_0/predictions.csv").set_index("image_id")
    columns = [f"p_{name}" for name in CLASSES]
    assert list(table.columns) == ["image", "predicted", *columns]
    assert len(table) == 30
    expected = saved.loc[[Path(name).stem for name in table["image"]], columns].to_numpy()
    assert table[columns].to_numpy() == pytest.approx(expected, abs=1e-5)
    assert table["predicted"].tolist() == [CLASSES[k] for k in expected.argmax(axis=1)]


def test_what_is_no_image_is_reported_and_skipped(results: Path, images: Path) -> None:
    (images / "notes.txt").write_text("not an image")
    (images / ".hidden").write_text("nothing")
    content = BytesIO()
    Image.new("L", (64, 64)).save(content, "PNG")
    (images / "cut.png").write_bytes(content.getvalue()[:60])
    said: list[str] = []
    table = label_images(Classifier.load(results / "train/long/seed_0", CPU), images, said.append)
    assert len(table) == 30
    assert "skipped notes.txt: not an image, or its header is damaged" in said
    assert any(line.startswith("skipped cut.png: ") for line in said)
    assert not any("hidden" in line for line in said)


def test_other_sizes_and_modes_are_prepared_and_counted(results: Path, images: Path) -> None:
    table = label_images(Classifier.load(results / "train/long/seed_0", CPU), images)
    first = images / table["image"][0]
    Image.open(first).convert("RGB").save(images / "colour.png")
    Image.open(first).resize((64, 64), Image.Resampling.NEAREST).save(images / "large.png")
    said: list[str] = []
    again = label_images(Classifier.load(results / "train/long/seed_0", CPU), images, said.append).set_index("image")
    assert again.loc["colour.png"].tolist() == again.loc[table["image"][0]].tolist()
    assert again.loc["large.png", "p_left"] == pytest.approx(again.loc[table["image"][0], "p_left"], abs=0.05)
    assert "1 of 32 images: resized to the run's size" in said
    assert any("1 of 32 images: turned from colour to the grayscale" in line for line in said)


def test_empty_missing_and_unreadable_folders(results: Path, tmp_path: Path) -> None:
    classifier = Classifier.load(results / "train/short/seed_0", CPU)
    with pytest.raises(StudyError, match="not a folder; name one that holds images"):
        label_images(classifier, tmp_path / "none")
    (tmp_path / "folder").mkdir()
    with pytest.raises(StudyError, match="the folder is empty"):
        label_images(classifier, tmp_path / "folder")
    (tmp_path / "folder/a.txt").write_text("text")
    with pytest.raises(StudyError, match=r"none of the 1 files is a readable image; the first: a\.txt: not an image"):
        label_images(classifier, tmp_path / "folder", lambda line: None)


def test_runs_are_found_by_name_and_best_on_validation(results: Path) -> None:
    def accuracy(run: str) -> float:
        path = results / "evaluate" / run / "metrics.json"
        return float(json.loads(path.read_text())["val"]["accuracy"])

    assert find_run(results, "long") == results / "train/long/seed_0"
    assert find_run(results, "short/seed_1") == results / "train/short/seed_1"
    best_seed = max(("short/seed_0", "short/seed_1"), key=accuracy)
    assert find_run(results, "short") == results / "train" / best_seed
    assert accuracy("long/seed_0") > accuracy(best_seed)
    assert find_run(results, "best") == results / "train/long/seed_0"


def test_unknown_runs_and_studies_are_named(results: Path, tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"run 'lang': not found in .*; allowed: best, long, short"):
        find_run(results, "lang")
    with pytest.raises(StudyError, match="no finished run; train first"):
        find_run(tmp_path, "best")


def test_weights_of_another_program(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"x": torch.zeros(1)}, tmp_path / "best.safetensors")
    with pytest.raises(StudyError, match="does not say which classes"):
        Classifier.load(tmp_path, CPU)


FRESH = """
import json, sys, numpy, torch
assert not any("study" in path or "scripts" in path for path in sys.path), sys.path
about = {"about.json": ""}
network = torch.jit.load(sys.argv[1], _extra_files=about)
images = numpy.load(sys.argv[2])
numpy.save(sys.argv[3], network(torch.from_numpy(images)).numpy())
assert network.classes == json.loads(about["about.json"])["classes"] == ["left", "right", "top"]
assert "study" not in sys.modules
"""


def test_the_exported_file_needs_nothing_of_this_project(results: Path, tmp_path: Path) -> None:
    made = export(results / "train/long/seed_0", tmp_path / "long.pt")
    assert made["images"] == 30 and made["largest_difference"] < 1e-5
    images = results / "data/test.npy"
    command = [sys.executable, "-I", "-c", FRESH, "long.pt", str(images), "out.npy"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    saved = metrics.read_predictions(results / "evaluate/long/seed_0/predictions.csv")
    expected = saved[saved["split"] == "test"][[f"p_{name}" for name in CLASSES]].to_numpy()
    assert np.load(tmp_path / "out.npy") == pytest.approx(expected, abs=1e-5)
    assert [path.name for path in tmp_path.glob(".*")] == []


@pytest.mark.parametrize("channels", [1, 3])
def test_the_exported_file_prepares_images_as_the_run_did(tmp_path: Path, channels: int) -> None:
    run = finish(tmp_path / "small", "a", 0, 2, channels)
    export(run, tmp_path / "a.pt")
    network = torch.jit.load(str(tmp_path / "a.pt"))
    random = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    picture = Image.fromarray(random).resize((77, 50), Image.Resampling.BICUBIC)
    (tmp_path / "images").mkdir()
    picture.save(tmp_path / "images/x.png")
    own = label_images(Classifier.load(run, CPU), tmp_path / "images", lambda line: None)
    pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None]
    assert network(pixels).numpy()[0] == pytest.approx(own.iloc[0, 2:].to_numpy(float), abs=0.01)
    if channels == 1:  # the conversion to gray is Pillow's, to the bit
        gray = torch.from_numpy(np.array(picture.convert("L")))[None, None]
        assert torch.equal(network(gray), network(pixels))
    with pytest.raises(torch.jit.Error, match="allowed is uint8"):
        network(torch.zeros(1, 3, 32, 32))


def test_an_export_that_differs_is_refused(results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = Exported.__init__

    def wrong(self: Exported, network: torch.nn.Module, classifier: Classifier) -> None:
        original(self, network, replace(classifier, mean=(0.0, 0.0, 0.0)))

    monkeypatch.setattr(Exported, "__init__", wrong)
    with pytest.raises(StudyError, match="differ from the run's own by"):
        export(results / "train/long/seed_0", tmp_path / "long.pt")
    assert list(tmp_path.iterdir()) == []


def test_a_table_of_predictions_is_read_back_whole(results: Path, images: Path, tmp_path: Path) -> None:
    table = label_images(Classifier.load(results / "train/long/seed_0", CPU), images)
    table.to_csv(tmp_path / "out.csv", index=False)
    read = pd.read_csv(tmp_path / "out.csv")
    assert read.filter(like="p_").sum(axis=1).to_numpy() == pytest.approx(np.ones(30), abs=1e-5)
