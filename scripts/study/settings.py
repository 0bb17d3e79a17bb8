"""The configuration of a study, checked against its JSON Schema before anything runs."""

import contextlib
import datetime
import difflib
import functools
import itertools
import math
import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from study.elsewhere import PREDICTIONS, from_file, predictions_file
from study.errors import StudyError
from study.files import read_yaml
from study.networks import PATCHES, TIMM, problems
from study.recipe import COLUMNS, EVALUATION, HYPERPARAMETERS, Recipe, column_named, values_of
from study.recipe_table import place_of, read_captions
from study.reference import allowed
from study.schema import SCHEMA, validator

# Where a file is fetched from, and what it should be, decides nothing about a result.
FETCH_ONLY = {"data": ("url", "sha256", "expected"), "model": ("weights_url",)}
UNPUBLISHED = ("regnet_y_128gf", "vit_h_14")  # torchvision's networks of which it has no weights IMAGENET1K_V1
ON_GPUS = ("tf32", "fp16")  # precisions that no processor computes in
# The columns of a recipe that a key of the configuration has to fit, which is no column itself.
OF_ITS_IMAGES = {"data.image_size": ("model.name",)}
# What YAML makes of text without quotes: "yes" and "off", "007" and "1e5", "null", "2026-01-01".
NO_TEXT = {bool: "true or false", int: "a number", float: "a number", type(None): "null", datetime.date: "a date"}


def read_layer(path: str | Path) -> dict[str, Any]:
    """What a configuration file lays over another one; nothing if it is empty.

    Raises:
        StudyError: the file does not exist, is no YAML, or holds no mapping.
    """
    content = read_yaml(path)
    if content is None:
        return {}
    if not isinstance(content, dict):
        found = "a list" if isinstance(content, list) else repr(content)
        raise StudyError(f"{path}: found {found}, allowed is a mapping: lines of a key and its value, 'study: mine'")
    return content


def deciding(config: dict[str, Any], section: str) -> dict[str, Any]:
    """A section of the configuration without the keys of `FETCH_ONLY`: in the params of a rule these would re-train."""
    return {key: value for key, value in config[section].items() if key not in FETCH_ONLY.get(section, ())}


def common(config: dict[str, Any], section: str) -> dict[str, Any]:
    """What decides of a section whose other keys are columns of the table of recipes: the same for every recipe."""
    return {key: value for key, value in deciding(config, section).items() if f"{section}.{key}" not in COLUMNS}


def reported_protocol(config: dict[str, Any]) -> dict[str, list[Any]]:
    """Each key of `tables.reported_with`: its value here, and the one that the reported accuracies were made with."""
    values = {}
    for key, reported in config["tables"]["reported_with"].items():
        section, name = key.split(".")
        values[key] = [config.get(section, {}).get(name, _default(key)), reported]
    return values


def _default(key: str) -> Any:
    """Of a key "section.name" that a configuration may lack; None for one without a default, or an unknown one."""
    section, _, name = key.partition(".")
    return SCHEMA["properties"].get(section, {}).get("properties", {}).get(name, {}).get("default")


def captions(
    config: dict[str, Any], laid_over: Mapping[int | str, str] = MappingProxyType({}), folder: Path = Path()
) -> dict[str, str]:
    """What each case asks, by its number as text: the key `cases`, and for other cases the line of their table.

    The keys 1 and "1" are one case. Where a merged configuration has both, the one that was laid over last counts.

    Args:
        config: checked.
        laid_over: the key `cases` of what Snakemake laid over config.yaml: files, then the command line.
        folder: that the tables of recipes are named from.
    """
    given = config["cases"]
    order = [case for case in given if case not in laid_over] + [case for case in laid_over if case in given]
    return read_captions(config["experiments"], folder) | {str(int(case)): given[case] for case in order}


def read_numbers(config: dict[str, Any]) -> None:
    """Turn text into the number, true, false or null that it spells, in place, wherever the schema allows no text.

    Snakemake leaves text what stands inside a list or mapping of `--config`, as in `seeds=[0,1,2]`.
    """
    for error in list(validator(SCHEMA).iter_errors(config)):
        of_a_value = error.validator in ("type", "enum") and "propertyNames" not in error.absolute_schema_path
        if of_a_value and isinstance(error.instance, str) and error.absolute_path:
            *parents, last = error.absolute_path
            functools.reduce(operator.getitem, parents, config)[last] = _spelled(error.instance)


def _spelled(text: str) -> str | int | float | bool | None:
    for read in (int, float):
        with contextlib.suppress(ValueError):
            return read(text)
    return {"true": True, "false": False, "null": None}.get(text.lower(), text)


