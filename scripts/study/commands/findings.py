"""Write docs/FINDINGS.md from finished runs on the real data; see `make findings`."""

import argparse
import shlex
import sys
from pathlib import Path

from study.commands.configuration import read_configuration
from study.recipe import values_of
from study.recipe_table import read_recipes
from study.report.findings import findings, load
from study.settings import captions

TABLES = [f"config/{name}.tsv" for name in ("experiments", "ablations", "lr_batch")]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument(
        "--suffix", default="", help="of the studies' names: results/fer2013<suffix>, results/original<suffix>"
    )
    parser.add_argument("--layer", type=Path, nargs="*", default=[], help="configuration laid over both studies")
    parser.add_argument("--out", type=Path, default=Path("docs/FINDINGS.md"))
    parser.add_argument(
        "--command", default=shlex.join(["python", *sys.argv]), help="named on the page as what made it"
    )


def run(arguments: argparse.Namespace) -> None:
    """Do what the command is for."""
    studies = []
    for name, tables in (("fer2013", TABLES), ("original", TABLES[:1])):
        config = read_configuration(f"config/{name}.yaml", *arguments.layer) | {"experiments": tables}
        results = Path(f"results/{name}{arguments.suffix}")
        studies.append(load(results, config, read_recipes(tables, study=values_of(config)), captions(config)))
    sound, original = studies
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(findings(sound, original, command=arguments.command), encoding="utf-8")
    print(f"{arguments.out} written from {len(sound.runs)} and {len(original.runs)} runs")
