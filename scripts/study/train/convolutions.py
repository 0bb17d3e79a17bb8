"""Convolutions by matrix products, where those are faster than oneDNN, PyTorch's library for convolutions on CPUs.

In fp32 without AVX-512 it computes the gradient of the weights at a third to three quarters of the rate of a matrix
product, and the rest of a training step at about that rate. In bf16 with AMX it is at home on large images: where the
output is a few pixels wide, as in the last blocks of a VGG, the product takes less time for this gradient, and about
the same or, with many channels, less for the output and the gradient of the input. All three are products with the
patches that the filter sees (Chellapilla, Puri & Simard 2006, High Performance Convolutional Neural Networks for
Document Processing), which are copied out of the padded images, channels last, in rows. What it is worth is in
benchmarks/RESULTS.md. Entry points:
    use_products(model) -> int                             every convolution of a model for which that is faster
    faster_here(device, precision) -> bool                 whether that is so for any of them
"""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from study.train.devices import cpu_flags

# Of the output: with so many channels the product is faster whatever the size, with fewer on few pixels alone, and with
# less than LEAST_CHANNELS it is too narrow.
WIDE_CHANNELS, LEAST_CHANNELS, FEW_PIXELS = 256, 128, 16
FEW_PIXELS_BF16 = 36
PATCHES_BYTES = 32 * 2**20  # of a product: more would not be faster, and large images have gigabytes of patches


def faster_here(device: torch.device, precision: str) -> bool:
    """Whether there are convolutions that are faster with products.

    They are in fp32 on a CPU that has AVX2 and not AVX-512, and in bf16 on one that has AMX.
    """
    if device.type != "cpu":
        return False
    if precision == "bf16":
        return "amx_bf16" in cpu_flags()
    return precision == "fp32" and torch.backends.cpu.get_cpu_capability() == "AVX2"


def use_products(model: nn.Module) -> int:
    """Let the model's wide convolutions compute by products where that is faster; how many may do so.

    Parameters and their names stay the same, what the model computes and its gradients but for rounding.
    """
    wide = [module for module in model.modules() if _is_wide(module)]
    for module in wide:
        module.__class__ = _Convolution
    return len(wide)


def _is_wide(module: nn.Module) -> bool:
    return (
        type(module) is nn.Conv2d
        and module.out_channels >= LEAST_CHANNELS
        and module.kernel_size != (1, 1)  # is a product already
        and module.groups == 1
        and module.dilation == (1, 1)
        and module.padding_mode == "zeros"
        and not isinstance(module.padding, str)
    )


