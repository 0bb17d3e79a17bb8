"""Convolutions as matrix products: PyTorch's own outputs and gradients, and only where they are faster."""

import copy
from typing import Any

import pytest
import torch
from small_run import NO_AUGMENTATION, RECIPE, small_data, small_train
from torch import nn
from torch.nn import functional

from study.train import convolutions
from study.train.convolutions import _Products, faster_here, use_products, weight_gradient
from study.train.models import ModelSettings, build

CPU = torch.device("cpu")
SHAPES: list[dict[str, Any]] = [
    {"kernel_size": 3, "padding": 1},
    {"kernel_size": 3, "padding": 1, "stride": 2, "bias": False},
    {"kernel_size": (1, 3), "padding": (0, 2), "stride": (2, 1)},
    {"kernel_size": 5},
]


@pytest.mark.parametrize("at_once", [1, 2**25])
@pytest.mark.parametrize("shape", SHAPES)
def test_gradients_are_those_of_pytorch(shape: dict[str, Any], at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convolutions, "PATCHES_BYTES", at_once)
    torch.manual_seed(0)
    theirs = nn.Conv2d(3, 256, dtype=torch.float64, **shape)
    ours = copy.deepcopy(theirs)
    assert use_products(ours) == 1
    gradients = []
    for layer in (theirs, ours):
        images = torch.randn(
            4, 3, 9, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(1)
        ).requires_grad_()
        (layer(images.contiguous(memory_format=torch.channels_last)) ** 2).sum().backward()
        gradients.append([images.grad, *(parameter.grad for parameter in layer.parameters())])
    for one, two in zip(*gradients, strict=True):
        torch.testing.assert_close(one, two)


def test_it_is_the_gradient_by_finite_differences() -> None:
    images = torch.randn(2, 2, 5, 4, dtype=torch.float64)
    gradient = torch.randn(2, 3, 3, 4, dtype=torch.float64)
    weight = torch.randn(3, 2, 3, 3, dtype=torch.float64)
    found = weight_gradient(images, gradient, (3, 3), (2, 1), (1, 1))

    def loss(of: torch.Tensor) -> torch.Tensor:
        return (functional.conv2d(images, of, stride=(2, 1), padding=1) * gradient).sum()

    for place in ((0, 0, 0, 0), (2, 1, 1, 2)):
        moved = weight.clone()
        moved[place] += 1e-3
        torch.testing.assert_close(found[place], (loss(moved) - loss(weight)) / 1e-3)


@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize(
    ("kernel", "padding"), [((3, 3), (1, 1)), ((3, 3), (0, 0)), ((5, 5), (2, 1)), ((1, 3), (0, 2)), ((2, 4), (1, 1))]
)
def test_output_and_gradients_are_those_of_pytorch(
    kernel: tuple[int, int], padding: tuple[int, int], biased: bool
) -> None:
    torch.manual_seed(0)
    images, weight = torch.randn(3, 4, 7, 6, dtype=torch.float64), torch.randn(5, 4, *kernel, dtype=torch.float64)
    bias = torch.randn(5, dtype=torch.float64) if biased else None
    found = []
    for convolve in (lambda *given: _Products.apply(*given, padding), lambda *given: torch.conv2d(*given, 1, padding)):
        given = [None if tensor is None else tensor.clone().requires_grad_() for tensor in (images, weight, bias)]
        output = convolve(*given)
        (output**2).sum().backward()
        found.append([output, *(tensor.grad for tensor in given if tensor is not None)])
    for ours, theirs in zip(*found, strict=True):
        assert ours.shape == theirs.shape
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize(("side", "stride", "products"), [(6, 1, True), (7, 1, False), (6, 2, False), (2, 1, True)])
def test_in_bf16_few_pixels_are_products(side: int, stride: int, products: bool) -> None:
    layer = nn.Conv2d(2, 128, 3, stride, padding=1)
    use_products(layer)
    images = torch.randn(4, 2, side, side).contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        output = nn.ReLU(inplace=True)(layer(images))  # as in a VGG without batch norm
        theirs = torch.relu(torch.conv2d(images, layer.weight, layer.bias, stride, 1))
    assert output.dtype == torch.bfloat16 and output.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(output, theirs, rtol=2**-6, atol=2**-6)
    assert ("_Products" in str(layer(images).grad_fn)) is False  # without autocast fp32 as ever
    assert ("_Products" in str(output.grad_fn.next_functions)) == products  # type: ignore[union-attr]
    output.float().sum().backward()
    assert layer.weight.grad is not None and layer.weight.grad.dtype == torch.float32


