"""Operations on colour and place that are drawn for each image: TrivialAugment, RandAugment, colour jitter, grayscale.

Each does to uint8 images what the operation of that name in torchvision.transforms.v2 does to one, with a magnitude for
every image. The images of a batch are grouped by what happens to them. torchvision is loaded when a batch needs it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional

from study.train.draws import Rows
from study.train.seeds import epoch_generator

BINS = 31  # of magnitudes, in TrivialAugmentWide and RandAugment


@dataclass(frozen=True)
class Space:
    """The largest magnitudes of a policy.

    Attributes:
        shear: pixels per pixel.
        translate: pixels.
        rotate: degrees.
        blend: of brightness, colour, contrast and sharpness, around 1.
        posterize: bits that are taken away.
    """

    shear: float
    translate: float
    rotate: float
    blend: float
    posterize: int


def space_of(policy: str, side: int) -> Space:
    """The magnitudes of "ta_wide" (Müller & Hutter 2021) or "ra" (Cubuk et al. 2020), as torchvision has them."""
    return {
        "ta_wide": Space(shear=0.99, translate=32.0, rotate=135.0, blend=0.99, posterize=6),
        "ra": Space(shear=0.3, translate=150.0 / 331.0 * side, rotate=30.0, blend=0.9, posterize=4),
    }[policy]


@dataclass(frozen=True)
class Operations(Rows):
    """K operations for each of N images, one after the other.

    Attributes:
        planned: int64 (N, K), places in `KERNELS`, on the CPU, where they are known without waiting.
        kernels: the same on the device.
        values: float64 (N, K): a factor, threshold, number of bits or shift of the hue.
        matrices: float32 (N, K, 2, 3), from output to input pixels around the middle; None without movements.
    """

    planned: Tensor
    kernels: Tensor
    values: Tensor
    matrices: Tensor | None = None

    def to(self, device: torch.device, non_blocking: bool = False) -> Self:
        """The same on the device, but for what is planned."""
        return replace(super().to(device, non_blocking), planned=self.planned)


def draw_policy(
    policy: str, side: int, count: int, steps: int, magnitude: int | None, seed: int, epoch: int
) -> Operations:
    """The draws of TrivialAugment or RandAugment for one epoch of `count` images.

    Args:
        policy: "ta_wide" or "ra".
        steps: operations for each image.
        magnitude: bin from 0 to 30 of all of them; None for one of each operation's own.
    """
    generator = epoch_generator(seed, epoch, "auto augment")
    names = torch.randint(len(POLICY), (count, steps), generator=generator)
    bins = torch.randint(BINS, (count, steps), generator=generator)
    minus = torch.rand(count, steps, generator=generator) <= 0.5
    if magnitude is not None:
        bins = torch.full_like(bins, magnitude)
    kernels = torch.tensor([KERNEL_NAMES.index(kernel) for kernel in POLICY.values()])[names]
    values, matrices = (table[names, bins, minus.int()] for table in _tables(space_of(policy, side), side))
    return Operations(kernels, kernels, values, matrices)


def _tables(space: Space, side: int) -> tuple[Tensor, Tensor]:
    """Of each operation of POLICY, bin and sign: the value, float64 (14, 31, 2), and the matrix, float32 (…, 2, 3)."""
    values = torch.zeros(len(POLICY), BINS, 2, dtype=torch.float64)
    matrices = torch.eye(2, 3, dtype=torch.float64).repeat(len(POLICY), BINS, 2, 1, 1)

    def magnitudes(largest: float) -> Tensor:
        up = torch.linspace(0.0, largest, BINS).double()  # float32, as in torchvision
        return torch.stack([up, -up], 1)

    place = {name: k for k, name in enumerate(POLICY)}
    shear, move, turn = magnitudes(space.shear), magnitudes(space.translate).trunc(), magnitudes(space.rotate)
    # Sheared from the upper left corner on, moved, and turned around the middle.
    matrices[place["ShearX"], ..., 0, 1], matrices[place["ShearX"], ..., 0, 2] = shear, shear * side / 2
    matrices[place["ShearY"], ..., 1, 0], matrices[place["ShearY"], ..., 1, 2] = shear, shear * side / 2
    matrices[place["TranslateX"], ..., 0, 2] = matrices[place["TranslateY"], ..., 1, 2] = -move
    cos, sin = turn.deg2rad().cos(), turn.deg2rad().sin()
    matrices[place["Rotate"], ..., 0, 0], matrices[place["Rotate"], ..., 0, 1] = cos, -sin
    matrices[place["Rotate"], ..., 1, 0], matrices[place["Rotate"], ..., 1, 1] = sin, cos
    for name in ("Brightness", "Color", "Contrast", "Sharpness"):
        values[place[name]] = 1 + magnitudes(space.blend)
    bits = (8 - torch.arange(BINS) / ((BINS - 1) / space.posterize)).round()
    values[place["Posterize"]] = bits[:, None].double()
    values[place["Solarize"]] = 255 * torch.linspace(1.0, 0.0, BINS)[:, None].double()
    return values, matrices.float()


def draw_jitter(ranges: Sequence[float], count: int, seed: int, epoch: int) -> Operations:
    """The draws of torchvision's ColorJitter for one epoch of `count` images.

    Args:
        ranges: of brightness, contrast, saturation and, if there is a fourth, hue. A factor lies between 1 − x, at
            least 0, and 1 + x, the shift of the hue between −x and x.
    """
    generator = epoch_generator(seed, epoch, "colour jitter")
    uniform, rank = torch.rand(2, count, len(JITTER), generator=generator, dtype=torch.float64)
    x = torch.tensor([*ranges, 0.0][: len(JITTER)], dtype=torch.float64)
    middle = torch.tensor([1.0, 1.0, 1.0, 0.0], dtype=torch.float64)
    low, high = (middle - x).maximum(torch.where(middle > 0, 0, -x)), middle + x
    used = x > 0
    order = rank[:, used].argsort(1)
    kernels = torch.tensor([KERNEL_NAMES.index(name) for name in JITTER])[used][order]
    return Operations(kernels, kernels, (low + (high - low) * uniform)[:, used].gather(1, order))


def draw_grayscale(probability: float, count: int, seed: int, epoch: int) -> Operations:
    """Which images lose their colour in one epoch of `count` of them, as torchvision's RandomGrayscale draws it."""
    gray = torch.rand(count, 1, generator=epoch_generator(seed, epoch, "grayscale")) < probability
    kernels = torch.where(gray, KERNEL_NAMES.index("Grayscale"), KERNEL_NAMES.index("Identity"))
    return Operations(kernels, kernels, torch.zeros(count, 1, dtype=torch.float64))


