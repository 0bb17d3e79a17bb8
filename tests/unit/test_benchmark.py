"""The speed harness: its check can fail, its ratios are of one round, and it runs without the peers' packages."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks import check, contenders, earlier, load, record, speed
from benchmarks.check import Step, compare
from study.errors import StudyError

ROOT = Path(__file__).parents[2]
TASK = contenders.Task(
    data=None, folder="", device="cpu", width=0.0625, batch_size=8, images=32, warmup=1, workers=1, threads=1
)


def step(loss: float = 2.0, gradient: float = 1.0) -> Step:
    return Step(loss, {"weight": torch.tensor([gradient, 2.0, -3.0]), "bias": torch.tensor([0.5])})


def test_the_step_computes_what_a_plain_loop_computes() -> None:
    (result,) = check.check(TASK, ["fp32"])
    assert result["loss_error"] < 1e-5 and result["gradient_cosine"] > 0.999999


@pytest.mark.parametrize("found", [step(loss=2.001), step(gradient=1.1), step(loss=float("nan"))])
def test_a_step_that_computes_something_else_is_refused(found: Step) -> None:
    assert compare(step(), step(), "fp32")["loss_error"] == 0
    with pytest.raises(StudyError, match="at fp32 does not compute what a plain loop in fp32 does"):
        compare(step(), found, "fp32")


def test_a_wrong_loss_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    from study.train import learner

    real = learner.Criterion.__call__
    monkeypatch.setattr(
        learner.Criterion, "__call__", lambda self, *given: (1.01 * real(self, *given)[0], real(self, *given)[1])
    )
    with pytest.raises(StudyError, match="does not compute"):
        check.check(TASK, ["fp32"])


def row(name: str, precision: str, rates: list[float]) -> dict:
    fixed = {"workers": 0, "setup_seconds": 30.0, "peak_memory_bytes": 1}
    return {"contender": name, "precision": precision, "rates": rates, **fixed}


def test_ratios_are_of_the_same_round_and_the_same_precision() -> None:
    rows = [
        row("ours", "bf16", [100.0, 10.0, 100.0]),
        row("ours-fp32", "fp32", [50.0, 5.0, 50.0]),
        row("plain", "fp32", [25.0, 2.0, 20.0]),
        row("ceiling", "bf16", [110.0, 10.0, 100.0]),
        row("product", "bf16", [1000.0, 1000.0, 1000.0]),
    ]
    summary = {one["contender"]: one for one in speed.summarise(rows, flop=5, cuda=False)}
    assert "product" not in summary
    plain = summary["plain"]
    assert (plain["images_per_second"], plain["lowest"], plain["highest"]) == (20.0, 2.0, 25.0)
    assert plain["ours_over_this"] == 5.0  # the median of 4, 5, 5
    assert plain["ours_over_this_at_equal_precision"] == 2.5  # of 2, 2.5, 2.5
    assert summary["ours"]["share_of_ceiling"] == 1.0
    assert summary["ours"]["share_of_product"] == 100.0 * 5 / 1000
    assert summary["plain"]["run_minutes"] == (30 + 20 * 28_709 / 20.0) / 60


def test_operations_are_those_of_the_convolutions() -> None:
    # 0.896 GMAC forward at full width and 48 pixels; backward twice that, but for the first layer's input
    flop = speed.flop_per_image(replace(TASK, width=1.0))
    assert flop == pytest.approx(2 * 3 * 0.896e9, rel=0.01)


def test_a_run_writes_its_record_and_the_page(tmp_path: Path) -> None:
    """The real thing, small, in a copy, and a peer that is not there is named."""
    import shutil

    for name in ("benchmarks", "scripts", "config", "rules", "envs", "profiles", "report"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "results", "*.md"))
    shutil.copy2(ROOT / "Snakefile", tmp_path)
    arguments = ["--width", "0.125", "--batch-size", "16", "--steps", "2", "--rounds", "2", "--workers", "1"]
    contend = ["--threads", "1", "--name", "tiny", "--slots", "1", "--contenders", "ours", "plain", "timm", "ceiling"]
    planned = ["--name", "rest", "--rounds", "1", "--seeds", "1", "--no-study"]
    for given in (["speed", *arguments, *contend], ["pipeline", *planned], ["record"]):
        done = subprocess.run(
            [sys.executable, "-m", f"benchmarks.{given[0]}", *given[1:]],
            cwd=tmp_path,
            text=True,
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "benchmarks/results/tiny.json").read_text())
    measured = [one["contender"] for one in record["summary"]]
    assert measured == [name for name in ("ours", "plain", "timm", "ceiling") if name not in record["unavailable"]]
    assert all(one["images_per_second"] > 0 for one in record["summary"])
    assert (tmp_path / "benchmarks/results/tiny.svg").exists() and (tmp_path / "benchmarks/results/tiny.csv").exists()
    page = (tmp_path / "benchmarks/RESULTS.md").read_text()
    assert sum(one["share"] for one in record["profile"]) > 0.5 and "convolution" in record["profile"][0]["operation"]
    assert "| plain | fp32 | 1 |" in page and "processes at once" in page
    assert "| 14 |" in page
    assert str(tmp_path) not in page


def test_without_packed_images_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"no pack\.json there"):
        speed.main(speed.arguments(["--data", str(tmp_path)]))


def test_trainings_are_timed_quiet_and_beside_a_busy_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    rows = load.measure(TASK, [load.Sharing(2, 1, {"OMP_WAIT_POLICY": "passive"})], steps=1, rounds=1)
    assert [(row["processes"], row["threads"]) for row in rows] == [(2, 1)]
    assert all(len(row[which]) == 1 and row[which][0] > 0 for row in rows for which in ("quiet", "beside"))
    assert "OMP_WAIT_POLICY" not in os.environ


def test_the_page_judges_what_the_pipeline_does_on_the_processor() -> None:
    rows = [
        {"processes": 1, "threads": 2, "environment": {}, "quiet": [100.0, 50.0], "beside": [30.0, 10.0]},
        {"processes": 2, "threads": 1, "environment": {}, "quiet": [110.0, 60.0], "beside": [50.0, 25.0]},
    ]
    fixed = {"date": "", "commit": "", "uncommitted_changes": False, "device": "", "versions": {}, "command": ""}
    of_the_run = {"kind": "load", "cuda": False, "cores": 2, "width": 1, "batch_size": 8, "images": "", "rounds": 2}
    page = record.results_page([{**fixed, **of_the_run, "steps": 1, "rows": rows}])
    assert "| 1 × 2 | – | 75 (50–100) | 1.00 | 20 (10–30) | 0.25 |" in page
    assert "quiet: at least 1 of one training of 2 threads on a quiet machine: 1.15, reached" in page
    assert "process: at least 0.55 of one training of 2 threads on a quiet machine: 0.50, missed" in page


def test_the_default_study_is_judged_beside_an_earlier_commit() -> None:
    def study(seconds: float, train: float, epochs: int) -> dict:
        rules = {"train": train, "evaluate": 20.0, "figures": 10.0}
        return {"seconds": seconds, "epochs": epochs, "rules": {rule: {"seconds": s} for rule, s in rules.items()}}

    given = {**record.origin(), "cores": 2, "device": "a processor", "command": "…", "earlier_commit": "abc"}
    text = "\n".join(record._earlier({**given, "target": 1.4, "now": study(100, 120, 60), "then": study(150, 100, 50)}))
    assert "1.50 times as fast" in text and "reached" in text
    assert "1.00 s an epoch, 2 trainings at once," in text and "are 2.00 times as fast" in text
    text = "\n".join(record._earlier({**given, "target": 1.4, "now": study(110, 120, 60), "then": study(150, 100, 50)}))
    assert "missed" in text


def test_an_earlier_commit_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="no-such-commit"):
        earlier.check_out("no-such-commit", tmp_path / "then")
