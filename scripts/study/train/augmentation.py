"""Batched augmentation: drawn on the CPU, done on the device.

What happens to the images of an epoch is drawn from a generator seeded with (seed, epoch), by position in the epoch:
the same for every recipe of a seed, on every device, at every batch size.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor
from torch.nn import functional

from study.train.crops import crop, draw_crops, draw_resized_crops
from study.train.draws import Rows
from study.train.mixing import Mixes, draw_mixing, inside
from study.train.operations import (
    Operations,
    draw_grayscale,
    draw_jitter,
    draw_policy,
    one_after_the_other,
    operate,
)
from study.train.seeds import epoch_generator

# Share of the area and ratio of the sides that random erasing draws from, as in torchvision (Zhong et al. 2020).
ERASED_AREA = (0.02, 0.33)
ERASED_RATIO = (0.3, 3.3)


@dataclass(frozen=True)
class Augmentation:
    """Random changes of the training images; all zero means none.

    Attributes:
        horizontal_flip, vertical_flip: probability of each flip.
        shift: largest shift along each axis, as a fraction of the side.
        rotation: largest rotation in degrees, either way.
        random_resized_crop: least and largest share of the area that is cut out and resized; None for no such crop.
        crop_ratio: least and largest width over height of it.
        random_crop: whether a square of the network's size is cut out of the stored image anywhere, not in the middle.
        crop_padding: black pixels around the image that such a square may reach into; above 0 it does so by itself.
        erasing: probability that a random rectangle is replaced by the mean colour.
        auto_augment: policy that operations are drawn by, "ta_wide" or "ra"; "none" for none.
        ra_num_ops, ra_magnitude: operations for each image of "ra", and their bin of 31.
        color_jitter: ranges of brightness, contrast, saturation and, if there are four, hue; None for none.
        grayscale: probability that an image loses its colour.
        mixup_alpha, cutmix_alpha: of the Beta distribution that shares of mixed images are drawn from.
    """

    horizontal_flip: float = 0.0
    vertical_flip: float = 0.0
    shift: float = 0.0
    rotation: float = 0.0
    erasing: float = 0.0
    random_resized_crop: Sequence[float] | None = None
    crop_ratio: Sequence[float] = (0.75, 1.3333)
    random_crop: bool = False
    crop_padding: int = 0
    auto_augment: str = "none"
    ra_num_ops: int = 2
    ra_magnitude: int = 9
    color_jitter: Sequence[float] | None = None
    grayscale: float = 0.0
    mixup_alpha: float = 0.0
    cutmix_alpha: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            if isinstance(value := getattr(self, field.name), list):
                object.__setattr__(self, field.name, tuple(value))

    @property
    def crops(self) -> bool:
        """Whether the images are cut out of the stored ones at random."""
        return bool(self.random_resized_crop or self.random_crop or self.crop_padding)


@dataclass(frozen=True)
class Draws(Rows):
    """The random part of the augmentation for N images in a row; None where an augmentation is off.

    Attributes:
        horizontal, vertical: bool (N,), flip or not.
        affine: float32 (N, 2, 3), from output to input coordinates, as `affine_grid` takes it.
        erased: int64 (N, 4), first and last + 1 of the erased rows, then of the columns; empty if none.
        mixes: what `mixing.mix` does.
        boxes: float32 (N, 4), what `crops.crop` cuts out.
        operations: what `operations.operate` does.
    """

    horizontal: Tensor | None
    vertical: Tensor | None
    affine: Tensor | None
    erased: Tensor | None
    mixes: Mixes | None = None
    boxes: Tensor | None = None
    operations: Operations | None = None


def draw_augmentation(
    augmentation: Augmentation, count: int, side: int, seed: int, epoch: int, stored: int | None = None
) -> Draws | None:
    """The draws for one epoch of `count` images of `side` pixels; None if nothing is to be done.

    Args:
        stored: side of the images that crops are cut out of; None if it is the same.
    """
    if augmentation == Augmentation():
        return None
    generator = epoch_generator(seed, epoch, "augmentation")
    uniform = torch.rand(10, count, generator=generator)  # all of them always: one switch does not move the others
    a = augmentation
    return Draws(
        horizontal=uniform[0] < a.horizontal_flip if a.horizontal_flip else None,
        vertical=uniform[1] < a.vertical_flip if a.vertical_flip else None,
        affine=_affine(a, *(2 * uniform[2:5] - 1)) if a.shift or a.rotation else None,
        erased=_rectangles(a.erasing, side, *uniform[5:10]) if a.erasing else None,
        mixes=draw_mixing(a.mixup_alpha, a.cutmix_alpha, count, side, seed, epoch),
        boxes=_boxes(a, count, side, stored or side, seed, epoch),
        operations=_operations(a, count, side, seed, epoch),
    )


def _boxes(augmentation: Augmentation, count: int, side: int, stored: int, seed: int, epoch: int) -> Tensor | None:
    if augmentation.random_resized_crop:
        scale, ratio = augmentation.random_resized_crop, augmentation.crop_ratio
        return draw_resized_crops(scale, ratio, count, stored, seed, epoch)
    return draw_crops(augmentation.crop_padding, count, stored, side, seed, epoch) if augmentation.crops else None


def _operations(augmentation: Augmentation, count: int, side: int, seed: int, epoch: int) -> Operations | None:
    a, parts = augmentation, []
    if a.auto_augment != "none":
        steps, magnitude = (a.ra_num_ops, a.ra_magnitude) if a.auto_augment == "ra" else (1, None)
        parts.append(draw_policy(a.auto_augment, side, count, steps, magnitude, seed, epoch))
    if a.color_jitter and any(a.color_jitter):
        parts.append(draw_jitter(a.color_jitter, count, seed, epoch))
    if a.grayscale:
        parts.append(draw_grayscale(a.grayscale, count, seed, epoch))
    return one_after_the_other(parts)


def _affine(augmentation: Augmentation, angle: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Matrices from draws between −1 and 1. Coordinates run from −1 to 1, so a shift by the whole side is 2."""
    radians = angle * math.radians(augmentation.rotation)
    cos, sin = radians.cos(), radians.sin()
    x, y = 2 * augmentation.shift * x, 2 * augmentation.shift * y
    return torch.stack([torch.stack([cos, -sin, x], 1), torch.stack([sin, cos, y], 1)], 1)