def validate_config(config: dict[str, Any]) -> None:
    """Check a merged configuration against the schema and the rules that a schema cannot express.

    Raises:
        StudyError: one line per problem, each naming the key, the value found and what is allowed.
    """
    errors = sorted(validator(SCHEMA).iter_errors(config), key=lambda e: [str(p) for p in e.absolute_path])
    problems = list(dict.fromkeys(line for error in errors for line in _explain(error)))
    if not problems:
        problems = _cross_checks(config)
    if problems:
        raise StudyError("configuration: " + "\n  ".join(problems) + "\n  (every key is explained in config/README.md)")


def check_recipes(config: dict[str, Any], recipes: Iterable[Recipe], tables: str | Sequence[str] = ()) -> None:
    """Refuse, before anything runs, recipes that these images and this machine cannot be trained with.

    Args:
        tables: which the recipes are read from, to name the row.

    Raises:
        StudyError: naming the recipe and its column, or the key of the configuration where the value is the study's.
    """
    study = values_of(config)
    for recipe in itertools.filterfalse(from_file, recipes):
        for column, found, rule in _problems(recipe, config):
            own = [name for name in (column, *OF_ITS_IMAGES.get(column, ())) if name in COLUMNS]
            if all(name in study and recipe[name] == study[name] for name in own):
                raise StudyError(f"configuration: '{column}' is {found}, {rule}")
            text = f"found {found}" if column in own else f"'{column}' is {found}"
            raise StudyError(f"{place_of(tables, recipe.experiment)}, column '{own[0]}': {text}, {rule}")


def check_predictions_files(recipes: Iterable[Recipe], seeds: Iterable[int], tables: str | Sequence[str] = ()) -> None:
    """Refuse, before anything runs, a row whose file of predictions is not there.

    Args:
        tables: which the recipes are read from, to name the row.

    Raises:
        StudyError: naming the row and the file.
    """
    seeds = list(seeds)
    for recipe in filter(from_file, recipes):
        for path in (predictions_file(recipe, seed) for seed in seeds):
            if not path.is_file():
                raise StudyError(
                    f"{place_of(tables, recipe.experiment)}, column '{PREDICTIONS}': found {path}, which is no file in "
                    f"{Path.cwd()}; put the predictions there (config/README.md has their form), or take the row out"
                )


