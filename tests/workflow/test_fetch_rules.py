"""Data and pretrained weights through real Snakemake: fetched from a local server, or placed by hand.

The server's weights are a state dict for torchvision's vgg11 whose SHA-256 begins with torchvision's own digits, so
that nothing has to be replaced to see them accepted: `torch.save` of every convolution's weight and bias, each
`torch.zeros(1)` expanded to its shape (2.8 kB), and behind it, as the comment of the zip archive that such a file is, a
number found by trying 1,118 million. A network that starts from it is easy to tell: where every weight is zero, no
gradient changes one.
"""

import hashlib
import json
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from conftest import Workspace
from safetensors.torch import load_file, save_file
from test_bad_input import image_folder, refused, results

from study.train.pretrained import published

ZEROS = Path(__file__).with_name("vgg11-8a719046.pth").read_bytes()
WEIGHTS = "resources/weights/vgg11.pth"
DATA = "resources/images.zip"
DIGITS = "one that begins with 8a719046"  # torchvision's for vgg11
AUDIT = "results/small/data/audit.json"
RUNS = [f"results/small/train/{name}/seed_0/run.json" for name in ("plain", "weighted")]
FETCH = ("--until", "fetch_data", "fetch_weights")


@dataclass
class Server:
    """What it serves, by path; `cut` paths break off in the middle, and `asked` are the paths that were asked for."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    cut: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = state.files[self.path]
            state.asked.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2] if self.path in state.cut else content)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        state.url = f"http://127.0.0.1:{httpd.server_port}"
        yield state
        httpd.shutdown()


def zipped(folder: Path, counts: dict[str, int]) -> bytes:
    """A zip of small images, `counts` per class."""
    image_folder(folder, counts)
    return Path(shutil.make_archive(str(folder), "zip", folder)).read_bytes()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def resources(workspace: Workspace) -> list[str]:
    """Every file below resources/, hidden ones too."""
    root = workspace.root / "resources"
    return sorted(str(path.relative_to(workspace.root)) for path in root.rglob("*") if path.is_file())


def place(workspace: Workspace, name: str, content: bytes) -> None:
    (workspace.root / name).parent.mkdir(parents=True, exist_ok=True)
    (workspace.root / name).write_bytes(content)


def starts_from_zeros(workspace: Workspace, run: str) -> bool:
    """Whether a trained network's convolutions are zero still."""
    trained = load_file(workspace.root / run.replace("run.json", "best.safetensors"))
    convolutions = [value for key, value in trained.items() if key.startswith("features.")]
    return len(convolutions) == 16 and not any(value.any() for value in convolutions)


def test_weights_are_fetched_once_and_every_training_starts_from_them(workspace: Workspace, server: Server) -> None:
    assert sha256(ZEROS).startswith(published("vgg11")[1])
    server.files["/vgg11"] = ZEROS
    workspace.configure(
        data={"source": str(image_folder(workspace.root / "made", {"a": 100, "b": 100}))},
        model={"width": 1.0, "weights": "imagenet", "weights_url": f"{server.url}/vgg11"},
    )
    once = dict.fromkeys(("fetch_weights", "manifest", "pack", "class_weights"), 1)
    assert workspace.planned("--", *RUNS) == {**once, "train": 2}
    workspace.snakemake("--", *RUNS)
    assert server.asked == ["/vgg11"]
    assert resources(workspace) == [WEIGHTS]
    assert (workspace.root / WEIGHTS).read_bytes() == ZEROS
    assert all(starts_from_zeros(workspace, run) for run in RUNS)
    assert workspace.planned("--", *RUNS) == {}
    assert "fetch_weights" not in workspace.planned("--forceall", "--", *RUNS)


