"""The epoch loop: one recipe, one seed, from packed images to the weights of the best epoch."""

import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from study.batch_sizes import check_batch_sizes
from study.continuing import checkpoint_key
from study.errors import StudyError
from study.provenance import only_words
from study.recipe import Recipe
from study.train import batches, devices, models
from study.train.augmentation import Augmentation, draw_augmentation
from study.train.checkpoints import Checkpoints
from study.train.learner import Learner, TrainingSettings, Validation, train_epoch, validate
from study.train.losses import LOSSES
from study.train.outcome import Ending, facts, is_finite, judge
from study.train.run_files import TensorBoardLog, TrainingResult, epoch_line, write_outputs
from study.train.samplers import draw_order
from study.train.scores import SCORES, monitored
from study.train.seeds import epoch_seed

if TYPE_CHECKING:
    from study.data.packed import PackedData

__all__ = ["RunState", "TrainingResult", "TrainingSettings", "train", "write_outputs"]


@dataclass
class RunState:
    """What a run has reached; with the learner's state, all that a checkpoint holds.

    Attributes:
        best_weights: state dict of the best epoch, of the initial model before there is one.
        started: UTC time of the first start.
        history: one row per finished epoch, columns of history.csv.
        only_class: per epoch, the index of the class predicted for every validation image, or -1.
        best_epoch: 0 before the first epoch.
        finished: whether no epoch is to follow.
        stopped_early: whether early stopping ended the run.
        training_seconds: spent on training steps alone.
        images: trained on so far.
        peak_memory: bytes.
        resumes: times the run continued from a checkpoint.
    """

    best_weights: dict[str, Tensor]
    started: str
    history: list[dict[str, Any]] = field(default_factory=list)
    only_class: list[int] = field(default_factory=list)
    best_epoch: int = 0
    finished: bool = False
    stopped_early: bool = False
    training_seconds: float = 0.0
    images: int = 0
    peak_memory: int = 0
    resumes: int = 0

    @property
    def best_accuracy(self) -> float | None:
        """Validation accuracy of the best epoch; None before there is one."""
        return self.history[self.best_epoch - 1]["val_accuracy"] if self.best_epoch else None

    def add(self, row: dict[str, Any], val: Validation, images: int, training_seconds: float, memory: int) -> None:
        """Take one more epoch into account."""
        self.history.append(row)
        self.only_class.append(val.predicted[0] if len(val.predicted) == 1 else -1)
        self.images += images
        self.training_seconds += training_seconds
        self.peak_memory = max(self.peak_memory, memory)


def _row(epoch: int, lr: float, train: tuple[float, float], val: Validation, seconds: float) -> dict[str, Any]:
    """A line of history.csv."""
    train_loss, train_accuracy = train
    return {
        "epoch": epoch,
        "lr": lr,
        "train_loss": train_loss,
        "train_accuracy": train_accuracy,
        "val_loss": val.loss,
        "val_nll": val.nll,
        "val_accuracy": val.accuracy,
        "val_batch_accuracy": val.batch_accuracy,
        "val_balanced_accuracy": val.balanced_accuracy,
        "val_macro_f1": val.macro_f1,
        "predicted_classes": len(val.predicted),
        "seconds": seconds,
    }


