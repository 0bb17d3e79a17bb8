"""The losses that the columns `loss` and `activation` name, and the loss that is comparable between recipes.

To add a loss: its name in the schema (config/schemas/config.schema.yaml, `$defs.recipe`), under `weighted` too if it
weighs the classes, and its record in LOSSES. A parameter of it is a key of the section `loss` that the record takes.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from study.recipe import HYPERPARAMETERS

# What stands between the last linear layer and the cross entropy, which applies log-softmax itself. So "log_softmax"
# changes nothing (it is idempotent), and "softmax" makes a double softmax: the flaw that the study is about.
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "softmax": lambda logits: functional.softmax(logits, dim=1),
    "log_softmax": lambda logits: functional.log_softmax(logits, dim=1),
    "logits": lambda logits: logits,
}


@dataclass(frozen=True)
class Classes:
    """What a loss knows of the K classes, on the device of the logits.

    Attributes:
        weights: float32 (K,) weight of each class at present, None where all count alike for good.
        log_priors: float32 (K,) logarithm of each class's share of the training images; None for a loss without.
    """

    weights: Tensor | None
    log_priors: Tensor | None

    def weighted(self, losses: Tensor, labels: Tensor) -> Tensor:
        """Losses (B,), each times the weight of its image's class."""
        return losses if self.weights is None else losses * self.weights[labels]


@dataclass(frozen=True)
class Loss:
    """What one image costs.

    Attributes:
        per_image: of the activated logits, float32 (B, K), labels, int64 (B,), the `Classes`, and the columns it takes,
            by their own names ("focal_gamma"): float32 (B,), weighted.
        weighted: whether an image counts by the weight of its class.
        takes: the columns of a recipe that are its parameters.
        from_counts: whether it takes how many training images each class has.
    """

    per_image: Callable[..., Tensor]
    weighted: bool
    takes: tuple[str, ...] = ()
    from_counts: bool = False


def cross_entropy(outputs: Tensor, labels: Tensor, classes: Classes, label_smoothing: float) -> Tensor:
    """−Σ q_c w_c ln softmax(outputs)_c, where the true class has q = 1 − ε + ε/K and every other one ε/K.

    As PyTorch's; label smoothing is Szegedy et al. 2016 (arXiv:1512.00567), section 7.
    """
    return functional.cross_entropy(outputs, labels, classes.weights, reduction="none", label_smoothing=label_smoothing)


def logit_adjusted(
    outputs: Tensor, labels: Tensor, classes: Classes, label_smoothing: float, logit_adjust_tau: float
) -> Tensor:
    """Cross entropy of outputs + τ ln π, π each class's share of the training images, so that what is predicted without
    them favours no class for being common: Menon et al. 2021 (arXiv:2007.07314), equation 10.

    With τ = 1 it is the balanced softmax of Ren et al. 2020 (arXiv:2007.10740).
    """
    assert classes.log_priors is not None
    return cross_entropy(outputs + logit_adjust_tau * classes.log_priors, labels, classes, label_smoothing)


def focal(outputs: Tensor, labels: Tensor, classes: Classes, focal_gamma: float) -> Tensor:
    """−w (1 − p)^γ ln p, p the softmax of the true class: Lin et al. 2017 (arXiv:1708.02002), equation 5.

    What an image of p = 1 passes back is 0, also for γ < 1, where the power alone has no gradient.
    """
    nll = functional.cross_entropy(outputs, labels, reduction="none")
    missing = (-torch.expm1(-nll)).clamp_min(torch.finfo(torch.float32).tiny)  # 1 − p
    return classes.weighted(missing**focal_gamma * nll, labels)


def ldam(outputs: Tensor, labels: Tensor, classes: Classes, ldam_max_m: float, ldam_s: float) -> Tensor:
    """Cross entropy of outputs with s m_y less in the true class: Cao et al. 2019 (arXiv:1906.07413), equation 13.

    The margin m_c goes by n_c^(−1/4) and is `ldam_max_m` for the rarest class. The outputs are s times a cosine already
    (`models.NormedLinear`); with that the loss is the one of the authors' code, where s multiplies all logits.
    """
    assert classes.log_priors is not None
    margins = ldam_max_m * ((classes.log_priors.min() - classes.log_priors) / 4).exp()
    true = labels[:, None] == torch.arange(outputs.shape[1], device=outputs.device)
    return cross_entropy(torch.where(true, outputs - ldam_s * margins, outputs), labels, classes, label_smoothing=0.0)


