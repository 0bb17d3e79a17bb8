"""The configuration's schema: every key and every column of a table of recipes is described there and nowhere else.

Entry points:
    SCHEMA                                                 config/schemas/config.schema.yaml as a dict
    choices("training.precision") -> tuple                 the values that a key may have
    validator(SCHEMA) -> Draft202012Validator              of values as YAML and tables give them
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

FILE = Path(__file__).parents[2] / "config/schemas/config.schema.yaml"


def _load() -> dict[str, Any]:
    # libyaml's loader where PyYAML was built with it: every job and every plan comes here
    schema = yaml.load(FILE.read_text(encoding="utf-8"), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    _require_every_key(schema)
    return schema


def _require_every_key(node: dict[str, Any]) -> None:
    """config/config.yaml has every key, so that none is optional: a list of them would say everything twice.

    Optional is what has a default, and a section of such keys alone.
    """
    if "properties" in node:
        for child in node["properties"].values():
            _require_every_key(child)
        node["required"] = [
            name for name, child in node["properties"].items() if "default" not in child and child.get("required") != []
        ]


SCHEMA = _load()


def choices(key: str) -> tuple[Any, ...]:
    """The values that a key of the configuration may have, such as "training.precision"."""
    node = SCHEMA
    for part in key.split("."):
        node = node["properties"][part]
    return tuple(node["enum"])


def validator(node: Mapping[str, Any]) -> Any:
    """A validator of `jsonschema` for a part of the schema, for which 2.0 is no whole number and NaN is no number.

    JSON Schema takes both, but no list has 2.0 elements, and NaN lies within any bounds.
    """
    from jsonschema import Draft202012Validator
    from jsonschema.validators import extend

    types = Draft202012Validator.TYPE_CHECKER.redefine_many(
        {
            "integer": lambda _, value: isinstance(value, int) and not isinstance(value, bool),
            "number": lambda _, value: (
                isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
            ),
        }
    )
    return extend(Draft202012Validator, type_checker=types)(dict(node))
