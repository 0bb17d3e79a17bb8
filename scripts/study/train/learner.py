"""Model, loss and optimizer of one run on its device, and what they do in one epoch."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from study.recipe import Recipe
from study.train import convolutions, devices, graphs
from study.train.averaging import WeightAverage
from study.train.batches import Images, Normalize, evaluation_batches
from study.train.losses import Criterion, common_nll
from study.train.models import train_mode
from study.train.optimizers import OPTIMIZERS, build_optimizer, set_lr
from study.train.schedules import schedule_of
from study.train.scores import class_averages
from study.train.stopping import EarlyStopping


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """What all recipes of a study share: keys of the configuration's section `training`, which the schema explains.

    Attributes:
        gpu_slots, cuda_graphs: keys of the section `resources`, which decide nothing about a result.
    """

    max_epochs: int | None
    device: str
    deterministic: bool
    gpu_slots: int = 1
    cuda_graphs: bool = True

    def epochs(self, recipe: Recipe) -> int:
        """Those that a run of the recipe may take."""
        return recipe.epochs(self.max_epochs)


class Learner:
    """Model, loss, optimizer, schedule and stopping of one run on its device.

    Args:
        class_weights: float (K,), in the order of the classes; None will do for a loss that is not weighted.
        class_counts: int (K,) training images of each class; None will do for a loss that does not take them.
        report: takes a line if a training step cannot be replayed as a CUDA graph.

    Attributes:
        totals: float64 (3,) sums over the images of an epoch so far: weighted loss, weight, right predictions.
        graph: replays `train_step`; None where it runs as it is.
    """

    def __init__(
        self,
        recipe: Recipe,
        settings: TrainingSettings,
        model: nn.Module,
        class_weights: np.ndarray | None,
        device: torch.device,
        report: Callable[[str], None] = print,
        class_counts: np.ndarray | None = None,
    ) -> None:
        self.device = device
        self.precision = devices.select_precision(recipe["training.precision"], device)
        devices.configure(device, self.precision, settings.deterministic)
        self.model = model.to(device).to(memory_format=torch.channels_last)
        if convolutions.faster_here(device, self.precision.name):
            convolutions.use_products(self.model)
        weights, counts = (
            None if numbers is None else torch.from_numpy(numbers).to(device)
            for numbers in (class_weights, class_counts)
        )
        self.criterion = Criterion(recipe.loss, recipe.activation, weights, recipe.hyperparameters, counts)
        self.schedule = schedule_of(recipe, settings.epochs(recipe))
        self.scheduler = self.schedule.start()
        on_device = self.schedule.on_device and device.type == "cuda"
        self.optimizer = build_optimizer(recipe, self.model, lr_on_device=on_device)
        self.clip_grad_norm = float(recipe["training.clip_grad_norm"])
        self.average: WeightAverage | None = None
        if recipe["training.model_ema_decay"]:
            decay, steps = recipe["training.model_ema_decay"], recipe["training.model_ema_steps"]
            self.average = WeightAverage(self.model, decay, steps)
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.precision.name == "fp16")
        self.stopping = EarlyStopping(
            recipe["training.early_stopping_patience"],
            recipe["training.early_stopping_min_delta"],
            recipe["training.early_stopping_equal_improves"],
        )
        self.batch_size = recipe.batch_size
        self.totals = torch.zeros(3, dtype=torch.float64, device=device)
        self.graph: graphs.GraphedStep | None = None
        if settings.cuda_graphs and graphs.supported(device, self.precision):
            trained = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
            tensors = [*trained, *self.model.buffers(), self.totals]
            step = partial(train_step, self)
            starts = OPTIMIZERS[recipe.optimizer].starts
            self.graph = graphs.GraphedStep(step, self.optimizer, tensors, settings.deterministic, report, starts)

    def rates(self, epoch: int, steps: int) -> list[float]:
        """The learning rate of each step of an epoch.

        Args:
            epoch: epochs that are finished.
            steps: that an epoch has.
        """
        return [self.scheduler.lr(epoch, step, steps) for step in range(steps)]

    @property
    def evaluated(self) -> nn.Module:
        """The model that is validated and saved: that of the averaged weights, if the recipe averages them."""
        return self.average.model if self.average else self.model

    def weights(self) -> dict[str, Tensor]:
        """A copy of the evaluated model's state as it is now."""
        return {name: tensor.detach().clone() for name, tensor in self.evaluated.state_dict().items()}

    def state_dict(self) -> dict[str, Any]:
        """All that changes from epoch to epoch. Random numbers are not among it: they follow from seed and epoch."""
        return {name: part.state_dict() for name, part in self._parts().items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state_dict()`."""
        rates = [group["lr"] for group in self.optimizer.param_groups]
        for name, part in self._parts().items():
            part.load_state_dict(state[name])
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate  # what is saved may be on another device; the next epoch sets it

    def _parts(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "optimizer": self.optimizer,
            "scheduler": self.scheduler,
            "stopping": self.stopping,
            "scaler": self.scaler,
            **({"average": self.average} if self.average else {}),
        }


def train_epoch(
    learner: Learner, batches: Iterable[tuple[Tensor, ...]], rates: Sequence[float] = ()
) -> tuple[float, float]:
    """One optimizer step per batch; mean loss and accuracy over the epoch's images, as each batch met the model.

    A mixed image counts as predicted right if the label with the larger share is. The sums stay on the device until the
    end: nothing waits for it in between.

    Args:
        rates: learning rate of each step; without them it stays as it is.
    """
    train_mode(learner.model)
    learner.totals.zero_()
    step = learner.graph or partial(train_step, learner)
    count, lr, rest = 0, None, iter(rates)
    for batch in batches:
        before, lr = lr, next(rest, lr)
        if lr is not None and lr != before:
            set_lr(learner.optimizer, lr)
        step(*batch)
        if learner.average:
            learner.average.step()
        count += len(batch[0])
    loss, weight, correct = learner.totals.tolist()
    return loss / weight, correct / count


def train_step(
    learner: Learner, images: Tensor, labels: Tensor, others: Tensor | None = None, share: Tensor | None = None
) -> None:
    """Forward, backward and optimizer; adds to `learner.totals`. Waits for nothing, so that `graphs` can record it.

    Args:
        others: int64 (B,) labels of what is mixed into the images, if anything is.
        share: float32 (B,) of the images' own labels, with `others`.
    """
    with learner.precision.autocast(learner.device):
        logits = learner.model(images)
    losses, weights = learner.criterion(logits, labels, others, share)
    total_loss, total_weight = losses.sum(), weights.sum()
    learner.scaler.scale(total_loss / total_weight).backward()
    if learner.clip_grad_norm:
        learner.scaler.unscale_(learner.optimizer)
        nn.utils.clip_grad_norm_(learner.model.parameters(), learner.clip_grad_norm)
    learner.scaler.step(learner.optimizer)
    learner.scaler.update()
    learner.optimizer.zero_grad(set_to_none=True)
    heavier = labels if others is None or share is None else torch.where(share >= 0.5, labels, others)
    learner.totals += torch.stack([total_loss.detach(), total_weight, (logits.argmax(1) == heavier).sum()])


@dataclass(frozen=True)
class Validation:
    """Means over the validation images.

    Attributes:
        loss: what the recipe trains on, class weights included.
        nll: comparable between recipes, see `common_nll`.
        accuracy: share of images predicted right.
        batch_accuracy: mean of the accuracies of batches of the recipe's size, in the split's order; images of a last,
            smaller batch count for more than the others.
        balanced_accuracy, macro_f1: over the classes that occur, see `class_averages`.
        predicted: indices of the classes that were predicted at all.
    """

    loss: float
    nll: float
    accuracy: float
    batch_accuracy: float
    balanced_accuracy: float
    macro_f1: float
    predicted: list[int]


@torch.inference_mode()
def validate(learner: Learner, data: Images, normalize: Normalize) -> Validation:
    """Loss and scores of the model as it is now."""
    learner.evaluated.eval()
    totals = torch.zeros(3, dtype=torch.float64, device=learner.device)
    predictions = []
    with learner.precision.autocast(learner.device):  # around the loop, so that weights are converted once
        for images, labels in evaluation_batches(data, normalize):
            logits = learner.evaluated(images)
            losses, weights = learner.criterion(logits, labels)
            predictions.append(logits.argmax(1))
            totals += torch.stack([losses.sum(), weights.sum(), common_nll(logits, labels).sum()])
    loss, weight, nll = totals.tolist()
    predicted = torch.cat(predictions)
    right = predicted == data.labels
    correct = right.double()
    by_batch = torch.stack([batch.mean() for batch in correct.split(learner.batch_size)]).mean()
    # Of each class, counted on the device: one transfer of 3 K numbers an epoch.
    counted = [
        torch.bincount(which, minlength=logits.shape[1]) for which in (data.labels[right], data.labels, predicted)
    ]
    hits, images, guesses = torch.stack(counted).tolist()
    return Validation(
        loss / weight,
        nll / len(data),
        correct.mean().item(),
        by_batch.item(),
        *class_averages(hits, images, guesses),
        predicted=[index for index, count in enumerate(guesses) if count],
    )
