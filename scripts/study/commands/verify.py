"""Re-check a finished study: every file against what it was made from, down to the saved weights.

Entry point:
    verify(study, scripts, report) -> list[str]            what is wrong, in words; empty if all holds
"""

import argparse
import csv
import io
import itertools
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from study.commands.configuration import configured_study, planned_study, read_configuration
from study.commands.keep import restored
from study.compare.all_tables import all_tables
from study.compare.comparison import Comparison
from study.compare.runs import files_of, load_runs
from study.data import manifest, packed
from study.data.class_weights import class_weights, read_class_weights
from study.data.packed import PackedData
from study.data.packing import array_digest
from study.elsewhere import made_elsewhere, predictions_file
from study.errors import StudyError
from study.evaluate import adjustment, metrics, own_predictions, prediction
from study.evaluate.predictions import blocks, predictions_bytes, read_predictions
from study.files import file_sha256, read_json, read_table, table_text
from study.names import HISTORY_COLUMNS
from study.paths import RunPaths
from study.planned import PlannedStudy, leftover_lines, weights_sha256
from study.planning import check_layers
from study.provenance import code_digest, digest
from study.recipe import Recipe, values_of
from study.settings import common, reported_protocol
from study.starts import start_of
from study.train.learner import TrainingSettings

SCRIPTS = Path(__file__).parents[2]
PROVENANCE = (
    *(
        "git_commit",
        "git_dirty",
        "code",
        "data",
        "recipe",
        "settings",
        "initial_weights",
        "versions",
        "host",
        "platform",
        "device",
    ),
    *("driver", "cuda_visible_devices", "scheduler", "precision", "determinism", "threads", "started", "ended"),
    "resumes",
)

Report = Callable[[str], None]
T = TypeVar("T")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--configfile", type=Path, nargs="+", help="its configuration (default: config/config.yaml)")
    which.add_argument("--study", help="its name: verified with the configuration that Snakemake last ran it with")


def run(arguments: argparse.Namespace) -> None:
    """Do what the command is for."""
    if arguments.study:
        study = planned_study(arguments.study)
    else:
        check_layers(arguments.configfile or [])
        study = configured_study(read_configuration(*(arguments.configfile or [])))
    problems = verify(study, SCRIPTS, print)
    for problem in problems:
        print(f"wrong: {problem}")
    if problems:
        sys.exit(f"{study.results}: {len(problems)} disagreements")
    print(f"{study.results}: everything holds")


def verify(study: PlannedStudy, scripts: Path, report: Report) -> list[str]:
    """Every disagreement between the files of a study.

    Args:
        study: as it is planned.
        scripts: folder of the scripts, for the digests of the code.
        report: takes a line on each part that was checked, and on what is worth knowing but not wrong.

    Raises:
        StudyError: if a file is missing or cannot be read at all.
    """
    config, results, recipes = dict(study.config), study.results, dict(study.recipes)
    problems = []
    data = packed.load(results / "data")
    found = itertools.chain(_data(results / "data", data), _class_weights(study, data))
    problems += _checked("data", found, report)
    for run in study.runs:
        check = _run if run.trains else _from_file if made_elsewhere(run.training) else _without_training
        problems += _checked(f"run {run.name}", check(config, run, recipes[run.experiment], data, report), report)
    problems += _checked("tables", _tables(study), report)
    _note_changed_code(study, scripts, report)
    for line in leftover_lines(study.leftovers()):
        report(f"note: {line}")
    return problems


def _checked(what: str, problems: Iterator[str], report: Report) -> list[str]:
    wrong = list(problems)
    report(f"{what}: {'holds' if not wrong else f'{len(wrong)} wrong'}")
    return wrong


def _columns(path: Path, expected: Sequence[str]) -> Iterator[str]:
    columns = list(read_table(path))
    if missing := [name for name in expected if name not in columns]:
        yield f"{path}: the columns {', '.join(missing)} are missing"


