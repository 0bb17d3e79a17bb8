"""Show every run of a study in the terminal, again and again (`make watch`)."""

import argparse
import sys
import time
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from study.commands.watch import found_runs, gpu_lines, planned_runs, read_state, table
from study.errors import StudyError

ROOT = Path(__file__).parents[1]


def view(study: str, planned: list[tuple[str, int]]) -> Group:
    """The table of this moment."""
    results = Path("results", study)
    runs = planned + [run for run in found_runs(results) if run not in planned]
    states = [read_state(results, experiment, seed, time.time()) for experiment, seed in runs]
    title = f"{study}, {time.strftime('%H:%M:%S')}"
    return Group(table(states, title), *(Text(line) for line in gpu_lines()))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--study", default="digits", help="name of the study (default: digits)")
    parser.add_argument("--every", type=float, default=2.0, help="seconds between two looks (default: 2)")
    parser.add_argument("--once", action="store_true", help="look once and end")
    given = parser.parse_args()
    try:
        planned = planned_runs(ROOT / "config", given.study)
        console = Console()
        if given.once or not console.is_terminal:
            console.print(view(given.study, planned))
            sys.exit()
        with Live(view(given.study, planned), console=console, screen=True, auto_refresh=False) as live:
            while True:
                time.sleep(given.every)
                live.update(view(given.study, planned), refresh=True)
    except StudyError as error:
        sys.exit(f"Error: {error}")
    except KeyboardInterrupt:
        pass
