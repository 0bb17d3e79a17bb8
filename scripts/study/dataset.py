"""Packed images, on the device or read ahead: the order of an epoch, batched augmentation, normalised batches.

Order and augmentation of an epoch are drawn on the CPU from generators seeded with (seed, epoch), by position in the
epoch: the same for every recipe of a seed, on every device, at every batch size.
"""

import hashlib
import math
from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from study import devices

# Of ImageNet's training images, in RGB; torchvision's pretrained weights expect them.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)

# Share of the area and ratio of the sides that random erasing draws from, as in torchvision (Zhong et al. 2020).
ERASED_AREA = (0.02, 0.33)
ERASED_RATIO = (0.3, 3.3)

# Pixels of an evaluation batch: large enough to fill a GPU, small enough for any image size.
EVALUATION_PIXELS = 2**19

# Batches of a memory-mapped split that are read before they are asked for: a slow read delays nothing at once.
READ_AHEAD = 4


@dataclass(frozen=True)
class Augmentation:
    """Random changes of the training images; all zero means none.

    Attributes:
        horizontal_flip, vertical_flip: probability of each flip.
        shift: largest shift along each axis, as a fraction of the side.
        rotation: largest rotation in degrees, either way.
        erasing: probability that a random rectangle is replaced by the mean colour.
    """

    horizontal_flip: float = 0.0
    vertical_flip: float = 0.0
    shift: float = 0.0
    rotation: float = 0.0
    erasing: float = 0.0


@dataclass(frozen=True)
class Images:
    """One split: uint8 (N, C, S, S) with C 1 or 3, and int64 (N,) labels.

    Attributes:
        images: a tensor on the device, or a memory-mapped array that batches are read from.
        labels: on the device.
    """

    images: Tensor | np.ndarray
    labels: Tensor

    @classmethod
    def load(
        cls,
        images: np.ndarray,
        labels: np.ndarray,
        device: torch.device,
        gpu_slots: int = 1,
        resident: bool | None = None,
    ) -> "Images":
        """Copy a memory-mapped split to the device, once: as uint8, a quarter of float32's bytes.

        Args:
            gpu_slots: jobs that may share one GPU.
            resident: False leaves the images where they are; None decides by `devices.fits`. Batches are the same.
        """
        if resident is None:
            resident = devices.fits(images.nbytes, device, gpu_slots)
        pixels = torch.from_numpy(np.array(images)).to(device) if resident else images
        return cls(pixels, torch.from_numpy(np.array(labels)).to(device))

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def resident(self) -> bool:
        """Whether the images are on the device."""
        return isinstance(self.images, Tensor)

    def batches(self, order: Tensor, bounds: Sequence[tuple[int, int]]) -> Generator[tuple[Tensor, Tensor], None, None]:
        """Images uint8 (B, C, S, S) and labels (B,) of each part of an order, on the device.

        Args:
            order: int64 (N,) indices on the CPU.
            bounds: first and last + 1 of each part.
        """
        places = order.to(self.labels.device)
        parts = [places[start:stop] for start, stop in bounds]
        with closing(self._pixels(order, bounds, parts)) as batches:
            for part, images in zip(parts, batches, strict=True):
                yield images, self.labels.index_select(0, part)

    def _pixels(
        self, order: Tensor, bounds: Sequence[tuple[int, int]], parts: list[Tensor]
    ) -> Generator[Tensor, None, None]:
        images = self.images
        if isinstance(images, Tensor):
            return (images.index_select(0, part) for part in parts)
        return _read_ahead(images, order, bounds, self.labels.device)


def _read_ahead(
    mapped: np.ndarray, order: Tensor, bounds: Sequence[tuple[int, int]], device: torch.device
) -> Generator[Tensor, None, None]:
    """Batches of a memory map, gathered by a thread while the device works on those before."""

    def gather(buffer: Tensor, indices: Tensor) -> Tensor:
        # NumPy lets other threads run meanwhile; with "clip" it writes to `out` directly, and no index is outside.
        np.take(mapped, indices.numpy(), axis=0, out=buffer.numpy(), mode="clip")
        return buffer

    waiting: deque[Future[Tensor]] = deque()
    thread = ThreadPoolExecutor(1, thread_name_prefix="read-ahead")
    try:
        for start, stop in bounds:
            # Allocated in this thread: the other one never calls CUDA, which would break a capture that goes on here.
            shape = (stop - start, *mapped.shape[1:])
            buffer = torch.empty(shape, dtype=torch.uint8, pin_memory=device.type == "cuda")
            waiting.append(thread.submit(gather, buffer, order[start:stop]))
            if len(waiting) > READ_AHEAD:
                yield waiting.popleft().result().to(device, non_blocking=True)
        while waiting:
            yield waiting.popleft().result().to(device, non_blocking=True)
    finally:
        thread.shutdown(cancel_futures=True)


