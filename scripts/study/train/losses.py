"""The loss that a recipe trains with, and the loss that is comparable between recipes."""

from collections.abc import Callable

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


class Criterion:
    """Cross entropy behind an activation, per image, so that means over an epoch are exact over images.

    Args:
        activation: a key of ACTIVATIONS.
        weights: float (K,) weight of each class, on the device of the logits; None for all ones.
    """

    def __init__(self, activation: str, weights: Tensor | None = None) -> None:
        self.activation = ACTIVATIONS[activation]
        self.weights = None if weights is None else weights.float()

    def __call__(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Weighted losses and weights of a batch; their sums' quotient is the mean loss, as `CrossEntropyLoss` has it.

        Args:
            logits: (B, K), any floating dtype; the loss is computed in float32.
            labels: int64 (B,)

        Returns:
            float32 (B,) weight times loss of each image, and float32 (B,) its weight.
        """
        losses = functional.cross_entropy(self.activation(logits.float()), labels, reduction="none")
        if self.weights is None:
            return losses, torch.ones_like(losses)
        weights = self.weights[labels]
        return losses * weights, weights


def probabilities(logits: Tensor) -> Tensor:
    """Predicted class probabilities, float32 (B, K): softmax of the logits, whatever the loss saw."""
    return functional.softmax(logits.float(), dim=1)


def common_nll(logits: Tensor, labels: Tensor) -> Tensor:
    """−ln of the predicted probability of the true class, float32 (B,): comparable between activations."""
    return functional.cross_entropy(logits.float(), labels, reduction="none")
