"""The configuration: every study is valid, every mistake is named."""

import copy
import math
from pathlib import Path
from typing import Any

import pytest
import yaml

from study.commands.reference import with_reference
from study.errors import StudyError
from study.recipe import Recipe, values_of
from study.recipe_table import read_recipes
from study.schema import SCHEMA
from study.settings import captions, check_recipes, read_numbers, reported_protocol, validate_config

ROOT = Path(__file__).parents[2]
BASE = yaml.safe_load((ROOT / "config/config.yaml").read_text(encoding="utf-8"))


ROW = yaml.safe_load(
    "{optimizer: SGD, lr: 0.01, min_lr: 1.0e-10, batch_size: 64, max_epochs: 9, loss: cross_entropy, "
    "activation: softmax, sampler: shuffle}"
)


def overlaid(base: dict[str, Any], overlay: dict[str, Any]) -> dict[str, Any]:
    """What Snakemake makes of a configuration file laid over another."""
    merged = copy.deepcopy(base)
    for key, value in overlay.items():
        merged[key] = overlaid(merged[key], value) if isinstance(value, dict) and key in merged else value
    return merged


def test_text_of_the_command_line_becomes_what_it_spells() -> None:
    text = {
        "seeds": ["0", "1"],
        "data": {"channels": "1", "expected": {"classes": {"a": "12"}, "splits": {}}, "source": "12"},
        "training": {"max_epochs": "null", "deterministic": "False", "scheduler_eps": "1e-9", "precision": "bf16"},
    }
    config = overlaid(BASE, text)
    read_numbers(config)
    assert config["seeds"] == [0, 1]
    assert (config["data"]["channels"], config["data"]["expected"]["classes"]) == (1, {"a": 12})
    assert config["data"]["source"] == "12"
    training = config["training"]
    assert (training["max_epochs"], training["deterministic"], training["scheduler_eps"]) == (None, False, 1e-9)
    validate_config(config)


def test_a_wrong_key_of_the_command_line_is_left_to_the_check() -> None:
    config = overlaid(BASE, {"data": {"expected": {"splits": {"valid": "3"}}}})
    read_numbers(config)
    with pytest.raises(StudyError, match=r"'data\.expected\.splits' has the key 'valid'"):
        validate_config(config)


def test_text_that_spells_no_number_is_named_as_it_was_written() -> None:
    config = overlaid(BASE, {"seeds": ["one"], "model": {"width": "wide"}})
    read_numbers(config)
    with pytest.raises(StudyError, match=r"'seeds\.0' is 'one', allowed is a whole number from 0 to 4294967295"):
        validate_config(config)


@pytest.mark.parametrize("path", sorted(ROOT.glob("config/*.yaml")), ids=lambda path: path.stem)
def test_every_study_is_valid(path: Path) -> None:
    validate_config(overlaid(BASE, yaml.safe_load(path.read_text(encoding="utf-8"))))


