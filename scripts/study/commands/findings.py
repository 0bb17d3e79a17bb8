"""Write docs/FINDINGS.md from finished runs on the real data; see `make findings`."""

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from study.commands.configuration import ROOT, finished_study, read_configuration
from study.planned import PlannedStudy, leftover_lines, recipe_tables
from study.recipe import listed, values_of
from study.recipe_table import read_recipes
from study.report.findings import FinishedStudy, NothingFinished, findings, load
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
    sound = _finished("fer2013", arguments.suffix, arguments.layer, TABLES)
    try:
        original = _finished("original", arguments.suffix, arguments.layer, TABLES[:1])
    except NothingFinished:
        original = None
    again = finished_study(f"fer2013{arguments.suffix}_seeds")
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(findings(sound, original, again, command=arguments.command), encoding="utf-8")
    counts = [str(len(study.runs)) for study in (sound, original, again) if study]
    print(f"{arguments.out} written from {listed(counts)} runs")


def _finished(name: str, suffix: str, layers: Sequence[Path], tables: Sequence[str]) -> FinishedStudy:
    """The study of a file of config/, with these tables of recipes, as far as it has come."""
    paths = recipe_tables({"experiments": list(tables)}, ROOT)
    config = read_configuration(ROOT / f"config/{name}.yaml", *layers) | {"experiments": paths}
    results, recipes = Path(f"results/{name}{suffix}"), read_recipes(paths, study=values_of(config))
    for line in leftover_lines(PlannedStudy(results, config, recipes).leftovers()):
        print(f"note: {line}")
    return load(results, config, recipes, captions(config))
