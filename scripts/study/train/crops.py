"""Random crops of the training images, resampled to the side that the network sees."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from study.train.seeds import epoch_generator

TRIES = 10  # for a rectangle that fits, as in torchvision's RandomResizedCrop


def draw_resized_crops(
    scale: Sequence[float], ratio: Sequence[float], count: int, stored: int, seed: int, epoch: int
) -> Tensor:
    """Rectangles as torchvision's RandomResizedCrop draws them (Szegedy et al. 2015), as `crop` takes them.

    The share of the area is uniform in `scale`, the logarithm of width over height in that of `ratio`. If none of ten
    tries fits the image, it is the largest centred one with the nearest allowed ratio.

    Args:
        count: images of `stored` × `stored` pixels.
    """
    generator = epoch_generator(seed, epoch, "resized crop")
    area, shape = torch.rand(2, TRIES, count, generator=generator, dtype=torch.float64)
    y, x = torch.rand(2, count, generator=generator, dtype=torch.float64)
    low, high = map(math.log, ratio)
    area, shape = stored**2 * (scale[0] + (scale[1] - scale[0]) * area), (low + (high - low) * shape).exp()
    heights, widths = (area / shape).sqrt().round(), (area * shape).sqrt().round()
    fits = (heights >= 1) & (heights <= stored) & (widths >= 1) & (widths <= stored)
    first = fits.int().argmax(0, keepdim=True)
    height, width = heights.gather(0, first)[0], widths.gather(0, first)[0]
    top, left = (y * (stored - height + 1)).floor(), (x * (stored - width + 1)).floor()
    drawn = torch.stack([top, left, height, width], 1)
    tallest, widest = min(stored, round(stored / ratio[0])), min(stored, round(stored * ratio[1]))
    centred = [(stored - tallest) // 2, (stored - widest) // 2, tallest, widest]
    return torch.where(fits.any(0)[:, None], drawn, torch.tensor(centred, dtype=torch.float64)).float()


def draw_crops(padding: int, count: int, stored: int, side: int, seed: int, epoch: int) -> Tensor:
    """Squares of `side` pixels anywhere in images of `stored` pixels with a border of `padding`, as `crop` takes them.

    As torchvision's RandomCrop draws them.
    """
    generator = epoch_generator(seed, epoch, "crop")
    places = (torch.rand(count, 2, generator=generator) * (stored + 2 * padding - side + 1)).floor() - padding
    return torch.cat([places, torch.full((count, 2), float(side))], 1)


def crop(images: Tensor, boxes: Tensor, side: int) -> Tensor:
    """Cut a rectangle out of each image and resample it to a square, by the bilinear filter that averages when it
    shrinks, as torchvision's `resized_crop` with antialias does. What lies outside the image is 0, black.

    Args:
        images: (B, C, T, T) in 0 … 255.
        boxes: float32 (B, 4), top, left, height and width in whole pixels. Outside the image it has to be of `side`
            pixels.

    Returns:
        float32 (B, C, side, side).
    """
    top, left, height, width = boxes.unbind(1)
    rows, columns = (_weights(*axis, images.shape[-1], side) for axis in ((top, height), (left, width)))
    return rows[:, None] @ images.float() @ columns[:, None].mT


def _weights(start: Tensor, length: Tensor, stored: int, side: int) -> Tensor:
    """How much of each stored pixel of a line is in each of the resampled ones, float32 (B, side, stored)."""
    place = torch.arange(stored, device=start.device) - start[:, None]  # within the rectangle
    step = length[:, None] / side
    centre = (torch.arange(side, device=start.device) + 0.5) * step
    distance = (place[:, None, :] + 0.5 - centre[:, :, None]) / step.clamp(min=1)[:, :, None]
    within = (place >= 0) & (place < length[:, None])
    weights = (1 - distance.abs()).clamp(min=0) * within[:, None, :]
    return weights / weights.sum(2, keepdim=True).clamp(min=torch.finfo(torch.float32).tiny)