def train(
    recipe: Recipe,
    *,
    seed: int,
    data: "PackedData",
    class_weights: np.ndarray | None,
    settings: TrainingSettings,
    initial_weights: Path | None,
    checkpoint_dir: Path | None,
    checkpoint_every: int,
    run_key: str,
    tensorboard_dir: Path | None,
    report: Callable[[str], None],
    keep_last: bool = False,
) -> TrainingResult:
    """Train one recipe with one seed, or continue where a checkpoint of the same run, or of a shorter one, ends.

    A run that collapses or diverges is a result like any other. Called again after a kill at any instant, the same
    arguments give the same weights and history, but for `seconds`, as without the kill.

    Args:
        seed: decides initial weights, order, augmentation and dropout.
        data: packed images of the splits "train" and "val".
        class_weights: float (K,), in the order of `data.classes`; needed by recipes with a weighted loss.
        initial_weights: state dict to start from; None for random weights.
        checkpoint_dir: where checkpoints live until `write_outputs` has written the result; None for no checkpoints.
        checkpoint_every: epochs between checkpoints.
        run_key: `study.continuing.run_key`; only checkpoints with the same key are continued.
        tensorboard_dir: folder for TensorBoard's event files; None for none.
        report: takes one line per epoch.
        keep_last: leave the last checkpoint there, unless a longer run could not continue from it.

    Raises:
        StudyError: if recipe, data, model and machine do not fit each other.
    """
    _check(recipe, data, class_weights)
    side, stored = data.images["train"].shape[-1], data.stored["train"].shape[-1]
    max_epochs = settings.epochs(recipe)
    model = models.ModelSettings.of(recipe)
    augmentation = Augmentation(**recipe.section("augmentation"))
    with devices.leased(settings.device, settings.gpu_slots, report) as device:
        # Every random choice has a seed of its own from study seed, epoch and purpose: recipes of a seed start from the
        # same weights and see the same images in the same order, and a run that resumes needs no random state.
        init_seed = epoch_seed(seed, 0, "initial weights")
        network = models.build(model, len(data.classes), side, init_seed, initial_weights)
        counts = np.bincount(data.labels["train"], minlength=len(data.classes))
        learner = Learner(recipe, settings, network, class_weights, device, report, counts)
        checkpoints = Checkpoints(checkpoint_dir, checkpoint_key(run_key, recipe.experiment, seed), report)
        state = _resume(checkpoints, learner, max_epochs)
        pixels = {**data.images, "train": data.stored["train"]} if augmentation.crops else data.images
        images, val_images = (
            batches.Images.load(pixels[split], data.labels[split], device, settings.gpu_slots)
            for split in ("train", "val")
        )
        report(_opening_line(recipe, seed, images, val_images, learner, state))
        normalize = batches.Normalize(device)
        with checkpoints, TensorBoardLog(tensorboard_dir, state.history) as board:
            while not state.finished:
                epoch = len(state.history) + 1
                start = time.perf_counter()
                acts = epoch >= recipe.acts_from(max_epochs)
                learner.criterion.weigh(acts)
                # Drawn on the CPU for the whole epoch, so that batch size and device change nothing about it.
                sampler = recipe.sampler if acts else "shuffle"
                order = draw_order(data.labels["train"], sampler, seed, epoch, max_epochs)
                draws = draw_augmentation(augmentation, len(order), side, seed, epoch, stored)
                torch.manual_seed(epoch_seed(seed, epoch, "dropout"))
                steps = batches.training_batches(images, order, draws, recipe.batch_size, normalize, side)
                rates = learner.rates(epoch - 1, len(batches.batch_bounds(len(order), recipe.batch_size)))
                # Waits for the device once, at its end: the time is that of the steps, not of launching them.
                train_means = train_epoch(learner, steps, rates)
                training_seconds = time.perf_counter() - start
                val = validate(learner, val_images, normalize)
                row = _row(epoch, rates[0], train_means, val, time.perf_counter() - start)
                state.add(row, val, len(order), training_seconds, _peak_memory(device))
                _advance(learner, state, recipe, max_epochs)
                _end(learner, state, max_epochs)
                board.write(row)
                speed = len(order) / training_seconds
                best, memory = state.best_epoch, state.peak_memory
                report(epoch_line(recipe.experiment, seed, state.history, max_epochs, best, speed, memory))
                # The last epoch too: a run killed before its outputs are written trains nothing again.
                if epoch % checkpoint_every == 0 or state.finished:
                    checkpoints.save(epoch, {"learner": learner.state_dict(), "run": vars(state)})
    kept = next(iter(checkpoints.files().values()), None) if keep_last and not recipe.bound_to_epochs else None
    return _result(recipe, seed, data, model, learner, state, max_epochs, checkpoint_dir, kept)


