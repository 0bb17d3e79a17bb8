"""The table of published recipes: every row reads, names its source, and has the source's values."""

from bisect import bisect_right
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from study.recipe import Recipe, values_of
from study.recipe_table import read_captions, read_recipes
from study.settings import check_recipes, validate_config
from study.train.schedules import schedule_of

CONFIG = Path(__file__).parents[2] / "config"
AUGMENTATION_OFF = {"vertical_flip": 0, "shift": 0, "rotation": 0}


@pytest.fixture(scope="module")
def study() -> dict[str, Any]:
    """The configuration of the study of published recipes, as Snakemake lays it over the default."""
    config, over = (yaml.safe_load((CONFIG / name).read_text()) for name in ("config.yaml", "published.yaml"))
    return {key: {**value, **over.get(key, {})} if isinstance(value, dict) else over.get(key, value)
            for key, value in config.items()}  # fmt: skip


@pytest.fixture(scope="module")
def recipes(study: dict[str, Any]) -> dict[str, Recipe]:
    return read_recipes(CONFIG / "published.tsv", study=values_of(study))


def test_every_recipe_can_be_trained_and_says_where_it_is_from(
    study: dict[str, Any], recipes: dict[str, Recipe]
) -> None:
    validate_config(study)
    check_recipes(study, recipes.values())
    assert len(recipes) >= 26
    for name, recipe in recipes.items():
        assert recipe.source.startswith("github.com/"), name
        assert len(recipe.left_out) < 250, name
    assert set(read_captions(CONFIG / "published.tsv")) == {str(recipe.case) for recipe in recipes.values()}


def test_no_recipe_stands_there_twice(recipes: dict[str, Recipe]) -> None:
    known = [recipe.deciding for recipe in recipes.values()]
    assert all(one not in known[:number] for number, one in enumerate(known))


# As the files say that the column `source` names.
PUBLISHED: dict[str, dict[str, Any]] = {
    "torchvision_v2": {
        "optimizer": "SGD", "lr": 0.5, "momentum": 0.9, "weight_decay": 2e-5, "norm_weight_decay": 0,
        "batch_size": 1024, "max_epochs": 600, "lr_scheduler": "CosineAnnealingLR", "lr_warmup_epochs": 5,
        "lr_warmup_method": "linear", "lr_warmup_decay": 0.01, "label_smoothing": 0.1, "mixup_alpha": 0.2,
        "cutmix_alpha": 1, "auto_augment": "ta_wide", "erasing": 0.1, "model_ema_decay": 0.998908,
        "model_ema_steps": 32, "random_resized_crop": [0.08, 1], "horizontal_flip": 0.5, **AUGMENTATION_OFF,
    },
    "timm_defaults": {
        "optimizer": "SGD", "lr": 0.05, "momentum": 0.9, "nesterov": True, "weight_decay": 2e-5, "batch_size": 128,
        "max_epochs": 300, "lr_scheduler": "CosineAnnealingLR", "min_lr": 0, "lr_warmup_epochs": 5,
        "label_smoothing": 0.1, "color_jitter": [0.4, 0.4, 0.4], "erasing": 0, "mixup_alpha": 0, "dropout": 0,
    },
    "mmpretrain_swin_tiny": {
        "optimizer": "AdamW", "lr": 1e-3, "min_lr": 1e-5, "weight_decay": 0.05, "betas": [0.9, 0.999],
        "clip_grad_norm": 5, "batch_size": 1024, "max_epochs": 300, "lr_warmup_epochs": 20, "label_smoothing": 0.1,
        "mixup_alpha": 0.8, "cutmix_alpha": 1, "auto_augment": "ra", "ra_num_ops": 2, "erasing": 0.25,
    },
    "ldam_ldam_drw": {
        "optimizer": "SGD", "lr": 0.1, "momentum": 0.9, "nesterov": False, "weight_decay": 2e-4, "batch_size": 128,
        "max_epochs": 200, "lr_scheduler": "MultiStepLR", "lr_gamma": 0.01,
        "loss": "weighted_ldam", "class_weights": "effective_number", "effective_number_beta": 0.9999,
        "ldam_max_m": 0.5, "ldam_s": 30, "defer_until": 0.8, "crop_padding": 4, "horizontal_flip": 0.5,
        "erasing": 0, **AUGMENTATION_OFF,
    },
    "decoupling_crt": {
        "lr": 0.2, "momentum": 0.9, "weight_decay": 5e-4, "batch_size": 512, "max_epochs": 10,
        "lr_scheduler": "CosineAnnealingLR", "sampler": "balanced", "init_from": "decoupling_instance",
        "init_part": "backbone", "freeze": "backbone", "random_resized_crop": [0.08, 1],
        "color_jitter": [0.4, 0.4, 0.4],
    },
    "bagoftricks_mixup": {
        "lr": 0.1, "nesterov": True, "max_epochs": 400, "lr_gamma": 0.01, "mixup_alpha": 1, "cutmix_alpha": 0,
    },
    "fer_usef_kh": {
        "lr": 0.01, "nesterov": True, "weight_decay": 1e-4, "batch_size": 64, "max_epochs": 300,
        "lr_scheduler": "ReduceLROnPlateau", "monitor": "val_accuracy", "scheduler_factor": 0.75,
        "scheduler_patience": 5, "early_stopping_patience": None, "tta": "ten_crop",
    },
    "poster": {
        "optimizer": "Adam", "lr": 4e-5, "batch_size": 200, "max_epochs": 300, "lr_scheduler": "ExponentialLR",
        "lr_gamma": 0.98, "erasing": 0.5,
    },
}  # fmt: skip


@pytest.mark.parametrize("experiment", PUBLISHED)
def test_values_are_those_of_the_source(recipes: dict[str, Recipe], experiment: str) -> None:
    columns = PUBLISHED[experiment]
    expected = recipes[experiment].but(**columns)
    assert recipes[experiment].hyperparameters == expected.hyperparameters


def ldam(epoch: int) -> float:
    """`adjust_learning_rate` of LDAM-DRW's cifar_train.py; epochs from 1."""
    return 0.1 * (epoch / 5 if epoch <= 5 else 1e-4 if epoch > 180 else 1e-2 if epoch > 160 else 1)


def bag_of_tricks(epoch: int) -> float:
    """`WarmupMultiStepLR` of Bag of Tricks, which takes a step before each epoch; epochs from 1."""
    warm_up = (1 - epoch / 5) / 3 + epoch / 5 if epoch < 5 else 1
    return 0.1 * warm_up * 0.01 ** bisect_right([160, 180], epoch)


@pytest.mark.parametrize(("experiment", "formula"), [("ldam_ce", ldam), ("bagoftricks_ce", bag_of_tricks)])
def test_learning_rates_are_those_of_the_script(
    recipes: dict[str, Recipe], experiment: str, formula: Callable[[int], float]
) -> None:
    recipe = recipes[experiment]
    scheduler = schedule_of(recipe).start()
    ours = [scheduler.lr(epoch) for epoch in range(recipe.max_epochs)]
    assert ours == pytest.approx([formula(epoch) for epoch in range(1, recipe.max_epochs + 1)], rel=1e-5)
