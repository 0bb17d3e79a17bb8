"""What a reported accuracy was made with, beside what is here."""

from dataclasses import replace
from pathlib import Path

import made_runs
import pytest
import yaml
from made_runs import Made, comparison_of, recipe
from snakemake.utils import update_config

from study.compare.comparability import differing, in_short, note
from study.compare.comparison import Comparison
from study.compare.runs import Run
from study.recipe import values_of
from study.settings import reported_protocol

CONFIG = Path(__file__).parents[3] / "config"


@pytest.fixture
def runs(tmp_path: Path) -> list[Run]:
    """Six epochs of 100 allowed, in fp32; the second recipe has no reported accuracy."""
    made = [Made(recipe("a"), epochs=6), Made(recipe("b", reported=None, max_epochs=6), epochs=6)]
    return made_runs.study(tmp_path, made)


def config_of(*layers: str) -> dict:
    config = yaml.safe_load((CONFIG / "config.yaml").read_text(encoding="utf-8"))
    for layer in layers:
        update_config(config, yaml.safe_load((CONFIG / f"{layer}.yaml").read_text(encoding="utf-8")))
    return config


def settings_of(*layers: str) -> dict:
    return reported_protocol(config_of(*layers))


def made_with(runs: list[Run], *layers: str) -> list[Run]:
    """The runs with recipes of a study of these layers."""
    study = values_of(config_of(*layers))
    return [replace(run, recipe=run.recipe.but(**study)) for run in runs]


def beside(runs: list[Run], protocol: dict) -> Comparison:
    return comparison_of(runs, reported_protocol=protocol)


def test_the_original_study_is_comparable_but_for_its_epochs(runs: list[Run]) -> None:
    settings, runs = settings_of("original"), made_with(runs, "original")
    assert differing(settings, runs[0]) == {"max_epochs": (6, 100)}
    assert in_short(beside(runs, settings)) == {"a": "max_epochs", "b": ""}
    assert note(beside(runs, settings)).endswith("The reported ones were obtained with max_epochs 100 (here 6).")
    assert note(beside(runs[1:], settings)) == ""


def test_the_sound_protocol_differs_in_data_and_augmentation(runs: list[Run]) -> None:
    runs = made_with(runs, "fer2013")
    differs_in = differing(settings_of("fer2013"), runs[1])
    assert list(differs_in) == [
        "data.duplicates", "data.near_duplicates", "data.contradictory", "data.blank", "data.oversample",
        "split.method", "augmentation.vertical_flip", "augmentation.shift", "augmentation.rotation",
        "training.best_by", "training.best_from_epoch", "training.early_stopping_equal_improves",
    ]  # fmt: skip
    text = note(beside(runs, settings_of("fer2013")))
    assert "data.near_duplicates none (here 0.86)" in text
    assert "data.oversample disgust × 2 (here none)" in text and "split.method stratified (here official)" in text


def test_weights_width_and_the_precision_that_was_used(runs: list[Run]) -> None:
    layers = ("original", "quarter_width")
    settings, runs = settings_of(*layers), made_with(runs, *layers)
    assert in_short(beside(runs[1:], settings)) == {"b": "width, weights"}  # the runs were made in fp32
    runs[1].record["precision"] = "bf16"
    assert differing(settings, runs[1])["training.precision"] == ("bf16", "fp32")
