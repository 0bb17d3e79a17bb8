"""A training small enough for a test: which quadrant of an image is bright. Runs as a program, too, to be killed."""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from study.data.packed import PackedData, middle
from study.recipe import Recipe, column_named
from study.train.loop import TrainingResult, TrainingSettings, train, write_outputs
from study.train.models import ModelSettings

CLASSES = ("left", "right", "top")
SIZES = {"train": 60, "val": 30, "test": 30}

RECIPE = Recipe.of(
    experiment="small",
    case=1,
    optimizer="Adam",
    lr=0.003,
    min_lr=1e-8,
    batch_size=16,
    max_epochs=6,
    loss="cross_entropy",
    activation="logits",
    sampler="shuffle",
    name="vgg11",
    width=0.0625,
    head_hidden=16,
    vertical_flip=0.5,
    shift=0.05,
    rotation=5,
    erasing=0.2,
    precision="fp32",
)
MODEL = ModelSettings.of(RECIPE)
NO_AUGMENTATION = {"vertical_flip": 0.0, "shift": 0.0, "rotation": 0.0, "erasing": 0.0}
SETTINGS = TrainingSettings(max_epochs=None, device="cpu", deterministic=True)


def small_data(channels: int = 1, sizes: dict[str, int] = SIZES) -> PackedData:
    """Noise with a bright half or quarter that tells the class; the classes take turns."""
    generator = np.random.default_rng(1)
    images, labels, ids = {}, {}, {}
    for split, count in sizes.items():
        pixels = generator.integers(0, 60, (count, channels, 32, 32), dtype=np.uint8)
        classes = np.arange(count, dtype=np.int64) % len(CLASSES)
        pixels[classes == 0, :, 8:24, :12] += 150
        pixels[classes == 1, :, 8:24, 20:] += 150
        pixels[classes == 2, :, 14:18, :] += 150
        images[split], labels[split] = pixels, classes
        ids[split] = [f"{split}_{i}" for i in range(count)]
    return PackedData(classes=CLASSES, images=images, labels=labels, image_ids=ids, digest="small")


def stored_larger(data: PackedData, side: int = 40, keep_aspect: bool = False) -> PackedData:
    """The same images as the middle of stored ones of `side` pixels, which are black around them."""
    around = (side - 32) // 2
    stored = {
        split: np.pad(images, [(0, 0), (0, 0), (around, around), (around, around)])
        for split, images in data.images.items()
    }
    seen = {split: middle(images, 32) for split, images in stored.items()}
    return replace(data, images=seen, stored=stored, keep_aspect=keep_aspect)


def small_train(
    recipe: Recipe = RECIPE,
    *,
    data: PackedData | None = None,
    settings: TrainingSettings = SETTINGS,
    report: Callable[[str], None] = lambda line: None,
    **changes: Any,
) -> TrainingResult:
    """`train` with everything small; `changes` replace its arguments, settings, or columns of the recipe."""
    torch.set_num_threads(1)
    arguments: dict[str, Any] = {
        "seed": 3,
        "class_weights": None,
        "initial_weights": None,
        "checkpoint_dir": None,
        "checkpoint_every": 1,
        "run_key": "key",
        "tensorboard_dir": None,
        "keep_last": False,
    }
    others = [name for name in changes if name not in arguments]
    columns = {name: changes.pop(name) for name in others if column_named(name)}
    shared = {name: changes.pop(name) for name in others if hasattr(settings, name)}
    recipe, settings = recipe.but(**columns), replace(settings, **shared)
    return train(recipe, data=data or small_data(), settings=settings, report=report, **{**arguments, **changes})


def write(result: TrainingResult, folder: Path) -> dict[str, Any]:
    """Write the outputs to a folder; the content of run.json."""
    write_outputs(result, folder / "history.csv", folder / "best.safetensors", folder / "run.json", {"code": "c"})
    return json.loads((folder / "run.json").read_text())


if __name__ == "__main__":
    out = Path(sys.argv[1])
    finished = small_train(
        RECIPE.but(max_epochs=int(sys.argv[2])),
        checkpoint_dir=out / "checkpoints",
        checkpoint_every=int(sys.argv[3]),
        report=lambda line: print(line, flush=True),
    )
    write(finished, out)
