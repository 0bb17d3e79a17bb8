"""Export a trained run as one TorchScript file that needs none of this code.

Entry point:
    export(run, path) -> dict                              TorchScript with classes and preprocessing inside
"""

import argparse
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from study.commands.configuration import planned_study
from study.commands.trained_run import Classifier, add_run_arguments, find_run
from study.data.packed import middle
from study.errors import StudyError
from study.evaluate.views import VIEWS
from study.paths import RunPaths
from study.recipe import Recipe

COMPARED = 256  # images at most
# How far the exported network may lie from this program's own, in probability: rounding of a fused operation.
LARGEST_DIFFERENCE = 1e-4
# Weights of R, G and B in 65536ths and half a step, as Pillow's conversion to "L" (ITU-R 601-2) rounds.
LUMA = (19595, 38470, 7471)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    add_run_arguments(parser)
    parser.add_argument("--out", type=Path, help="file to write (default: <experiment>.pt)")


def run(arguments: argparse.Namespace) -> None:
    """Do what the command is for."""
    study = planned_study(arguments.study)
    trained = find_run(study, arguments.run)
    out = arguments.out or Path(f"{trained.experiment}.pt")
    about = export(trained, out, study.recipes.get(trained.experiment))
    print(
        f"{out}: {trained.experiment}, seed {trained.seed}, {len(about['classes'])} classes; on {about['images']} "
        f"images within {about['largest_difference']:.1g} of the run's own probabilities"
    )


class Exported(nn.Module):
    """What the exported file holds: preprocessing, network, softmax and what comes after it in one.

    `forward` takes uint8 images (N, 1 or 3, H, W) of any size and gives float32 probabilities (N, K) in the order of
    `classes`. It is compiled, so it cannot call `Classifier.probabilities`; `export` compares the two.
    """

    classes: list[str]
    channels: int
    image_size: int
    stored_size: int
    keep_aspect: bool
    mean: Tensor
    std: Tensor
    luma: Tensor
    crops: bool
    mirrored: bool
    scale: float
    offset: Tensor

    def __init__(self, network: nn.Module, classifier: Classifier) -> None:
        super().__init__()
        self.network = network
        self.classes = list(classifier.classes)
        self.channels = classifier.channels
        self.image_size = classifier.image_size
        self.stored_size = classifier.stored_side
        self.keep_aspect = classifier.keep_aspect
        for name, values in (("mean", classifier.mean), ("std", classifier.std)):
            self.register_buffer(name, torch.tensor(values).view(1, 3, 1, 1))
        self.crops = VIEWS[classifier.tta].crops
        self.mirrored = classifier.tta in ("hflip", "ten_crop")
        adjustment = classifier.adjustment
        self.scale = adjustment.scale if adjustment else 1.0
        offset = list(adjustment.offset.values()) if adjustment else [0.0] * len(classifier.classes)
        self.register_buffer("offset", torch.tensor(offset))
        self.register_buffer("luma", torch.tensor(LUMA).view(1, 3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        if images.dtype != torch.uint8 or images.dim() != 4 or images.size(1) not in (1, 3):
            raise ValueError("images: allowed is uint8 of shape (N, 1 or 3, height, width)")
        if self.channels == 1 and images.size(1) == 3:
            total = (images.to(torch.int64) * self.luma).sum(dim=1, keepdim=True)
            images = ((total + 32768) >> 16).to(torch.uint8)
        height, width = self.stored_size, self.stored_size
        if self.keep_aspect:
            shorter = min(images.size(2), images.size(3))
            height, width = int(height * images.size(2) / shorter), int(width * images.size(3) / shorter)
        if images.size(2) != height or images.size(3) != width:
            images = nn.functional.interpolate(images, size=[height, width], mode="bilinear", antialias=True)
        images = self.middle(images, self.stored_size)
        x = images.expand(-1, 3, -1, -1).float() / 255
        views = self.views((x - self.mean) / self.std)
        # Up to a constant, which the last softmax takes out.
        log_p = torch.stack([self.network(view).log_softmax(dim=1) for view in views]).logsumexp(dim=0)
        return (self.scale * log_p + self.offset).softmax(dim=1)

    def views(self, x: Tensor) -> list[Tensor]:
        side = self.image_size
        if not self.crops:
            x = self.middle(x, side)
        last = self.stored_size - side
        cut: list[Tensor] = []
        for y in [x, x.flip(3)] if self.mirrored else [x]:
            cut.append(self.middle(y, side))
            if self.crops:
                cut += [y[:, :, :side, :side], y[:, :, :side, last:], y[:, :, last:, :side], y[:, :, last:, last:]]
        return cut

    def middle(self, images: Tensor, side: int) -> Tensor:
        # in TorchScript `round` gives a float
        top, left = int(round((images.size(2) - side) / 2)), int(round((images.size(3) - side) / 2))  # noqa: RUF046
        return images[:, :, top : top + side, left : left + side]


def export(run: RunPaths, path: Path, recipe: Recipe | None = None) -> dict[str, Any]:
    """Write the run's network as TorchScript, and compare the written file with this program's own predictions.

    TorchScript, because torch alone writes and reads it, in Python and C++, and a program in it may branch on the size
    and channels of an image. PyTorch calls it deprecated in favour of torch.export, whose programs may not; ONNX needs
    further packages.

    Args:
        run: the trained run.
        path: of the file; appears only once it was checked.
        recipe: of the run; None where it is not in the table any more.

    Returns:
        classes, image_size, channels, images (how many were compared), largest_difference (in probability).

    Raises:
        StudyError: the file does not give the same probabilities.
    """
    classifier = Classifier.of(run, recipe, torch.device("cpu"))
    size, channels = classifier.image_size, classifier.channels
    part = path.with_name(f".{path.name}.part")
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.filterwarnings("ignore", message=".*deprecated", category=FutureWarning)
        traced = torch.jit.trace(classifier.network, torch.zeros(2, 3, size, size))
        scripted = torch.jit.script(Exported(traced, classifier).eval())
        about = {"classes": list(classifier.classes), "image_size": size, "channels": channels, "run": run.experiment}
        torch.jit.save(scripted, str(part), _extra_files={"about.json": json.dumps(about, ensure_ascii=False)})
        loaded = torch.jit.load(str(part))
        images = _images_to_compare(run, channels, classifier.stored_side)
        own = classifier.probabilities(middle(images, classifier.seen_side))
        difference = float(np.abs(loaded(torch.from_numpy(images)).numpy() - own).max())
    if not difference <= LARGEST_DIFFERENCE:
        part.unlink()
        raise StudyError(
            f"{path}: the exported network's probabilities differ from the run's own by {difference:.2g}, allowed is "
            f"{LARGEST_DIFFERENCE:g}; nothing was written"
        )
    part.replace(path)
    return about | {"images": len(images), "largest_difference": difference}


def _images_to_compare(run: RunPaths, channels: int, size: int) -> np.ndarray:
    """The study's packed test images where they are at hand, else random ones; uint8 (N, C, S, S)."""
    packed = run.results / "data/test.npy"
    if packed.is_file():
        images = np.load(packed, mmap_mode="r")[:COMPARED]
        if images.shape[1:] == (channels, size, size):
            return np.array(images)
    return np.random.default_rng(0).integers(0, 256, (32, channels, size, size), dtype=np.uint8)
