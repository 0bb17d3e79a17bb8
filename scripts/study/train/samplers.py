"""In which order, and how often, an epoch takes the training images; the same for every recipe of a seed.

To add a sampler: its name in the schema (config/schemas/config.schema.yaml, `$defs.recipe`) and its function in
SAMPLERS.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from study.train.seeds import epoch_generator


def shuffle(labels: np.ndarray, generator: torch.Generator) -> Tensor:
    """Every image once."""
    return torch.randperm(len(labels), generator=generator)


def balanced(labels: np.ndarray, generator: torch.Generator) -> Tensor:
    """N draws with replacement in which every class is equally likely: an image's weight is 1 / its class's count."""
    weights = 1 / np.bincount(labels)[labels]
    return torch.multinomial(torch.from_numpy(weights), len(labels), replacement=True, generator=generator)


# From the class of each image, int (N,), and a generator on the CPU, to indices of images, int64.
SAMPLERS: dict[str, Callable[[np.ndarray, torch.Generator], Tensor]] = {"shuffle": shuffle, "balanced": balanced}


def draw_order(labels: np.ndarray, sampler: str, seed: int, epoch: int) -> Tensor:
    """Indices of the images in the order of one epoch, int64 (N,) on the CPU.

    Args:
        labels: int (N,) class of each image.
        sampler: a key of SAMPLERS.
    """
    return SAMPLERS[sampler](labels, epoch_generator(seed, epoch, "order"))
