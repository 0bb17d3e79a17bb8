"""Images of a batch laid over each other: mixup (Zhang et al. 2018) and CutMix (Yun et al. 2019).

An image's partner is the one before it in its batch, that of the first the last one, as in torchvision. What becomes of
an image is drawn by its position in the epoch, each for itself, as timm's mode `elem` does; torchvision draws once for
a batch. So draws are the same at every batch size, and so are the partners but for that of a batch's first image.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from study.train.draws import Rows
from study.train.seeds import epoch_generator, epoch_seed


@dataclass(frozen=True)
class Mixes(Rows):
    """How N images in a row are mixed.

    Attributes:
        blend: float32 (N,), share of the own image in each of its pixels outside the box.
        box: int64 (N, 4), first and last + 1 of the rows, then of the columns that come from the partner; empty for
            none. None without CutMix.
        share: float32 (N,), of the own label; the partner's has the rest.
    """

    blend: Tensor
    box: Tensor | None
    share: Tensor


def draw_mixing(mixup_alpha: float, cutmix_alpha: float, count: int, side: int, seed: int, epoch: int) -> Mixes | None:
    """The draws for one epoch of `count` images of `side` pixels; None where both alphas are 0.

    With both, an image is mixed up or cut with probability 1/2 each, as torchvision's RandomChoice does.
    """
    if not mixup_alpha and not cutmix_alpha:
        return None
    blend, box, share = torch.ones(count), None, torch.ones(count)
    if mixup_alpha:
        blend = share = _beta(mixup_alpha, count, epoch_seed(seed, epoch, "mixup"))
    if cutmix_alpha:
        kept = _beta(cutmix_alpha, count, epoch_seed(seed, epoch, "cutmix"))
        places = torch.randint(side, (2, count), generator=epoch_generator(seed, epoch, "cutmix place"))
        box = _boxes(kept, places, side)
        top, bottom, left, right = box.unbind(1)
        own = 1 - (bottom - top) * (right - left) / side**2
        if mixup_alpha:
            cut = torch.rand(count, generator=epoch_generator(seed, epoch, "mixup or cutmix")) < 0.5
            blend, share = torch.where(cut, 1, blend), torch.where(cut, own, share)
            box = box * cut[:, None]
        else:
            share = own
    return Mixes(blend, box, share)


def _beta(alpha: float, count: int, seed: int) -> Tensor:
    """Draws from Beta(alpha, alpha), float32 (N,); PyTorch's take no generator."""
    return torch.from_numpy(np.random.default_rng(seed).beta(alpha, alpha, count).astype(np.float32))


def _boxes(kept: Tensor, places: Tensor, side: int) -> Tensor:
    """Boxes of a share 1 − kept of the image around a place, int64 (N, 4); what is outside the image is cut off."""
    half = (0.5 * (1 - kept.double()).sqrt() * side).long()
    (top, left), (bottom, right) = (places - half).clamp(min=0), (places + half).clamp(max=side)
    return torch.stack([top, bottom, left, right], 1)


def mix(images: Tensor, labels: Tensor, mixes: Mixes) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Mix the images of a batch.

    Args:
        images: float32 (B, C, S, S), normalised.
        labels: int64 (B,)
        mixes: of the same B images.

    Returns:
        The images, their own labels, int64 (B,) those of their partners, and float32 (B,) the share of the own ones.
    """
    own = mixes.blend[:, None, None, None]
    if mixes.box is not None:
        own = torch.where(inside(mixes.box, images.shape[-1])[:, None], 0, own)
    mixed = torch.lerp(images.roll(1, 0), images, own).contiguous(memory_format=torch.channels_last)
    return mixed, labels, labels.roll(1), mixes.share


def inside(boxes: Tensor, side: int) -> Tensor:
    """Which pixels lie in a box, bool (B, S, S); boxes: int64 (B, 4), first and last + 1 row, then column."""
    line = torch.arange(side, device=boxes.device)
    top, bottom, left, right = boxes[:, :, None].unbind(1)
    rows, columns = (line >= top) & (line < bottom), (line >= left) & (line < right)
    return rows[:, :, None] & columns[:, None, :]
