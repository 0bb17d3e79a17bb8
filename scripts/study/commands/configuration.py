"""The configuration of a study, merged as Snakemake merges it."""

from pathlib import Path
from typing import Any

import yaml

from study.errors import StudyError

ROOT = Path(__file__).parents[3]  # of the pipeline, wherever it is called from


def read_configuration(*layers: str | Path) -> dict[str, Any]:
    """Configuration files laid one over the other, config/config.yaml of the working directory first.

    Raises:
        StudyError: a file does not exist or is no YAML.
    """
    from snakemake.utils import update_config

    config: dict[str, Any] = {}
    for layer in ("config/config.yaml", *layers):
        try:
            update_config(config, yaml.safe_load(Path(layer).read_text(encoding="utf-8")) or {})
        except FileNotFoundError:
            raise StudyError(f"{layer}: the configuration does not exist in {Path.cwd()}") from None
        except yaml.YAMLError as error:
            raise StudyError(f"{layer}: not YAML ({' '.join(str(error).split())})") from None
    return config
