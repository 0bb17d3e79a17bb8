"""What belongs to a study, and which finished runs no longer do: found in their files, each with the reason."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from small_run import RECIPE

from study.elsewhere import recipe_from_file
from study.files import file_sha256
from study.paths import RunPaths
from study.planned import SHOWN, PlannedStudy, changes, leftover_lines, recipe_tables
from study.provenance import digest

SETTINGS = {"initial_weights": "none", "training": {"max_epochs": None, "deterministic": True}}
TRAINING = {"plain": SETTINGS, "heavy": SETTINGS}
WEIGHTED = {"loss": "weighted_cross_entropy", "activation": "logits"}


def finish(study: PlannedStudy, experiment: str, seed: int = 0, **provenance: Any) -> RunPaths:
    """The files of a run of the study as it is, but for what is given."""
    run, recipe = RunPaths(study.results, experiment, seed), study.recipes[experiment]
    made = {"settings": digest(SETTINGS), "configuration": SETTINGS, "data": study.images}
    weights = study.class_weights(experiment)
    made["class_weights"] = file_sha256(weights) if weights else None
    record = {"recipe": dict(recipe.hyperparameters), "best_val_accuracy": 0.5, "provenance": {**made, **provenance}}
    for folder in (run.trained, run.evaluated):
        folder.mkdir(parents=True, exist_ok=True)
    run.run.write_text(json.dumps(record), encoding="utf-8")
    run.metrics.write_text('{"val": {"accuracy": 0.5}}', encoding="utf-8")
    return run


@pytest.fixture
def study(tmp_path: Path) -> PlannedStudy:
    """Two recipes, one of them weighted, of one seed; its images and class weights are there."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data/pack.json").write_text('{"classes": ["a"]}', encoding="utf-8")
    (tmp_path / "data/class_weights_complement.csv").write_text("class,count,weight\n", encoding="utf-8")
    recipes = {"plain": RECIPE.but(experiment="plain"), "heavy": RECIPE.but(experiment="heavy", **WEIGHTED)}
    return PlannedStudy(tmp_path, {"seeds": [0], "experiments": "own.tsv"}, recipes, TRAINING, {"split": 1})


def test_runs_as_they_are_planned_are_no_leftovers(study: PlannedStudy) -> None:
    for name in study.recipes:
        finish(study, name)
    assert study.leftovers() == {} and study.runs == [RunPaths(study.results, name, 0) for name in study.recipes]


def test_a_row_without_training_has_the_files_of_another_one_and_is_known_by_their_hash(study: PlannedStudy) -> None:
    row = study.recipes["plain"].but(experiment="row", trained_as="plain", posthoc="temperature")
    study = PlannedStudy(study.results, study.config, {**study.recipes, "row": row}, {**TRAINING, "row": SETTINGS})
    run, plain = study.runs[2], finish(study, "plain")
    assert (run.weights, run.history, run.run) == (plain.weights, plain.history, plain.run) and not run.trains
    assert study.trainings == study.runs[:2] and study.leftovers() == {}
    plain.predictions.write_text("p", encoding="utf-8")
    made = {"method": "temperature", "value": 2.0, "predictions_sha256": file_sha256(plain.predictions)}
    run.evaluated.mkdir(parents=True)
    run.metrics.write_text(json.dumps({"adjustment": made}), encoding="utf-8")
    assert study.leftovers() == {}
    plain.predictions.write_text("other", encoding="utf-8")
    assert study.leftovers() == {run: "plain/seed_0 was evaluated again after it was adjusted"}
    other = {**study.recipes, "row": row.but(posthoc="logit_adjustment")}
    now = PlannedStudy(study.results, study.config, other, study.training)
    assert now.leftovers() == {run: "it was adjusted by temperature (2.0), now logit_adjustment"}
    (line,) = leftover_lines(now.leftovers())
    assert line.endswith(f"rm -r -- {run.evaluated}")
    gone = PlannedStudy(study.results, study.config, {"plain": study.recipes["plain"]}, TRAINING)
    assert gone.leftovers() == {RunPaths(study.results, "row", 0): "its recipe is not in the table of recipes any more"}


