"""Effects of one treatment, taken from the pairs that differ in nothing else."""

from pathlib import Path
from typing import Any

import made_runs
import pytest
from made_runs import Made, comparison_of, recipe
from statsmodels.stats.multitest import multipletests

from study.compare.effects import EFFECT_COLUMNS, effects
from study.compare.runs import Run
from study.compare.tested_pairs import only_difference
from study.recipe import HYPERPARAMETERS, NEUTRAL, Recipe
from study.recipe_table import read_recipes

CONFIG = Path(__file__).parents[3] / "config"
WEIGHTED = {"loss": "weighted_cross_entropy"}


def effects_of(runs: list[Run], confidence: float = 0.95):
    return effects(comparison_of(runs, 200, confidence))


def test_the_effect_is_with_minus_without_whatever_the_order_of_the_table(tmp_path: Path) -> None:
    made = [Made(recipe("with", batch_size=128), 0.9), Made(recipe("without"), 0.5)]
    runs = made_runs.study(tmp_path, made)
    row = effects_of(runs).iloc[0]
    assert (row["treatment"], row["change"]) == ("batch size", "batch size 64 → 128")
    assert (row["experiment_from"], row["experiment_to"]) == ("without", "with")
    expected = runs[0].test_accuracy - runs[1].test_accuracy
    assert row["accuracy_difference"] == pytest.approx(expected) == row["accuracy_to"] - row["accuracy_from"]
    assert 0 < row["accuracy_low"] < expected < row["accuracy_high"]
    assert row["verdict"] == "higher"
    turned = effects_of(made_runs.study(tmp_path / "turned", made[::-1])).iloc[0]
    numbers = turned.index[turned.map(lambda value: isinstance(value, float))]
    assert list(turned[numbers].astype(float)) == pytest.approx(list(row[numbers].astype(float)))
    assert turned.drop(numbers).to_dict() == row.drop(numbers).to_dict()


def test_only_pairs_that_differ_in_one_treatment_count(tmp_path: Path) -> None:
    made = [
        Made(recipe("base"), 0.6),
        Made(recipe("weighted", min_lr=1e-5, max_epochs=7, **WEIGHTED), 0.6),
        Made(recipe("both", sampler="balanced", **WEIGHTED), 0.4),
    ]
    table = effects_of(made_runs.study(tmp_path, made))
    assert list(table.columns) == EFFECT_COLUMNS
    pairs = list(zip(table["treatment"], table["experiment_from"], table["experiment_to"], strict=True))
    assert pairs == [("loss", "base", "weighted"), ("sampler", "weighted", "both")]
    assert list(table["verdict"]) == ["not distinguishable", "lower"]


def test_p_values_are_corrected_over_the_effects_alone(tmp_path: Path) -> None:
    made = [Made(recipe("a"), 0.6), Made(recipe("b", batch_size=128), 0.7), Made(recipe("c", lr=0.1), 0.64)]
    runs = made_runs.study(tmp_path, made)
    comparison = comparison_of(runs, 100)
    pairs, table = comparison.pairs, effects(comparison)
    assert list(table["treatment"]) == ["learning rate", "batch size"]
    ours = [pairs[(pairs.experiment_a == "a") & (pairs.experiment_b == b)]["p_mcnemar"].iloc[0] for b in ("c", "b")]
    assert list(table["p_holm"]) == pytest.approx(list(multipletests(ours, method="holm")[1]))


def test_failures_are_named_and_two_cannot_be_judged(tmp_path: Path) -> None:
    made = [
        Made(recipe("a"), 0.0, "collapsed"),
        Made(recipe("b", batch_size=128), 0.0, "collapsed"),
        Made(recipe("c", activation="log_softmax"), 0.7),
    ]
    table = effects_of(made_runs.study(tmp_path, made)).set_index("treatment")
    assert table.loc["batch size", "verdict"] == "cannot be judged"
    assert table.loc["activation", "verdict"] == "higher"
    assert table.loc["activation", "failed"] == "a collapsed"


def test_several_seeds_must_agree(tmp_path: Path) -> None:
    made = [Made(recipe("a"), 0.6, seed=seed) for seed in (0, 1)]
    made += [Made(recipe("b", batch_size=128), skill, seed=seed) for seed, skill in ((0, 0.8), (1, 0.4))]
    row = effects_of(made_runs.study(tmp_path, made)).iloc[0]
    assert row["verdict"] == "not distinguishable"  # though each seed by itself is certain, of the contrary
    assert row["p_holm"] > 0.5


def test_one_recipe_has_no_effects(tmp_path: Path) -> None:
    table = effects_of(made_runs.study(tmp_path, [Made(recipe("a"))]))
    assert list(table.columns) == EFFECT_COLUMNS and table.empty


def test_a_hyperparameter_that_a_recipe_does_not_take_counts_as_its_default() -> None:
    """Another loss has no label smoothing: that is no second difference to cross entropy without any."""
    plain = recipe("a", activation="logits")
    assert only_difference(plain, plain.but(loss="focal")) == "loss"
    assert only_difference(plain.but(label_smoothing=0.1), plain) == "label smoothing"
    assert only_difference(plain.but(label_smoothing=0.1), plain.but(loss="focal")) == ""
    assert only_difference(plain.but(loss="focal"), plain.but(loss="focal", focal_gamma=1.0)) == "loss"
    weighted = plain.but(loss="weighted_cross_entropy")
    assert only_difference(weighted, weighted.but(defer_until=0.8)) == "deferral"
    assert only_difference(plain, weighted.but(defer_until=0.8)) == ""


