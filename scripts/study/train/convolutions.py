"""Convolutions whose weights have their gradient from matrix products, where that is faster: on CPUs with AVX2 alone.

Without AVX-512, oneDNN, PyTorch's library for convolutions on CPUs, computes this gradient at a third to three quarters
of the rate of a matrix product, and the rest of a convolution's training step at about that rate. The gradient is the
product of the output's gradient and the patches that the filter saw (Chellapilla, Puri & Simard 2006, High Performance
Convolutional Neural Networks for Document Processing), which are copied out of the padded images, channels last, in
rows. What it is worth is in benchmarks/RESULTS.md. Entry points:
    use_products(model) -> int                             every convolution of a model for which that is faster
    faster_here(device, precision) -> bool                 whether that is so for any of them
"""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

# Of the output: with so many channels the product is faster whatever the size, with fewer on few pixels alone, and with
# less than LEAST_CHANNELS it is too narrow.
WIDE_CHANNELS, LEAST_CHANNELS, FEW_PIXELS = 256, 128, 16
PATCHES_BYTES = 32 * 2**20  # of a product: more would not be faster, and large images have gigabytes of patches


def faster_here(device: torch.device, precision: str) -> bool:
    """Whether there are convolutions that are faster with products: in fp32 on a CPU that has AVX2 and not AVX-512."""
    return device.type == "cpu" and precision == "fp32" and torch.backends.cpu.get_cpu_capability() == "AVX2"


def use_products(model: nn.Module) -> int:
    """Let the model's wide convolutions take the gradient of their weights from products; how many may do so.

    Parameters, their names and what the model computes stay the same, gradients but for rounding.
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
    """A convolution with the gradient of `_ByProducts` where that is faster, which the size of its output decides."""

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        assert not isinstance(self.padding, str)
        sides = zip(input.shape[-2:], self.padding, self.kernel_size, self.stride, strict=True)
        pixels = math.prod((side + 2 * padding - kernel) // stride + 1 for side, padding, kernel, stride in sides)
        if self.out_channels < WIDE_CHANNELS and pixels > FEW_PIXELS:
            return super()._conv_forward(input, weight, bias)
        return _ByProducts.apply(input, weight, bias, self.stride, self.padding)


class _ByProducts(torch.autograd.Function):
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
    (height, width), (vertical, horizontal) = kernel, padding
    padded = functional.pad(
        images.permute(0, 2, 3, 1), (0, 0, horizontal, horizontal, vertical, vertical)
    ).contiguous()  # (N, H + 2 vertical, W + 2 horizontal, C)
    count, channels = len(images), images.shape[1]
    of_image, of_row, of_column, _ = padded.stride()
    rows, columns = gradient.shape[2:]
    outputs = gradient.permute(0, 2, 3, 1).reshape(count, rows * columns, -1)
    patch = height * width * channels
    at_once = max(1, PATCHES_BYTES // (rows * columns * patch * padded.element_size()))
    found = padded.new_zeros(gradient.shape[1], patch)
    for some, theirs in zip(padded.split(at_once), outputs.split(at_once), strict=True):
        # in a row of a patch pixels and their channels follow one another in memory
        patches = some.as_strided(
            (len(some), rows, columns, height, width * channels),
            (of_image, of_row * stride[0], of_column * stride[1], of_row, 1),
        ).reshape(-1, patch)
        found.addmm_(theirs.flatten(0, 1).t(), patches)
    return found.view(-1, height, width, channels).permute(0, 3, 1, 2)