def test_a_training_of_a_row_that_takes_another_one_now_is_left_over(study: PlannedStudy) -> None:
    finish(study, "plain")
    old = finish(study, "heavy")
    row = study.recipes["plain"].but(experiment="heavy", trained_as="plain", tta="hflip")
    now = PlannedStudy(study.results, study.config, {"plain": study.recipes["plain"], "heavy": row}, TRAINING)
    assert now.leftovers() == {old: "its row takes the training of another one now"}
    (line,) = leftover_lines(now.leftovers())
    assert line.endswith(f"rm -r -- {old.trained}")


def test_every_difference_is_named_with_both_values(study: PlannedStudy) -> None:
    other = {"initial_weights": "a.pth", "training": {"max_epochs": 5, "deterministic": True}}
    run = finish(study, "plain", settings=digest(other), configuration=other)
    assert study.differences(run) == ["initial_weights a.pth, now none", "training.max_epochs 5, now null"]
    cuts_nothing = {**SETTINGS, "training": {**SETTINGS["training"], "max_epochs": 6}}
    assert study.differences(finish(study, "plain", settings=digest(cuts_nothing), configuration=cuts_nothing)) == []
    run = finish(study, "plain", settings=digest(other), configuration=None)
    assert study.differences(run) == ["another configuration of the training"]
    run = finish(study, "plain", data="0" * 64)
    assert study.differences(run) == [f"other images than those in {study.results}/data now"]
    now = PlannedStudy(study.results, study.config, {"plain": RECIPE.but(experiment="plain", lr=0.5, max_epochs=9)})
    assert now.differences(finish(study, "plain")) == ["lr 0.003, now 0.5", "max_epochs 6, now 9"]


def test_class_weights_matter_to_those_who_use_them(study: PlannedStudy) -> None:
    plain, heavy = finish(study, "plain"), finish(study, "heavy")
    (study.results / "data/class_weights_complement.csv").write_text("class,count,weight\na,1,1\n", encoding="utf-8")
    now = PlannedStudy(study.results, study.config, study.recipes, TRAINING)
    assert now.differences(plain) == [] and "other class weights than" in now.differences(heavy)[0]
    assert now.class_weights("plain") is None
    balanced = {"heavy": study.recipes["heavy"].but(class_weights="balanced")}
    now = PlannedStudy(study.results, study.config, balanced, TRAINING)
    assert now.differences(heavy) == ["loss.class_weights complement, now balanced"]


def test_what_a_run_of_an_earlier_version_does_not_state_is_not_compared(study: PlannedStudy) -> None:
    run = finish(study, "plain")
    run.run.write_text('{"outcome": "completed"}', encoding="utf-8")
    assert study.differences(run) == []


def test_a_row_that_came_since_snakemake_last_ran_is_compared_as_far_as_it_is_known(study: PlannedStudy) -> None:
    finish(study, "plain")
    now = PlannedStudy(study.results, study.config, study.recipes, {"heavy": TRAINING["heavy"]})
    assert now.leftovers() == {}


@pytest.mark.parametrize("content", ["", "[1]", '{"recipe": '])
def test_a_damaged_run_is_named(study: PlannedStudy, content: str) -> None:
    run = finish(study, "plain")
    run.run.write_text(content, encoding="utf-8")
    assert study.differences(run)[0].startswith("run.json cannot be read")


def test_a_recipe_with_columns_of_another_version(study: PlannedStudy) -> None:
    run = finish(study, "plain")
    record = json.loads(run.run.read_text(encoding="utf-8"))
    run.run.write_text(json.dumps({**record, "recipe": {**record["recipe"], "unheard_of": 1}}), encoding="utf-8")
    assert study.differences(run) == ["a recipe with columns that the table does not know, or without some that it has"]


def test_leftovers_have_a_reason_and_a_command_that_removes_them(study: PlannedStudy) -> None:
    seeds = [finish(study, "plain", seed) for seed in (0, 1, 2)]
    finish(study, "heavy")
    (study.results / "train/plain/seed_old").mkdir()
    (study.results / "train/plain/seed_old/run.json").write_text("{}", encoding="utf-8")
    now = PlannedStudy(study.results, study.config, {"plain": study.recipes["plain"]}, TRAINING)
    lines = leftover_lines(now.leftovers())
    assert [line.partition("; to remove it: ")[0] for line in lines] == [
        "heavy, seed 0: takes part in nothing, because its recipe is not in the table of recipes any more",
        "plain, seeds 1, 2: takes part in nothing, because its seed is not in `seeds` any more",
    ]
    for line in lines:
        assert os.system(line.partition("; to remove it: ")[2]) == 0
    assert now.leftovers() == {} and seeds[0].run.exists() and not seeds[1].trained.exists()


