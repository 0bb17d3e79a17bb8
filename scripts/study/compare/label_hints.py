"""Images whose label may be wrong: good, different recipes agree on another class. Shown, never dropped.

Training images have no predictions, so hints are about validation and test images alone. They come from the models that
are compared: a test set cleaned by them favours them. Entry points:
    label_hints(comparison) -> DataFrame                   tables/label_hints.csv
    witnesses(comparison) -> [RecipeRuns]                  the recipes that are asked
    normalised_margin(p_label, p_other) -> score           of a label, the lowest are the likeliest mistakes
    majority(answers) -> (answer, votes)                   what more than half of them say
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from study.compare.comparison import Comparison
from study.compare.runs import RecipeRuns
from study.evaluate.predictions import read_predictions
from study.names import EVALUATED_SPLITS

TIERS = 2  # the first ones, whose recipes are asked
MOST_RECIPES = 10  # that are asked, the best by validation
NO_ANSWER = -1
NOTES = ("group", "duplicate_group")  # columns of the manifest

HINT_COLUMNS = [
    *("rank", "image_id", "split", "label", "recipes_say", "recipes_agree", "recipes", "answers"),
    *("p_recipes_say", "p_label", "normalised_margin", "above_threshold", *NOTES, "in_training"),
]


def label_hints(comparison: Comparison) -> pd.DataFrame:
    """Validation and test images on which more than half of the `witnesses`, two at least, agree against the label.

    What a recipe says is what more than half of its seeds say. Probabilities are means over recipes, each the mean over
    its seeds. The likeliest mistake comes first, by `normalised_margin`. above_threshold says whether confident
    learning would count the image as mislabelled: the probability of the class that the recipes say is at least its
    mean over the images of the split that are labelled so. Source: Northcutt, Jiang & Chuang 2021, Confident Learning:
    Estimating Uncertainty in Dataset Labels, JAIR 70:1373–1411, section 3.1.

    Memory is linear in the images, beside the log-probabilities of one run at a time.

    Args:
        comparison: with the manifest.

    Returns:
        HINT_COLUMNS; recipes_agree of so many recipes say recipes_say, answers counts what all say; in_training has the
        labels of exact copies among the training images. Empty if there are fewer than two witnesses.
    """
    recipes = witnesses(comparison)
    hints = [_of_split(recipes, split) for split in EVALUATED_SPLITS] if len(recipes) > 1 else []
    table = pd.concat(hints, ignore_index=True) if hints else pd.DataFrame(columns=HINT_COLUMNS)
    for recipe in recipes if len(table) else ():
        table["p_recipes_say"] += _probabilities(recipe, table, comparison.runs[0].classes) / len(recipes)
    table["normalised_margin"] = normalised_margin(table["p_label"], table["p_recipes_say"])
    table["above_threshold"] = (table["p_recipes_say"] >= table["above_threshold"]).astype("int64")
    table = table.sort_values(["normalised_margin", "image_id"], kind="stable", ignore_index=True)
    table["rank"] = np.arange(1, len(table) + 1)
    assert comparison.manifest is not None
    return _noted(table, comparison.manifest)[HINT_COLUMNS]


def witnesses(comparison: Comparison) -> list[RecipeRuns]:
    """The recipes that are asked, with the runs that did not fail: of the first `TIERS` tiers, the best by validation.

    Those that adjust the predictions of one network, or look at them otherwise, are one witness: the best of them.
    """
    good: dict[str, RecipeRuns] = {}
    ranked = sorted(comparison.recipes.values(), key=lambda group: -group.accuracy("val"))
    for group in ranked:
        sound = tuple(run for run in group if not run.failed and np.isfinite(run.scores["test"].nll).all())
        if sound and not group.failed and (group.tier or TIERS + 1) <= TIERS:
            good.setdefault(group.recipe.training, replace(group, runs=sound))
    return list(good.values())[:MOST_RECIPES]


def normalised_margin(p_label: pd.Series, p_other: pd.Series) -> pd.Series:
    """(p of the label − p of another class + 1) / 2: 0 where the label is surely wrong, 1 where it is surely right.

    Source: Northcutt, Jiang & Chuang 2021, JAIR 70:1373–1411, section 3.2, as cleanlab's `normalized_margin` scales it.
    """
    return (p_label - p_other + 1) / 2


def majority(answers: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """What more than half of the voters say of each image, else `NO_ANSWER`, (N,), and how many do, (N,).

    Args:
        answers: class index that each voter says, (V, N); `NO_ANSWER` is no vote.
    """
    middle = np.sort(answers, axis=0)[len(answers) // 2]  # what more than half say stands there
    votes = (answers == middle).sum(axis=0)
    return np.where(2 * votes > len(answers), middle, NO_ANSWER), votes


def _of_split(recipes: Sequence[RecipeRuns], split: str) -> pd.DataFrame:
    """The hints of a split, with the threshold of `above_threshold` in its place and p_recipes_say still 0."""
    scores, classes = recipes[0].first.scores[split], np.array(recipes[0].first.classes, dtype=object)
    answers = np.array([majority(np.array([run.scores[split].predicted for run in group]))[0] for group in recipes])
    agreed, votes = majority(answers)
    p_label = np.mean([np.mean([np.exp(-run.scores[split].nll) for run in group], axis=0) for group in recipes], axis=0)
    against = np.flatnonzero((agreed != NO_ANSWER) & (agreed != scores.labels) & (votes > 1))
    images = np.bincount(scores.labels, minlength=len(classes))
    sums = np.bincount(scores.labels, p_label, minlength=len(classes))
    thresholds = np.divide(sums, images, out=np.full(len(classes), np.inf), where=images > 0)
    return pd.DataFrame(
        {
            "image_id": scores.image_ids[against].astype(object),
            "split": split,
            "label": classes[scores.labels[against]],
            "recipes_say": classes[agreed[against]],
            "recipes_agree": votes[against],
            "recipes": len(recipes),
            "answers": [_counted(column, classes) for column in answers[:, against].T],
            "p_recipes_say": 0.0,
            "p_label": p_label[against],
            "above_threshold": thresholds[agreed[against]],
        }
    )


def _counted(answers: NDArray[np.int64], classes: NDArray[np.object_]) -> str:
    """What recipes say of an image and how many: "happy × 7, sad × 1"; those whose seeds are at odds are left out."""
    said, counts = np.unique(answers[answers != NO_ANSWER], return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return ", ".join(f"{classes[k]} × {n}" for k, n in zip(said[order], counts[order], strict=True))


def _probabilities(group: RecipeRuns, table: pd.DataFrame, classes: Sequence[str]) -> NDArray[np.float64]:
    """Mean over the seeds of the probability of the class that the recipes say, of each image of the table."""
    total = np.zeros(len(table))
    column = pd.Index(classes, dtype=object).get_indexer(pd.Index(table["recipes_say"], dtype=object))
    for run in group:
        assert run.predictions is not None
        predictions = read_predictions(run.predictions)
        row = pd.Index(predictions.scores["image_id"]).get_indexer(table["image_id"])
        total += np.exp(predictions.log_p[row, column].astype(np.float64))
    return total / len(group)


def _noted(table: pd.DataFrame, manifest: pd.DataFrame) -> pd.DataFrame:
    """The table with what the manifest says of copies and groups."""
    images = manifest[manifest["status"] == "kept"].set_index("image_id")
    here = images.reindex(table["image_id"])
    for name in NOTES:
        table[name] = here[name].fillna("").to_numpy() if name in here else ""
    pixels = set(here["sha256"].dropna()) - {""}
    copies = images[(images["split"] == "train") & images["sha256"].isin(pixels)]
    labels = copies.groupby("sha256")["label"].agg(lambda some: ", ".join(sorted(set(some)))) if len(copies) else {}
    table["in_training"] = [labels.get(pixel, "") if isinstance(pixel, str) else "" for pixel in here["sha256"]]
    return table
