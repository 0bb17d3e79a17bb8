"""Write docs/FINDINGS.md and its figures from finished runs on the real data; see `make findings`."""

import argparse
import shlex
import sys
from pathlib import Path

from study.commands.configuration import finished_study
from study.errors import StudyError
from study.recipe import listed

FIGURES = ("comparison", "effects")  # of `study.report.all_figures`, drawn of the sound study


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument(
        "--suffix", default="", help="of the studies' names: results/fer2013<suffix>, results/original<suffix>"
    )
    parser.add_argument("--out", type=Path, default=Path("docs/FINDINGS.md"), help="figures are written beside it")
    parser.add_argument(
        "--command", default=shlex.join(["python", *sys.argv]), help="named on the page as what made it"
    )


def run(arguments: argparse.Namespace) -> None:
    """Do what the command is for.

    Raises:
        StudyError: the study under the sound protocol has no finished run.
    """
    from study.report.all_figures import FIGURES as ALL
    from study.report.figures.material import Material
    from study.report.findings_page import findings

    suffix, out = arguments.suffix, arguments.out
    sound = finished_study(f"fer2013{suffix}")
    if sound is None:
        raise StudyError(f"no finished run to report in results/fer2013{suffix}; train some first (`make findings`)")
    original, again = finished_study(f"original{suffix}"), finished_study(f"fer2013{suffix}_seeds")
    out.parent.mkdir(parents=True, exist_ok=True)
    material = Material(sound.comparison, effects=sound.effects)
    figures = {name: f"{out.stem.lower()}_{name}.svg" for name in FIGURES}
    for figure in ALL:
        if figure.name in figures:
            figure.draw(material, out.with_name(figures[figure.name]))
    out.write_text(findings(sound, original, again, figures, arguments.command), encoding="utf-8")
    counts = [str(len(study.runs)) for study in (sound, original, again) if study]
    print(f"{out} written from {listed(counts)} runs")