def test_sums_of_parts_in_bf16_lose_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(512, 8, 2, 2, generator=generator).bfloat16()
    gradient = torch.rand(512, 16, 2, 2, generator=generator).bfloat16()
    exact = weight_gradient(images.double(), gradient.double(), (3, 3), (1, 1), (1, 1))
    monkeypatch.setattr(convolutions, "PATCHES_BYTES", 1)  # an image at a time
    found = weight_gradient(images, gradient, (3, 3), (1, 1), (1, 1))
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.double(), exact, rtol=2**-7, atol=0)


def test_a_frozen_convolution_has_no_gradient_and_passes_one_on() -> None:
    layer = nn.Conv2d(2, 256, 3)
    layer.weight.requires_grad_(False)
    use_products(layer)
    images = torch.randn(1, 2, 4, 4, requires_grad=True)
    layer(images).sum().backward()
    assert layer.weight.grad is None and images.grad is not None and layer.bias is not None
    torch.testing.assert_close(layer.bias.grad, torch.full((256,), 4.0))


def test_only_wide_plain_convolutions_change() -> None:
    plain = {"in_channels": 128, "out_channels": 128, "kernel_size": 3}
    changes: list[dict[str, Any]] = [
        {"out_channels": 64}, {"kernel_size": 1}, {"groups": 128}, {"dilation": 2}, {"padding": "same"},
        {"padding": 1, "padding_mode": "reflect"},
    ]  # fmt: skip
    same = [nn.Conv2d(**{**plain, **change}) for change in changes]
    assert use_products(nn.Sequential(*same)) == 0
    model = build(ModelSettings("vgg11_bn", 0.5), 7, 32, seed=0)
    before = model.state_dict()
    assert use_products(model) == 6 and use_products(model) == 0
    assert list(model.state_dict()) == list(before)


@pytest.mark.parametrize(("channels", "side", "products"), [(128, 4, True), (128, 5, False), (256, 5, True)])
def test_few_channels_take_products_for_few_pixels_alone(channels: int, side: int, products: bool) -> None:
    layer = nn.Conv2d(2, channels, 3, padding=1)
    use_products(layer)
    assert ("_ByProducts" in str(layer(torch.zeros(1, 2, side, side)).grad_fn)) == products


@pytest.mark.parametrize(
    ("device", "precision", "processor", "flags", "faster"),
    [("cpu", "fp32", "AVX2", {"avx2"}, True), ("cpu", "fp32", "AVX512", {"amx_bf16"}, False),
     ("cpu", "fp32", "DEFAULT", {}, False), ("cpu", "bf16", "AVX512", {"avx512_bf16"}, False),
     ("cpu", "bf16", "AVX512", {"avx512_bf16", "amx_bf16"}, True), ("cuda", "fp32", "AVX2", {}, False),
     ("cuda", "bf16", "AVX512", {"amx_bf16"}, False)],
)  # fmt: skip
def test_it_depends_on_the_processor_and_the_precision(
    device: str, precision: str, processor: str, flags: set[str], faster: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: processor)
    monkeypatch.setattr(convolutions, "cpu_flags", lambda: frozenset(flags))
    assert faster_here(torch.device(device), precision) == faster


def test_a_training_differs_by_rounding_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = RECIPE.but(max_epochs=2, optimizer="SGD", width=0.25, **NO_AUGMENTATION)
    weights = []
    for processor in ("AVX512", "AVX2"):
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda processor=processor: processor)
        weights.append(small_train(recipe, data=small_data(1), seed=0).weights)
    assert weights[0].keys() == weights[1].keys()
    for name, tensor in weights[0].items():
        torch.testing.assert_close(tensor, weights[1][name], rtol=1e-3, atol=1e-4)