class _Convolution(nn.Conv2d):
    """A convolution by products where that is faster, which its precision and the size of its output decide."""

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        assert not isinstance(self.padding, str)
        sides = zip(input.shape[-2:], self.padding, self.kernel_size, self.stride, strict=True)
        pixels = math.prod((side + 2 * padding - kernel) // stride + 1 for side, padding, kernel, stride in sides)
        if torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") == torch.bfloat16:
            if pixels > FEW_PIXELS_BF16 or self.stride != (1, 1):
                return super()._conv_forward(input, weight, bias)
            low = (None if tensor is None else tensor.bfloat16() for tensor in (input, weight, bias))
            return _Products.apply(*low, self.padding)
        if self.out_channels < WIDE_CHANNELS and pixels > FEW_PIXELS:
            return super()._conv_forward(input, weight, bias)
        return _ByProducts.apply(input, weight, bias, self.stride, self.padding)


class _Products(torch.autograd.Function):
    """A convolution that moves by one pixel: output and both gradients are products."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor, bias: Tensor | None, padding: tuple[int, int]) -> Tensor:
        ctx.save_for_backward(images, weight)
        ctx.padding = padding
        return _convolve(images, weight, bias, padding)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        images, weight = ctx.saved_tensors
        of_images, of_weight, of_bias = ctx.needs_input_grad[:3]
        (height, width), (vertical, horizontal) = kernel, _ = weight.shape[-2:], ctx.padding
        around = (height - 1 - vertical, width - 1 - horizontal)
        return (
            _convolve(gradient, weight.flip(2, 3).transpose(0, 1), None, around) if of_images else None,
            weight_gradient(images, gradient, kernel, (1, 1), ctx.padding) if of_weight else None,
            gradient.sum((0, 2, 3)) if of_bias else None,
            None,
        )


def _convolve(images: Tensor, weight: Tensor, bias: Tensor | None, padding: tuple[int, int]) -> Tensor:
    """(N, D, H', W'), channels last, from images (N, C, H, W) and weights (D, C, height, width)."""
    _, _, *kernel = weight.shape
    patches = _patches(_padded(images, padding), (kernel[0], kernel[1]), (1, 1))
    matrix = weight.permute(2, 3, 1, 0).flatten(0, 2)
    count, height, width, _ = patches.shape
    found = images.new_empty(count, len(weight), height, width).contiguous(memory_format=torch.channels_last)
    rows = found.permute(0, 2, 3, 1).view(-1, len(weight))
    torch.mm(patches.flatten(0, 2), matrix, out=rows)  # the result may not be a view: what follows changes it in place
    return found if bias is None else found.add_(bias[:, None, None])


class _ByProducts(torch.autograd.Function):
    """A convolution of which the gradient of the weights alone is a product."""

    @staticmethod
    def forward(
        ctx: Any, images: Tensor, weight: Tensor, bias: Tensor | None, stride: tuple[int, int], padding: tuple[int, int]
    ) -> Tensor:
        ctx.save_for_backward(images, weight)
        ctx.stride, ctx.padding = stride, padding
        return torch.conv2d(images, weight, bias, stride, padding)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        images, weight = ctx.saved_tensors
        of_images, of_weight, of_bias = ctx.needs_input_grad[:3]
        found = [
            torch.ops.aten.convolution_backward(
                gradient, images, weight, None, ctx.stride, ctx.padding, (1, 1), False, (0, 0), 1, (True, False, False)
            )[0]
            if of_images
            else None,
            weight_gradient(images, gradient, weight.shape[-2:], ctx.stride, ctx.padding) if of_weight else None,
            gradient.sum((0, 2, 3)) if of_bias else None,
        ]
        return *found, None, None


def weight_gradient(
    images: Tensor, gradient: Tensor, kernel: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int]
) -> Tensor:
    """Gradient of a convolution's weights, (D, C, *kernel), channels last.

    Args:
        images: the input, (N, C, H, W).
        gradient: of the output, (N, D, H', W').
        stride, padding: of the convolution, vertical and horizontal.
    """
    padded = _padded(images, padding)
    outputs = gradient.permute(0, 2, 3, 1)
    pixels, patch = math.prod(gradient.shape[2:]), images.shape[1] * math.prod(kernel)
    at_once = max(1, PATCHES_BYTES // (pixels * patch * padded.element_size()))
    parts = (
        theirs.flatten(0, 2).t() @ _patches(some, kernel, stride).flatten(0, 2)
        for some, theirs in zip(padded.split(at_once), outputs.split(at_once), strict=True)
    )
    found = next(parts)
    for part in parts:  # a sum of many in bf16 would lose the last of them
        found = found.to(torch.promote_types(found.dtype, torch.float32)).add_(part)
    return found.to(images.dtype).view(-1, *kernel, images.shape[1]).permute(0, 3, 1, 2)


def _padded(images: Tensor, padding: tuple[int, int]) -> Tensor:
    """(N, H + 2 vertical, W + 2 horizontal, C), contiguous, from (N, C, H, W)."""
    vertical, horizontal = padding
    return functional.pad(images.permute(0, 2, 3, 1), (0, 0, horizontal, horizontal, vertical, vertical)).contiguous()


def _patches(padded: Tensor, kernel: tuple[int, int], stride: tuple[int, int]) -> Tensor:
    """What the filter sees at each place, (N, H', W', height * width * C), from (N, H, W, C)."""
    (count, rows, columns, channels), (height, width) = padded.shape, kernel
    of_image, of_row, of_column, _ = padded.stride()
    places = ((rows - height) // stride[0] + 1, (columns - width) // stride[1] + 1)
    # in a row of a patch pixels and their channels follow one another in memory
    return padded.as_strided(
        (count, *places, height, width * channels),
        (of_image, of_row * stride[0], of_column * stride[1], of_row, 1),
    ).reshape(count, *places, -1)