def one_after_the_other(parts: Sequence[Operations]) -> Operations | None:
    """The operations of all parts in their order; None without any."""
    if not parts:
        return None
    kernels, values = (torch.cat([getattr(part, name) for part in parts], 1) for name in ("kernels", "values"))
    matrices = [part.matrices for part in parts]
    if any(matrix is not None for matrix in matrices):
        still = torch.eye(2, 3)
        matrices = [
            still.expand(*part.kernels.shape, 2, 3) if matrix is None else matrix
            for part, matrix in zip(parts, matrices, strict=True)
        ]
        return Operations(kernels, kernels, values, torch.cat(matrices, 1))  # type: ignore[arg-type]
    return Operations(kernels, kernels, values)


def operate(images: Tensor, operations: Operations) -> Tensor:
    """Do to each image of a batch what was drawn for it.

    Args:
        images: (B, C, S, S) in 0 … 255; other types than uint8 are rounded to it.
        operations: of the same B images.

    Returns:
        uint8 of the same shape.
    """
    images = images if images.dtype == torch.uint8 else images.round().to(torch.uint8)
    for step in range(operations.planned.shape[1]):
        order = operations.kernels[:, step].argsort(stable=True)
        values = operations.values[order, step][:, None, None, None]
        matrices = None if operations.matrices is None else operations.matrices[order, step]
        counts = operations.planned[:, step].bincount(minlength=len(KERNELS)).tolist()
        groups, start = [], 0
        for kernel, count in zip(KERNELS.values(), counts, strict=True):
            part = slice(start, start := start + count)
            if count:
                group = images.index_select(0, order[part])
                groups.append(kernel(group, values[part], None if matrices is None else matrices[part]))
        images = torch.cat(groups).index_select(0, order.argsort())
    return images


def _identity(images: Tensor, values: Tensor, matrices: Tensor | None) -> Tensor:
    return images


def _move(images: Tensor, values: Tensor, matrices: Tensor | None) -> Tensor:
    """The nearest pixel; what moves in from outside is black. Computed as torchvision does, to the last bit."""
    assert matrices is not None
    side = images.shape[-1]
    line = torch.linspace((1.0 - side) * 0.5, (side - 1.0) * 0.5, side, device=images.device)
    ones = torch.ones(side, side, device=images.device)
    places = torch.stack([line.expand(side, side), line[:, None].expand(side, side), ones], 2).view(1, -1, 3)
    grid = places.expand(len(images), -1, -1).bmm(matrices.mT / (0.5 * side)).view(-1, side, side, 2)
    moved = functional.grid_sample(images.float(), grid, mode="nearest", padding_mode="zeros", align_corners=False)
    return moved.round_().to(torch.uint8)