def test_data_are_fetched_once_and_used(workspace: Workspace, server: Server) -> None:
    content = server.files["/images.zip"] = zipped(workspace.root / "made", {"a": 12, "b": 9})
    workspace.configure(data={"source": DATA, "url": f"{server.url}/images.zip", "sha256": sha256(content)})
    assert workspace.planned("--", AUDIT) == {"fetch_data": 1, "manifest": 1}
    assert "Warning" not in workspace.snakemake("--", AUDIT).stdout
    assert server.asked == ["/images.zip"]
    assert resources(workspace) == [DATA]
    source = json.loads((workspace.root / AUDIT).read_text(encoding="utf-8"))["source"]
    assert (source["sha256"], source["classes"]) == (sha256(content), {"a": 12, "b": 9})
    assert workspace.planned("--", AUDIT) == {}


def test_what_goes_wrong_on_the_way_is_said_and_leaves_no_file(workspace: Workspace, server: Server) -> None:
    """Data whose connection is cut, and weights of another hash; `study.data.fetch` has tests of all else."""
    url, content = server.url, b"something"
    server.files, server.cut = {"/data": bytes(3_000_000), "/weights": content}, {"/data"}
    data = "the connection was cut after 1,500,000 of 3,000,000 bytes."
    weights = f"the file has the SHA-256 {sha256(content)}, allowed is {DIGITS}."
    workspace.configure(
        data={"source": DATA, "url": f"{url}/data", "sha256": "0" * 64},
        model={"width": 1.0, "weights": "imagenet", "weights_url": f"{url}/weights"},
    )
    text = refused(workspace, *FETCH)
    assert sorted(server.asked) == ["/data", "/weights"]
    place_data = f"Place your images by hand at {DATA} (from {url}/data). Any of these will do"
    place_weights = f"Place torchvision's pretrained weights of vgg11 by hand at {WEIGHTS} (from {url}/weights)."
    for error in (f"Error: {url}/data: {data} {place_data}", f"Error: {url}/weights: {weights} {place_weights}"):
        assert text.count(error) == 2, "on the terminal, and again in the log that Snakemake shows"
    assert resources(workspace) == []


def test_data_placed_by_hand_are_used_whatever_they_are_and_differences_are_said(
    workspace: Workspace, server: Server
) -> None:
    content = zipped(workspace.root / "made", {"a": 12, "b": 9})
    place(workspace, DATA, content)
    expected = {"classes": {"a": 12, "b": 10, "c": 4}, "splits": {"train": 26}}
    workspace.configure(
        data={"source": DATA, "url": f"{server.url}/images.zip", "sha256": "0" * 64, "expected": expected}
    )
    assert workspace.planned("--", AUDIT) == {"manifest": 1}
    text = workspace.snakemake("--", AUDIT).stdout
    sentences = [
        "Class 'b': 9 images found, 10 expected.",
        "Class 'c': 0 images found, 4 expected.",
        "Official split 'train': 0 images found, 26 expected.",
        f"SHA-256 of {DATA}: {sha256(content)} found, {'0' * 64} expected.",
    ]
    warning = "\n  ".join(
        [
            f"Warning: {DATA} is not the data that the configuration expects (config keys data.expected and "
            "data.sha256; null accepts any):",
            *sentences,
        ]
    )
    assert warning in text
    assert warning in (workspace.root / "results/small/logs/manifest.log").read_text(encoding="utf-8")
    assert json.loads((workspace.root / AUDIT).read_text(encoding="utf-8"))["expected"] == sentences
    workspace.configure(data={"expected": None, "sha256": None, "url": None})
    assert "Warning" not in workspace.snakemake("--forceall", "--", AUDIT).stdout
    assert json.loads((workspace.root / AUDIT).read_text(encoding="utf-8"))["expected"] == []
    assert (workspace.root / DATA).read_bytes() == content
    assert server.asked == []


def test_a_missing_source_says_where_to_get_it_and_where_to_put_it(workspace: Workspace) -> None:
    workspace.configure(data={"source": "resources/FER2013"})
    assert workspace.planned()["fetch_data"] == 1
    text = refused(workspace, "--until", "fetch_data")
    assert "resources/FER2013: the folder does not exist" in text
    assert "Place the FER2013 images by hand at resources/FER2013. Kaggle has them" in text
    workspace.configure(data={"source": "images.csv"})
    text = refused(workspace, "--until", "fetch_data")
    assert "images.csv: the file does not exist" in text
    assert "Place your images by hand at images.csv. Any of these will do where the config key 'data.source'" in text
    assert "Kaggle" not in text
    assert results(workspace) == resources(workspace) == []


