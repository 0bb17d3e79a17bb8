"""A case's table says what the runs say: arrangement, failures, seeds, intervals, reported values."""

import math
from pathlib import Path

import made_runs
import pandas as pd
import pytest
from made_runs import Made, comparison_of, fourteen, recipe, with_reported

from study.compare.case_table import case_table
from study.compare.comparison import PAIR_COLUMNS
from study.compare.run_table import run_table
from study.compare.runs import Run
from study.compare.statistics import wilson_interval
from study.compare.verdicts import BEST
from study.errors import StudyError
from study.recipe import HYPERPARAMETERS
from study.report.case_text import case_cells


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    return made_runs.study(tmp_path_factory.mktemp("runs"), fourteen())


def rows(table: pd.DataFrame) -> pd.DataFrame:
    return table.set_index("property")


def test_case_table_has_the_studys_arrangement(runs: list[Run]) -> None:
    table = rows(case_table(with_reported(runs), 1))
    assert list(table.columns) == ["sgd_ver1", "sgd_ver2", "sgd_ver3"]
    assert list(table.index) == [
        *(column.label for column in HYPERPARAMETERS.values() if not column.section),
        "epochs allowed here", "outcome", "reason", "epochs",
        "best epoch", "validation accuracy", "test accuracy", "test accuracy low", "test accuracy high",
        "test balanced accuracy", "test balanced accuracy low", "test balanced accuracy high",
        "test macro-F1", "test macro-F1 low", "test macro-F1 high", "test NLL", "test NLL low", "test NLL high",
        "compared with best", "tier", "reported accuracy", "measured minus reported",
        "reported with other", "note",
    ]  # fmt: skip
    assert table.loc["learning rate", "sgd_ver1"] == 0.01
    assert table.loc["sampler"].tolist() == ["shuffle", "balanced", "balanced"]
    run = runs[0]
    assert table.loc["test accuracy", "sgd_ver1"] == run.test_accuracy
    low, high = wilson_interval(round(400 * run.test_accuracy), 400, 0.95)
    assert table.loc["test accuracy low", "sgd_ver1"] == low
    assert table.loc["test accuracy high", "sgd_ver1"] == high
    assert table.loc["measured minus reported", "sgd_ver1"] == pytest.approx(run.val_accuracy - 0.5)


def test_reported_values_appear_only_on_request(runs: list[Run]) -> None:
    assert not {"reported accuracy", "note"} & set(case_table(comparison_of(runs), 1)["property"])


def test_unknown_case(runs: list[Run]) -> None:
    with pytest.raises(StudyError, match=r"case 9: no recipe belongs to it; .* has \[1, 2, 3, 4, 5\]"):
        case_table(comparison_of(runs), 9)


def test_a_case_of_one_recipe(tmp_path: Path) -> None:
    runs = made_runs.study(tmp_path, [Made(recipe("only"))])
    table = case_table(with_reported(runs), 1)
    assert rows(table).loc["compared with best", "only"] == BEST
    assert not any(best for _, cells in case_cells(table) for _, best in cells)
    assert len(run_table(comparison_of(runs, 50))) == 1
    assert list(comparison_of(runs, 50).pairs.columns) == PAIR_COLUMNS


def test_a_diverged_run_without_numbers_is_a_row(tmp_path: Path) -> None:
    runs = made_runs.study(tmp_path, [Made(recipe("fine")), Made(recipe("lost"), 0.0, "diverged")])
    runs[1].metrics["test"].update(nll=None, ece=None)
    runs[1].metrics["val"].update(nll=None)
    runs[1].scores["test"].nll[:] = math.nan
    table = run_table(comparison_of(runs, 50))
    assert math.isnan(table.loc[1, "test_nll"])
    assert math.isnan(comparison_of(runs, 50).pairs["nll_difference"].iloc[0])
    assert dict(case_cells(case_table(comparison_of(runs), 1)))["test NLL"][1][0] == "–"
