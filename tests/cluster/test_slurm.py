"""The shipped SLURM profile on a real cluster of one node and two GPUs, started for the test."""

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest
from conftest import Workspace, copy_pipeline
from slurm import Cluster, missing_programs, running_cluster

EPOCHS = 30
TRAINED = ("plain", "weighted")
FAULT_SECONDS = 120

# What a user edits, line by line: this cluster has a partition called batch, no accounting and no time to lose.
EDITS = {
    "# slurm_partition: gpu": "slurm_partition: batch",
    "# slurm-status-command: squeue": "slurm-status-command: squeue",
    "status-checks: 20": "status-checks: 2",
    "    runtime: 240": "    runtime: 30",
    "    mem_mb: 8000": "    mem_mb: 2000",
}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    if missing := missing_programs():
        pytest.skip(f"SLURM and munge are not installed: no {', '.join(missing)} (Debian: slurm-wlm, munge)")
    with running_cluster() as running:
        yield running


def edited(workspace: Workspace, edits: dict[str, str]) -> None:
    """Change single lines of the profile; each has to be there."""
    path = workspace.root / "profiles/slurm/config.yaml"
    text = path.read_text(encoding="utf-8")
    for old, new in edits.items():
        assert old in text, f"the profile has a line '{old}'"
        text = text.replace(old, new)
    path.write_text(text, encoding="utf-8")


def study(root: Path) -> Workspace:
    root.mkdir()
    workspace = copy_pipeline(root)
    table = root / "config/small.tsv"
    table.write_text(table.read_text(encoding="utf-8").replace("\t1\tcross", f"\t{EPOCHS}\tcross"), encoding="utf-8")
    table.write_text(table.read_text(encoding="utf-8").replace("\t1\tweigh", f"\t{EPOCHS}\tweigh"), encoding="utf-8")
    workspace.configure(
        training={"early_stopping_patience": EPOCHS},
        resources={"train_threads": 1, "train_mem_mb": 2000, "workers": 1},
    )
    edited(workspace, EDITS)
    return workspace


def start(workspace: Workspace, cluster: Cluster, *arguments: str) -> subprocess.Popen[bytes]:
    """Snakemake with the profile; its output goes to run.out."""
    command = [sys.executable, "-m", "snakemake", "--profile", "profiles/slurm", "--configfile", workspace.configfile]
    with (workspace.root / "run.out").open("ab") as output:
        return subprocess.Popen(
            [*command, *arguments],
            cwd=workspace.root, env=cluster.environment, stdout=output, stderr=subprocess.STDOUT,
        )  # fmt: skip


def wait_until(what: str, reached: Callable[[], bool], run: subprocess.Popen[bytes], workspace: Workspace) -> None:
    deadline = time.monotonic() + FAULT_SECONDS
    while not reached():
        if run.poll() is not None or time.monotonic() > deadline:
            pytest.fail(f"{what} did not happen:\n{(workspace.root / 'run.out').read_text()[-6000:]}")
        time.sleep(0.1)


def epochs(workspace: Workspace, experiment: str) -> int:
    """Epochs finished, by the log of the training."""
    log = workspace.root / f"results/small/logs/train/{experiment}_seed_0.log"
    return log.read_text(encoding="utf-8").count("  epoch ") if log.exists() else 0


def job_of(cluster: Cluster, experiment: str) -> str:
    """SLURM's id of the training job of an experiment that is running."""
    for line in cluster.command("squeue", "--noheader", "--states=R", "--format=%A %k").splitlines():
        if f"rule_train_wildcards_{experiment}_0" in line:
            return line.split()[0]
    raise AssertionError(f"no running job of {experiment}")


def seen_gpus(workspace: Workspace) -> list[str]:
    """CUDA_VISIBLE_DEVICES of every training process that is running now, as the process has it."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().decode()
            variables = (process / "environ").read_bytes().decode().split("\0")
        except OSError:  # it has just ended
            continue
        if re.search(rf"python[\d.]*\0{workspace.root}/\.snakemake/scripts/[^/]*\.train\.py", command):
            found += [value.partition("=")[2] for value in variables if value.startswith("CUDA_VISIBLE_DEVICES=")]
    return found


def runs(workspace: Workspace) -> dict[str, dict]:
    folder = workspace.root / "results/small/train"
    return {name: json.loads((folder / name / "seed_0/run.json").read_text(encoding="utf-8")) for name in TRAINED}


def test_a_study_with_a_cancelled_training_finishes_on_two_gpus(cluster: Cluster, tmp_path: Path) -> None:
    workspace = study(tmp_path / "study")
    run = start(workspace, cluster)
    try:
        wait_until(
            "both trainings under way at once",
            lambda: all(3 <= epochs(workspace, name) < EPOCHS for name in TRAINED),
            run,
            workspace,
        )
        assert sorted(seen_gpus(workspace)) == ["0", "1"]
        cancelled = job_of(cluster, "plain")
        cluster.command("scancel", cancelled)
        assert run.wait(300) == 0, (workspace.root / "run.out").read_text()[-6000:]
    finally:
        if run.poll() is None:
            run.kill()
            run.wait()

    said = (workspace.root / "run.out").read_text(encoding="utf-8")
    assert f"SLURM-job '{cancelled}' failed, SLURM status is: 'CANCELLED'" in said
    made = {name: record["provenance"] for name, record in runs(workspace).items()}
    assert made["plain"]["resumes"] == 1 and made["weighted"]["resumes"] == 0
    assert made["plain"]["scheduler"]["SLURM_JOB_ID"] not in (cancelled, made["weighted"]["scheduler"]["SLURM_JOB_ID"])

    assert {made[name]["cuda_visible_devices"] for name in TRAINED} <= {"0", "1"}
    for name in TRAINED:
        history = pd.read_csv(workspace.root / f"results/small/train/{name}/seed_0/history.csv")
        assert list(history["epoch"]) == list(range(1, EPOCHS + 1))
        assert not (workspace.root / f"results/small/train/{name}/seed_0/checkpoints").exists()
    # the report is a local rule; everything else went through the queue, small rules together
    assert (workspace.root / "results/small/report.html").exists()
    assert said.count("has been submitted with SLURM jobid") == 1 + 3 + 2 + 1
