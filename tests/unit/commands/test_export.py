"""The exported file gives the run's own answers, without this code."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from finished_run import finish, planned
from onnxruntime.capi.onnxruntime_pybind11_state import InvalidArgument
from PIL import Image
from small_run import CLASSES, RECIPE, SETTINGS, small_data, stored_larger
from torch import nn
from torchvision.models import SwinTransformer, VisionTransformer

from study.__main__ import main
from study.commands import export as command
from study.commands.export import FORMS, Exported, export
from study.commands.predict import label_images
from study.commands.trained_run import Classifier
from study.data.decode import resize
from study.data.packed import middle
from study.errors import StudyError
from study.evaluate import adjustment
from study.evaluate.prediction import predict
from study.evaluate.predictions import Predictions, read_predictions
from study.files import file_sha256, write_json
from study.paths import RunPaths

CPU = torch.device("cpu")
forms = pytest.mark.parametrize("suffix", FORMS)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> RunPaths:
    """A run beside the packed test images of its study."""
    run = finish(tmp_path_factory.mktemp("study") / "results/small", "long", 0, 10)
    planned(run.results, {"long": 10}, seeds=(0,)).write()
    (run.results / "data").mkdir()
    np.save(run.results / "data/test.npy", small_data().images["test"])
    return run


def probabilities_of(predictions: Predictions) -> np.ndarray:
    """Of the test images, (N, K)."""
    assert predictions.classes == list(CLASSES)
    return np.exp(predictions.log_p[predictions.scores["split"] == "test"])


def answers_of(path: Path) -> Callable[[np.ndarray], np.ndarray]:
    """From uint8 images to probabilities, by an exported file."""
    return FORMS[path.suffix].read(path)


# From a file and images to probabilities and what the file says about itself, as README has it.
FRESH = {
    ".onnx": """
import json, sys, numpy, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1])
probabilities, = session.run(None, {"images": numpy.load(sys.argv[2])})
about = session.get_modelmeta().custom_metadata_map
about["classes"] = json.loads(about["classes"])
assert "torch" not in sys.modules
""",
    ".pt2": """