@pytest.mark.parametrize(
    ("overlay", "message"),
    [
        ({"sedes": [1]}, "unknown key 'sedes', did you mean 'seeds'?"),
        ({"model": {"name": "resent18"}}, "'model.name' is 'resent18', did you mean resnet18 or resnet"),
        ({"model": {"name": "alexnet", "width": 1}}, "'data.image_size' is 32, allowed is at least 63"),
        ({"training": {"device": "cpu", "precision": "fp16"}}, "'training.precision' is 'fp16', allowed is auto, fp32"),
        ({"data": {"image_sise": 48}}, "unknown key 'data.image_sise', did you mean 'image_size'?; allowed: source"),
        ({"data": {"image_size": "large"}}, "'data.image_size' is 'large', allowed is a whole number from 8 to 1024"),
        ({"data": {"duplicates": "remove"}}, "'data.duplicates' is 'remove', allowed is one of keep, drop, group"),
        ({"split": {"train": 0.9}}, "add up to 1.2, allowed is exactly 1"),
        ({"data": {"stored_size": 24}}, "'data.image_size' is 32, allowed is at most 'data.stored_size' = 24: no crop"),
        (
            {"data": {"digits_tail": "train"}},
            "which brings a split of its own; allowed with 'split.method: stratified'",
        ),
        ({"data": {"image_size": 24}}, "'data.image_size' is 24, allowed is at least 32 with 'model.name: vgg19'"),
        ({"split": {"seed": 2**32}}, "'split.seed' is 4294967296, allowed is a whole number from 0 to 4294967295"),
        ({"split": {"train": 1.5}}, "'split.train' is 1.5, allowed is a number above 0 and below 1"),
        (
            {"tables": {"map": ["lr", "loss"]}},
            "'tables.map' names 'loss', allowed are two numeric columns of the table",
        ),
        ({"tables": {"map": ["lr", "lr"]}}, "'tables.map' names 'lr' twice, allowed are two numeric columns"),
        ({"seeds": []}, "'seeds' is [], allowed is a list of at least 1 without repetition"),
        ({"seeds": [1, 1]}, "allowed is a list of at least 1 without repetition"),
        ({"data": {"source": ""}}, "'data.source' is '', allowed is a word or a path without braces"),
        ({"data": {"source": "a{1}"}}, "'data.source' is 'a{1}', allowed is a word or a path without braces"),
        ({"model": {"weights": "{a}.pth"}}, "'model.weights' is '{a}.pth', allowed is a word or a path without"),
        ({"cases": None}, "'cases' is None, allowed is a mapping"),
        ({"data": {"expected": {"splits": {"valid": 3}}}}, "has the key 'valid', allowed is one of train, val, test"),
        ({"tables": {"reported_with": {"x": 1}}}, "'tables.reported_with' has the key 'x', allowed is text matching"),
        ({"study": "a\n"}, "'study' is 'a\\n', allowed is letters, digits"),
        ({"study": "Con"}, "'study' is 'Con', allowed is letters, digits"),
        ({"study": "nul.txt"}, "'study' is 'nul.txt', allowed is letters, digits"),
        ({"study": "a."}, "'study' is 'a.', allowed is letters, digits"),
        ({"study": "a/b"}, "'study' is 'a/b', allowed is letters, digits, '_', '-' and '.', beginning with"),
        (
            {"training": {"lr_warmup_epochs": 5, "max_epochs": 5}},
            "'training.lr_warmup_epochs' is 5, allowed is less than",
        ),
        ({"training": {"lr_gamma": 2}}, "'training.lr_gamma' is 2, allowed is a number above 0 and of at most 1"),
        ({"model": {"head_hidden": 64.0}}, "'model.head_hidden' is 64.0, allowed is a whole number of at least 1"),
        ({"augmentation": {"mixup_alpha": math.nan}}, "'augmentation.mixup_alpha' is nan, allowed is a number of at"),
        ({"training": {"clip_grad_norm": math.inf}}, "'training.clip_grad_norm' is inf, allowed is a number of at"),
        ({"training": {"betas": "0.9,0.99"}}, "with a comma between them; write a list in brackets, [0.9,0.99]"),
        ({"training": {"device": "gpu"}}, "'training.device' is 'gpu', allowed is text matching"),
        ({"training": {"precision": "fp8"}}, "'training.precision' is 'fp8', allowed is one of auto, fp32"),
        ({"data": {"url": "http://localhost/x.zip"}}, "'data.url' is set but 'data.sha256' is not"),
        ({"data": {"sha256": "abc"}}, "'data.sha256' is 'abc', allowed is text matching"),
    ],
)
def test_a_wrong_value_is_named(overlay: dict[str, Any], message: str) -> None:
    config = overlaid(BASE, overlay)
    with pytest.raises(StudyError) as error:
        validate_config(config)
        check_recipes(config, [Recipe.of("a", study=values_of(config), **ROW)])
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("study: 2024", "'study' is 2024, allowed is letters"),
        (
            "study: 2024",
            "as a number, so put what was written in quotes (in a file; --config drops quotes)",
        ),
        ("study: yes", "'study' is True, allowed is letters"),
        ("study: 2026-01-01", "'study' is 2026-01-01, allowed is letters"),
        ("study: null", "YAML reads it as null, so put what was written in quotes"),
        (
            "cases: {1: 2024}",
            "'cases.1' is 2024, allowed is text; YAML reads it as a number, so put",
        ),
        ("cases: {1: off}", "'cases.1' is False, allowed is text; YAML reads it as true or false, so put"),
        ("cases: {one: x}", "'cases' has the key 'one', allowed is the number of a case"),
        ("cases: {0: x}", "'cases' has the key 0, allowed is the number of a case"),
        ("cases: {yes: x}", "'cases' has the key True, allowed is the number of a case"),
        (
            "data: {oversample: {yes: 2}}",
            "'data.oversample' has the key True, allowed is text; YAML reads it as true",
        ),
        (
            "data: {oversample: {01: 2}}",
            "'data.oversample' has the key 1, allowed is text; YAML reads it as a number",
        ),
        (
            "data: {oversample: {1.0: 2}}",
            "'data.oversample' has the key 1.0, allowed is text; YAML",
        ),
        (
            "data: {expected: {classes: {null: 2}}}",
            "'data.expected.classes' has the key None, allowed is text",
        ),
        (
            "data: {expected: {classes: {2026-01-01: 2}}}",
            "the key 2026-01-01, allowed is text; YAML reads it as a date",
        ),
        ("data: {split_folders: {2024: train}}", "'data.split_folders' has the key 2024, allowed is text; YAML reads"),
        ("tables: {note: 12:30}", "'tables.note' is 750, allowed is text; YAML reads it as a number, so put what was"),
    ],
)
def test_text_that_yaml_makes_something_else_of_is_asked_for_in_quotes(text: str, message: str) -> None:
    with pytest.raises(StudyError) as error:
        validate_config(overlaid(BASE, yaml.safe_load(text)))
    assert message in str(error.value)


