"""A finished recipe that is to have more epochs goes on where it ended, and loses nothing on the way."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from conftest import RECIPES, Workspace
from test_rerun import replace
from test_stale import GOES, notice

EPOCHS = 12
RUN = Path("results/small/train/plain/seed_0")
LOG = Path("results/small/logs/train/plain_seed_0.log")
RESULTS = ("run.json", "history.csv", "best.safetensors")
ROW = "plain\t1\tSGD\t0.01\t1e-10\t64\t{}\t"


def of_epochs(workspace: Workspace, before: int, now: int) -> None:
    replace(workspace, "config/small.tsv", ROW.format(before), ROW.format(now))


def content(workspace: Workspace) -> dict[str, bytes]:
    return {name: (workspace.root / RUN / name).read_bytes() for name in RESULTS}


def without_seconds(workspace: Workspace) -> list[str]:
    text = (workspace.root / RUN / "history.csv").read_text(encoding="utf-8")
    return [line.rpartition(",")[0] for line in text.splitlines()]


def interrupt(workspace: Workspace, epoch: int, by: signal.Signals) -> None:
    """Start the training and stop it, with Snakemake, after an epoch."""
    command = [sys.executable, "-m", "snakemake", "--configfile", workspace.configfile, "--cores", "1"]
    run = subprocess.Popen(
        [*command, "--resources", "gpu=1", "--", str(RUN / "run.json")],
        cwd=workspace.root, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
    )  # fmt: skip
    checkpoints, deadline = workspace.root / RUN / "checkpoints", time.monotonic() + 120
    while not any(int(path.stem.partition("-")[2]) >= epoch for path in checkpoints.glob("*.checkpoint")):
        assert run.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(run.pid, by)
    assert run.wait(60) != 0


def test_it_goes_on_where_it_ended_and_the_old_results_stay_until_then(finished_copy: Workspace) -> None:
    at_once = Workspace(finished_copy.root.with_name("at once"))
    shutil.copytree(finished_copy.root, at_once.root, symlinks=True)
    old = content(finished_copy)
    of_epochs(finished_copy, 1, EPOCHS)
    said = notice(finished_copy)
    assert said[0] == f"plain, seed 0: trained with max_epochs 1, now {EPOCHS}: goes on after epoch 1"
    assert said[1].startswith("The finished results of these trainings will be replaced; to keep them")
    interrupt(finished_copy, 3, signal.SIGKILL)
    assert content(finished_copy) == old
    shown = finished_copy.command("watch", "--study", "small", "--once").stdout
    assert re.search(rf" ([3-9]|1[01])/{EPOCHS} ", shown), shown  # of the training that was killed
    finished_copy.snakemake("--unlock")
    interrupt(finished_copy, 6, signal.SIGINT)
    assert content(finished_copy) == old
    assert "goes on after epoch" in notice(finished_copy)[0]
    finished_copy.snakemake("--", str(RUN / "run.json"))
    log = (finished_copy.root / LOG).read_text(encoding="utf-8")
    assert "plain seed 0 continues after epoch" in log
    of_epochs(at_once, 1, EPOCHS)
    shutil.rmtree(at_once.root / RUN)
    at_once.snakemake("--", str(RUN / "run.json"))
    assert without_seconds(finished_copy) == without_seconds(at_once)
    assert content(finished_copy)["best.safetensors"] == content(at_once)["best.safetensors"]
    record = json.loads(content(finished_copy)["run.json"])
    assert (record["epochs"], record["provenance"]["resumes"]) == (EPOCHS, 3)
    assert {"tables", "report"} <= set(finished_copy.planned())
    assert finished_copy.planned().get("train") is None


def test_a_training_that_is_called_for_again_is_written_again(finished_copy: Workspace) -> None:
    before = content(finished_copy)
    again = ("--forcerun", "train", "--", str(RUN / "run.json"))
    said = finished_copy.snakemake("--dry-run", *again).stdout
    assert f"written again from its last checkpoint; to train it anew remove {RUN}" in said
    finished_copy.snakemake(*again)
    assert content(finished_copy)["best.safetensors"] == before["best.safetensors"]
    assert content(finished_copy)["history.csv"] == before["history.csv"]  # its seconds, too


def test_without_a_checkpoint_it_begins_anew_and_says_so(finished_copy: Workspace) -> None:
    shutil.rmtree(finished_copy.root / RUN / "checkpoints")
    of_epochs(finished_copy, 1, 3)
    why = "as no checkpoint is left that it could go on from"
    assert notice(finished_copy)[0] == f"plain, seed 0: trained with max_epochs 1, now 3: {GOES}, {why}"


def test_a_schedule_that_depends_on_the_length_says_so(finished_copy: Workspace) -> None:
    workspace = finished_copy
    shutil.rmtree(workspace.root / RUN)
    workspace.configure(training={"lr_scheduler": "CosineAnnealingLR"})
    workspace.snakemake("--", str(RUN / "run.json"))
    assert not (workspace.root / RUN / "checkpoints").exists()
    of_epochs(workspace, 1, 3)
    why = "with training.lr_scheduler CosineAnnealingLR its epochs depend on how many there are to be"
    assert notice(workspace)[0].endswith(f"trained with max_epochs 1, now 3: {GOES}, as {why}")


def test_what_left_the_table_leaves_the_tables_and_the_page_and_keeps_its_files(finished_copy: Workspace) -> None:
    replace(finished_copy, "config/small.tsv", RECIPES, "\n".join(RECIPES.splitlines()[::2]) + "\n")
    before = content(finished_copy)
    pages = [
        f"results/small/tables/{name}" for name in ("case_1.csv", "comparison.csv", "comparison.html", "summary.rst")
    ]
    finished_copy.snakemake("--", *pages)
    assert content(finished_copy) == before
    for path in pages:
        text = (finished_copy.root / path).read_text(encoding="utf-8")
        assert "weighted" in text and "plain" not in text, path
