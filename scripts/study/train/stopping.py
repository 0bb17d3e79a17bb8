"""When a run ends before its last epoch."""

from typing import Any


class EarlyStopping:
    """Stop after `patience` epochs in a row without a strict improvement of the validation loss, or what is watched.

    An equal loss is no improvement: a saturated run whose loss is constant stops too. NaN never improves. Of a score
    that is to rise, its negative is the loss.

    Args:
        patience: epochs without improvement that are tolerated; the last of them stops the run. None never stops it.
        min_delta: an improvement lowers the best loss by more than this.
        equal_improves: take a loss that is exactly at the limit as an improvement, so that a run whose loss is
            constant is never stopped.
    """

    def __init__(self, patience: int | None, min_delta: float = 0.0, equal_improves: bool = False) -> None:
        if patience is not None and patience < 1:
            raise ValueError(f"patience is {patience}, allowed is at least 1")
        self.patience = patience
        self.min_delta = min_delta
        self.equal_improves = equal_improves
        self.best = float("inf")
        self.epochs_without_improvement = 0

    def step(self, val_loss: float) -> bool:
        """Take the loss of one more epoch; True when training should stop."""
        limit = self.best - self.min_delta
        if val_loss < limit or (self.equal_improves and val_loss == limit):
            self.best = val_loss
            self.epochs_without_improvement = 0
        else:
            self.epochs_without_improvement += 1
        return self.exhausted

    @property
    def exhausted(self) -> bool:
        """Whether training should stop, by what was seen so far."""
        return self.patience is not None and self.epochs_without_improvement >= self.patience

    def state_dict(self) -> dict[str, Any]:
        """What has been seen so far; the arguments belong to the settings."""
        return {"best": self.best, "epochs_without_improvement": self.epochs_without_improvement}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state_dict()`."""
        self.best = state["best"]
        self.epochs_without_improvement = state["epochs_without_improvement"]
