"""Write docs/FINDINGS.md from finished runs on the real data; see `make findings`."""

import argparse
import shlex
import sys
from pathlib import Path
from typing import Any

import yaml
from snakemake.utils import update_config

from study.errors import StudyError
from study.recipe_table import read_recipes
from study.report.findings import findings, load

TABLES = [f"config/{name}.tsv" for name in ("experiments", "ablations", "lr_batch")]


def configured(*layers: Path | str) -> dict[str, Any]:
    """Configuration files laid one over the other, the default first."""
    config: dict[str, Any] = {}
    for layer in ("config/config.yaml", *layers):
        update_config(config, yaml.safe_load(Path(layer).read_text(encoding="utf-8")))
    return config


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--suffix", default="", help="of the studies' names: results/fer2013<suffix>, results/original<suffix>"
    )
    parser.add_argument("--layer", type=Path, nargs="*", default=[], help="configuration laid over both studies")
    parser.add_argument("--out", type=Path, default=Path("docs/FINDINGS.md"))
    parser.add_argument(
        "--command", default=shlex.join(["python", *sys.argv]), help="named on the page as what made it"
    )
    given = parser.parse_args()
    try:
        studies = [
            load(
                Path(f"results/{name}{given.suffix}"),
                configured(f"config/{name}.yaml", *given.layer),
                read_recipes(TABLES if name == "fer2013" else TABLES[:1]),
            )
            for name in ("fer2013", "original")
        ]
    except StudyError as error:
        sys.exit(f"Error: {error}")
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(findings(*studies, command=given.command), encoding="utf-8")
    print(f"{given.out} written from {len(studies[0].runs)} and {len(studies[1].runs)} runs")
