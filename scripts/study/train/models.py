"""Networks by name: backbones of torchvision and timm with the study's head, and VGGs of any width."""

from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from study.errors import StudyError
from study.networks import PATCHES, TIMM, problems
from study.recipe import Recipe

# Convolutions of each of VGG's five blocks, a max pooling behind each block, and their channels (Simonyan & Zisserman
# 2014, table 1). Built here and not by torchvision, whose import takes as long as that of PyTorch itself: it loads the
# compiler, `torch._dynamo`. A test compares the layers with torchvision's.
VGG = {"vgg11": (1, 1, 2, 2, 2), "vgg13": (2, 2, 2, 2, 2), "vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}
VGG_CHANNELS = (64, 128, 256, 512, 512)


@dataclass(frozen=True)
class ModelSettings:
    """The network.

    Attributes:
        name: a torchvision classifier, e.g. "vgg19", "resnet18", or one of timm, "timm/resnet18".
        width: factor on the channels of a VGG; 1 for all others.
        weights: "none", "imagenet" or the path of a state dict. Which file that is, is for the caller of `build`.
        head_hidden: units of the head's hidden layer.
        dropout: probability in the head.
        init_from: the experiment whose trained weights are started from, or "none"; which file, is for the caller too.
        init_part: "all" of these weights, or those of the "backbone", below a head that is drawn anew.
        freeze: "none", or the "backbone", which then stays as it starts.
        head_scale: s of a `NormedLinear` at the end of the head; None for a linear layer.
    """

    name: str
    width: float = 1.0
    weights: str = "none"
    head_hidden: int = 256
    dropout: float = 0.1
    init_from: str = "none"
    init_part: str = "all"
    freeze: str = "none"
    head_scale: float | None = None

    @classmethod
    def of(cls, recipe: Recipe) -> "ModelSettings":
        """The network that a recipe trains: LDAM's ends in a normalised layer."""
        return cls(**recipe.section("model"), head_scale=recipe.meant("loss.ldam_s"))


class Head(nn.Sequential):
    """The study's head: the one part of a network that is not its backbone."""


class NormedLinear(nn.Module):
    """s cos θ, θ the angle between features and each class's direction: the last layer of LDAM (arXiv:1906.07413).

    As in its authors' code, whose loss multiplies by s; here the logits have it, so that their softmax is a prediction.
    """

    def __init__(self, features: int, classes: int, scale: float) -> None:
        super().__init__()
        self.scale = scale
        # Not `weight`, so that the weights of a linear layer are not taken for these.
        self.directions = nn.Parameter(functional.normalize(torch.empty(classes, features).uniform_(-1, 1)))

    def forward(self, features: Tensor) -> Tensor:
        """From (B, features) to logits (B, classes)."""
        return self.scale * functional.linear(functional.normalize(features), functional.normalize(self.directions))


def build(settings: ModelSettings, classes: int, image_size: int, seed: int, weights: Path | None = None) -> nn.Module:
    """A network that maps float (B, 3, S, S) to logits (B, classes), on the CPU, in training mode.

    Args:
        classes: number of classes.
        image_size: S in pixels.
        seed: decides the initial weights, which are torchvision's (He et al. 2015) for the backbone and PyTorch's
            own for the head's linear layers. The global generator is left as it was.
        weights: state dict to start from, see `load_weights`.

    Raises:
        StudyError: on an unknown name, a width that the model has not, images too small for it, unfitting weights.
    """
    for key, found, rule in problems(settings.name, settings.width, image_size):
        raise StudyError(f"config key '{key}' is {found}, {rule}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = _build(settings, classes, image_size)
    if weights is not None:
        load_weights(model, weights, settings.init_part)
    if settings.freeze == "backbone":
        model.requires_grad_(False)
        head_of(model)[1].requires_grad_(True)
    return train_mode(model)


def head_of(model: nn.Module) -> tuple[str, Head]:
    """The head of a network with its path."""
    return next((path, module) for path, module in model.named_modules() if isinstance(module, Head))


def train_mode(model: nn.Module) -> nn.Module:
    """Set the network to training mode, but for a frozen backbone.

    A frozen backbone computes the same in every step: its batch norms keep their averages, its dropout is off.
    """
    if all(parameter.requires_grad for parameter in model.parameters()):
        return model.train()
    model.eval()
    head_of(model)[1].train()
    return model


def parameter_count(model: nn.Module, trained: bool = False) -> int:
    """Number of parameters; of those alone that are trained, if asked for."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad or not trained)


def _build(settings: ModelSettings, classes: int, image_size: int) -> nn.Module:
    if settings.name.removesuffix("_bn") in VGG:
        return _vgg(settings, classes)
    if settings.name.startswith(TIMM):
        return _timm(settings, classes, image_size)
    return _torchvision(settings, classes, image_size)


def _head(features: int, settings: ModelSettings, classes: int) -> Head:
    """One hidden layer with dropout."""
    return Head(
        nn.Linear(features, settings.head_hidden),
        nn.ReLU(inplace=True),
        nn.Dropout(settings.dropout),
        nn.Linear(settings.head_hidden, classes)
        if settings.head_scale is None
        else NormedLinear(settings.head_hidden, classes, settings.head_scale),
    )


def _vgg(settings: ModelSettings, classes: int) -> nn.Module:
    """VGG's convolutions, the average of each map, and the head.

    torchvision's own VGG class would also draw 120 million parameters of the classifier that is not used.
    """
    blocks, norm = VGG[settings.name.removesuffix("_bn")], settings.name.endswith("_bn")
    layers: list[nn.Module] = []
    channels = 3
    for convolutions, full_width in zip(blocks, VGG_CHANNELS, strict=True):
        for _ in range(convolutions):
            before, channels = channels, max(1, round(full_width * settings.width))
            layers.append(nn.Conv2d(before, channels, kernel_size=3, padding=1))
            layers += [nn.BatchNorm2d(channels)] if norm else []
            layers.append(nn.ReLU(inplace=True))
        layers.append(nn.MaxPool2d(kernel_size=2, stride=2))
    features = nn.Sequential(*layers)
    for layer in features:
        if isinstance(layer, nn.Conv2d):  # as torchvision's VGG does
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    parts = {
        "features": features,
        "avgpool": nn.AdaptiveAvgPool2d(1),
        "flatten": nn.Flatten(),
        "head": _head(channels, settings, classes),
    }
    return nn.Sequential(OrderedDict(parts))


def _torchvision(settings: ModelSettings, classes: int, image_size: int) -> nn.Module:
    """A torchvision classifier whose last linear layer is replaced by the head."""
    import torchvision.models

    size = {"image_size": image_size} if settings.name in PATCHES else {}  # its embeddings have a place in the image
    model = torchvision.models.get_model(settings.name, weights=None, **size)
    return _with_head(
        model, [path for path, m in model.named_modules() if isinstance(m, nn.Linear)][-1], settings, classes
    )


def _timm(settings: ModelSettings, classes: int, image_size: int) -> nn.Module:
    """A timm classifier whose classifier is replaced by the head; what timm's file of its weights holds fits it.

    Raises:
        StudyError: it does not take images of this size, or its classifier is not one linear layer.
    """
    import timm

    name = settings.name.removeprefix(TIMM)
    size = {"img_size": image_size} if timm.models.get_pretrained_cfg(name).fixed_input_size else {}
    try:
        model = timm.create_model(name, pretrained=False, in_chans=3, **size)
        with torch.no_grad():
            model.eval()(torch.zeros(1, 3, image_size, image_size))
    except (RuntimeError, TypeError, ValueError, AssertionError) as error:
        reason = str(error).partition("\n")[0]
        raise StudyError(
            f"config key 'data.image_size' is {image_size}, which {settings.name} does not take ({reason}); allowed is "
            "another size, or another 'model.name'"
        ) from None
    path = model.default_cfg["classifier"]
    if not isinstance(path, str) or not isinstance(model.get_submodule(path), nn.Linear):
        raise StudyError(
            f"config key 'model.name' is {settings.name!r}, whose classifier is no linear layer, so that the study's "
            "head has no place there; allowed is another model"
        )
    return _with_head(model, path, settings, classes)


def _with_head(model: nn.Module, path: str, settings: ModelSettings, classes: int) -> nn.Module:
    """The model with the head in the place of its linear layer at `path`."""
    last, (parent, _, attribute) = model.get_submodule(path), path.rpartition(".")
    assert isinstance(last, nn.Linear)
    setattr(model.get_submodule(parent), attribute, _head(last.in_features, settings, classes))
    return model


def load_weights(model: nn.Module, path: Path, part: str = "all") -> None:
    """Start `model` from a state dict: a backbone, or backbone and head.

    The keys of the head may be missing, and what a pretrained file has in its place is ignored.

    Args:
        path: .safetensors, or .pth / .pt with nothing but tensors in it.
        part: "all", or "backbone" to leave the head as it was drawn, whatever the file holds.

    Raises:
        StudyError: naming the keys that are missing, not known or of another shape.
    """
    expected, (head, _) = model.state_dict(), head_of(model)
    left_out = f"{head}." if part == "backbone" else ()
    tensors = {key: value for key, value in read_state_dict(path).items() if not key.startswith(left_out)}
    in_head = {key for key in expected if key.startswith(f"{head}.")}
    # older files lack this counter, which only a batch norm without momentum reads
    optional = in_head | {key for key in expected if key.endswith("num_batches_tracked")}
    missing = [key for key in expected if key not in tensors and key not in optional]
    known_parts = {key.split(".")[0] for key in expected}
    replaced = (f"{head}.weight", f"{head}.bias")
    unknown = [k for k in tensors if k not in expected and k.split(".")[0] in known_parts and k not in replaced]
    shapes = [
        f"{key} {tuple(tensors[key].shape)} instead of {tuple(value.shape)}"
        for key, value in expected.items()
        if key in tensors and tensors[key].shape != value.shape
    ]
    problems = {"missing": missing, "not in the model": unknown, "of another shape": shapes}
    if any(problems.values()):
        text = "; ".join(f"{what}: {_some(keys)}" for what, keys in problems.items() if keys)
        raise StudyError(f"{path}: these weights don't fit the model of the config key 'model'; {text}")
    model.load_state_dict({key: tensors.get(key, value) for key, value in expected.items()})


def _some(keys: list[str], limit: int = 4) -> str:
    more = f" and {len(keys) - limit} more" if len(keys) > limit else ""
    return ", ".join(keys[:limit]) + more


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Tensors by name from a file, without running any code it may contain.

    Raises:
        StudyError: if the file is missing or holds anything but a flat dict of tensors.
    """
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise StudyError(f"{path}: the file of weights does not exist (config key 'model.weights')") from None
    except Exception as error:  # PyTorch, pickle, zip and safetensors each raise their own
        raise StudyError(
            f"{path}: not readable as a file of tensors, allowed is a state dict as .safetensors, .pth or .pt "
            f"({str(error).splitlines()[0]})"
        ) from None
    if not isinstance(state, dict) or not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise StudyError(
            f"{path}: allowed is a state dict, a flat mapping of names to tensors; save model.state_dict()"
        )
    return state
