"""Claims read off the reported values, and what is said about them."""

from dataclasses import replace
from pathlib import Path

import made_runs
import pytest
from made_runs import Made, comparison_of, fourteen, recipe
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from study.compare.conclusions import CLAIMED, conclusions
from study.compare.runs import Run
from study.compare.tested_pairs import only_difference
from study.recipe_table import read_recipes

TABLE = Path(__file__).parents[3] / "config/experiments.tsv"


def verdict_of(tmp_path: Path, a: Made, b: Made, images: int = 400) -> tuple[str, str]:
    """Verdict and sentence on the claim that `a` beats `b`, by the reported values."""
    a, b = (replace(m, recipe=m.recipe.but(reported=r)) for m, r in ((a, 0.7), (b, 0.6)))
    table = conclusions(comparison_of(made_runs.study(tmp_path, [a, b], images=images), 100))
    row = table[table["kind"] == "batch size"].iloc[0]
    return row["verdict"], row["sentence"]


@pytest.mark.parametrize(
    ("skills", "verdict", "words"),
    [((0.9, 0.4), "holds", "a against b): holds"), ((0.4, 0.9), "reversed", "the reverse is found"),
     ((0.7, 0.7), "not distinguishable", "not distinguishable")],
)  # fmt: skip
def test_a_claim_holds_is_reversed_or_stays_open(
    tmp_path: Path, skills: tuple[float, float], verdict: str, words: str
) -> None:
    found, sentence = verdict_of(tmp_path, Made(recipe("a"), skills[0]), Made(recipe("b", batch_size=128), skills[1]))
    assert found == verdict
    assert words in sentence
    assert sentence.startswith("Batch size 64 beats batch size 128")


def test_two_failures_cannot_be_judged_and_one_is_named(tmp_path: Path) -> None:
    lost = Made(recipe("b", batch_size=128), 0.0, "collapsed")
    verdict, sentence = verdict_of(tmp_path / "one", Made(recipe("a"), 0.9), lost)
    assert verdict == "holds" and "b collapsed" in sentence
    verdict, sentence = verdict_of(tmp_path / "two", Made(recipe("a"), 0.0, "collapsed"), lost)
    assert verdict == "cannot be judged" and "both failed here" in sentence


def test_pairs_differ_in_one_treatment_alone() -> None:
    recipes = read_recipes(TABLE)
    assert only_difference(recipes["sgd_ver1"], recipes["sgd_ver4"], CLAIMED) == "batch size"
    assert only_difference(recipes["sgd_ver2"], recipes["sgd_ver3"], CLAIMED) == "activation"
    assert only_difference(recipes["sgd_ver1"], recipes["sgd_ver2"], CLAIMED) == "loss and sampler"
    assert only_difference(recipes["adam_ver3"], recipes["adam_ver5"], CLAIMED) == "learning rate"
    assert only_difference(recipes["sgd_ver1"], recipes["sgd_ver3"], CLAIMED) == ""
    assert only_difference(recipes["sgd_ver1"], recipes["adam_ver1"], CLAIMED) == ""


def test_the_studys_own_claims(tmp_path: Path) -> None:
    recipes = read_recipes(TABLE)
    made = [replace(m, recipe=recipes[m.recipe.experiment]) for m in fourteen()]
    table = conclusions(comparison_of(made_runs.study(tmp_path, made), 50))
    assert table["kind"].value_counts().to_dict() == {
        "best recipe": 1, "batch size": 4, "learning rate": 1, "activation": 3, "loss and sampler": 3, "failure": 3,
    }  # fmt: skip
    assert "Reported as the best of 14: sgd_ver3." in table["sentence"][0]
    failed = table[table["kind"] == "failure"]
    assert set(failed["experiment_a"]) == {"adam_ver1", "adam_ver2", "adam_ver4"}
    assert (failed["verdict"] == "holds").all()


def test_the_best_reported_recipe_is_judged_among_those_reported(tmp_path: Path) -> None:
    made = [Made(recipe("a", reported=0.7), 0.9), Made(recipe("b", lr=0.1, reported=0.6), 0.5)]
    added = Made(recipe("added", activation="log_softmax", reported=None), 0.97)
    claim = conclusions(comparison_of(made_runs.study(tmp_path, [*made, added]), 50)).iloc[0]
    assert (claim["experiment_a"], claim["verdict"]) == ("a", "holds")
    assert claim["sentence"] == "Reported as the best of 2: a. Here every other one is worse on the same test images."


@pytest.mark.parametrize(
    ("skills", "verdict", "here"),
    [((0.8, 0.8, 0.3), "not distinguishable", "it cannot be told apart from b on the same test images"),
     ((0.3, 0.8, 0.8), "reversed", "b and c are better on the same test images"),
     ((0.3, 0.3, 0.8), "reversed", "c is better on the same test images")],
)  # fmt: skip
def test_that_a_recipe_is_the_best_is_tested_against_every_other(
    tmp_path: Path, skills: tuple[float, ...], verdict: str, here: str
) -> None:
    rates = (1e-2, 1e-1, 1e-3)
    made = [
        Made(recipe(name, lr=lr, reported=0.7 - 0.1 * k), skill)
        for k, (name, lr, skill) in enumerate(zip("abc", rates, skills, strict=True))
    ]
    claim = conclusions(comparison_of(made_runs.study(tmp_path, made), 50)).iloc[0]
    assert (claim["verdict"], claim["sentence"]) == (verdict, f"Reported as the best of 3: a. Here {here}.")


def test_p_values_are_statsmodels(tmp_path: Path) -> None:
    runs = made_runs.study(tmp_path, [
        Made(recipe("a", reported=0.7), 0.75), Made(recipe("b", batch_size=128, reported=0.6), 0.7),
        Made(recipe("c", lr=0.1, reported=0.5), 0.65),
    ])  # fmt: skip
    table = conclusions(comparison_of(runs, 50))

    def p(one: Run, two: Run) -> float:
        a, b = one.correct, two.correct
        return float(mcnemar([[(a & b).sum(), (a & ~b).sum()], [(~a & b).sum(), (~a & ~b).sum()]], exact=True).pvalue)

    expected = multipletests([p(runs[0], runs[1]), p(runs[0], runs[2])], method="holm")[1]
    found = table.dropna(subset="p_holm")
    assert list(found["kind"]) == ["batch size", "learning rate"]
    assert found["p_holm"].tolist() == pytest.approx(expected)


def test_seeds_have_to_agree(tmp_path: Path) -> None:
    made = [Made(recipe("a", reported=0.7), skill, seed=seed) for seed, skill in enumerate((0.9, 0.4))]
    made += [Made(recipe("b", batch_size=128, reported=0.6), skill, seed=seed) for seed, skill in enumerate((0.5, 0.8))]
    table = conclusions(comparison_of(made_runs.study(tmp_path, made), 50))
    assert table[table["kind"] == "batch size"]["verdict"].item() == "not distinguishable"


def test_nothing_reported_nothing_claimed(tmp_path: Path) -> None:
    runs = made_runs.study(tmp_path, [Made(recipe(name, reported=None)) for name in "ab"])
    assert conclusions(comparison_of(runs, 50)).empty
