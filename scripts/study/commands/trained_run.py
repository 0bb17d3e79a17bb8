"""A trained run by its name, and its network with its own preprocessing.

Entry points:
    find_run(study, name, report) -> RunPaths              "best", an experiment, or "…/seed_1"
    Classifier.of(run, device) -> Classifier               the run's network, and what its files say of it
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from study.compare.runs import by_recipe, choose, load_runs
from study.errors import StudyError
from study.evaluate.adjustment import Adjustment
from study.evaluate.prediction import read_description
from study.evaluate.views import VIEWS, log_mean_probabilities
from study.files import read_json
from study.paths import RunPaths, runs_in
from study.planned import PlannedStudy, leftover_lines
from study.recipe import Recipe
from study.train import models


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """Which run of which study."""
    parser.add_argument("--run", default="best", help="best, an experiment, or one with its seed: sgd_ver3/seed_0")
    parser.add_argument("--study", default="digits", help="name of the study (default: digits)")


def find_run(study: PlannedStudy, name: str, report: Callable[[str], None] = print) -> RunPaths:
    """A run of a study, with its weights.

    Runs that take part in nothing (see `PlannedStudy.leftovers`) are never chosen; one that is asked for by its own
    name is given, and what is wrong with it is said. Runs that were restored without weights (`keep --restore`) are
    chosen among like any other, so that the best run is the one of the tables.

    Args:
        study: as it is planned.
        name: "best" (the recipe chosen on validation, and of its seeds the one with the highest validation accuracy),
            an experiment (the same among its seeds), or an experiment with its seed, "sgd_ver3/seed_1".
        report: takes a line on each run that is left out, or that is given although it takes part in nothing.

    Raises:
        StudyError: no such run, with those that there are, or one without weights, with the command that makes them.
    """
    results = study.results
    finished = list(dict.fromkeys([*runs_in(results, "run.json"), *runs_in(results, "best.safetensors")]))
    if not finished:
        raise StudyError(f"{results}: no finished run; train first, or name another study (STUDY=…)")
    finished += [run for run in study.runs if not run.trains and run.run.exists() and run.metrics.exists()]
    leftovers = study.leftovers()
    part = [run for run in finished if run not in leftovers]
    experiments = list(dict.fromkeys(run.experiment for run in part))
    named = [run for run in finished if name in ("best", run.experiment, run.name)]
    if not named:
        allowed = ", ".join(["best", *experiments])
        raise StudyError(f"run '{name}': not found in {results}; allowed: {allowed}, or one with its seed (…/seed_0)")
    wanted = [run for run in named if run in part]
    for line in leftover_lines({run: reason for run, reason in leftovers.items() if run in named}):
        report(f"note: {line}")
    if not wanted and name == "best":
        raise StudyError(f"{results}: no finished run belongs to the study as it is now; run Snakemake for it")
    if not wanted:
        report(f"note: {name} is used because it was asked for by name")
        wanted = named
    found = wanted[0] if len(wanted) == 1 else _best(wanted)
    if not found.weights.exists():
        raise StudyError(
            f"{found.weights}: missing, so that run {found.name} has no network here, as where it was restored without "
            f"(keep --restore); Snakemake makes it if it is asked for this file: snakemake … -- {found.weights}"
        )
    return found


def _best(wanted: list[RunPaths]) -> RunPaths:
    if missing := [run.metrics for run in wanted if not run.metrics.is_file()]:
        raise StudyError(f"{missing[0]}: the run is not evaluated yet, so the best one is not known; finish the study")
    recipes = {}
    for run in wanted:
        columns = read_json(run.run)["recipe"] | {"evaluation.trained_as": "" if run.trains else run.training}
        recipes[run.experiment] = Recipe.of(run.experiment, **columns)
    runs = load_runs(recipes, [run.run for run in wanted], [run.metrics for run in wanted])
    recipe = choose(by_recipe(runs).values())
    best = max(recipe, key=lambda run: run.val_accuracy)
    return next(run for run in wanted if (run.experiment, run.seed) == (best.experiment, best.seed))


@dataclass(frozen=True)
class Classifier:
    """A trained network with what its file says of it.

    Attributes:
        network: float (N, 3, S, S), normalised, to logits (N, K); in evaluation mode.
        classes: names in the order of the logits.
        channels: 1 if the run saw grayscale images, else 3.
        image_size: S in pixels.
        mean, std: of the normalisation, per channel of 0 to 1.
        device: where the network is.
        bit_depth: bits that samples of 16 bits were taken to use.
        stored_size: pixels that images are resized to before the middle of S × S is cut out; None for S.
        keep_aspect: whether they keep their proportions, see `decode.resize`.
        adjustment: what is done to the probabilities; None for nothing.
        tta: the views of an image that they are averaged over, one of `VIEWS`.
    """

    network: nn.Module
    classes: tuple[str, ...]
    channels: int
    image_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    device: torch.device
    bit_depth: int = 16
    stored_size: int | None = None
    keep_aspect: bool = False
    adjustment: Adjustment | None = None
    tta: str = "none"

    @property
    def stored_side(self) -> int:
        """Side in pixels that images are resized to."""
        return self.stored_size or self.image_size

    @property
    def seen_side(self) -> int:
        """Side in pixels of the middle of these that `probabilities` takes: all of it where crops are cut out of it."""
        return self.stored_side if VIEWS[self.tta].crops else self.image_size

    @classmethod
    def of(cls, run: RunPaths, recipe: Recipe | None, device: torch.device) -> "Classifier":
        """The network of a run, which sees the views of an image and is adjusted as the run was evaluated.

        Args:
            recipe: of the run; None where it is not in the table any more, for the network as it is.
        """
        adjustment = None if run.trains else Adjustment.of(read_json(run.metrics))
        tta = recipe["evaluation.tta"] if recipe else "none"
        return replace(cls.load(run.weights, device), adjustment=adjustment, tta=tta)

    @classmethod
    def load(cls, weights: Path, device: torch.device) -> "Classifier":
        """Read a run's best.safetensors.

        Raises:
            StudyError: the file is missing, damaged, or does not say what it is.
        """
        about = read_description(weights)
        if not about:
            raise StudyError(f"{weights}: does not say which classes and images it is for; train the run again")
        settings = models.ModelSettings(
            about["model"],
            about["width"],
            head_hidden=about["head_hidden"],
            dropout=about["dropout"],
            head_scale=about.get("head_scale"),
        )
        network = models.build(settings, len(about["classes"]), about["image_size"], seed=0, weights=weights)
        return cls(
            network.to(device).eval().requires_grad_(False),
            tuple(about["classes"]),
            about["channels"],
            about["image_size"],
            tuple(about["mean"]),
            tuple(about["std"]),
            device,
            about.get("bit_depth", 16),  # older weights do not say it
            about.get("stored_size"),
            about.get("keep_aspect", False),
        )

    @torch.inference_mode()
    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """float32 (N, K) for uint8 images (N, C, S, S) of the run's own channels and `seen_side`, at full precision."""
        log_p = self.log_probabilities(torch.from_numpy(np.array(images)).to(self.device)).cpu().numpy()
        return np.exp(self.adjustment.apply(log_p) if self.adjustment else log_p).astype(np.float32)

    def log_probabilities(self, images: Tensor) -> Tensor:
        """Those of the network, float32 (N, K), before the adjustment, for the same images on the device."""
        batch = images.expand(-1, 3, -1, -1).float() / 255
        mean, std = (torch.tensor(values, device=self.device).view(1, 3, 1, 1) for values in (self.mean, self.std))
        views = VIEWS[self.tta].of((batch - mean) / std, self.image_size)
        return log_mean_probabilities(self.network, views)
