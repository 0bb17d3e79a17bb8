"""Time the default study beside that of an earlier commit, on the same machine and in the same environment.

    python -m benchmarks.earlier d603cc5 --name default-study          # before trainings ran side by side
    python -m benchmarks.record                                        # RESULTS.md from benchmarks/results/*.json

Both run `snakemake --cores all --resources gpu=1`, one after the other, in folders of their own; a quiet machine.
"""

import argparse
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import ROOT
from benchmarks.pipeline import copy_pipeline, rule_seconds, snakemake
from benchmarks.record import origin, write_record
from study.errors import StudyError
from study.files import read_json
from study.provenance import processor

TARGET = 1.4  # times as fast as before trainings ran side by side


def check_out(commit: str, target: Path) -> None:
    """The pipeline of an earlier commit.

    Raises:
        StudyError: this checkout has no such commit.
    """
    for command in (["clone", "--quiet", str(ROOT), str(target)], ["-C", str(target), "checkout", "--quiet", commit]):
        done = subprocess.run(["git", *command], text=True, capture_output=True, check=False)
        if done.returncode:
            raise StudyError(f"git {shlex.join(command)} failed: {done.stderr.strip()}")


def taken(folder: Path, seconds: float) -> dict[str, Any]:
    """Seconds of a study that ran there, of all its jobs by rule, and the epochs that it trained."""
    results = folder / "results/digits"
    epochs = sum(read_json(path)["epochs"] for path in results.glob("train/*/*/run.json"))
    return {"seconds": seconds, "epochs": epochs, "rules": rule_seconds(results / "benchmarks")}


def record_of(text: Sequence[str], commit: str, now: dict[str, Any], then: dict[str, Any]) -> dict[str, Any]:
    """What `benchmarks.record` shows."""
    return {
        "kind": "earlier",
        "device": processor(),
        "command": shlex.join(["python", "-m", "benchmarks.earlier", *text]),
        **origin(),
        "earlier_commit": commit,
        "target": TARGET,
        "now": now,
        "then": then,
    }


def main(text: Sequence[str]) -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commit", help="the earlier one")
    parser.add_argument("--name", help="of the record in benchmarks/results/; nothing is written without it")
    given = parser.parse_args(text)
    with tempfile.TemporaryDirectory() as temporary:
        now, then = (Path(temporary) / name for name in ("now", "then"))
        now.mkdir()
        copy_pipeline(now)
        check_out(given.commit, then)
        record = record_of(text, given.commit, *(taken(one, snakemake(one, "--cores", "all")) for one in (now, then)))
    write_record(given.name, record)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except StudyError as error:
        sys.exit(f"Error: {error}")