def epoch_seed(seed: int, epoch: int, purpose: str) -> int:
    """Seed of a generator, from SHA-256: unrelated for neighbouring seeds and epochs, the same on every machine."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{epoch}/{purpose}".encode()).digest()[:8], "big") >> 1


def _generator(seed: int, epoch: int, purpose: str) -> torch.Generator:
    return torch.Generator().manual_seed(epoch_seed(seed, epoch, purpose))


def draw_order(labels: np.ndarray, sampler: str, seed: int, epoch: int) -> Tensor:
    """Indices of the images in the order of one epoch, int64 (N,) on the CPU.

    Args:
        labels: int (N,) class of each image.
        sampler: "shuffle", every image once; "balanced", N draws with replacement in which every class is
            equally likely (each image weighted 1 / its class's count).
    """
    generator = _generator(seed, epoch, "order")
    if sampler == "shuffle":
        return torch.randperm(len(labels), generator=generator)
    weights = 1 / np.bincount(labels)[labels]
    return torch.multinomial(torch.from_numpy(weights), len(labels), replacement=True, generator=generator)


@dataclass(frozen=True)
class Draws:
    """The random part of the augmentation for N images in a row; None where an augmentation is off.

    Attributes:
        horizontal, vertical: bool (N,), flip or not.
        affine: float32 (N, 2, 3), from output to input coordinates, as `affine_grid` takes it.
        erased: int64 (N, 4), first and last + 1 of the erased rows, then of the columns; empty if none.
    """

    horizontal: Tensor | None
    vertical: Tensor | None
    affine: Tensor | None
    erased: Tensor | None

    def to(self, device: torch.device) -> "Draws":
        """The same on the device."""
        return Draws(*(None if t is None else t.to(device, non_blocking=True) for t in self._tensors()))

    def __getitem__(self, part: slice) -> "Draws":
        return Draws(*(None if t is None else t[part] for t in self._tensors()))

    def _tensors(self) -> list[Tensor | None]:
        return [getattr(self, field.name) for field in fields(self)]


def draw_augmentation(augmentation: Augmentation, count: int, side: int, seed: int, epoch: int) -> Draws | None:
    """The draws for one epoch of `count` images of `side` pixels; None if nothing is to be done."""
    if augmentation == Augmentation():
        return None
    generator = _generator(seed, epoch, "augmentation")
    uniform = torch.rand(10, count, generator=generator)  # all of them always: one switch does not move the others
    a = augmentation
    return Draws(
        horizontal=uniform[0] < a.horizontal_flip if a.horizontal_flip else None,
        vertical=uniform[1] < a.vertical_flip if a.vertical_flip else None,
        affine=_affine(a, *(2 * uniform[2:5] - 1)) if a.shift or a.rotation else None,
        erased=_rectangles(a.erasing, side, *uniform[5:10]) if a.erasing else None,
    )


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


def augment(images: Tensor, draws: Draws) -> Tensor:
    """Flip, shift and rotate a batch; erasing waits until colours are normalised.

    Args:
        images: uint8 (B, C, S, S)
        draws: of the same B images.

    Returns:
        uint8 or, after shift or rotation, float32 of the same shape and range. What moves in from outside repeats
        the border.
    """
    if draws.horizontal is not None:
        images = torch.where(draws.horizontal[:, None, None, None], images.flip(3), images)
    if draws.vertical is not None:
        images = torch.where(draws.vertical[:, None, None, None], images.flip(2), images)
    if draws.affine is not None:
        grid = functional.affine_grid(draws.affine, list(images.shape), align_corners=False)
        images = functional.grid_sample(images.float(), grid, padding_mode="border", align_corners=False)
    return images


def erase(images: Tensor, rectangles: Tensor) -> Tensor:
    """Set a rectangle of each normalised image to 0, the mean colour: (B, C, S, S) and int64 (B, 4)."""
    line = torch.arange(images.shape[-1], device=images.device)
    top, bottom, left, right = rectangles[:, :, None].unbind(1)
    rows, columns = (line >= top) & (line < bottom), (line >= left) & (line < right)
    return images.masked_fill((rows[:, :, None] & columns[:, None, :])[:, None], 0)


class Normalize:
    """From pixels to what the network takes: float32 (B, 3, S, S), channels last, by ImageNet's mean and deviation."""

    def __init__(self, device: torch.device) -> None:
        mean, std = (torch.tensor(values, device=device)[None, :, None, None] for values in (MEAN, STD))
        self.scale, self.offset = 1 / (255 * std), -mean / std

    def __call__(self, images: Tensor) -> Tensor:
        """Normalise (B, C, S, S) in 0 … 255; one channel becomes three."""
        # broadcasts grayscale to three channels in the same step
        return torch.addcmul(self.offset, images.float(), self.scale).contiguous(memory_format=torch.channels_last)


def training_batches(
    data: Images, order: Tensor, draws: Draws | None, batch_size: int, normalize: Normalize
) -> Generator[tuple[Tensor, Tensor], None, None]:
    """Images (B, 3, S, S) and labels (B,) of one epoch, on the device of `data`; the last batch takes the rest.

    Args:
        order: int64 (N,) from `draw_order`.
        draws: of the same N images, by position in `order`.
    """
    draws = None if draws is None else draws.to(data.labels.device)
    bounds = batch_bounds(len(order), batch_size)
    with closing(data.batches(order, bounds)) as batches:
        for (start, stop), (images, labels) in zip(bounds, batches, strict=True):
            batch = None if draws is None else draws[start:stop]
            images = normalize(images if batch is None else augment(images, batch))
            if batch is not None and batch.erased is not None:
                images = erase(images, batch.erased)
            yield images, labels


def batch_bounds(count: int, batch_size: int) -> list[tuple[int, int]]:
    """First and last + 1 of each batch. A single image left over joins the batch before: batch norm needs two."""
    starts = list(range(0, count, batch_size))
    if len(starts) > 1 and count - starts[-1] == 1:
        starts.pop()
    return list(zip(starts, [*starts[1:], count], strict=True))


def evaluation_batches(data: Images, normalize: Normalize) -> Generator[tuple[Tensor, Tensor], None, None]:
    """Images (B, 3, S, S) and labels (B,) in the split's order, unchanged."""
    size = max(1, EVALUATION_PIXELS // data.images.shape[-1] ** 2)
    bounds = [(start, min(start + size, len(data))) for start in range(0, len(data), size)]
    with closing(data.batches(torch.arange(len(data)), bounds)) as batches:
        for images, labels in batches:
            yield normalize(images), labels
