"""The page on treatments of imbalance: what it says of made-up runs whose truth is known."""

from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import made_runs
import numpy as np
import pandas as pd
import pytest
from made_runs import Made, comparison_of, recipe
from scipy.stats import ttest_rel
from sklearn.metrics import balanced_accuracy_score

from study.compare.seeds_and_images import Variances, crossed_test, smallest_difference
from study.errors import StudyError
from study.report.findings_page import FinishedStudy
from study.report.imbalance import balanced_p, imbalance, read_literature

ROOT = Path(__file__).parents[3]
CONFIG = {
    "experiments": "config/imbalance.tsv",
    "data": {"source": "digits"},
    "training": {"best_by": "balanced_accuracy"},
}
ACCURACIES = {"plain": 0.6, "better": 0.8, "same": 0.6, "worse": 0.2}


@pytest.fixture
def study(made_up: FinishedStudy) -> FinishedStudy:
    """To be changed at will."""
    return deepcopy(made_up)


@pytest.fixture(scope="module")
def made_up(tmp_path_factory: pytest.TempPathFactory) -> FinishedStudy:
    made = [Made(recipe(name), value, seed=seed) for name, value in ACCURACIES.items() for seed in range(5)]
    runs = made_runs.study(tmp_path_factory.mktemp("runs"), made)
    counts = np.arange(len(runs[0].classes), 0, -1)
    weights = pd.DataFrame({"class": runs[0].classes, "count": counts, "weight": 1.0})
    recipes = {run.experiment: run.recipe for run in runs}
    return FinishedStudy("made", CONFIG, recipes, {}, comparison_of(runs, 400, class_weights=weights), {})


def test_treatments_are_ranked_and_told_from_the_plain_one(study: FinishedStudy) -> None:
    literature = pd.DataFrame({"lt": [30.0, 25.0, 20.0, 40.0]}, index=list(ACCURACIES))
    page = imbalance(study, literature, "make imbalance")
    assert "Better than doing nothing (95%, adjusted for all treatments at once): better.\n" in page
    assert "Worse: worse.\n" in page
    assert "Every recipe was trained with 5 seeds." in page and "is found in 80% of such studies if it is " in page
    answer, rows = (
        {line.split("|")[1].strip(): line for line in part.splitlines() if line.startswith("| ")}
        for part in page.split("## What the literature")
    )
    assert list(answer).index("better") < list(answer).index("plain") < list(answer).index("worse")
    assert rows["better"].endswith("| holds |") and rows["worse"].endswith("| holds |")
    assert rows["same"].endswith("| not distinguishable |")
    assert "over 4 recipes: Spearman's" in page
    assert "scikit-learn's digits, 7 to 1 training images" in page and "by the balanced accuracy on validation" in page


def test_what_the_study_finds_is_of_differences_from_the_plain_one(study: FinishedStudy) -> None:
    groups, labels = study.comparison.recipes, study.comparison.runs[0].scores["test"].labels
    share = len(labels) / (7 * np.bincount(labels)[labels])
    right = {name: np.array([run.correct for run in group], float) for name, group in groups.items()}
    added = [share * (right[name] - right["plain"]) for name in ("better", "same", "worse")]
    smallest = smallest_difference(Variances.of(added), 5, len(labels), 0.05 / 3)
    literature = pd.DataFrame({"lt": [30.0, 29.9, 29.8, 30.1]}, index=list(ACCURACIES))
    page = imbalance(study, literature, "make imbalance")
    assert (
        f"between a treatment and plain is found in 80% of such studies if it is {100 * smallest:.2g} points or" in page
    )
    assert f"None of the published gains is as large as the {100 * smallest:.2g} points that" in page


def test_a_page_on_images_of_ones_own_speaks_of_these(study: FinishedStudy) -> None:
    config = {
        "experiments": ["a.tsv", "b.tsv"],
        "data": {"source": "/data/mushrooms"},
        "training": {"best_by": "accuracy"},
    }
    page = imbalance(replace(study, config=config), pd.DataFrame(), "python scripts/study imbalance --study mine")
    assert "The images are those of /data/mushrooms, 7 to 1 training images per class" in page
    assert "`plain` in [a.tsv](../a.tsv) and [b.tsv](../b.tsv) but for" in page
    assert "digits" not in page and "make imbalance" not in page and "chosen by the accuracy on validation" in page


