"""Verdicts, pairs and resamples: made once, within the whole study and within a part of it."""

from dataclasses import replace
from pathlib import Path

import made_runs
import numpy as np
import pandas as pd
import pytest
from made_runs import PATIENTS, TEST_UNITS, Made, comparison_of, fourteen, recipe
from statsmodels.stats.multitest import multipletests

from study.compare import comparison
from study.compare.runs import Run
from study.compare.seeds_and_images import crossed_test
from study.compare.statistics import mcnemar, sign_flip
from study.compare.verdicts import BEST, BETTER, NOT_DISTINGUISHABLE, WORSE
from study.errors import StudyError


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    return made_runs.study(tmp_path_factory.mktemp("runs"), fourteen())


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    return made_runs.three_recipes_with_three_seeds(tmp_path_factory.mktemp("seeds"))


def test_verdicts_compare_with_the_winner_of_validation_on_test(runs: list[Run]) -> None:
    verdicts = comparison_of(runs).verdicts
    best = max((run for run in runs if not run.failed), key=lambda run: run.val_accuracy)
    assert verdicts[best.experiment][0] == BEST
    others = [run for run in runs if run is not best]
    raw = [mcnemar(run.correct, best.correct) for run in others]
    adjusted = multipletests(raw, method="holm")[1]
    for run, p in zip(others, adjusted, strict=True):
        verdict, shown = verdicts[run.experiment]
        assert shown == pytest.approx(p)
        assert verdict == (
            NOT_DISTINGUISHABLE if p > 0.05 else WORSE if run.test_accuracy < best.test_accuracy else BETTER
        )
    assert verdicts["adam_ver1"][0] == WORSE


def test_test_may_contradict_validation(tmp_path: Path) -> None:
    runs = made_runs.study(tmp_path, [Made(recipe("a"), 0.3), Made(recipe("b"), 0.9)])
    runs[0].metrics["val"]["accuracy"] = 1.0
    assert comparison_of(runs).verdicts["b"][0] == BETTER


def test_several_seeds_are_one_test_over_seeds_and_images(seeds: list[Run]) -> None:
    verdicts = comparison_of(seeds).verdicts
    correct = {name: np.array([run.correct for run in seeds if run.experiment == name], np.int8) for name in "abc"}
    raw = [crossed_test(correct[name] - correct["a"]) for name in "bc"]
    assert [verdicts[name][1] for name in "bc"] == pytest.approx(list(multipletests(raw, method="holm")[1]))
    assert verdicts["a"][0] == BEST and verdicts["c"][0] == WORSE
    assert verdicts["b"][0] == NOT_DISTINGUISHABLE  # one of its three seeds diverged: the next may as well


def test_the_seeds_of_two_studies_are_compared_together(seeds: list[Run]) -> None:
    whole = comparison_of(seeds)
    first, later = ([run for run in seeds if (run.seed == 0) == is_first] for is_first in (True, False))
    joined = comparison_of([run for run in later if run.experiment in "ab"]).with_seeds_of(comparison_of(first))
    assert [(run.experiment, run.seed) for run in joined.runs] == [(name, seed) for name in "ab" for seed in range(3)]
    a, b = (whole.recipes[name] for name in "ab")
    assert joined.p_value(joined.recipes["a"], joined.recipes["b"]) == whole.p_value(a, b)
    assert joined.with_seeds_of(whole).runs == joined.runs, "it has these seeds"


def test_seeds_of_another_recipe_or_other_images_are_not_compared(tmp_path: Path) -> None:
    pair = [Made(recipe("a"), 0.9, seed=1), Made(recipe("b"), 0.7, seed=1)]
    whole = comparison_of(made_runs.study(tmp_path / "whole", pair))
    lacks_one = comparison_of(made_runs.study(tmp_path / "one", [Made(recipe("a"), 0.9)]))
    assert whole.with_seeds_of(lacks_one) is whole
    otherwise = [Made(recipe("a"), 0.9), Made(recipe("b", lr=0.5), 0.7)]
    assert whole.with_seeds_of(comparison_of(made_runs.study(tmp_path / "otherwise", otherwise))) is whole
    fewer = made_runs.study(tmp_path / "fewer", [replace(one, seed=0) for one in pair], images=300)
    with pytest.raises(StudyError, match="evaluated on other test images"):
        whole.with_seeds_of(comparison_of(fewer))


