"""Of many recipes the best are shown, with what a publication reported as failed, and the others are counted."""

from pathlib import Path

import made_runs
import pandas as pd
import pytest
from made_runs import Made, comparison_of, recipe

from study.compare.comparison import Comparison
from study.compare.verdicts import HIGHER, NOT_DISTINGUISHABLE
from study.report.figures.classes import recall
from study.report.figures.curves import case_curves
from study.report.figures.errors import reliability
from study.report.figures.material import Material
from study.report.shown import MOST, failures_counted, largest_effects, of_all, shown

RECIPES, FAILED = MOST + 8, 4  # the last ones collapsed; one of them was reported on


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    made = []
    for k in range(RECIPES):
        lost = k >= RECIPES - FAILED
        noted = {"reported_note": "did not learn"} if k == RECIPES - 1 else {}
        made.append(
            Made(
                recipe(f"recipe_{k}", reported=None, **noted),
                0.3 if lost else 0.4 + 0.01 * k,
                "collapsed" if lost else "completed",
            )
        )
    return comparison_of(made_runs.study(tmp_path_factory.mktemp("many"), made), 20)


def test_the_best_are_shown_and_failures_that_were_reported_on(many: Comparison) -> None:
    some = shown(many.recipes.values())
    alive = [group for group in many.recipes.values() if not group.failed]
    best = sorted(alive, key=lambda group: -group.accuracy("val"))[:MOST]
    assert {group.name for group in some} == {group.name for group in best} | {f"recipe_{RECIPES - 1}"}
    assert [group.name for group in some] == [name for name in many.recipes if name in {group.name for group in some}]
    assert of_all(some, many.recipes) == f" ({MOST + 1} of {RECIPES} recipes)"
    assert of_all(many.recipes, many.recipes) == ""


def test_few_recipes_are_all_shown(many: Comparison) -> None:
    few = list(many.recipes.values())[-MOST:]
    assert shown(few) == few


def test_failures_are_counted_by_kind(many: Comparison) -> None:
    assert failures_counted(many.recipes.values()) == f"{FAILED} collapsed"
    alive = [group for group in many.recipes.values() if not group.failed]
    assert failures_counted(alive) == ""


@pytest.mark.parametrize("draw", [recall, reliability, lambda *given: case_curves(*given, 1)])
def test_figures_show_them_and_say_of_how_many(many: Comparison, tmp_path: Path, draw) -> None:
    draw(Material(many), tmp_path / "figure.svg")
    text = (tmp_path / "figure.svg").read_text(encoding="utf-8")
    drawn = [
        name for name in many.recipes if f">{name}<" in text or f">{name} ✕ collapsed<" in text or f"✕ {name}<" in text
    ]
    assert len(drawn) == MOST + 1
    assert f" ({MOST + 1} of {RECIPES} recipes)" in text


def test_the_largest_effects_of_each_treatment_come_first() -> None:
    row = {"treatment": "sampler", "verdict": NOT_DISTINGUISHABLE, "failed": "", "accuracy_difference": 0.01}
    rows = [{**row, "accuracy_difference": 0.001 * k} for k in range(8)]
    rows += [
        {**row, "verdict": HIGHER},
        {**row, "verdict": HIGHER, "accuracy_difference": 0.5, "failed": "a collapsed"},
    ]
    rows += [{**row, "treatment": "loss"}]
    pairs = pd.DataFrame(rows)
    some, left_out = largest_effects(pairs, each=3, most=5)
    assert list(some.index) == [6, 7, 8, 10] and left_out == 7
    assert largest_effects(pairs, each=3, most=11) == (pairs, 0)
