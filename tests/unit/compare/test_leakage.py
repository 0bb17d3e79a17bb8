"""Accuracy with and without the images that have a copy in training."""

from pathlib import Path

import made_runs
import pandas as pd
import pytest
from made_runs import PATIENTS, Made, comparison_of, recipe
from sklearn.metrics import accuracy_score

from study.compare.leakage import LEAKAGE_COLUMNS, leakage, leakage_facts
from study.compare.runs import Run
from study.compare.statistics import accuracy_interval


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return made_runs.study(tmp_path, [Made(recipe("a"), 0.7)])[0]


def manifest(run: Run, copied: list[str]) -> pd.DataFrame:
    """Every image of the run with pixels of its own; training images with the pixels of those in `copied`."""
    rows = [
        {"image_id": image_id, "split": split, "sha256": f"pixels of {image_id}", "status": "kept"}
        for split, scores in run.scores.items()
        for image_id in scores.image_ids
    ]
    rows += [
        {"image_id": f"copy of {name}", "split": "train", "sha256": f"pixels of {name}", "status": "kept"}
        for name in copied
    ]
    return pd.DataFrame(rows)


def test_images_with_a_copy_in_training_are_scored_apart(run: Run) -> None:
    scores = run.scores["test"]
    copied = sorted(scores.image_ids)[:30]
    table = leakage(comparison_of([run], manifest=manifest(run, copied)))
    assert list(table.columns) == LEAKAGE_COLUMNS
    test = table[table["split"] == "test"].iloc[0]
    assert (test["images"], test["copied"]) == (400, 30)
    inside = pd.Series(scores.image_ids).isin(copied).to_numpy()
    assert test["accuracy"] == pytest.approx(accuracy_score(scores.labels, scores.predicted))
    expected = accuracy_score(scores.labels[~inside], scores.predicted[~inside])
    assert test["accuracy_without_copies"] == pytest.approx(expected)
    assert test["accuracy_without_copies_low"] < expected < test["accuracy_without_copies_high"]
    assert test["accuracy_of_copies"] == pytest.approx(accuracy_score(scores.labels[inside], scores.predicted[inside]))
    assert table[table["split"] == "val"].iloc[0]["copied"] == 0


def test_a_dropped_training_image_leaks_nothing(run: Run) -> None:
    images = manifest(run, list(run.scores["test"].image_ids[:5]))
    images.loc[images["split"] == "train", "status"] = "dropped"
    assert leakage(comparison_of([run], manifest=images))["copied"].sum() == 0


def test_the_facts_name_counts_and_accuracies(run: Run) -> None:
    table = leakage(comparison_of([run], manifest=manifest(run, list(run.scores["test"].image_ids[:40]))))
    (fact,) = leakage_facts(table, "a")
    assert fact.startswith("40 of 400 test images have an exact copy in training: a classifies ")
    everything = leakage(
        comparison_of([run], manifest=manifest(run, [*run.scores["test"].image_ids, *run.scores["val"].image_ids]))
    )
    assert [fact.endswith("of these.") for fact in leakage_facts(everything, "a")] == [True, True]
    assert leakage_facts(leakage(comparison_of([run], manifest=manifest(run, []))), "a") == []


def test_of_patients_the_interval_is_that_of_those_that_are_left(tmp_path: Path) -> None:
    run = made_runs.study(tmp_path, [Made(recipe("a"), 0.7)], groups=PATIENTS)[0]
    scores = run.scores["test"]
    copied = list(scores.image_ids[:80])
    test = leakage(comparison_of([run], manifest=manifest(run, copied))).set_index("split").loc["test"]
    assert scores.units is not None
    low, high = accuracy_interval(scores.correct[80:], scores.units[80:], 0.95)
    assert (test["accuracy_without_copies_low"], test["accuracy_without_copies_high"]) == (low, high)


def test_images_with_a_near_copy_in_training_are_scored_apart(run: Run) -> None:
    scores = run.scores["test"]
    copied, near = list(scores.image_ids[:30]), list(scores.image_ids[30:80])
    images = manifest(run, copied).assign(near_duplicate_group="")
    images.loc[images["image_id"].isin(near), "near_duplicate_group"] = "1"
    images.loc[images["image_id"] == copied[0], "near_duplicate_group"] = "1"  # copied exactly, and counted so
    plain = leakage(comparison_of([run], manifest=images.assign(near_duplicate_group="")))
    apart = pd.DataFrame([{"image_id": "other", "split": "train", "sha256": "o", "status": "kept"}])
    images = pd.concat([images, apart.assign(near_duplicate_group="1")])
    table = leakage(comparison_of([run], manifest=images))
    test = table.set_index("split").loc["test"]
    assert (test["copied"], test["near_copied"]) == (30, 50)
    expected = accuracy_score(scores.labels[80:], scores.predicted[80:])
    assert test["accuracy_without_near_copies"] == pytest.approx(expected)
    assert test["accuracy_without_near_copies_low"] < expected < test["accuracy_without_near_copies_high"]
    assert test["accuracy_of_near_copies"] == pytest.approx(
        accuracy_score(scores.labels[30:80], scores.predicted[30:80])
    )
    exact = [name for name in LEAKAGE_COLUMNS if "near" not in name]
    pd.testing.assert_frame_equal(table[exact], plain[exact])
    assert plain[[name for name in LEAKAGE_COLUMNS if "near" in name]].isna().all(axis=None)
    (_, fact) = leakage_facts(table, "a")
    assert fact.startswith("50 of 400 test images have a near copy, but no exact one, in training: a classifies ")
    assert fact.endswith(f" and {expected:.1%} of those without a copy of either kind.")
    assert len(leakage_facts(plain, "a")) == 1
