"""Use a trained run: label new images, or export the network as one file that needs none of this code.

Entry points:
    find_run(results, name) -> Path                        folder of a run: "best", an experiment, or "…/seed_1"
    Classifier.load(run, device) -> Classifier             the run's network with its own preprocessing
    label_images(classifier, folder, report) -> DataFrame  image, predicted, p_<class> …
    export(run, path) -> dict                              TorchScript with classes and preprocessing inside
"""

import json
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from study.compare.runs import by_experiment, choose, load_runs
from study.data.decode import UnreadableError, decode, resize
from study.errors import StudyError
from study.evaluate.metrics import PROBABILITY
from study.evaluate.prediction import read_description
from study.recipe import Recipe
from study.train import models

MAX_PIXELS = 50_000_000  # as data.max_pixels of the shipped configuration: a larger image counts as unreadable
BATCH = 256
SHOWN_PROBLEMS = 20
# How far the exported network may lie from this program's own, in probability: rounding of a fused operation.
TOLERANCE = 1e-4

# Weights of R, G and B in 65536ths and half a step, as Pillow's conversion to "L" (ITU-R 601-2) rounds.
LUMA = (19595, 38470, 7471)


def find_run(results: Path, name: str) -> Path:
    """The folder of a run below `results`/train.

    Args:
        name: "best" (the recipe chosen on validation, and of its seeds the one with the highest validation accuracy),
            an experiment (the same among its seeds), or an experiment with its seed, "sgd_ver3/seed_1".

    Raises:
        StudyError: no such run, with those that there are.
    """
    finished = sorted(path.parent for path in results.glob("train/*/seed_*/best.safetensors"))
    if not finished:
        raise StudyError(f"{results}: no finished run; train first, or name another study (STUDY=…)")
    if (results / "train" / name) in finished:
        return results / "train" / name
    experiments = list(dict.fromkeys(run.parent.name for run in finished))
    if name != "best" and name not in experiments:
        allowed = ", ".join(["best", *experiments])
        raise StudyError(f"run '{name}': not found in {results}; allowed: {allowed}, or one with its seed (…/seed_0)")
    wanted = [run for run in finished if name in ("best", run.parent.name)]
    if len(wanted) == 1:
        return wanted[0]
    scores = {run: results / "evaluate" / run.relative_to(results / "train") / "metrics.json" for run in wanted}
    if missing := [path for path in scores.values() if not path.is_file()]:
        raise StudyError(f"{missing[0]}: the run is not evaluated yet, so the best one is not known; finish the study")
    records = {run.parent.name: json.loads((run / "run.json").read_text(encoding="utf-8")) for run in wanted}
    recipes = {experiment: Recipe(experiment, 0, **record["recipe"]) for experiment, record in records.items()}
    runs = load_runs(recipes, [run / "run.json" for run in wanted], scores.values())
    best = max(by_experiment(runs)[choose(runs)], key=lambda run: run.val_accuracy)
    return results / "train" / best.experiment / f"seed_{best.seed}"


@dataclass(frozen=True)
class Classifier:
    """A trained network with what its file says of it.

    Attributes:
        network: float (N, 3, S, S), normalised, to logits (N, K); in evaluation mode.
        classes: names in the order of the logits.
        channels: 1 if the run saw grayscale images, else 3.
        image_size: S in pixels.
        mean, std: of the normalisation, per channel of 0 to 1.
        device: where the network is.
    """

    network: nn.Module
    classes: tuple[str, ...]
    channels: int
    image_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    device: torch.device

    @classmethod
    def load(cls, run: Path, device: torch.device) -> "Classifier":
        """Read best.safetensors of a run.

        Raises:
            StudyError: the file is missing, damaged, or does not say what it is.
        """
        weights = run / "best.safetensors"
        made = read_description(weights)
        if not made:
            raise StudyError(f"{weights}: does not say which classes and images it is for; train the run again")
        settings = models.ModelSettings(
            made["model"], made["width"], head_hidden=made["head_hidden"], dropout=made["dropout"]
        )
        network = models.build(settings, len(made["classes"]), made["image_size"], seed=0, weights=weights)
        return cls(
            network.to(device).eval().requires_grad_(False),
            tuple(made["classes"]),
            made["channels"],
            made["image_size"],
            tuple(made["mean"]),
            tuple(made["std"]),
            device,
        )

    @torch.inference_mode()
    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """float32 (N, K) for uint8 images (N, C, S, S) of the run's own channels and size, at full precision."""
        batch = torch.from_numpy(np.array(images)).to(self.device).expand(-1, 3, -1, -1).float() / 255
        mean, std = (torch.tensor(values, device=self.device).view(1, 3, 1, 1) for values in (self.mean, self.std))
        return self.network((batch - mean) / std).float().softmax(dim=1).cpu().numpy()


def label_images(classifier: Classifier, folder: Path, report: Callable[[str], None] = print) -> pd.DataFrame:
    """Class and probabilities of every image below a folder; what is no readable image is reported and skipped.

    Returns:
        image (path below the folder), predicted, and a column p_<class> for each class.

    Raises:
        StudyError: no such folder, no file in it, or no file that can be read.
    """
    if not folder.is_dir():
        raise StudyError(f"{folder}: not a folder; name one that holds images")
    files = sorted(
        path for path in folder.rglob("*")
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )  # fmt: skip
    if not files:
        raise StudyError(f"{folder}: the folder is empty; put images into it, or name another one")
    names: list[str] = []
    parts, problems, changed = [], [], Counter[str]()
    for start in range(0, len(files), BATCH):
        pictures = []
        for path in files[start : start + BATCH]:
            name = path.relative_to(folder).as_posix()
            try:
                pictures.append(_prepared(classifier, path, changed))
                names.append(name)
            except UnreadableError as error:
                problems.append(f"{name}: {error}")
        if pictures:
            parts.append(classifier.probabilities(np.stack(pictures)))
    _tell(problems, changed, len(files), report)
    if not parts:
        raise StudyError(f"{folder}: none of the {len(files)} files is a readable image; the first: {problems[0]}")
    found = np.concatenate(parts)
    table = pd.DataFrame(
        {"image": names, "predicted": np.array(classifier.classes, dtype=object)[found.argmax(axis=1)]}
    )
    return pd.concat([table, pd.DataFrame(found, columns=[PROBABILITY + c for c in classifier.classes])], axis=1)


