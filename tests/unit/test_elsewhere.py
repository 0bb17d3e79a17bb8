"""Predictions from a file stand in every table, figure and page, and nothing is said of what is not known of them."""

from dataclasses import replace
from pathlib import Path

import made_runs
import numpy as np
import pandas as pd
import pytest
from made_runs import COUNTS, Made, comparison_of, imported, recipe

from study.compare.all_tables import all_tables
from study.compare.case_table import case_table
from study.compare.comparison import Comparison
from study.compare.cost import cost_in_words, costs
from study.compare.ensemble import members
from study.compare.label_hints import witnesses
from study.compare.questionable import questionable
from study.compare.run_table import run_table
from study.compare.runs import RecipeRuns, Run
from study.compare.statistics import wilson_interval
from study.report.all_figures import FIGURES, Figure, figures_of, keys_of
from study.report.answer import caution
from study.report.case_text import case_cells, case_remarks
from study.report.comparison_page import comparison_html
from study.report.figures.material import Material
from study.report.first_page import provenance_rows

WORDS = "nothing is known here of how they were made, who chose them, and on which images"
THEIRS = [Made(imported("theirs"), 0.75), Made(imported("constant", 2), 0.0, "collapsed")]
OURS = [Made(recipe("ours"), 0.6), Made(recipe("wider", batch_size=128), 0.65)]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    """Two trained recipes, a better one from a file, and a file that has one class for everything."""
    return made_runs.study(tmp_path_factory.mktemp("runs"), OURS + THEIRS)


def of(runs: list[Run]) -> Comparison:
    weights = pd.DataFrame({"class": runs[0].classes, "count": 10, "weight": 1.0})
    return comparison_of(runs, manifest=made_runs.manifest(runs), class_weights=weights)


def test_a_run_knows_its_outcome_and_nothing_of_its_training(runs: list[Run]) -> None:
    theirs, constant = runs[2:]
    assert (theirs.outcome, theirs.failed, constant.outcome, constant.failed) == ("imported", False, "collapsed", True)
    assert WORDS in theirs.reason and "Predicts 'happy' for every validation image" in constant.reason
    assert theirs.history.empty and np.isnan(theirs.seconds) and set(theirs.scores) == {"val", "test"}


def test_every_table_has_it_with_empty_cells_for_what_is_not_known(runs: list[Run]) -> None:
    comparison = of(runs)
    assert comparison.best.name == "theirs" and comparison.verdicts["ours"][0] == "worse"
    table = run_table(comparison).set_index("experiment")
    assert "model.name" not in table  # the trained ones have one model
    unknown = ["optimizer", "lr", "batch_size", "epochs", "best_epoch", "parameters", "images_per_second", "seconds"]
    assert table.loc["theirs", unknown].isna().all() and not table.loc["ours", unknown].isna().any()
    assert table["batch_size"].to_dict()["ours"] == 64 and "64.0" not in table.to_csv()
    cells = dict(case_cells(case_table(comparison, 1)))
    assert [text for text, _ in cells["batch size"]] == ["64", "128", "–"]
    assert cells["outcome"][2] == ("imported", False) and cells["test accuracy"][2][1]
    assert case_remarks(case_table(comparison, 1)) == []
    tables = all_tables(comparison)
    named = [name for name, made in tables.items() if "theirs" in made.to_csv()]
    without = {"effects.csv", "conclusions.csv", "power.csv", "subgroups.csv", "label_hints.csv", "case_2.csv"}
    assert set(tables) - set(named) <= without and {"case_1.csv", "cost.csv", "pairwise.csv", "diagnosis.csv"} <= set(
        named
    )
    assert "theirs" in comparison_html(tables["comparison.csv"], "made up")


def test_its_cost_is_not_known(runs: list[Run]) -> None:
    table = costs(of(runs)).set_index("experiment")
    assert table.loc["theirs", ["seconds", "peak_memory_bytes", "parameters", "images_per_second"]].isna().all()
    assert (
        not table.loc["theirs", "on_frontier"] and table["on_frontier"].any() and not table.loc["theirs", "trained_as"]
    )
    said = " ".join(cost_in_words(table.reset_index()))
    assert "What the training of theirs took is not known" in said and "nan" not in said


def test_it_votes_and_is_asked_as_one_network(runs: list[Run], tmp_path: Path) -> None:
    assert members(of(runs))[0].experiment == "theirs"
    assert "theirs" in [group.name for group in witnesses(of(runs))]
    seeds = made_runs.study(tmp_path, [replace(one, seed=seed) for one in OURS + THEIRS[:1] for seed in (0, 1)])
    voters = [(run.experiment, run.seed) for run in members(of(seeds)) if run.experiment == "theirs"]
    assert voters == [("theirs", 0)]


