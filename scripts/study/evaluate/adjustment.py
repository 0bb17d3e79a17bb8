"""Post-hoc adjustment: what becomes of the predictions of a trained network without another training.

Every method here is softmax(scale · log p + offset), so what was fitted is a number and an offset of each class, kept
under `adjustment` in metrics.json. Entry points:
    adjust(predictions, recipe, counts) -> (DataFrame, Adjustment)
    Adjustment.of(metrics) -> Adjustment | None            what a metrics.json says
    Adjustment.apply(log_p) -> NDArray                     what they become
    METHODS                                                the methods by name
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, logsumexp

from study.errors import StudyError
from study.evaluate.predictions import Predictions, blocks, most_probable
from study.files import file_sha256
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
        log_p: of each class, float32 (N, K).
        labels: true class, (N,).
        prior: shares of the classes among the training images, (K,).
        tau: the recipe's `evaluation.posthoc_tau`.
    """

    log_p: NDArray[np.float32]
    labels: NDArray[np.int64]
    prior: Array
    tau: float

    def blocks(self) -> Iterator[tuple[Array, NDArray[np.int64]]]:
        """Some rows after the other in float64, so that no such array is of all of them."""
        return ((self.log_p[rows].astype(np.float64), self.labels[rows]) for rows in blocks(len(self.labels)))


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

    def apply(self, log_p: NDArray[np.floating]) -> Array:
        """Adjusted log-probabilities, (N, K), from those of the network in the order of the classes."""
        offset = np.array(list(self.offset.values()))
        return np.asarray(log_softmax(self.scale * log_p.astype(np.float64) + offset, axis=1))

    def in_words(self) -> str:
        """What it did: "T = 1.7, fitted on the validation images", "τ = 1"."""
        method = METHODS[self.method]
        if self.value is None:
            return "nothing is adjusted, as its probabilities are not finite"
        return f"{method.parameter} = {self.value:.4g}{', fitted on the validation images' * method.fitted}"


def adjust(predictions: Predictions, recipe: Recipe, counts: Mapping[str, int]) -> tuple[Predictions, Adjustment]:
    """The adjusted predictions, and how; fitted on the validation images alone, where the method fits anything.

    Log-probabilities that are not numbers (a diverged run) stay as they are; the adjustment then changes nothing.

    Args:
        predictions: of the run that was trained.
        recipe: of the row; its method and τ.
        counts: class -> training images.

    Raises:
        StudyError: other classes than those of the predictions, or one without a training image.
    """
    classes, name = predictions.classes, recipe["evaluation.posthoc"]
    if sorted(counts) != sorted(classes) or not all(counts.values()):
        found = ", ".join(f"{label} ({count})" for label, count in counts.items())
        raise StudyError(f"post-hoc adjustment: needs training images of each of {', '.join(classes)}; found: {found}")
    scores, log_p = predictions.scores, predictions.log_p
    if any(np.isnan(log_p[rows]).any() for rows in blocks(len(log_p))):
        return predictions, Adjustment(name, None, 1.0, dict.fromkeys(classes, 0.0))
    labels = scores["label"].cat.codes.to_numpy(np.int64)
    shares = np.array([counts[label] for label in classes], float)
    val = (scores["split"] == FITTED_ON).to_numpy()
    method = METHODS[name]
    prior = shares / shares.sum()
    value = method.value(Validation(log_p[val], labels[val], prior, recipe["evaluation.posthoc_tau"]))
    scale, offset = method.scale_and_offset(value, prior)
    adjustment = Adjustment(name, value, scale, dict(zip(classes, offset.tolist(), strict=True)))
    adjusted, answers = np.empty_like(log_p), np.empty_like(labels)
    for rows in blocks(len(log_p)):
        exact = adjustment.apply(log_p[rows])
        adjusted[rows], answers[rows] = exact, most_probable(exact)
    return Predictions.of(scores["image_id"], scores["split"], labels, adjusted, classes, answers), adjustment


def _temperature(validation: Validation) -> float:
    """T with the lowest NLL of the validation images; 1 if none is lower than that of the network.

    Source: Guo, Pleiss, Sun & Weinberger 2017, On Calibration of Modern Neural Networks, section 4.2 (arXiv
    1706.04599). The NLL is convex in 1/T, so that it has one minimum in ln T.
    """

    def nll(log_temperature: float) -> float:
        total = 0.0
        for log_p, labels in validation.blocks():
            cooled = log_p / math.exp(log_temperature)
            total += float((logsumexp(cooled, axis=1) - cooled[np.arange(len(labels)), labels]).sum())
        return total / len(validation.labels)

    bounds = tuple(math.log(end) for end in TEMPERATURES)
    found = minimize_scalar(nll, bounds=bounds, method="bounded", options={"xatol": 1e-9}).x
    return math.exp(found) if nll(found) < nll(0.0) else 1.0


def _tuned_tau(validation: Validation) -> float:
    """The τ of `TAUS` with the highest balanced accuracy on the validation images, the smallest of equal ones.

    Source: Menon et al. 2021, Long-tail learning via logit adjustment (arXiv 2007.07314), who tune τ too.
    """
    classes = len(validation.prior)
    images = np.bincount(validation.labels, minlength=classes)
    hits = np.zeros((len(TAUS), classes), np.int64)
    for log_p, labels in validation.blocks():
        for tau, right in zip(TAUS, hits, strict=True):
            predicted = (log_p - tau * np.log(validation.prior)).argmax(axis=1)
            right += np.bincount(labels[predicted == labels], minlength=classes)
    balanced_accuracy = (hits[:, images > 0] / images[images > 0]).mean(axis=1)
    return float(TAUS[balanced_accuracy.argmax()])  # the first of equal ones


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
