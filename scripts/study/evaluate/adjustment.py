"""Post-hoc adjustment: what becomes of the predictions of a trained network without another training.

Every method here is softmax(scale · log p + offset), so what was fitted is a number and an offset of each class, kept
under `adjustment` in metrics.json. Entry points:
    adjust(predictions, recipe, counts) -> (DataFrame, Adjustment)
    Adjustment.of(metrics) -> Adjustment | None            what a metrics.json says
    Adjustment.apply(probabilities) -> NDArray             what they become
    METHODS                                                the methods by name
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

from study.errors import StudyError
from study.evaluate.metrics import SMALLEST_PROBABILITY, class_names, decode, negative_log_likelihood
from study.files import file_sha256
from study.names import PROBABILITY
from study.recipe import Recipe

Array = NDArray[np.float64]

FITTED_ON = "val"
TEMPERATURES = (0.01, 100.0)  # between which the temperature is looked for
TAUS = np.arange(61) / 20  # 0 to 3, of which one is tuned
KEY = "adjustment"  # in metrics.json
ADJUSTED = "predictions_sha256"  # below it


@dataclass(frozen=True)
class Validation:
    """What an adjustment is fitted on.

    Attributes:
        log_p: of each class, (N, K).
        labels: true class, (N,).
        prior: shares of the classes among the training images, (K,).
        tau: the recipe's `evaluation.posthoc_tau`.
    """

    log_p: Array
    labels: NDArray[np.int64]
    prior: Array
    tau: float


@dataclass(frozen=True)
class Method:
    """A method of adjustment.

    Attributes:
        parameter: its one number, as sentences call it.
        fitted: whether the number comes from the validation images.
        value: finds the number.
        scale_and_offset: of log p, (1,) and (K,), from the number and the prior.
    """

    parameter: str
    fitted: bool
    value: Callable[[Validation], float]
    scale_and_offset: Callable[[float, Array], tuple[float, Array]]


@dataclass(frozen=True)
class Adjustment:
    """A method with what it came to for one run: softmax(scale · log p + offset).

    Attributes:
        method: one of `METHODS`.
        value: T or τ; None where probabilities are not finite, which stay as they are.
        scale: factor on log p.
        offset: class -> what is added.
    """

    method: str
    value: float | None
    scale: float
    offset: Mapping[str, float]

    @classmethod
    def of(cls, metrics: Mapping[str, Any]) -> "Adjustment | None":
        """What the content of a metrics.json says of it; None where predictions are as the network gave them."""
        return cls(**{field.name: metrics[KEY][field.name] for field in fields(cls)}) if KEY in metrics else None

    def record(self, predictions: Path) -> dict[str, Any]:
        """What metrics.json has under `KEY`, with the SHA-256 of the predictions that were adjusted."""
        return asdict(self) | {ADJUSTED: file_sha256(predictions)}

    def apply(self, probabilities: Array) -> Array:
        """Adjusted probabilities, (N, K), from those of the network in the order of the classes."""
        return np.asarray(softmax(self.scale * _log(probabilities) + np.array(list(self.offset.values())), axis=1))

    def in_words(self) -> str:
        """What it did: "T = 1.7, fitted on the validation images", "τ = 1"."""
        method = METHODS[self.method]
        if self.value is None:
            return "nothing is adjusted, as its probabilities are not finite"
        return f"{method.parameter} = {self.value:.4g}{', fitted on the validation images' * method.fitted}"


def adjust(predictions: pd.DataFrame, recipe: Recipe, counts: Mapping[str, int]) -> tuple[pd.DataFrame, Adjustment]:
    """The adjusted predictions, and how; fitted on the validation images alone, where the method fits anything.

    Probabilities that are not finite (a diverged run) stay as they are; the adjustment then changes nothing.

    Args:
        predictions: of the run that was trained, in the layout of predictions.csv.
        recipe: of the row; its method and τ.
        counts: class -> training images.

    Returns:
        A table of the same layout with float64 probabilities, and the adjustment.

    Raises:
        StudyError: other classes than those of the predictions, or one without a training image.
    """
    classes, name = class_names(predictions), recipe["evaluation.posthoc"]
    if sorted(counts) != sorted(classes) or not all(counts.values()):
        found = ", ".join(f"{label} ({count})" for label, count in counts.items())
        raise StudyError(f"post-hoc adjustment: needs training images of each of {', '.join(classes)}; found: {found}")
    labels, _, probabilities = decode(predictions)
    if not np.isfinite(probabilities).all():
        return predictions, Adjustment(name, None, 1.0, dict.fromkeys(classes, 0.0))
    shares = np.array([counts[label] for label in classes], float)
    log_p = _log(probabilities)
    val = (predictions["split"] == FITTED_ON).to_numpy()
    method = METHODS[name]
    prior = shares / shares.sum()
    value = method.value(Validation(log_p[val], labels[val], prior, recipe["evaluation.posthoc_tau"]))
    scale, offset = method.scale_and_offset(value, prior)
    adjustment = Adjustment(name, value, scale, dict(zip(classes, offset.tolist(), strict=True)))
    columns = [PROBABILITY + label for label in classes]
    adjusted = pd.DataFrame(adjustment.apply(probabilities), columns=columns, index=predictions.index)
    return predictions.assign(**{column: adjusted[column] for column in columns}), adjustment


def _log(probabilities: Array) -> Array:
    """Natural logarithm, with a probability of zero where the metrics clip it."""
    return np.log(np.maximum(probabilities, SMALLEST_PROBABILITY))


def _temperature(validation: Validation) -> float:
    """T with the lowest NLL of the validation images; 1 if none is lower than that of the network.

    Source: Guo, Pleiss, Sun & Weinberger 2017, On Calibration of Modern Neural Networks, section 4.2 (arXiv
    1706.04599). The NLL is convex in 1/T, so that it has one minimum in ln T.
    """
    rows = np.arange(len(validation.labels))

    def nll(log_temperature: float) -> float:
        return -float(log_softmax(validation.log_p / math.exp(log_temperature), axis=1)[rows, validation.labels].mean())

    def shown(temperature: float) -> float:
        """The NLL of metrics.json, which clips probabilities."""
        probabilities = softmax(validation.log_p / temperature, axis=1)
        return float(negative_log_likelihood(validation.labels, probabilities).mean())

    bounds = tuple(math.log(end) for end in TEMPERATURES)
    found = math.exp(minimize_scalar(nll, bounds=bounds, method="bounded", options={"xatol": 1e-9}).x)
    return found if shown(found) < shown(1.0) else 1.0


def _tuned_tau(validation: Validation) -> float:
    """The τ of `TAUS` with the highest balanced accuracy on the validation images, the smallest of equal ones.

    Source: Menon et al. 2021, Long-tail learning via logit adjustment (arXiv 2007.07314), who tune τ too.
    """
    labels = validation.labels
    images = np.bincount(labels, minlength=len(validation.prior))

    def balanced_accuracy(tau: float) -> float:
        predicted = (validation.log_p - tau * np.log(validation.prior)).argmax(axis=1)
        right = np.bincount(labels[predicted == labels], minlength=len(images))
        return float((right[images > 0] / images[images > 0]).mean())

    return float(max(TAUS, key=balanced_accuracy))  # the first of equal ones


def _tempered(temperature: float, prior: Array) -> tuple[float, Array]:
    return 1 / temperature, np.zeros_like(prior)


def _logit_adjusted(tau: float, prior: Array) -> tuple[float, Array]:
    """log p − τ · log π, the post-hoc form of Menon et al. 2021."""
    return 1.0, -tau * np.log(prior)


def _given_tau(validation: Validation) -> float:
    return validation.tau


METHODS = {
    "temperature": Method("T", True, _temperature, _tempered),
    "logit_adjustment": Method("τ", False, _given_tau, _logit_adjusted),
    "tuned_logit_adjustment": Method("τ", True, _tuned_tau, _logit_adjusted),
}
