"""Time the rules behind the report on made-up runs: how seconds, memory and sizes grow with a study.

    python -m benchmarks.scale classes --classes 1000 --images 50000 --recipes 14 --name scale-classes

A made-up study is written by the library's own writers into a copy of the pipeline; then Snakemake runs the rules on
it, and their `benchmark:` files say what they took.
"""

import argparse
import csv
import json
import shlex
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import log_softmax

from benchmarks.pipeline import copy_pipeline, snakemake
from benchmarks.record import RESULTS, origin
from study.commands.configuration import read_configuration
from study.data.class_weights import class_weights
from study.data.manifest import MANIFEST_COLUMNS, write_manifest
from study.data.packing import array_digest
from study.errors import StudyError
from study.evaluate.metrics import evaluate
from study.evaluate.predictions import Predictions, blocks, write_predictions
from study.files import file_sha256, write_json, write_table
from study.names import EVALUATED_SPLITS, HISTORY_COLUMNS, SPLITS
from study.paths import RunPaths
from study.provenance import processor
from study.recipe import values_of
from study.recipe_table import read_recipes

STUDY, TABLE = "scale", "config/scale.tsv"
RULES = ("tables", "ensemble", "figures", "first_page")
SIDE = 8  # pixels of a made-up image
EPOCHS = 20
# What the rules of one study may take on two cores.
TARGET_SECONDS, TARGET_MB = 600, 4000


def class_names(classes: int) -> list[str]:
    """Names in the order of their indices."""
    return [f"class_{k:05d}" for k in range(classes)]


def long_tail(classes: int, images: int) -> np.ndarray:
    """Class of each of `images` images, (images,): every class occurs, the first 20 times as often as the last."""
    shares = 20.0 ** -np.linspace(0, 1, classes)
    more = np.random.default_rng(0).choice(classes, max(images - classes, 0), p=shares / shares.sum())
    return np.concatenate([np.arange(classes), more])[:images]


def write_data(folder: Path, classes: int, images: dict[str, int]) -> dict[str, np.ndarray]:
    """Manifest, audit, packed arrays and class weights; the class of each image by split."""
    folder.mkdir(parents=True)
    names, random = class_names(classes), np.random.default_rng(1)
    labels = {split: long_tail(classes, count) for split, count in images.items()}
    tables = {
        split: pd.DataFrame({"image_id": image_ids(split, len(which)), "label": [names[k] for k in which]})
        for split, which in labels.items()
    }
    rows = [
        table.assign(split=split, sha256=[f"{split}{k:060d}" for k in range(len(table))], status="kept")
        for split, table in tables.items()
    ]
    write_manifest(pd.concat(rows).reindex(columns=list(MANIFEST_COLUMNS), fill_value=""), folder / "manifest.csv")
    total = sum(images.values())
    done = {name: {"policy": "keep", "dropped": 0} for name in ("duplicates", "contradictory")}
    nothing = ("unreadable", "duplicate_groups", "duplicate_images", "blank", "odd_size", "odd_mode")
    audit = {
        "expected": [],
        "source": {"images": total, "classes": {}, "official_splits": None},
        "kept": {"images": total},
        "found": dict.fromkeys(nothing, 0),
        "done": {**done, "oversampled": {}},
        "leakage": {"official": None, "final": None},
        "manifest_sha256": file_sha256(folder / "manifest.csv"),
    }
    write_json(audit, folder / "audit.json")
    # What is made from another file is written after it, as Snakemake looks at time stamps.
    content: dict[str, Any] = {"classes": names, "channels": 1, "image_size": SIDE, "bit_depth": 16, "splits": {}}
    for split, table in tables.items():
        pixels = random.integers(0, 256, (len(table), 1, SIDE, SIDE), dtype=np.uint8)
        np.save(folder / f"{split}.npy", pixels)
        write_table(table, folder / f"{split}.csv")
        counts = dict(zip(names, np.bincount(labels[split], minlength=classes).tolist(), strict=True))
        digest = array_digest(pixels, list(table["label"]))
        content["splits"][split] = {"images": len(table), "counts": counts, "sha256": digest}
    write_json(content, folder / "pack.json")
    counted = np.bincount(labels["train"], minlength=classes).tolist()
    weights = pd.DataFrame({"class": names, "count": counted, "weight": class_weights(counted, "complement", 0.999)})
    for scheme in ("", "_complement"):
        write_table(weights, folder / f"class_weights{scheme}.csv")
    return labels


