"""The page on treatments of imbalance: what it says of made-up runs whose truth is known."""

from pathlib import Path

import made_runs
import numpy as np
import pandas as pd
import pytest
from made_runs import Made, comparison_of, recipe
from scipy.stats import norm

from study.errors import StudyError
from study.report.findings_page import FinishedStudy
from study.report.imbalance import bootstrap_p, imbalance, read_literature

ROOT = Path(__file__).parents[3]
ACCURACIES = {"plain": 0.6, "better": 0.8, "same": 0.6, "worse": 0.2}


@pytest.fixture
def study(tmp_path: Path) -> FinishedStudy:
    made = [Made(recipe(name), value, seed=seed) for name, value in ACCURACIES.items() for seed in (0, 1, 2)]
    runs = made_runs.study(tmp_path, made)
    counts = np.arange(len(runs[0].classes), 0, -1)
    weights = pd.DataFrame({"class": runs[0].classes, "count": counts, "weight": 1.0})
    recipes = {run.experiment: run.recipe for run in runs}
    return FinishedStudy("made", {}, recipes, {}, comparison_of(runs, 400, class_weights=weights), {}, {})


def test_treatments_are_ranked_and_told_from_the_plain_one(study: FinishedStudy) -> None:
    literature = pd.DataFrame({"lt": [30.0, 25.0, 20.0, 40.0]}, index=list(ACCURACIES))
    page = imbalance(study, literature, "make imbalance")
    assert "Better than doing nothing (95%, adjusted for all treatments at once): better.\n" in page
    assert "Worse: worse.\n" in page
    answer, rows = (
        {line.split("|")[1].strip(): line for line in part.splitlines() if line.startswith("| ")}
        for part in page.split("## What the literature")
    )
    assert list(answer).index("better") < list(answer).index("plain") < list(answer).index("worse")
    assert rows["better"].endswith("| holds |") and rows["worse"].endswith("| holds |")
    assert rows["same"].endswith("| not distinguishable |")
    assert "over 4 recipes: Spearman's" in page


def test_without_the_plain_recipe_there_is_no_page(study: FinishedStudy) -> None:
    alone = FinishedStudy("made", {}, study.recipes, {}, study.comparison.among(["better", "same"]), {}, {})
    with pytest.raises(StudyError, match="study 'made': the first recipe of its table"):
        imbalance(alone, pd.DataFrame(), "make imbalance")


def test_the_p_value_is_that_of_a_normal_difference() -> None:
    values = np.random.default_rng(0).normal(1.5, 1.0, 200_000)
    assert bootstrap_p(values) == pytest.approx(2 * norm.sf(1.5), rel=0.02)
    assert bootstrap_p(np.ones(99)) == 2 / 100 and bootstrap_p(np.zeros(99)) == 1


def test_the_table_of_the_literature_speaks_of_recipes_that_there_are() -> None:
    from study.recipe_table import read_recipes

    literature = read_literature(ROOT / "config/imbalance_literature.csv")
    recipes = read_recipes(ROOT / "config/imbalance.tsv")
    assert set(literature.index) <= set(recipes) and next(iter(recipes)) == "plain"
    assert (literature > 20).all(axis=None) and (literature < 70).all(axis=None)
