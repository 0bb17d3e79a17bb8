"""The exported file gives the run's own answers, without this code."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from finished_run import finish
from PIL import Image
from small_run import CLASSES, RECIPE, SETTINGS, small_data, stored_larger

from study.__main__ import main
from study.commands.export import Exported, export
from study.commands.predict import label_images
from study.commands.trained_run import Classifier
from study.data.decode import resize
from study.data.packed import middle
from study.errors import StudyError
from study.evaluate import adjustment
from study.evaluate.prediction import predict
from study.evaluate.predictions import Predictions, read_predictions
from study.files import write_json
from study.paths import RunPaths

CPU = torch.device("cpu")
# PyTorch would rather see torch.export; why it is TorchScript stands at `export`.
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.*deprecated:FutureWarning")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> RunPaths:
    """A run beside the packed test images of its study."""
    run = finish(tmp_path_factory.mktemp("study") / "results/small", "long", 0, 10)
    (run.results / "data").mkdir()
    np.save(run.results / "data/test.npy", small_data().images["test"])
    return run


def probabilities_of(predictions: Predictions) -> np.ndarray:
    """Of the test images, (N, K)."""
    assert predictions.classes == list(CLASSES)
    return np.exp(predictions.log_p[predictions.scores["split"] == "test"])


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


def test_the_exported_file_needs_nothing_of_this_project(finished: RunPaths, tmp_path: Path) -> None:
    about = export(finished, tmp_path / "long.pt")
    assert about["images"] == 30 and about["largest_difference"] < 1e-5
    images = finished.results / "data/test.npy"
    command = [sys.executable, "-I", "-c", FRESH, "long.pt", str(images), "out.npy"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    expected = probabilities_of(read_predictions(finished.predictions))
    assert np.load(tmp_path / "out.npy") == pytest.approx(expected, abs=1e-5)
    assert [path.name for path in tmp_path.glob(".*")] == []


@pytest.mark.parametrize(("channels", "loss"), [(1, "cross_entropy"), (3, "cross_entropy"), (1, "ldam")])
def test_the_exported_file_prepares_images_as_the_run_did(tmp_path: Path, channels: int, loss: str) -> None:
    run = finish(tmp_path / "small", "a", 0, 2, channels, loss=loss)
    export(run, tmp_path / "a.pt")
    network = torch.jit.load(str(tmp_path / "a.pt"))
    random = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    picture = Image.fromarray(random).resize((77, 50), Image.Resampling.BICUBIC)
    (tmp_path / "images").mkdir()
    picture.save(tmp_path / "images/x.png")
    own = label_images(Classifier.load(run.weights, CPU), tmp_path / "images", 1_000_000, lambda line: None)
    pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None]
    assert network(pixels).numpy()[0] == pytest.approx(own.iloc[0, 2:].to_numpy(float), abs=0.01)
    if channels == 1:  # the conversion to gray is Pillow's, to the bit
        gray = torch.from_numpy(np.array(picture.convert("L")))[None, None]
        assert torch.equal(network(gray), network(pixels))
    with pytest.raises(torch.jit.Error, match="allowed is uint8"):
        network(torch.zeros(1, 3, 32, 32))


@pytest.mark.parametrize(
    ("size", "keep_aspect"), [((77, 50), True), ((50, 77), True), ((77, 50), False), ((40, 40), True)]
)
def test_the_exported_file_cuts_out_what_the_run_saw(tmp_path: Path, size: tuple[int, int], keep_aspect: bool) -> None:
    run = finish(tmp_path / "small", "a", 0, 1, data=stored_larger(small_data(), keep_aspect=keep_aspect))
    export(run, tmp_path / "a.pt")
    random = np.random.default_rng(0).integers(0, 256, (8, 8), dtype=np.uint8)
    picture = Image.fromarray(random).resize(size, Image.Resampling.BICUBIC)
    (tmp_path / "images").mkdir()
    picture.save(tmp_path / "images/x.png")
    classifier = Classifier.load(run.weights, CPU)
    assert (classifier.stored_side, classifier.keep_aspect, classifier.image_size) == (40, keep_aspect, 32)
    own = label_images(classifier, tmp_path / "images", 1_000_000, lambda line: None)
    pixels = middle(resize(picture, 40, 1, keep_aspect), 32)
    assert np.allclose(classifier.probabilities(pixels[None])[0], own.iloc[0, 2:].to_numpy(float))
    exported = torch.jit.load(str(tmp_path / "a.pt"))(torch.from_numpy(np.array(picture))[None, None])
    assert exported.numpy()[0] == pytest.approx(own.iloc[0, 2:].to_numpy(float), abs=0.01)


def test_an_export_that_differs_is_refused(finished: RunPaths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = Exported.__init__

    def wrong(self: Exported, network: torch.nn.Module, classifier: Classifier) -> None:
        original(self, network, replace(classifier, mean=(0.0, 0.0, 0.0)))

    monkeypatch.setattr(Exported, "__init__", wrong)
    with pytest.raises(StudyError, match="differ from the run's own by"):
        export(finished, tmp_path / "long.pt")
    assert list(tmp_path.iterdir()) == []


def test_the_command_names_the_file_after_the_experiment(
    finished: RunPaths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "results").symlink_to(finished.results.parent)
    monkeypatch.chdir(tmp_path)
    main(["export", "--study", "small"])
    assert capsys.readouterr().out.startswith("long.pt: long, seed 0, 3 classes; on 30 images within ")
    assert (tmp_path / "long.pt").is_file()


@pytest.mark.parametrize("posthoc", ["temperature", "logit_adjustment"])
@pytest.mark.parametrize("tta", ["none", "hflip"])
def test_a_run_without_training_is_exported_and_predicted_as_it_was_evaluated(
    finished: RunPaths, tmp_path: Path, tta: str, posthoc: str
) -> None:
    recipe = RECIPE.but(experiment="row", trained_as="long", tta=tta, posthoc=posthoc)
    before = predict(finished.weights, small_data(), recipe, SETTINGS)
    expected, made = adjustment.adjust(before, recipe, {"left": 10, "right": 5, "top": 1})
    row = RunPaths(finished.results, "row", 0, "long")
    row.evaluated.mkdir(parents=True, exist_ok=True)
    write_json({adjustment.KEY: made.record(finished.predictions)}, row.metrics)
    images = small_data().images["test"]
    own = Classifier.of(row, recipe, CPU).probabilities(images)
    assert own == pytest.approx(probabilities_of(expected), abs=1e-5)
    about = export(row, tmp_path / "row.pt", recipe)
    assert about["largest_difference"] < 1e-5
    plain = Classifier.of(finished, None, CPU).probabilities(images)
    assert np.abs(own - plain).max() > 1e-3


@pytest.mark.parametrize("tta", ["five_crop", "ten_crop"])
def test_crops_are_exported_as_they_are_averaged(finished: RunPaths, tta: str) -> None:
    side = small_data().images["test"].shape[-1]
    classifier = replace(Classifier.load(finished.weights, CPU), tta=tta, stored_size=side + 3)
    images = np.random.default_rng(0).integers(0, 256, (4, 1, side + 3, side + 3), dtype=np.uint8)
    exported = torch.jit.script(
        Exported(torch.jit.trace(classifier.network, torch.zeros(2, 3, side, side)), classifier)
    )
    with torch.inference_mode():
        assert exported.eval()(torch.from_numpy(images)).numpy() == pytest.approx(
            classifier.probabilities(images), abs=1e-5
        )