def test_weights_placed_by_hand_must_be_torchvisions(finished_copy: Workspace, server: Server) -> None:
    workspace, wrong = finished_copy, ZEROS + b"!"
    place(workspace, WEIGHTS, wrong)
    workspace.configure(model={"width": 1.0, "weights": "imagenet", "weights_url": f"{server.url}/vgg11"})
    assert "fetch_weights" not in workspace.planned("--forceall", "--", RUNS[0])
    text = refused(workspace, "--", RUNS[0])
    assert f"Error: {WEIGHTS}: the file has the SHA-256 {sha256(wrong)}, allowed is {DIGITS}, torchvision's" in text
    assert "Delete it and run again" in text and published("vgg11")[0] in text and "'model.weights'" in text
    assert (workspace.root / WEIGHTS).read_bytes() == wrong
    assert server.asked == []


def zeros(channels_out: list[int], layers: list[int]) -> dict[str, torch.Tensor]:
    """Zeros for the convolutions of a VGG: `layers` are their places, `channels_out` their channels."""
    state = {}
    for layer, before, out in zip(layers, [3, *channels_out], channels_out, strict=False):
        state |= {
            f"features.{layer}.weight": torch.zeros(out, before, 3, 3),
            f"features.{layer}.bias": torch.zeros(out),
        }
    return state


# vgg11 at an eighth of its width, as in the small study
CHANNELS, LAYERS = [8, 16, 32, 32, 64, 64, 64, 64], [0, 3, 6, 8, 11, 13, 16, 18]


def test_any_state_dict_is_started_from_and_kept(finished_copy: Workspace) -> None:
    workspace = finished_copy
    path = workspace.root / "my weights/zeros.pth"
    path.parent.mkdir()
    torch.save(zeros(CHANNELS, LAYERS), path)
    before = path.read_bytes()
    workspace.configure(model={"weights": str(path.relative_to(workspace.root))})
    assert "fetch_weights" not in workspace.planned("--forceall", "--", RUNS[0])
    workspace.snakemake("--", RUNS[0])
    assert starts_from_zeros(workspace, RUNS[0])
    assert path.read_bytes() == before


def test_a_state_dict_that_does_not_fit_names_the_keys(finished_copy: Workspace) -> None:
    workspace = finished_copy
    save_file(zeros([*CHANNELS[:-1], 63], [*LAYERS[1:], 20]), workspace.root / "other.safetensors")
    workspace.configure(model={"weights": "other.safetensors"})
    text = refused(workspace, "--", RUNS[0])
    assert "Error: other.safetensors: these weights don't fit the model of the config key 'model'; missing: " in text
    assert "missing: features.0.weight, features.0.bias; " in text
    assert "not in the model: features.20.bias, features.20.weight; " in text
    assert "of another shape: features.3.weight (8, 3, 3, 3) instead of (16, 8, 3, 3), " in text
    assert (workspace.root / "other.safetensors").exists()


def test_a_missing_state_dict_says_where_to_put_it(workspace: Workspace) -> None:
    workspace.configure(model={"weights": "mine.pth"})
    assert workspace.planned("--", RUNS[0])["fetch_weights"] == 1
    text = refused(workspace, "--until", "fetch_weights")
    assert "Error: mine.pth: the file does not exist (config key 'model.weights'); place the state dict there" in text


def test_where_files_come_from_and_what_is_expected_of_them_re_trains_nothing(finished_copy: Workspace) -> None:
    before = finished_copy.planned()  # a copy elsewhere: the tables' template has another path
    assert not {"manifest", "pack", "train", "evaluate"} & set(before)
    origin = {"url": "http://localhost/digits.zip", "sha256": "0" * 64}
    finished_copy.configure(
        data=origin | {"expected": {"classes": {"0": 5}, "splits": {}}}, model={"weights_url": "http://localhost/vgg11"}
    )
    assert finished_copy.planned() == before
