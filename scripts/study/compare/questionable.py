"""Choices of a configuration that a careful reader would question, each with what speaks against it.

All of them are off in the default study; they exist to reproduce studies that made them. Entry point:
    questionable(config, recipes, official_split) -> list[Choice]
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from study.elsewhere import from_file
from study.recipe import HYPERPARAMETERS, Recipe, listed


@dataclass(frozen=True)
class Choice:
    """One choice in force: the configuration's key, its value as text, and why it is questionable."""

    key: str
    value: str
    why: str


def _keep(value: Any) -> bool:
    return value == "keep"


# key -> (whether its value is questionable, why)
QUESTIONABLE: dict[str, tuple[Callable[[Any], bool], str]] = {
    "data.duplicates": (_keep, "exact copies count as independent images and can land on both sides of a split"),
    "data.contradictory": (
        lambda value: value != "drop",
        "exact copies with contradictory labels stay in, though at most one of their labels is right",
    ),
    "data.blank": (_keep, "images of one constant value stay in, though they show nothing"),
    "data.oversample": (
        bool,
        "images are copied before the split, so that training can hold copies of validation and test images",
    ),
    "augmentation.vertical_flip": (
        bool,
        "training images are turned upside down, as no validation or test image is",
    ),
    "training.best_by": (
        lambda value: value == "batch_accuracy",
        "the accuracy is averaged over batches, so images of a smaller last batch count for more",
    ),
    "training.best_from_epoch": (
        lambda value: value > 1,
        "earlier epochs cannot be the best one, whatever they reach",
    ),
    "training.early_stopping_equal_improves": (
        bool,
        "an equal loss counts as an improvement, so a saturated run, whose loss is constant, never stops early",
    ),
}


def questionable(
    config: Mapping[str, Mapping[str, Any]], recipes: Iterable[Recipe], official_split: bool
) -> list[Choice]:
    """The questionable choices in force, in the order of the configuration, then those of the recipes.

    Args:
        config: at least the sections data and split.
        official_split: whether the source brings a split of its own.
    """
    choices = []
    recipes = [recipe for recipe in recipes if not from_file(recipe)]
    for key, (applies, why) in QUESTIONABLE.items():
        section, name = key.split(".")
        if key in HYPERPARAMETERS:
            values = _of_some([recipe for recipe in recipes if applies(recipe[key])], key, len(recipes))
        else:
            values = {value_text(value): "" for value in [config[section][name]] if applies(value)}
        choices += [Choice(key, value + which, why) for value, which in values.items()]
    if official_split and config["split"]["method"] != "official":
        why = "the split that comes with the images is ignored, so scores cannot be compared with those of others"
        choices.append(Choice("split.method", config["split"]["method"], why))
    return choices + _of_recipes(recipes)


def _of_some(recipes: list[Recipe], key: str, count: int) -> dict[str, str]:
    """Each value of a key in these recipes, and which of all have it: "" if it is all `count` of them."""
    names: dict[str, list[str]] = {}
    for recipe in recipes:
        names.setdefault(value_text(recipe[key]), []).append(recipe.experiment)
    return {value: "" if len(some) == count else f" ({listed(some)})" for value, some in names.items()}


def _of_recipes(recipes: list[Recipe]) -> list[Choice]:
    softmax = [recipe.experiment for recipe in recipes if recipe.double_softmax]
    both = [recipe.experiment for recipe in recipes if recipe.treats_imbalance and recipe.sampler != "shuffle"]
    choices = []
    if softmax:
        why = "cross entropy applies softmax itself: the loss is confined and a confident mistake has no gradient"
        choices.append(Choice("activation softmax", ", ".join(softmax), why))
    if both:
        why = "two treatments of the imbalance at once, whose effects cannot be told apart in these recipes"
        choices.append(Choice("loss and sampler against the imbalance", ", ".join(both), why))
    twice = [recipe.experiment for recipe in recipes if "logit_adj" in recipe["evaluation.posthoc"] and _weighs(recipe)]
    if twice:
        why = (
            "the shares of the training images are taken out of probabilities whose training weighed or drew the "
            "classes by them already"
        )
        choices.append(Choice("post-hoc logit adjustment of a recipe that treats the imbalance", ", ".join(twice), why))
    return choices


def _weighs(recipe: Recipe) -> bool:
    """Whether the training itself treats the classes by how frequent they are."""
    return recipe.treats_imbalance or recipe.sampler != "shuffle"


def value_text(value: Any) -> str:
    """A value of the configuration in words."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} × {factor}" for name, factor in value.items()) or "none"
    if value is None:
        return "none"
    return str(value).lower() if isinstance(value, bool) else str(value)