def test_the_ablations_separate_what_the_study_changed_together() -> None:
    recipes = read_recipes(["experiments.tsv", "ablations.tsv"], CONFIG)
    alone = {"loss": "weighted", "sampler": "balanced", "activation": "log_softmax"}
    for treatment, name in alone.items():
        assert only_difference(recipes["sgd_ver1"], recipes[f"sgd_ver1_{name}"]) == treatment
    for name in ("adam_ver1", "adam_ver2", "adam_ver4"):
        assert only_difference(recipes[name], recipes[f"{name}_log_softmax"]) == "activation"
    assert only_difference(recipes["sgd_ver1_weighted"], recipes["sgd_ver2"]) == "sampler"
    assert only_difference(recipes["sgd_ver1_balanced"], recipes["sgd_ver2"]) == "loss"


def with_a_meaning(column: str) -> Recipe:
    """A recipe in which the column means something: what it asks for has the value that it asks for."""
    base = recipe("a")
    node = HYPERPARAMETERS[column].node
    needed = dict(node.get("only_with", {}))
    for other, values in needed.items():
        own = 0.5 if isinstance(values, dict) else values[0]
        base = with_a_meaning(other).but(**{other: own})
    for other, barred in node.get("not_with", {}).items():
        base = base.but(**{other: next(value for value in two_values(other) if value not in barred)})
    return base


def two_values(column: str) -> list[Any]:
    node = HYPERPARAMETERS[column].node
    if "enum" in node:
        return node["enum"][:2] if column != "loss.class_weights" else ["balanced", "complement"]
    kind = node["type"][0] if isinstance(node["type"], list) else node["type"]
    low = node.get("minimum", node.get("exclusiveMinimum", 0))
    if kind == "boolean":
        return [False, True]
    if kind == "array":
        items = node.get("items") or node["prefixItems"][0]
        least, count = items.get("exclusiveMinimum", items.get("minimum", 0)), node.get("minItems", 1)
        return [[least + 0.25] * count, [least + 0.5] * count]
    return ["x", "y"] if kind == "string" else [low + 1, low + 2] if kind == "integer" else [low + 0.25, low + 0.5]


@pytest.mark.parametrize("column", HYPERPARAMETERS)
def test_a_second_difference_is_never_told_as_the_effect_of_one(column: str) -> None:
    """Every hyperparameter counts: alone it is the effect of its treatment, beside another one of none."""
    base = with_a_meaning(column)
    assert base.takes(column)
    one, two = (base.but(**{column: value}) for value in two_values(column))
    treatment = HYPERPARAMETERS[column].treatment
    neutral = treatment == NEUTRAL or "neutral_with" in HYPERPARAMETERS[column].node
    assert only_difference(one, two) == ("" if neutral else treatment)
    both = only_difference(one, two.but(lr=10 * base.lr))
    assert both == ("learning rate" if neutral or treatment == "learning rate" else "")


@pytest.mark.parametrize("column", ["max_epochs", "min_lr"])
def test_a_schedule_by_the_epochs_changes_with_their_number(column: str) -> None:
    plateau = recipe("a")
    for scheduler, told in (("ReduceLROnPlateau", ""), ("CosineAnnealingLR", "schedule")):
        one = plateau.but(lr_scheduler=scheduler)
        two = one.but(**{column: 2 * one[column] + 1e-9 if column == "min_lr" else 2 * one[column]})
        assert only_difference(one, two) == told


@pytest.mark.parametrize(
    "columns",
    [
        {"sampler": "progressive"},
        {"sampler": "balanced", "defer_until": 0.8},
        {"early_stopping_patience": None},
    ],
)
def test_more_epochs_are_a_difference_where_something_goes_by_their_number(columns: dict[str, Any]) -> None:
    one = recipe("a").but(**columns)
    two = one.but(max_epochs=2 * one.max_epochs)
    assert only_difference(one, two) == "schedule"
    assert only_difference(one, two.but(lr=10 * one.lr)) == ""


def test_layers_of_a_frozen_backbone_have_no_rates() -> None:
    frozen = recipe("a", freeze="backbone", init_from="b")
    assert only_difference(frozen, frozen.but(layer_decay=0.5)) == ""
    assert only_difference(frozen, frozen.but(freeze="none", layer_decay=0.5)) == ""


def test_epochs_that_the_study_does_not_allow_are_no_difference(tmp_path: Path) -> None:
    """Two schedules by the epochs, both cut to the same number: the learning rate is all that differs."""
    cosine = {"lr_scheduler": "CosineAnnealingLR"}
    made = [Made(recipe("a", **cosine), 0.6), Made(recipe("b", lr=0.1, max_epochs=200, **cosine), 0.7)]
    runs = made_runs.study(tmp_path, made)
    for allowed, told in (((50, 50), ["learning rate"]), ((100, 200), [])):
        for run, epochs in zip(runs, allowed, strict=True):
            run.record["max_epochs"] = epochs
        assert list(effects_of(runs)["treatment"]) == told
