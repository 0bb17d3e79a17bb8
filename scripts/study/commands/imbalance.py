"""Write docs/IMBALANCE.md from the finished runs of config/imbalance.yaml."""

import argparse
import shlex
import sys
from pathlib import Path

from study.commands.configuration import ROOT, captions_of, planned_study
from study.report.findings_page import load
from study.report.imbalance import imbalance, read_literature


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("--study", default="imbalance", help="its name; the first recipe of its table is the plain one")
    parser.add_argument(
        "--literature", type=Path, default=ROOT / "config/imbalance_literature.csv", help="published errors in percent"
    )
    parser.add_argument("--out", type=Path, default=Path("docs/IMBALANCE.md"))
    parser.add_argument(
        "--command", default=shlex.join(["python", *sys.argv]), help="named on the page as what made it"
    )


def run(arguments: argparse.Namespace) -> None:
    """Do what the command is for."""
    planned = planned_study(arguments.study)
    study = load(planned.results, planned.config, planned.recipes, captions_of(planned.config))
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    text = imbalance(study, read_literature(arguments.literature), arguments.command)
    arguments.out.write_text(text, encoding="utf-8")
    print(f"{arguments.out} written from {len(study.runs)} runs")
