"""Export a trained run as one file that needs none of this code: ONNX, or a program of torch.export.

Entry points:
    export(run, path) -> dict                              the file, checked, with classes and preprocessing inside
    FORMS                                                  the forms, by the suffix of the file
"""

import argparse
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from study.commands.configuration import planned_study
from study.commands.trained_run import Classifier, add_run_arguments, find_run
from study.data.packed import middle
from study.errors import StudyError
from study.files import read_json
from study.paths import RunPaths
from study.recipe import Recipe

COMPARED = 256  # images at most
# How far the exported network may lie from this program's own, in probability: rounding of a fused operation.
LARGEST_DIFFERENCE = 1e-4
# Weights of R, G and B in 65536ths, as Pillow's conversion to "L" (ITU-R 601-2) has them.
LUMA = (19595, 38470, 7471)
OPSET = 18  # of ONNX: the first whose Resize averages when it shrinks
ONNX_BYTES = 2**31 - 2**24  # of weights at most, as a message of protobuf has 2 GiB, and some are for the rest
USE = "uint8 images (N, 1 or 3, height, width) in, float32 probabilities (N, K) in the order of `classes` out"
TERMS = (
    "The weights derive from the training images and, where `recipe` names any, from initial weights; the terms of "
    "these apply. The license of the program that wrote this file (MIT) covers its own code alone."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    add_run_arguments(parser)
    parser.add_argument(
        "--out", type=Path, help="file to write, name.onnx or name.pt2 (torch.export); default: <experiment>.onnx"
    )


def run(arguments: argparse.Namespace) -> None:
    """Do what the command is for."""
    study = planned_study(arguments.study)
    trained = find_run(study, arguments.run)
    out = arguments.out or Path(f"{trained.experiment}.onnx")
    about = export(trained, out, study.recipes.get(trained.experiment))
    print(
        f"{out}: {trained.experiment}, seed {trained.seed}, {len(about['classes'])} classes; on {about['images']} "
        f"images within {about['largest_difference']:.1g} of the run's own probabilities"
    )


class Exported(nn.Module):
    """What the exported file holds: preprocessing, network, softmax and what comes after it in one.

    `forward` takes uint8 images (N, 1 or 3, H, W) of any size and gives float32 probabilities (N, K) in the order of
    the classes. It is traced with symbols for N, the channels, H and W, so it must not branch on these.
    """

    luma: Tensor
    offset: Tensor

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.network = classifier.network  # so that its weights are found
        self.classifier = classifier
        adjustment = classifier.adjustment
        self.scale = adjustment.scale if adjustment else 1.0
        offset = list(adjustment.offset.values()) if adjustment else [0.0] * len(classifier.classes)
        self.register_buffer("offset", torch.tensor(offset))
        self.register_buffer("luma", torch.tensor(LUMA, dtype=torch.float32).view(1, 3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Of pictures as they come."""
        side = self.classifier.stored_side
        images = _three_channels(images)
        if self.classifier.channels == 1:  # rounded as Pillow does; float32 holds these numbers exactly
            total = (images.float() * self.luma).sum(dim=1, keepdim=True)
            images = ((total + 32768) / 65536).floor().to(torch.uint8)
        size: list[Any] = [side, side]  # or symbols
        if self.classifier.keep_aspect:
            shorter = torch.sym_min(images.size(2), images.size(3))
            size = [side * length // shorter for length in images.shape[2:]]
        images = nn.functional.interpolate(images, size=size, mode="bilinear", antialias=True)
        seen = _middle(_middle(images, side), self.classifier.seen_side)
        log_p = self.classifier.log_probabilities(seen)
        return (self.scale * log_p + self.offset).softmax(dim=1)


def _three_channels(images: Tensor) -> Tensor:
    """(N, 3, H, W) of one channel or three; of any other number an index is out of range, which is an error."""
    return images.index_select(1, torch.arange(3) * (images.size(1) // 2) ** 2)


def _middle(images: Tensor, side: int) -> Tensor:
    """(N, C, side, side), where `study.data.packed.middle` has it, of images whose size may be a symbol."""
    for dimension in (2, 3):
        beyond = images.size(dimension) - side
        start = (beyond + beyond // 2 % 2) // 2  # the half, rounded to even as `round` does
        images = images.index_select(dimension, start + torch.arange(side))
    return images


@dataclass(frozen=True)
class Form:
    """A form of the exported file.

    Attributes:
        write: writes the program, and what is said about it, to a path.
        read: from the path of such a file to a function from uint8 images to probabilities.
    """

    write: Callable[[ExportedProgram, Mapping[str, Any], Path], None]
    read: Callable[[Path], Callable[[np.ndarray], np.ndarray]]


def _write_onnx(program: ExportedProgram, about: Mapping[str, Any], path: Path) -> None:
    """One file with the weights inside; what is said about it is its metadata, JSON where it is no text."""
    size = sum(tensor.nbytes for tensor in program.state_dict.values())
    if size > ONNX_BYTES:
        raise StudyError(
            f"{path}: the network has {size / 2**30:.1f} GiB of weights, allowed in one .onnx file are 2; name a file "
            "with .pt2 in place of it"
        )
    made = torch.onnx.export(
        program, input_names=["images"], output_names=["probabilities"], opset_version=OPSET, verbose=False
    )
    assert made is not None
    texts = {name: value if isinstance(value, str) else _json(value) for name, value in about.items()}
    made.model.metadata_props.clear()
    made.model.metadata_props.update(texts)
    made.model.doc_string = USE
    made.save(path, external_data=False)


def _read_onnx(path: Path) -> Callable[[np.ndarray], np.ndarray]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda images: session.run(["probabilities"], {"images": images})[0]


def _write_pt2(program: ExportedProgram, about: Mapping[str, Any], path: Path) -> None:
    """A file of `torch.export.save`; what is said about it is in its extra file about.json."""
    torch.export.save(program, path, extra_files={"about.json": _json(about)})


def _read_pt2(path: Path) -> Callable[[np.ndarray], np.ndarray]:
    network = torch.export.load(path).module()
    return lambda images: network(torch.from_numpy(images)).numpy()


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


FORMS = {".onnx": Form(_write_onnx, _read_onnx), ".pt2": Form(_write_pt2, _read_pt2)}


@torch.no_grad()
def export(run: RunPaths, path: Path, recipe: Recipe | None = None) -> dict[str, Any]:
    """Write the run's network in the form of the path's suffix, and compare the file with this program's predictions.

    Both forms hold the same, and take batches and pictures of any size. ONNX is read by programs that know nothing of
    PyTorch; a .pt2 is read by PyTorch alone, goes on as its code, and may have more than 2 GiB of weights.

    Args:
        run: the trained run.
        path: of the file; appears only once it was checked.
        recipe: of the run; None where it is not in the table any more.

    Returns:
        What the file says about itself (see `_about`), and images (how many were compared), largest_difference (in
        probability).

    Raises:
        StudyError: a form that does not exist or does not hold this network, or a file that does not give the same
            probabilities.
    """
    form = FORMS.get(path.suffix)
    if form is None:
        raise StudyError(f"{path}: ends in '{path.suffix}', allowed is .onnx, or .pt2 for a program of torch.export")
    classifier = Classifier.of(run, recipe, torch.device("cpu"))
    about = _about(run, classifier, recipe)
    images = _images_to_compare(run, classifier.channels, classifier.stored_side)
    own = classifier.probabilities(middle(images, classifier.seen_side))
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.stem}.part{path.suffix}")
    try:
        form.write(_traced(classifier), about, part)
        answers = form.read(part)
        parts = (images, images[:1])  # one image alone, too
        difference = max(float(np.abs(answers(batch) - own[: len(batch)]).max()) for batch in parts)
        if not difference <= LARGEST_DIFFERENCE:
            raise StudyError(
                f"{path}: the exported network's probabilities differ from the run's own by {difference:.2g}, allowed "
                f"is {LARGEST_DIFFERENCE:g}; nothing was written"
            )
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return about | {"images": len(images), "largest_difference": difference}


def _traced(classifier: Classifier) -> ExportedProgram:
    """The program for any number of images of one channel or three and any size; it names no file of this machine."""
    side = classifier.stored_side
    example = torch.zeros(2, 3, 2 * side + 1, 2 * side + 2, dtype=torch.uint8)
    shape = (Dim("N", min=1), Dim("channels", min=1, max=3), Dim("height", min=1), Dim("width", min=1))
    program = torch.export.export(Exported(classifier).eval(), (example,), dynamic_shapes=(shape,))
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)
    return program


def _about(run: RunPaths, classifier: Classifier, recipe: Recipe | None) -> dict[str, Any]:
    """What an exported file says about itself.

    Returns:
        use, classes, channels and image_size of what the network sees, stored_size and keep_aspect of how it is made of
        a picture, tta, adjustment (None for none), study, experiment, seed, outcome, best_epoch, best_val_accuracy,
        recipe (column -> value), code and data (digests), git_commit, versions, sha256 of the run's weights, license.
    """
    record = read_json(run.run)
    made = record["provenance"]
    adjustment = classifier.adjustment
    return {
        "use": USE,
        "classes": list(classifier.classes),
        "channels": classifier.channels,
        "image_size": classifier.image_size,
        "stored_size": classifier.stored_side,
        "keep_aspect": classifier.keep_aspect,
        "tta": classifier.tta,
        "adjustment": asdict(adjustment) if adjustment else None,
        "study": run.results.name,
        "experiment": run.experiment,
        "seed": int(run.seed),
        **{name: record[name] for name in ("outcome", "best_epoch", "best_val_accuracy")},
        "recipe": record["recipe"] | (recipe.evaluation if recipe else {}),
        **{name: made.get(name) for name in ("code", "data", "git_commit", "versions")},
        "sha256": record["sha256"][run.weights.name],
        "license": TERMS,
    }


def _images_to_compare(run: RunPaths, channels: int, size: int) -> np.ndarray:
    """The study's packed test images where they are at hand, else random ones; uint8 (N, C, S, S)."""
    packed = run.results / "data/test.npy"
    if packed.is_file():
        images = np.load(packed, mmap_mode="r")[:COMPARED]
        if images.shape[1:] == (channels, size, size):
            return np.array(images)
    return np.random.default_rng(0).integers(0, 256, (32, channels, size, size), dtype=np.uint8)
