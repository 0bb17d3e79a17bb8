"""In which order, and how often, an epoch takes the training images; the same for every recipe of a seed.

To add a sampler: its name in the schema (config/schemas/config.schema.yaml, `$defs.recipe`) and its function in
SAMPLERS.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from study.train.seeds import epoch_generator


def shuffle(labels: np.ndarray, progress: float, generator: torch.Generator) -> Tensor:
    """Every image once."""
    return torch.randperm(len(labels), generator=generator)


def balanced(labels: np.ndarray, progress: float, generator: torch.Generator) -> Tensor:
    """N draws with replacement in which every class is equally likely: an image's weight is 1 / its class's count."""
    return _drawn(1 / np.bincount(labels)[labels], generator)


def square_root(labels: np.ndarray, progress: float, generator: torch.Generator) -> Tensor:
    """N draws with replacement, a class's probability in proportion to √n_c.

    Kang et al. 2020 (arXiv:1910.09217), equation 1 with q = 1/2.
    """
    return _drawn(1 / np.sqrt(np.bincount(labels)[labels]), generator)


def progressive(labels: np.ndarray, progress: float, generator: torch.Generator) -> Tensor:
    """N draws with replacement, a class's probability (1 − t/T) n_c/N + t/T · 1/K: Kang et al. 2020, equation 2.

    So images are equally likely in the first epoch, as they come without a sampler, and classes in the last.
    """
    counts = np.bincount(labels)
    by_class = 1 / (np.count_nonzero(counts) * counts[labels])
    return _drawn((1 - progress) / len(labels) + progress * by_class, generator)


def _drawn(weights: np.ndarray, generator: torch.Generator) -> Tensor:
    return torch.multinomial(torch.from_numpy(weights), len(weights), replacement=True, generator=generator)


# From the class of each image, int (N,), how far the run is, 0 in its first and 1 in its last epoch, and a generator on
# the CPU, to indices of images, int64.
SAMPLERS: dict[str, Callable[[np.ndarray, float, torch.Generator], Tensor]] = {
    "shuffle": shuffle,
    "balanced": balanced,
    "square_root": square_root,
    "progressive": progressive,
}


def draw_order(labels: np.ndarray, sampler: str, seed: int, epoch: int, max_epochs: int) -> Tensor:
    """Indices of the images in the order of one epoch, int64 (N,) on the CPU.

    Args:
        labels: int (N,) class of each image.
        sampler: a key of SAMPLERS.
        max_epochs: that the run has if nothing stops it earlier.
    """
    progress = (epoch - 1) / max(max_epochs - 1, 1)
    return SAMPLERS[sampler](labels, progress, epoch_generator(seed, epoch, "order"))
