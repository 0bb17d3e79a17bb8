"""tables/power.csv: what a study could have found."""

from pathlib import Path

import made_runs
import numpy as np
import pandas as pd
import pytest
from made_runs import PATIENTS, TEST_UNITS, Made, comparison_of, recipe

from study.compare.power import (
    GROUPS,
    IMAGES,
    NETWORKS,
    POWER_COLUMNS,
    RECIPES,
    SEEDS,
    UNKNOWN,
    UNREACHABLE,
    WISHED,
    power_table,
    smallest_of,
    variances_beside,
)


def table_of(folder: Path, seeds: int, skill: float = 0.8):
    made = [Made(recipe(name), skill, seed=seed) for name in ("a", "b", "c") for seed in range(seeds)]
    return comparison_of(made_runs.study(folder, made))


def test_several_seeds_speak_of_the_recipes(tmp_path: Path) -> None:
    whole = table_of(tmp_path, 3)
    table = power_table(whole)
    assert list(table.columns) == POWER_COLUMNS and len(table) == 1 + 2 * len(WISHED)
    first = table.iloc[0]
    variances = variances_beside(whole, whole.best)
    assert variances and first["difference"] == smallest_of(whole, variances) and set(table["speaks_of"]) == {RECIPES}
    assert (first["seeds"], first["test_images"], first["tests"]) == (3, 400, 2)
    assert first["alpha"] == pytest.approx(0.025)
    unreached = table[table["answer"] == UNREACHABLE]
    assert unreached["seeds"].where(unreached["question"] == SEEDS).isna().all()
    five = table[(table["difference"] == 0.05) & (table["question"] == SEEDS)].iloc[0]
    assert five["answer"] == f"{five['seeds']:,} seeds" and five["test_images"] == 400


def test_one_seed_speaks_of_the_networks_and_does_not_know_the_seeds(tmp_path: Path) -> None:
    table = power_table(table_of(tmp_path, 1))
    assert set(table["speaks_of"]) == {NETWORKS}
    assert set(table.loc[table["question"] == SEEDS, "answer"]) == {UNKNOWN}
    images = table.loc[table["question"] == IMAGES, "test_images"].astype(float)
    assert (np.diff(images) < 0).all() and images.notna().all()
    assert np.isnan(table["sd_seeds"]).all()


def test_one_recipe_has_no_power(tmp_path: Path) -> None:
    runs = made_runs.study(tmp_path, [Made(recipe("a"))])
    alone = comparison_of(runs)
    assert power_table(alone).empty and variances_beside(alone, alone.best) is None


@pytest.mark.parametrize("seeds", [1, 3])
def test_of_patients_it_says_how_many_of_these_are_needed(tmp_path: Path, seeds: int) -> None:
    made = [Made(recipe(name), 0.8, seed=seed) for name in ("a", "b", "c") for seed in range(seeds)]
    whole = comparison_of(made_runs.study(tmp_path, made, groups=PATIENTS))
    table = power_table(whole)
    assert {"test_groups", "sd_groups"} <= set(table.columns) and "test_images" not in table
    assert table["test_groups"].iloc[0] == TEST_UNITS
    more = table[table["question"] == GROUPS]
    assert len(more) == len(WISHED) and IMAGES not in set(table["question"])
    reached = more[more["answer"] != UNREACHABLE]
    assert list(reached["answer"]) == [f"{count:,} test groups" for count in reached["test_groups"]]


def test_one_patient_says_nothing_of_others(tmp_path: Path) -> None:
    made = [Made(recipe("a"), 0.9), Made(recipe("b"), 0.5)]
    groups = pd.Series(dict.fromkeys(PATIENTS.index.union([f"image_{k:05d}" for k in range(800)]), "one"))
    whole = comparison_of(made_runs.study(tmp_path, made, groups=groups))
    assert power_table(whole).empty and whole.verdicts["b"][1] == 1
