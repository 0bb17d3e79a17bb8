"""Networks by name, and how small their images may be: known while planning, without PyTorch.

Entry points:
    NETWORKS                                               name -> Network
    problems(name, width, image_size) -> ...               why no network fits these images; none if one does
"""

import difflib
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Network:
    """What planning needs to know of a classifier of torchvision; a test compares it with the classifier itself.

    Attributes:
        least: smallest side of its images in pixels.
        least_alone: the same for batches of one image, of which batch norm needs more than one value per channel.
    """

    least: int
    least_alone: int


# Smallest side (8 is the least that the schema allows), and that for batches of one image. Left out are networks that
# take one size alone, return several outputs or have no linear layer at the end: vit, maxvit, inception, googlenet,
# squeezenet.
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
NETWORKS = {name: Network(*sizes) for sizes, names in _SIZES.items() for name in names.split()}


def problems(name: str, width: float, image_size: int, batch_size: int | None = None) -> Iterator[tuple[str, str, str]]:
    """Why there is no such network for these images and batches: column or key, value as text, and what is allowed."""
    if name not in NETWORKS:
        close = difflib.get_close_matches(name, NETWORKS, n=3)
        hint = f"did you mean {' or '.join(close)}? " if close else ""
        yield "model.name", repr(name), f"{hint}allowed: {', '.join(sorted(NETWORKS))}"
        return
    network = NETWORKS[name]
    if width != 1 and not name.startswith("vgg"):
        yield "model.width", f"{width:g}", f"allowed for {name} is 1; only the VGG family has a width"
    if image_size < network.least:
        yield "data.image_size", str(image_size), f"allowed is at least {network.least} with 'model.name: {name}'"
    elif batch_size == 1 and image_size < network.least_alone:
        yield (
            "batch_size",
            "1",
            f"allowed is at least 2 for {name} with images of {image_size} pixels, of which its batch norm sees one "
            f"value; or set 'data.image_size' to {network.least_alone} or more",
        )
