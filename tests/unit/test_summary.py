"""The answer in words, and the report's first page as docutils reads it."""

import json
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import made_runs
import pytest
from docutils.core import publish_parts
from made_runs import CLASSES, Made, fourteen, recipe

from study import figures
from study.runs import Run, choose
from study.summary import escape_rst, headline, summary_rst

HOSTILE = ["<script>alert(1)</script>", "*x*", "|x|", "`x`_", "x_", ":sub:`x`", "{{ 1 }}", "\\", "..", "[1]_", "-", ""]

AUDIT: dict[str, Any] = {
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


def pack(classes: list[str]) -> dict[str, Any]:
    split = {"images": 10 * len(classes), "counts": dict.fromkeys(classes, 10)}
    return {"classes": classes, "channels": 1, "image_size": 8, "splits": {"train": split, "val": split, "test": split}}


@pytest.fixture
def runs(tmp_path: Path) -> list[Run]:
    return made_runs.study(tmp_path / "runs", fourteen())


def page(runs: list[Run], folder: Path, classes: list[str], question: str = "Which?") -> str:
    figures.comparison(runs, 0.95, True, folder / "comparison.svg")
    text = summary_rst(runs, folder / "comparison.svg", {"1": question}, 0.95, True, pack(classes), AUDIT)
    settings = {"halt_level": 2, "report_level": 2}  # a warning is an error
    return str(publish_parts(text, writer="html", settings_overrides=settings)["html_body"])


def test_headline_names_winner_interval_and_failures(runs: list[Run]) -> None:
    text = headline(runs, 0.95)
    assert "\n" not in text
    assert text.startswith(f"{choose(runs)} is the best recipe of 14: chosen by its validation accuracy of ")
    assert "95% interval" in text
    assert "Not distinguishable from it: " in text
    assert "Collapsed: adam_ver1, adam_ver4. Diverged: adam_ver2." in text


def test_headline_of_one_recipe_and_of_failures_alone(runs: list[Run]) -> None:
    assert headline(runs[:1], 0.95).startswith("sgd_ver1 is the only recipe: chosen by")
    failed = [run for run in runs if run.failed]
    assert headline(failed, 0.95).startswith("Every recipe failed; adam_ver")


def test_headline_counts_failed_seeds(tmp_path: Path) -> None:
    made = [replace(Made(recipe("a")), seed=seed, outcome=("completed", "diverged")[seed]) for seed in (0, 1)]
    text = headline(made_runs.study(tmp_path, made), 0.95)
    assert "Diverged in 1 of 2 seeds: a." in text
    assert "over 2 seeds" in text


def test_first_page_opens_on_the_answer_and_embeds_the_figure(runs: list[Run], tmp_path: Path) -> None:
    html = page(runs, tmp_path, list(CLASSES))
    assert html.index(choose(runs)) < html.index("data:image/svg+xml;base64,") < html.index("The cases")
    assert html.count("<table") == 5 + 1
    assert "<strong>adam_ver1</strong> collapsed: every validation image was called by one class" in html
    assert "<strong>Case 1.</strong> Which?" in html
    assert "http" not in html.split("base64,")[0]


def test_data_in_words(runs: list[Run], tmp_path: Path) -> None:
    html = unescape(page(runs, tmp_path, list(CLASSES)))
    assert "7 images have exact copies, in 3 groups, 2 groups of them with contradictory labels" in html
    assert "contradictory ones: drop: 4 dropped" in html
    assert "2 of 12 validation and test images have an exact copy in training." in html
    assert "Copies added before the split: 5 of *x*." in html


@pytest.mark.parametrize("name", HOSTILE)
def test_any_name_comes_out_as_it_is(name: str) -> None:
    for text in (f"{escape_rst(name)} is here", f"**{escape_rst('a' + name)}** is here"):
        html = publish_parts(text, writer="html", settings_overrides={"halt_level": 2})["body"]
        assert "<script" not in html
        assert name in unescape(html)
    assert "{{" not in escape_rst(name)


def test_hostile_names_pass_through_the_whole_page(tmp_path: Path) -> None:
    runs = made_runs.study(tmp_path / "runs", [Made(recipe("a")), Made(recipe("b"), 0.0, "collapsed")], HOSTILE)
    runs[1].record["reason"] = "all called <b>*x*</b>.\n\n.. raw:: html\n\n   <i>"
    html = page(runs, tmp_path, HOSTILE, question="<u>|x|</u>")
    for tag in ("<script", "<b>", "<u>", "<i>"):
        assert tag not in html
    text = unescape(html)
    for name in filter(None, HOSTILE):
        assert name in text
    assert "all called <b>*x*</b>" in text


def test_no_line_is_longer_than_docutils_takes(runs: list[Run], tmp_path: Path) -> None:
    figures.comparison(runs, 0.95, True, tmp_path / "comparison.svg")
    text = summary_rst(runs, tmp_path / "comparison.svg", {}, 0.95, False, pack(list(CLASSES)), AUDIT)
    assert max(map(len, text.splitlines())) < 10_000
    json.dumps(text)
