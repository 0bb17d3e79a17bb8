"""Which choices of the shipped studies are questionable."""

from pathlib import Path

import pytest
import yaml
from snakemake.utils import update_config

from study.compare.questionable import QUESTIONABLE, questionable
from study.recipe import values_of
from study.recipe_table import read_recipes

CONFIG = Path(__file__).parents[3] / "config"
RECIPES = read_recipes(CONFIG / "experiments.tsv")


def config_of(study: str) -> dict:
    config, overlay = (
        yaml.safe_load((CONFIG / f"{name}.yaml").read_text(encoding="utf-8")) for name in ("config", study)
    )
    update_config(config, overlay)
    return config


def test_the_original_study_makes_them_all() -> None:
    config = config_of("original")
    recipes = read_recipes(CONFIG / "experiments.tsv", study=values_of(config)).values()
    choices = {choice.key: choice.value for choice in questionable(config, recipes, True)}
    assert set(QUESTIONABLE) | {"split.method"} <= set(choices)
    assert choices["data.oversample"] == "disgust × 2"
    assert choices["training.early_stopping_equal_improves"] == "true"
    assert choices["loss and sampler against the imbalance"] == "sgd_ver2, sgd_ver3, sgd_ver5, sgd_ver6"


@pytest.mark.parametrize("study", ["config", "fer2013"])
def test_the_other_studies_make_none_but_those_of_the_recipes(study: str) -> None:
    keys = [choice.key for choice in questionable(config_of(study), RECIPES.values(), study == "fer2013")]
    assert keys == ["activation softmax", "loss and sampler against the imbalance"]


def test_two_treatments_of_the_imbalance_at_once() -> None:
    plain = RECIPES["adam_ver8"].but(loss="cross_entropy")
    recipes = {
        "none": plain, "sampled": plain.but(sampler="square_root"), "adjusted": plain.but(loss="logit_adjusted"),
        "both": plain.but(loss="logit_adjusted", sampler="progressive"),
        "focal": plain.but(loss="focal", sampler="balanced"),
        "unweighted": plain.but(loss="weighted_focal", class_weights="none", sampler="balanced"),
    }  # fmt: skip
    found = questionable(config_of("config"), [one.but(experiment=name) for name, one in recipes.items()], False)
    assert [(choice.key, choice.value) for choice in found] == [("loss and sampler against the imbalance", "both")]


def test_a_choice_of_some_recipes_names_them() -> None:
    recipes = [RECIPES["adam_ver8"], RECIPES["adam_ver8"].but(experiment="turned", vertical_flip=0.5)]
    assert [(choice.key, choice.value) for choice in questionable(config_of("config"), recipes, False)] == [
        ("augmentation.vertical_flip", "0.5 (turned)")
    ]


def test_sound_recipes_have_none() -> None:
    sound = [recipe for recipe in RECIPES.values() if recipe.activation != "softmax" and recipe.sampler == "shuffle"]
    assert questionable(config_of("config"), sound, False) == []