import json, sys, numpy, torch
extra = {"about.json": ""}
network = torch.export.load(sys.argv[1], extra_files=extra).module()
probabilities = network(torch.from_numpy(numpy.load(sys.argv[2]))).numpy()
about = json.loads(extra["about.json"])
""",
}
CHECK = """
assert "study" not in sys.modules and not any("study" in path or "scripts" in path for path in sys.path), sys.path
numpy.save(sys.argv[3], probabilities)
print(json.dumps(about))
"""


@forms
def test_the_exported_file_needs_nothing_of_this_project(finished: RunPaths, tmp_path: Path, suffix: str) -> None:
    about = export(finished, tmp_path / f"long{suffix}")
    assert about["images"] == 30 and about["largest_difference"] < 1e-5
    images = finished.results / "data/test.npy"
    command = [sys.executable, "-I", "-c", FRESH[suffix] + CHECK, f"long{suffix}", str(images), "out.npy"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    expected = probabilities_of(read_predictions(finished.predictions))
    assert np.load(tmp_path / "out.npy") == pytest.approx(expected, abs=1e-5)
    said = json.loads(done.stdout)
    assert said["classes"] == ["left", "right", "top"] and said["experiment"] == "long"
    assert said["sha256"] == file_sha256(finished.weights) and "MIT" in said["license"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"long{suffix}", "out.npy"]
    content = (tmp_path / f"long{suffix}").read_bytes()
    assert b"scripts/study" not in content and b"site-packages" not in content  # no path of this machine


def test_an_onnx_file_is_valid_and_names_what_goes_in_and_out(finished: RunPaths, tmp_path: Path) -> None:
    export(finished, tmp_path / "long.onnx", RECIPE.but(experiment="long", tta="hflip"))
    model = onnx.load(tmp_path / "long.onnx")
    onnx.checker.check_model(model, full_check=True)
    images, probabilities = model.graph.input[0], model.graph.output[0]
    assert (images.name, probabilities.name) == ("images", "probabilities")
    assert images.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    assert all(dimension.dim_param for dimension in images.type.tensor_type.shape.dim), (
        "batch and picture are of any size"
    )
    about = {entry.key: entry.value for entry in model.metadata_props}
    assert (
        json.loads(about["recipe"])["optimizer"] == "Adam" and json.loads(about["recipe"])["evaluation.tta"] == "hflip"
    )
    assert about["tta"] == "hflip" and json.loads(about["image_size"]) == 32


def picture_of(size: tuple[int, int], folder: Path) -> Image.Image:
    """A colour picture of a size, and a folder that holds it."""
    random = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    picture = Image.fromarray(random).resize(size, Image.Resampling.BICUBIC)
    folder.mkdir()
    picture.save(folder / "x.png")
    return picture


@forms
@pytest.mark.parametrize(("channels", "loss"), [(1, "cross_entropy"), (3, "ldam")])
def test_the_exported_file_prepares_images_as_the_run_did(
    tmp_path: Path, channels: int, loss: str, suffix: str
) -> None:
    run = finish(tmp_path / "small", "a", 0, 2, channels, loss=loss)
    export(run, tmp_path / f"a{suffix}")
    answers = answers_of(tmp_path / f"a{suffix}")
    for size in ((77, 50), (20, 31), (32, 32), (1, 33)):
        folder = tmp_path / f"{size}"
        picture = picture_of(size, folder)
        own = label_images(Classifier.load(run.weights, CPU), folder, 1_000_000, lambda line: None)
        pixels = np.array(picture).transpose(2, 0, 1)[None]
        assert answers(pixels)[0] == pytest.approx(own.iloc[0, 2:].to_numpy(float), abs=0.01)
        gray = np.array(picture.convert("L"))[None, None]
        if channels == 1:  # the conversion to gray is Pillow's, to the bit
            assert np.array_equal(answers(gray), answers(pixels))
        else:  # gray is repeated over the three channels
            assert np.array_equal(answers(gray), answers(gray.repeat(3, axis=1)))
    refused = (InvalidArgument, RuntimeError, IndexError, AssertionError)
    for wrong in (np.zeros((1, 2, 32, 32), np.uint8), np.zeros((1, 4, 32, 32), np.uint8), np.zeros((1, 3, 32, 32))):
        with pytest.raises(refused):
            answers(wrong)


@forms
@pytest.mark.parametrize("keep_aspect", [True, False])
def test_the_exported_file_cuts_out_what_the_run_saw(tmp_path: Path, keep_aspect: bool, suffix: str) -> None:
    run = finish(tmp_path / "small", "a", 0, 1, data=stored_larger(small_data(), keep_aspect=keep_aspect))
    export(run, tmp_path / f"a{suffix}")
    answers = answers_of(tmp_path / f"a{suffix}")
    classifier = Classifier.load(run.weights, CPU)
    assert (classifier.stored_side, classifier.keep_aspect, classifier.image_size) == (40, keep_aspect, 32)
    for size in ((77, 50), (50, 77), (40, 40), (43, 40), (90, 31)):
        folder = tmp_path / f"{size}"
        picture = picture_of(size, folder).convert("L")
        own = label_images(classifier, folder, 1_000_000, lambda line: None).iloc[0, 2:].to_numpy(float)
        pixels = middle(resize(picture, 40, 1, keep_aspect), 32)
        assert np.allclose(classifier.probabilities(pixels[None])[0], own)
        assert answers(np.array(picture)[None, None])[0] == pytest.approx(own, abs=0.01)


@pytest.mark.parametrize("beyond", range(8))
def test_the_middle_is_that_of_packed_images(beyond: int) -> None:
    images = torch.arange(2 * (5 + beyond) ** 2).view(1, 2, 5 + beyond, 5 + beyond)
    assert np.array_equal(command._middle(images, 5).numpy(), middle(images.numpy(), 5))


def test_an_export_that_differs_is_refused(finished: RunPaths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = Exported.__init__

    def wrong(self: Exported, classifier: Classifier) -> None:
        original(self, replace(classifier, mean=(0.0, 0.0, 0.0)))

    monkeypatch.setattr(Exported, "__init__", wrong)
    with pytest.raises(StudyError, match="differ from the run's own by"):
        export(finished, tmp_path / "long.onnx")
    assert list(tmp_path.iterdir()) == []


def test_what_does_not_fit_one_onnx_file_is_refused(
    finished: RunPaths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "ONNX_BYTES", 1000)
    with pytest.raises(StudyError, match=r"GiB of weights, allowed in one .onnx file are 2; name a file with .pt2"):
        export(finished, tmp_path / "long.onnx")
    assert list(tmp_path.iterdir()) == []


def test_the_command_names_the_file_after_the_experiment(
    finished: RunPaths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "results").symlink_to(finished.results.parent)
    monkeypatch.chdir(tmp_path)
    main(["export", "--study", "small"])
    assert capsys.readouterr().out.startswith("long.onnx: long, seed 0, 3 classes; on 30 images within ")
    assert (tmp_path / "long.onnx").is_file()
    with pytest.raises(SystemExit, match=r"Error: long.pt: ends in '.pt', allowed is .onnx, or .pt2 for a program"):
        main(["export", "--study", "small", "--out", "long.pt"])


@pytest.mark.parametrize(("tta", "posthoc"), [("none", "temperature"), ("hflip", "logit_adjustment")])
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
    about = export(row, tmp_path / "row.onnx", recipe)
    assert about["largest_difference"] < 1e-5 and about["adjustment"]["method"] == posthoc
    plain = Classifier.of(finished, None, CPU).probabilities(images)
    assert np.abs(own - plain).max() > 1e-3


@pytest.mark.parametrize(("tta", "suffix"), [("ten_crop", ".onnx"), ("five_crop", ".pt2")])
def test_crops_are_exported_as_they_are_averaged(finished: RunPaths, tmp_path: Path, tta: str, suffix: str) -> None:
    side = small_data().images["test"].shape[-1]
    classifier = replace(Classifier.load(finished.weights, CPU), tta=tta, stored_size=side + 3)
    images = np.random.default_rng(0).integers(0, 256, (4, 1, side + 3, side + 3), dtype=np.uint8)
    FORMS[suffix].write(command._traced(classifier), {}, tmp_path / f"a{suffix}")
    assert answers_of(tmp_path / f"a{suffix}")(images) == pytest.approx(classifier.probabilities(images), abs=1e-5)


# What networks have beside convolutions: patches, shifted windows.
NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "patches": lambda: VisionTransformer(32, 16, num_layers=1, num_heads=2, hidden_dim=8, mlp_dim=8, num_classes=3),
    "windows": lambda: SwinTransformer([4, 4], 8, depths=[2], num_heads=[2], window_size=[4, 4], num_classes=3),
}


@pytest.mark.parametrize("kind", NETWORKS)
def test_other_networks_are_exported(finished: RunPaths, tmp_path: Path, kind: str) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = NETWORKS[kind]().eval().requires_grad_(False)
        for head in [layer for layer in network.modules() if isinstance(layer, nn.Linear)][-1:]:
            nn.init.normal_(head.weight)  # zero at first in torchvision's VisionTransformer
    classifier = replace(Classifier.load(finished.weights, CPU), network=network)
    FORMS[".onnx"].write(command._traced(classifier), {}, tmp_path / "a.onnx")
    answers, images = answers_of(tmp_path / "a.onnx"), small_data().images["test"]
    own = classifier.probabilities(images)
    assert np.ptp(own, axis=0).min() > 1e-3, "images differ"
    assert answers(images) == pytest.approx(own, abs=1e-5)
    assert answers(images[:1]) == pytest.approx(own[:1], abs=1e-5)