def test_one_file_for_every_seed_has_the_interval_of_one_network(tmp_path: Path) -> None:
    both = [
        replace(one, seed=seed) for one in [*OURS, Made(imported("each", file="{seed}.csv"), 0.7)] for seed in (0, 1)
    ]
    runs = made_runs.study(tmp_path, both)
    each = RecipeRuns(tuple(run for run in runs if run.experiment == "each"), 0.95)
    assert not each.one_network and not RecipeRuns(tuple(runs[:2]), 0.95).one_network
    fixed = [
        replace(run, recipe=imported("fixed"), metrics=each.first.metrics, scores=each.first.scores) for run in each
    ]
    group = RecipeRuns(tuple(fixed), 0.95)
    assert group.one_network
    right = int(each.first.correct.sum())
    assert group.interval("test") == pytest.approx(wilson_interval(right, len(each.first.correct), 0.95))
    comparison = of([*runs[:4], *(replace(run, seed=seed) for seed, run in enumerate(fixed))])
    assert 0 <= comparison.p_value(comparison.recipes["fixed"], comparison.recipes["ours"]) <= 1
    assert "The same predictions count for every seed of fixed." in caution(comparison)


def test_the_caution_says_that_nothing_is_known_of_it(runs: list[Run]) -> None:
    said = caution(of(runs))
    assert "The predictions of theirs, constant come from a file. Nothing is known here of how they were made" in said
    rows = dict(provenance_rows(runs))
    assert rows["training time"].endswith("for 2 runs, each on its own")
    assert "theirs: resources/theirs.csv (ffffffffffff)" in rows["predictions from files"]


@pytest.fixture(scope="module")
def material(runs: list[Run]) -> Material:
    """What figures are drawn from, but for the images."""
    comparison = of(runs)
    tables = all_tables(comparison)
    pack = {"splits": {"train": {"images": 400}}}
    shown = {name: tables[f"{name}.csv"] for name in ("effects", "subgroups")}
    return Material(comparison, pack=pack, **shown)


OF_IMAGES = ("confused", "samples", "class_counts", "label_hints")


@pytest.mark.parametrize("figure", [one for one in FIGURES if one.name not in OF_IMAGES], ids=lambda one: one.name)
def test_every_figure_is_drawn(figure: Figure, material: Material, tmp_path: Path) -> None:
    keys = keys_of(figure, {run.experiment: run.recipe for run in material.comparison.runs})
    assert "theirs" not in keys or figure.per == "experiment"
    for key in keys or [""]:
        figure.draw(material, tmp_path / "figure.svg", *([key] if figure.per else []))
    assert (tmp_path / "figure.svg").stat().st_size


def test_it_makes_no_choice_that_could_be_questioned() -> None:
    config = {"data": dict.fromkeys(("duplicates", "contradictory", "blank", "oversample"), "drop")}
    config["data"]["oversample"] = {}
    assert questionable(config | {"split": {"method": "stratified"}}, [imported("theirs")], False) == []


def test_a_study_may_be_of_files_alone(tmp_path: Path) -> None:
    runs = made_runs.study(tmp_path, [Made(imported("a", file="a.csv"), 0.7), Made(imported("b", file="b.csv"), 0.6)])
    tables = all_tables(of(runs))
    assert list(tables["comparison.csv"]["experiment"]) == ["a", "b"] and not tables["cost.csv"]["on_frontier"].any()
    recipes = {run.experiment: run.recipe for run in runs}
    assert {figure.name for figure in FIGURES} - {one.name for one in figures_of(recipes, 100)} == {"curves", "map"}
    curves = next(figure for figure in FIGURES if figure.name == "cases")
    curves.draw(Material(of(runs)), tmp_path / "case.svg", 1)
    next(figure for figure in FIGURES if figure.name == "cost").draw(Material(of(runs)), tmp_path / "cost.svg")


def test_the_baseline_counts_for_it_too(tmp_path: Path) -> None:
    rare = made_runs.with_rare_class(tmp_path / "a")
    made = [Made(recipe("both"), 0.9), Made(imported("guesses"), 0.0)]
    runs = made_runs.study(tmp_path / "b", made, rare.runs[0].classes)
    comparison = comparison_of(runs, class_weights=COUNTS)
    assert comparison.vs_baseline(comparison.recipes["guesses"]) == "not better"
