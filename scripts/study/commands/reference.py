"""Write the tables of keys and columns into config/README.md, from the schema."""

import argparse

from study.commands.configuration import ROOT
from study.reference import reference_of_columns, reference_of_keys

MARKS = "<!-- begin: {} from schemas/config.schema.yaml by `make docs` -->", "<!-- end: {} -->"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """It takes none."""


def run(arguments: argparse.Namespace) -> None:
    """Do what the command is for."""
    readme = ROOT / "config/README.md"
    readme.write_text(with_reference(readme.read_text(encoding="utf-8")), encoding="utf-8")


def with_reference(readme: str) -> str:
    """The text with the parts between the marks replaced by what the schema says."""
    for what, table in (("columns", reference_of_columns()), ("keys", reference_of_keys())):
        begin, end = (mark.format(what) for mark in MARKS)
        before, rest = readme.split(begin)
        readme = f"{before}{begin}\n\n{table}\n\n{end}{rest.split(end)[1]}"
    return readme
