"""Whether the fast path computes what a plain loop computes: loss and gradients from the same weights and images."""

import copy
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks import contenders
from study.errors import StudyError
from study.train import devices
from study.train.batches import MEAN, STD, Images, Normalize
from study.train.learner import Learner, train_epoch

# A step with this rate moves the weights by so much that the gradient can be read off them to the last bits.
RATE = 2.0**10
# Steps before the one that is looked at: on a GPU it shall be a captured one, if steps are captured.
STEPS_BEFORE = {"cuda": 8, "cpu": 0}


@dataclass(frozen=True)
class Step:
    """What one training step computed: its loss, and the gradient of every parameter by name, float32."""

    loss: float
    gradients: dict[str, Tensor]


@dataclass(frozen=True)
class Tolerance:
    """Largest relative errors: of the loss, and of all gradients as one vector; and that vector's smallest cosine."""

    loss: float
    gradient: float
    cosine: float


# fp32: another order of sums. TF32 has 10 bits of fraction and bf16 has 7, so one rounding is up to 2^-11 and 2^-8;
# sixteen convolutions forward and back add them up, most in narrow networks and small batches (0.26 was seen at an
# eighth of the width with 16 random images).
TOLERANCES = {
    "fp32": Tolerance(loss=1e-5, gradient=1e-3, cosine=0.999999),
    "tf32": Tolerance(loss=5e-3, gradient=0.05, cosine=0.998),
    "bf16": Tolerance(loss=2e-2, gradient=0.35, cosine=0.94),
}


def plain_step(model: nn.Module, pixels: np.ndarray, labels: np.ndarray, device: torch.device) -> Step:
    """Loss and gradients of the textbook: torchvision's normalisation, contiguous tensors, full fp32.

    Args:
        pixels: uint8 (B, C, S, S)
        labels: int64 (B,)
    """
    from torchvision.transforms.functional import normalize

    devices.configure(device, devices.select_precision("fp32", device), deterministic=True)
    images = torch.from_numpy(np.array(pixels)).float().div(255).expand(-1, 3, -1, -1)
    model = copy.deepcopy(model).to(device).train()
    loss = functional.cross_entropy(
        model(normalize(images, list(MEAN), list(STD)).to(device)), torch.from_numpy(np.array(labels)).to(device)
    )
    loss.backward()
    return Step(loss.item(), {name: p.grad.cpu() for name, p in model.named_parameters() if p.grad is not None})


def our_step(
    model: nn.Module, pixels: np.ndarray, labels: np.ndarray, device: torch.device, precision: str, steps_before: int
) -> Step:
    """Loss and gradients of the pipeline's own training step, read off the weights it leaves behind."""
    model = copy.deepcopy(model)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    state = copy.deepcopy(model.state_dict())
    recipe = contenders.recipe(len(labels), lr=RATE, momentum=0.0, precision=precision)
    learner = Learner(recipe, contenders.settings(), model, None, device)
    data = Images.load(pixels, labels, device, resident=True)
    batch = Normalize(device)(torch.as_tensor(data.images)), data.labels
    if steps_before:
        train_epoch(learner, repeat(batch, steps_before))
        learner.model.load_state_dict(state)
    loss, _ = train_epoch(learner, [batch])
    after = {name: parameter.detach().cpu() for name, parameter in learner.model.named_parameters()}
    return Step(loss, {name: (before[name] - after[name]) / RATE for name in before})


def compare(expected: Step, found: Step, precision: str) -> dict[str, Any]:
    """How far two steps are apart.

    Raises:
        StudyError: if that is more than the precision explains.
    """
    limits = TOLERANCES[precision]
    a, b = (torch.cat([s.gradients[name].flatten() for name in expected.gradients]).double() for s in (expected, found))
    result = {
        "precision": precision,
        "loss_error": abs(found.loss - expected.loss) / abs(expected.loss),
        "gradient_error": ((a - b).norm() / a.norm()).item(),
        "gradient_cosine": functional.cosine_similarity(a, b, dim=0).item(),
        "allowed": vars(limits),
    }
    within = (
        result["loss_error"] <= limits.loss
        and result["gradient_error"] <= limits.gradient
        and result["gradient_cosine"] >= limits.cosine
    )
    if not within:  # NaN is not within either
        raise StudyError(
            f"the training step at {precision} does not compute what a plain loop in fp32 does: loss {found.loss:.6f} "
            f"instead of {expected.loss:.6f} (relative error {result['loss_error']:.1e}, allowed {limits.loss:g}), "
            f"gradient off by {result['gradient_error']:.1e} (allowed {limits.gradient:g}), cosine "
            f"{result['gradient_cosine']:.6f} (allowed from {limits.cosine})"
        )
    return result


def check(task: contenders.Task, precisions: list[str]) -> list[dict[str, Any]]:
    """Compare each precision of the fast path with the plain step, on the first batch, without dropout.

    Raises:
        StudyError: if one of them is off.
    """
    device = task.select_device()
    pixels, labels, classes = task.load()
    pixels, labels = pixels[: task.batch_size], labels[: task.batch_size]
    model = contenders.network(task, classes, pixels.shape[-1], dropout=0.0)
    expected = plain_step(model, pixels, labels, device)
    before = STEPS_BEFORE[device.type]
    return [compare(expected, our_step(model, pixels, labels, device, name, before), name) for name in precisions]
