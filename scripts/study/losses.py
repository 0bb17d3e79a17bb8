"""Class weights, the loss that a recipe trains with, and the loss that is comparable between recipes."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from study.errors import StudyError

CLASS_WEIGHT_SCHEMES = ("none", "complement", "balanced", "effective_number")


def class_weights(counts: Sequence[int], scheme: str, beta: float) -> np.ndarray:
    """Weight of each class in the loss.

    Args:
        counts: training images n_c of each of the K classes, each at least 1; N is their sum.
        scheme: "none", all ones;
            "complement", 1 − n_c / N, the study's;
            "balanced", N / (K n_c), scikit-learn's `compute_class_weight`;
            "effective_number", (1 − β) / (1 − β^n_c) scaled to sum to K (Cui et al. 2019, CVPR, equation 2 and
            section 4.1).
        beta: β of "effective_number", from 0 to below 1.

    Returns:
        float64 (K,)

    Raises:
        StudyError: on an unknown scheme, an empty class or a beta out of range.
    """
    n = np.asarray(counts, dtype=np.float64)
    if n.size == 0 or (n < 1).any():
        raise StudyError(f"class weights: the training images per class are {list(counts)}, allowed is at least 1 each")
    if scheme == "none":
        return np.ones_like(n)
    if scheme == "complement":
        return 1 - n / n.sum()
    if scheme == "balanced":
        return n.sum() / (n.size * n)
    if scheme == "effective_number":
        if not 0 <= beta < 1:
            raise StudyError(f"config key 'loss.effective_number_beta': found {beta}, allowed is from 0 to below 1")
        weights = (1 - beta) / (1 - beta**n)
        return weights * n.size / weights.sum()
    raise StudyError(
        f"config key 'loss.class_weights': found '{scheme}', allowed is one of {', '.join(CLASS_WEIGHT_SCHEMES)}"
    )


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
