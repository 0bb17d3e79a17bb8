"""Real kills of real Snakemake runs, and the comparison with a run that nobody disturbed.

Also a program: `python tests/workflow/interruption.py 200 docs/KILLS.md` kills 200 times and records what came out.
"""

import csv
import importlib.metadata
import os
import platform
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from conftest import Workspace, copy_pipeline

EPOCHS = 12
EXPERIMENTS = ("plain", "weighted")
KILLS_PER_STUDY = 10
POLL_SECONDS = 0.02
SHARE_OF_SNAKEMAKE = 0.2
SPAN_DIVISOR = 6  # two trainings and two short evaluations: about half of a training
VERSIONS = ("torch", "snakemake")


def prepare(root: Path) -> Workspace:
    """The small study with enough epochs to be interrupted, on one thread, so that results can be equal to the bit."""
    root.mkdir(exist_ok=True)
    workspace = copy_pipeline(root)
    table = root / "config/small.tsv"
    rows = [line.split("\t") for line in table.read_text(encoding="utf-8").splitlines()]
    column = rows[0].index("max_epochs")
    for row in rows[1:]:
        row[column] = str(EPOCHS)
    table.write_text("".join("\t".join(row) + "\n" for row in rows), encoding="utf-8")
    workspace.configure(resources={"train_threads": 1, "workers": 1})
    return workspace


def predictions(experiments: Sequence[str]) -> list[str]:
    """The last files that these experiments come to here."""
    return [f"results/small/evaluate/{name}/seed_0/predictions.parquet" for name in experiments]


def outputs(workspace: Workspace, experiments: Sequence[str] = EXPERIMENTS) -> dict[str, object]:
    """What must not depend on interruptions: bytes of weights and predictions, the history without its seconds."""
    found: dict[str, object] = {}
    for name in experiments:
        run = workspace.root / f"results/small/train/{name}/seed_0"
        with (run / "history.csv").open(newline="", encoding="utf-8") as file:
            found[f"{name} history"] = [
                {k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)
            ]
        found[f"{name} weights"] = (run / "best.safetensors").read_bytes()
    for path in predictions(experiments):
        found[path] = (workspace.root / path).read_bytes()
    return found