def test_tiers_step_down_to_the_best_of_the_rest(tmp_path: Path) -> None:
    skills = {"a": 0.95, "b": 0.94, "c": 0.7, "d": 0.69, "e": 0.3}
    made = [Made(recipe(name), skill) for name, skill in skills.items()]
    whole = comparison_of(made_runs.study(tmp_path, [*made, Made(recipe("f"), 0.0, "collapsed")]))
    assert whole.tiers == {"a": 1, "b": 1, "c": 2, "d": 2, "e": 3, "f": None}
    assert whole.recipes["d"].tier == 2
    assert whole.among("cde").tiers == {"c": 1, "d": 1, "e": 2}
    assert whole.among("f").tiers == {"f": 1}


def test_pairwise_lists_every_pair_once(runs: list[Run]) -> None:
    table = comparison_of(runs, 200).pairs
    assert len(table) == 14 * 13 // 2
    row = table[(table["experiment_a"] == "sgd_ver1") & (table["experiment_b"] == "adam_ver1")].iloc[0]
    assert row["accuracy_difference"] == pytest.approx(runs[0].test_accuracy - runs[6].test_accuracy)
    assert row["accuracy_low"] < row["accuracy_difference"] < row["accuracy_high"]
    assert row["distinguishable"]
    gained = row["only_a_correct"] - row["only_b_correct"]
    assert gained / row["images"] == pytest.approx(row["accuracy_difference"])
    assert table["p_holm"].tolist() == pytest.approx(multipletests(table["p_mcnemar"], method="holm")[1])


def test_pairs_share_their_seed(seeds: list[Run]) -> None:
    assert (comparison_of(seeds, 20).pairs["seed"] != "all").sum() == 3 * 3


def test_several_seeds_are_tested_over_seeds_as_well(seeds: list[Run]) -> None:
    table = comparison_of(seeds, 200).pairs
    over = table[table["seed"] == "all"]
    assert len(over) == 3
    for row in over.itertuples():
        names = row.experiment_a, row.experiment_b
        a, b = ([run.test_accuracy for run in seeds if run.experiment == name] for name in names)
        assert row.accuracy_difference == pytest.approx(sum(a) / len(a) - sum(b) / len(b))
        assert row.accuracy_low <= row.accuracy_difference <= row.accuracy_high
    assert list(over["p_holm"]) == pytest.approx(list(multipletests(over["p_seeds_and_images"], method="holm")[1]))
    assert table.loc[table["seed"] != "all", "p_seeds_and_images"].isna().all()


def test_intervals_of_few_seeds_stay_where_scores_can_be(tmp_path: Path) -> None:
    made = [Made(recipe(name), skill, seed=k) for name in "ab" for k, skill in enumerate((0.99, 0.8))]
    made += [Made(recipe("c"), skill, seed=k) for k, skill in enumerate((0.9, 0.0))]
    whole = comparison_of(made_runs.study(tmp_path, made))
    for metric in ("accuracy", "balanced_accuracy", "macro_f1"):
        high, lost = whole.recipes["a"], whole.recipes["c"]
        assert whole.interval(high, metric)[1] == 1 and whole.interval(lost, metric)[0] == 0
        assert whole.difference_interval(high, lost, metric) == (-1, 1)
    assert whole.interval(whole.recipes["c"], "nll")[0] == 0 < 1 < whole.interval(whole.recipes["c"], "nll")[1]


def test_resamples_are_drawn_and_scored_once(runs: list[Run], monkeypatch: pytest.MonkeyPatch) -> None:
    draws, scored = [], []
    real = comparison.draw_counts, comparison.resampled_scores
    monkeypatch.setattr(comparison, "draw_counts", lambda *a: draws.append(a) or real[0](*a))
    monkeypatch.setattr(comparison, "resampled_scores", lambda *a: scored.append(a) or real[1](*a))
    whole = comparison_of(runs)
    assert len(whole.pairs) == 91
    for case in whole.cases:
        within = whole.of_case(case)
        within.interval(within.best, "macro_f1")
    assert (len(draws), len(scored)) == (1, 14)


