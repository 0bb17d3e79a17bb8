"""`make verify` on a finished study, and what it says after one thing was changed."""

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import Workspace

from study.evaluate.predictions import Predictions, read_predictions, write_predictions

RUN = "results/small/train/plain/seed_0"


def verify(workspace: Workspace) -> subprocess.CompletedProcess[str]:
    return workspace.command("verify", "--configfile", workspace.configfile)


def test_a_finished_study_holds_and_says_what_made_it(finished: Workspace) -> None:
    run = verify(finished)
    assert run.returncode == 0 and "results/small: everything holds" in run.stdout, run.stdout
    assert "note:" not in run.stdout  # not even a last digit differs on the machine that trained
    made = json.loads((finished.root / RUN / "run.json").read_text(encoding="utf-8"))["provenance"]
    assert {"git_commit", "git_dirty", "driver", "scheduler", "host", "cpu"} <= set(made)
    assert all(re.fullmatch("[0-9a-f]{64}", made[part]) for part in ("code", "data", "recipe", "settings"))
    assert {"python", "torch", "snakemake"} <= set(made["versions"])
    assert set(made["determinism"]) >= {"deterministic_algorithms", "cudnn_deterministic", "cudnn_benchmark"}
    assert made["started"] <= made["ended"] and made["resumes"] == 0


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def a_pixel(root: Path) -> None:
    images = np.load(root / "results/small/data/test.npy", mmap_mode="r+")
    images[0, 0, 0, 0] ^= 1
    images.flush()


def a_label_in_the_manifest(root: Path) -> None:
    edit(root / "results/small/data/manifest.csv", "digit_0,0,", "digit_0,1,")


def the_recipe(root: Path) -> None:
    edit(root / "config/small.tsv", "plain\t1\tSGD\t0.01", "plain\t1\tSGD\t0.02")


def a_history(root: Path) -> None:
    edit(root / RUN / "history.csv", "val_accuracy", "accuracy")


def the_weights(root: Path) -> None:
    path = root / RUN / "best.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 0x40  # the exponent of the last float32
    path.write_bytes(content)


def a_prediction(root: Path) -> None:
    path = root / "results/small/evaluate/plain/seed_0/predictions.parquet"
    saved = read_predictions(path)
    scores, log_p = saved.scores, saved.log_p
    log_p[0] = np.log(np.linspace(0.05, 0.15, len(saved.classes)))
    changed = Predictions.of(scores["image_id"], scores["split"], scores["label"].cat.codes, log_p, saved.classes)
    write_predictions(changed, path)


def a_cell(root: Path) -> None:
    edit(root / "results/small/tables/comparison.csv", "plain,0,1,SGD,0.01", "plain,0,1,SGD,0.03")


def a_cell_of_the_ensemble(root: Path) -> None:
    path = root / "results/small/tables/ensemble.csv"
    path.write_text(path.read_text(encoding="utf-8").replace(",0.", ",9.", 1), encoding="utf-8")


def a_class_weight(root: Path) -> None:
    """Of the file that trainings read."""
    edit(root / "results/small/data/class_weights_complement.csv", ",0.", ",1.")


CHANGES: dict[Callable[[Path], None], list[str]] = {
    a_pixel: [r"data/test.npy: not the images and labels whose SHA-256 is in pack.json"],
    a_label_in_the_manifest: [r"manifest.csv: not the file whose SHA-256 is in audit.json"],
    a_class_weight: [r"class_weights_complement.csv: not the weights of the scheme 'complement'"],
    the_recipe: [r"plain/seed_0/run.json: trained with another recipe than the one in the table of recipes"],
    a_history: [
        r"plain/seed_0/history.csv: the columns val_accuracy are missing",
        r"tables: cannot be traced, because .*plain/seed_0/history.csv lacks columns",
    ],
    the_weights: [r"plain/seed_0/best.safetensors: not the file whose SHA-256 is in run.json"],
    a_prediction: [
        r"plain/seed_0/metrics.json: not the metrics of predictions.parquet",
        r"plain/seed_0/predictions.parquet: the saved weights give other probabilities here \(up to",
    ],
    a_cell: [r"comparison.csv, row 2, column 'lr': found '0.03', the runs give '0.0[12]'"],
    a_cell_of_the_ensemble: [r"ensemble.csv, row 2, column '\w+': found '9\.\d+', the runs give '0\.\d+'"],
}


@pytest.mark.parametrize("changes", [[one for one in CHANGES if one is not a_history], [a_history]])
def test_whatever_was_changed_is_named(finished_copy: Workspace, changes: list[Callable[[Path], None]]) -> None:
    for change in changes:
        change(finished_copy.root)
    run = verify(finished_copy)
    assert run.returncode != 0 and "Traceback" not in run.stdout, run.stdout
    for change in changes:
        for message in CHANGES[change]:
            assert re.search(message, run.stdout), run.stdout
    assert "run weighted/seed_0: holds" in run.stdout


def test_damaged_runs_are_named(finished_copy: Workspace) -> None:
    (finished_copy.root / RUN / "run.json").write_text("", encoding="utf-8")
    (finished_copy.root / "results/small/train/weighted/seed_0/run.json").write_text("{}", encoding="utf-8")
    run = verify(finished_copy)
    assert run.returncode != 0 and "Traceback" not in run.stdout, run.stdout
    assert "plain/seed_0/run.json: cannot be read" in run.stdout
    assert "weighted/seed_0/run.json: the provenance lacks git_commit" in run.stdout
    assert "data: holds" in run.stdout and "tables: cannot be traced" in run.stdout


def test_missing_files_are_named(finished_copy: Workspace) -> None:
    data = finished_copy.root / "results/small/data"
    for path in (data / "manifest.csv", data / "class_weights_complement.csv", finished_copy.root / RUN / "run.json"):
        path.unlink()
        run = verify(finished_copy)
        assert run.returncode != 0 and "Traceback" not in run.stdout
        name = path.relative_to(finished_copy.root / "results/small")
        assert f"{name}: missing; the study is not finished" in run.stdout
        assert "tables: cannot be traced" in run.stdout and "run weighted/seed_0: holds" in run.stdout
