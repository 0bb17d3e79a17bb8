"""Which checkpoints a training may continue from."""

from pathlib import Path
from typing import Any

import pytest
from small_run import RECIPE

from study.continuing import checkpoint_files, checkpoint_key, checkpoint_name, run_key
from study.recipe import Recipe
from study.train.schedules import SCHEDULES, schedule_of

SETTINGS = {"training": {"max_epochs": None, "device": "cpu"}, "initial_weights": "none"}
ORIGIN: dict[str, Any] = {"code": "c", "data": "d", "initial_weights": None}


def key(recipe: Recipe, settings: dict[str, Any] = SETTINGS, **origin: Any) -> str:
    return run_key(recipe, settings, **{**ORIGIN, **origin})


def test_the_number_of_epochs_is_no_part_of_what_a_checkpoint_has_to_agree_in() -> None:
    limited = {**SETTINGS, "training": {**SETTINGS["training"], "max_epochs": 5}}
    assert key(RECIPE) == key(RECIPE.but(max_epochs=99)) == key(RECIPE, limited)


@pytest.mark.parametrize(
    ("recipe", "column"),
    [
        (RECIPE.but(lr_scheduler="OneCycleLR"), "training.lr_scheduler"),
        (RECIPE.but(sampler="balanced", defer_until=0.5), "loss.defer_until"),
        (RECIPE.but(sampler="progressive"), "sampler"),
    ],
)
def test_it_is_where_it_decides_what_an_epoch_does(recipe: Recipe, column: str) -> None:
    assert recipe.bound_to_epochs == column
    assert key(recipe) != key(recipe.but(max_epochs=99))


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_schedules_for_which_it_does_are_known(name: str) -> None:
    recipe = RECIPE.but(lr_scheduler=name, lr_milestones=[2, 4], lr_step_size=2, lr_warmup_epochs=0)
    five, nine = (schedule_of(recipe, epochs) for epochs in (5, 9))
    same = all(five.formula(float(now), 10) == nine.formula(float(now), 10) for now in range(5))
    assert same is (recipe.bound_to_epochs is None)


@pytest.mark.parametrize(
    "other",
    [
        key(RECIPE.but(lr=0.5)),
        key(RECIPE, {**SETTINGS, "training": {"max_epochs": None, "device": "cuda"}}),
        *(key(RECIPE, **{part: "other"}) for part in ORIGIN),
    ],
)
def test_all_else_that_decides_a_training_is(other: str) -> None:
    assert other != key(RECIPE)


def test_files_are_found_by_key_the_newest_first(tmp_path: Path) -> None:
    mine, others = (checkpoint_key("k", "plain", seed) for seed in (0, 1))
    for name in (checkpoint_name(mine, 9), checkpoint_name(mine, 10), checkpoint_name(others, 11), "x.tmp"):
        (tmp_path / name).touch()
    assert list(checkpoint_files(tmp_path, mine)) == [10, 9]
    assert checkpoint_files(tmp_path / "none", mine) == {}