def test_text_in_quotes_is_taken_as_it_is() -> None:
    text = """
    study: "2024"
    cases: {1: "off", "2": "2026-01-01", "03": "null"}
    data: {oversample: {"01": 2, "yes": 2}, expected: {classes: {"1": 3, "null": 2}}}
    """
    config = overlaid(BASE, yaml.safe_load(text))
    read_numbers(config)
    validate_config(config)
    assert captions(config, folder=ROOT)["1"] == "off" and captions(config, folder=ROOT)["3"] == "null"
    assert config["data"]["oversample"] == {"01": 2, "yes": 2}


def test_the_case_1_with_and_without_quotes_is_one_case() -> None:
    both = {**BASE, "cases": {"1": "below", 1: "above"}}  # as layers of files are merged
    validate_config(both)
    assert captions(both, folder=ROOT)["1"] == "above"
    # Snakemake merges config.yaml after what is laid over it
    both = {**BASE, "cases": {1: "above", "1": "config.yaml"}}
    assert captions(both, {1: "above"}, ROOT)["1"] == "above"
    both = {**BASE, "cases": {1: "of the file", "1": "of the command line"}}
    assert captions(both, {1: "of the file", "1": "of the command line"}, ROOT)["1"] == "of the command line"


def test_captions_stand_in_the_table_that_has_the_case(tmp_path: Path) -> None:
    shipped = {**BASE, "experiments": [f"config/{name}.tsv" for name in ("experiments", "ablations", "lr_batch")]}
    assert list(captions(shipped, folder=ROOT)) == [str(case) for case in range(1, 9)]
    assert captions(shipped, folder=ROOT)["4"] == "Adam, learning rate × batch size"
    (tmp_path / "mine.tsv").write_text("# my cases 1: and 2\n#case 002 :  Mine: 1, 2 \nexperiment\tcase\n")
    mine = {**BASE, "experiments": "mine.tsv"}
    assert captions(mine, folder=tmp_path) == {"2": "Mine: 1, 2"}
    assert captions({**mine, "cases": {2: ""}}, folder=tmp_path) == {"2": ""}


def test_a_missing_key_and_several_problems_at_once() -> None:
    config = overlaid(BASE, {"metrics": {"ece_bins": 1}})
    del config["split"]["seed"]
    with pytest.raises(StudyError) as error:
        validate_config(config)
    assert str(error.value).count("missing key 'split.seed'") == 1
    assert "'metrics.ece_bins' is 1, allowed is a whole number of at least 2" in str(error.value)


def test_every_key_is_described_and_the_reference_is_up_to_date() -> None:
    def undescribed(node: dict[str, Any], prefix: str = "") -> list[str]:
        return [
            name
            for key, child in node["properties"].items()
            for name in ([prefix + key] if "description" not in child else [])
            + (undescribed(child, f"{prefix}{key}.") if child.get("properties") else [])
        ]

    assert undescribed(SCHEMA) + undescribed(SCHEMA["$defs"]["recipe"]) == []
    readme = (ROOT / "config/README.md").read_text(encoding="utf-8")
    assert with_reference(readme) == readme, "run `make docs`"