def _blend(images: Tensor, others: Tensor, share: Tensor) -> Tensor:
    """`share` of the images and the rest of the others, which may be more than all or less than nothing."""
    blended = torch.addcmul(images.float() * share.float(), others, (1 - share).float())
    return blended.clamp_(0, 255).to(torch.uint8)


def _gray(images: Tensor) -> Tensor:
    """float32 (B, 1, S, S), whole numbers."""
    from torchvision.transforms.v2.functional import rgb_to_grayscale

    return rgb_to_grayscale(images).float()


def _brightness(images: Tensor, values: Tensor, matrices: Tensor | None) -> Tensor:
    return (images * values.float()).clamp_(0, 255).to(torch.uint8)


def _contrast(images: Tensor, values: Tensor, matrices: Tensor | None) -> Tensor:
    return _blend(images, _gray(images).mean((1, 2, 3), keepdim=True), values)


def _color(images: Tensor, values: Tensor, matrices: Tensor | None) -> Tensor:
    return images if images.shape[1] == 1 else _blend(images, _gray(images), values)


def _sharpness(images: Tensor, values: Tensor, matrices: Tensor | None) -> Tensor:
    """Between an image and its blurred self, or beyond; the border stays."""
    channels, pixels = images.shape[1], images.float()
    kernel = torch.full((3, 3), 1.0 / 13.0, device=images.device)
    kernel[1, 1] = 5.0 / 13.0
    blurred = functional.conv2d(pixels, kernel.expand(channels, 1, 3, 3), groups=channels).round_()
    inner = pixels[..., 1:-1, 1:-1]
    inner += (blurred - inner) * (1 - values).float()
    return pixels.clamp_(0, 255).to(torch.uint8)


def _posterize(images: Tensor, values: Tensor, matrices: Tensor | None) -> Tensor:
    return images & (256 - 2 ** (8 - values)).to(torch.uint8)


def _solarize(images: Tensor, values: Tensor, matrices: Tensor | None) -> Tensor:
    return torch.where(images >= values.float(), images.bitwise_not(), images)


def _autocontrast(images: Tensor, values: Tensor, matrices: Tensor | None) -> Tensor:
    from torchvision.transforms.v2.functional import autocontrast

    return autocontrast(images)


def _equalize(images: Tensor, values: Tensor, matrices: Tensor | None) -> Tensor:
    from torchvision.transforms.v2.functional import equalize

    return equalize(images)


def _hue(images: Tensor, values: Tensor, matrices: Tensor | None) -> Tensor:
    """The hue of HSV, from 0 to 1 around the circle, shifted; grays have none."""
    if images.shape[1] == 1:
        return images
    pixels = images.float() / 255
    (low, high), (red, green, blue) = pixels.aminmax(dim=1), pixels.unbind(1)
    span = high - low
    divisor = torch.where(span == 0, 1, span)
    sixths = torch.where(
        high == red,
        (green - blue) / divisor,
        torch.where(high == green, 2 + (blue - red) / divisor, 4 + (red - green) / divisor),
    )
    sixths = sixths + 6 * values[:, 0].float()
    away = [(place + sixths).remainder(6) for place in (5, 3, 1)]
    shifted = torch.stack([high - span * torch.minimum(k, 4 - k).clamp(0, 1) for k in away], 1)
    return (shifted * 255.999).to(torch.uint8)  # as torchvision returns to whole numbers


def _grayscale(images: Tensor, values: Tensor, matrices: Tensor | None) -> Tensor:
    return _gray(images).to(torch.uint8).expand_as(images)


# From uint8 images (B, C, S, S), values float64 (B, 1, 1, 1) and matrices float32 (B, 2, 3) to uint8 images.
KERNELS: dict[str, Callable[[Tensor, Tensor, Tensor | None], Tensor]] = {
    "Identity": _identity,
    "Move": _move,
    "Brightness": _brightness,
    "Contrast": _contrast,
    "Color": _color,
    "Hue": _hue,
    "Sharpness": _sharpness,
    "Posterize": _posterize,
    "Solarize": _solarize,
    "AutoContrast": _autocontrast,
    "Equalize": _equalize,
    "Grayscale": _grayscale,
}
KERNEL_NAMES = tuple(KERNELS)
# The operations of TrivialAugmentWide and RandAugment, all equally likely, and the kernel that each is.
POLICY = {
    "Identity": "Identity",
    **dict.fromkeys(("ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate"), "Move"),
    **{name: name for name in ("Brightness", "Color", "Contrast", "Sharpness", "Posterize", "Solarize")},
    **{name: name for name in ("AutoContrast", "Equalize")},
}
JITTER = ("Brightness", "Contrast", "Color", "Hue")  # in the order of ColorJitter's arguments