def image_ids(split: str, images: int) -> list[str]:
    """Names as those of a folder of images."""
    return [f"images/{split}/{k:08d}.png" for k in range(images)]


def write_run(run: RunPaths, recipe: dict[str, Any], labels: dict[str, np.ndarray], classes: int, skill: float) -> None:
    """history.csv, run.json, predictions.parquet and metrics.json of a network that is often right by `skill`."""
    for folder in (run.trained, run.evaluated):
        folder.mkdir(parents=True)
    progress = 1 - np.exp(-np.arange(1, EPOCHS + 1) / 4)
    history = pd.DataFrame(dict.fromkeys(HISTORY_COLUMNS, progress * skill))
    history = history.assign(epoch=range(1, EPOCHS + 1), lr=0.01, predicted_classes=classes, seconds=1.0)
    losses = {name: np.log(classes) * (1.05 - progress * skill) for name in ("train_loss", "val_loss", "val_nll")}
    write_table(history.assign(**losses), run.history)
    facts = {"classes": classes, "only_class": None, "only_class_at_best": None, "early_stopping_patience": 10}
    record = {
        "experiment": run.experiment, "seed": run.seed, "outcome": "completed", "epochs": EPOCHS,
        "facts": {**facts, "best_by": "accuracy", "best_from_epoch": 1}, "max_epochs": EPOCHS, "best_epoch": EPOCHS,
        "best_val_accuracy": float(history["val_accuracy"].iloc[-1]), "images_per_second": 1000.0, "seconds": 20.0,
        "peak_memory_bytes": 1 << 30, "parameters": 1000, "trained_parameters": 1000, "device": "cpu",
        "precision": "fp32", "lr_drops": [], "recipe": recipe, "provenance": {},
    }  # fmt: skip
    run.tensorboard.mkdir()
    run.weights.touch()
    write_json(record, run.run)
    predictions = made_up_predictions(labels, classes, skill, int(run.seed), run.experiment)
    write_predictions(predictions, run.predictions)
    write_json(evaluate(predictions.scores, 15), run.metrics)


def made_up_predictions(
    labels: dict[str, np.ndarray], classes: int, skill: float, seed: int, experiment: str
) -> Predictions:
    """Log-probabilities that favour the true class, more so for a larger `skill` and a frequent class."""
    random = np.random.default_rng([seed, *experiment.encode()])
    truth = np.concatenate([labels[split] for split in EVALUATED_SPLITS])
    log_p = np.empty((classes, len(truth)), np.float32).T
    for rows in blocks(len(truth)):
        logits = random.standard_normal((rows.stop - rows.start, classes), np.float32)
        logits[np.arange(len(logits)), truth[rows]] += 1 + 4 * skill - 2 * truth[rows] / classes
        log_p[rows] = log_softmax(logits, axis=1)
    ids = [name for split in EVALUATED_SPLITS for name in image_ids(split, len(labels[split]))]
    splits = [split for split in EVALUATED_SPLITS for _ in labels[split]]
    return Predictions.of(ids, splits, truth, log_p, class_names(classes))


