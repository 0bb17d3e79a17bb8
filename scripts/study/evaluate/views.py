"""Test-time augmentation: what the network sees of each image, and the mean of what it says.

Probabilities are averaged, after the softmax: the mean of the logits would be a geometric mean of them. Entry points:
    VIEWS                                                  the views of a batch of images, by the name of the setting
    mean_probabilities(network, views) -> Tensor           the mean over them
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torchvision.transforms.v2 import functional

from study.train.losses import probabilities

Views = Callable[[Tensor], Sequence[Tensor]]


def _as_it_is(images: Tensor) -> Sequence[Tensor]:
    return (images,)


def _hflip(images: Tensor) -> Sequence[Tensor]:
    return images, functional.horizontal_flip(images)


# Of float (N, 3, S, S), each view of the size that the network takes.
VIEWS: dict[str, Views] = {"none": _as_it_is, "hflip": _hflip}


def mean_probabilities(network: nn.Module, views: Sequence[Tensor]) -> Tensor:
    """float32 (N, K): the mean of the softmax over the views of each image.

    Source: Krizhevsky, Sutskever & Hinton 2012, ImageNet Classification with Deep Convolutional Neural Networks,
    section 4.1, who average the softmax over ten crops.
    """
    if len(views) == 1:
        return probabilities(network(views[0]))
    return torch.stack([probabilities(network(view)) for view in views]).mean(dim=0)