def _rectangles(
    probability: float, side: int, chosen: Tensor, area: Tensor, ratio: Tensor, y: Tensor, x: Tensor
) -> Tensor:
    """Rectangles from draws between 0 and 1; a side longer than the image is cut to it."""
    area = (ERASED_AREA[0] + (ERASED_AREA[1] - ERASED_AREA[0]) * area) * side**2
    low, high = map(math.log, ERASED_RATIO)
    ratio = (low + (high - low) * ratio).exp()
    height = (area * ratio).sqrt().round().clamp(1, side) * (chosen < probability)
    width = (area / ratio).sqrt().round().clamp(1, side)
    top, left = (y * (side - height + 1)).floor(), (x * (side - width + 1)).floor()
    return torch.stack([top, top + height, left, left + width], 1).long()


def augment(images: Tensor, draws: Draws, side: int | None = None) -> Tensor:
    """Crop, flip, shift and rotate a batch, then its operations; erasing waits until colours are normalised.

    Args:
        images: uint8 (B, C, S, S)
        draws: of the same B images.
        side: of the crops; None for S.

    Returns:
        uint8 or, after a crop, shift or rotation, float32 of the same range, (B, C, side, side). What shift and
        rotation move in from outside repeats the border.
    """
    if draws.boxes is not None:
        images = crop(images, draws.boxes, side or images.shape[-1])
    if draws.horizontal is not None:
        images = torch.where(draws.horizontal[:, None, None, None], images.flip(3), images)
    if draws.vertical is not None:
        images = torch.where(draws.vertical[:, None, None, None], images.flip(2), images)
    if draws.affine is not None:
        grid = functional.affine_grid(draws.affine, list(images.shape), align_corners=False)
        images = functional.grid_sample(images.float(), grid, padding_mode="border", align_corners=False)
    if draws.operations is not None:
        images = operate(images, draws.operations)
    return images


def erase(images: Tensor, rectangles: Tensor) -> Tensor:
    """Set a rectangle of each normalised image to 0, the mean colour: (B, C, S, S) and int64 (B, 4)."""
    return images.masked_fill(inside(rectangles, images.shape[-1])[:, None], 0)
