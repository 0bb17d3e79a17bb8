"""Networks by name, and how small their images may be: known while planning, without PyTorch.

Entry points:
    NETWORKS                                               name -> Network
    timm_names()                                           those of the package timm, where it is installed
    problems(name, width, image_size) -> ...               why no network fits these images; none if one does
"""

import difflib
import functools
import importlib.util
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Network:
    """What planning needs to know of a classifier of torchvision; a test compares it with the classifier itself.

    Attributes:
        least: smallest side of its images in pixels.
        least_alone: the same for batches of one image, of which batch norm needs more than one value per channel.
        multiples: whether only multiples of the smallest side will do, as patches divide the image.
    """

    least: int
    least_alone: int
    multiples: bool = False


# Smallest side (8 is the least that the schema allows), and that for batches of one image.
_SIZES = {
    (8, 8): "swin_b swin_s swin_t swin_v2_b swin_v2_s swin_v2_t",
    (8, 33): """efficientnet_b0 efficientnet_b1 efficientnet_b2 efficientnet_b3 efficientnet_b4 efficientnet_b5
        efficientnet_b6 efficientnet_b7 efficientnet_v2_l efficientnet_v2_m efficientnet_v2_s mnasnet0_5 mnasnet0_75
        mnasnet1_0 mnasnet1_3 mobilenet_v2 mobilenet_v3_large mobilenet_v3_small regnet_x_16gf regnet_x_1_6gf
        regnet_x_32gf regnet_x_3_2gf regnet_x_400mf regnet_x_800mf regnet_x_8gf regnet_y_128gf regnet_y_16gf
        regnet_y_1_6gf regnet_y_32gf regnet_y_3_2gf regnet_y_400mf regnet_y_800mf regnet_y_8gf resnet101 resnet152
        resnet18 resnet34 resnet50 resnext101_32x8d resnext101_64x4d resnext50_32x4d shufflenet_v2_x0_5
        shufflenet_v2_x1_0 shufflenet_v2_x1_5 shufflenet_v2_x2_0 wide_resnet101_2 wide_resnet50_2""",
    (29, 61): "densenet121 densenet161 densenet169 densenet201",
    (32, 32): """convnext_base convnext_large convnext_small convnext_tiny vgg11 vgg11_bn vgg13 vgg13_bn vgg16 vgg16_bn
        vgg19 vgg19_bn""",
    (63, 63): "alexnet",
}
PATCHES = {"vit_b_16": 16, "vit_b_32": 32, "vit_h_14": 14, "vit_l_16": 16, "vit_l_32": 32}
NETWORKS = {name: Network(*sizes) for sizes, names in _SIZES.items() for name in names.split()}
NETWORKS |= {name: Network(patch, patch, multiples=True) for name, patch in PATCHES.items()}

# Classifiers of torchvision that are none here, and why.
SEVERAL_OUTPUTS = "it returns several outputs while it is trained"
NO_LINEAR_LAYER = "it ends in a convolution, where the study's head has no place"
EXCLUDED = {
    "googlenet": SEVERAL_OUTPUTS,
    "inception_v3": SEVERAL_OUTPUTS,
    "maxvit_t": "it takes images of 224 pixels alone",
    "squeezenet1_0": NO_LINEAR_LAYER,
    "squeezenet1_1": NO_LINEAR_LAYER,
}

TIMM = "timm/"  # in front of the name of a model of timm (Wightman 2019, PyTorch Image Models)


@functools.cache
def timm_names() -> frozenset[str] | None:
    """The models of timm by name, read in its files, as importing it takes seconds; None where it is not installed."""
    spec = importlib.util.find_spec("timm")
    if spec is None:
        return None
    files = [path for place in spec.submodule_search_locations or () for path in Path(place).glob("models/*.py")]
    texts = [path.read_text(encoding="utf-8") for path in files]
    return frozenset(name for text in texts for name in re.findall(r"^@register_model\s+def (\w+)\(", text, re.M))


def problems(name: str, width: float, image_size: int, batch_size: int | None = None) -> Iterator[tuple[str, str, str]]:
    """Why there is no such network for these images and batches: column or key, value as text, and what is allowed."""
    if why := _unknown(name):
        yield "model.name", repr(name), why
        return
    if width != 1 and not name.startswith("vgg"):
        yield "model.width", f"{width:g}", f"allowed for {name} is 1; only the VGG family has a width"
    if name.startswith(TIMM):  # what sizes it takes is seen when it is built
        return
    network = NETWORKS[name]
    if image_size < network.least:
        yield "data.image_size", str(image_size), f"allowed is at least {network.least} with 'model.name: {name}'"
    elif network.multiples and image_size % network.least:
        rule = f"allowed is a multiple of {network.least} with 'model.name: {name}', whose patches are of that size"
        yield "data.image_size", str(image_size), rule
    elif batch_size == 1 and image_size < network.least_alone:
        yield (
            "batch_size",
            "1",
            f"allowed is at least 2 for {name} with images of {image_size} pixels, of which its batch norm sees one "
            f"value; or set 'data.image_size' to {network.least_alone} or more",
        )


def _unknown(name: str) -> str | None:
    """Why there is no model of this name, and what is allowed; None if there is one."""
    if name in NETWORKS:
        return None
    if name in EXCLUDED:
        return f"which cannot be trained here: {EXCLUDED[name]}; allowed: {', '.join(sorted(NETWORKS))}"
    if not name.startswith(TIMM):
        return f"{_did_you_mean(name, NETWORKS)}allowed: {', '.join(sorted(NETWORKS))}, or timm/ and a model of timm"
    names = timm_names()
    if names is None:
        return "which needs the package timm, which is not installed: .venv/bin/python -m pip install timm"
    if (model := name.removeprefix(TIMM)) in names:
        return None
    return (
        f"{_did_you_mean(model, names, TIMM)}allowed after {TIMM} is a model of timm without a tag, one of {len(names)}"
    )


def _did_you_mean(name: str, known: Collection[str], prefix: str = "") -> str:
    close = difflib.get_close_matches(name, sorted(known), n=3)
    return f"did you mean {' or '.join(prefix + one for one in close)}? " if close else ""
