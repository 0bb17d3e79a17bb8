"""What the schema allows, in words: for error messages and for the tables of config/README.md.

Entry points:
    allowed(node) -> str                                   what a key or a column may be
    reference_of_keys(), reference_of_columns() -> str     the tables of config/README.md
"""

from collections.abc import Iterator, Mapping
from typing import Any

from study.schema import SCHEMA

Node = Mapping[str, Any]

BOUNDS = {"minimum": "of at least", "exclusiveMinimum": "above", "maximum": "of at most", "exclusiveMaximum": "below"}


def allowed(node: Node) -> str:
    """What a key or a column may be, in words: "one of SGD, Adam", "a whole number of at least 1"."""
    if "allowed" in node:
        return str(node["allowed"])
    if "enum" in node:
        return "one of " + ", ".join(map(str, node["enum"]))
    kind = node.get("type", "string")  # the rule for a mapping's keys has no type: they are text
    return " or ".join(_kind_in_words(one, node) for one in ([kind] if isinstance(kind, str) else kind))


def _kind_in_words(kind: str, node: Node) -> str:
    if kind in ("integer", "number"):
        return ("a whole number" if kind == "integer" else "a number") + _bounds_in_words(node)
    if kind == "string":
        least = f" of at least {node['minLength']} character" if "minLength" in node else ""
        return f"text matching {node['pattern']}" if "pattern" in node else f"text{least}"
    if kind == "array":
        few = f" of at least {node['minItems']}" if "minItems" in node else ""
        return f"a list{few}" + " without repetition" * node.get("uniqueItems", False)
    mapping = "a section with keys of its own" if node.get("properties") else "a mapping"
    return {"boolean": "true or false", "null": "null", "object": mapping}[kind]


def _bounds_in_words(node: Node) -> str:
    if "minimum" in node and "maximum" in node:
        return f" from {node['minimum']} to {node['maximum']}"
    parts = [f"{text} {node[word]}" for word, text in BOUNDS.items() if word in node]
    return f" {' and '.join(parts)}" if parts else ""


def reference_of_keys() -> str:
    """All keys of the configuration as a Markdown table, in the schema's order."""
    return _table("key", _rows(SCHEMA, ""))


def reference_of_columns() -> str:
    """All columns of a table of recipes as a Markdown table, in the schema's order."""
    return _table("column", _rows(SCHEMA["$defs"]["recipe"], ""))


def _table(head: str, rows: Iterator[tuple[str, str, str]]) -> str:
    lines = [f"| {head} | allowed | meaning |", "| --- | --- | --- |"]
    return "\n".join([*lines, *(f"| `{name}` | {kind} | {meaning} |" for name, kind, meaning in rows)])


def _rows(node: Node, prefix: str) -> Iterator[tuple[str, str, str]]:
    for name, child in node["properties"].items():
        yield f"{prefix}{name}", _kind(child), child.get("description", "")
        if child.get("properties"):
            yield from _rows(child, f"{prefix}{name}.")


def _kind(node: Node) -> str:
    optional = "" if "default" not in node else ", optional" + _default(node["default"])
    if "allowed" in node:
        return str(node["allowed"]) + optional
    if "enum" in node:
        return ", ".join(f"`{value}`" for value in node["enum"]) + optional
    kinds = node["type"] if isinstance(node["type"], list) else [node["type"]]
    names = {"object": "section", "array": "list", "null": "`null`", "string": "text", "boolean": "true or false"}
    if node.get("additionalProperties"):
        names["object"] = "mapping"
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    bounds = [f"{sign} {node[word]}" for word, sign in signs.items() if word in node]
    words = " or ".join(names.get(kind, str(kind)) for kind in kinds)
    return words + (" " + ", ".join(bounds) if bounds else "") + optional


def _default(value: Any) -> str:
    """What an empty cell stands for, where that is a value."""
    if value in (None, "", [], {}):
        return ""
    if isinstance(value, bool):
        return f" ({str(value).lower()})"
    return (
        f" (`{value}`)"
        if isinstance(value, str)
        else f" ({', '.join(f'{number:g}' for number in (value if isinstance(value, list) else [value]))})"
    )
