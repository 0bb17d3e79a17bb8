"""In which order, and how often, an epoch takes the training images; the same for every recipe of a seed."""

import numpy as np
import torch
from torch import Tensor

from study.train.seeds import epoch_generator


def draw_order(labels: np.ndarray, sampler: str, seed: int, epoch: int) -> Tensor:
    """Indices of the images in the order of one epoch, int64 (N,) on the CPU.

    Args:
        labels: int (N,) class of each image.
        sampler: "shuffle", every image once; "balanced", N draws with replacement in which every class is
            equally likely (each image weighted 1 / its class's count).
    """
    generator = epoch_generator(seed, epoch, "order")
    if sampler == "shuffle":
        return torch.randperm(len(labels), generator=generator)
    weights = 1 / np.bincount(labels)[labels]
    return torch.multinomial(torch.from_numpy(weights), len(labels), replacement=True, generator=generator)