def _problems(recipe: Recipe, config: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Values of a recipe that do not fit the rest: the column, its value as text, and what is allowed instead."""
    weights, model = recipe["model.weights"], recipe["model.name"]
    if weights not in ("none", "imagenet") and Path(weights).suffix not in (".pth", ".pt", ".safetensors"):
        yield "model.weights", repr(weights), "allowed is none, imagenet, or a path ending in .pth, .pt or .safetensors"
    if weights == "imagenet" and recipe["model.width"] != 1:
        yield "model.width", f"{recipe['model.width']:g}", "allowed is 1 with 'model.weights: imagenet'"
    if weights == "imagenet" and model.startswith(TIMM):
        yield "model.weights", "imagenet", f"which are torchvision's; allowed for {model} is none or the path of a file"
    if weights == "imagenet" and model in UNPUBLISHED:
        yield (
            "model.weights",
            "imagenet",
            f"of which torchvision has none for {model}; allowed is none or a path",
        )
    if weights == "imagenet" and model in PATCHES and config["data"]["image_size"] != 224:
        rule = (
            f"allowed is 224 with 'model.weights: imagenet' and 'model.name: {model}', which knows its patches by place"
        )
        yield "data.image_size", str(config["data"]["image_size"]), rule
    yield from problems(model, recipe["model.width"], config["data"]["image_size"], recipe.batch_size)
    cap = config["training"]["max_epochs"]
    if recipe.sampler == "progressive" and 1 in (cap, recipe.max_epochs):
        column = "training.max_epochs" if cap == 1 else "max_epochs"
        yield column, "1", "allowed is at least 2 with the sampler progressive, which moves from epoch to epoch"
    if recipe["evaluation.tta"].endswith("_crop") and (
        (config["data"].get("stored_size") or 0) <= config["data"]["image_size"]
    ):
        yield "evaluation.tta", recipe["evaluation.tta"], "which needs 'data.stored_size' above 'data.image_size'"
    if recipe["augmentation.random_crop"] and (config["data"].get("stored_size") or 0) <= config["data"]["image_size"]:
        rule = "allowed is false unless 'data.stored_size' is above 'data.image_size'"
        yield "augmentation.random_crop", "true", rule
    epochs = recipe.epochs(config["training"]["max_epochs"])
    if recipe["loss.defer_until"] > 0 and recipe.acts_from(epochs) == 1:
        rule = f"which defers nothing in {epochs} epochs; allowed is 0, or at least {math.ceil(100 / epochs) / 100:g}"
        yield "loss.defer_until", f"{recipe['loss.defer_until']:g}", rule
    if (warm_up := recipe.meant("training.lr_warmup_epochs") or 0) >= epochs:
        yield "training.lr_warmup_epochs", f"{warm_up:g}", f"allowed is less than the {epochs} epochs of the run"
    if config["training"]["device"] == "cpu" and recipe["training.precision"] in ON_GPUS:
        rule = "allowed is auto, fp32 or bf16 with 'training.device: cpu'"
        yield "training.precision", repr(recipe["training.precision"]), rule


def _explain(error: Any) -> list[str]:
    """The lines for one jsonschema error, in words a user can act on."""
    key = ".".join(str(part) for part in error.absolute_path)
    prefix = f"{key}." if key else ""
    properties = error.schema.get("properties", {})
    if error.validator == "additionalProperties" and properties:
        return [
            f"unknown key '{prefix}{name}'{_did_you_mean(name, properties)}; allowed: {', '.join(properties)}"
            for name in error.instance
            if name not in properties
        ]
    if error.validator == "required":
        return [f"missing key '{prefix}{name}'" for name in error.validator_value if name not in error.instance]
    if "propertyNames" in error.absolute_schema_path:
        return [f"'{key}' has the key {_found(error.instance)}, allowed is {allowed(error.schema)}{_in_quotes(error)}"]
    description = error.schema.get("description", "")
    how = _in_quotes(error) + _in_brackets(error)
    words = f"'{key}' is {_found(error.instance)}, allowed is {allowed(error.schema)}{how}"
    return [words + (f" ({description})" if description else "")]


def _found(value: Any) -> str:
    return str(value) if isinstance(value, datetime.date) else repr(value)


def _in_quotes(error: Any) -> str:
    """What to do where text was meant and YAML made something else of it."""
    kinds = [words for kind, words in NO_TEXT.items() if isinstance(error.instance, kind)]
    if error.validator != "type" or "string" not in error.schema["type"] or not kinds:
        return ""
    where = " (in a file; --config drops quotes)" if len(error.absolute_path) == 1 else ""
    return f"; YAML reads it as {kinds[0]}, so put what was written in quotes{where}"


def _in_brackets(error: Any) -> str:
    """How a list is written that stands here as in a cell of the table, "0.9,0.99"."""
    as_in_a_cell = error.validator == "type" and "array" in error.schema["type"] and isinstance(error.instance, str)
    return f"; write a list in brackets, [{error.instance}]" if as_in_a_cell and "," in error.instance else ""


def _did_you_mean(name: Any, known: dict[str, Any]) -> str:
    close = difflib.get_close_matches(str(name), known, n=1)
    return f", did you mean '{close[0]}'?" if close else ""


def _cross_checks(config: dict[str, Any]) -> list[str]:
    problems = []
    split = config["split"]
    total = split["train"] + split["val"] + split["test"]
    if not math.isclose(total, 1.0, abs_tol=1e-9):
        problems.append(f"'split.train', 'split.val' and 'split.test' add up to {total:g}, allowed is exactly 1")
    for key in ("trained_as", "predictions"):
        if of := config.get(EVALUATION, {}).get(key):
            problems.append(f"'{EVALUATION}.{key}' is '{of}', allowed is nothing: it is for a row of the table")
    if config["data"]["url"] and not config["data"]["sha256"]:
        problems.append("'data.url' is set but 'data.sha256' is not: a download is used only if its hash is known")
    if config["data"].get("digits_tail", "all") != "all" and split["method"] != "official":
        problems.append(
            f"'data.digits_tail' is '{config['data']['digits_tail']}', which brings a split of its own; allowed with "
            f"'split.method: {split['method']}' is all"
        )
    problems += _no_map(config["tables"]["map"])
    for key in config["tables"]["reported_with"]:
        section, _, name = key.partition(".")
        if name not in SCHEMA["properties"].get(section, {}).get("properties", {}):
            problems.append(f"'tables.reported_with' names the key '{key}', which the configuration does not have")
    stored, side = config["data"].get("stored_size"), config["data"]["image_size"]
    if stored and stored < side:
        problems.append(
            f"'data.image_size' is {side}, allowed is at most 'data.stored_size' = {stored}: no crop is larger than "
            "what is stored"
        )
    return problems


def _no_map(names: list[str]) -> list[str]:
    """Why there is no map of two hyperparameters."""
    columns = [column_named(name) for name in names]
    wrong = [
        name
        for name, column in zip(names, columns, strict=True)
        if column is None or column not in HYPERPARAMETERS or not HYPERPARAMETERS[column].numeric
    ]
    if not wrong and columns[0] != columns[1]:
        return []
    found = f"names {wrong[0]!r}" if wrong else f"names '{columns[0]}' twice"
    numeric = ", ".join(name for name, column in HYPERPARAMETERS.items() if column.numeric)
    return [f"'tables.map' {found}, allowed are two numeric columns of the table of recipes: {numeric}"]
