"""Which hyperparameters of a recipe fit each other: what one column's part of the schema cannot say.

Entry points:
    disagreements(recipe, given) -> (column, value, rule)  values that do not fit each other, in words
    spelled(value) -> str                                  a value as a cell of the table has it
"""

from collections.abc import Iterable, Set
from typing import Any

from study.recipe import COLUMNS, EVALUATION, HYPERPARAMETERS, Recipe

TRAINED_AS = f"{EVALUATION}.trained_as"


def disagreements(recipe: Recipe, given: Set[str]) -> Iterable[tuple[str, str, str]]:
    """Values that do not fit each other: the column, its value as text, and what is allowed instead.

    Args:
        given: the columns whose cell is not empty.
    """
    for name in HYPERPARAMETERS:
        node, value = COLUMNS[name].node, recipe[name]
        if name in given and not recipe.takes(name) and ("default" not in node or value != node["default"]):
            other = recipe.bar(name) or ""
            text = f"which the {HYPERPARAMETERS[other].label} {spelled(recipe[other])} does not take"
            without = f"{spelled(node['default'])} or " if node.get("default") not in (None, []) else ""
            yield name, spelled(value), f"{text}; allowed is {without}nothing"
    if recipe.takes("min_lr") and recipe.min_lr > recipe.lr:
        yield "min_lr", f"{recipe.min_lr:g}", f"allowed is at most lr = {recipe.lr:g}"
    if recipe.activation == "softmax" and not recipe.cross_entropy:
        yield "activation", "softmax", f"allowed with the loss {recipe.loss} is log_softmax or logits"
    if recipe["loss.defer_until"]:
        yield from _of_the_deferral(recipe)
    yield from _of_the_start(recipe)
    if recipe.nesterov and not recipe.momentum:
        yield "nesterov", "true", "which needs a momentum above 0"
    for name in ("augmentation.random_resized_crop", "augmentation.crop_ratio"):
        if recipe[name] and recipe[name][0] > recipe[name][1]:
            yield name, spelled(recipe[name]), "allowed is the smaller number first"
    if "augmentation.crop_ratio" in given and not recipe["augmentation.random_resized_crop"]:
        rule = "which means nothing without random_resized_crop; allowed is nothing"
        yield "augmentation.crop_ratio", spelled(recipe["augmentation.crop_ratio"]), rule
    for name in ("augmentation.random_crop", "augmentation.crop_padding"):
        if recipe["augmentation.random_resized_crop"] and recipe[name]:
            yield name, spelled(recipe[name]), "which random_resized_crop does not take; use one of the two crops"
    if recipe.mixes_images:
        column = next(name for name in ("augmentation.mixup_alpha", "augmentation.cutmix_alpha") if recipe[name])
        if recipe.loss in ("ldam", "weighted_ldam"):
            rule = f"which the loss {recipe.loss} does not take, as its margin belongs to one class; allowed is 0"
            yield column, f"{recipe[column]:g}", rule
        if recipe.batch_size == 1:
            yield column, f"{recipe[column]:g}", "which needs a batch_size of at least 2; allowed is 0"
    yield from _of_the_schedule(recipe, given)
    if recipe.adjusted and recipe.trains:
        rule = f"which needs '{TRAINED_AS}': an adjustment is a row of its own, beside the recipe that is trained"
        yield "evaluation.posthoc", recipe["evaluation.posthoc"], rule


def _of_the_deferral(recipe: Recipe) -> Iterable[tuple[str, str, str]]:
    """What does not fit a deferral, as `disagreements` has it."""
    weighs = recipe.meant("loss.class_weights") not in (None, "none")
    if recipe.sampler == "progressive":
        rule = "which begins with every image alike as it is; allowed with a defer_until is any other sampler"
        yield "sampler", "progressive", rule
    elif recipe.sampler == "shuffle" and not weighs:
        rule = "which needs class weights in the loss or a sampler other than shuffle; allowed is 0"
        yield "loss.defer_until", f"{recipe['loss.defer_until']:g}", rule


def _of_the_start(recipe: Recipe) -> Iterable[tuple[str, str, str]]:
    """What does not fit the weights that the training starts from, as `disagreements` has it."""
    weights, start = recipe["model.weights"], recipe["model.init_from"]
    if "none" not in (weights, start):
        yield "model.weights", weights, f"allowed is none where the training starts from another experiment ({start})"
    if recipe["model.freeze"] != "none" and weights == start == "none":
        rule = "which needs weights to start from; set model.init_from or model.weights"
        yield "model.freeze", recipe["model.freeze"], rule


def _of_the_schedule(recipe: Recipe, given: Set[str]) -> Iterable[tuple[str, str, str]]:
    """What does not fit the learning rates of a recipe, as `disagreements` has it."""
    milestones, warm_up = recipe.meant("training.lr_milestones"), recipe.meant("training.lr_warmup_epochs") or 0
    if milestones is not None and not (milestones and milestones == sorted(set(milestones))):
        found, rule = spelled(milestones) or "nothing", COLUMNS["training.lr_milestones"].node["allowed"]
        yield "training.lr_milestones", found, f"allowed is {rule}, such as 100,150"
    watched = recipe["training.lr_scheduler"] == "ReduceLROnPlateau" or recipe["training.early_stopping_patience"]
    if "training.monitor" in given and not watched and recipe["training.monitor"] != "val_loss":
        rule = "which neither a plateau nor early stopping watches here; allowed is val_loss or nothing"
        yield "training.monitor", recipe["training.monitor"], rule
    if warm_up >= recipe.max_epochs:
        rule = f"allowed is less than max_epochs = {recipe.max_epochs}"
        yield "training.lr_warmup_epochs", spelled(warm_up), rule
    if recipe.meant("training.lr_interval") == "epoch":
        for name in ("training.lr_warmup_epochs", "training.lr_step_size"):
            if (recipe.meant(name) or 0) % 1:
                yield name, spelled(recipe[name]), "allowed is a whole number where the lr_interval is epoch"
        if any(milestone % 1 for milestone in milestones or ()):
            yield (
                "training.lr_milestones",
                spelled(milestones),
                "allowed are whole numbers where the lr_interval is epoch",
            )


def spelled(value: Any) -> str:
    if value is None or isinstance(value, list):
        return "null" if value is None else ",".join(map(spelled, value))
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)
