"""Runs come back from their files, checked to be comparable; the winner is chosen on validation."""

from dataclasses import replace
from pathlib import Path

import made_runs
import numpy as np
import pandas as pd
import pytest
from made_runs import Made, recipe
from scipy.stats import sem, t
from statsmodels.stats.proportion import proportion_confint

from study.compare.runs import Run, by_recipe, choose, load_runs
from study.errors import StudyError
from study.evaluate.predictions import read_predictions, write_predictions


def load(folder: Path, made: list[Made]) -> list[Run]:
    return load_runs(
        {one.recipe.experiment: one.recipe for one in made},
        list(folder.glob("train/*/*/run.json")),
        list(folder.glob("evaluate/*/*/metrics.json")),
        list(folder.glob("train/*/*/history.csv")),
        list(folder.glob("evaluate/*/*/predictions.parquet")),
    )


def test_runs_follow_the_table_of_recipes_then_seeds(tmp_path: Path) -> None:
    made = [Made(recipe("zeta"), seed=1), Made(recipe("zeta"), seed=0), Made(recipe("alpha"))]
    runs = made_runs.study(tmp_path, made)
    assert [(run.experiment, run.seed) for run in runs] == [("zeta", 0), ("zeta", 1), ("alpha", 0)]
    assert runs[0].history["epoch"].tolist() == list(range(1, 13))
    assert runs[0].scores["test"].correct.mean() == runs[0].test_accuracy
    assert list(by_recipe(runs, 0.95)) == ["zeta", "alpha"]


def test_winner_is_chosen_on_validation(tmp_path: Path) -> None:
    runs = made_runs.study(tmp_path, [Made(recipe("weak"), 0.3), Made(recipe("strong"), 0.8)])
    runs[0].metrics["test"]["accuracy"] = 1.0  # a test score must not matter
    assert choose(by_recipe(runs, 0.95).values()).name == "strong"


def test_the_interval_of_several_seeds_is_over_their_images_and_groups_too(tmp_path: Path) -> None:
    made = [Made(recipe("a"), skill, seed=seed) for seed, skill in enumerate((0.6, 0.7))]
    alone = by_recipe(made_runs.study(tmp_path / "alone", made), 0.95)["a"]
    right = np.array([run.correct for run in alone])
    of_seeds, each = right.mean(axis=1), right.shape[1]
    wilson = proportion_confint(right.mean() * each, each, method="wilson")
    student = t.interval(0.95, 1, of_seeds.mean(), sem(of_seeds))
    sides = (np.hypot(right.mean() - wilson[k], right.mean() - student[k]) * (-1, 1)[k] for k in (0, 1))
    expected = [np.clip(right.mean() + side, 0, 1) for side in sides]
    assert alone.interval("test") == pytest.approx(expected)
    ids = alone.first.scores["test"].image_ids[np.argsort(right[0])]  # patients with whom all is right, or nothing
    patients = pd.Series([f"patient {k // 8}" for k in range(len(ids))], index=ids)
    grouped = by_recipe(made_runs.study(tmp_path / "groups", made, groups=patients), 0.95)["a"]
    assert grouped.interval("test")[0] < alone.interval("test")[0] - 1e-4


def test_a_failed_recipe_wins_only_among_failures(tmp_path: Path) -> None:
    runs = made_runs.study(tmp_path, [Made(recipe("weak"), 0.0), Made(recipe("lost"), 0.9, "diverged")])
    assert runs[1].val_accuracy > runs[0].val_accuracy
    assert choose(by_recipe(runs, 0.95).values()).name == "weak"
    assert choose(by_recipe(runs[1:], 0.95).values()).name == "lost"


def test_missing_file_is_named(tmp_path: Path) -> None:
    made = [Made(recipe("a")), Made(recipe("b"))]
    made_runs.study(tmp_path, made)
    (tmp_path / "evaluate/b/seed_0/metrics.json").unlink()
    with pytest.raises(StudyError, match=r"b/seed_0/run.json: the run has no metrics.json"):
        load(tmp_path, made)


def test_unknown_experiment_is_named(tmp_path: Path) -> None:
    made = [Made(recipe("a")), Made(recipe("b"))]
    made_runs.study(tmp_path, made)
    with pytest.raises(StudyError, match="experiment 'b' is not in the table of recipes"):
        load(tmp_path, made[:1])


def test_no_run_at_all() -> None:
    with pytest.raises(StudyError, match="no run to compare"):
        load_runs({}, [], [])


def test_other_images_are_refused(tmp_path: Path) -> None:
    made = [Made(recipe("a")), Made(recipe("b"))]
    made_runs.study(tmp_path, made)
    path = tmp_path / "evaluate/b/seed_0/predictions.parquet"
    predictions = read_predictions(path)
    predictions.scores.loc[predictions.scores.index[-1], "image_id"] = "another"
    write_predictions(predictions, path)
    with pytest.raises(StudyError, match="b, seed 0: evaluated on other test images than a, seed 0"):
        load(tmp_path, made)


def test_other_classes_are_refused(tmp_path: Path) -> None:
    made = [Made(recipe("a")), Made(recipe("b"))]
    made_runs.write_run(tmp_path, made[0], ["cat", "dog"])
    made_runs.write_run(tmp_path, replace(made[1]), ["cat", "cow"])
    with pytest.raises(StudyError, match=r"b: classes \['cat', 'cow'\] differ from those of a"):
        load(tmp_path, made)