def test_networks_of_one_seed_are_compared_over_images(study: FinishedStudy) -> None:
    comparison = replace(study.comparison, runs=[run for run in study.comparison.runs if run.seed == 0])
    page = imbalance(replace(study, comparison=comparison), pd.DataFrame(), "make imbalance")
    assert "on the same test images (Student's paired test, Holm's correction)" in page and "with 1 seed;" in page
    assert "interval over test images, each by itself" in page and "seeds" not in page.split("## The answer")[1]


def test_a_study_of_one_group_finds_nothing(study: FinishedStudy) -> None:
    for run in study.comparison.runs:
        run.scores["test"] = replace(run.scores["test"], units=np.zeros(400, np.int64))
    few = pd.DataFrame({"lt": [30.0, 25.0]}, index=["plain", "better"])
    page = imbalance(study, few, "make imbalance")
    assert "No difference between a treatment and plain would have been found with a power of 80%." in page
    assert "No difference, however large, is found in 80% of such studies" in page
    header = next(line for line in page.splitlines() if line.startswith("| recipe | lt, points |"))
    row = next(line for line in page.split("## What the lit")[1].splitlines() if line.startswith("| better"))
    assert header.count("|") == row.count("|"), "though of two recipes there is no rank correlation"


def test_without_the_plain_recipe_there_is_no_page(study: FinishedStudy) -> None:
    alone = FinishedStudy("made", {}, study.recipes, {}, study.comparison.among(["better", "same"]), {})
    with pytest.raises(StudyError, match="study 'made': the first recipe of its table"):
        imbalance(alone, pd.DataFrame(), "make imbalance")


def test_the_p_value_is_of_what_each_image_adds_to_the_balanced_accuracy(study: FinishedStudy) -> None:
    groups = study.comparison.recipes
    better, plain = groups["better"], groups["plain"]
    labels = better.first.scores["test"].labels
    share = 1 / (7 * np.bincount(labels)[labels])  # what an image adds to balanced accuracy, if right
    added = np.array([share * (1.0 * one.correct - two.correct) for one, two in zip(better, plain, strict=True)])
    for row, one, two in zip(added, better, plain, strict=True):
        balanced = balanced_accuracy_score(labels, one.scores["test"].predicted)
        assert row.sum() == pytest.approx(balanced - balanced_accuracy_score(labels, two.scores["test"].predicted))
    assert balanced_p(better, plain, None) == pytest.approx(crossed_test(added))
    first = [replace(group, runs=group.runs[:1]) for group in (better, plain)]
    assert balanced_p(*first, None) == pytest.approx(ttest_rel(*(share * one.first.correct for one in first)).pvalue)
    assert balanced_p(plain, plain, None) == 1
    units = np.arange(len(labels)) // 8
    of_groups = np.array([np.bincount(units, row) for row in added])
    assert balanced_p(better, plain, units) == pytest.approx(crossed_test(of_groups))


def test_a_rare_class_without_a_test_image_has_no_recall(study: FinishedStudy) -> None:
    for run in study.comparison.runs:
        run.metrics["test"]["recall"][run.classes[-1]] = None
    page = imbalance(study, pd.DataFrame(), "make imbalance")
    assert "| better |" in page and " nan %" not in page


def test_the_table_of_the_literature_speaks_of_recipes_that_there_are() -> None:
    from study.recipe_table import read_recipes

    literature = read_literature(ROOT / "config/imbalance_literature.csv")
    recipes = read_recipes(ROOT / "config/imbalance.tsv")
    assert set(literature.index) <= set(recipes) and next(iter(recipes)) == "plain"
    assert (literature > 20).all(axis=None) and (literature < 70).all(axis=None)