def test_a_part_of_the_study_has_its_own_best_recipe(runs: list[Run]) -> None:
    within = comparison_of(runs).of_case(1)
    assert set(within.recipes) == {"sgd_ver1", "sgd_ver2", "sgd_ver3"}
    assert within.best.name == "sgd_ver3" and within.best.verdict == BEST
    assert within.recipes["sgd_ver1"].verdict == WORSE


def test_every_column_of_the_pairs_is_filled_and_none_is_dropped(seeds: list[Run]) -> None:
    whole = comparison_of(seeds)
    a, b, _ = whole.recipes.values()
    cells = {**whole._pair(a, b), **whole._seed_cells(a.first, b.first), "p_seeds_and_images": 0.5}
    rows = [cells]
    comparison._adjust(rows, "p_seeds_and_images", whole.confidence)
    assert set(rows[0]) == set(comparison.PAIR_COLUMNS)
    assert not whole.pairs.isna().all().any()


@pytest.fixture(scope="module")
def patients(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    made = [Made(recipe("a"), 0.9), Made(recipe("b"), 0.6), Made(recipe("c"), 0.55)]
    return made_runs.study(tmp_path_factory.mktemp("patients"), made, groups=PATIENTS)


def test_images_of_patients_are_compared_patient_by_patient(patients: list[Run]) -> None:
    whole = comparison_of(patients, 200)
    assert whole.test_units == TEST_UNITS
    table = whole.pairs
    assert list(table.columns) == comparison.GROUPED_PAIR_COLUMNS
    assert (table["groups"] == TEST_UNITS).all() and (table["images"] == 400).all()
    for row in table.itertuples():
        a, b = (whole.recipes[name].first for name in (row.experiment_a, row.experiment_b))
        patient = PATIENTS.reindex(a.scores["test"].image_ids).reset_index(drop=True)
        patient = patient.where(patient.notna(), patient.index.astype(str))
        differences = pd.Series(a.correct.astype(int) - b.correct).groupby(patient).sum()
        assert row.p_sign_flip == pytest.approx(sign_flip(differences.to_numpy()))
        assert row.accuracy_low <= row.accuracy_difference <= row.accuracy_high
    assert table["p_holm"].tolist() == pytest.approx(multipletests(table["p_sign_flip"], method="holm")[1])
    assert whole.verdicts["c"][0] == WORSE


def test_over_seeds_the_patients_are_what_varies(tmp_path: Path) -> None:
    made = [Made(recipe(name), skill, seed=seed) for name, skill in (("a", 0.8), ("b", 0.7)) for seed in range(3)]
    whole = comparison_of(made_runs.study(tmp_path, made, groups=PATIENTS))
    a, b = whole.recipes.values()
    units = whole.units
    assert units is not None
    sums = np.array(
        [np.bincount(units, one.correct.astype(float) - two.correct) for one, two in zip(a, b, strict=True)]
    )
    assert whole.p_value(a, b) == pytest.approx(crossed_test(sums))
    differences = comparison.paired_differences(a, b)
    assert differences.mean() == pytest.approx(a.accuracy("test") - b.accuracy("test"))
    over = whole.pairs.set_index("seed").loc["all"]
    assert over["p_seeds_and_images"] == pytest.approx(crossed_test(sums)) and over["groups"] == TEST_UNITS


def test_patients_of_one_image_change_nothing(tmp_path: Path) -> None:
    made = [Made(recipe("a"), 0.7), Made(recipe("b"), 0.6)]
    alone = made_runs.study(tmp_path / "alone", made, groups=pd.Series({f"image_{k:05d}": str(k) for k in range(800)}))
    plain = made_runs.study(tmp_path / "plain", made)
    assert comparison_of(alone).units is None
    pd.testing.assert_frame_equal(comparison_of(alone).pairs, comparison_of(plain).pairs)
