"""Every run in a row."""

import io
import math

import made_runs
import pandas as pd
import pytest
from made_runs import comparison_of, fourteen, with_reported

from study.compare.run_table import run_table
from study.compare.runs import Run
from study.compare.verdicts import BEST


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    return made_runs.study(tmp_path_factory.mktemp("runs"), fourteen())


def test_comparison_has_a_row_per_run(runs: list[Run]) -> None:
    table = run_table(with_reported(runs, 200))
    promised = {
        "experiment", "seed", "case", "optimizer", "lr", "min_lr", "batch_size", "max_epochs", "loss", "activation",
        "sampler", "outcome", "reason", "epochs", "best_epoch", "val_accuracy", "val_accuracy_low",
        "val_accuracy_high", "test_accuracy", "test_accuracy_low", "test_accuracy_high", "test_balanced_accuracy",
        "test_macro_f1", "test_nll", "test_ece", "parameters", "images_per_second", "seconds", "vs_best", "reported",
    }  # fmt: skip
    assert promised <= set(table.columns)
    assert len(table) == 14
    for name in ("test_accuracy", "test_macro_f1", "test_balanced_accuracy", "test_nll", "val_accuracy"):
        assert (table[f"{name}_low"] <= table[name]).all()
        assert (table[name] <= table[f"{name}_high"]).all()
    assert (table["vs_best"] == BEST).sum() == 1


def test_comparison_survives_csv(runs: list[Run]) -> None:
    table = run_table(comparison_of(runs, 50))
    read = pd.read_csv(io.StringIO(table.to_csv(index=False)))
    assert read["min_lr"].tolist() == table["min_lr"].tolist()
    assert math.isnan(read.loc[read["experiment"] == "adam_ver2", "best_epoch"].item())
    assert "reported" not in read
