"""Check a finished study against itself: hashes, columns, every table cell, and predictions from the saved weights."""

import argparse
import sys
from pathlib import Path

import yaml
from snakemake.utils import update_config

from study.commands.verify import verify
from study.errors import StudyError

SCRIPTS = Path(__file__).parent

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--configfile", type=Path, help="the study's configuration (default: config/config.yaml)")
    given = parser.parse_args()
    config = yaml.safe_load(Path("config/config.yaml").read_text(encoding="utf-8"))
    if given.configfile:
        update_config(config, yaml.safe_load(given.configfile.read_text(encoding="utf-8")))
    results = Path("results", config["study"])
    try:
        problems = verify(config, results, SCRIPTS, print)
    except StudyError as error:
        sys.exit(f"Error: {error}")
    for problem in problems:
        print(f"wrong: {problem}")
    if problems:
        sys.exit(f"{results}: {len(problems)} disagreements")
    print(f"{results}: everything holds")