def _read(reader: Callable[[Path], T], path: Path) -> T:
    """What a file holds.

    Raises:
        StudyError: it is not there, or damaged.
    """
    try:
        return reader(path)
    except FileNotFoundError:
        raise StudyError(f"{path}: missing; the study is not finished") from None
    except (OSError, ValueError) as error:
        raise StudyError(f"{path}: cannot be read ({' '.join(str(error).split())})") from None


def _data(folder: Path, data: PackedData) -> Iterator[str]:
    """Manifest and packed arrays against their hashes and each other."""
    path = folder / "manifest.csv"
    try:
        sha256, audit = _read(file_sha256, path), _read(read_json, folder / "audit.json")
        table, index = _read(manifest.read_manifest, path), _read(read_json, folder / "pack.json")
    except StudyError as error:
        yield str(error)
        return
    yield from _columns(path, manifest.MANIFEST_COLUMNS)
    if sha256 != audit["manifest_sha256"]:
        yield f"{path}: not the file whose SHA-256 is in audit.json"
    for split, ids in data.image_ids.items():
        labels = [data.classes[label] for label in data.labels[split]]
        if array_digest(data.stored[split], labels) != index["splits"][split]["sha256"]:
            yield f"{folder / split}.npy: not the images and labels whose SHA-256 is in pack.json"
        listed = table[(table["status"] == "kept") & (table["split"] == split)]
        if sorted(zip(listed["image_id"], listed["label"], strict=True)) != sorted(zip(ids, labels, strict=True)):
            yield f"{folder / split}.csv: not the images that manifest.csv keeps for this split"


def _class_weights(study: PlannedStudy, data: PackedData) -> Iterator[str]:
    """The study's class weights, and those that trainings read, against the training images."""
    loss = study.config["loss"]
    schemes = {study.results / "data/class_weights.csv": (loss["class_weights"], loss["effective_number_beta"])}
    for name, recipe in study.recipes.items():
        if path := study.class_weights(name):
            schemes[path] = recipe["loss.class_weights"], recipe["loss.effective_number_beta"]
    counts = np.bincount(data.labels["train"], minlength=len(data.classes)).tolist()
    for path, (scheme, beta) in schemes.items():
        try:
            weights = _read(read_class_weights, path)
        except StudyError as error:
            yield str(error)
            continue
        if list(weights["class"]) != list(data.classes) or list(weights["count"]) != counts:
            yield f"{path}: not the classes and counts of the training split"
        elif not np.allclose(weights["weight"], class_weights(counts, scheme, beta), rtol=1e-12):
            yield f"{path}: not the weights of the scheme '{scheme}'"


def _run(config: dict[str, Any], files: RunPaths, recipe: Recipe, data: PackedData, report: Report) -> Iterator[str]:
    """One run: what it says of its origin, its files, and its predictions made again from the saved weights."""
    try:
        record = _read(read_json, files.run)
        history = _read(lambda path: read_table(path, text=()), files.history)
        predictions = _read(read_predictions, files.predictions)
        scores = _read(read_json, files.metrics)
    except StudyError as error:
        yield str(error)
        return
    provenance = record.get("provenance", {})
    if missing := [part for part in PROVENANCE if part not in provenance]:
        yield f"{files.run}: the provenance lacks {', '.join(missing)}"
        return
    for name, expected in record.get("sha256", {}).items():
        path = files.trained / name
        if not path.exists():
            yield from [] if restored(files) else [f"{path}: missing; Snakemake makes it if it is asked for this file"]
        elif file_sha256(path) != expected:
            yield f"{path}: not the file whose SHA-256 is in run.json"
    if provenance["data"] != data.digest:
        yield f"{files.run}: trained on other images than those in {files.results / 'data'}"
    start = start_of(recipe)
    if start and provenance["initial_weights"] != weights_sha256(RunPaths(files.results, start, files.seed)):
        yield f"{files.run}: started from other weights than those of {start} now"
    trained = Recipe.of(recipe.experiment, study=values_of(config), **record["recipe"]).deciding
    if trained != recipe.deciding or provenance["recipe"] != digest(trained):
        yield f"{files.run}: trained with another recipe than the one in the table of recipes"
    if wrong := list(_columns(files.history, HISTORY_COLUMNS)):
        yield from wrong
    elif list(history["epoch"]) != list(range(1, record["epochs"] + 1)):
        yield f"{files.history}: the epochs are not 1 to {record['epochs']}, as run.json says"
    elif record["best_epoch"] and history["val_accuracy"][record["best_epoch"] - 1] != record["best_val_accuracy"]:
        yield f"{files.history}: epoch {record['best_epoch']} has not the best accuracy of run.json"
    if metrics.evaluate(predictions.scores, config["metrics"]["ece_bins"]) != scores:
        yield f"{files.metrics}: not the metrics of predictions.parquet"
    best, evaluated = record["best_val_accuracy"], scores["val"]["accuracy"]
    few = max(0.01, 1.5 / len(data.labels["val"]))  # images that another kernel may see otherwise
    if recipe["evaluation.tta"] == "none" and best is not None and abs(best - evaluated) > few:
        yield f"{files.metrics}: the validation accuracy is {evaluated:.4f}, that of the epoch that was kept {best:.4f}"
    yield from _predictions(config, files, recipe, provenance, data, report)


