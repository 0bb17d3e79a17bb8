"""The configuration: every study is valid, every mistake is named."""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from study.commands.reference import with_reference
from study.errors import StudyError
from study.schema import SCHEMA
from study.settings import read_numbers, validate_config

ROOT = Path(__file__).parents[2]
BASE = yaml.safe_load((ROOT / "config/config.yaml").read_text(encoding="utf-8"))


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
    with pytest.raises(StudyError, match=r"'seeds\.0' is 'one', allowed is a whole number of at least 0"):
        validate_config(config)


@pytest.mark.parametrize("path", sorted(ROOT.glob("config/*.yaml")), ids=lambda path: path.stem)
def test_every_study_is_valid(path: Path) -> None:
    validate_config(overlaid(BASE, yaml.safe_load(path.read_text(encoding="utf-8"))))


@pytest.mark.parametrize(
    ("overlay", "message"),
    [
        ({"sedes": [1]}, "unknown key 'sedes', did you mean 'seeds'?"),
        ({"data": {"image_sise": 48}}, "unknown key 'data.image_sise', did you mean 'image_size'?; allowed: source"),
        ({"data": {"image_size": "large"}}, "'data.image_size' is 'large', allowed is a whole number from 8 to 1024"),
        ({"data": {"duplicates": "remove"}}, "'data.duplicates' is 'remove', allowed is one of keep, drop, group"),
        ({"split": {"train": 0.9}}, "add up to 1.2, allowed is exactly 1"),
        ({"split": {"train": 1.5}}, "'split.train' is 1.5, allowed is a number above 0 and below 1"),
        ({"seeds": []}, "'seeds' is [], allowed is a list of at least 1 without repetition"),
        ({"seeds": [1, 1]}, "allowed is a list of at least 1 without repetition"),
        ({"data": {"source": ""}}, "'data.source' is '', allowed is text of at least 1 character"),
        ({"cases": None}, "'cases' is None, allowed is a mapping"),
        ({"data": {"expected": {"splits": {"valid": 3}}}}, "has the key 'valid', allowed is one of train, val, test"),
        ({"tables": {"reported_with": {"x": 1}}}, "'tables.reported_with' has the key 'x', allowed is text matching"),
        ({"study": "a/b"}, "'study' is 'a/b', allowed is letters, digits, '_', '-' and '.', beginning with"),
        ({"training": {"device": "gpu"}}, "'training.device' is 'gpu', allowed is text matching"),
        ({"training": {"precision": "fp8"}}, "'training.precision' is 'fp8', allowed is one of auto, fp32"),
        ({"data": {"url": "http://localhost/x.zip"}}, "'data.url' is set but 'data.sha256' is not"),
        ({"data": {"sha256": "abc"}}, "'data.sha256' is 'abc', allowed is text matching"),
    ],
)
def test_a_wrong_value_is_named(overlay: dict[str, Any], message: str) -> None:
    with pytest.raises(StudyError) as error:
        validate_config(overlaid(BASE, overlay))
    assert message in str(error.value)


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