def write_study(root: Path, classes: int, images: int, recipes: int) -> list[str]:
    """A finished study below a copy of the pipeline; its arguments for Snakemake.

    Args:
        images: of validation, and as many of test and of training.
    """
    rows = ["\t".join(("experiment", "case", "optimizer", "lr", "min_lr", "batch_size", "max_epochs", "loss",
                       "activation", "sampler", "momentum"))]  # fmt: skip
    for k in range(recipes):
        optimizer, loss = ("SGD", "Adam")[k % 2], ("cross_entropy", "weighted_cross_entropy")[k // 2 % 2]
        cells = (
            f"recipe_{k:04d}",
            1 + k % 5,
            optimizer,
            f"{10.0 ** -(2 + k % 3):g}",
            "1e-8",
            32 * 2 ** (k % 4),
            EPOCHS,
        )
        rows.append("\t".join(map(str, (*cells, loss, "logits", "shuffle", "" if k % 2 else 0.9))))
    (root / TABLE).write_text("\n".join(rows) + "\n", encoding="utf-8")
    overlay = {"study": STUDY, "experiments": TABLE}
    (root / "config/scale.json").write_text(json.dumps(overlay), encoding="utf-8")
    config = read_configuration(root / "config/scale.json")
    results = root / "results" / STUDY
    labels = write_data(results / "data", classes, dict.fromkeys(SPLITS, images))
    for k, (name, recipe) in enumerate(read_recipes([root / TABLE], study=values_of(config)).items()):
        run = RunPaths(results, name, 0)
        write_run(run, dict(recipe.hyperparameters), labels, classes, 0.3 + 0.6 * k / max(recipes - 1, 1))
        print(f"{name} is made up", flush=True)
    wanted = [f"results/{STUDY}/{file}" for file in ("tables/summary.rst", "figures/comparison.svg")]
    return ["--configfile", "config/scale.json", "--", *wanted]


def measured(results: Path) -> dict[str, dict[str, float]]:
    """Seconds and peak memory (MB, resident) of each rule, from the files that its `benchmark:` wrote."""
    rules = {}
    for rule in RULES:
        with (results / f"benchmarks/{rule}.tsv").open(newline="", encoding="utf-8") as file:
            row = next(csv.DictReader(file, delimiter="\t"))
        rules[rule] = {
            name: float(row[key]) for name, key in (("seconds", "s"), ("peak_mb", "max_rss")) if row[key] != "NA"
        }
    return rules


def sizes(results: Path) -> dict[str, int]:
    """Bytes of what is written once for each run, and of the largest figures and pages."""
    predictions = next(results.glob("evaluate/*/*/predictions.parquet"))
    figures = {path.name: path.stat().st_size for path in (results / "figures").glob("*.svg")}
    largest = sorted(figures.items(), key=lambda item: -item[1])[:5]
    pages = {name: (results / "tables" / name).stat().st_size for name in ("summary.rst", "comparison.html")}
    metrics = predictions.with_name("metrics.json").stat().st_size
    return {"predictions.parquet": predictions.stat().st_size, "metrics.json": metrics, **dict(largest), **pages}


def classes(given: argparse.Namespace) -> dict[str, Any]:
    """Many classes: tables, ensemble, figures and first page."""
    with tempfile.TemporaryDirectory(dir=given.folder) as temporary:
        root = Path(temporary)
        copy_pipeline(root)
        arguments = write_study(root, given.classes, given.images, given.recipes)
        seconds = snakemake(root, "--cores", "2", *arguments)
        results = root / "results" / STUDY
        rules = measured(results)
        for rule, row in rules.items():
            print(f"{rule}: {row['seconds']:.0f} s, {row.get('peak_mb', 0):,.0f} MB", flush=True)
        target = {"seconds": TARGET_SECONDS, "peak_mb": TARGET_MB}
        return {"seconds": seconds, "rules": rules, "bytes": sizes(results), "target": target}


COMMANDS = {"classes": classes}


def parsed(text: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    many = commands.add_parser("classes", help=str(classes.__doc__))
    many.add_argument("--classes", type=int, default=1000)
    many.add_argument("--images", type=int, default=50_000, help="of validation, and as many of test and of training")
    many.add_argument("--recipes", type=int, default=14)
    for command in (many,):
        command.add_argument("--name", help="of the record in benchmarks/results/; nothing is written without it")
        command.add_argument("--folder", type=Path, help="where the study is written (default: the system's)")
    return parser.parse_args(text)


def main(text: Sequence[str]) -> dict[str, Any]:
    """Measure, print, write."""
    given = parsed(text)
    sizes_given = {name: value for name, value in vars(given).items() if isinstance(value, int)}
    record = {
        "kind": "scale",
        "name": given.name,
        "what": given.command,
        "sizes": sizes_given,
        "device": processor(),
        "command": shlex.join(["python", "-m", "benchmarks.scale", *text]),
        **origin(),
        **COMMANDS[given.command](given),
    }
    if given.name:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"{given.name}.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return record


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except StudyError as error:
        sys.exit(f"Error: {error}")
