"""Scores by subgroup: which columns divide, the scores beside scikit-learn's, intervals beside statsmodels', tests."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import made_runs
import numpy as np
import pandas as pd
import pytest
from made_runs import Made, comparison_of, recipe
from numpy.typing import NDArray
from scipy.stats import binom
from sklearn.metrics import accuracy_score, balanced_accuracy_score
from statsmodels.stats.proportion import confint_proportions_2indep

from study.compare.runs import Run, Subset
from study.compare.subgroups import (
    FEWEST,
    SUBGROUP_COLUMNS,
    difference_interval,
    p_value,
    subgroup_columns,
    subgroup_facts,
    subgroups,
)
from study.compare.verdicts import LOWER

IMAGES = 400


@pytest.fixture
def runs(tmp_path: Path) -> list[Run]:
    return made_runs.study(tmp_path, [Made(recipe("a"), 0.7), Made(recipe("b"), 0.5)])


def both_splits(cells: list[Any]) -> list[Any]:
    """Cells of the test images, with the same for the validation images."""
    return [*cells, *cells]


def subset(right: int, images: int, units: NDArray[np.int64] | None = None) -> Subset:
    return Subset((np.arange(images) < right)[None], units)


def divided(runs: list[Run], **columns: list[Any]) -> pd.DataFrame:
    cells = {name: both_splits(some) for name, some in columns.items()}
    return subgroups(comparison_of(runs, manifest=made_runs.manifest(runs, **cells)))


def test_nothing_to_divide_by_is_an_empty_table(runs: list[Run]) -> None:
    table = divided(runs)
    assert table.empty and list(table) == SUBGROUP_COLUMNS
    assert subgroup_facts(table, "a", 0.95) == []


def test_scores_are_those_of_scikit_learn_on_the_images(runs: list[Run]) -> None:
    sex = (["f"] * 3 + ["m"] * 4 + [""]) * 50
    table = divided(runs, sex=sex)
    assert list(table["value"]) == ["f", "m"] * 2
    for run in runs:
        scores, cells = run.scores["test"], np.array(sex)
        for row in table[table["experiment"] == run.experiment].to_dict("records"):
            inside, rest = cells == row["value"], (cells != row["value"]) & (cells != "")
            assert (row["images"], row["units"], row["rest_images"]) == (inside.sum(), inside.sum(), rest.sum())
            for name, some in (("", inside), ("rest_", rest)):
                labels, predicted = scores.labels[some], scores.predicted[some]
                assert row[f"{name}accuracy"] == pytest.approx(accuracy_score(labels, predicted))
                expected = balanced_accuracy_score(labels, predicted)
                assert row[f"{name}balanced_accuracy"] == pytest.approx(expected)
            assert row["difference"] == pytest.approx(row["accuracy"] - row["rest_accuracy"])
            assert row["accuracy_low"] < row["accuracy"] < row["accuracy_high"]
            assert row["difference_low"] < row["difference"] < row["difference_high"]


def test_which_columns_divide_and_why_others_do_not(runs: list[Run]) -> None:
    number = np.arange(2 * IMAGES)
    manifest = made_runs.manifest(
        runs, ten=number % 10, age=number, file=[f"{k}.png" for k in number], one=["x"] * 2 * IMAGES,
        none=[""] * 2 * IMAGES, of_split=["t"] * IMAGES + ["v"] * IMAGES,
        nearly=[*range(7, 57), *[7] * (2 * IMAGES - 50)],
    )  # fmt: skip
    columns, left_out = subgroup_columns(manifest.assign(group="g"), runs[0].scores["test"].image_ids)
    ten, age = columns
    assert (ten.name, ten.categories) == ("ten", [str(k) for k in range(10)])
    assert age.categories == ["0 to 199.75", "above 199.75 to 399.5", "above 399.5 to 599.25", "above 599.25 to 799"]
    assert np.bincount(age.codes, minlength=4).tolist() == [200, 200, 0, 0]  # the test images come first
    assert left_out == {
        "file": "800 different texts, more than 20",
        "one": "all images have one value",
        "none": "no image has a value",
        "of_split": "all test images have one value",
        "nearly": "nearly all images have one value",
    }
    table = subgroups(comparison_of(runs, manifest=manifest))
    assert dict(table.loc[table["left_out"] != "", ["column", "left_out"]].to_numpy()) == left_out
    assert set(table.loc[table["column"] == "age", "value"]) == set(age.categories[:2])


def test_numbers_are_in_their_order(runs: list[Run]) -> None:
    manifest = made_runs.manifest(runs, age=both_splits([10, 9, 100, 9.5] * 100))
    (column,), _ = subgroup_columns(manifest, runs[0].scores["test"].image_ids)
    assert column.categories == ["9", "9.5", "10", "100"]


@pytest.mark.parametrize(("a", "b"), [((30, 40), (150, 170)), ((10, 10), (70, 100)), ((0, 12), (3, 50))])
def test_the_interval_of_a_difference_is_newcombes(a: tuple[int, int], b: tuple[int, int]) -> None:
    found = difference_interval(subset(*a), subset(*b), 0.95)
    assert found == pytest.approx(confint_proportions_2indep(*a, *b, method="newcomb", compare="diff", alpha=0.05))


def test_units_on_both_sides_make_the_interval_of_pairs() -> None:
    """Each patient with one image of either kind: φ is the correlation of the fourfold table (Newcombe 1998)."""
    random, patients = np.random.default_rng(0), np.arange(200)
    skill = random.random(200)
    one, two = (Subset((random.random(200) < skill)[None], patients) for _ in range(2))
    paired, apart = (
        difference_interval(one, some, 0.95) for some in (two, Subset(two.correct, patients + len(patients)))
    )
    (low_one, _), (_, high_two) = one.over_images(0.95), two.over_images(0.95)
    phi = np.corrcoef(one.correct[0], two.correct[0])[0, 1]
    a, b = one.accuracy - low_one, high_two - two.accuracy
    expected = one.accuracy - two.accuracy - np.sqrt(a**2 - 2 * phi * a * b + b**2)
    assert paired[0] == pytest.approx(expected)
    assert paired[1] - paired[0] < 0.95 * (apart[1] - apart[0])


def test_a_p_value_of_groups_is_the_level_at_which_the_interval_ends_at_0() -> None:
    random, units = np.random.default_rng(0), np.arange(400) // 10
    correct = random.random(400) < np.where(units < 15, 0.4, 0.8) + random.normal(0, 0.2, 40)[units]
    one, two = (Subset(correct[None, some], units[some]) for some in (units < 15, units >= 15))
    p = p_value(one, two)
    assert difference_interval(one, two, 1 - p)[1] == pytest.approx(0, abs=1e-7)
    assert p_value(two, one) == pytest.approx(p)
    assert p_value(one, one) == 1
    assert p_value(subset(0, 500), subset(500, 500)) < 1e-9


def test_few_images_are_told_apart_as_seldom_as_said_at_any_level() -> None:
    """Of ten images and 390 others, all right with the same chance: every outcome with its probability.

    The interval alone would err in 1.5 % at a level of 0.25 %.
    """
    alpha, skill, few, many = 0.0025, 0.97, 10, 390
    of_few, of_many = (binom.pmf(np.arange(n + 1), n, skill) for n in (few, many))
    likely = [n for n in range(many + 1) if of_many[n] > 1e-5]
    p_values = {(a, b): p_value(subset(a, few), subset(b, many)) for a in range(5, few + 1) for b in likely}
    errors = sum(of_few[a] * of_many[b] for (a, b), p in p_values.items() if p <= alpha)
    assert 0 < errors <= alpha


@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize("of_a_unit", [1, 5])
@pytest.mark.parametrize("share", [0.1, 0.5])
def test_equal_subgroups_are_told_apart_as_seldom_as_said(seeds: int, of_a_unit: int, share: float) -> None:
    """Seeds that differ, on images of one unit that are alike; a tenth of the units has the value."""
    random, units, told = np.random.default_rng(1), 40 * FEWEST // of_a_unit, 0
    for _ in range(400):
        skill = np.repeat(random.normal(1, 1 if of_a_unit > 1 else 0, units), of_a_unit)
        inside = np.repeat(np.arange(units) < share * units, of_a_unit)
        logits = skill + random.normal(0, 0.3, (seeds, 1)) + random.normal(0, 0.3, (seeds, 1)) * inside * (seeds > 1)
        correct = random.random((seeds, len(skill))) < 1 / (1 + np.exp(-logits))
        of = np.repeat(np.arange(units), of_a_unit) if of_a_unit > 1 else None
        one, two = (Subset(correct[:, some], None if of is None else of[some]) for some in (inside, ~inside))
        low, high = difference_interval(one, two, 0.95)
        told += low > 0 or high < 0
    assert told / 400 < 0.075  # 5 % and twice the standard error


def worse_on(runs: list[Run], images: int) -> list[Run]:
    """Runs that are wrong about the last test images."""
    lost = []
    for run in runs:
        scores = run.scores["test"]
        predicted = np.where(np.arange(IMAGES) < IMAGES - images, scores.labels, (scores.labels + 1) % 7)
        lost.append(replace(run, scores={**run.scores, "test": replace(scores, predicted=predicted)}))
    return lost


def test_a_subgroup_of_the_best_recipe_that_is_worse_is_named(runs: list[Run]) -> None:
    site = ["a"] * 200 + ["{b}"] * 150 + ["c"] * 45 + ["d"] * 5
    table = divided(worse_on(runs, 30), site=site, sex=["f", "m"] * 200)
    best = table[table["experiment"] == "a"].set_index("value")
    assert best["verdict"].to_dict() == {
        "a": "higher", "c": LOWER, "{b}": "higher", "d": "", "f": "not distinguishable", "m": "not distinguishable",
    }  # fmt: skip
    assert np.isnan(best.loc["d", "p_holm"])  # of too few images
    assert best.loc["f", "p_holm"] == best.loc["m", "p_holm"]
    assert (table.loc[table["experiment"] == "b", "verdict"] == "").all()
    (fact,) = subgroup_facts(table, "a", 0.95)
    assert fact.startswith("Not alike on all images: a is worse on those with site 'c' (44.4% of 45 right, 98.6% of")
    assert "{b}" not in fact
    assert subgroup_facts(table, "b", 0.95) == []


def test_groups_are_the_units(runs: list[Run]) -> None:
    units = np.arange(IMAGES) // 20
    grouped = [
        replace(run, scores={**run.scores, "test": replace(run.scores["test"], units=units)})
        for run in worse_on(runs, 30)
    ]
    site = ["a"] * 200 + ["b"] * 200
    few = divided(grouped, site=site).iloc[0]
    many = divided(worse_on(runs, 30), site=site).iloc[0]
    assert (few["images"], few["units"], many["units"]) == (200, 10, 200)
    assert few["difference"] == many["difference"]
    assert few["difference_high"] - few["difference_low"] > 1.5 * (many["difference_high"] - many["difference_low"])


def test_several_seeds_are_a_row_with_wider_intervals(tmp_path: Path) -> None:
    made = [Made(recipe("a"), skill, seed=seed) for seed, skill in enumerate((0.5, 0.7, 0.9))]
    runs = made_runs.study(tmp_path, made)
    table = divided(runs, sex=["f", "m"] * 200)
    assert list(table["seed"]) == ["all", "all"]
    of_seeds = [run.correct[::2].mean() for run in runs]
    assert table["accuracy"].iloc[0] == pytest.approx(np.mean(of_seeds))
    one = Subset(np.array([run.correct[::2] for run in runs]), None)
    low, high = one.interval(0.95)
    inner = one.over_images(0.95)
    assert (table["accuracy_low"].iloc[0], table["accuracy_high"].iloc[0]) == (low, high)
    assert low < inner[0] < inner[1] < high
