"""Made-up runs in the layout of a real study, for the tests of tables, figures and page.

The numbers are invented: every synthetic network is right about each image with a chosen probability.
"""

import json
import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import log_softmax

from study.compare.comparison import Comparison
from study.compare.runs import Run, load_runs
from study.elsewhere import from_file, predictions_file, recipe_from_file
from study.evaluate.metrics import evaluate
from study.evaluate.predictions import Predictions, read_scores, write_predictions
from study.files import write_table
from study.recipe import Recipe

CLASSES = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")
# Of audit.json, what sentences are made from.
AUDIT: dict[str, Any] = {
    "expected": [],
    "source": {"images": 40},
    "kept": {"images": 35},
    "found": {
        "unreadable": 1, "duplicate_groups": 3, "duplicate_images": 7, "contradictory_groups": 2, "blank": 0,
        "odd_size": 0, "odd_mode": 0,
    },
    "done": {
        "duplicates": {"policy": "group", "dropped": 0},
        "contradictory": {"policy": "drop", "dropped": 4},
        "unreadable": {"policy": "drop", "dropped": 1},
        "oversampled": {"*x*": 5},
    },
    "leakage": {
        "official": None,
        "final": {"val": {"images": 6}, "test": {"images": 6}, "total": 2},
    },
}  # fmt: skip
SHARES = (0.14, 0.015, 0.14, 0.25, 0.17, 0.17, 0.115)


@dataclass(frozen=True)
class Made:
    """What is made up about one run."""

    recipe: Recipe
    skill: float = 0.6
    outcome: str = "completed"
    seed: int = 0
    epochs: int = 12
    mislabelled: int = 0  # of the first images of each split, which have the label after their own


def recipe(experiment: str, case: int = 1, **changes: object) -> Recipe:
    base = Recipe.of(
        experiment, case, optimizer="SGD", lr=1e-2, min_lr=1e-10, batch_size=64, max_epochs=100, loss="cross_entropy",
        activation="softmax", sampler="shuffle", momentum=0.9, reported=0.5,
    )  # fmt: skip
    return base.but(**changes)


def imported(experiment: str, case: int = 1, file: str = "resources/theirs.csv") -> Recipe:
    """The recipe of a row with predictions from a file."""
    return recipe_from_file(experiment, case, file, {})


def fourteen() -> list[Made]:
    """As many recipes as the study has, in five cases, three of them failures."""
    adam = {"optimizer": "Adam", "momentum": 0.0, "lr": 1e-5, "min_lr": 1e-12, "batch_size": 128, "max_epochs": 200}
    weighted = {"loss": "weighted_cross_entropy"}
    log = {"activation": "log_softmax"}
    balanced = {"sampler": "balanced"}
    failed = {"reported": None, "reported_note": "stopped; accuracy stuck at 0.1111"}
    return [
        Made(recipe("sgd_ver1"), 0.61, "early_stopped"),
        Made(recipe("sgd_ver2", **weighted, **balanced), 0.60, "early_stopped"),
        Made(recipe("sgd_ver3", **weighted, **balanced, **log), 0.71),
        Made(recipe("sgd_ver4", 2, batch_size=128), 0.66),
        Made(recipe("sgd_ver5", 2, batch_size=128, **weighted, **balanced), 0.70),
        Made(recipe("sgd_ver6", 2, batch_size=128, **weighted, **balanced, **log), 0.72),
        Made(recipe("adam_ver1", 3, **{**adam, "lr": 5e-4, "batch_size": 64, **failed}), 0.0, "collapsed"),
        Made(recipe("adam_ver2", 3, **{**adam, "lr": 1e-3, **failed}), 0.0, "diverged", epochs=3),
        Made(recipe("adam_ver4", 3, **{**adam, "lr": 1e-4, "batch_size": 64, **failed}), 0.0, "collapsed"),
        Made(recipe("adam_ver3", 4, **{**adam, "lr": 1e-4}), 0.58),
        Made(recipe("adam_ver5", 4, **adam), 0.64),
        Made(recipe("adam_ver6", 4, **{**adam, "batch_size": 64}), 0.63),
        Made(recipe("adam_ver7", 5, **adam, **weighted), 0.62),
        Made(recipe("adam_ver8", 5, **adam, **weighted, **log), 0.65),
    ]


def study(
    folder: Path,
    made: Sequence[Made],
    classes: Sequence[str] = CLASSES,
    images: int = 400,
    predictions: bool = True,
    groups: pd.Series | None = None,
) -> list[Run]:
    """Write the files of every run below `folder` and load them; `groups` as `load_runs` has them."""
    for one in made:
        write_run(folder, one, classes, images)
    recipes = {one.recipe.experiment: one.recipe for one in made}
    return load_runs(
        recipes,
        sorted(folder.glob("train/*/*/run.json")),
        sorted(folder.glob("evaluate/*/*/metrics.json")),
        sorted(folder.glob("train/*/*/history.csv")),
        sorted(folder.glob("evaluate/*/*/predictions.parquet")) if predictions else (),
        groups,
    )


