"""The training loops that are timed against each other. Each lives in a process of its own.

Same images, model, batch size, device and optimizer for all; what differs is in `ABOUT`. The peers read JPEG files
through a DataLoader, and each gets what its own scripts would set for speed.
"""

import importlib.util
import os
import resource
import shutil
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from itertools import repeat
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
import yaml
from torch import Tensor, nn
from torch.nn import functional

from benchmarks import ROOT
from study.data import packed
from study.errors import StudyError
from study.recipe import RECIPE_SECTIONS, Recipe, values_of
from study.settings import common
from study.train import convolutions, devices, models
from study.train.augmentation import Augmentation, draw_augmentation
from study.train.batches import MEAN, STD, Images, Normalize, batch_bounds, training_batches
from study.train.learner import Learner, TrainingSettings, train_epoch
from study.train.samplers import draw_order

ABOUT = {
    "ours": "this pipeline: packed uint8 images on the device, batched augmentation, its own precision (auto)",
    "ours-eager": "the same without a CUDA graph: every kernel of a step launched from Python",
    "ours-compiled": "the same with the network compiled by `torch.compile` in place of a CUDA graph (on a GPU in its "
    "mode `reduce-overhead`)",
    "ours-onednn": "the same with every convolution by oneDNN, as PyTorch has it; on CPUs with AVX2 and without "
    "AVX-512 `ours` takes the gradient of the weights of wide ones from matrix products, on CPUs with AMX in bf16 all "
    "of those with few pixels",
    "ours-cosine": "the same with another learning rate for every step, half a cosine over a hundred epochs",
    "ours-tf32": "the same in TF32, the precision of PyTorch's convolutions on a GPU when nothing is set",
    "ours-fp32": "the same in full fp32",
    "ours-mixup": "ours with every image blended with another one (`mixup_alpha` 0.2)",
    "ours-cutmix": "ours with a box of every image from another one (`cutmix_alpha` 1)",
    "ours-ta_wide": "ours with TrivialAugment (`auto_augment: ta_wide`) beside the study's augmentation",
    "ours-color_jitter": "ours with `color_jitter` 0.4,0.4,0.4,0.1",
    "ours-resized_crop": "ours with `random_resized_crop` 0.08,1",
    "plain": "the usual PyTorch loop: ImageFolder, DataLoader, torchvision's transforms, fp32 with PyTorch's default "
    "switches (on a GPU: TF32 convolutions, cudnn.benchmark), contiguous tensors, `loss.item()` at every step",
    "timm": "timm's loader with its prefetcher, autocast, channels last, nothing read back from the device",
    "lightning": "Lightning's Trainer in its barebones mode with the plain loop's DataLoader, bf16-mixed",
    "lightning-32": "the same, 32-true with PyTorch's default switches",
    "ceiling": "this pipeline's step on one batch that is on the device and normalised already: no data path at all",
    "product": "a large matrix product in the precision of `ours`: what the device computes at best",
}
NEEDS = {"timm": "timm", "lightning": "pytorch_lightning", "lightning-32": "pytorch_lightning"}
FROM_FILES = ("plain", "timm", "lightning", "lightning-32")
SYNTHETIC_SIDE, SYNTHETIC_CLASSES = 48, 7
# Rows and columns of the product's matrices: large enough that a larger one is no faster.
PRODUCT_SIZE = {"cuda": 8192, "cpu": 2048}
PROFILED_STEPS, PROFILED_OPERATIONS = 3, 6
EPOCHS = 100  # of a schedule of the learning rate


