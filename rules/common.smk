# Needs:  the merged configuration and the table of recipes it names.
# Makes:  RECIPES (experiment → validated recipe), RESULTS, and the plain functions that the other files call.
import functools
import os
import re
import sys
from pathlib import Path

from snakemake.common.configfile import load_configfile
from snakemake.utils import update_config

# The pipeline's own folder, wherever it is run, also as a module of another Snakefile.
WORKFLOW = Path(workflow.current_basedir.get_path_or_uri(secret_free=True)).parent
if not (WORKFLOW / "scripts/study").is_dir():
    raise WorkflowError(
        f"{WORKFLOW}: read from an address, without the library that its rules need; name workflow/Snakefile of the "
        'same address (path="workflow/Snakefile"), or a Snakefile of a clone (docs/MODULE.md)'
    )
if str(WORKFLOW / "scripts") not in sys.path:
    sys.path.insert(0, str(WORKFLOW / "scripts"))

import study

if not Path(study.__file__).parents[1].samefile(WORKFLOW / "scripts"):
    raise WorkflowError(
        f"{WORKFLOW}: another copy of the pipeline is in use already, {Path(study.__file__).parents[2]}; "
        "two of them, say of two versions, need a workflow each"
    )
from study.compare.all_tables import TABLES
from study.data.data_settings import DIGITS, DataSettings, source_fingerprint
from study.elsewhere import ABSENT, from_file, predictions_file
from study.errors import StudyError
from study.files import file_sha256
from study.machine import has_gpu, memory_mb, threads_of_each
from study.names import SPLITS
from study.paths import RunPaths, class_weights_file
from study.planned import PlannedStudy, recipe_tables, without_idle_limit
from study.planning import accompany, check_command_line, check_layers, check_name, check_python
from study.provenance import code_digest, digest
from study.recipe import values_of
from study.recipe_table import read_recipes
from study.report.all_figures import figures_of, keys_of
from study.schema import SCHEMA
from study.settings import (
    captions,
    check_predictions_files,
    check_recipes,
    common,
    deciding,
    read_numbers,
    reported_protocol,
    validate_config,
)
from study.starts import start_of

# Whether another Snakefile uses this one; its configuration, where it gives one, is laid over the pipeline's own.
AS_MODULE = workflow.modifier.namespace is not None
DEFAULT = load_configfile(DEFAULT_STUDY)
if workflow.modifier.skip_configfile:
    merged = load_configfile(DEFAULT_STUDY)
    update_config(merged, config)
    update_config(config, merged)
elif Path("config/config.yaml").exists():
    update_config(DEFAULT, load_configfile("config/config.yaml"))
PLANS_JOBS = workflow.is_main_process and "--report" not in sys.argv

try:
    read_numbers(config)
    validate_config(config)
    check_python(sys.executable)
    if PLANS_JOBS and not AS_MODULE:
        check_command_line(sys.argv[1:])
        check_layers(workflow.overwrite_configfiles)
        check_name(config, DEFAULT, workflow.overwrite_configfiles)
    TABLE_FILES = recipe_tables(config, WORKFLOW)
    RECIPES = read_recipes(TABLE_FILES, study=values_of(config))
    check_recipes(config, RECIPES.values(), TABLE_FILES)
    if PLANS_JOBS:
        check_predictions_files(RECIPES.values(), config["seeds"], TABLE_FILES)
    laid_over = workflow.config_settings.overwrite_config.get("cases") or {}
    CAPTIONS = captions({**config, "experiments": TABLE_FILES}, laid_over)
except StudyError as error:
    raise WorkflowError(str(error)) from None


def has_a_rule(file):
    """Whether the Snakefile that uses this one as a module, or another module of it, has a rule that makes the file."""
    others = (rule for rule in workflow.rules if rule.module_globals["__name__"] != __name__)
    return any(rule.is_producer(file) for rule in others)


