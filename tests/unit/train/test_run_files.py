"""What a run leaves behind."""

import csv
import hashlib
import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from small_run import NO_AUGMENTATION, RECIPE, small_train, write

from study.names import HISTORY_COLUMNS
from study.train.loop import TrainingResult
from study.train.run_files import SCALARS, epoch_line


@pytest.fixture(scope="module")
def learned() -> TrainingResult:
    """A run that learns the small data."""
    return small_train(RECIPE.but(max_epochs=15), **NO_AUGMENTATION)


def test_history_has_the_promised_columns_and_tensorboard_some_of_them(learned):
    assert all(tuple(row) == HISTORY_COLUMNS for row in learned.history)
    assert set(SCALARS) <= set(HISTORY_COLUMNS)


class TestOutputs:
    def test_history_reads_back_to_the_last_bit(self, learned, tmp_path):
        write(learned, tmp_path)
        with (tmp_path / "history.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert tuple(rows[0]) == HISTORY_COLUMNS
        for row, expected in zip(rows, learned.history, strict=True):
            assert {name: float(cell) for name, cell in row.items()} == expected

    def test_weights_describe_themselves(self, learned, tmp_path):
        write(learned, tmp_path)
        with safe_open(tmp_path / "best.safetensors", framework="pt") as file:
            metadata = file.metadata()
        assert list(metadata) == ["description"]  # one key: the order of several differs from process to process
        description = json.loads(metadata["description"])
        assert description["classes"] == ["left", "right", "top"]
        assert description["mean"] == [0.485, 0.456, 0.406]
        wanted = {"model": "vgg11", "width": 0.0625, "head_hidden": 16, "image_size": 32, "channels": 1}
        assert wanted.items() <= description.items()
        saved = load_file(tmp_path / "best.safetensors")
        assert all(torch.equal(saved[key], value) for key, value in learned.weights.items())

    def test_run_json(self, learned, tmp_path):
        run = write(learned, tmp_path)
        names = ["experiment", "seed", "outcome", "epochs", "max_epochs", "best_epoch", "best_val_accuracy"]
        names += [
            "images_per_second",
            "peak_memory_bytes",
            "seconds",
            "parameters",
            "trained_parameters",
            "device",
            "precision",
            "lr_drops",
            "facts",
        ]
        assert list(run) == [*names, "recipe", "sha256", "provenance"]
        for file, digest in run["sha256"].items():
            assert hashlib.sha256((tmp_path / file).read_bytes()).hexdigest() == digest
        assert set(run["sha256"]) == {"history.csv", "best.safetensors"}
        assert run["recipe"] == RECIPE.but(max_epochs=15, **NO_AUGMENTATION).of_training
        assert run["images_per_second"] > 0
        assert run["peak_memory_bytes"] > 10**7
        assert run["seconds"] == pytest.approx(sum(row["seconds"] for row in learned.history))
        provenance = run["provenance"]
        assert provenance["code"] == "c"
        assert provenance["resumes"] == 0
        assert provenance["step"] == "eager"  # no CUDA graph on a CPU
        assert provenance["driver"] is None and provenance["cuda"] is None  # on a CPU
        assert provenance["determinism"]["deterministic_algorithms"] is False  # nothing to switch on a CPU
        assert provenance["started"] <= provenance["ended"]

    def test_tensorboard_has_what_the_history_has(self, tmp_path):
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        result = small_train(RECIPE.but(max_epochs=3), tensorboard_dir=tmp_path)
        events = EventAccumulator(str(tmp_path)).Reload()
        for tag, column in (("train/loss", "train_loss"), ("val/accuracy", "val_accuracy"), ("train/lr", "lr")):
            assert [e.step for e in events.Scalars(tag)] == [1, 2, 3]
            assert [e.value for e in events.Scalars(tag)] == pytest.approx([row[column] for row in result.history])


def test_time_left_is_in_hours_where_it_takes_hours():
    row = {"epoch": 1, "train_loss": 1, "val_loss": 1, "val_accuracy": 0.5, "lr": 1e-10, "seconds": 100.0}
    assert epoch_line("x", 0, [row], 101, 1, 12345.6, 2**29).endswith("  12,346 images/s  2:46:40 left  0.50 GiB")
