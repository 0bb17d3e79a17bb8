"""Time what is not training: planning, audit and packing of FER2013, and each rule of the default study.

    python -m benchmarks.pipeline --source resources/fer2013.zip --name pipeline
    python -m benchmarks.record                       # RESULTS.md from benchmarks/results/*.json

Real Snakemake in a copy of the pipeline, so that no study of yours is touched.
"""

import argparse
import csv
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import ROOT
from benchmarks.contenders import available_cores
from benchmarks.record import origin, write_record
from study.errors import StudyError
from study.provenance import processor

PARTS = ("Snakefile", "rules", "scripts", "config", "envs", "profiles", "report")
# Seeds of a plan, and what it may take in seconds on two cores.
PLANS = {1: 3, 100: 15}


def copy_pipeline(target: Path) -> None:
    """What Snakemake needs, without results."""
    for name in PARTS:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, target / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(ROOT / name, target / name)


def snakemake(folder: Path, *arguments: str) -> float:
    """Run Snakemake there; seconds until it ended.

    Raises:
        StudyError: it failed; with the end of what it printed.
    """
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    command = [sys.executable, "-m", "snakemake", "--resources", "gpu=1", *arguments]
    start = time.monotonic()
    done = subprocess.run(command, cwd=folder, env=environment, text=True, capture_output=True, check=False)
    seconds = time.monotonic() - start
    if done.returncode:
        raise StudyError(f"snakemake {shlex.join(arguments)} failed:\n{(done.stdout + done.stderr)[-4000:]}")
    return seconds


def rule_seconds(benchmarks: Path) -> dict[str, dict[str, float]]:
    """Jobs and seconds of each rule, from the files that its `benchmark:` wrote."""
    rules: dict[str, dict[str, float]] = {}
    for path in benchmarks.rglob("*.tsv"):
        rule = path.relative_to(benchmarks).parts[0].removesuffix(".tsv")
        with path.open(newline="", encoding="utf-8") as file:
            seconds = float(next(csv.DictReader(file, delimiter="\t"))["s"])
        row = rules.setdefault(rule, {"jobs": 0, "seconds": 0.0})
        row["jobs"] += 1
        row["seconds"] += seconds
    return rules


def planning(folder: Path, rounds: int, plans: Sequence[int]) -> list[dict[str, Any]]:
    """Seconds of dry runs of the default study, with one seed and with many."""
    rows = []
    for seeds in plans:
        chosen = f"seeds={json.dumps(list(range(seeds)))}"
        taken = [snakemake(folder, "--cores", "1", "-n", "--quiet", "--config", chosen) for _ in range(rounds)]
        print(f"dry run of {seeds} seed(s): {min(taken):.1f} to {max(taken):.1f} s", flush=True)
        rows.append({"runs": 14 * seeds, "seconds": taken, "target_seconds": PLANS[seeds]})
    return rows


def preparation(folder: Path, source: Path) -> list[dict[str, Any]]:
    """Seconds of the jobs that audit and pack FER2013, with one worker and with as many as there are cores."""
    rows = []
    for workers in sorted({1, available_cores()}):
        study = f"workers_{workers}"
        overlay = {"study": study, "data": {"source": str(source.resolve())}}
        (folder / "config/timed.json").write_text(json.dumps(overlay), encoding="utf-8")
        configuration = ("--configfile", "config/fer2013.yaml", "config/timed.json")
        snakemake(folder, "--cores", str(workers), *configuration, "--", f"results/{study}/data/pack.json")
        rules = rule_seconds(folder / f"results/{study}/benchmarks")
        audit = json.loads((folder / f"results/{study}/data/audit.json").read_text(encoding="utf-8"))
        seconds = {rule: rules[rule]["seconds"] for rule in ("manifest", "pack")}
        print(
            f"{workers} worker(s): " + ", ".join(f"{rule} {value:.1f} s" for rule, value in seconds.items()), flush=True
        )
        rows.append({"workers": workers, "images": sum(audit["source"]["classes"].values()), **seconds})
    return rows


def default_study(folder: Path) -> dict[str, Any]:
    """Seconds of the default study, and of its rules."""
    seconds = snakemake(folder, "--cores", "all")
    rules = rule_seconds(folder / "results/digits/benchmarks")
    print(f"default study: {seconds:.0f} s, training {rules['train']['seconds']:.0f} s", flush=True)
    return {"seconds": seconds, "rules": rules}


def main(text: Sequence[str]) -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--source", type=Path, help="FER2013 as a zip, a folder or a CSV; no preparation is timed without"
    )
    parser.add_argument("--name", help="of the record in benchmarks/results/; nothing is written without it")
    parser.add_argument("--rounds", type=int, default=3, help="dry runs of each plan")
    parser.add_argument("--seeds", type=int, nargs="+", choices=list(PLANS), default=list(PLANS), help="of the plans")
    parser.add_argument("--no-study", action="store_true", help="leave out the default study, the longest part")
    given = parser.parse_args(text)
    if given.source and not given.source.exists():
        raise StudyError(f"{given.source}: no such file or folder; name FER2013's, or leave out --source")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        copy_pipeline(folder)
        record = {
            "kind": "pipeline",
            "name": given.name,
            "device": processor(),
            "command": shlex.join(["python", "-m", "benchmarks.pipeline", *text]),
            **origin(),
            "planning": planning(folder, given.rounds, given.seeds),
            "preparation": preparation(folder, given.source) if given.source else [],
            "default_study": None if given.no_study else default_study(folder),
        }
    write_record(given.name, record)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except StudyError as error:
        sys.exit(f"Error: {error}")