def _check(recipe: Recipe, data: "PackedData", class_weights: np.ndarray | None) -> None:
    check_batch_sizes({recipe.experiment: recipe.batch_size}, len(data.labels["train"]))
    if not len(data.labels["val"]):
        raise StudyError("the validation split holds no image, allowed is at least 1; see the config section 'split'")
    if recipe.weighted and (class_weights is None or len(class_weights) != len(data.classes)):
        found = "none" if class_weights is None else str(len(class_weights))
        raise StudyError(
            f"experiment '{recipe.experiment}', column 'loss': {recipe.loss} needs a weight for each of the "
            f"{len(data.classes)} classes, found {found}"
        )
    counts = np.bincount(data.labels["train"], minlength=len(data.classes))
    if LOSSES[recipe.loss].from_counts and not counts.all():
        raise StudyError(
            f"experiment '{recipe.experiment}', column 'loss': {recipe.loss} needs a training image of every class, "
            f"found none of {', '.join(name for name, count in zip(data.classes, counts, strict=True) if not count)}"
        )


def _resume(checkpoints: Checkpoints, learner: Learner, max_epochs: int) -> RunState:
    """Where the run stands: after its newest checkpoint, or at the start."""
    if learner.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(learner.device)
    checkpoint = checkpoints.load(max_epochs)
    if checkpoint is None:
        return RunState(best_weights=learner.weights(), started=_now())
    _, saved = checkpoint
    learner.load_state_dict(saved["learner"])
    state = RunState(**saved["run"])
    state.best_weights = {name: value.to(learner.device) for name, value in state.best_weights.items()}
    state.resumes += 1
    _end(learner, state, max_epochs)  # the run may have had another length
    return state


def _advance(learner: Learner, state: RunState, recipe: Recipe, max_epochs: int) -> None:
    """Take the last epoch into account: best epoch, learning rate, early stopping."""
    row = state.history[-1]
    epoch = row["epoch"]
    if not is_finite(row):
        return
    # Epochs before `best_from` count only among themselves, so that a run that ends early has a best one too.
    best_from = _best_from(recipe, max_epochs)
    best = state.history[state.best_epoch - 1] if state.best_epoch else None
    if best is None or _rank(row, recipe, best_from) > _rank(best, recipe, best_from):
        state.best_epoch = epoch
        # A copy, on the device: the next step changes the weights in place, and most best epochs are soon outdone.
        state.best_weights = learner.weights()
    watched = monitored(recipe)
    learner.scheduler.after_epoch(epoch, row[watched.column])
    acts_from = recipe.acts_from(max_epochs)
    if epoch + 1 == acts_from:
        learner.scheduler.restart()
    # Before the deferred part acts a run is not yet what its recipe says, and the validation loss is of another kind.
    if epoch >= acts_from:
        learner.stopping.step(watched.cost(row))


def _end(learner: Learner, state: RunState, max_epochs: int) -> None:
    """Say whether the run ends with its last epoch, and what ends it."""
    row = state.history[-1]
    epoch, finite = row["epoch"], is_finite(row)
    state.stopped_early = finite and learner.stopping.exhausted and epoch < max_epochs
    state.finished = not finite or state.stopped_early or epoch == max_epochs


def _best_from(recipe: Recipe, max_epochs: int) -> int:
    """The first epoch that may be the best one: by the loss, deferred class weights have to act, as they are in it."""
    first: int = recipe["training.best_from_epoch"]
    by_weights = recipe["training.best_by"] == "loss" and recipe.weighted
    return max(first, recipe.acts_from(max_epochs)) if by_weights else first


def _rank(row: dict[str, Any], recipe: Recipe, best_from: int) -> tuple[bool, float]:
    """The best epoch has the highest."""
    return row["epoch"] >= best_from, SCORES[recipe["training.best_by"]].rank(row)


