"""What `make watch` reads from the files of running, finished and broken jobs."""

import json
import os
import time
from io import StringIO
from pathlib import Path

import pytest
from finished_run import planned
from rich.console import Console
from small_run import NO_AUGMENTATION, RECIPE

from study.commands.watch import State, read_state, states, summary, table
from study.paths import RunPaths
from study.train.run_files import epoch_line


def history(epochs: int) -> list[dict[str, float]]:
    row = {"train_loss": 1.5, "val_loss": 1.25, "lr": 0.01, "seconds": 2.0}
    return [{**row, "epoch": epoch, "val_accuracy": 0.5 + 0.01 * epoch} for epoch in range(1, epochs + 1)]


def log(results: Path, experiment: str, *lines: str, seconds_ago: float = 0) -> None:
    path = results / "logs/train" / f"{experiment}_seed_0.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    os.utime(path, (time.time() - seconds_ago,) * 2)


def state(results: Path, experiment: str) -> State:
    return read_state(RunPaths(results, experiment, 0), time.time())


def test_no_file_yet_is_waiting(tmp_path: Path) -> None:
    assert state(tmp_path, "a") == State("a", 0, "waiting")


def test_the_last_epoch_line_is_read_as_training_writes_it(tmp_path: Path) -> None:
    lines = [epoch_line("a", 0, history(n), 80, n, 12345.6, 2**30) for n in (1, 2, 3)]
    log(tmp_path, "a", "a seed 0 starts: 10 parameters", *lines)
    found = state(tmp_path, "a")
    assert (found.state, found.epoch, found.epochs) == ("running", 3, 80)
    assert found.best == pytest.approx(0.53)
    assert (found.best_epoch, found.images_per_second, found.left) == (3, 12346, "2:34")
    assert found.memory == 2**30


def test_what_a_job_waits_for_is_shown(tmp_path: Path) -> None:
    log(tmp_path, "a", "GPU 0 is taken by other jobs (1 at a time on each); waiting until one ends")
    found = state(tmp_path, "a")
    assert found.state == "running"
    assert found.note.startswith("GPU 0 is taken")


def test_a_job_without_a_best_epoch_yet(tmp_path: Path) -> None:
    log(tmp_path, "a", epoch_line("a", 0, history(1), 80, 0, 10.0, 0))
    assert state(tmp_path, "a").best is None


@pytest.mark.parametrize(("minutes", "expected"), [(4, "running"), (6, "silent")])
def test_a_log_that_says_nothing_for_long_is_silent(tmp_path: Path, minutes: int, expected: str) -> None:
    log(tmp_path, "a", epoch_line("a", 0, history(2), 80, 2, 10.0, 0), seconds_ago=60 * minutes)
    assert state(tmp_path, "a").state == expected


def test_slow_epochs_are_waited_for(tmp_path: Path) -> None:
    slow = [{**row, "seconds": 600.0} for row in history(2)]
    log(tmp_path, "a", epoch_line("a", 0, slow, 80, 2, 10.0, 0), seconds_ago=1200)
    assert state(tmp_path, "a").state == "running"


@pytest.mark.parametrize("last", ["Error: config key 'x'", "RuntimeError: CUDA out of memory"])
def test_an_error_shows_its_message(tmp_path: Path, last: str) -> None:
    log(tmp_path, "a", *([] if last.startswith("Error") else ["Traceback (most recent call last):"]), last)
    found = state(tmp_path, "a")
    assert (found.state, found.note) == ("error", last)


def test_a_finished_run_is_what_run_json_says(tmp_path: Path) -> None:
    log(tmp_path, "a", "a seed 0 starts", "a: collapsed. One class for everything.")
    path = tmp_path / "train/a/seed_0/run.json"
    path.parent.mkdir(parents=True)
    path.write_text('{"outcome": ')  # being written
    assert state(tmp_path, "a").state == "waiting"
    run = {"outcome": "collapsed", "epochs": 12, "max_epochs": 50, "best_val_accuracy": None, "best_epoch": None}
    path.write_text(json.dumps({**run, "images_per_second": 10.5, "peak_memory_bytes": 2**30}))
    found = state(tmp_path, "a")
    assert (found.state, found.epoch, found.memory) == ("collapsed", 12, 2**30)
    log(tmp_path, "a", "a seed 0 continues after epoch 12", epoch_line("a", 0, history(13), 60, 2, 10.0, 0))
    assert (state(tmp_path, "a").state, state(tmp_path, "a").epoch) == ("running", 13)  # and will replace it
    (tmp_path / "logs/train/a_seed_0.log").unlink()
    assert state(tmp_path, "a").state == "collapsed"


def test_runs_that_left_the_study_are_not_counted_and_stale_ones_wait(tmp_path: Path) -> None:
    record = {"recipe": RECIPE.but(**NO_AUGMENTATION).hyperparameters, "outcome": "completed"}
    for name in ("removed", "changed"):
        path = tmp_path / f"train/{name}/seed_0/run.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(record), encoding="utf-8")
    study = planned(tmp_path, {"changed": 7, "new": 1}, seeds=(0,))
    found = states(study, study.leftovers(), time.time())
    assert [(one.experiment, one.state) for one in found] == [("changed", "waiting"), ("new", "waiting")]
    assert found[0].note == "it was trained with max_epochs 6, now 7"
    log(tmp_path, "changed", epoch_line("changed", 0, history(7), 7, 2, 10.0, 0))
    assert states(study, study.leftovers(), time.time())[0].state == "running"


def test_the_table_shows_names_as_they_are_and_counts() -> None:
    states = [State("[red]a[/]", 0, "running", 3, 80, 0.5, 3, 1000.0, "2:34"), State("b", 0, "waiting")]
    states.append(State("c", 0, "diverged", 2, 80, memory=2**30))
    console = Console(width=100, file=StringIO(), record=True)
    console.print(table(states, "made up"))
    text = console.export_text()
    assert "[red]a[/]" in text and "3/80" in text and "50.0% (3)" in text and "1.00 GiB" in text
    assert summary(states) == "1 of 3 done (1 failed), 1 running, 1 waiting"
    assert max(map(len, text.splitlines())) <= 100
