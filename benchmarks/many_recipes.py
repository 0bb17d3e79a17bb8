"""Tables, figures and first page of many made-up recipes: seconds of each, memory and bytes.

    python -m benchmarks.many_recipes [--recipes 500] [--seeds 1] [--images 10000] [--profile]

The runs are made in memory, so reading predictions is not part of it. A grid of learning rates, batch sizes and
momenta: every recipe differs in one treatment alone from many others, the hardest for tables of pairs and effects.
"""

import argparse
import cProfile
import json
import pstats
import resource
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import balanced_accuracy_score, f1_score

from study.compare.all_tables import all_tables
from study.compare.comparison import Comparison
from study.compare.runs import Run, Scores
from study.files import table_text
from study.recipe import Recipe
from study.report.answer import answer, caution
from study.report.comparison_page import comparison_html
from study.report.figures import effects as effects_figure
from study.report.figures import recipes as recipes_figure
from study.report.figures.material import Material

METRICS = {"confidence": 0.95, "bootstrap_samples": 2000, "ece_bins": 15, "ensemble_members": 5}
EPOCHS, RECIPES_OF_A_CASE = 20, 25


def made_up_runs(recipes: int, seeds: int, images: int, classes: int = 10) -> list[Run]:
    """Runs of a grid of recipes; every twentieth collapsed."""
    random = np.random.default_rng(0)
    names = [f"class_{k}" for k in range(classes)]
    labels = {split: random.integers(classes, size=images) for split in ("val", "test")}
    ids = np.array([f"image_{k:06d}" for k in range(images)])
    difficulty = {split: random.random(images) for split in labels}
    runs = []
    for k in range(recipes):
        recipe = _recipe(k)
        skill = 0.6 + 0.3 * random.random()
        for seed in range(seeds):
            failed = k % 20 == 19
            here = np.clip(skill + random.normal(0, 0.005), 0, 1)
            scores, metrics = {}, {}
            for split, truth in labels.items():
                right = (difficulty[split] + random.random(images)) / 2 < here
                guess = random.integers(classes, size=images)
                predicted = np.zeros_like(truth) if failed else np.where(right, truth, guess)
                nll = np.where(predicted == truth, 0.2, 2.5) + random.random(images)
                scores[split] = Scores(ids, truth, predicted, nll, np.full(images, 0.7))
                metrics[split] = _metrics(truth, predicted, nll, names)
            runs.append(Run(recipe, seed, _record(recipe, seed, failed, names), metrics, _history(here), scores))
    return runs


def _recipe(k: int) -> Recipe:
    """A point of the grid: eight learning rates, eight batch sizes, and as many momenta as it takes."""
    lr, batch_size, momentum = k % 8, k // 8 % 8, k // 64
    return Recipe.of(
        f"recipe_{k:03d}", 1 + k // RECIPES_OF_A_CASE, optimizer="SGD", lr=float(f"{10 ** (-lr / 2):.3g}"),
        min_lr=1e-10, batch_size=8 * 2**batch_size, momentum=0.1 * momentum, max_epochs=EPOCHS, loss="cross_entropy",
        activation="logits", sampler="shuffle",
    )  # fmt: skip


def _metrics(truth: np.ndarray, predicted: np.ndarray, nll: np.ndarray, names: Sequence[str]) -> dict[str, Any]:
    def by_class(indices: np.ndarray) -> dict[str, int]:
        return dict(zip(names, np.bincount(indices, minlength=len(names)).tolist(), strict=True))

    images, hits = by_class(truth), by_class(truth[truth == predicted])
    return {
        "images": len(truth), "accuracy": float((truth == predicted).mean()),
        "balanced_accuracy": float(balanced_accuracy_score(truth, predicted)),
        "macro_f1": float(f1_score(truth, predicted, average="macro")), "nll": float(nll.mean()), "ece": 0.05,
        "recall": {name: hits[name] / images[name] for name in names},
        "class_images": images, "class_hits": hits, "class_guesses": by_class(predicted),
    }  # fmt: skip


