"""Which checkpoints a training may continue from: those of the same run, and of one that was to be longer or shorter.

A finished run leaves the state of its last epoch, so that a few epochs more are trained from there.

Entry points:
    run_key(recipe, settings, code=…, data=…, initial_weights=…) -> str    what a run has to agree in
    checkpoint_key(run_key, experiment, seed) -> str                       the same for its checkpoints
    checkpoint_files(folder, key) -> {epoch: path}                         the checkpoints with a key
    checkpoint_name(key, epoch) -> str
"""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from study.provenance import digest
from study.recipe import Recipe

MAX_EPOCHS = "max_epochs"  # a column of the recipe, and a key of the section `training` that limits it


def run_key(
    recipe: Recipe, settings: Mapping[str, Any], *, code: str, data: str | None, initial_weights: str | None
) -> str:
    """Stands for all that decides the epochs of a run; for how many they are only where that changes them.

    Args:
        settings: all that decides the training beside the recipe; `training.max_epochs` among them.
        code, data: digests.
        initial_weights: digest of the weights of another run that the training starts from; None for any other start.
    """
    deciding, others = recipe.deciding, dict(settings)
    if recipe.bound_to_epochs is None:
        deciding.pop(MAX_EPOCHS)
        others["training"] = {name: value for name, value in settings["training"].items() if name != MAX_EPOCHS}
    return digest([code, data, deciding, others, initial_weights])


def checkpoint_key(key: str, experiment: str, seed: int | str) -> str:
    """What the checkpoints of a run have to agree in, wherever they were copied to.

    Args:
        key: `run_key`.
    """
    return f"{key}/{experiment}/{seed}"


def checkpoint_name(key: str, epoch: int) -> str:
    """Name of the file with the state after an epoch."""
    return f"{_prefix(key)}-{epoch:06d}.checkpoint"


def checkpoint_files(folder: Path, key: str) -> dict[int, Path]:
    """The checkpoints with this key by their epochs, the newest first."""
    if not folder.is_dir():
        return {}
    pattern = re.compile(re.escape(_prefix(key)) + r"-(\d+)\.checkpoint")
    found = {int(match[1]): path for path in folder.iterdir() if (match := pattern.fullmatch(path.name))}
    return dict(sorted(found.items(), reverse=True))


def _prefix(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()[:16]
