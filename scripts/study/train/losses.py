"""The losses that the columns `loss` and `activation` name, and the loss that is comparable between recipes.

To add a loss: its name in the schema (config/schemas/config.schema.yaml, `$defs.recipe`), under `weighted` too if it
weighs the classes, and its record in LOSSES. A parameter of it is a column of the table that the record takes.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

# What stands between the last linear layer and the cross entropy, which applies log-softmax itself. So "log_softmax"
# changes nothing (it is idempotent), and "softmax" makes a double softmax: the flaw that the study is about.
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "softmax": lambda logits: functional.softmax(logits, dim=1),
    "log_softmax": lambda logits: functional.log_softmax(logits, dim=1),
    "logits": lambda logits: logits,
}


@dataclass(frozen=True)
class Loss:
    """What one image costs.

    Attributes:
        per_image: of the activated logits, float32 (B, K), labels, int64 (B,), and the columns it takes, by name:
            float32 (B,).
        weighted: whether an image counts by the weight of its class.
        takes: the columns of a recipe that are its parameters.
    """

    per_image: Callable[..., Tensor]
    weighted: bool
    takes: tuple[str, ...] = ()


def cross_entropy(outputs: Tensor, labels: Tensor) -> Tensor:
    """−ln softmax(outputs) of the true class, float32 (B,)."""
    return functional.cross_entropy(outputs, labels, reduction="none")


LOSSES = {
    "cross_entropy": Loss(cross_entropy, weighted=False),
    "weighted_cross_entropy": Loss(cross_entropy, weighted=True),
}


class Criterion:
    """A loss behind an activation, per image, so that means over an epoch are exact over images.

    Args:
        loss: a key of LOSSES.
        activation: a key of ACTIVATIONS.
        weights: float (K,) weight of each class, on the device of the logits; a loss that is not weighted leaves them.
        columns: values of a recipe's columns, those that the loss takes among them.

    Raises:
        ValueError: a weighted loss has no weights.
    """

    def __init__(
        self,
        loss: str,
        activation: str,
        weights: Tensor | None = None,
        columns: Mapping[str, Any] | None = None,
    ) -> None:
        self.loss = LOSSES[loss]
        self.activation = ACTIVATIONS[activation]
        self.parameters = {name: (columns or {})[name] for name in self.loss.takes}
        if self.loss.weighted and weights is None:
            raise ValueError(f"{loss} needs the weights of the classes")
        self.weights = weights.float() if self.loss.weighted and weights is not None else None

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
        losses = self.loss.per_image(outputs, labels, **self.parameters)
        if self.weights is None:
            return losses, torch.ones_like(losses)
        weights = self.weights[labels]
        return losses * weights, weights


def probabilities(logits: Tensor) -> Tensor:
    """Predicted class probabilities, float32 (B, K): softmax of the logits, whatever the loss saw."""
    return functional.softmax(logits.float(), dim=1)


def common_nll(logits: Tensor, labels: Tensor) -> Tensor:
    """−ln of the predicted probability of the true class, float32 (B,): comparable between activations."""
    return cross_entropy(logits.float(), labels)
