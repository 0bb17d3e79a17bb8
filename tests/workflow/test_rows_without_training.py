"""Rows that take another one's training, and test-time augmentation, with real Snakemake on a finished small study."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from conftest import RECIPES, Workspace

HEADER, PLAIN, WEIGHTED = RECIPES.splitlines()


def table(workspace: Workspace, *rows: str, plain: str = "", weighted: str = "") -> None:
    """The two recipes with a cell for tta, and rows without training: "name	trained as	posthoc	tau	tta"."""
    empty = "\t" * (HEADER.count("\t") - 1)
    lines = [f"{HEADER}\ttrained_as\tposthoc\tposthoc_tau\ttta"]
    lines += [f"{PLAIN}\t\t\t\t{plain}", f"{WEIGHTED}\t\t\t\t{weighted}"]
    for name, rest in (row.split("\t", 1) for row in rows):
        lines.append(f"{name}\t1{empty}\t{rest}")
    (workspace.root / "config/small.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")


ROWS = (
    "plain_T\tplain\ttemperature\t\t",
    "plain_tau\tplain\tlogit_adjustment\t1.5\t",
    "plain_tuned\tplain\ttuned_logit_adjustment\t\t",
    "plain_mirrored\tplain\t\t\thflip",
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


@pytest.fixture(scope="module")
def with_rows(finished: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """The finished study with rows without training, made without a training."""
    root = tmp_path_factory.mktemp("rows") / "study"
    shutil.copytree(finished.root, root, symlinks=True)
    workspace = Workspace(root)
    table(workspace, *ROWS)
    planned = workspace.planned()
    assert planned["adjust"] == 3 and planned["evaluate"] == 1 and "train" not in planned
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
    assert [name.partition(",")[0] for name in members] in (["plain"], ["weighted"], ["plain", "weighted"])
    figures = {path.stem for path in (with_rows.root / "results/small/figures").glob("*.svg")}
    assert "confusion_plain_T" in figures and "curves_plain" in figures and "curves_plain_T" not in figures


def test_commands_know_rows_without_training(with_rows: Workspace) -> None:
    held = with_rows.command("verify", "--configfile", with_rows.configfile)
    assert held.returncode == 0 and "everything holds" in held.stdout and "note:" not in held.stdout, held.stdout
    watched = with_rows.command("watch", "--study", "small", "--once").stdout
    assert watched.count("evaluated") == 4 and "6 of 6 done" in watched
    exported = with_rows.command("export", "--study", "small", "--run", "plain_tau", "--out", "tau.pt")
    assert exported.returncode == 0 and "plain_tau, seed 0" in exported.stdout, exported.stdout


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