def test_the_protocol_of_what_was_reported_may_name_keys_with_a_default() -> None:
    config = {**BASE, "tables": {**BASE["tables"], "reported_with": {"data.near_duplicates": 0.9}}}
    assert "near_duplicates" not in config["data"]
    validate_config(config)
    assert reported_protocol(config) == {"data.near_duplicates": [None, 0.9]}
    config["tables"]["reported_with"] = {"data.unheard_of": 1}
    with pytest.raises(StudyError, match=r"'data\.unheard_of', which the configuration does not have"):
        validate_config(config)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"model.name": "vg19"}, "column 'model.name': found 'vg19', did you mean vgg19"),
        ({"model.name": "alexnet", "model.width": 1}, "column 'model.name': 'data.image_size' is 32, allowed is at le"),
        ({"model.name": "resnet18"}, "configuration: 'model.width' is 0.25, allowed for resnet18 is 1; only"),
        ({"model.weights": "w.bin"}, "column 'model.weights': found 'w.bin', allowed is none, imagenet, or a path"),
        ({"model.weights": "imagenet"}, "configuration: 'model.width' is 0.25, allowed is 1 with 'model.weights: im"),
        (
            {"model.name": "vit_h_14", "model.width": 1, "model.weights": "imagenet"},
            "column 'model.weights': found imagenet, of which torchvision has none for vit_h_14; allowed is none or",
        ),
        (
            {"sampler": "balanced", "defer_until": 0.1},
            "column 'loss.defer_until': found 0.1, which defers nothing in 9 epochs; allowed is 0, or at least 0.12",
        ),
        (
            {"random_crop": True},
            "column 'augmentation.random_crop': found true, allowed is false unless 'data.stored_size'",
        ),
    ],
)
def test_a_recipe_that_does_not_fit_the_study_is_named(columns: dict[str, Any], message: str) -> None:
    recipe = Recipe.of("a", study=values_of(BASE), **{**ROW, **columns})
    with pytest.raises(StudyError) as error:
        check_recipes(BASE, [recipe])
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("cap", "own", "message"),
    [
        (1, 9, "configuration: 'training.max_epochs' is 1, allowed is at least 2 with the sampler progressive"),
        (None, 1, "experiment 'a', column 'max_epochs': found 1, allowed is at least 2 with the sampler progressive"),
    ],
)
def test_a_sampler_that_moves_needs_two_epochs(cap: int | None, own: int, message: str) -> None:
    config = overlaid(BASE, {"training": {"max_epochs": cap}})
    recipe = Recipe.of("a", study=values_of(config), **{**ROW, "sampler": "progressive", "max_epochs": own})
    with pytest.raises(StudyError) as error:
        check_recipes(config, [recipe])
    assert message in str(error.value)
    check_recipes(config, [recipe.but(sampler="balanced")])
    check_recipes(BASE, [recipe.but(max_epochs=2)])


def test_the_row_of_a_recipe_that_does_not_fit_is_named(tmp_path: Path) -> None:
    rows = [[name, "1", *map(str, ROW.values()), tta] for name, tta in (("a", ""), ("b", "five_crop"))]
    lines = [["experiment", "case", *ROW, "tta"], *rows]
    table = tmp_path / "mine.tsv"
    table.write_text("# of mine\n" + "\n".join("\t".join(line) for line in lines), encoding="utf-8")
    place = f"{table}, row 4, experiment 'b', column 'evaluation.tta': found five_crop"
    with pytest.raises(StudyError, match=f"^{place}"):
        check_recipes(BASE, read_recipes(table, study=values_of(BASE)).values(), [str(table)])


def test_a_batch_of_one_image_is_refused_where_batch_norm_cannot_take_it() -> None:
    small = read_recipes(ROOT / "config/experiments.tsv")["sgd_ver1"].but(batch_size=1)
    recipe = small.but(**{"model.name": "resnet18", "model.width": 1})
    check_recipes(BASE, [small])
    check_recipes(BASE, [recipe.but(batch_size=2)])
    check_recipes(overlaid(BASE, {"data": {"image_size": 33}}), [recipe])
    with pytest.raises(StudyError) as error:
        check_recipes(BASE, [recipe.but(batch_size=2), recipe])
    assert str(error.value) == (
        "experiment 'sgd_ver1', column 'batch_size': found 1, allowed is at least 2 for resnet18 with images of 32 "
        "pixels, of which its batch norm sees one value; or set 'data.image_size' to 33 or more"
    )
