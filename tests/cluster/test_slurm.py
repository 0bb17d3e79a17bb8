"""The shipped SLURM profile on a real cluster of two nodes with accounting, started for the tests.

One study of five trainings, each of which meets another fate, and one that is submitted as job arrays.
"""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
from conftest import RECIPES, Workspace, copy_pipeline
from slurm import MAX_SUBMIT_JOBS, Cluster, missing_packages, running_cluster

EPOCHS = 20
TRAINED = [f"sgd{number}" for number in range(1, 6)]
SECONDS = 300  # until something has to have happened

# What a user edits, line by line: this cluster has a partition called batch, a limit on jobs, and no time to lose.
EDITS = {
    "# slurm_partition: gpu": "slurm_partition: batch",
    "# slurm_account: myproject": "slurm_account: study",
    "jobs: 200": f"jobs: {MAX_SUBMIT_JOBS}",
    "status-checks: 20": "status-checks: 2",
    "    runtime: 240": "    runtime: 30",
    "    mem_mb: 8000": "    mem_mb: 2000",
}
# Where a site wants arrays, and GPUs in the other form.
ARRAYS = {
    f"jobs: {MAX_SUBMIT_JOBS}": 'jobs: unlimited\nslurm-array-jobs: "train, evaluate"',
    "    gpu: 1": "    gpu: 0",
    '# gres: "gpu:1"': 'gres: "gpu:1"',
}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    if missing := missing_packages():
        pytest.skip(f"not installed, of Debian's packages: {', '.join(missing)}")
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


def study(root: Path, trained: Sequence[str] = TRAINED) -> Workspace:
    root.mkdir()
    workspace = copy_pipeline(root)
    header, plain, _ = RECIPES.splitlines()
    rows = [
        plain.replace("plain", name).replace("\t0.01\t", f"\t0.0{number}\t").replace("\t1\tcross", f"\t{EPOCHS}\tcross")
        for number, name in enumerate(trained, start=1)
    ]
    (root / "config/small.tsv").write_text("\n".join([header, *rows, ""]), encoding="utf-8")
    workspace.configure(
        training={"early_stopping_patience": EPOCHS},
        resources={"train_threads": 1, "train_mem_mb": 2000, "workers": 1},
    )
    edited(workspace, EDITS)
    return workspace


def prepare(workspace: Workspace) -> None:
    """All before the trainings, which are what this is about; on this machine."""
    workspace.snakemake("--until", "class_weights")


