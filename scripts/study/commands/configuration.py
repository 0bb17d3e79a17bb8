"""A study by its name, and its configuration merged as Snakemake merges it."""

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from study.errors import StudyError
from study.paths import runs_in
from study.planned import PlannedStudy, recipe_tables
from study.recipe import values_of
from study.recipe_table import read_recipes
from study.settings import captions, read_layer

if TYPE_CHECKING:
    from study.report.findings_page import FinishedStudy

ROOT = Path(__file__).parents[3]  # of the pipeline, wherever it is called from


def read_configuration(*layers: str | Path | Mapping[str, Any]) -> dict[str, Any]:
    """Configurations laid one over the other, the default config/config.yaml first, as the Snakefile has it.

    Args:
        layers: files, or what would be in one.

    Raises:
        StudyError: a file does not exist, is no YAML or holds no mapping.
    """
    from snakemake.utils import update_config

    config: dict[str, Any] = {}
    own = Path("config/config.yaml")  # of another working directory
    for layer in (ROOT / own, *([own] if own.exists() else []), *layers):
        update_config(config, layer if isinstance(layer, Mapping) else read_layer(layer))
    return config


def readable_layers(files: Iterable[Path]) -> dict[Path, dict[str, Any]]:
    """What configuration files hold, sorted; of one that holds none it is said that it is left out."""
    layers = {}
    for path in sorted(files):
        try:
            layers[path] = read_layer(path)
        except StudyError as error:
            print(f"note: {error}; it is left out", file=sys.stderr)
    return layers


def planned_study(name: str) -> PlannedStudy:
    """A study as Snakemake last ran it, or, if it never did, as the configuration of that name says.

    Configurations are those of the working directory, then those of the pipeline, without layers. A file among them
    that is none, which another study has nothing to do with, is named and left out.

    Raises:
        StudyError: nothing is known of the study.
    """
    results = Path("results", name)
    if (results / "study.json").exists():
        return PlannedStudy.read(results, ROOT)
    known, folders = [], list(dict.fromkeys(folder.resolve() for folder in (Path("config"), ROOT / "config")))
    for layer in [layer for folder in folders for layer in readable_layers(folder.glob("*.yaml")).values()]:
        if layer.get("layer"):
            continue
        config = read_configuration(layer)
        if config["study"] == name:
            return configured_study(config)
        known.append(str(config["study"]))
    here = " or ".join(map(str, folders))
    if runs_in(results, "run.json"):
        raise StudyError(
            f"{results}/study.json: missing, and no configuration in {here} has the name '{name}'; run "
            "Snakemake for this study, which writes it, or copy it along with the runs"
        )
    ran = [path.parent.name for path in sorted(Path("results").glob("*/study.json"))]
    raise StudyError(
        f"study '{name}': no configuration in {here} has this name, and {results} holds no study; "
        f"allowed: {', '.join(dict.fromkeys([*ran, *known]))}"
    )


def configured_study(config: Mapping[str, Any]) -> PlannedStudy:
    """The study that a configuration plans, whatever Snakemake last ran.

    Raises:
        StudyError: a table of recipes that cannot be read or says what is not allowed.
    """
    recipes = read_recipes(recipe_tables(config, ROOT), study=values_of(config))
    return PlannedStudy(Path("results", config["study"]), config, recipes)


def captions_of(config: Mapping[str, Any]) -> dict[str, str]:
    """What the cases of a study ask, by the tables that its recipes are read from."""
    return captions({**config, "experiments": recipe_tables(config, ROOT)})


def finished_study(name: str) -> "FinishedStudy | None":
    """A study as Snakemake last ran it, as far as it has come; None if no recipe of it is finished.

    Raises:
        StudyError: a file that all tables need is missing.
    """
    from study.report.findings_page import NothingFinished, load  # loads what tables and pages need

    if not runs_in(Path("results", name), "run.json"):
        return None
    planned = planned_study(name)
    try:
        return load(planned.results, planned.config, planned.recipes, captions_of(planned.config))
    except NothingFinished:
        return None