def placed(file):
    """A file that the configuration names: a module's prefix moves what the study makes, and not what it is given."""
    return local(file) if AS_MODULE else file


RESULTS = f"results/{config['study']}"
# The same as it is on the disk, where a module's statement may have changed it (prefix, replace_prefix).
PLACED_RESULTS = Path(workflow.modifier.path_modifier.replace_prefix(RESULTS))
SOURCE = config["data"]["source"]
if has_a_rule(f"{PLACED_RESULTS}/report.html"):
    raise WorkflowError(
        f"{PLACED_RESULTS}: two modules of this workflow would make it; give each a `study:` of its own in its `config:`"
    )


def scheme_and_beta(loss):
    """Of class weights; β as config.yaml has it where the scheme has none, so that it makes nothing again."""
    used = loss if loss["class_weights"] == "effective_number" else DEFAULT["loss"]
    return [loss["class_weights"], used["effective_number_beta"]]


# The experiments with a training of their own, and by what makes their predictions.
TRAINED = [name for name, recipe in RECIPES.items() if recipe.trains]
ADJUSTED = [name for name, recipe in RECIPES.items() if recipe.adjusted]
IMPORTED = [name for name, recipe in RECIPES.items() if from_file(recipe)]
EVALUATED = [name for name in RECIPES if name not in (*ADJUSTED, *IMPORTED)]
CASES = sorted({recipe.case for recipe in RECIPES.values()})

# By the end of their file's name: scheme and β. The study's own, and those of recipes with a weighted loss.
CLASS_WEIGHT_SCHEMES = {"": scheme_and_beta(config["loss"])} | {
    f"_{recipe.class_weights}": scheme_and_beta(recipe.section("loss"))
    for recipe in RECIPES.values()
    if recipe.class_weights
}

# Threads of one training sleep while they wait for each other. By libgomp's default they spin first, which beside another
# process costs most of the speed, and where cores are hyperthreads much of it at any time (benchmarks/RESULTS.md).
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

# Threads of a training that a GPU or a cluster does, where the configuration names none; clipped by --cores.
THREADS_BESIDE_A_GPU = 8

RUN = RunPaths(Path(RESULTS))  # with the wildcards {experiment} and {seed}
TABLES_FOLDER = f"{RESULTS}/tables"
FIGURES_FOLDER = f"{RESULTS}/figures"
# The same as inputs name it, from the working directory, so that a folder that was moved makes nothing again.
FROM_HERE = Path(os.path.relpath(WORKFLOW))
TEMPLATES = FROM_HERE / "scripts/study/report/templates"


def one_of(experiments):
    """The pattern of a wildcard that is one of these names."""
    return "|".join(map(re.escape, experiments)) or "(?!)"


wildcard_constraints:
    experiment=one_of(RECIPES),
    seed=r"\d+",


def script_digest(name):
    """Digest of what a script and the library behind it do; a param, so that changed code runs its rule again.

    Words for readers are part of every result but those of the network and of its predictions.
    """
    return code_digest(
        WORKFLOW / "scripts" / f"{name}.py", words=name not in ("train", "evaluate", "adjust", "import_predictions")
    )


def every_run(pattern):
    """The pattern's file for every experiment and seed, in the order of the table."""
    return expand(pattern, experiment=RECIPES, seed=config["seeds"])


def every_training(pattern):
    """The pattern's file for every experiment that is trained and every seed, in the order of the table."""
    return expand(pattern, experiment=TRAINED, seed=config["seeds"])


def weights_of(wildcards):
    """The weights that an experiment is evaluated with: of its own training or of the one that it names."""
    return _trained(wildcards).weights


def run_of(wildcards):
    """The run.json beside them."""
    return _trained(wildcards).run


def _trained(wildcards):
    return RunPaths(Path(RESULTS), RECIPES[wildcards.experiment].training, wildcards.seed)


