"""Which pairs are tested, and that no pair with one difference is missed or made up."""

import itertools
from pathlib import Path

import made_runs
import pytest
from made_runs import Made, comparison_of, recipe

from study.compare.comparison import Comparison
from study.compare.effects import effects
from study.compare.tested_pairs import alone, only_difference, pairs_to_test
from study.recipe import TREATMENTS, differ
from study.recipe_table import read_recipes

CONFIG = Path(__file__).parents[3] / "config"


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    """Case 1: six learning rates. Case 2: three batch sizes with another loss. Case 3: one that differs in all."""
    made = [Made(recipe(f"lr{k}", lr=0.01 * 2**k), 0.5 + 0.05 * k) for k in range(6)]
    made += [Made(recipe(f"batch{k}", 2, batch_size=32 * 2**k, loss="weighted_cross_entropy"), 0.6) for k in range(3)]
    made += [Made(recipe("other", 3, lr=1.0, batch_size=7, sampler="balanced"), 0.6)]
    return comparison_of(made_runs.study(tmp_path_factory.mktemp("grid"), made), 20)


def test_few_recipes_have_every_pair(grid: Comparison) -> None:
    assert pairs_to_test(grid.recipes, grid.best.name, 10) == list(itertools.combinations(grid.recipes, 2))


def test_many_have_those_with_the_best_and_those_of_a_question(grid: Comparison) -> None:
    pairs = set(pairs_to_test(grid.recipes, "other", 3))
    best = max(grid.of_case(1).recipes.values(), key=lambda group: group.accuracy("val")).name
    with_the_best = {frozenset(("other", name)) for name in grid.recipes if name != "other"}
    of_rates = {frozenset((best, f"lr{k}")) for k in range(6)} - {frozenset((best,))}
    of_sizes = {frozenset(pair) for pair in itertools.combinations(("batch0", "batch1", "batch2"), 2)}
    across = {frozenset(("lr0", "batch1"))}  # they differ in the loss alone
    assert {frozenset(pair) for pair in pairs} == with_the_best | of_rates | of_sizes | across


def test_effects_of_many_recipes_have_their_pairs(grid: Comparison) -> None:
    few = Comparison(grid.runs, grid.metrics, all_pairs_up_to=3)
    table = effects(few)
    assert table["treatment"].value_counts().to_dict() == {"learning rate": 5, "batch size": 3, "loss": 1}
    assert len(few.pairs) == len(few.tested) < 45


def test_single_differences_are_those_of_a_loop_over_all_pairs() -> None:
    recipes = read_recipes(["experiments.tsv", "ablations.tsv", "imbalance.tsv"], CONFIG)
    pairs = list(itertools.combinations(recipes.values(), 2))[::7]
    for one, two in pairs:
        found = [t for t, columns in TREATMENTS.items() if any(differ(one, two, column) for column in columns)]
        assert only_difference(one, two) == (found[0] if len(found) == 1 else "")


def test_pairs_come_by_treatment_with_it(grid: Comparison) -> None:
    found = alone(grid.recipes, 10)
    assert ("loss", "lr0", "batch1") in found
    assert [treatment for treatment, *_ in found] == sorted(
        (treatment for treatment, *_ in found), key=list(TREATMENTS).index
    )