SMOOTHING, GAMMA, TAU = "loss.label_smoothing", "loss.focal_gamma", "loss.logit_adjust_tau"
MARGIN = ("loss.ldam_max_m", "loss.ldam_s")
LOSSES = {
    "cross_entropy": Loss(cross_entropy, weighted=False, takes=(SMOOTHING,)),
    "weighted_cross_entropy": Loss(cross_entropy, weighted=True, takes=(SMOOTHING,)),
    "focal": Loss(focal, weighted=False, takes=(GAMMA,)),
    "weighted_focal": Loss(focal, weighted=True, takes=(GAMMA,)),
    "logit_adjusted": Loss(logit_adjusted, weighted=False, takes=(SMOOTHING, TAU), from_counts=True),
    "ldam": Loss(ldam, weighted=False, takes=MARGIN, from_counts=True),
    "weighted_ldam": Loss(ldam, weighted=True, takes=MARGIN, from_counts=True),
}


class Criterion:
    """A loss behind an activation, per image, so that means over an epoch are exact over images.

    Args:
        loss: a key of LOSSES.
        activation: a key of ACTIVATIONS.
        weights: float (K,) weight of each class, on the device of the logits; a loss that is not weighted leaves them.
        columns: values of a recipe's columns; what the loss takes and is missing here stands at its default.
        counts: (K,) training images of each class, at least 1 each, on that device; for a loss that takes them.

    Attributes:
        class_weights: `weights`, float32, of a loss that is weighted; else None.

    Raises:
        ValueError: a loss has not the weights or counts that it needs.
    """

    def __init__(
        self,
        loss: str,
        activation: str,
        weights: Tensor | None = None,
        columns: Mapping[str, Any] | None = None,
        counts: Tensor | None = None,
    ) -> None:
        self.loss = LOSSES[loss]
        self.activation = ACTIVATIONS[activation]
        given = columns or {}
        self.parameters = {
            HYPERPARAMETERS[name].key: given.get(name, HYPERPARAMETERS[name].node.get("default"))
            for name in self.loss.takes
        }
        if self.loss.weighted and weights is None:
            raise ValueError(f"{loss} needs the weights of the classes")
        if self.loss.from_counts and counts is None:
            raise ValueError(f"{loss} needs the training images of each class")
        self.class_weights = weights.float() if self.loss.weighted and weights is not None else None
        self.classes = Classes(
            weights=None if self.class_weights is None else self.class_weights.clone(),
            log_priors=(counts.double() / counts.sum()).log().float() if counts is not None else None,
        )

    @property
    def weights(self) -> Tensor | None:
        """float32 (K,) weight of each class at present; None where all count alike for good."""
        return self.classes.weights

    def weigh(self, by_class: bool) -> None:
        """Let classes count by their weights from here on, or all alike; in place, so that a recorded step does too."""
        if self.weights is not None and self.class_weights is not None:
            self.weights.copy_(self.class_weights if by_class else torch.ones_like(self.class_weights))

    def __call__(
        self, logits: Tensor, labels: Tensor, other_labels: Tensor | None = None, share: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Weighted losses and weights of a batch; their sums' quotient is the mean loss, as `CrossEntropyLoss` has it.

        A mixed image has two labels and counts for each by its share: loss and weight are means over the two. For
        a cross entropy that is the one with a soft target.

        Args:
            logits: (B, K), any floating dtype; the loss is computed in float32.
            labels: int64 (B,)
            other_labels: int64 (B,) the second label of each image, where images are mixed.
            share: float32 (B,) of `labels` in each image, 0 … 1; the rest is that of `other_labels`.

        Returns:
            float32 (B,) weight times loss of each image, and float32 (B,) its weight.
        """
        outputs = self.activation(logits.float())
        losses, weights = self._of(outputs, labels)
        if other_labels is None or share is None:
            return losses, weights
        others = self._of(outputs, other_labels)
        return torch.lerp(others[0], losses, share), torch.lerp(others[1], weights, share)

    def _of(self, outputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Weighted losses and weights, float32 (B,), if each image had this label alone."""
        losses = self.loss.per_image(outputs, labels, self.classes, **self.parameters)
        return losses, torch.ones_like(losses) if self.weights is None else self.weights[labels]


def probabilities(logits: Tensor) -> Tensor:
    """Predicted class probabilities, float32 (B, K): softmax of the logits, whatever the loss saw."""
    return functional.softmax(logits.float(), dim=1)


def common_nll(logits: Tensor, labels: Tensor) -> Tensor:
    """−ln of the predicted probability of the true class, float32 (B,): comparable between activations."""
    return functional.cross_entropy(logits.float(), labels, reduction="none")