def _without_training(
    config: dict[str, Any], files: RunPaths, recipe: Recipe, data: PackedData, report: Report
) -> Iterator[str]:
    """A run that has another one's training: its predictions, made again from that one's predictions or weights."""
    trained = RunPaths(files.results, recipe.training, files.seed)
    try:
        provenance = _read(read_json, trained.run)["provenance"]
        predictions, scores = _read(read_predictions, files.predictions), _read(read_json, files.metrics)
        source = _read(read_predictions, trained.predictions)
    except StudyError as error:
        yield str(error)
        return
    except KeyError:
        yield f"{trained.run}: the provenance is missing"
        return
    expected = metrics.evaluate(predictions.scores, config["metrics"]["ece_bins"])
    if not recipe.adjusted:
        yield from [f"{files.metrics}: not the metrics of predictions.parquet"] if expected != scores else []
        yield from _predictions(config, files, recipe, provenance, data, report)
        return
    counts = dict(
        zip(data.classes, np.bincount(data.labels["train"], minlength=len(data.classes)).tolist(), strict=True)
    )
    again, made = adjustment.adjust(source, recipe, counts)
    if expected | {adjustment.KEY: made.record(trained.predictions)} != scores:
        yield f"{files.metrics}: not the metrics of predictions.parquet, or not the adjustment of {trained.predictions}"
    if predictions_bytes(again) != files.predictions.read_bytes():
        yield f"{files.predictions}: not what the adjustment makes of {trained.predictions}"


def _from_file(
    config: dict[str, Any], files: RunPaths, recipe: Recipe, data: PackedData, report: Report
) -> Iterator[str]:
    """A run whose predictions come from a file, read from it again."""
    path = predictions_file(recipe, files.seed)
    try:
        saved, scores = _read(Path.read_bytes, files.predictions), _read(read_json, files.metrics)
        if not path.exists():
            report(f"note: {path}: not there any more, so that {files.predictions} cannot be made again")
            return
        images = own_predictions.Images.of(data, _read(manifest.read_manifest, files.results / "data/manifest.csv"))
        again = own_predictions.read(path, images, int(files.seed))
    except StudyError as error:
        yield str(error)
        return
    if predictions_bytes(again.predictions) != saved:
        yield f"{files.predictions}: not the predictions of {path}"
    expected = metrics.evaluate(again.predictions.scores, config["metrics"]["ece_bins"])
    if expected | {own_predictions.KEY: again.record()} != scores:
        yield f"{files.metrics}: not the metrics of {path}, or not what is known of it"


