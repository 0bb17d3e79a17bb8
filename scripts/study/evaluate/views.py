"""Test-time augmentation: what the network sees of each image, and the mean of what it says.

Probabilities are averaged, after the softmax: the mean of the logits would be a geometric mean of them. It is done with
their logarithms, so that a small one does not become zero. Entry points:
    VIEWS                                                  the views of a batch of images, by the name of the setting
    log_mean_probabilities(network, views) -> Tensor       ln of the mean over them
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True)
class Views:
    """The views of an image.

    Attributes:
        of: the views, each (N, 3, S, S), of float images (N, 3, T, T) for S.
        crops: whether they are cut out of the stored images, T > S; else of the middle of these, T = S.
    """

    of: Callable[[Tensor, int], Sequence[Tensor]]
    crops: bool = False


def _as_it_is(images: Tensor, side: int) -> Sequence[Tensor]:
    return (images,)


def _hflip(images: Tensor, side: int) -> Sequence[Tensor]:
    return images, images.flip(-1)


def _five_crop(images: Tensor, side: int) -> Sequence[Tensor]:
    from torchvision.transforms.v2 import functional  # loads the compiler, which takes seconds

    return tuple(functional.five_crop(images, [side, side]))


def _ten_crop(images: Tensor, side: int) -> Sequence[Tensor]:
    from torchvision.transforms.v2 import functional

    return tuple(functional.ten_crop(images, [side, side]))


VIEWS = {
    "none": Views(_as_it_is),
    "hflip": Views(_hflip),
    "five_crop": Views(_five_crop, crops=True),
    "ten_crop": Views(_ten_crop, crops=True),
}


def log_mean_probabilities(network: nn.Module, views: Sequence[Tensor]) -> Tensor:
    """float32 (N, K): natural logarithm of the mean of the softmax over the views of each image.

    Source: Krizhevsky, Sutskever & Hinton 2012, ImageNet Classification with Deep Convolutional Neural Networks,
    section 4.1, who average the softmax over ten crops.
    """
    log_p = [functional.log_softmax(network(view).float(), dim=1) for view in views]
    return log_p[0] if len(log_p) == 1 else torch.stack(log_p).logsumexp(dim=0) - math.log(len(log_p))
