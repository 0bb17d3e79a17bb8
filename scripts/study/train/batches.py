"""Packed images, on the device or read ahead, as normalised batches."""

import mmap
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from study.train import devices
from study.train.augmentation import Draws, augment, erase
from study.train.mixing import mix

# Of ImageNet's training images, in RGB; torchvision's pretrained weights expect them.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)

# Pixels of an evaluation batch: large enough to fill a GPU, small enough for any image size.
EVALUATION_PIXELS = 2**19

# Batches of a memory-mapped split that are read before they are asked for: a slow read delays nothing at once.
READ_AHEAD = 4


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

    ask_for = _requests(mapped)

    def gather(buffer: Tensor, indices: Tensor) -> Tensor:
        ask_for(indices.numpy())
        # NumPy lets other threads run meanwhile; with "clip" it writes to `out` directly, and no index is outside.
        if mapped.flags.c_contiguous:
            np.take(mapped, indices.numpy(), axis=0, out=buffer.numpy(), mode="clip")
        else:  # the middle of larger images, of which `take` would copy all
            buffer.numpy()[:] = mapped[indices.numpy()]
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


def _requests(mapped: np.ndarray) -> Callable[[np.ndarray], None]:
    """A function that asks the kernel for the images of a batch (N,), all at once and nothing around them.

    Without it each page that is not in memory is waited for in turn, and the kernel reads on behind it, as it does for
    files that are read from start to end: for an image of some kilobytes up to megabytes that nobody needs.
    """
    file: Any = mapped
    while isinstance(file, np.ndarray):
        file = file.base
    if not isinstance(file, mmap.mmap) or not hasattr(mmap, "MADV_WILLNEED"):
        return lambda indices: None
    file.madvise(mmap.MADV_RANDOM)
    first, stride = mapped.ctypes.data - np.frombuffer(file, np.uint8).ctypes.data, mapped.strides[0]
    length = sum((count - 1) * step for count, step in zip(mapped.shape[1:], mapped.strides[1:], strict=True)) + 1

    def ask_for(indices: np.ndarray) -> None:
        for start in (first + indices * stride).tolist():
            page = start // mmap.PAGESIZE * mmap.PAGESIZE
            file.madvise(mmap.MADV_WILLNEED, page, start + length - page)

    return ask_for


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
    data: Images, order: Tensor, draws: Draws | None, batch_size: int, normalize: Normalize, side: int | None = None
) -> Generator[tuple[Tensor, ...], None, None]:
    """Images (B, 3, S, S) and labels (B,) of one epoch, on the device of `data`; the last batch takes the rest.

    Of mixed images, the labels of what is mixed in and the share of the own ones follow, see `mix`.

    Args:
        order: int64 (N,) from `draw_order`.
        draws: of the same N images, by position in `order`.
        side: S, where crops are cut out of larger images; None for that of `data`.
    """
    draws = None if draws is None else draws.to(data.labels.device, non_blocking=True)
    bounds = batch_bounds(len(order), batch_size)
    with closing(data.batches(order, bounds)) as batches:
        for (start, stop), (images, labels) in zip(bounds, batches, strict=True):
            batch = None if draws is None else draws[start:stop]
            images = normalize(images if batch is None else augment(images, batch, side))
            if batch is not None and batch.erased is not None:
                images = erase(images, batch.erased)
            yield (images, labels) if batch is None or batch.mixes is None else mix(images, labels, batch.mixes)


def batch_bounds(count: int, batch_size: int) -> list[tuple[int, int]]:
    """First and last + 1 of each batch. A single image left over joins the batch before: batch norm needs two.

    Batches of one image stay as they are; a network that cannot take them is refused while planning.
    """
    starts = list(range(0, count, batch_size))
    if batch_size > 1 and len(starts) > 1 and count - starts[-1] == 1:
        starts.pop()
    return list(zip(starts, [*starts[1:], count], strict=True))


def evaluation_batches(data: Images, normalize: Normalize) -> Generator[tuple[Tensor, Tensor], None, None]:
    """Images (B, 3, S, S) and labels (B,) in the split's order, unchanged."""
    size = max(1, EVALUATION_PIXELS // data.images.shape[-1] ** 2)
    bounds = [(start, min(start + size, len(data))) for start in range(0, len(data), size)]
    with closing(data.batches(torch.arange(len(data)), bounds)) as batches:
        for images, labels in batches:
            yield normalize(images), labels
