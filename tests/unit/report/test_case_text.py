"""A case's table as a person reads it: marks, remarks, Markdown."""

from pathlib import Path

import made_runs
import pandas as pd
import pytest
from made_runs import Made, comparison_of, fourteen, recipe, with_reported

from study.compare.case_table import case_table
from study.compare.runs import Run
from study.report.case_text import case_cells, case_markdown, case_remarks, escape_markdown


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    return made_runs.study(tmp_path_factory.mktemp("runs"), fourteen())


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    return made_runs.three_recipes_with_three_seeds(tmp_path_factory.mktemp("seeds"))


def rows(table: pd.DataFrame) -> pd.DataFrame:
    return table.set_index("property")


def test_failures_stand_with_their_reason_and_are_never_best(runs: list[Run]) -> None:
    table = case_table(with_reported(runs), 3)
    assert rows(table).loc["outcome"].tolist() == ["collapsed", "diverged", "collapsed"]
    assert "for every validation image since epoch 2" in rows(table).loc["reason", "adam_ver1"]
    assert rows(table).loc["best epoch", "adam_ver2"] is None
    assert rows(table).loc["reported accuracy", "adam_ver1"] is None
    assert rows(table).loc["note", "adam_ver1"] == "stopped; accuracy stuck at 0.1111"
    assert not any(best for _, cells in case_cells(table) for _, best in cells)
    text = case_markdown(table, 3, "Why?", 0.95)
    assert "**" not in text
    assert "Every recipe of this case failed" in text


def test_the_best_value_of_a_row_is_bold(runs: list[Run]) -> None:
    table = case_table(comparison_of(runs), 1)
    cells = dict(case_cells(table))
    for label, pick in (("validation accuracy", max), ("test macro-F1", max), ("test NLL", min)):
        values = rows(table).loc[label].tolist()
        assert [best for _, best in cells[label]] == [value == pick(values) for value in values]
    assert not any(best for _, best in cells["learning rate"])


def test_markdown_reads_like_the_study(runs: list[Run]) -> None:
    text = case_markdown(case_table(with_reported(runs), 1), 1, "Which loss?", 0.95)
    assert text.startswith("# Case 1\n\nWhich loss?\n\n| | sgd_ver1 | sgd_ver2 | sgd_ver3 |\n")
    assert "| learning rate | 1e-2 | 1e-2 | 1e-2 |" in text
    assert "| activation | softmax | softmax | log softmax |" in text
    assert "weight decay" not in text  # no recipe uses it


def test_treatments_that_change_together_are_pointed_out(runs: list[Run]) -> None:
    remarks = {case: " ".join(case_remarks(case_table(comparison_of(runs), case))) for case in range(1, 6)}
    assert "Loss and sampler change together" in remarks[1]
    assert "Loss and sampler change together" in remarks[2]
    assert not remarks[4]
    assert not remarks[5]


def test_a_cap_on_epochs_is_shown(runs: list[Run]) -> None:
    assert "| epochs allowed here | 18 | 18 | 12 |" in case_markdown(case_table(comparison_of(runs), 1), 1, "", 0.95)


def test_seeds_are_summarised(seeds: list[Run]) -> None:
    table = case_table(comparison_of(seeds), 1)
    values = [run.test_accuracy for run in seeds[:3]]
    assert rows(table).loc["test accuracy", "a"] == pytest.approx(sum(values) / 3)
    assert rows(table).loc["test accuracy spread", "a"] == pytest.approx(pd.Series(values).std())
    assert rows(table).loc["outcome", "b"] == "2 × completed, 1 × diverged"
    assert rows(table).loc["best epoch", "b"].count(",") == 2
    cells = dict(case_cells(table))
    assert "±" in cells["test accuracy"][0][0]
    assert "standard deviation over seeds" in case_markdown(table, 1, "", 0.95)


def test_a_hyperparameter_that_means_nothing_in_a_recipe_has_no_value(tmp_path: Path) -> None:
    adam = {"optimizer": "Adam", "momentum": 0.0}
    runs = made_runs.study(tmp_path, [Made(recipe("a")), Made(recipe("b", **adam))])
    assert "| momentum | 0.9 | – |" in case_markdown(case_table(comparison_of(runs), 1), 1, "", 0.95)


def test_lists_stand_in_a_table(tmp_path: Path) -> None:
    two = [Made(recipe("a", color_jitter=[0.4, 0.4, 0.4])), Made(recipe("b", color_jitter=None))]
    text = case_markdown(case_table(comparison_of(made_runs.study(tmp_path, two)), 1), 1, "", 0.95)
    assert "| augmentation: colour jitter | 0.4, 0.4, 0.4 | – |" in text


def test_names_and_notes_cannot_break_markdown() -> None:
    assert escape_markdown("a|b <b>\n*x* sgd_ver1") == r"a\|b \<b\> \*x\* sgd_ver1"
