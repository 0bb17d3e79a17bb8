"""Compare two results of one study, made before and after a change that should change nothing.

    python tests/same_results.py BEFORE AFTER        # two folders results/<study>

Every file is compared byte by byte, but for what was measured: `seconds` of history.csv; speed, time, memory,
provenance and hashes of run.json; the columns of comparison.csv and cost.csv that come from them. Pages and
figures that show such numbers are named and not compared. Logs, benchmarks and TensorBoard's events are left out.
"""

import json
import sys
from pathlib import Path

import pandas as pd

MEASURED = ("seconds", "images_per_second", "peak_memory_bytes", "provenance", "sha256")
OF_COST = ("seconds_total", "on_frontier")  # of cost.csv, whose rows are in the order of their seconds
SHOW_MEASURED = ("report.html", "tables/comparison.html", "tables/summary.rst", "figures/map_*.svg", "figures/cost.svg")
LEFT_OUT = {"logs", "benchmarks", "tensorboard", "checkpoints"}


def content(path: Path) -> object:
    """What of a file has to be the same."""
    if path.name in ("history.csv", "comparison.csv"):
        return (
            pd.read_csv(path, dtype=str, keep_default_na=False).drop(columns=list(MEASURED), errors="ignore").to_csv()
        )
    if path.name == "cost.csv":
        table = pd.read_csv(path, dtype=str, keep_default_na=False).sort_values("experiment", ignore_index=True)
        return table.drop(columns=[*MEASURED, *OF_COST], errors="ignore").to_csv()
    if path.name == "run.json":
        return {k: v for k, v in json.loads(path.read_text(encoding="utf-8")).items() if k not in MEASURED}
    return path.read_bytes()


def files(results: Path) -> set[Path]:
    """Relative paths of what is compared."""
    found = {path.relative_to(results) for path in results.rglob("*") if path.is_file()}
    return {path for path in found if not LEFT_OUT & set(path.parts)}


def main(before: Path, after: Path) -> int:
    """Print what differs; the number of differences."""
    one, other = files(before), files(after)
    problems = [f"only in {before if path in one else after}: {path}" for path in sorted(one ^ other)]
    both = sorted(one & other)
    not_compared = [path for path in both if any(path.match(pattern) for pattern in SHOW_MEASURED)]
    compared = [path for path in both if path not in not_compared]
    problems += [f"differs: {path}" for path in compared if content(before / path) != content(after / path)]
    print("\n".join([*problems, *(f"not compared, shows measured numbers: {path}" for path in not_compared)]))
    print(f"{len(compared)} files compared, {len(problems)} differences")
    return len(problems)


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:3])) > 0)