def predictions_of(wildcards):
    """The predictions that an experiment adjusts."""
    return _trained(wildcards).predictions


def predictions_file_of(wildcards):
    """The file that an experiment's predictions are read from."""
    return placed(str(predictions_file(RECIPES[wildcards.experiment], wildcards.seed)))


def predictions_identity(wildcards):
    """Its name and what it holds. A param, because Snakemake looks only at the time stamp of a large file."""
    path = predictions_file_of(wildcards)
    return [path, file_sha256(path) if Path(path).exists() else ABSENT]


def source_files(wildcards):
    """The source as an input; the embedded digits need none."""
    return [] if SOURCE == DIGITS else [placed(SOURCE)]


def source_identity(wildcards):
    """What the source holds. A param, because Snakemake looks only at the time stamp of a large file or a folder, and a
    table's images are no input at all."""
    return _source_identity()


@functools.cache
def _source_identity():
    """Found once a plan: of a table of a million images it takes half a minute."""
    if SOURCE_HAS_A_RULE:  # not there before the first call, and then Snakemake knows when it was made
        return "made by a rule"
    if SOURCE != DIGITS and not Path(SOURCE).exists():
        return config["data"]["sha256"] or "absent"
    try:
        return source_fingerprint(SOURCE, DataSettings(**data_settings(None)))
    except (StudyError, OSError):  # that cannot be listed or read: the rule says so, as one line
        return "unreadable"


def data_settings(wildcards):
    """What decides which images there are and what becomes of them, as one value."""
    return deciding(config, "data")


def class_weights_of(wildcards):
    """Class weights are an input of the recipes that use them; for the others they may change."""
    scheme = RECIPES[wildcards.experiment].class_weights
    return str(class_weights_file(Path(RESULTS), scheme)) if scheme else []


def weights_file(recipe):
    """The state dict that the trainings of a recipe start from; None from scratch, or from another experiment."""
    if (weights := recipe["model.weights"]) == "imagenet":
        return f"resources/weights/{recipe['model.name']}.pth"
    return None if weights == "none" else weights


def missing_weights():
    """The models by the files of weights that the recipes start from and that are not there (yet)."""
    files = {weights_file(recipe): recipe["model.name"] for recipe in RECIPES.values()}
    absent = {file: model for file, model in files.items() if file and not Path(file).exists()}
    return {file: model for file, model in absent.items() if not has_a_rule(file)}


def missing_model(wildcards):
    """The model that a missing file of weights is of."""
    return MISSING_WEIGHTS[wildcards.weights]


def class_weight_scheme(wildcards):
    """Scheme and β of a file of class weights."""
    return CLASS_WEIGHT_SCHEMES[wildcards.scheme]


def initial_weights_file(wildcards):
    """The state dict that training starts from, if it does not start from scratch."""
    if start := started_from(wildcards):
        return [str(start.weights)]
    file = weights_file(RECIPES[wildcards.experiment])
    return [placed(file)] if file else []


def started_from(wildcards):
    """The run of another experiment, of the same seed, that training starts from; None for any other start."""
    experiment = start_of(RECIPES[wildcards.experiment])
    return RunPaths(Path(RESULTS), experiment, wildcards.seed) if experiment else None


def initial_run_file(wildcards):
    """What identifies the weights of that run."""
    start = started_from(wildcards)
    return [str(start.run)] if start else []


def recipe_of(wildcards):
    """What decides of the recipe, as one value: Snakemake records the values of params, not their names."""
    return RECIPES[wildcards.experiment].deciding


def evaluation_of(wildcards):
    """What decides, beside the training, of the predictions of an experiment."""
    return RECIPES[wildcards.experiment].evaluation


def training_settings(wildcards):
    """All else that decides a training, as one value for the same reason."""
    return settings_of(RECIPES[wildcards.experiment])