@dataclass(frozen=True)
class Task:
    """What every contender does, and where.

    Attributes:
        data: folder of packed images; None for random blocks of grey in images of FER2013's size.
        folder: where the peers' image files are.
        images: size of the data set, the first ones of the training split.
        warmup: untimed steps before those that are timed, in every round.
        workers: processes of each DataLoader.
        threads: of each training process; None for PyTorch's own choice.
    """

    data: str | None
    folder: str
    device: str
    width: float
    batch_size: int
    images: int
    warmup: int
    workers: int
    threads: int | None

    def load(self) -> tuple[np.ndarray, np.ndarray, int]:
        """Images uint8 (N, C, S, S), labels int64 (N,), and the number of classes."""
        if self.data is None:
            blocks = np.random.default_rng(0).integers(0, 256, (self.images, 1, 6, 6), dtype=np.uint8)
            pixels = np.kron(blocks, np.ones((SYNTHETIC_SIDE // 6, SYNTHETIC_SIDE // 6), dtype=np.uint8))
            return pixels, np.arange(self.images, dtype=np.int64) % SYNTHETIC_CLASSES, SYNTHETIC_CLASSES
        content = packed.load(Path(self.data))
        pixels, labels = content.images["train"], content.labels["train"]
        if len(labels) < self.images:
            raise StudyError(
                f"{self.data}: {len(labels):,} training images found, {self.images:,} are needed; give fewer --steps "
                "or --images or --workers, or a smaller --batch-size"
            )
        return pixels[: self.images], labels[: self.images], len(content.classes)

    def select_device(self) -> torch.device:
        """The device, a GPU with its index."""
        device = devices.select_device(self.device)
        return torch.device("cuda", device.index or 0) if device.type == "cuda" else device


@dataclass(frozen=True)
class Contender:
    """One training loop, ready to run.

    Attributes:
        precision: in words.
        workers: processes of its DataLoader.
        run: takes the number of timed steps; returns when they began and ended, in seconds of the machine's
            monotonic clock, with the device's work done at both.
    """

    precision: str
    workers: int
    run: Callable[[int], tuple[float, float]]


def unavailable(name: str, device: torch.device) -> str | None:
    """Why a contender cannot run here; None if it can."""
    package = NEEDS.get(name)
    if package and importlib.util.find_spec(package) is None:
        return f"not installed ({package})"
    if name == "ours-eager" and device.type != "cuda":
        return "it is what `ours` does without a GPU"
    if name == "ours-onednn" and not convolutions.faster_here(device, devices.select_precision("auto", device).name):
        return "it is what `ours` does on this processor"
    if name == "ours-compiled" and device.type != "cuda" and not shutil.which(os.environ.get("CXX", "g++")):
        return "not installed (a C++ compiler)"
    wanted = {"ours-tf32": "tf32", "lightning": "bf16"}.get(name)
    if wanted and wanted not in devices.supported_precisions(device):
        return f"the hardware has no {wanted}"
    return None


def configuration() -> dict[str, dict[str, Any]]:
    """The configuration of the study that is measured: FER2013's over the default."""
    base, overlay = (
        yaml.safe_load((ROOT / "config" / name).read_text(encoding="utf-8")) for name in ("config.yaml", "fer2013.yaml")
    )
    return {name: {**base.get(name, {}), **overlay.get(name, {})} for name in RECIPE_SECTIONS}


def settings(cuda_graphs: bool = True) -> TrainingSettings:
    """The study's training settings."""
    return TrainingSettings(**common(configuration(), "training"), cuda_graphs=cuda_graphs)


def recipe(batch_size: int, lr: float = 0.01, momentum: float = 0.9, precision: str = "auto") -> Recipe:
    """SGD as most recipes of the study have it, with the usual cross entropy."""
    return Recipe.of(
        experiment="benchmark",
        case=1,
        optimizer="SGD",
        lr=lr,
        min_lr=0.0,
        batch_size=batch_size,
        max_epochs=1,
        loss="cross_entropy",
        activation="logits",
        sampler="shuffle",
        momentum=momentum,
        precision=precision,
        study=values_of(configuration()),
    )


def network(task: Task, classes: int, side: int, **changes: Any) -> nn.Module:
    """The study's network with random weights, on the CPU."""
    model = configuration()["model"]
    arguments = {"name": model["name"], "head_hidden": model["head_hidden"], "dropout": model["dropout"]}
    return models.build(models.ModelSettings(width=task.width, **{**arguments, **changes}), classes, side, seed=0)


def now(device: torch.device) -> float:
    """Seconds of the machine's clock, the same in all processes, once the device has nothing left to do."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.monotonic()


def ours(
    task: Task,
    precision: str = "auto",
    step: str = "graph",
    schedule: str = "ConstantLR",
    products: bool = True,
    **augmented: Any,
) -> Contender:
    """The pipeline's own loop. What it draws at the start of an epoch is timed as well.

    Args:
        step: "graph", recorded on a GPU; "eager" or "compiled", launched from Python.
        schedule: of the learning rate, set before every step if it moves; over EPOCHS epochs.
        products: whether wide convolutions may take the gradient of their weights from matrix products.
        augmented: keys of the section `augmentation` beside the study's.
    """
    device = task.select_device()
    pixels, labels, classes = task.load()
    side = pixels.shape[-1]
    augmentation = Augmentation(**configuration()["augmentation"] | augmented)
    model, chosen = network(task, classes, side), settings(cuda_graphs=step == "graph")
    row = recipe(task.batch_size, precision=precision).but(lr_scheduler=schedule, lr_interval="step", max_epochs=EPOCHS)
    never = patch.object(convolutions, "faster_here", lambda device, precision: False)
    with nullcontext() if products else never:
        learner = Learner(row, replace(chosen, max_epochs=None), model, None, device)
    if step == "compiled":
        from torch._inductor import config

        config.force_disable_caches = True  # what an earlier call compiled would hide the set-up
        learner.model.compile(mode="reduce-overhead" if device.type == "cuda" else None)
    images, normalize = Images.load(pixels, labels, device), Normalize(device)
    epoch = 0

    def train(steps: int) -> None:
        nonlocal epoch
        epoch += 1
        order = draw_order(labels, "shuffle", 0, epoch, epoch)[: steps * task.batch_size]
        draws = draw_augmentation(augmentation, len(order), side, 0, epoch)
        rates = learner.rates((epoch - 1) % EPOCHS, len(batch_bounds(len(order), task.batch_size)))
        train_epoch(learner, training_batches(images, order, draws, task.batch_size, normalize), rates)

    return Contender(learner.precision.name, 0, _warm_then_timed(train, task.warmup, device))


def _step_alone(task: Task) -> tuple[Learner, Callable[[int], Any]]:
    """The learner of `ours`, and a function that takes steps on one batch that is on the device already."""
    device = task.select_device()
    pixels, labels, classes = task.load()
    learner = Learner(recipe(task.batch_size), settings(), network(task, classes, pixels.shape[-1]), None, device)
    data = Images.load(pixels[: task.batch_size], labels[: task.batch_size], device, resident=True)
    batch = Normalize(device)(torch.as_tensor(data.images)), data.labels
    return learner, lambda steps: train_epoch(learner, repeat(batch, steps))


def ceiling(task: Task) -> Contender:
    """The step of `ours` alone, on the same batch again and again."""
    learner, take = _step_alone(task)
    return Contender(learner.precision.name, 0, _warm_then_timed(take, task.warmup, learner.device))


def profile(task: Task) -> list[dict[str, Any]]:
    """Operations (kernels on a GPU) that take most of a step's time, by PyTorch's profiler: name and share."""
    from torch.profiler import ProfilerActivity

    if task.threads:
        torch.set_num_threads(task.threads)
    learner, take = _step_alone(task)
    cuda = learner.device.type == "cuda"
    take(task.warmup)
    activity = ProfilerActivity.CUDA if cuda else ProfilerActivity.CPU
    with torch.profiler.profile(activities=[activity]) as profiler:
        take(PROFILED_STEPS)
    spent = {
        event.key: event.self_device_time_total if cuda else event.self_cpu_time_total
        for event in profiler.key_averages()
    }
    most = sorted(spent, key=lambda name: -spent[name])[:PROFILED_OPERATIONS]
    return [{"operation": name, "share": spent[name] / sum(spent.values())} for name in most]


def product(task: Task) -> Contender:
    """`steps` products of two square matrices."""
    device = task.select_device()
    precision = devices.select_precision("auto", device)
    size = PRODUCT_SIZE[device.type]
    a, b = torch.randn(2, size, size, device=device).to(precision.dtype or torch.float32)

    def multiply(steps: int) -> None:
        for _ in range(steps):
            torch.mm(a, b)

    return Contender(precision.name, 0, _warm_then_timed(multiply, task.warmup, device))


def _warm_then_timed(
    work: Callable[[int], Any], warmup: int, device: torch.device
) -> Callable[[int], tuple[float, float]]:
    def run(steps: int) -> tuple[float, float]:
        work(warmup)
        start = now(device)
        work(steps)
        return start, now(device)

    return run


def transforms(last: list[Any]) -> Any:
    """torchvision's counterparts of the study's augmentation, on a PIL image, and what is to follow them."""
    from torchvision import transforms as t

    a = Augmentation(**configuration()["augmentation"])
    shift = (a.shift, a.shift)
    flips = [t.RandomHorizontalFlip(a.horizontal_flip)] if a.horizontal_flip else []
    affine = t.RandomAffine(a.rotation, translate=shift, interpolation=t.InterpolationMode.BILINEAR)
    return t.Compose([*flips, affine, *last])


def file_loader(task: Task, device: torch.device) -> Iterable[tuple[Tensor, Tensor]]:
    """The DataLoader that most people write for a folder of images."""
    from torch.utils.data import DataLoader
    from torchvision import transforms as t
    from torchvision.datasets import ImageFolder

    steps = t.Compose([t.Grayscale(3), transforms([t.ToTensor(), t.Normalize(MEAN, STD)])])
    return DataLoader(
        ImageFolder(task.folder, steps),
        batch_size=task.batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=task.workers,
        pin_memory=device.type == "cuda",
    )


def sgd(model: nn.Module, batch_size: int) -> torch.optim.Optimizer:
    """PyTorch's SGD with nothing but the recipe's numbers."""
    row = recipe(batch_size)
    return torch.optim.SGD(model.parameters(), lr=row.lr, momentum=row.momentum)


def _timed_loop(
    batches: Iterable[tuple[Tensor, Tensor]],
    step: Callable[[Tensor, Tensor], Any],
    warmup: int,
    steps: int,
    device: torch.device,
) -> tuple[float, float]:
    """Time `steps` batches in the middle of an epoch: starting the workers and filling their queues don't count."""
    iterator = iter(batches)
    for _ in range(warmup):
        step(*next(iterator))
    start = now(device)
    for _ in range(steps):
        step(*next(iterator))
    return start, now(device)  # the iterator ends here, and its workers with it


def plain(task: Task) -> Contender:
    """The loop of most tutorials and of torchvision's reference scripts."""
    device = task.select_device()
    torch.backends.cudnn.benchmark = True
    pixels, _, classes = task.load()
    model = network(task, classes, pixels.shape[-1]).to(device)
    criterion, optimizer, loader = nn.CrossEntropyLoss(), sgd(model, task.batch_size), file_loader(task, device)

    def step(images: Tensor, labels: Tensor) -> float:
        images, labels = images.to(device, non_blocking=True), labels.to(device, non_blocking=True)
        loss = criterion(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return Contender("fp32", task.workers, lambda steps: _timed_loop(loader, step, task.warmup, steps, device))


def timm(task: Task) -> Contender:
    """timm's data set, loader, prefetcher and optimizer in a loop with automatic mixed precision."""
    from timm.data import ImageDataset, create_loader
    from timm.data.transforms import ToNumpy
    from timm.optim import create_optimizer_v2

    device = task.select_device()
    torch.backends.cudnn.benchmark = True
    pixels, _, classes = task.load()
    side = pixels.shape[-1]
    row, precision = recipe(task.batch_size), devices.select_precision("auto", device)
    model = network(task, classes, side).to(device, memory_format=torch.channels_last)
    optimizer = create_optimizer_v2(model, opt="momentum", lr=row.lr, momentum=row.momentum, weight_decay=0.0)
    loader = create_loader(
        ImageDataset(task.folder),
        input_size=(3, side, side),
        batch_size=task.batch_size,
        is_training=True,
        mean=MEAN,
        std=STD,
        num_workers=task.workers,
        pin_memory=device.type == "cuda",
        device=device,
        use_prefetcher=True,
        persistent_workers=False,
    )
    loader.batches.transform = transforms([ToNumpy()])  # its own random crops and colours are another task

    def step(images: Tensor, labels: Tensor) -> None:
        images = images.contiguous(memory_format=torch.channels_last)
        with precision.autocast(device):
            loss = functional.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return Contender(precision.name, task.workers, lambda steps: _timed_loop(loader, step, task.warmup, steps, device))


def lightning(task: Task, precision: str = "bf16-mixed") -> Contender:
    """Lightning's Trainer; a callback looks at the clock."""
    import logging
    import warnings

    import pytorch_lightning as pl

    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="pytorch_lightning")
    device = task.select_device()
    pixels, _, classes = task.load()
    loader = file_loader(task, device)

    class Module(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = network(task, classes, pixels.shape[-1])

        def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
            return functional.cross_entropy(self.model(batch[0]), batch[1])

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return sgd(self.model, task.batch_size)

    class Clock(pl.Callback):
        def __init__(self, steps: int) -> None:
            self.times: dict[int, float] = {}
            self.marks = (task.warmup - 1, task.warmup + steps - 1)

        def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
            if batch_idx in self.marks:
                self.times[batch_idx] = now(device)

    module = Module()

    def run(steps: int) -> tuple[float, float]:
        clock = Clock(steps)
        pl.Trainer(
            accelerator="gpu" if device.type == "cuda" else "cpu",
            devices=[device.index] if device.type == "cuda" else 1,
            precision=precision,  # type: ignore[arg-type]
            benchmark=True,
            max_steps=task.warmup + steps,
            barebones=True,
            callbacks=[clock],
        ).fit(module, loader)
        start, end = (clock.times[mark] for mark in clock.marks)
        return start, end

    return Contender(precision, task.workers, run)


BUILDERS: dict[str, Callable[[Task], Contender]] = {
    "ours": ours,
    "ours-eager": lambda task: ours(task, step="eager"),
    "ours-compiled": lambda task: ours(task, step="compiled"),
    "ours-onednn": lambda task: ours(task, products=False),
    "ours-cosine": lambda task: ours(task, schedule="CosineAnnealingLR"),
    "ours-tf32": lambda task: ours(task, "tf32"),
    "ours-fp32": lambda task: ours(task, "fp32"),
    "ours-mixup": lambda task: ours(task, mixup_alpha=0.2),
    "ours-cutmix": lambda task: ours(task, cutmix_alpha=1.0),
    "ours-ta_wide": lambda task: ours(task, auto_augment="ta_wide"),
    "ours-color_jitter": lambda task: ours(task, color_jitter=[0.4, 0.4, 0.4, 0.1]),
    "ours-resized_crop": lambda task: ours(task, random_resized_crop=[0.08, 1.0]),
    "plain": plain,
    "timm": timm,
    "lightning": lightning,
    "lightning-32": lambda task: lightning(task, "32-true"),
    "ceiling": ceiling,
    "product": product,
}


class Process:
    """What a contender's process holds between two calls."""

    contender: Contender


def start(name: str, task: Task) -> tuple[str, int, float]:
    """Build a contender in this process; its precision, number of workers, and what the first steps set up, in seconds.

    A round of one timed step comes first, from which that step and the warm-up at the same pace are taken off.
    """
    if task.threads:
        torch.set_num_threads(task.threads)
    Process.contender = BUILDERS[name](task)
    start = time.monotonic()
    began, ended = Process.contender.run(1)
    setup = time.monotonic() - start - (task.warmup + 1) * (ended - began)
    return Process.contender.precision, Process.contender.workers, max(0.0, setup)


def run(steps: int) -> tuple[float, float]:
    """One round of this process's contender: when its timed steps began and ended."""
    return Process.contender.run(steps)


def peak_memory(task: Task) -> int:
    """Bytes: what PyTorch allocated on a GPU at most, or the largest resident size of this process, workers aside."""
    device = task.select_device()
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