def test_metrics_older_than_the_run_count_only_if_they_say_something_else(study: PlannedStudy) -> None:
    run = finish(study, "plain")
    os.utime(run.metrics, (1, 1))
    assert study.leftovers() == {}
    run.metrics.write_text('{"val": {"accuracy": 0.25}}', encoding="utf-8")
    assert study.leftovers() == {}
    os.utime(run.metrics, (1, 1))
    assert study.leftovers() == {run: "it was trained again after it was evaluated"}


def test_long_lists_are_cut(study: PlannedStudy) -> None:
    found = changes({str(n): 1 for n in range(99)}, {str(n): 2 for n in range(99)})
    assert len(found) == SHOWN and found[-1] == f"{99 - SHOWN + 1} more differences"
    lines = leftover_lines({RunPaths(study.results, f"old{n}", 0): "gone" for n in range(99)})
    assert len(lines) == SHOWN and lines[-1] == f"{99 - SHOWN + 1} more lines like these"


def test_values_are_shown_as_they_are_written() -> None:
    before = {"a": True, "b": {"c": None, "d": {}}, "e": 1e-10, "f": "0" * 64, "gone": [1]}
    now = {"a": False, "b": {"c": 3, "d": {"x": 1}}, "e": 0.5, "f": "1" * 64}
    assert changes(before, now) == [
        "a true, now false", "b.c null, now 3", "b.d {}, now not set", "e 1e-10, now 0.5", "f 00000000…, now 11111111…",
        "gone [1], now not set", "b.d.x not set, now 1",
    ]  # fmt: skip


def test_tables_are_those_of_the_working_directory_else_of_the_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for place in ("here/one.tsv", "one.tsv", "two.tsv"):
        (tmp_path / place).touch()
    found = recipe_tables({"experiments": ["one.tsv", "two.tsv", "three.tsv"]}, tmp_path)
    assert found == ["one.tsv", str(tmp_path / "two.tsv"), "three.tsv"]


def test_a_row_with_predictions_from_a_file_is_known_by_its_hash_and_that_of_the_images(study: PlannedStudy) -> None:
    file, old = study.results / "theirs.csv", finish(study, "plain")
    recipes = {**study.recipes, "plain": recipe_from_file("plain", 1, str(file), {})}
    now = PlannedStudy(study.results, study.config, recipes, TRAINING)
    run = now.runs[0]
    file.write_text("p", encoding="utf-8")
    made = {"path": str(file), "sha256": file_sha256(file), "seed": None, "data": now.images}
    run.metrics.write_text(json.dumps({"file": made}), encoding="utf-8")
    assert not run.trains and now.evaluated_otherwise(run) == ""
    assert now.leftovers() == {old: "its row has predictions from a file now"}
    (line,) = leftover_lines(now.leftovers())
    assert line.endswith(f"rm -r -- {old.trained}")
    file.write_text("q", encoding="utf-8")
    assert "which has changed since" in now.evaluated_otherwise(run)
    file.write_text("p", encoding="utf-8")
    (study.results / "data/pack.json").write_text('{"classes": ["b"]}', encoding="utf-8")
    changed = PlannedStudy(study.results, study.config, recipes, TRAINING)
    assert changed.evaluated_otherwise(run).startswith("it was evaluated on other images")
    moved = {"plain": recipe_from_file("plain", 1, "other.csv", {})}
    renamed = PlannedStudy(study.results, study.config, moved, TRAINING)
    assert renamed.evaluated_otherwise(run) == f"its predictions were read from {file}, now other.csv"


def test_the_plan_that_is_left_has_rows_of_files_apart(study: PlannedStudy, tmp_path: Path) -> None:
    recipes = {**study.recipes, "theirs": recipe_from_file("theirs", 1, "theirs.csv", {"source": "somewhere"})}
    PlannedStudy(study.results, study.config, recipes, TRAINING).write()
    content = json.loads((study.results / "study.json").read_text(encoding="utf-8"))
    assert all(fields["hyperparameters"]["batch_size"] for fields in content["recipes"].values())
    assert PlannedStudy.read(study.results, tmp_path).recipes == recipes