def _predictions(
    config: dict[str, Any],
    files: RunPaths,
    recipe: Recipe,
    provenance: dict[str, Any],
    data: PackedData,
    report: Report,
) -> Iterator[str]:
    """The saved weights, evaluated again: to the last bit on the same kind of device, else by the predicted class."""
    if not files.weights.exists():
        report(f"note: {files.weights}: not here, so that {files.predictions} is not made again")
        return
    settings = TrainingSettings(**common(config, "training"), gpu_slots=config["resources"]["gpu_slots"])
    saved, recipe = files.predictions, recipe.but(**{"training.precision": provenance["precision"]})
    try:
        again = prediction.predict(files.weights, data, recipe, settings, report)
    except StudyError as error:
        yield str(error)
        return
    if predictions_bytes(again) == saved.read_bytes():
        return
    old, columns = read_predictions(saved), ["image_id", "split", "label"]
    if not again.scores[columns].equals(old.scores[columns]):
        yield f"{saved}: not the validation and test images of {files.results / 'data'}, or other columns"
        return
    changed = int((again.scores["predicted"] != old.scores["predicted"]).sum())
    farthest = max(float(np.abs(np.exp(again.log_p[k]) - np.exp(old.log_p[k])).max()) for k in blocks(len(old.log_p)))
    text = f"{saved}: the saved weights give other probabilities here (up to {farthest:.1e}, {changed} other classes)"
    if changed:
        yield text
    else:
        report(f"note: {text}; the run was made on {provenance['device']}, {provenance['host']}")


def _tables(study: PlannedStudy) -> Iterator[str]:
    """Every cell of every table, made again from the runs."""
    config, results, folder = dict(study.config), study.results, study.results / "tables"
    files = files_of(study.runs)
    if missing := [path for group in files for path in group if not path.exists()]:
        yield f"{folder}: cannot be traced, because {missing[0]} is missing"
        return
    if damaged := [path for path in files[2] if list(_columns(path, HISTORY_COLUMNS))]:
        yield f"{folder}: cannot be traced, because {damaged[0]} lacks columns"
        return
    try:
        comparison = Comparison(
            load_runs(study.recipes, *files, groups=manifest.read_groups(results / "data/manifest.csv")),
            config["metrics"],
            read_class_weights(results / "data/class_weights.csv"),
            manifest.read_manifest(results / "data/manifest.csv"),
            reported_protocol(config) if config["tables"]["reported"] else None,
            config["tables"]["all_pairs_up_to"],
        )
        tables = all_tables(comparison)
    except (StudyError, OSError, ValueError, KeyError) as error:  # damaged or missing, which the check of it has named
        yield f"{folder}: cannot be traced ({type(error).__name__}: {' '.join(str(error).split())})"
        return
    for name, table in tables.items():
        yield from _cells(folder / name, table_text(table))


def _cells(path: Path, expected: str) -> Iterator[str]:
    """The cells of a CSV file that are not those of the expected text."""
    if not path.exists():
        yield f"{path}: missing; the study is not finished"
        return
    content = path.read_bytes().decode("utf-8")
    if content == expected:
        return
    old, new = (list(csv.reader(io.StringIO(text))) for text in (content, expected))
    if [len(row) for row in old] != [len(row) for row in new]:
        yield f"{path}: other rows or columns than the runs give"
        return
    for number, (row, right) in enumerate(zip(old, new, strict=True), start=1):
        for column, (cell, value) in enumerate(zip(row, right, strict=True)):
            if cell != value:
                yield f"{path}, row {number}, column '{new[0][column]}': found '{cell}', the runs give '{value}'"


def _note_changed_code(study: PlannedStudy, scripts: Path, report: Report) -> None:
    """Runs of another version of the code are worth knowing of; Snakemake would make them again."""
    now = code_digest(scripts / "train.py", words=False)
    for files in study.trainings:
        if not files.run.exists():
            continue
        try:
            provenance = read_json(files.run)["provenance"]
            code, commit = provenance["code"], provenance["git_commit"]
        except (ValueError, KeyError):  # the check of the run has said so
            continue
        if code != now:
            report(f"note: {files.run}: made by another version of the training code (commit {commit})")