@contextlib.contextmanager
def started(workspace: Workspace, cluster: Cluster, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """Snakemake with the profile; its output goes to run.out."""
    command = [sys.executable, "-m", "snakemake", "--profile", "profiles/slurm", "--configfile", workspace.configfile]
    with (workspace.root / "run.out").open("wb") as output:
        run = subprocess.Popen(
            [*command, *arguments],
            cwd=workspace.root, env=cluster.environment, stdout=output, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        yield run
    finally:
        if run.poll() is None:
            run.kill()
            run.wait()


def said(workspace: Workspace) -> str:
    return (workspace.root / "run.out").read_text(encoding="utf-8", errors="replace")


def wait_until(what: str, reached: Callable[[], bool], run: subprocess.Popen[bytes], workspace: Workspace) -> None:
    deadline = time.monotonic() + SECONDS
    while not reached():
        if run.poll() is not None or time.monotonic() > deadline:
            pytest.fail(f"{what} did not happen:\n{said(workspace)[-6000:]}")
        time.sleep(0.1)


@dataclass(frozen=True)
class Training:
    """A training process that is running, and what SLURM told it."""

    pid: int
    job: str
    node: str
    gpus: str


def trainings(workspace: Workspace) -> list[Training]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().decode()
            variables = dict(
                pair.partition("=")[::2] for pair in (process / "environ").read_bytes().decode().split("\0")
            )
        except OSError:  # it has just ended
            continue
        if re.search(rf"python[\d.]*\0{workspace.root}/\.snakemake/scripts/[^/]*\.train\.py", command):
            told = (variables[name] for name in ("SLURM_JOB_ID", "SLURMD_NODENAME", "CUDA_VISIBLE_DEVICES"))
            found.append(Training(int(process.name), *told))
    return found


def epochs(workspace: Workspace, experiment: str) -> int:
    """Epochs finished, by the log of the training."""
    log = workspace.root / f"results/small/logs/train/{experiment}_seed_0.log"
    return log.read_text(encoding="utf-8").count("  epoch ") if log.exists() else 0


def experiments(cluster: Cluster) -> dict[str, str]:
    """The experiments of the training jobs in the queue, by the jobs' ids."""
    lines = cluster.command("squeue", "--noheader", "--format=%A %k").splitlines()
    found = (re.match(r"(\d+) rule_train_wildcards_(\w+)_\d+$", line.strip()) for line in lines)
    return {match[1]: match[2] for match in found if match}


def held(workspace: Workspace, cluster: Cluster, run: subprocess.Popen[bytes]) -> dict[str, Training]:
    """All trainings by experiment, each stopped in its midst, so that what happens next happens there."""
    found: dict[str, Training] = {}

    def all_stopped() -> bool:
        names = experiments(cluster)
        for training in trainings(workspace):
            name = names.get(training.job)
            if name and name not in found and epochs(workspace, name) >= 3:
                os.kill(training.pid, signal.SIGSTOP)
                found[name] = training
        return len(found) == len(TRAINED)

    wait_until("all trainings under way at once", all_stopped, run, workspace)
    assert all(epochs(workspace, name) < EPOCHS for name in found)
    return found


def running_jobs(cluster: Cluster) -> set[str]:
    return set(cluster.command("squeue", "--noheader", "--states=R", "--format=%A").split())


def states(cluster: Cluster, job: str) -> list[str]:
    """All that accounting knows a job to have come to, in order."""
    columns = ["--noheader", "--parsable2", "--format=State"]
    return cluster.command("sacct", "-X", "--duplicates", *columns, "--jobs", job).splitlines()


def runs(workspace: Workspace) -> dict[str, dict]:
    """Of every finished training the part of its run.json that says what made it, by experiment."""
    files = (workspace.root / "results/small/train").glob("*/seed_0/run.json")
    return {path.parts[-3]: json.loads(path.read_text(encoding="utf-8"))["provenance"] for path in files}


@dataclass(frozen=True)
class Finished:
    """The study after its first run: what each training met, as it was then."""

    workspace: Workspace
    said: str
    trainings: dict[str, Training]
    fates: dict[str, str]


@pytest.fixture(scope="module")
def finished(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    workspace = study(tmp_path_factory.mktemp("slurm") / "study")
    prepare(workspace)
    with started(workspace, cluster) as run:
        midst = held(workspace, cluster, run)
        fates = meet_fates(workspace, cluster, run, midst)
        assert run.wait(2 * SECONDS) == 0, said(workspace)[-6000:]
    return Finished(workspace, said(workspace), midst, fates)


def meet_fates(
    workspace: Workspace, cluster: Cluster, run: subprocess.Popen[bytes], midst: dict[str, Training]
) -> dict[str, str]:
    """Let something else happen to each training; what, by experiment."""
    full = Counter(training.node for training in midst.values()).most_common(1)[0][0]
    there = {name: training for name, training in midst.items() if training.node == full}
    (elsewhere,) = (name for name in midst if name not in there)
    lost = midst[elsewhere]

    # A job of higher priority wants a GPU of the full node.
    urgent = ["--partition=urgent", "--account=other", f"--nodelist={full}", "--gpus=1", "--mem=1000"]
    cluster.command("sbatch", *urgent, "--output=/dev/null", "--wrap=sleep 1")

    def put_back() -> list[str]:
        running = running_jobs(cluster)
        return [name for name, training in there.items() if training.job not in running]

    wait_until("preemption", lambda: bool(put_back()), run, workspace)
    (preempted,) = put_back()
    undisturbed, cancelled, limited = (name for name in there if name != preempted)
    os.kill(midst[undisturbed].pid, signal.SIGCONT)

    # A node fails. It comes back when its job is elsewhere.
    cluster.command("scontrol", "update", f"NodeName={lost.node}", "State=DOWN", "Reason=test")
    cluster.command("scancel", midst[cancelled].job)
    # A minute is the shortest limit, so the end that follows from the limit is moved.
    assert "TimeLimit=00:30:00" in cluster.command("scontrol", "show", "job", midst[limited].job)
    cluster.command("scontrol", "update", f"JobId={midst[limited].job}", "EndTime=now+1")
    wait_until("the lost job on the other node", lambda: lost.job in running_jobs(cluster), run, workspace)
    cluster.command("scontrol", "update", f"NodeName={lost.node}", "State=RESUME")
    return {
        preempted: "preempted",
        undisturbed: "undisturbed",
        cancelled: "cancelled",
        limited: "limited",
        elsewhere: "lost",
    }


def test_trainings_run_at_once_each_with_a_gpu_of_its_own(finished: Finished) -> None:
    places = [(training.node, training.gpus) for training in finished.trainings.values()]
    assert len({node for node, _ in places}) == 2
    assert len(set(places)) == len(TRAINED) and {gpu for _, gpu in places} == {"0", "1", "2", "3"}


def test_what_accounting_says_of_each(finished: Finished, cluster: Cluster) -> None:
    came_to = {fate: states(cluster, finished.trainings[name].job) for name, fate in finished.fates.items()}
    came_to["cancelled"] = [state.partition(" ")[0] for state in came_to["cancelled"]]  # "by 0"
    assert came_to == {
        "undisturbed": ["COMPLETED"],
        "preempted": ["PREEMPTED", "COMPLETED"],
        "lost": ["NODE_FAIL", "COMPLETED"],
        "cancelled": ["CANCELLED"],
        "limited": ["TIMEOUT"],
    }


def test_every_training_continued_where_it_was(finished: Finished) -> None:
    made = {finished.fates[name]: record for name, record in runs(finished.workspace).items()}
    before = {finished.fates[name]: training for name, training in finished.trainings.items()}
    assert {fate: record["resumes"] for fate, record in made.items()} == {
        fate: int(fate != "undisturbed") for fate in made
    }
    jobs = {fate: record["scheduler"]["SLURM_JOB_ID"] for fate, record in made.items()}
    # SLURM puts back what it took away itself; Snakemake submits the rest again.
    same = {fate for fate, job in jobs.items() if job == before[fate].job}
    assert same == {"undisturbed", "preempted", "lost"}
    assert made["lost"]["scheduler"]["SLURMD_NODENAME"] != before["lost"].node
    for name in TRAINED:
        folder = finished.workspace.root / f"results/small/train/{name}/seed_0"
        assert list(pd.read_csv(folder / "history.csv")["epoch"]) == list(range(1, EPOCHS + 1))
        assert len(list((folder / "checkpoints").iterdir())) == 1  # the last, for more epochs


def test_the_study_is_whole(finished: Finished) -> None:
    """The report is a local rule; everything else went through the queue, small rules together."""
    assert (finished.workspace.root / "results/small/report.html").exists()
    submitted = finished.said.count("has been submitted with SLURM jobid")
    assert submitted == len(TRAINED) + 2 + len(TRAINED) + 1


def test_job_arrays_with_gres_and_a_cancelled_task(cluster: Cluster, tmp_path: Path) -> None:
    workspace = study(tmp_path / "study", TRAINED[:2])
    prepare(workspace)
    edited(workspace, ARRAYS)
    with started(workspace, cluster, "--until", "train") as run:
        wait_until("an array under way", lambda: len(trainings(workspace)) == 2, run, workspace)
        tasks = cluster.command("squeue", "--noheader", "--array", "--states=R", "--format=%F_%K").split()
        assert len(tasks) == 2 and len({task.partition("_")[0] for task in tasks}) == 1
        cluster.command("scancel", tasks[-1])
        assert run.wait(2 * SECONDS) == 0, said(workspace)[-6000:]
    made = runs(workspace)
    assert len(made) == 2
    assert all(record["cuda_visible_devices"] in ("0", "1", "2", "3") for record in made.values())
    arrays = Counter(record["scheduler"].get("SLURM_ARRAY_JOB_ID") for record in made.values())
    assert arrays[tasks[0].partition("_")[0]] == 1


def test_more_jobs_than_slurm_takes_are_refused_before_the_first(cluster: Cluster, tmp_path: Path) -> None:
    workspace = study(tmp_path / "study")
    workspace.configure(seeds=[0, 1])
    with started(workspace, cluster, "--jobs", "200") as run:
        assert run.wait(SECONDS) == 1
    assert f"SLURM takes at most {MAX_SUBMIT_JOBS}" in said(workspace)
    assert "has been submitted" not in said(workspace)
