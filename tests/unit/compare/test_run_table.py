"""Every run in a row."""

import io
import math
from pathlib import Path

import made_runs
import numpy as np
import pandas as pd
import pytest
from made_runs import Made, comparison_of, fourteen, recipe, with_reported

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


def test_images_of_patients_have_wider_intervals_and_are_counted(tmp_path: Path) -> None:
    """Of 60 patients nearly all images are right, or nearly all wrong."""
    made = [Made(recipe("a"), 0.4)]
    plain = made_runs.study(tmp_path / "plain", made)
    scores = plain[0].scores["test"]
    alike = np.argsort(scores.correct, kind="stable")
    groups = pd.Series([f"patient {k * 60 // 400}" for k in range(400)], index=scores.image_ids[alike])
    of_patients = made_runs.study(tmp_path / "patients", made, groups=groups)
    one, other = (run_table(comparison_of(runs)).iloc[0] for runs in (plain, of_patients))
    assert "test_groups" not in one.index and other["test_groups"] == 60
    for name in ("test_accuracy", "test_macro_f1"):
        widths = [row[f"{name}_high"] - row[f"{name}_low"] for row in (one, other)]
        assert widths[1] > 1.4 * widths[0]
