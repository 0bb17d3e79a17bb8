"""Predicts the validation and test images with the weights that a run saved; `metrics` scores what comes out."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from study.errors import StudyError
from study.evaluate.predictions import Predictions
from study.evaluate.views import VIEWS, Views, log_mean_probabilities
from study.names import EVALUATED_SPLITS
from study.recipe import Recipe
from study.train import devices, models
from study.train.batches import Images, Normalize, evaluation_batches
from study.train.learner import TrainingSettings
from study.train.run_files import DESCRIPTION

if TYPE_CHECKING:
    from study.data.packed import PackedData


def predict(
    weights: Path,
    data: "PackedData",
    recipe: Recipe,
    settings: TrainingSettings,
    report: Callable[[str], None] = print,
) -> Predictions:
    """Log-probabilities of every class for every validation and test image, at the precision of the training.

    Args:
        weights: best.safetensors of a run.
        recipe: of that run; its model, its precision and its test-time augmentation.
        report: takes a line if the job has to wait for a GPU.

    Returns:
        The validation images in their packed order, then the test images.

    Raises:
        StudyError: if the weights belong to other classes, images or another model.
    """
    model = replace(models.ModelSettings.of(recipe), init_part="all")  # the head that was trained, not one drawn anew
    _check(weights, data, model)
    views = VIEWS[recipe["evaluation.tta"]]
    network = models.build(model, len(data.classes), data.images["val"].shape[-1], seed=0, weights=weights)
    with devices.leased(settings.device, settings.gpu_slots, report) as device:
        precision = devices.select_precision(recipe["training.precision"], device)
        devices.configure(device, precision, settings.deterministic)
        network = network.to(device).to(memory_format=torch.channels_last).eval()
        log_p = []
        for split in EVALUATED_SPLITS:
            pixels = data.stored[split] if views.crops else data.images[split]
            images = Images.load(pixels, data.labels[split], device, settings.gpu_slots)
            log_p.append(_log_probabilities(network, images, precision, device, views, data.images[split].shape[-1]))
    return Predictions.of(
        [image_id for split in EVALUATED_SPLITS for image_id in data.image_ids[split]],
        [split for split in EVALUATED_SPLITS for _ in data.image_ids[split]],
        np.concatenate([data.labels[split] for split in EVALUATED_SPLITS]),
        np.concatenate(log_p),
        data.classes,
    )


@torch.inference_mode()
def _log_probabilities(
    network: nn.Module,
    images: Images,
    precision: devices.Precision,
    device: torch.device,
    views: Views,
    side: int,
) -> np.ndarray:
    """float32 (N, K) in the order of the images, of the mean over the views of each."""
    normalize = Normalize(device)
    with precision.autocast(device):
        batches = [
            log_mean_probabilities(network, views.of(batch, side)) for batch, _ in evaluation_batches(images, normalize)
        ]
    return torch.cat(batches).cpu().numpy()


def _check(weights: Path, data: "PackedData", model: models.ModelSettings) -> None:
    """Compare what the weights' file says of itself with what it is used for."""
    _, channels, _, side = data.images["val"].shape
    wanted: dict[str, Any] = {
        "classes": list(data.classes),
        "model": model.name,
        "width": model.width,
        "head_hidden": model.head_hidden,
        "head_scale": model.head_scale,
        "image_size": side,
        "channels": channels,
        "bit_depth": data.bit_depth,
        "stored_size": side,
        "keep_aspect": False,
        **data.preparation,
    }
    description = read_description(weights)
    # Where they are at these values, weights do not say it.
    description = {"bit_depth": 16, "stored_size": description.get("image_size"), "keep_aspect": False} | description
    for name, value in wanted.items():
        if description.get(name) != value:
            raise StudyError(
                f"{weights}: trained with {name} {description.get(name)}, used with {name} {value}; train again, or "
                "evaluate with the configuration and data of the training"
            )


def read_description(weights: Path) -> dict[str, Any]:
    """What a file of weights says of itself: see `TrainingResult.description`; empty for another program's file."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(weights, framework="pt") as file:
            return json.loads((file.metadata() or {}).get(DESCRIPTION, "{}"))
    except FileNotFoundError:
        raise StudyError(f"{weights}: the weights do not exist; train first") from None
    except SafetensorError as error:
        raise StudyError(f"{weights}: not readable as safetensors ({error})") from None
