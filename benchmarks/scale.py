"""Time the rules behind the report on made-up runs: how seconds, memory and sizes grow with a study.

    python -m benchmarks.scale classes --name scale-classes               # 1,000 classes, 14 recipes
    python -m benchmarks.scale recipes --name scale-recipes               # 500 recipes, 10 classes
    python -m benchmarks.scale recipes --recipes 100 --seeds 5 --name scale-seeds
    python -m benchmarks.record                                           # RESULTS.md from benchmarks/results/*.json

A made-up study is written by the library's own writers into a copy of the pipeline; then Snakemake runs the rules on
it, and their `benchmark:` files say what they took. Images have a file of their own: benchmarks.scale_images.
"""

import argparse
import csv
import importlib.util
import json
import shlex
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import log_softmax

from benchmarks.pipeline import copy_pipeline, snakemake
from benchmarks.record import origin, write_record
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
RULES = ("tables", "ensemble", "figures", "first_page", "report")
SIDE = 8  # pixels of a made-up image
EPOCHS = 20
RECIPES_OF_A_CASE = 25
FAILED_EVERY = 20  # one recipe in so many collapsed
OPENINGS = 3


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


def write_run(
    run: RunPaths, recipe: dict[str, Any], labels: dict[str, np.ndarray], classes: int, skill: float | None
) -> None:
    """history.csv, run.json, predictions.parquet and metrics.json of a network that is often right by `skill`.

    Without a skill it collapsed.
    """
    one, outcome = (class_names(classes)[0], "collapsed") if skill is None else (None, "completed")
    skill = skill or 0.0
    for folder in (run.trained, run.evaluated):
        folder.mkdir(parents=True)
    progress = 1 - np.exp(-np.arange(1, EPOCHS + 1) / 4)
    history = pd.DataFrame(dict.fromkeys(HISTORY_COLUMNS, progress * skill))
    history = history.assign(epoch=range(1, EPOCHS + 1), lr=0.01, predicted_classes=classes, seconds=1.0)
    losses = {name: np.log(classes) * (1.05 - progress * skill) for name in ("train_loss", "val_loss", "val_nll")}
    write_table(history.assign(**losses), run.history)
    only = {"name": one, "since": 2, "share": 0.1} if one else None
    facts = {"classes": classes, "only_class": only, "only_class_at_best": one, "early_stopping_patience": 10}
    record = {
        "experiment": run.experiment, "seed": run.seed, "outcome": outcome, "epochs": EPOCHS,
        "facts": {**facts, "best_by": "accuracy", "best_from_epoch": 1}, "max_epochs": EPOCHS, "best_epoch": EPOCHS,
        "best_val_accuracy": float(history["val_accuracy"].iloc[-1]), "images_per_second": 1000.0, "seconds": 20.0,
        "peak_memory_bytes": 1 << 30, "parameters": 1000, "trained_parameters": 1000, "device": "cpu",
        "precision": "fp32", "lr_drops": [], "recipe": recipe, "provenance": {},
    }  # fmt: skip
    run.tensorboard.mkdir()
    run.weights.touch()
    write_json(record, run.run)
    predictions = made_up_predictions(labels, classes, skill, int(run.seed), run.experiment, collapsed=bool(one))
    write_predictions(predictions, run.predictions)
    write_json(evaluate(predictions.scores, 15), run.metrics)


def made_up_predictions(
    labels: dict[str, np.ndarray], classes: int, skill: float, seed: int, experiment: str, collapsed: bool = False
) -> Predictions:
    """Log-probabilities that favour the true class, more so for a larger `skill` and a frequent class.

    Of a collapsed network they favour the first class whatever the image.
    """
    random = np.random.default_rng([seed, *experiment.encode()])
    truth = np.concatenate([labels[split] for split in EVALUATED_SPLITS])
    log_p = np.empty((classes, len(truth)), np.float32).T
    for rows in blocks(len(truth)):
        logits = random.standard_normal((rows.stop - rows.start, classes), np.float32)
        if collapsed:
            logits[:, 0] += 20
        else:
            logits[np.arange(len(logits)), truth[rows]] += 1 + 4 * skill - 2 * truth[rows] / classes
        log_p[rows] = log_softmax(logits, axis=1)
    ids = [name for split in EVALUATED_SPLITS for name in image_ids(split, len(labels[split]))]
    splits = [split for split in EVALUATED_SPLITS for _ in labels[split]]
    return Predictions.of(ids, splits, truth, log_p, class_names(classes))