def finished(folder: Path, made: Sequence[Made]) -> list[Run]:
    """The same with the files of the data beside them; ten test images have a copy in training."""
    runs = study(folder, made)
    (folder / "data").mkdir()
    table = manifest(runs)
    copied = table[table["split"] == "test"].head(10)
    copies = copied.assign(image_id="copy of " + copied["image_id"], split="train")
    pd.concat([table, copies]).to_csv(folder / "data/manifest.csv", index=False)
    weights = pd.DataFrame({"class": CLASSES, "count": 10, "weight": 0.9})
    weights.to_csv(folder / "data/class_weights.csv", index=False)
    splits = {split: {"images": 400} for split in ("train", "val", "test")}
    counts = {"kept": {"images": 1200, "splits": splits}, "source": {"images": 1200, "official_splits": splits}}
    (folder / "data/audit.json").write_text(json.dumps(AUDIT | counts), encoding="utf-8")
    for run in (run for run in runs if run.recipe.trains):
        run.record["provenance"] = {"threads": 1, "platform": "Linux", "started": "2026", "ended": "2026"}
        place = folder / f"train/{run.experiment}/seed_{run.seed}/run.json"
        place.write_text(json.dumps(run.record), encoding="utf-8")
    return runs


# The made-up images of patients: eight of each but the last images of the test split, which are of none.
PATIENTS = pd.Series({f"image_{k:05d}": f"patient {k // 8}" for k in range(760)})
TEST_UNITS = 45 + 40  # of the 400 test images


def manifest(runs: Sequence[Run], **columns: Sequence[object]) -> pd.DataFrame:
    """Every evaluated image of the runs, with pixels of its own; `columns` are further ones of the source, as text."""
    splits = {split: scores.image_ids for split, scores in runs[0].scores.items()}
    rows = [(name, split, f"pixels of {name}", "kept") for split, ids in splits.items() for name in ids]
    table = pd.DataFrame(rows, columns=["image_id", "split", "sha256", "status"])
    return table.assign(**{name: [str(cell) for cell in cells] for name, cells in columns.items()})


def comparison_of(runs: Sequence[Run], samples: int = 50, confidence: float = 0.95, **changes: Any) -> Comparison:
    """The comparison of made-up runs; `changes` are fields of it, or values of the section metrics."""
    metrics = {"confidence": confidence, "bootstrap_samples": samples, "ece_bins": 15, "ensemble_members": 5}
    fields = {name: value for name, value in changes.items() if name not in metrics}
    return Comparison(runs, metrics | {name: changes[name] for name in metrics if name in changes}, **fields)


RARE = ("common", "rare")  # of the made-up images nine of ten are common


def with_rare_class(folder: Path, **changes: Any) -> Comparison:
    """Two classes, one of them rare: a recipe that learns, two that guess or nearly so, and one that collapsed."""
    made = [
        Made(recipe("both", 1), 0.9),
        Made(recipe("guesses", 1, reported=0.4), 0.0),
        Made(recipe("collapsed", 1, reported=None, reported_note="stopped"), 0.0, "collapsed"),
        Made(recipe("stuck", 1, reported=None, reported_note="stopped"), 0.1),
    ]
    return comparison_of(study(folder, made, RARE), class_weights=COUNTS, **changes)


COUNTS = pd.DataFrame({"class": RARE, "count": [903, 97], "weight": [0.097, 0.903]})

# What the reported accuracies were made with: key -> here, reported.
PROTOCOL = {"model.weights": ["none", "imagenet"], "model.width": [0.25, 1.0]}


def with_reported(runs: Sequence[Run], samples: int = 50) -> Comparison:
    """The comparison that shows reported values too."""
    return comparison_of(runs, samples, reported_protocol=PROTOCOL)


def three_recipes_with_three_seeds(folder: Path) -> list[Run]:
    """Good, middling with a seed that diverged, and collapsed throughout."""
    made = [Made(recipe("a"), 0.7), Made(recipe("b"), 0.4), Made(recipe("c"), 0.0, "collapsed")]
    made = [replace(one, seed=seed) for one in made for seed in (0, 1, 2)]
    made[4] = replace(made[4], skill=0.0, outcome="diverged")
    return study(folder, made)