def _prepared(classifier: Classifier, path: Path, changed: Counter[str]) -> np.ndarray:
    """uint8 (C, S, S), as packing makes it; what had to be changed is counted."""
    image = decode(path, MAX_PIXELS).image
    size = classifier.image_size
    changed["size"] += image.size != (size, size)
    changed["gray"] += classifier.channels == 1 and image.mode != "L"
    changed["colour"] += classifier.channels == 3 and image.mode == "L"
    return resize(image, size, classifier.channels)


def _tell(problems: Sequence[str], changed: Counter[str], files: int, report: Callable[[str], None]) -> None:
    for problem in problems[:SHOWN_PROBLEMS]:
        report(f"skipped {problem}")
    if len(problems) > SHOWN_PROBLEMS:
        report(f"skipped {len(problems) - SHOWN_PROBLEMS} more")
    words = {
        "size": "resized to the run's size",
        "gray": "turned from colour to the grayscale that the run was trained on",
        "colour": "grayscale, repeated over the three channels that the run was trained on",
    }
    for what, count in changed.items():
        if count:
            report(f"{count} of {files} images: {words[what]}")


class Exported(nn.Module):
    """What the exported file holds: preprocessing, network and softmax in one.

    `forward` takes uint8 images (N, 1 or 3, H, W) of any size and gives float32 probabilities (N, K) in the order of
    `classes`.
    """

    classes: list[str]
    channels: int
    image_size: int
    mean: Tensor
    std: Tensor
    luma: Tensor

    def __init__(self, network: nn.Module, classifier: Classifier) -> None:
        super().__init__()
        self.network = network
        self.classes = list(classifier.classes)
        self.channels = classifier.channels
        self.image_size = classifier.image_size
        for name, values in (("mean", classifier.mean), ("std", classifier.std)):
            self.register_buffer(name, torch.tensor(values).view(1, 3, 1, 1))
        self.register_buffer("luma", torch.tensor(LUMA).view(1, 3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        if images.dtype != torch.uint8 or images.dim() != 4 or images.size(1) not in (1, 3):
            raise ValueError("images: allowed is uint8 of shape (N, 1 or 3, height, width)")
        if self.channels == 1 and images.size(1) == 3:
            total = (images.to(torch.int64) * self.luma).sum(dim=1, keepdim=True)
            images = ((total + 32768) >> 16).to(torch.uint8)
        if images.size(2) != self.image_size or images.size(3) != self.image_size:
            images = nn.functional.interpolate(
                images, size=[self.image_size, self.image_size], mode="bilinear", antialias=True
            )
        x = images.expand(-1, 3, -1, -1).float() / 255
        return self.network((x - self.mean) / self.std).softmax(dim=1)


def export(run: Path, path: Path) -> dict[str, Any]:
    """Write the run's network as TorchScript, and compare the written file with this program's own predictions.

    TorchScript, because torch alone writes and reads it, in Python and C++, and a program in it may branch on the size
    and channels of an image. PyTorch calls it deprecated in favour of torch.export, whose programs may not; ONNX needs
    further packages.

    Args:
        run: folder of the run.
        path: of the file; appears only once it was checked.

    Returns:
        classes, image_size, channels, images (how many were compared), largest_difference (in probability).

    Raises:
        StudyError: the file does not give the same probabilities.
    """
    classifier = Classifier.load(run, torch.device("cpu"))
    size, channels = classifier.image_size, classifier.channels
    part = path.with_name(f".{path.name}.part")
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.filterwarnings("ignore", message=".*deprecated", category=FutureWarning)
        traced = torch.jit.trace(classifier.network, torch.zeros(2, 3, size, size))
        scripted = torch.jit.script(Exported(traced, classifier).eval())
        about = {"classes": list(classifier.classes), "image_size": size, "channels": channels, "run": run.parent.name}
        torch.jit.save(scripted, str(part), _extra_files={"about.json": json.dumps(about, ensure_ascii=False)})
        loaded = torch.jit.load(str(part))
        images = _images_to_compare(run, channels, size)
        own = classifier.probabilities(images)
        difference = float(np.abs(loaded(torch.from_numpy(images)).numpy() - own).max())
    if not difference <= TOLERANCE:
        part.unlink()
        raise StudyError(
            f"{path}: the exported network's probabilities differ from the run's own by {difference:.2g}, allowed is "
            f"{TOLERANCE:g}; nothing was written"
        )
    part.replace(path)
    return about | {"images": len(images), "largest_difference": difference}


def _images_to_compare(run: Path, channels: int, size: int) -> np.ndarray:
    """The study's packed test images where they are at hand, else random ones; uint8 (N, C, S, S)."""
    packed = run.parents[2] / "data/test.npy"
    if packed.is_file():
        images = np.load(packed, mmap_mode="r")[:BATCH]
        if images.shape[1:] == (channels, size, size):
            return np.array(images)
    return np.random.default_rng(0).integers(0, 256, (32, channels, size, size), dtype=np.uint8)
