"""Write docs/RECORD.md and its figures from finished runs on FER2013; see `make record`."""

import argparse
import shlex
import sys
from pathlib import Path

from study.commands.configuration import ROOT, finished_study
from study.errors import StudyError
from study.report.record_page import RecordStudies, budget, entries, read_published, record, shown

STUDIES = RecordStudies("record", "record_search", "record_ablation")
FIGURES = ("record_published.svg", "record_budget.svg")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument(
        "--published", type=Path, default=ROOT / "config/fer2013_published.csv", help="results of others, a row each"
    )
    parser.add_argument("--out", type=Path, default=Path("docs/RECORD.md"), help="figures are written beside it")
    parser.add_argument(
        "--command", default=shlex.join(["python", *sys.argv]), help="named on the page as what made it"
    )


def run(arguments: argparse.Namespace) -> None:
    """Do what the command is for.

    Raises:
        StudyError: none of the studies has a finished run.
    """
    from study.report.figures.record import draw_budget, draw_published

    studies = RecordStudies(*map(finished_study, STUDIES))
    if not any(studies):
        raise StudyError("no finished run to report in " + ", ".join(f"results/{name}" for name in STUDIES))
    published = read_published(arguments.published)
    out: Path = arguments.out
    out.parent.mkdir(parents=True, exist_ok=True)
    reached = budget(studies)
    draw_published(entries(studies.record, shown(reached), published), out.with_name(FIGURES[0]))
    draw_budget(reached, out.with_name(FIGURES[1]))
    out.write_text(record(studies, reached, published, FIGURES, arguments.command), encoding="utf-8")
    print(f"{out} written from {sum(len(study.runs) for study in studies if study)} runs")
