"""Write docs/FINDINGS.md from finished runs on the real data; see `make findings`."""

import argparse
import shlex
import sys
from pathlib import Path

from study.commands.configuration import ROOT, read_configuration
from study.planned import PlannedStudy, leftover_lines, recipe_tables
from study.recipe import values_of
from study.recipe_table import read_recipes
from study.report.findings import findings, load
from study.settings import captions

TABLES = [f"config/{name}.tsv" for name in ("experiments", "ablations", "lr_batch")]
# Of a row with predictions from a file, which belongs to the study where the file is there.
FER_PACKAGE, ITS_PREDICTIONS = "config/fer_package.tsv", Path("resources/fer_package.parquet")


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
    every = [*TABLES, FER_PACKAGE] if ITS_PREDICTIONS.exists() else TABLES
    for name, tables in (("fer2013", every), ("original", TABLES[:1])):
        tables = recipe_tables({"experiments": tables}, ROOT)
        config = read_configuration(ROOT / f"config/{name}.yaml", *arguments.layer) | {"experiments": tables}
        results, recipes = Path(f"results/{name}{arguments.suffix}"), read_recipes(tables, study=values_of(config))
        for line in leftover_lines(PlannedStudy(results, config, recipes).leftovers()):
            print(f"note: {line}")
        studies.append(load(results, config, recipes, captions(config)))
    sound, original = studies
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(findings(sound, original, command=arguments.command), encoding="utf-8")
    print(f"{arguments.out} written from {len(sound.runs)} and {len(original.runs)} runs")