def settings_of(recipe):
    """All that decides a training of a recipe beside the recipe itself."""
    return {
        "training": without_idle_limit(common(config, "training"), recipe),
        "initial_weights": _weights_identity(recipe["model.weights"]),
    }


@functools.cache
def _weights_identity(weights):
    """Found once a plan, as every job of every recipe asks for it."""
    known = weights in ("none", "imagenet") or not Path(weights).exists() or has_a_rule(weights)
    return weights if known else source_fingerprint(weights)


def on_this_processor():
    """Whether this Snakemake shares out the processor of its own machine; one that runs a cluster's job does not."""
    device = config["training"]["device"]
    shares = workflow.is_main_process and workflow.local_exec
    return shares and (device == "cpu" or (device == "auto" and not has_gpu()))


def gpus_of_a_job(wildcards):
    """GPUs that a training or evaluation counts for in `--resources gpu=…`: on the processor the cores alone count."""
    return 0 if on_this_processor() else 1


def training_threads(wildcards):
    """Threads of a training: as configured, or on the processor such that trainings side by side use all cores."""
    given = config["resources"]["train_threads"]
    if given is not None or not on_this_processor():
        return given or THREADS_BESIDE_A_GPU
    trainings = len(TRAINED) * len(config["seeds"])
    return threads_of_each(workflow.cores, trainings, memory_mb(), config["resources"]["train_mem_mb"])


def evaluation_threads(wildcards):
    """Threads of an evaluation: one, or on the processor as many as of a training, whose place it takes."""
    return training_threads(wildcards) if on_this_processor() else 1


def main_config(wildcards):
    """The configuration of the Snakefile that uses this one as a module, for Snakemake to read it once more."""
    return workflow.modifier_stack[0].globals["config"] if AS_MODULE else None


def planned_study():
    """The study as it is planned now, for what goes with planning."""
    # Commands are called in the folder that holds results/, where a prefix would leave the tables unfound.
    moved = {"experiments": list(map(os.path.abspath, TABLE_FILES))} if PLACED_RESULTS != Path(RESULTS) else {}
    return PlannedStudy(
        PLACED_RESULTS,
        config | moved,
        RECIPES,
        {name: settings_of(recipe) for name, recipe in RECIPES.items() if name not in IMPORTED},
        {"data": data_settings(None), "split": config["split"], "source": source_identity(None)},
    )


def shown_protocol(wildcards):
    """What the reported accuracies were made with, beside what is here; None where the study shows none of them."""
    return reported_protocol(config) if config["tables"]["reported"] else None


def shown_note(wildcards):
    """The sentence under the tables; a function, because Snakemake takes braces in a plain param for wildcards."""
    return config["tables"]["note"]


def questioned_sections(wildcards):
    """The sections of the configuration whose choices the report may question."""
    return {"data": deciding(config, "data"), "split": config["split"]}


def tables_of(rule):
    """Outputs for the tables of one rule, by name, each with its place in the report."""

    def shown(table, case=""):
        labels = {"table": table.label.format(case=case), "form": "table"}
        file = f"{TABLES_FOLDER}/{table.file(case)}"
        return report(file, category="1 Tables", caption=f"../report/{table.caption}", labels=labels)

    mine = [table for table in TABLES if table.rule == rule]
    return {table.name: [shown(table, case) for case in CASES] if table.per_case else shown(table) for table in mine}


def all_figures():
    """Outputs for every figure, by name, each with its place in the report."""

    def shown(figure, key=""):
        labels = {what: text.format(key=key) for what, text in figure.labels.items()}
        file = f"{FIGURES_FOLDER}/{figure.path(key)}"
        return report(file, category=figure.category, caption=f"../report/{figure.caption}", labels=labels)

    figures = figures_of(RECIPES, config["tables"]["figures_of_each_up_to"])
    return {f.name: [shown(f, key) for key in keys_of(f, RECIPES)] if f.per else shown(f) for f in figures}


accompany(workflow, PLACED_RESULTS, planned_study)
