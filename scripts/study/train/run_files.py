"""What a run leaves behind: a line per epoch, TensorBoard's scalars, history, weights and run.json."""

import csv
import hashlib
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from torch import Tensor

from study.files import json_text, write_atomically
from study.names import HISTORY_COLUMNS
from study.provenance import only_words
from study.train.checkpoints import clear

# columns of history.csv -> tags in TensorBoard
SCALARS = {
    "train_loss": "train/loss",
    "train_accuracy": "train/accuracy",
    "val_loss": "val/loss",
    "val_nll": "val/nll",
    "val_accuracy": "val/accuracy",
    "val_balanced_accuracy": "val/balanced_accuracy",
    "val_macro_f1": "val/macro_f1",
    "predicted_classes": "val/predicted_classes",
    "lr": "train/lr",
}


@dataclass(frozen=True)
class TrainingResult:
    """A finished run. The fields up to `recipe` are those of run.json.

    Attributes:
        trained_parameters: those of `parameters` that are not frozen.
        facts: what a sentence about the outcome needs, see `study.train.outcome.facts`.
        history: one row per epoch, columns of history.csv.
        weights: state dict of the best epoch (of the initial model if there is none), contiguous, on the CPU.
        description: of the weights, kept in their file: what they are and how images are prepared for them.
        provenance: what only training knows of it: device, precision, threads, start, end, resumes.
        checkpoint_dir: what is of no more use once the outputs are written.
        kept_checkpoint: but for this file in it.
    """

    experiment: str
    seed: int
    outcome: str
    epochs: int
    max_epochs: int
    best_epoch: int | None
    best_val_accuracy: float | None
    images_per_second: float
    peak_memory_bytes: int
    seconds: float
    parameters: int
    trained_parameters: int
    device: str
    precision: str
    lr_drops: list[int]
    facts: dict[str, Any]
    recipe: dict[str, Any]
    history: list[dict[str, Any]]
    weights: dict[str, Tensor]
    description: dict[str, Any]
    provenance: dict[str, Any]
    checkpoint_dir: Path | None
    kept_checkpoint: Path | None = None


NOT_IN_RUN_JSON = ("history", "weights", "description", "provenance", "checkpoint_dir", "kept_checkpoint")

# The only key of the metadata of best.safetensors: safetensors writes several in an order that changes between runs.
DESCRIPTION = "description"


def write_outputs(
    result: TrainingResult, history: Path, weights: Path, run: Path, provenance: dict[str, Any]
) -> dict[str, Any]:
    """Write history.csv, best.safetensors and run.json, each atomically, then remove the run's checkpoints.

    What an earlier training left there stays until this one is whole.

    Args:
        provenance: what the caller knows of the run's origin; what training knows is added.

    Returns:
        The content of run.json.
    """
    from safetensors.torch import save

    for path in (history, weights, run):
        path.parent.mkdir(parents=True, exist_ok=True)
    description = json.dumps(result.description, ensure_ascii=False)
    contents = {
        weights: save(result.weights, metadata={DESCRIPTION: description}),
        history: history_csv(result.history).encode(),
    }
    run.unlink(missing_ok=True)  # an earlier one, which would stand for outputs that are not its own
    for path, content in contents.items():
        write_atomically(path, content)
    record = {f.name: getattr(result, f.name) for f in fields(result) if f.name not in NOT_IN_RUN_JSON}
    record["sha256"] = {path.name: hashlib.sha256(content).hexdigest() for path, content in contents.items()}
    record["provenance"] = {**provenance, **result.provenance}
    # Last, so that a run.json stands for outputs that are all there; and only then are the checkpoints of no more use.
    write_atomically(run, json_text(record).encode())
    if result.checkpoint_dir:
        clear(result.checkpoint_dir, but=result.kept_checkpoint)
    return record


def history_csv(history: Sequence[dict[str, Any]]) -> str:
    """The rows as CSV; floats in the shortest form that reads back as the same number."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=HISTORY_COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    return text.getvalue()


@only_words
def epoch_line(
    experiment: str,
    seed: int,
    history: Sequence[dict[str, Any]],
    max_epochs: int,
    best_epoch: int,
    speed: float,
    memory: int,
) -> str:
    """One line on the epoch just finished; the time left is what the remaining epochs take at most.

    Args:
        speed: training images per second.
        memory: peak in bytes, of the GPU's memory or of the process on a CPU.
    """
    row = history[-1]
    seconds = sum(r["seconds"] for r in history) / len(history) * (max_epochs - row["epoch"])
    best = f"{history[best_epoch - 1]['val_accuracy']:.4f} (epoch {best_epoch})" if best_epoch else "none"
    return (
        f"{experiment} seed {seed}  epoch {row['epoch']:>{len(str(max_epochs))}}/{max_epochs}  "
        f"train loss {row['train_loss']:.4f}  val loss {row['val_loss']:.4f}  "
        f"val accuracy {row['val_accuracy']:.4f}  best {best}  lr {row['lr']:.0e}  {speed:,.0f} images/s  "
        f"{_duration(seconds)} left  {memory / 2**30:.2f} GiB"
    )


@only_words
def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}" if minutes >= 60 else f"{minutes}:{rest:02d}"


class TensorBoardLog:
    """The scalars of a run for TensorBoard. Event files of an interrupted attempt are replaced by what was restored.

    Args:
        folder: None writes nothing.
        history: epochs finished before, from a checkpoint.
    """

    def __init__(self, folder: Path | None, history: Sequence[dict[str, Any]]) -> None:
        self.writer = None
        if folder is None:
            return
        for old in folder.glob("events.out.tfevents.*"):
            old.unlink()
        from torch.utils.tensorboard import SummaryWriter  # a quarter of a second, for those who want it

        self.writer = SummaryWriter(str(folder))
        for row in history:
            self.write(row)

    def write(self, row: dict[str, Any]) -> None:
        """Add the scalars of one epoch."""
        if self.writer is None:
            return
        for column, tag in SCALARS.items():
            self.writer.add_scalar(tag, row[column], row["epoch"])
        self.writer.flush()

    def __enter__(self) -> "TensorBoardLog":
        return self

    def __exit__(self, *exception: object) -> None:
        if self.writer is not None:
            self.writer.close()