def start(workspace: Workspace, *arguments: str, experiments: Sequence[str] = EXPERIMENTS) -> subprocess.Popen[bytes]:
    """Snakemake up to the predictions, one job at a time, as the leader of a process group; it writes to run.out."""
    command = [sys.executable, "-m", "snakemake", "--configfile", workspace.configfile, "--cores", "1"]
    with (workspace.root / "run.out").open("ab") as output:
        return subprocess.Popen(
            [*command, "--resources", "gpu=1", *arguments, "--", *predictions(experiments)],
            cwd=workspace.root,
            env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def jobs(group: int) -> Iterator[tuple[int, str]]:
    """Process id and rule of every job process of a process group."""
    for folder in Path("/proc").iterdir():
        if not folder.name.isdecimal():
            continue
        try:
            if os.getpgid(int(folder.name)) != group:
                continue
            words = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:  # it has just ended
            continue
        for word in words:
            if b"/.snakemake/scripts/" in word and words[0].rpartition(b"/")[2].startswith(b"python"):
                yield int(folder.name), word.decode().split(".")[-2]


@dataclass
class Interruptions:
    """What was killed, and where the next attempt went on.

    Attributes:
        killed: how many kills hit each rule, or Snakemake with all its jobs.
        resumed: trainings that continued from a checkpoint.
        refused: checkpoints that were found damaged.
    """

    killed: Counter[str] = field(default_factory=Counter)
    resumed: int = 0
    refused: int = 0


def interrupt(workspace: Workspace, kills: int, chance: random.Random, span: float, log: Interruptions) -> int:
    """Run the study to its end, killing it at random instants on the way; returns the number of kills.

    A killed job is started again by the same Snakemake (`--retries`); after Snakemake itself was killed, a new one is.

    Args:
        kills: at most this many; then the study is left alone.
        span: seconds after the start of a job within which it is killed.
    """
    run = start(workspace, "--retries", str(kills))
    done, last = 0, 0
    while done < kills and (job := _next_job(run, last)):
        time.sleep(chance.uniform(0, span))
        last = job[0]
        if run.poll() is None and chance.random() < SHARE_OF_SNAKEMAKE:  # everything at once, as if the machine failed
            os.killpg(run.pid, signal.SIGKILL)
            log.killed["Snakemake and its jobs"] += 1
            run.wait()
            workspace.snakemake("--unlock")
            run = start(workspace, "--retries", str(kills))
        elif job in jobs(run.pid):
            os.kill(last, signal.SIGKILL)
            log.killed[job[1]] += 1
        else:
            continue  # it was faster
        done += 1
    if run.wait():
        raise AssertionError(f"the study failed:\n{(workspace.root / 'run.out').read_text()[-6000:]}")
    text = (workspace.root / "run.out").read_text(encoding="utf-8")
    log.resumed += text.count("continues after epoch")
    log.refused += text.count("checkpoint not used")
    return done


def _next_job(run: subprocess.Popen[bytes], last: int) -> tuple[int, str] | None:
    """The job that is running now and is not the one killed last; None once the run is over."""
    while run.poll() is None:
        for job in jobs(run.pid):
            if job[0] != last:
                return job
        time.sleep(POLL_SECONDS)
    return None


def record(total: int, path: Path, root: Path, seed: int) -> int:
    """Kill `total` times over as many studies as that takes, write the result, return the number of differences."""
    chance, log, began = random.Random(seed), Interruptions(), datetime.now(UTC)
    template = prepare(root / "reference")
    template.snakemake("--", "results/small/data/class_weights.csv")
    first = root / "study_0"
    shutil.copytree(template.root, first)
    began_training = time.monotonic()
    if start(template).wait():
        raise RuntimeError((template.root / "run.out").read_text(encoding="utf-8"))
    span = (time.monotonic() - began_training) / SPAN_DIVISOR
    expected = outputs(template)
    kills, studies, differences = 0, 0, []
    while kills < total:
        studies += 1
        workspace = Workspace(root / f"study_{studies}")
        shutil.copytree(first, workspace.root)
        kills += interrupt(workspace, min(KILLS_PER_STUDY, total - kills), chance, span, log)
        found = outputs(workspace)
        differences += [f"study {studies}: {name}" for name in expected if found[name] != expected[name]]
        shutil.rmtree(workspace.root)
        print(
            f"{kills} of {total} kills, {studies} studies, {log.resumed} resumed, differences: {differences or 'none'}"
        )
        path.write_text(_page(began, kills, studies, differences, log, seed), encoding="utf-8")
    return len(differences)


def _page(began: datetime, kills: int, studies: int, differences: list[str], log: Interruptions, seed: int) -> str:
    hit = "\n".join(f"| {name} | {count} |" for name, count in log.killed.most_common())
    minutes = (datetime.now(UTC) - began).total_seconds() / 60
    return f"""\
# Kills and what they changed

Written by `make test-kills`, which runs a small study (two recipes of {EPOCHS} epochs, trained and evaluated) through
Snakemake and sends SIGKILL at random instants: to the running job, which `--retries` starts again, or to Snakemake and
all of its jobs at once, after which Snakemake is called again. At the end of each study `best.safetensors`,
`history.csv` without its column `seconds`, and `predictions.parquet` of both recipes are compared byte by byte with
those of a study that nobody disturbed. A training that is killed before its first epoch is finished starts anew.

| | |
| --- | --- |
| when | {began:%Y-%m-%d %H:%M} UTC, {minutes:.0f} minutes |
| machine | {platform.system()} {platform.machine()}, {os.cpu_count()} CPU cores, {_gpus()} |
| versions | Python {platform.python_version()}, {", ".join(f"{n} {importlib.metadata.version(n)}" for n in VERSIONS)} |
| kills | {kills}, random seed {seed} |
| studies that they were spread over | {studies} |
| trainings that continued from a checkpoint | {log.resumed} |
| checkpoints found damaged and passed over | {log.refused} |
| **differences** | **{len(differences)}**{": " + ", ".join(differences) if differences else ""} |

| killed | times |
| --- | --- |
{hit}
"""


def _gpus() -> str:
    import torch

    return f"{torch.cuda.device_count()} GPUs" if torch.cuda.is_available() else "no GPU"


if __name__ == "__main__":
    random_seed = random.SystemRandom().randrange(10**6)
    with tempfile.TemporaryDirectory() as temporary:
        sys.exit(record(int(sys.argv[1]), Path(sys.argv[2]), Path(temporary), random_seed) > 0)