def _peak_memory(device: torch.device) -> int:
    """Bytes: what PyTorch allocated on a GPU, or the largest resident size of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024  # getrusage(2): bytes on macOS, kilobytes on Linux
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _device_name(device: torch.device) -> str:
    return f"cuda ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else device.type


@only_words
def _opening_line(
    recipe: Recipe, seed: int, images: batches.Images, val_images: batches.Images, learner: Learner, state: RunState
) -> str:
    where = f"continues after epoch {len(state.history)}" if state.history else "starts"
    parameters, trained = models.parameter_count(learner.model), models.parameter_count(learner.model, trained=True)
    of_them = f", {trained:,} of them trained" if trained < parameters else ""
    return (
        f"{recipe.experiment} seed {seed} {where}: {parameters:,} parameters{of_them}, "
        f"{len(images):,} training and {len(val_images):,} validation images, "
        f"{learner.precision.name} on {_device_name(learner.device)}, "
        f"images {'in its memory' if images.resident else 'memory-mapped'}"
    )


def _ending(recipe: Recipe, data: "PackedData", learner: Learner, state: RunState, max_epochs: int) -> Ending:
    counts = np.bincount(data.labels["val"], minlength=len(data.classes)).astype(float)
    weights = learner.criterion.class_weights
    if weights is not None and len(state.history) >= recipe.acts_from(max_epochs):
        counts *= weights.double().cpu().numpy()
    return Ending(
        history=state.history,
        only_class=[data.classes[index] if index >= 0 else None for index in state.only_class],
        share=dict(zip(data.classes, (counts / counts.sum()).tolist(), strict=True)),
        best_epoch=state.best_epoch or None,
        stopped_early=state.stopped_early,
        patience=learner.stopping.patience,
        best_by=recipe["training.best_by"],
        best_from_epoch=_best_from(recipe, max_epochs),
    )


def _result(
    recipe: Recipe,
    seed: int,
    data: "PackedData",
    model: models.ModelSettings,
    learner: Learner,
    state: RunState,
    max_epochs: int,
    checkpoint_dir: Path | None,
    kept_checkpoint: Path | None,
) -> TrainingResult:
    ending = _ending(recipe, data, learner, state, max_epochs)
    rates = [*(row["lr"] for row in state.history), learner.scheduler.lr(len(state.history))]
    _, channels, _, side = data.images["train"].shape
    return TrainingResult(
        experiment=recipe.experiment,
        seed=seed,
        outcome=judge(ending),
        epochs=len(state.history),
        max_epochs=max_epochs,
        best_epoch=state.best_epoch or None,
        best_val_accuracy=state.best_accuracy,
        images_per_second=state.images / state.training_seconds,
        peak_memory_bytes=state.peak_memory,
        seconds=sum(row["seconds"] for row in state.history),
        parameters=models.parameter_count(learner.model),
        trained_parameters=models.parameter_count(learner.model, trained=True),
        device=_device_name(learner.device),
        precision=learner.precision.name,
        lr_drops=learner.schedule.drops(rates).tolist(),  # position 1 is the second epoch: it fell after epoch 1
        facts=facts(ending),
        recipe=recipe.of_training,
        history=state.history,
        weights={name: value.cpu().contiguous() for name, value in state.best_weights.items()},
        description={
            "experiment": recipe.experiment,
            "seed": seed,
            "epoch": state.best_epoch,
            "classes": list(data.classes),
            "model": model.name,
            "width": model.width,
            "head_hidden": model.head_hidden,
            "dropout": model.dropout,
            **({} if model.head_scale is None else {"head_scale": model.head_scale}),
            "image_size": side,
            "channels": channels,
            "bit_depth": data.bit_depth,
            **data.preparation,
            "mean": list(batches.MEAN),
            "std": list(batches.STD),
        },
        provenance={
            "device": _device_name(learner.device),
            "precision": learner.precision.name,
            "step": "graph" if learner.graph and not learner.graph.failed else "eager",
            **devices.environment(learner.device),
            "threads": torch.get_num_threads(),
            "started": state.started,
            "ended": _now(),
            "resumes": state.resumes,
        },
        checkpoint_dir=checkpoint_dir,
        kept_checkpoint=kept_checkpoint,
    )
