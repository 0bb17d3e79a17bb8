"""Export a trained run as one TorchScript file that needs none of this code (`make export RUN=best`)."""

import argparse
import sys
from pathlib import Path

from study.commands.inference import export, find_run
from study.errors import StudyError

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", default="best", help="best, an experiment, or one with its seed: sgd_ver3/seed_0")
    parser.add_argument("--study", default="digits", help="name of the study (default: digits)")
    parser.add_argument("--out", type=Path, help="file to write (default: <experiment>.pt)")
    given = parser.parse_args()
    try:
        run = find_run(Path("results", given.study), given.run)
        out = given.out or Path(f"{run.parent.name}.pt")
        made = export(run, out)
    except StudyError as error:
        sys.exit(f"Error: {error}")
    print(
        f"{out}: {run.parent.name}, {run.name.replace('_', ' ')}, {len(made['classes'])} classes; on {made['images']} "
        f"images within {made['largest_difference']:.1g} of the run's own probabilities"
    )
