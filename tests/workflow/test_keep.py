"""Finished runs kept in the repository without their weights, and brought back where nothing was trained."""

import json
import shutil
from pathlib import Path

import pytest
from conftest import Workspace
from small_run import RECIPE
from test_planned import TRAINING, finish
from test_verify import edit, verify

from study.commands.keep import keep, restore, restored
from study.planned import PlannedStudy

STUDY = "results/small"


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PlannedStudy:
    """A study of two runs, which nobody trained, kept in the folder `mine` and removed."""
    monkeypatch.chdir(tmp_path)
    Path(STUDY, "data").mkdir(parents=True)
    Path(STUDY, "data/pack.json").write_text("{}", encoding="utf-8")
    recipes = {name: RECIPE.but(experiment=name) for name in ("plain", "heavy")}
    study = PlannedStudy(Path(STUDY), {"seeds": [0], "metrics": {"ece_bins": 15}}, recipes, TRAINING)
    for name in recipes:
        run = finish(study, name)
        for path in (run.history, run.predictions):
            path.touch()
    keep(study, Path("mine"))
    for made in ("train", "evaluate"):
        shutil.rmtree(study.results / made)
    return study


def test_a_run_restored_from_a_folder_of_ones_own_is_known_as_such(mine: PlannedStudy) -> None:
    plain, heavy = mine.runs
    for part in ("train/heavy", "evaluate/heavy"):
        shutil.move(Path("mine", part), Path("other", part))
    for folder in ("mine", "other", "mine"):
        restore(mine, Path(folder))
    assert restored(plain) and restored(heavy)
    plain.metrics.write_text("{}", encoding="utf-8")
    heavy.weights.touch()
    assert not restored(plain) and not restored(heavy)


@pytest.mark.parametrize("content", [None, "", "{", "[1]", "1"])
def test_a_kept_run_that_does_not_say_how_it_was_evaluated_is_skipped(
    mine: PlannedStudy, capsys: pytest.CaptureFixture[str], content: str | None
) -> None:
    path = Path("mine/evaluate/plain/seed_0/evaluation.json")
    path.unlink() if content is None else path.write_text(content, encoding="utf-8")
    capsys.readouterr()
    restore(mine, Path("mine"))
    note, summary = capsys.readouterr().out.splitlines()
    assert note.startswith(f"note: plain/seed_0 is not restored, {path} does not say what its predictions were made")
    assert summary == f"{STUDY}: 1 of the 2 runs restored from mine" and not mine.runs[0].run.exists()


@pytest.fixture(scope="module")
def prepared(finished: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """The study's runs kept, all that was made removed, and the images prepared again."""
    workspace = Workspace(tmp_path_factory.mktemp("prepared") / "study")
    shutil.copytree(finished.root, workspace.root, symlinks=True)
    run = workspace.command("keep", "small")
    assert run.returncode == 0 and "docs/runs/small: 2 of the 2 runs of results/small kept" in run.stdout, run.stdout
    for made in (STUDY, ".snakemake"):
        shutil.rmtree(workspace.root / made)
    for rule in ("pack", "class_weights"):  # not at once: Snakemake forgets the second one behind the checkpoint
        workspace.snakemake("--until", rule)
    return workspace


@pytest.fixture
def elsewhere(prepared: Workspace, tmp_path: Path) -> Workspace:
    """The same, to be changed at will."""
    root = tmp_path / "elsewhere"
    shutil.copytree(prepared.root, root, symlinks=True)
    return Workspace(root)


def test_restored_runs_are_finished_ones(elsewhere: Workspace, finished: Workspace) -> None:
    kept = elsewhere.root / "docs/runs/small"
    assert not list(kept.rglob("*.safetensors"))
    run = elsewhere.command("keep", "--restore", "small")
    assert run.returncode == 0 and "results/small: 2 of the 2 runs restored" in run.stdout, run.stdout
    for path in sorted((elsewhere.root / STUDY / "data").iterdir()):  # younger, and the same
        path.touch()
    assert {"train", "evaluate"}.isdisjoint(elsewhere.planned())
    elsewhere.snakemake("--until", "tables", "ensemble")
    assert not list((elsewhere.root / STUDY).rglob("*.safetensors"))
    for table in ("comparison.csv", "leakage.csv"):
        ours, theirs = (workspace.root / STUDY / "tables" / table for workspace in (elsewhere, finished))
        assert ours.read_text(encoding="utf-8") == theirs.read_text(encoding="utf-8")
    again = elsewhere.command("keep", "--restore", "small")
    assert "results/small: 0 of the 2 runs restored" in again.stdout  # what is there stays

    held = verify(elsewhere)
    assert held.returncode == 0 and "results/small: everything holds" in held.stdout, held.stdout
    assert "note: results/small/train/plain/seed_0/best.safetensors: not here, so that" in held.stdout
    metrics = f"{STUDY}/evaluate/plain/seed_0/metrics.json"
    edit(elsewhere.root / metrics, '"accuracy": 0.', '"accuracy": 1.')
    changed = verify(elsewhere)
    assert changed.returncode != 0 and "metrics.json: not the metrics of predictions.parquet" in changed.stdout
    assert "plain/seed_0/best.safetensors: missing; Snakemake makes it if it is asked" in changed.stdout


def test_a_restored_run_whose_recipe_has_changed_since_is_trained(elsewhere: Workspace) -> None:
    elsewhere.command("keep", "--restore", "small")
    edit(elsewhere.root / "config/small.tsv", "plain\t1\tSGD\t0.01", "plain\t1\tSGD\t0.02")
    assert elsewhere.planned()["train"] == 1


def test_only_what_is_planned_comes_back(elsewhere: Workspace) -> None:
    edit(elsewhere.root / "config/small.tsv", "plain\t1\tSGD\t0.01", "plain\t1\tSGD\t0.02")
    made_by = elsewhere.root / "docs/runs/small/evaluate/weighted/seed_0/evaluation.json"
    facts = json.loads(made_by.read_text(encoding="utf-8"))
    made_by.write_text(json.dumps({**facts, "metrics.ece_bins": 3}), encoding="utf-8")
    run = elsewhere.command("keep", "--restore", "small")
    assert "note: plain/seed_0 is not restored, it was made with lr 0.01, now 0.02" in run.stdout
    assert "note: weighted/seed_0 is not restored, it was made with metrics.ece_bins 3, now" in run.stdout
    assert "0 of the 2 runs restored" in run.stdout and not Path(elsewhere.root, STUDY, "train").exists()


def test_what_was_trained_here_stays(elsewhere: Workspace) -> None:
    """Though it is not evaluated yet: the facts of another training would not be those of its weights."""
    own = elsewhere.root / STUDY / "train/weighted/seed_0/run.json"
    own.parent.mkdir(parents=True)
    own.write_text("{}", encoding="utf-8")
    run = elsewhere.command("keep", "--restore", "small")
    assert "results/small: 1 of the 2 runs restored" in run.stdout and own.read_text(encoding="utf-8") == "{}"
    assert not (elsewhere.root / STUDY / "evaluate/weighted").exists()


@pytest.mark.parametrize("file", ["pack.json", "class_weights_complement.csv"])
def test_what_was_not_prepared_is_named(elsewhere: Workspace, file: str) -> None:
    (elsewhere.root / STUDY / "data" / file).unlink()
    run = elsewhere.command("keep", "--restore", "small")
    assert run.returncode != 0 and f"Error: {STUDY}/data/{file}: missing; let Snakemake make it first" in run.stdout
