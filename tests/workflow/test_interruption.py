"""Whatever ends a study in the middle, the next call finishes it as if nothing had happened."""

import json
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import Workspace
from interruption import EPOCHS, EXPERIMENTS, SPAN_DIVISOR, Interruptions, interrupt, jobs, outputs, prepare, start

KILLS = 3
ONE = EXPERIMENTS[:1]  # where a second training would show nothing new
RUN = "results/small/train/plain/seed_0"


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Data packed, nothing trained."""
    workspace = prepare(tmp_path_factory.mktemp("packed"))
    workspace.snakemake("--", "results/small/data/class_weights.csv")
    return workspace


@pytest.fixture(scope="module")
def undisturbed(packed: Workspace, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, object], float]:
    """Outputs of a study that nobody disturbed, and the seconds it took."""
    workspace = copy_of(packed, tmp_path_factory.mktemp("undisturbed") / "study")
    began = time.monotonic()
    assert start(workspace).wait() == 0
    return outputs(workspace), time.monotonic() - began


@pytest.fixture
def study(packed: Workspace, tmp_path: Path) -> Workspace:
    return copy_of(packed, tmp_path / "study")


def copy_of(workspace: Workspace, root: Path) -> Workspace:
    shutil.copytree(workspace.root, root)
    return Workspace(root)


def said(workspace: Workspace) -> str:
    return (workspace.root / "run.out").read_text(encoding="utf-8")


def wait_until(reached: Callable[[], bool], run: subprocess.Popen[bytes], workspace: Workspace) -> None:
    deadline = time.monotonic() + 60
    while not reached():
        assert run.poll() is None and time.monotonic() < deadline, said(workspace)[-4000:]
        time.sleep(0.02)


def under_way(workspace: Workspace) -> str | None:
    """An experiment whose training has finished some of its epochs, but not nearly all."""
    for name in EXPERIMENTS:
        log = workspace.root / f"results/small/logs/train/{name}_seed_0.log"
        if log.exists() and 2 <= log.read_text(encoding="utf-8").count("  epoch ") <= EPOCHS - 3:
            return name
    return None


def equal(workspace: Workspace, expected: dict[str, object], experiments: Sequence[str] = EXPERIMENTS) -> None:
    found = outputs(workspace, experiments)
    assert found and [name for name in found if found[name] != expected[name]] == []


def test_kills_at_random_instants_change_nothing(study: Workspace, undisturbed) -> None:
    expected, seconds = undisturbed
    seed = random.SystemRandom().randrange(10**6)
    log = Interruptions()
    kills = interrupt(study, KILLS, random.Random(seed), seconds / SPAN_DIVISOR, log)
    print(f"seed {seed}, {kills} kills: {dict(log.killed)}, {log.resumed} continued")
    equal(study, expected)
    assert not list((study.root / "results").rglob("*.tmp"))
    for name in EXPERIMENTS:  # the last, for more epochs
        assert len(list((study.root / f"results/small/train/{name}/seed_0/checkpoints").iterdir())) == 1


def test_ctrl_c_and_a_second_call(study: Workspace, undisturbed) -> None:
    run = start(study, experiments=ONE)
    wait_until(lambda: any(jobs(run.pid)), run, study)
    second = study.snakemake(check=False)
    assert second.returncode != 0 and "cannot be locked" in second.stdout
    wait_until(lambda: bool(under_way(study)), run, study)
    os.killpg(run.pid, signal.SIGINT)  # what a terminal does
    assert run.wait(30) != 0
    again = start(study, experiments=ONE)  # no --unlock needed
    assert again.wait() == 0, said(study)[-4000:]
    assert "continues after epoch" in said(study)
    equal(study, undisturbed[0], ONE)


def test_results_of_an_older_version(study: Workspace) -> None:
    """Outputs of changed code are made again, its checkpoints are not continued."""
    run = start(study, experiments=ONE)
    wait_until(lambda: bool(under_way(study)), run, study)
    name = under_way(study)
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    study.snakemake("--unlock")
    code = study.root / "scripts/study/train/stopping.py"
    text = code.read_text(encoding="utf-8")
    code.write_text(text.replace("self.patience = patience", "self.patience = patience + 0"), encoding="utf-8")
    folder = study.root / f"results/small/train/{name}/seed_0"
    assert list((folder / "checkpoints").iterdir())
    study.snakemake("--", f"results/small/train/{name}/seed_0/run.json")
    log = (study.root / f"results/small/logs/train/{name}_seed_0.log").read_text(encoding="utf-8")
    assert "checkpoints of another recipe, data set or version of the code are not used" in log
    assert f"{name} seed 0 starts" in log
    assert json.loads((folder / "run.json").read_text(encoding="utf-8"))["provenance"]["resumes"] == 0
    assert len(list((folder / "checkpoints").iterdir())) == 1  # its own


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[None]:
    """A small file system in memory at `folder`, or a skip where mounting is not allowed."""
    folder.mkdir(parents=True)
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True, text=True
    )
    if mount.returncode:
        pytest.skip(f"mounting a file system is not permitted here: {mount.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def remount(folder: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)


def test_a_full_disk_is_an_error_that_leaves_nothing_half_written(study: Workspace, undisturbed) -> None:
    folder = study.root / "results/small/train"
    with mounted(folder, "size=256k"):  # room for neither checkpoints nor weights
        run = start(study, experiments=ONE)
        assert run.wait() != 0
        log = (study.root / "results/small/logs/train/plain_seed_0.log").read_text(encoding="utf-8")
        assert "checkpoint of epoch 1 not written" in log and "No space left on device" in log
        assert f"Error: {RUN}/best.safetensors: No space left on device" in log and "Traceback" not in log
        left = {path.name for path in folder.rglob("*") if path.is_file()}
        assert not left & {"best.safetensors", "history.csv", "run.json"}
        remount(folder, "size=64m")
        assert start(study, experiments=ONE).wait() == 0, said(study)[-4000:]
        equal(study, undisturbed[0], ONE)


def test_read_only_results_are_an_error_that_says_so(study: Workspace) -> None:
    folder = study.root / "results/small/train"
    with mounted(folder, "size=64m"):
        remount(folder, "ro")
        run = start(study, experiments=ONE)
        assert run.wait() != 0
        assert "Read-only file system" in said(study) and "results/small/train/" in said(study)
