"""A training in two stages (cRT) with real Snakemake: the second starts from the weights of the first, seed by seed."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import Workspace, copy_pipeline
from safetensors.torch import load_file

STAGES = """\
experiment\tcase\toptimizer\tlr\tmin_lr\tbatch_size\tmax_epochs\tloss\tactivation\tsampler\tinit_from\tinit_part\tfreeze
crt\t1\tSGD\t0.05\t1e-10\t64\t9\tcross_entropy\tlogits\tbalanced\tce\tbackbone\tbackbone
ce\t1\tSGD\t0.01\t1e-10\t64\t1\tcross_entropy\tlogits\tshuffle\t\t\t
"""
UP_TO_TABLES = ("--until", "tables", "ensemble")
WEIGHTS = "results/small/train/{}/seed_{}/best.safetensors"


def changed(workspace: Workspace, old: str, new: str) -> Workspace:
    path = workspace.root / "config/small.tsv"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
    return workspace


def run_of(workspace: Workspace, name: str, seed: int) -> dict[str, dict[str, object]]:
    path = workspace.root / f"results/small/train/{name}/seed_{seed}/run.json"
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def two_stages(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """The study of both stages and two seeds, on one thread, up to its tables."""
    workspace = copy_pipeline(tmp_path_factory.mktemp("two_stages"))
    (workspace.root / "config/small.tsv").write_text(STAGES, encoding="utf-8")
    workspace.configure(seeds=[0, 1], resources={"train_threads": 1, "workers": 1})
    workspace.snakemake(*UP_TO_TABLES)
    return workspace


@pytest.fixture
def copied(two_stages: Workspace, tmp_path: Path) -> Workspace:
    shutil.copytree(two_stages.root, tmp_path / "study")
    return Workspace(tmp_path / "study")


def test_the_second_starts_from_the_first_of_its_own_seed(two_stages: Workspace) -> None:
    for seed in (0, 1):
        first, second = (load_file(two_stages.root / WEIGHTS.format(name, seed)) for name in ("ce", "crt"))
        assert all((first[key] == second[key]).all() != key.startswith("head.") for key in first)
        record, start = run_of(two_stages, "crt", seed), run_of(two_stages, "ce", seed)
        assert record["provenance"]["initial_weights"] == start["sha256"]["best.safetensors"]
        assert record["trained_parameters"] < record["parameters"] == start["trained_parameters"]
        path = two_stages.root / f"results/small/evaluate/crt/seed_{seed}/metrics.json"
        evaluated = json.loads(path.read_text(encoding="utf-8"))["val"]["accuracy"]
        assert evaluated == pytest.approx(record["best_val_accuracy"])
    assert two_stages.planned(*UP_TO_TABLES) == {}


def test_verify_and_watch_take_it_and_see_another_start(copied: Workspace) -> None:
    found = copied.command("verify", "--study", "small")
    assert found.returncode == 0 and "everything holds" in found.stdout, found.stdout
    for name in ("best.safetensors", "run.json"):  # of another seed: as if the first stage had been trained again
        folder = copied.root / "results/small/train/ce"
        shutil.copy(folder / "seed_1" / name, folder / "seed_0" / name)
    found = copied.command("verify", "--study", "small")
    assert "crt/seed_0/run.json: started from other weights than those of ce now" in found.stdout
    assert "note: crt, seed 0: takes part in nothing, because it was trained with other weights of ce/" in found.stdout
    assert "other weights of ce/" in copied.command("watch", "--study", "small", "--once").stdout


def test_another_second_stage_trains_alone(copied: Workspace) -> None:
    text = changed(copied, "crt\t1\tSGD\t0.05", "crt\t1\tSGD\t0.02").snakemake("--dry-run").stdout
    assert copied.planned()["train"] == 2 and "crt, seed 0, …): trained with lr 0.05, now 0.02: trains again" in text


def test_another_first_stage_trains_both(copied: Workspace) -> None:
    text = changed(copied, "ce\t1\tSGD\t0.01", "ce\t1\tSGD\t0.02").snakemake("--dry-run").stdout
    assert copied.planned()["train"] == 4
    assert "2 finished trainings (ce, seed 0, …): trained with lr 0.01, now 0.02: trains again" in text
    assert "crt, seed 0: trained with weights of ce/seed_0, which was trained with lr 0.01, now 0.02: trains" in text
    before = (copied.root / WEIGHTS.format("crt", 0)).read_bytes()
    copied.snakemake("--", "results/small/train/crt/seed_0/run.json")
    assert (copied.root / WEIGHTS.format("crt", 0)).read_bytes() != before
    assert copied.planned()["train"] == 2


def test_a_copy_without_records_and_with_time_stamps_in_any_order_has_nothing_to_train(copied: Workspace) -> None:
    shutil.rmtree(copied.root / ".snakemake")
    for age, path in enumerate(sorted((copied.root / "results/small").rglob("*"))):
        if path.is_file():
            os.utime(path, (1_700_000_000 - age, 1_700_000_000 - age))
    assert "train" not in copied.planned()


def test_both_stages_that_were_kept_are_restored_at_once(copied: Workspace) -> None:
    """The second stage stands above the first one in the table."""
    assert copied.command("keep", "small").returncode == 0
    for made in (*(f"results/small/{folder}" for folder in ("train", "evaluate", "benchmarks")), ".snakemake"):
        shutil.rmtree(copied.root / made)
    said = copied.command("keep", "--restore", "small").stdout
    assert "results/small: 4 of the 4 runs restored" in said and "note" not in said
    assert {"train", "evaluate"}.isdisjoint(copied.planned())


def test_a_killed_second_stage_goes_on_where_it_was(copied: Workspace) -> None:
    expected = (copied.root / WEIGHTS.format("crt", 0)).read_bytes()
    shutil.rmtree(copied.root / "results/small/train/crt/seed_0")
    target = "results/small/train/crt/seed_0/run.json"
    log = copied.root / "results/small/logs/train/crt_seed_0.log"
    log.unlink()
    call = [sys.executable, "-m", "snakemake", "--configfile", copied.configfile, "--cores", "1", "--", target]
    with (copied.root / "run.out").open("wb") as out:
        run = subprocess.Popen(call, cwd=copied.root, stdout=out, stderr=out, start_new_session=True)
    deadline, checkpoints = time.monotonic() + 120, copied.root / "results/small/train/crt/seed_0/checkpoints"
    while not list(checkpoints.glob("*.checkpoint")):  # a line of the log comes before its checkpoint is on the disk
        assert run.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    copied.snakemake("--unlock")
    assert "crt seed 0 continues after epoch" in copied.snakemake("--rerun-incomplete", "--", target).stdout
    assert (copied.root / WEIGHTS.format("crt", 0)).read_bytes() == expected
    assert run_of(copied, "crt", 0)["provenance"]["resumes"] == 1


def test_a_start_that_is_no_experiment_is_refused_before_anything_runs(workspace: Workspace) -> None:
    (workspace.root / "config/small.tsv").write_text(STAGES.replace("balanced\tce", "balanced\tcee"), encoding="utf-8")
    run = workspace.snakemake("--dry-run", check=False)
    assert run.returncode and "config/small.tsv, row 2, column 'model.init_from': found cee, which is no" in run.stdout
