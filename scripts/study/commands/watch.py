"""The state of every run of a study, from the files its jobs write: no server, no connection, works over SSH.

A job writes a line per epoch into its log, run.json when it is done, and a last line; on a cluster all lie on the
shared disk. A run.json beside a log without that line is of an earlier training, which the one at work will replace.
What is no longer planned takes part in nothing and is not counted.

Entry points:
    states(study, old, now) -> [State]
    read_state(run, now) -> State
    table(states, title) -> rich.table.Table
"""

import argparse
import contextlib
import re
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from study.commands.configuration import planned_study
from study.elsewhere import made_elsewhere
from study.files import read_json
from study.names import COLLAPSED, COMPLETED, DIVERGED, EARLY_STOPPED, FAILURES
from study.paths import RunPaths
from study.planned import PlannedStudy

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

# A line of `study.train.run_files.epoch_line`.
EPOCH = re.compile(
    r"epoch +(?P<epoch>\d+)/(?P<epochs>\d+) .* best (?P<best>[\d.]+|none)(?: \(epoch (?P<best_epoch>\d+)\))?"
    r"  lr \S+  (?P<speed>[\d,]+) images/s  (?P<left>[\d:]+) left  (?P<memory>[\d.]+) GiB"
)
SILENT_SECONDS = 300  # without a line, a job is called silent; so long an epoch may take
SILENT_EPOCHS = 5  # or as many times the mean epoch so far
TAIL_BYTES = 16_384  # of a log; epoch lines are some 200 bytes

WAITING, RUNNING, SILENT, ERROR = "waiting", "running", "silent", "error"
EVALUATED = "evaluated"  # and done, of a run without training
STYLES = {WAITING: "dim", RUNNING: "bold cyan", SILENT: "yellow", ERROR: "bold red"}
STYLES |= {COLLAPSED: "red", DIVERGED: "red", COMPLETED: "green", EARLY_STOPPED: "green", EVALUATED: "green"}
SYMBOLS = {WAITING: "·", RUNNING: "▶", SILENT: "?", ERROR: "✕", COLLAPSED: "✕", DIVERGED: "✕"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("--study", default="digits", help="name of the study (default: digits)")
    parser.add_argument("--every", type=float, default=2.0, help="seconds between two looks (default: 2)")
    parser.add_argument("--once", action="store_true", help="look once and end")


def run(arguments: argparse.Namespace) -> None:
    """Do what the command is for."""
    from rich.console import Console
    from rich.live import Live

    console = Console()
    if arguments.once or not console.is_terminal:
        console.print(view(arguments.study))
        return
    try:
        with Live(view(arguments.study), console=console, screen=True, auto_refresh=False) as live:
            while True:
                time.sleep(arguments.every)
                live.update(view(arguments.study), refresh=True)
    except KeyboardInterrupt:
        pass


def view(name: str) -> "Group":
    """The table of this moment."""
    from rich.console import Group
    from rich.text import Text

    study = planned_study(name)
    old = study.leftovers()
    left = [run for run in old if run not in study.runs]
    note = [f"{len(left)} finished runs are not in the study any more: `verify` names them"] if left else []
    title = f"{name}, {time.strftime('%H:%M:%S')}"
    return Group(table(states(study, old, time.time()), title), *(Text(line) for line in [*note, *gpu_lines()]))


@dataclass(frozen=True)
class State:
    """One run as its files show it; None where they don't say.

    Attributes:
        state: an outcome of run.json, or "waiting", "running", "silent" (a log without news), "error"; of a run without
            training "waiting" or "evaluated".
        best: best validation accuracy so far, a share.
        left: time left at most, as the job last said.
        memory: peak of the device's memory (of the process on a CPU) in bytes.
        note: the job's last line where it is not about an epoch.
    """

    experiment: str
    seed: int
    state: str
    epoch: int | None = None
    epochs: int | None = None
    best: float | None = None
    best_epoch: int | None = None
    images_per_second: float | None = None
    left: str | None = None
    memory: int | None = None
    note: str = ""


def states(study: PlannedStudy, old: Mapping[RunPaths, str], now: float) -> list[State]:
    """Every planned run; one whose result is no longer that of the study waits for its training.

    Args:
        old: the study's `leftovers`.
        now: seconds since the epoch.
    """
    return [read_state(run, now, old.get(run, "")) for run in study.runs]


def read_state(run: RunPaths, now: float, left_over: str = "") -> State:
    """The state of one run. A file that is being replaced this moment counts as not there yet.

    Args:
        run: its files.
        now: seconds since the epoch.
        left_over: why what it finished is no longer a result of the study; "" if it is one.
    """
    experiment, seed = run.experiment, int(run.seed)
    if not run.trains:
        note = "predictions from a file" if made_elsewhere(run.training) else f"trained as {run.training}"
        evaluated = run.metrics.exists() and not left_over
        return State(experiment, seed, EVALUATED if evaluated else WAITING, note=left_over or note)
    with contextlib.suppress(OSError):
        silence = now - run.log("train").stat().st_mtime
        lines = _tail(run.log("train"))
        if not any(line.startswith(f"{experiment}: ") for line in lines):
            return State(experiment, seed, **_from_log(lines, silence))
    done = None if left_over else _done(run.run)
    return State(experiment, seed, **done) if done else State(experiment, seed, WAITING, note=left_over)


def _done(path: Path) -> dict[str, Any] | None:
    try:
        run = read_json(path)
    except (OSError, ValueError):
        return None
    return {
        "state": run["outcome"],
        "epoch": run["epochs"],
        "epochs": run["max_epochs"],
        "best": run["best_val_accuracy"],
        "best_epoch": run["best_epoch"],
        "images_per_second": run["images_per_second"],
        "memory": run["peak_memory_bytes"],
    }


def _tail(path: Path) -> list[str]:
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - TAIL_BYTES))
        return file.read().decode("utf-8", "replace").splitlines()


