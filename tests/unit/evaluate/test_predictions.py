"""The file of predictions: it comes back to the last bit, is the same twice, and says what is wrong with it."""

from pathlib import Path

import made_runs
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from study.errors import StudyError
from study.evaluate import predictions as module
from study.evaluate.predictions import Predictions, read_predictions, read_scores, write_predictions

CLASSES = ["01", "1", "None", "nan", "log_p_x", "", "a\nb", "label"]


@pytest.fixture
def made() -> Predictions:
    return made_runs.predictions(made_runs.Made(made_runs.recipe("a")), CLASSES, images=60)


def test_it_comes_back_as_it_was_in_pieces_too(
    made: Predictions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ROWS", 50)
    write_predictions(made, tmp_path / "x.parquet")
    read = read_predictions(tmp_path / "x.parquet")
    assert pq.ParquetFile(tmp_path / "x.parquet").num_row_groups == 3
    assert read.classes == CLASSES
    pd.testing.assert_frame_equal(read.scores, made.scores)
    pd.testing.assert_frame_equal(read_scores(tmp_path / "x.parquet"), made.scores)
    np.testing.assert_array_equal(read.log_p, made.log_p)
    assert read.log_p.dtype == np.float32


def test_the_same_predictions_are_the_same_bytes(made: Predictions, tmp_path: Path) -> None:
    write_predictions(made, tmp_path / "one.parquet")
    write_predictions(read_predictions(tmp_path / "one.parquet"), tmp_path / "two.parquet")
    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "two.parquet").read_bytes()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_pandas_reads_it(made: Predictions, tmp_path: Path) -> None:
    write_predictions(made, tmp_path / "x.parquet")
    table = pd.read_parquet(tmp_path / "x.parquet")
    columns = ["image_id", "split", "label", "predicted", "nll", "confidence"]
    assert list(table) == [*columns, *(f"log_p_{name}" for name in CLASSES)]
    row = table.iloc[7]
    log_p = row[6:].to_numpy(np.float32)
    assert row["predicted"] == CLASSES[int(log_p.argmax())]
    assert row["nll"] == -row[f"log_p_{row['label']}"]
    assert row["confidence"] == pytest.approx(np.exp(log_p.max()))


def test_values_that_are_not_finite_stay_and_equal_ones_fall_to_the_first(tmp_path: Path) -> None:
    nan, inf = np.nan, np.inf
    log_p = np.array([[nan] * 3, [-inf, 0, -inf], [-1, -1, -2], [nan, -3, nan]], np.float32)
    made = Predictions.of(list("abcd"), ["val"] * 4, [2, 0, 1, 1], log_p, ["x", "y", "z"])
    write_predictions(made, tmp_path / "x.parquet")
    read = read_predictions(tmp_path / "x.parquet")
    np.testing.assert_array_equal(read.log_p, log_p)
    assert read.scores["predicted"].tolist() == ["x", "y", "x", "y"]
    np.testing.assert_array_equal(read.scores["nll"], np.array([nan, inf, 1, 3], np.float32))


def test_what_is_no_parquet_is_named(tmp_path: Path) -> None:
    path = tmp_path / "predictions.parquet"
    path.write_text("image_id,label,p_a\nx,a,1.0\n")
    for read in (read_predictions, read_scores):
        with pytest.raises(
            StudyError, match=r"predictions.parquet: not readable as Parquet \(.*; evaluate the run again"
        ):
            read(path)


def test_a_file_cut_short_is_named(made: Predictions, tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    write_predictions(made, path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(StudyError, match=r"x.parquet: not readable as Parquet"):
        read_scores(path)


@pytest.mark.parametrize(
    ("drop", "message"),
    [(["split"], "missing column split; found: image_id, label"), (["log_p_x"], "missing column log_p_<class>; found")],
)
def test_missing_columns_are_named(drop: list[str], message: str, tmp_path: Path) -> None:
    made = Predictions.of(["a"], ["val"], [0], np.zeros((1, 1)), ["x"])
    write_predictions(made, tmp_path / "x.parquet")
    pq.write_table(pq.read_table(tmp_path / "x.parquet").drop_columns(drop), tmp_path / "x.parquet")
    with pytest.raises(StudyError, match=message):
        read_predictions(tmp_path / "x.parquet")


@pytest.mark.parametrize("column", ["label", "predicted"])
def test_a_label_without_a_column_is_named(column: str, made: Predictions, tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    write_predictions(made, path)
    table = pq.read_table(path)
    values = table[column].to_pylist()
    values[3] = "joy"
    pq.write_table(table.set_column(table.column_names.index(column), column, pa.array(values)), path)
    with pytest.raises(StudyError, match=rf"x.parquet, row 4: {column} 'joy' has no column log_p_joy; allowed: 01, 1"):
        read_scores(path)