def write_study(root: Path, classes: int, images: int, recipes: int, seeds: int = 1) -> list[str]:
    """A finished study below a copy of the pipeline; its arguments for Snakemake.

    The recipes are a grid of learning rates, batch sizes and momenta, so that each differs in one treatment alone from
    many others: the hardest for tables of pairs and effects.

    Args:
        images: of validation, and as many of test and of training.
    """
    header = ("experiment", "case", "optimizer", "lr", "min_lr", "batch_size", "max_epochs", "loss", "activation",
              "sampler", "momentum")  # fmt: skip
    rows = [header]
    for k in range(recipes):
        lr, batch_size, momentum = f"{10 ** (-(k % 8) / 2):.3g}", 8 * 2 ** (k // 8 % 8), f"{0.1 * (k // 64):g}"
        case = 1 + k // RECIPES_OF_A_CASE
        rows.append((f"recipe_{k:04d}", str(case), "SGD", lr, "1e-10", str(batch_size), str(EPOCHS), "cross_entropy",
                     "logits", "shuffle", momentum))  # fmt: skip
    (root / TABLE).write_text("".join("\t".join(row) + "\n" for row in rows), encoding="utf-8")
    overlay = {"study": STUDY, "experiments": TABLE, "seeds": list(range(seeds))}
    (root / "config/scale.json").write_text(json.dumps(overlay), encoding="utf-8")
    config = read_configuration(root / "config/scale.json")
    results = root / "results" / STUDY
    labels = write_data(results / "data", classes, dict.fromkeys(SPLITS, images))
    random = np.random.default_rng(2)
    for k, (name, recipe) in enumerate(read_recipes([root / TABLE], study=values_of(config)).items()):
        skill = None if k % FAILED_EVERY == FAILED_EVERY - 1 else 0.3 + 0.6 * k / max(recipes - 1, 1)
        for seed in range(seeds):
            here = None if skill is None else skill + random.normal(0, 0.005)
            write_run(RunPaths(results, name, seed), dict(recipe.hyperparameters), labels, classes, here)
        print(f"{name} is made up", flush=True)
    return ["--configfile", "config/scale.json", "--", f"results/{STUDY}/report.html"]


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
    """Bytes of what is written once for each run, of the largest figures, and of the pages."""
    predictions = next(results.glob("evaluate/*/*/predictions.parquet"))
    figures = {path.name: path.stat().st_size for path in (results / "figures").glob("*.svg")}
    largest = sorted(figures.items(), key=lambda item: -item[1])[:5]
    pages = ("report.html", "tables/summary.rst", "tables/comparison.html")
    metrics = predictions.with_name("metrics.json").stat().st_size
    return {
        "predictions.parquet": predictions.stat().st_size,
        "metrics.json": metrics,
        "figures": len(figures),
        **dict(largest),
        **{Path(name).name: (results / name).stat().st_size for name in pages},
    }


def opening_seconds(page: Path) -> float | None:
    """Seconds from asking for the report to its first heading in Chromium, the median of three; None without one."""
    driver, browser = shutil.which("chromedriver"), shutil.which("chromium") or shutil.which("google-chrome")
    if not (driver and browser and importlib.util.find_spec("selenium")):
        return None
    from selenium import webdriver
    from selenium.webdriver.support.ui import WebDriverWait

    seconds = []
    for _ in range(OPENINGS):
        options = webdriver.ChromeOptions()
        options.binary_location = browser
        for option in ("--headless=new", "--no-sandbox", "--disable-gpu"):
            options.add_argument(option)
        options.page_load_strategy = "none"
        with webdriver.Chrome(options=options, service=webdriver.ChromeService(driver)) as chromium:
            start = time.monotonic()
            chromium.get(page.as_uri())
            WebDriverWait(chromium, 120, 0.05).until(
                lambda one: any(h.is_displayed() for h in one.find_elements("css selector", ".study h1"))
            )
            seconds.append(time.monotonic() - start)
    return statistics.median(seconds)


def study(given: argparse.Namespace) -> dict[str, Any]:
    """Tables, ensemble, figures, first page and report of a made-up study."""
    with tempfile.TemporaryDirectory(dir=given.folder) as temporary:
        root = Path(temporary)
        copy_pipeline(root)
        arguments = write_study(root, given.classes, given.images, given.recipes, given.seeds)
        seconds = snakemake(root, "--cores", "2", *arguments)
        results = root / "results" / STUDY
        rules = measured(results)
        for rule, row in rules.items():
            print(f"{rule}: {row['seconds']:.0f} s, {row.get('peak_mb', 0):,.0f} MB", flush=True)
        opening = opening_seconds(results / "report.html")
        print(f"all: {seconds:.0f} s; {sizes(results)}; opened in {opening} s", flush=True)
        return {"seconds": seconds, "rules": rules, "bytes": sizes(results), "opening_seconds": opening}


# What each command makes by default: the sizes that a study of many classes, or of many recipes, is to be fit for.
COMMANDS = {
    "classes": {"classes": 1000, "images": 50_000, "recipes": 14, "seeds": 1},
    "recipes": {"classes": 10, "images": 10_000, "recipes": 500, "seeds": 1},
}


def parsed(text: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, defaults in COMMANDS.items():
        command = commands.add_parser(name, help=f"many {name}")
        for option, default in defaults.items():
            of_each = "of validation, and as many of test and of training; " * (option == "images")
            command.add_argument(f"--{option}", type=int, default=default, help=f"{of_each}{default:,} by default")
        command.add_argument("--name", help="of the record in benchmarks/results/; nothing is written without it")
        command.add_argument("--beside", help="what else runs on the machine meanwhile, for the record")
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
        "beside": given.beside,
        "command": shlex.join(["python", "-m", "benchmarks.scale", *text]),
        **origin(),
        **study(given),
    }
    write_record(given.name, record)
    return record


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except StudyError as error:
        sys.exit(f"Error: {error}")
