"""Rows without a training of their own, and test-time augmentation, with real Snakemake on a finished small study."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import RECIPES, Workspace

from study.evaluate.predictions import read_predictions
from study.files import file_sha256

HEADER, PLAIN, WEIGHTED = RECIPES.splitlines()


def table(workspace: Workspace, *rows: str, plain: str = "", weighted: str = "") -> None:
    """The two recipes with a cell for tta, and rows without training.

    Such a row is its name and the cells of trained_as, posthoc, posthoc_tau, tta and predictions, tabs between them.
    """
    empty = "\t" * (HEADER.count("\t") - 1)
    lines = [f"{HEADER}\ttrained_as\tposthoc\tposthoc_tau\ttta\tpredictions"]
    lines += [f"{PLAIN}\t\t\t\t{plain}\t", f"{WEIGHTED}\t\t\t\t{weighted}\t"]
    for name, rest in (row.split("\t", 1) for row in rows):
        lines.append(f"{name}\t1{empty}\t{rest}")
    (workspace.root / "config/small.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")


ROWS = (
    "plain_T\tplain\ttemperature\t\t\t",
    "plain_tau\tplain\tlogit_adjustment\t1.5\t\t",
    "plain_tuned\tplain\ttuned_logit_adjustment\t\t\t",
    "plain_mirrored\tplain\t\t\thflip\t",
    "theirs\t\t\t\t\tresources/theirs.csv",
)


def test_an_empty_column_makes_nothing_again_but_tables(finished_copy: Workspace) -> None:
    table(finished_copy)
    assert finished_copy.planned() == {}


def test_test_time_augmentation_evaluates_that_recipe_alone(finished_copy: Workspace) -> None:
    table(finished_copy, plain="hflip")
    planned = finished_copy.planned()
    assert planned["evaluate"] == 1 and "train" not in planned and "adjust" not in planned
    table(finished_copy)
    finished_copy.configure(evaluation={"tta": "hflip"})
    planned = finished_copy.planned()
    assert planned["evaluate"] == 2 and "train" not in planned


def test_crops_need_images_that_are_stored_larger(finished_copy: Workspace) -> None:
    table(finished_copy, plain="ten_crop")
    said = finished_copy.snakemake("--dry-run", check=False)
    assert said.returncode and "found ten_crop, which needs 'data.stored_size' above 'data.image_size'" in said.stdout


def write_theirs(workspace: Workspace, confidence: float = 0.9) -> None:
    """Predictions of a network that is right about nearly all images."""
    ours = read_predictions(workspace.root / "results/small/evaluate/plain/seed_0/predictions.parquet")
    right, classes = ours.scores["label"].cat.codes.to_numpy(), ours.classes
    right = np.where(np.arange(len(right)) % 20 == 0, (right + 1) % len(classes), right)
    p = np.full(ours.log_p.shape, (1 - confidence) / (len(classes) - 1))
    p[np.arange(len(p)), right] = confidence
    file = pd.DataFrame(p, columns=classes).assign(image_id=ours.scores["image_id"])
    (workspace.root / "resources").mkdir(exist_ok=True)
    file.sample(frac=1, random_state=0).to_csv(workspace.root / "resources/theirs.csv", index=False)


@pytest.fixture(scope="module")
def with_rows(finished: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """The finished study with rows without training, made without a training."""
    root = tmp_path_factory.mktemp("rows") / "study"
    shutil.copytree(finished.root, root, symlinks=True)
    workspace = Workspace(root)
    table(workspace, *ROWS)
    absent = workspace.snakemake("--dry-run", check=False)
    assert absent.returncode and "found resources/theirs.csv, which is no file in" in absent.stdout
    write_theirs(workspace)
    planned = workspace.planned()
    assert planned["adjust"] == 3 and planned["evaluate"] == 1 and "train" not in planned
    assert planned["import_predictions"] == 1
    workspace.snakemake()
    return workspace


def metrics(workspace: Workspace, experiment: str) -> dict:
    path = workspace.root / f"results/small/evaluate/{experiment}/seed_0/metrics.json"
    return json.loads(path.read_text(encoding="utf-8"))


def test_rows_are_made_from_another_ones_predictions(with_rows: Workspace) -> None:
    plain, tempered = metrics(with_rows, "plain"), metrics(with_rows, "plain_T")
    assert tempered["val"]["nll"] <= plain["val"]["nll"] and tempered["val"]["accuracy"] == plain["val"]["accuracy"]
    assert metrics(with_rows, "plain_tau")["adjustment"]["value"] == 1.5
    tuned = metrics(with_rows, "plain_tuned")
    assert tuned["val"]["balanced_accuracy"] >= plain["val"]["balanced_accuracy"]
    assert not (with_rows.root / "results/small/train/plain_T").exists()
    assert metrics(with_rows, "plain_mirrored")["val"] != plain["val"]
    assert with_rows.planned() == {}


def test_tables_and_pages_tell_them_apart_from_what_was_trained(with_rows: Workspace) -> None:
    tables = with_rows.root / "results/small/tables"
    effects = (tables / "effects.csv").read_text(encoding="utf-8")
    for row in ("no post-hoc adjustment → temperature scaling,plain,plain_T", "test-time flips,plain,plain_mirrored"):
        assert row in effects
    diagnosis = (tables / "diagnosis.csv").read_text(encoding="utf-8")
    assert "Trained as plain; T = " in diagnosis and "Trained as plain; τ = 1.5." in diagnosis
    votes = pd.read_csv(tables / "ensemble.csv")
    members = votes.loc[votes["role"].str.contains("member"), "name"]
    assert {name.partition(",")[0] for name in members} <= {"plain", "weighted", "theirs"}
    figures = {path.stem for path in (with_rows.root / "results/small/figures").glob("*.svg")}
    assert "confusion_plain_T" in figures and "curves_plain" in figures and "curves_plain_T" not in figures


def test_commands_know_rows_without_training(with_rows: Workspace) -> None:
    held = with_rows.command("verify", "--configfile", with_rows.configfile)
    assert held.returncode == 0 and "everything holds" in held.stdout and "note:" not in held.stdout, held.stdout
    watched = with_rows.command("watch", "--study", "small", "--once").stdout
    assert watched.count("evaluated") == 5 and "7 of 7 done" in watched
    exported = with_rows.command("export", "--study", "small", "--run", "plain_tau", "--out", "tau.onnx")
    assert exported.returncode == 0 and "plain_tau, seed 0" in exported.stdout, exported.stdout


def test_predictions_from_a_file_take_part_in_everything(with_rows: Workspace) -> None:
    results = with_rows.root / "results/small"
    made = metrics(with_rows, "theirs")
    assert made["file"]["sha256"] == file_sha256(with_rows.root / "resources/theirs.csv")
    assert made["test"]["accuracy"] == pytest.approx(0.95, abs=0.01) and not (results / "train/theirs").exists()
    runs = pd.read_csv(results / "tables/comparison.csv").set_index("experiment")
    assert runs.loc["theirs", "outcome"] == "imported" and runs.loc["theirs", ["lr", "seconds", "epochs"]].isna().all()
    assert runs.loc["theirs", "vs_best"] == "best" and runs.loc["plain", "vs_best"] == "worse"
    page = (results / "tables/summary.rst").read_text(encoding="utf-8")
    assert "The predictions of theirs come from a file" in page and "theirs: resources/theirs.csv" in page
    votes = pd.read_csv(results / "tables/ensemble.csv")
    assert votes["name"].str.contains("theirs").any()


def test_a_changed_file_is_read_anew_alone(with_rows: Workspace, tmp_path: Path) -> None:
    shutil.copytree(with_rows.root, tmp_path / "study", symlinks=True)
    workspace = Workspace(tmp_path / "study")
    (workspace.root / "resources/theirs.csv").touch()
    assert workspace.planned() == {}
    write_theirs(workspace, confidence=0.8)
    planned = workspace.planned()
    assert planned["import_predictions"] == 1 and not planned.keys() & {"train", "evaluate", "adjust"}
    stale = workspace.command("verify", "--configfile", workspace.configfile).stdout
    assert "theirs/seed_0/predictions.parquet: not the predictions of resources/theirs.csv" in stale
    assert "read from resources/theirs.csv, which has changed since" in stale
    (workspace.root / "resources/theirs.csv").write_text("image_id,zero\n1,2\n", encoding="utf-8")
    said = workspace.snakemake(check=False)
    assert said.returncode and "of 10 classes have no column" in said.stdout


def test_a_changed_row_is_adjusted_anew_alone(with_rows: Workspace, tmp_path: Path) -> None:
    shutil.copytree(with_rows.root, tmp_path / "study", symlinks=True)
    workspace = Workspace(tmp_path / "study")
    table(workspace, *ROWS[:1], ROWS[1].replace("1.5", "0.5"), *ROWS[2:])
    planned = workspace.planned()
    assert planned["adjust"] == 1 and "evaluate" not in planned and "train" not in planned
    assert "evaluated" in workspace.command("watch", "--study", "small", "--once").stdout
    stale = workspace.command("verify", "--configfile", workspace.configfile)
    assert stale.returncode and "now logit_adjustment" in stale.stdout
    table(workspace, *ROWS[1:])  # the first row is gone
    left = workspace.command("verify", "--configfile", workspace.configfile).stdout
    assert "plain_T, seed 0: takes part in nothing" in left and "rm -r -- results/small/evaluate/plain_T/seed_0" in left
