"""Predictions from a file: all forms come to the same, and whatever is wrong with one is said with its row."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from study.errors import StudyError
from study.evaluate import own_predictions
from study.evaluate.metrics import evaluate
from study.evaluate.own_predictions import Images, read
from study.evaluate.predictions import predictions_bytes, read_predictions, write_predictions
from study.files import file_sha256

CLASSES = ("cat", "dog", "p_cat")  # one named as the column of another's probability
IDS = {"val": ["v/1.png", "007"], "test": ["t/1.png", "NA", "t/3.png"]}
IMAGES = Images(
    CLASSES,
    {"train": ["x.png"], **IDS},
    {"train": np.array([0]), "val": np.array([0, 1]), "test": np.array([2, 1, 0])},
    [*IDS["val"], *IDS["test"], "x.png", "dropped.png"],
    "digest",
)
P = np.array([[0.7, 0.2, 0.1], [0.25, 0.5, 0.25], [0.1, 0.1, 0.8], [0.3, 0.4, 0.3], [1 / 3, 1 / 3, 1 / 3]])


def table(prefix: str = "", values: np.ndarray = P, **columns: object) -> pd.DataFrame:
    """What a person has, in another order than ours."""
    made = pd.DataFrame({"image_id": [*IDS["val"], *IDS["test"]], **columns})
    for k, name in enumerate(CLASSES):
        made[prefix + name] = values[:, k]
    return made.iloc[::-1].reset_index(drop=True)


def write(made: pd.DataFrame, path: Path) -> Path:
    if path.suffix == ".parquet":
        made.to_parquet(path)
    else:
        made.to_csv(path, index=False, sep="\t" if path.suffix == ".tsv" else ",")
    return path


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet"])
@pytest.mark.parametrize("prefix", ["", "p_", "log_p_"])
def test_every_form_is_the_same_predictions(tmp_path: Path, suffix: str, prefix: str) -> None:
    values = np.log(P) if prefix == "log_p_" else P
    made = read(write(table(prefix, values, note="x"), tmp_path / f"theirs{suffix}"), IMAGES, seed=0)
    scores = made.predictions.scores
    assert list(scores["image_id"]) == [*IDS["val"], *IDS["test"]] and list(scores["split"][:3]) == ["val"] * 2 + [
        "test"
    ]
    np.testing.assert_allclose(np.exp(made.predictions.log_p), P, rtol=1e-6)
    assert list(scores["label"]) == ["cat", "dog", "p_cat", "dog", "cat"] == list(scores["predicted"])
    assert evaluate(scores, 15)["test"]["accuracy"] == 1.0 and made.left_out == 0


def test_our_own_file_comes_back_to_the_last_bit(tmp_path: Path) -> None:
    ours = read(write(table("log_p_", np.log(P)), tmp_path / "theirs.parquet"), IMAGES, seed=0).predictions
    write_predictions(ours, tmp_path / "predictions.parquet")
    again = read(tmp_path / "predictions.parquet", IMAGES, seed=0).predictions
    assert predictions_bytes(again) == predictions_bytes(ours)
    assert read_predictions(tmp_path / "predictions.parquet").scores.equals(again.scores)


def test_the_record_names_the_file_and_what_was_found_in_it(tmp_path: Path) -> None:
    made = pd.concat([table(), table().iloc[:2].assign(image_id=["x.png", "dropped.png"])])
    path = write(made, tmp_path / "theirs.csv")
    imported = read(path, IMAGES, seed=0)
    assert imported.record() == {
        **{"path": str(path), "sha256": file_sha256(path), "seed": None},
        **{"data": "digest", "left_out": 2, "only_class": None},
    }
    assert "2 rows of other images of the study are left out" in imported.in_words()
    metrics = json.loads(json.dumps({own_predictions.KEY: imported.record()}))
    assert own_predictions.record_of(metrics)["outcome"] == "imported"
    assert "nothing is known here of how they were made, who chose them" in own_predictions.reason(metrics)


def test_one_class_for_every_validation_image_is_a_collapse(tmp_path: Path) -> None:
    constant = np.tile([0.0, 1.0, 0.0], (5, 1))
    imported = read(write(table("", constant), tmp_path / "theirs.csv"), IMAGES, seed=0)
    metrics = {own_predictions.KEY: imported.record()}
    assert own_predictions.record_of(metrics)["outcome"] == "collapsed"
    assert "Predicts 'dog' for every validation image" in own_predictions.reason(metrics)
    assert "3 images have probability 0 for their class" in imported.in_words()
    assert evaluate(imported.predictions.scores, 15)["test"]["nll"] is None


def test_a_column_says_which_rows_are_of_which_seed(tmp_path: Path) -> None:
    other = P[:, [1, 2, 0]]
    path = write(pd.concat([table(seed=3), table(values=other, seed=10)]), tmp_path / "theirs.csv")
    np.testing.assert_allclose(np.exp(read(path, IMAGES, seed=10).predictions.log_p), other, rtol=1e-6)
    three = read(path, IMAGES, seed=3)
    np.testing.assert_allclose(np.exp(three.predictions.log_p), P, rtol=1e-6)
    assert three.record()["seed"] == 3
    with pytest.raises(
        StudyError, match="column 'seed': found 3, 10, allowed is every seed of the study, among them 0"
    ):
        read(path, IMAGES, seed=0)


def scaled(made: pd.DataFrame) -> pd.DataFrame:
    made.loc[1, list(CLASSES)] *= 1.0011
    return made


def cell(row: int, column: str, value: object) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def change(made: pd.DataFrame) -> pd.DataFrame:
        return made.astype({column: object}).assign(**{column: [*made[column][:row], value, *made[column][row + 1 :]]})

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda made: made.iloc[2:], r"theirs.csv: 2 of 5 validation and test images have no row \(NA, t/3.png\)"),
        (
            lambda made: pd.concat([made, made.iloc[:1]]),
            "theirs.csv, rows 2, 7: 1 rows are of an image that has one already, the first 't/3.png'",
        ),
        (
            cell(0, "image_id", "t3.png"),
            r"row 2: 1 image ids are unknown \(t3.png\); the study's are named as in data/manifest.csv, such as v/1",
        ),
        (scaled, r"row 3 \(image NA\): the probabilities of the 3 classes sum to 1.0011, allowed is 1 within 0.001"),
        (
            cell(4, "dog", -0.1),
            r"row 6 \(image v/1.png\), column 'dog': found -0.1, allowed is a probability from 0 to",
        ),
        (cell(0, "cat", "inf"), "row 2 .*column 'cat': found inf"),
        (cell(2, "cat", "much"), "row 4 .*column 'cat': found 'much', allowed is a probability"),
        (cell(2, "cat", ""), "row 4 .*column 'cat': found ''"),
        (
            lambda made: made.rename(columns={"image_id": "id"}),
            "row 1: the column image_id is missing, .*found: id, cat",
        ),
        (
            lambda made: made.rename(columns={"dog": "Dog"}),
            r"row 1: 1 of 3 classes have no column \(dog\); found: image_id, cat, Dog, p_cat; allowed are columns",
        ),
        (
            lambda made: made.rename(columns={name: f"log_p_{name}" for name in CLASSES}).assign(log_p_cow=-9.0),
            "the column log_p_cow is of no class of the study; allowed: cat, dog, p_cat",
        ),
        (
            lambda made: made.rename(columns={name: f"log_p_{name}" for name in CLASSES}),
            "column 'log_p_cat': found 0.7, allowed is the natural logarithm",
        ),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, change: Callable[[pd.DataFrame], pd.DataFrame], message: str) -> None:
    path = write(change(table()), tmp_path / "theirs.csv")
    with pytest.raises(StudyError, match=message):
        read(path, IMAGES, seed=0)


@pytest.mark.parametrize(("name", "content"), [("a.csv", b""), ("b.csv", b"\xff\xfe\x00"), ("c.parquet", b"PAR1")])
def test_a_damaged_file_is_named(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(StudyError, match=f"{name}: not readable as"):
        read(tmp_path / name, IMAGES, seed=0)


def test_a_sum_within_the_tolerance_is_taken_as_it_is(tmp_path: Path) -> None:
    made = read(write(table("", P.round(3)), tmp_path / "theirs.csv"), IMAGES, seed=0)
    np.testing.assert_allclose(np.exp(made.predictions.log_p), P.round(3), rtol=1e-6)