def _record(recipe: Recipe, seed: int, failed: bool, names: Sequence[str]) -> dict[str, Any]:
    one = names[0] if failed else None
    facts = {
        "classes": len(names), "only_class": {"name": one, "since": 2, "share": 0.1} if failed else None,
        "only_class_at_best": one, "early_stopping_patience": 10, "best_by": "accuracy", "best_from_epoch": 1,
    }  # fmt: skip
    return {
        "experiment": recipe.experiment, "seed": seed, "outcome": "collapsed" if failed else "completed",
        "facts": facts, "epochs": EPOCHS, "max_epochs": EPOCHS, "best_epoch": EPOCHS, "best_val_accuracy": 0.7,
        "images_per_second": 1e3, "peak_memory_bytes": 1 << 30, "seconds": 60.0, "parameters": 10**6,
        "trained_parameters": 10**6, "device": "cpu",
        "precision": "fp32", "lr_drops": [], "recipe": dict(recipe.hyperparameters), "provenance": {},
    }  # fmt: skip


def _history(skill: float) -> pd.DataFrame:
    epoch = np.arange(1, EPOCHS + 1)
    accuracy = skill * (1 - np.exp(-epoch / 4))
    constant = {"lr": 0.01, "seconds": 3.0, "predicted_classes": 10}
    losses = {name: 2.3 - 2 * accuracy for name in ("train_loss", "val_loss", "val_nll")}
    scores = ("train_accuracy", "val_accuracy", "val_balanced_accuracy", "val_macro_f1")
    return pd.DataFrame({"epoch": epoch, **losses, **dict.fromkeys(scores, accuracy), **constant})


def measure(runs: Sequence[Run], folder: Path) -> Mapping[str, Any]:
    """Seconds of each step, bytes of what it made, and the peak memory of the process in MB."""
    weights = pd.DataFrame({"class": runs[0].classes, "count": 1000, "weight": 1.0})
    rows = [(name, "test", name) for name in runs[0].scores["test"].image_ids]
    manifest = pd.DataFrame(rows, columns=["image_id", "split", "sha256"]).assign(status="kept")
    comparison = Comparison(runs, METRICS, class_weights=weights, manifest=manifest)
    figures: dict[str, Any] = {}
    record: dict[str, Any] = {
        "recipes": len({run.experiment for run in runs}),
        "runs": len(runs),
        "seconds": {},
        "bytes": {},
    }

    def timed(name: str, make: Callable[[], Any]) -> Any:
        start = time.monotonic()
        made = make()
        record["seconds"][name] = round(time.monotonic() - start, 2)
        return made

    timed("verdicts and tiers", lambda: comparison.tiers)
    timed("bootstrap", lambda: [comparison.bootstrap.scores(run) for run in runs])
    tables = timed("tables", lambda: all_tables(comparison, rule="tables"))
    record["bytes"]["tables"] = sum(len(table_text(table)) for table in tables.values())
    record["pairs"], record["effects"] = len(tables["pairwise.csv"]), len(tables["effects.csv"])
    record["bytes"]["comparison.html"] = len(
        timed("comparison.html", lambda: comparison_html(tables["comparison.csv"], "many"))
    )
    material = Material(comparison, effects=tables["effects.csv"])
    figures = {"comparison": recipes_figure.comparison, "effects": effects_figure.effects}
    for name, draw in figures.items():
        timed(f"{name}.svg", lambda draw=draw, name=name: draw(material, folder / f"{name}.svg"))
        record["bytes"][f"{name}.svg"] = (folder / f"{name}.svg").stat().st_size
    said = timed("answer", lambda: [*answer(comparison, str, str), caution(comparison)])
    record["bytes"]["answer"] = sum(map(len, said))
    record["peak_memory_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return record


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipes", type=int, default=500)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--images", type=int, default=10_000, help="of validation, and of test")
    parser.add_argument("--profile", action="store_true", help="the functions that took longest, to the terminal")
    arguments = parser.parse_args()
    runs = made_up_runs(arguments.recipes, arguments.seeds, arguments.images)
    with tempfile.TemporaryDirectory() as folder, cProfile.Profile() as profile:
        record = measure(runs, Path(folder))
    print(json.dumps(record, indent=2))
    if arguments.profile:
        pstats.Stats(profile).sort_stats("cumulative").print_stats(45)


if __name__ == "__main__":
    main()
