"""Training steps on a split that is read from its file, beside the same steps on one that is in memory.

    python -m benchmarks.scale_reading --name scale-reading
    python -m benchmarks.scale_images --page                   # docs/SCALE.md, with it

Entry points:
    reading(folder, images, side, steps, rounds)           images per second, by where the images are
    beside(rates, name) -> [float]                         each over those from memory before and after
"""

import argparse
import os
import shlex
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import contenders
from benchmarks.record import origin, write_record
from study.provenance import processor
from study.train.batches import Images, Normalize, training_batches
from study.train.learner import Learner, train_epoch

CLASSES = 100
BATCH_SIZE = 64
WIDTH = 0.25  # of the network: the fewer sums an image takes, the more of its time is reading
ROWS_AT_ONCE = 1024


def reading(folder: Path, images: int, side: int, steps: int, rounds: int) -> dict[str, Any]:
    """Time training steps on images drawn at random from all of a split, in turn from memory and from its file.

    "cached": the file's pages are in the kernel's cache. "cold": they were dropped from it (posix_fadvise) before the
    steps, so that every image comes from the disk, as it does where the split is larger than memory. Before and after
    each of them the images come from memory ("resident"), so that a machine that gets slower or faster shows.

    Args:
        folder: where the file of `images` random images uint8 (3, side, side) is made.

    Returns:
        images, bytes of the file, steps, and rates {"cold" | "cached": [(before, itself, after) of each round]} in
        images/s.
    """
    file = folder / "reading.npy"
    _write(file, images, side)
    labels = np.random.default_rng(1).integers(0, CLASSES, images)
    device = torch.device("cpu")
    task = contenders.Task(None, "", "cpu", WIDTH, BATCH_SIZE, images, 1, 0, None)
    learner = Learner(
        contenders.recipe(BATCH_SIZE), contenders.settings(), contenders.network(task, CLASSES, side), None, device
    )
    normalize = Normalize(device)
    resident = Images.load(np.load(file), labels, device, resident=True)
    generator = torch.Generator().manual_seed(0)

    def rate(split: Images) -> float:
        order = torch.randperm(images, generator=generator)[: steps * BATCH_SIZE]
        start = contenders.now(device)
        train_epoch(learner, training_batches(split, order, None, BATCH_SIZE, normalize))
        return len(order) / (contenders.now(device) - start)

    def mapped(cold: bool) -> float:
        if cold:
            _drop_from_cache(file)  # before it is mapped: what a process has mapped stays
        return rate(Images.load(np.load(file, mmap_mode="r"), labels, device, resident=False))

    rate(resident)
    rates: dict[str, list[tuple[float, float, float]]] = {"cold": [], "cached": []}
    for _ in range(rounds):
        for name in rates:
            before = rate(resident)
            if name == "cached":
                np.load(file)  # into the cache
            rates[name].append((before, mapped(cold=name == "cold"), rate(resident)))
        print(", ".join(f"{name} {beside(rates, name)[-1]:.2f}" for name in rates), flush=True)
    return {"images": images, "bytes": file.stat().st_size, "steps": steps, "rates": rates}


def beside(rates: Mapping[str, Sequence[Sequence[float]]], name: str) -> list[float]:
    """Each round's rate over the mean of those from memory before and after it."""
    return [2 * itself / (before + after) for before, itself, after in rates[name]]


def _write(file: Path, images: int, side: int) -> None:
    """Random images on the disk, not in memory only."""
    rng = np.random.default_rng(0)
    array = np.lib.format.open_memmap(file, mode="w+", dtype=np.uint8, shape=(images, 3, side, side))
    for start in range(0, images, ROWS_AT_ONCE):
        part = array[start : start + ROWS_AT_ONCE]
        part[:] = rng.integers(0, 256, part.shape, dtype=np.uint8)
    array.flush()


def _drop_from_cache(file: Path) -> None:
    with file.open("rb") as opened:
        os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def main() -> None:
    """Measure and write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=60_000, help="of the split")
    parser.add_argument("--side", type=int, default=64, help="pixels")
    parser.add_argument("--steps", type=int, default=10, help="of training at a time")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--folder", type=Path, help="where the split's file goes; a temporary one without it")
    parser.add_argument("--name", help="of the record in benchmarks/results/; nothing is written without it")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as temporary:
        measured = reading(Path(temporary), given.images, given.side, given.steps, given.rounds)
    command = shlex.join(["python", "-m", "benchmarks.scale_reading", *sys.argv[1:]])
    write_record(
        given.name,
        {
            "kind": "scale-reading",
            "name": given.name,
            "device": processor(),
            "command": command,
            **origin(),
            **measured,
        },
    )


if __name__ == "__main__":
    main()
