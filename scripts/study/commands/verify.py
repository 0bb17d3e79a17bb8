"""Re-check a finished study: every file against what it was made from, down to the saved weights.

Entry point:
    verify(config, results, scripts, report) -> list[str]      what is wrong, in words; empty if all holds
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from study.compare.all_tables import every_table
from study.compare.runs import load_runs
from study.data import packed
from study.data.class_weights import class_weights, read_class_weights
from study.data.manifest import read_manifest
from study.data.packed import PackedData
from study.data.packing import array_digest
from study.errors import StudyError
from study.evaluate import metrics, prediction
from study.provenance import code_digest, digest
from study.recipe import Recipe, read_recipes
from study.settings import compared, deciding
from study.train.learner import TrainingSettings
from study.train.models import ModelSettings

MANIFEST_COLUMNS = ["image_id", "label", "split", "sha256", "duplicate_group", "status", "reason"]
HISTORY_COLUMNS = ["epoch", "lr", "train_loss", "train_accuracy", "val_loss", "val_nll", "val_accuracy", "seconds"]
PROVENANCE = [
    *(
        "git_commit",
        "git_dirty",
        "code",
        "data",
        "recipe",
        "settings",
        "versions",
        "host",
        "platform",
        "device",
        "driver",
    ),
    *("cuda_visible_devices", "scheduler", "precision", "determinism", "threads", "started", "ended", "resumes"),
]

Report = Callable[[str], None]


def verify(config: dict[str, Any], results: Path, scripts: Path, report: Report) -> list[str]:
    """Every disagreement between the files of a study.

    Args:
        config: the merged configuration of the study.
        results: its folder, results/{study}.
        scripts: folder of the scripts, for the digests of the code.
        report: takes a line on each part that was checked, and on what is worth knowing but not wrong.

    Raises:
        StudyError: if a file is missing or cannot be read at all.
    """
    recipes = read_recipes(config["experiments"])
    problems = []
    data = packed.load(results / "data")
    problems += _checked("data", _data(config, results / "data", data), report)
    for experiment, recipe in recipes.items():
        for seed in config["seeds"]:
            name = f"{experiment}/seed_{seed}"
            problems += _checked(f"run {name}", _run(config, results, name, recipe, data, report), report)
    problems += _checked("tables", _tables(config, results, recipes), report)
    _note_changed_code(results, scripts, report)
    return problems


def _checked(what: str, problems: Iterator[str], report: Report) -> list[str]:
    found = list(problems)
    report(f"{what}: {'holds' if not found else f'{len(found)} wrong'}")
    return found


def _columns(path: Path, expected: list[str]) -> Iterator[str]:
    found = list(pd.read_csv(path, nrows=0))
    if missing := [name for name in expected if name not in found]:
        yield f"{path}: the columns {', '.join(missing)} are missing"


def _data(config: dict[str, Any], folder: Path, data: PackedData) -> Iterator[str]:
    """Manifest, packed arrays and class weights against their hashes and each other."""
    manifest = folder / "manifest.csv"
    yield from _columns(manifest, MANIFEST_COLUMNS)
    audit = json.loads((folder / "audit.json").read_text(encoding="utf-8"))
    if hashlib.sha256(manifest.read_bytes()).hexdigest() != audit["manifest_sha256"]:
        yield f"{manifest}: not the file whose SHA-256 is in audit.json"
    table = read_manifest(manifest)
    index = json.loads((folder / "pack.json").read_text(encoding="utf-8"))
    for split, ids in data.image_ids.items():
        labels = [data.classes[label] for label in data.labels[split]]
        if array_digest(data.images[split], labels) != index["splits"][split]["sha256"]:
            yield f"{folder / split}.npy: not the images and labels whose SHA-256 is in pack.json"
        listed = table[(table["status"] == "kept") & (table["split"] == split)]
        if sorted(zip(listed["image_id"], listed["label"], strict=True)) != sorted(zip(ids, labels, strict=True)):
            yield f"{folder / split}.csv: not the images that manifest.csv keeps for this split"
    weights = read_class_weights(folder / "class_weights.csv")
    counts = np.bincount(data.labels["train"], minlength=len(data.classes)).tolist()
    expected = class_weights(counts, config["loss"]["class_weights"], config["loss"]["effective_number_beta"])
    if list(weights["class"]) != list(data.classes) or list(weights["count"]) != counts:
        yield f"{folder / 'class_weights.csv'}: not the classes and counts of the training split"
    elif not np.allclose(weights["weight"], expected, rtol=1e-12):
        yield f"{folder / 'class_weights.csv'}: not the weights of the scheme '{config['loss']['class_weights']}'"


def _run(
    config: dict[str, Any], results: Path, name: str, recipe: Recipe, data: PackedData, report: Report
) -> Iterator[str]:
    """One run: what it says of its origin, its files, and its predictions made again from the saved weights."""
    folder, evaluated = results / "train" / name, results / "evaluate" / name
    try:
        record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        history = pd.read_csv(folder / "history.csv")
        predictions = metrics.read_predictions(evaluated / "predictions.csv")
        scores = json.loads((evaluated / "metrics.json").read_text(encoding="utf-8"))
    except OSError as error:
        yield f"{error.filename}: missing; the study is not finished"
        return
    made = record["provenance"]
    if missing := [part for part in PROVENANCE if part not in made]:
        yield f"{folder / 'run.json'}: the provenance lacks {', '.join(missing)}"
    for file, expected in record.get("sha256", {}).items():
        if hashlib.sha256((folder / file).read_bytes()).hexdigest() != expected:
            yield f"{folder / file}: not the file whose SHA-256 is in run.json"
    if made["data"] != data.digest:
        yield f"{folder / 'run.json'}: trained on other images than those in {results / 'data'}"
    if record["recipe"] != recipe.hyperparameters() or made["recipe"] != digest(recipe.hyperparameters()):
        yield f"{folder / 'run.json'}: trained with another recipe than the one in the table of recipes"
    if wrong := list(_columns(folder / "history.csv", HISTORY_COLUMNS)):
        yield from wrong
    elif list(history["epoch"]) != list(range(1, record["epochs"] + 1)):
        yield f"{folder / 'history.csv'}: the epochs are not 1 to {record['epochs']}, as run.json says"
    elif record["best_epoch"] and history["val_accuracy"][record["best_epoch"] - 1] != record["best_val_accuracy"]:
        yield f"{folder / 'history.csv'}: epoch {record['best_epoch']} has not the best accuracy of run.json"
    if metrics.evaluate(predictions, config["metrics"]["ece_bins"]) != scores:
        yield f"{evaluated / 'metrics.json'}: not the metrics of predictions.csv"
    yield from _predictions(config, folder, evaluated / "predictions.csv", made, data, report)


def _predictions(
    config: dict[str, Any], folder: Path, saved: Path, made: dict[str, Any], data: PackedData, report: Report
) -> Iterator[str]:
    """The saved weights, evaluated again: to the last bit on the same kind of device, else by the predicted class."""
    settings = TrainingSettings(**config["training"], gpu_slots=config["resources"]["gpu_slots"])
    weights = folder / "best.safetensors"
    try:
        settings = replace(settings, precision=made["precision"])
        again = prediction.predict(weights, data, ModelSettings(**deciding(config, "model")), settings, report)
    except StudyError as error:
        yield str(error)
        return
    if again.to_csv(index=False, lineterminator="\n").encode() == saved.read_bytes():
        return
    old, columns = metrics.read_predictions(saved), ["image_id", "split", "label"]
    if list(again) != list(old) or not again[columns].astype(str).equals(old[columns].astype(str)):
        yield f"{saved}: not the validation and test images of {folder.parents[2] / 'data'}, or other columns"
        return
    (_, now, p_now), (_, then, p_then) = metrics.decode(again), metrics.decode(old)
    changed, farthest = int((now != then).sum()), float(np.abs(p_now - p_then).max())
    text = f"{saved}: the saved weights give other probabilities here (up to {farthest:.1e}, {changed} other classes)"
    if changed:
        yield text
    else:
        report(f"note: {text}; the run was made on {made['device']}, {made['host']}")


def _tables(config: dict[str, Any], results: Path, recipes: dict[str, Recipe]) -> Iterator[str]:
    """Every cell of every table, made again from the runs."""
    folder = results / "tables"
    names = [f"{experiment}/seed_{seed}" for experiment in recipes for seed in config["seeds"]]
    files = [[results / part / name / file for name in names] for part, file in RUN_FILES]
    if missing := [path for group in files for path in group if not path.exists()]:
        yield f"{folder}: cannot be traced, because {missing[0]} is missing"
        return
    if damaged := [path for path in files[2] if list(_columns(path, HISTORY_COLUMNS))]:
        yield f"{folder}: cannot be traced, because {damaged[0]} lacks columns"
        return
    runs = load_runs(recipes, *files)
    reported_with = compared(config) if config["tables"]["reported"] else None
    manifest = read_manifest(results / "data/manifest.csv")
    weights = read_class_weights(results / "data/class_weights.csv")
    made = every_table(runs, manifest, config["metrics"], config["training"], weights, reported_with)
    for name, table in made.items():
        yield from _cells(folder / name, table.to_csv(index=False, lineterminator="\n"))


RUN_FILES = (
    ("train", "run.json"),
    ("evaluate", "metrics.json"),
    ("train", "history.csv"),
    ("evaluate", "predictions.csv"),
)


def _cells(path: Path, expected: str) -> Iterator[str]:
    """The cells of a CSV file that are not those of the expected text."""
    if not path.exists():
        yield f"{path}: missing; the study is not finished"
        return
    found = path.read_text(encoding="utf-8")
    if found == expected:
        return
    old, new = ([line.split(",") for line in text.splitlines()] for text in (found, expected))
    if [len(row) for row in old] != [len(row) for row in new]:
        yield f"{path}: other rows or columns than the runs give"
        return
    for number, (row, right) in enumerate(zip(old, new, strict=True), start=1):
        for column, (cell, value) in enumerate(zip(row, right, strict=True)):
            if cell != value:
                yield f"{path}, row {number}, column '{new[0][column]}': found '{cell}', the runs give '{value}'"


def _note_changed_code(results: Path, scripts: Path, report: Report) -> None:
    """Runs of another version of the code are worth knowing of; Snakemake would make them again."""
    now = code_digest(scripts / "train.py")
    for path in sorted(results.glob("train/*/seed_*/run.json")):
        made = json.loads(path.read_text(encoding="utf-8"))["provenance"]
        if made["code"] != now:
            report(f"note: {path}: made by another version of the training code (commit {made['git_commit']})")
