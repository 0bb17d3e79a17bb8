"""Training steps on a split that is read from its file, beside the same steps on one that is in memory.

Entry points:
    reading(folder, images, side, steps, rounds)           images per second, by where the images are
"""

import os
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import contenders
from study.train.batches import Images, Normalize, training_batches
from study.train.learner import Learner, train_epoch

CLASSES = 100
BATCH_SIZE = 64
WIDTH = 0.25  # of the network: the fewer sums an image takes, the more of its time is reading
ROWS_AT_ONCE = 1024


def reading(folder: Path, images: int, side: int, steps: int, rounds: int) -> dict[str, Any]:
    """Time training steps on images drawn at random from all of a split, in turn from memory and from its file.

    "cached": the file's pages are in the kernel's cache. "cold": they were dropped from it (posix_fadvise) before the
    steps, so that every image comes from the disk, as it does where the split is larger than memory.

    Args:
        folder: where the file of `images` random images uint8 (3, side, side) is made.

    Returns:
        images, bytes of the file, steps, rates {"resident" | "cached" | "cold": images/s of each round} and the medians
        of their ratios to the resident rate of the same round, "cached_over_resident" and "cold_over_resident".
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
    rates: dict[str, list[float]] = {"resident": [], "cached": [], "cold": []}
    for _ in range(rounds):
        rates["resident"].append(rate(resident))
        rates["cold"].append(mapped(cold=True))
        np.load(file)  # into the cache
        rates["cached"].append(mapped(cold=False))
        print(", ".join(f"{name} {found[-1]:,.0f} images/s" for name, found in rates.items()), flush=True)
    ratios = {
        f"{name}_over_resident": statistics.median(a / b for a, b in zip(rates[name], rates["resident"], strict=True))
        for name in ("cached", "cold")
    }
    return {"images": images, "bytes": file.stat().st_size, "steps": steps, "rates": rates, **ratios}


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
