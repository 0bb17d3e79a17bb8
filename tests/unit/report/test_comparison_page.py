"""The comparison page: complete without JavaScript, escaped, and without anything from outside."""

import re
from html.parser import HTMLParser
from pathlib import Path

import made_runs
import pytest
from made_runs import Made, comparison_of, fourteen, recipe

from study.compare.run_table import run_table
from study.compare.runs import Run
from study.report.comparison_page import comparison_html


class Tags(HTMLParser):
    """Tags with attributes, and the text of every table row."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append("")

    def handle_data(self, data: str) -> None:
        if self.rows:
            self.rows[-1] += data


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    return made_runs.study(tmp_path_factory.mktemp("runs"), fourteen())


def test_a_row_per_run_best_test_accuracy_first(runs: list[Run]) -> None:
    rows = Tags(comparison_html(run_table(comparison_of(runs)), "made up")).rows[1:]
    assert len(rows) == 14
    for row, run in zip(rows, sorted(runs, key=lambda run: -run.test_accuracy), strict=True):
        assert run.experiment in row
        assert f"{run.test_accuracy:.4f}" in row


def test_lists_are_shown_and_sort_as_text(tmp_path: Path) -> None:
    two = [Made(recipe("a", color_jitter=[0.4, 0.4, 0.4])), Made(recipe("b", color_jitter=None), 0.4)]
    first, second = Tags(comparison_html(run_table(comparison_of(made_runs.study(tmp_path, two))), "made up")).rows[1:]
    assert "0.4, 0.4, 0.4" in first and "0.4, 0.4, 0.4" not in second


def test_the_baseline_is_named_and_marked_on_the_bars(tmp_path: Path) -> None:
    rare = made_runs.with_rare_class(tmp_path)
    html = comparison_html(run_table(rare), "made up")
    share = (rare.runs[0].scores["test"].labels == 0).mean()
    assert f"always answering “common”, the largest class in training, which is right for {share:.1%}" in html
    assert "Against the baseline" in html
    assert html.count("<u style=") == 4
    assert "<u style=" not in comparison_html(run_table(comparison_of(rare.runs)), "made up")


def test_failures_are_marked_in_words_with_their_reason(runs: list[Run]) -> None:
    rows = {run.experiment: run for run in runs}
    for row in Tags(comparison_html(run_table(comparison_of(runs)), "made up")).rows[1:]:
        run = next(run for name, run in rows.items() if name in row)
        assert ("✕" in row) == run.failed
        assert (run.reason in row) == run.failed


def test_nothing_comes_from_outside(runs: list[Run]) -> None:
    html = comparison_html(run_table(comparison_of(runs)), "made up")
    assert "http" not in html.replace("http-equiv", "")
    assert "url(" not in html
    for tag, attributes in Tags(html).tags:
        assert "src" not in attributes
        assert attributes.get("href", "data:,") == "data:,"
        assert tag not in ("img", "iframe", "object", "embed")


def test_text_of_the_data_is_escaped(tmp_path: Path) -> None:
    runs = made_runs.study(tmp_path, [Made(recipe("a")), Made(recipe("b"), 0.0, "collapsed")])
    runs[1].record["facts"]["only_class"]["name"] = '<script>alert(1)</script> & "quotes"'
    html = comparison_html(run_table(comparison_of(runs)), "<i>study</i>")
    assert "<script>alert" not in html
    assert "<i>study" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp;" in html


def test_reported_values_have_columns_only_where_given(runs: list[Run]) -> None:
    plain, reported = (
        comparison_html(run_table(comparison_of(runs, reported_protocol=shown)), "s") for shown in (None, {})
    )
    assert "Reported accuracy" in reported
    assert "Reported accuracy" not in plain


def test_seeds_have_a_column_only_if_there_are_several(runs: list[Run], tmp_path: Path) -> None:
    assert ">Seed<" not in comparison_html(run_table(comparison_of(runs)), "s")
    seeds = made_runs.study(tmp_path, [Made(recipe("a"), seed=seed) for seed in (0, 1)])
    assert ">Seed<" in comparison_html(run_table(comparison_of(seeds)), "s")


@pytest.mark.parametrize("failed", [False, True])
def test_bars_stay_on_their_axis(runs: list[Run], failed: bool) -> None:
    table = run_table(comparison_of([run for run in runs if run.failed == failed]))
    bars = re.findall(r"left:([\d.-]+)%;width:([\d.-]+)%", comparison_html(table, "s"))
    assert len(bars) == 2 * len(table)
    assert all(float(left) >= 0 and float(left) + float(width) <= 100.01 for left, width in bars)


def test_a_single_run(runs: list[Run]) -> None:
    assert len(Tags(comparison_html(run_table(comparison_of(runs[:1])), "s")).rows) == 2


def test_a_column_that_the_table_lacks_is_an_error(runs: list[Run]) -> None:
    with pytest.raises(KeyError, match="test_ece"):
        comparison_html(run_table(comparison_of(runs)).drop(columns="test_ece"), "s")