def _from_log(lines: Sequence[str], silence: float) -> dict[str, Any]:
    errors = [line for line in lines if line.startswith(("Error:", "Traceback"))]
    if errors:
        return {"state": ERROR, "note": lines[-1] if errors[-1].startswith("Traceback") else errors[-1]}
    epochs = [match for match in map(EPOCH.search, lines) if match]
    patience = SILENT_SECONDS
    values: dict[str, Any] = {}
    if epochs:
        last = epochs[-1]
        values = {"epoch": int(last["epoch"]), "epochs": int(last["epochs"]), "left": last["left"]}
        values["images_per_second"] = float(last["speed"].replace(",", ""))
        values["memory"] = round(float(last["memory"]) * 2**30)
        if last["best"] != "none":
            values |= {"best": float(last["best"]), "best_epoch": int(last["best_epoch"])}
        remaining = values["epochs"] - values["epoch"]
        if remaining:
            patience = max(patience, SILENT_EPOCHS * _seconds(last["left"]) / remaining)
    if silence > patience:
        return {**values, "state": SILENT, "note": f"no line for {silence / 60:,.0f} minutes"}
    note = lines[-1] if lines and not EPOCH.search(lines[-1]) else ""
    return {**values, "state": RUNNING, "note": note}


def _seconds(clock: str) -> int:
    seconds = 0
    for part in clock.split(":"):
        seconds = 60 * seconds + int(part)
    return seconds


def gpu_lines() -> list[str]:
    """A line per GPU of this machine with memory and load, from nvidia-smi; empty without one."""
    if shutil.which("nvidia-smi") is None:
        return []
    query = "--query-gpu=index,name,memory.used,memory.total,utilization.gpu"
    command = ["nvidia-smi", query, "--format=csv,noheader,nounits"]
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return [
        f"GPU {index} ({name}): {_mebibytes(used)} of {_mebibytes(total)} GiB in use, {load} % busy"
        for index, name, used, total, load in (row.split(", ") for row in run.stdout.strip().splitlines())
    ]


def _mebibytes(text: str) -> str:
    return f"{float(text) / 1024:.1f}" if text.replace(".", "").isdigit() else "?"


def table(states: Sequence[State], title: str) -> "Table":
    """The states as a table for the terminal; what comes from files is shown as it is, not as markup."""
    from rich.table import Table
    from rich.text import Text

    seeds = len({state.seed for state in states}) > 1
    shown = Table(
        title=Text(title), title_justify="left", caption=Text(summary(states)), caption_justify="left",
        box=None, padding=(0, 2, 0, 0), pad_edge=False,
    )  # fmt: skip
    shown.add_column("Run", no_wrap=True)
    # As wide as the longest, so that in a narrow terminal notes are cut before them.
    shown.add_column("State", no_wrap=True, min_width=2 + max([len(state.state) for state in states], default=5))
    for head in ("Epoch", "Best (epoch)", "Images/s", "Left", "Memory"):
        shown.add_column(head, justify="right", no_wrap=True)
    notes = any(state.note for state in states)
    if notes:
        shown.add_column("Note", overflow="ellipsis", no_wrap=True)
    for state in states:
        style = STYLES.get(state.state, "")
        cells = [state.experiment + (f", seed {state.seed}" if seeds else "")]
        cells.append(f"{SYMBOLS.get(state.state, '✓')} {state.state.replace('_', ' ')}")
        cells.append("" if state.epoch is None else f"{state.epoch}/{state.epochs}")
        cells.append("" if state.best is None else f"{state.best:.1%} ({state.best_epoch})")
        cells.append("" if state.images_per_second is None else f"{state.images_per_second:,.0f}")
        cells.append(state.left or "")
        cells.append("" if state.memory is None else f"{state.memory / 2**30:.2f} GiB")
        if notes:
            cells.append(state.note)
        shown.add_row(*(Text(cell, style=style if k == 1 else "") for k, cell in enumerate(cells)))
    return shown


def summary(states: Sequence[State]) -> str:
    """How many runs are in which state: "9 of 14 done (2 failed), 1 running, 4 waiting"."""
    counts = Counter(state.state for state in states)
    open_ones = {name: counts.pop(name, 0) for name in (RUNNING, SILENT, ERROR, WAITING)}
    lost = sum(counts[outcome] for outcome in FAILURES)
    text = f"{counts.total()} of {len(states)} done" + (f" ({lost} failed)" if lost else "")
    return ", ".join([text, *(f"{count} {name}" for name, count in open_ones.items() if count)])