def write_run(folder: Path, made: Made, classes: Sequence[str] = CLASSES, images: int = 400) -> None:
    """run.json, history.csv, predictions.parquet and metrics.json of one run."""
    place = f"{made.recipe.experiment}/seed_{made.seed}"
    train, evaluate_ = folder / "train" / place, folder / "evaluate" / place
    evaluate_.mkdir(parents=True)
    write_predictions(predictions(made, classes, images), evaluate_ / "predictions.parquet")
    metrics = evaluate(read_scores(evaluate_ / "predictions.parquet"), 15)
    if from_file(made.recipe):
        only = classes[3 % len(classes)] if made.outcome == "collapsed" else None
        path = str(predictions_file(made.recipe, made.seed))
        metrics["file"] = {
            "path": path,
            "sha256": "f" * 64,
            "seed": None,
            "data": "",
            "left_out": 0,
            "only_class": only,
        }
    (evaluate_ / "metrics.json").write_text(json.dumps(metrics, allow_nan=False))
    if from_file(made.recipe):
        return
    train.mkdir(parents=True)
    curve = history(made, len(classes))
    write_table(curve, train / "history.csv")
    (train / "run.json").write_text(json.dumps(record(made, curve, classes), allow_nan=False))


def predictions(made: Made, classes: Sequence[str] = CLASSES, images: int = 400) -> Predictions:
    """Images are the same for every run; a failed run calls everything by the name of one class."""
    shares = np.resize(SHARES, len(classes)) / np.resize(SHARES, len(classes)).sum()
    labels = np.random.default_rng(1).choice(len(classes), 2 * images, p=shares)
    random = np.random.default_rng([zlib.crc32(made.recipe.experiment.encode()), made.seed])
    right = random.random(2 * images) < made.skill
    guess = np.where(right, labels, random.choice(len(classes), 2 * images, p=shares))
    logits = random.normal(0, 0.7, (2 * images, len(classes)))
    logits[np.arange(2 * images), guess] += 2.5
    if made.outcome == "collapsed":
        logits = np.zeros((2 * images, len(classes))) + 8.0 * (np.arange(len(classes)) == 3 % len(classes))
    labels = np.where(np.arange(2 * images) % images < made.mislabelled, (labels + 1) % len(classes), labels)
    return Predictions.of(
        [f"image_{k:05d}" for k in range(2 * images)],
        ["val"] * images + ["test"] * images,
        labels,
        log_softmax(logits, axis=1),
        classes,
    )


def history(made: Made, classes: int) -> pd.DataFrame:
    epoch = np.arange(1, made.epochs + 1)
    progress = 1 - np.exp(-epoch / 4)
    wobble = np.random.default_rng([7, made.seed, zlib.crc32(made.recipe.experiment.encode())]).normal(
        0, 0.01, (4, made.epochs)
    )
    accuracy = 1 / classes + (made.skill + 0.1 - 1 / classes) * progress + wobble[0]
    loss = math.log(classes) * (1 - 0.6 * progress) + wobble[1]
    lr = made.recipe.lr * 0.1 ** (np.arange(made.epochs) // max(2, made.epochs // 3))
    table = pd.DataFrame(
        {
            "epoch": epoch,
            "lr": lr,
            "train_loss": loss * 0.9,
            "train_accuracy": np.clip(accuracy + 0.12 * progress, 0, 1),
            "val_loss": loss + wobble[2],
            "val_nll": loss + 0.2 + wobble[3],
            "val_accuracy": accuracy,
            "val_balanced_accuracy": accuracy,
            "val_macro_f1": accuracy,
            "predicted_classes": classes,
            "seconds": 1.25,
        }
    )
    if made.outcome == "collapsed":
        table = table.assign(train_accuracy=0.25, val_accuracy=0.25, val_nll=9.0, val_loss=1.915)
        table = table.assign(val_balanced_accuracy=1 / classes, val_macro_f1=0.4 / classes, predicted_classes=1)
    if made.outcome == "diverged":
        columns = ["train_loss", "val_loss", "val_nll"]
        table.loc[table.index[-1], columns] = np.nan
    return table


def record(made: Made, curve: pd.DataFrame, classes: Sequence[str]) -> dict[str, object]:
    """The content of run.json."""
    only_class = classes[3 % len(classes)]  # as `predictions` has it
    best = None if made.outcome == "diverged" else int(curve["val_accuracy"].idxmax())
    return {
        "experiment": made.recipe.experiment,
        "seed": made.seed,
        "outcome": made.outcome,
        "facts": {
            "classes": len(classes),
            "only_class": {"name": only_class, "since": 2, "share": 0.25} if made.outcome == "collapsed" else None,
            "only_class_at_best": only_class if made.outcome == "collapsed" else None,
            "early_stopping_patience": 10,
            "best_by": "accuracy",
            "best_from_epoch": 1,
        },
        "epochs": made.epochs,
        "max_epochs": made.epochs if made.outcome == "completed" else made.epochs + 6,
        "best_epoch": None if best is None else int(curve["epoch"][best]),
        "best_val_accuracy": None if best is None else float(curve["val_accuracy"][best]),
        "images_per_second": 1234.5,
        "peak_memory_bytes": 1 << 30,
        "seconds": 1.25 * made.epochs,
        "parameters": 123456,
        "trained_parameters": 123456,
        "device": "cpu",
        "precision": "fp32",
        "lr_drops": [],
        "recipe": dict(made.recipe.hyperparameters),
        "provenance": {},
    }
