# Needs:  the merged configuration and the table of recipes it names.
# Makes:  RECIPES (experiment → validated recipe), RESULTS, and the plain functions that the other files call.
import re
import sys
from pathlib import Path

import yaml

WORKFLOW = Path(workflow.basedir)
if str(WORKFLOW / "scripts") not in sys.path:
    sys.path.insert(0, str(WORKFLOW / "scripts"))

from study.errors import StudyError
from study.provenance import code_digest
from study.recipe import read_recipes
from study.settings import validate_config
from study.source import source_fingerprint

try:
    validate_config(
        config,
        yaml.safe_load((WORKFLOW / "config/schemas/config.schema.yaml").read_text()),
    )
    RECIPES = read_recipes(config["experiments"])
except StudyError as error:
    raise WorkflowError(str(error)) from None

RESULTS = f"results/{config['study']}"
SOURCE = config["data"]["source"]
CASES = sorted({recipe.case for recipe in RECIPES.values()})
RUN = RESULTS + "/train/{experiment}/seed_{seed}"


wildcard_constraints:
    experiment="|".join(map(re.escape, RECIPES)),
    seed=r"\d+",


def script_digest(name):
    """Digest of what a script and the library behind it do; a param, so that changed code runs its rule again."""
    return code_digest(WORKFLOW / "scripts" / f"{name}.py")


def every_run(pattern):
    """The pattern's file for every experiment and seed, in the order of the table."""
    return expand(pattern, experiment=RECIPES, seed=config["seeds"])
