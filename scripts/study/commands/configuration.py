"""The configuration of a study, merged as Snakemake merges it."""

from pathlib import Path
from typing import Any

from study.files import read_yaml

ROOT = Path(__file__).parents[3]  # of the pipeline, wherever it is called from


def read_configuration(*layers: str | Path) -> dict[str, Any]:
    """Configuration files laid one over the other, config/config.yaml of the working directory first.

    Raises:
        StudyError: a file does not exist or is no YAML.
    """
    from snakemake.utils import update_config

    config: dict[str, Any] = {}
    for layer in ("config/config.yaml", *layers):
        update_config(config, read_yaml(layer) or {})
    return config
