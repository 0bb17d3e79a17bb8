"""The report's first page: what it opens on, that nothing of the data is markup, and how docutils reads it."""

from html import unescape
from pathlib import Path

import made_runs
import pandas as pd
import pytest
import yaml
from docutils.core import publish_parts
from made_runs import CLASSES, Made, fourteen, recipe
from test_answer import AUDIT

from study.compare.conclusions import conclusions
from study.compare.diagnosis import diagnoses
from study.compare.effects import effects
from study.compare.ensemble import ensemble_table, members
from study.compare.leakage import leakage
from study.compare.questionable import Choice
from study.compare.runs import Run, choose
from study.compare.tables import comparison, pairwise
from study.report.comparison_page import comparison_html
from study.report.first_page import FIGURES, Study, as_rst, landing_html, origin

HOSTILE = ["<script>alert(1)</script>", "\"x' onload=alert(1)", "|x|", "{{ 1 }}", "..", "&lt;b&gt;", "a\u2028<b>x</b>"]
SVG = '<svg xmlns="http://www.w3.org/2000/svg"/>'

CONFIG = Path(__file__).parents[3] / "config"
TRAINING = yaml.safe_load((CONFIG / "config.yaml").read_text(encoding="utf-8"))["training"]


def manifest(runs: list[Run]) -> pd.DataFrame:
    """Ten of the test images have a copy in training."""
    ids = runs[0].scores["test"].image_ids[:10]
    rows = [(name, "test", name) for name in ids] + [(f"copy of {name}", "train", name) for name in ids]
    return pd.DataFrame(rows, columns=["image_id", "split", "sha256"]).assign(status="kept")


def study(runs: list[Run], folder: Path, classes: list[str], question: str = "Which?") -> Study:
    split = {"images": 10 * len(classes), "counts": dict.fromkeys(classes, 10)}
    splits = dict.fromkeys(("train", "val", "test"), split)
    (folder / "figure.svg").write_text(SVG)
    return Study(
        name="made up",
        questions={1: question},
        confidence=0.95,
        samples=20,
        compared=None,
        note="",
        figures=dict.fromkeys(FIGURES, [folder / "figure.svg"] * 20),
        comparison=comparison_html(comparison(runs, 0.95, 20), "made up"),
        conclusions=conclusions(runs, 0.95, 20),
        ensemble=ensemble_table(runs, members(runs, 3), 0.95, 20, 15),
        effects=effects(pairwise(runs, 0.95, 20), runs, 0.95),
        leakage=leakage(runs, manifest(runs), 0.95),
        diagnosis=diagnoses(runs, TRAINING),
        choices=[Choice("data.<i>", question, "because")],
        pack={"classes": classes, "channels": 1, "image_size": 8, "splits": splits},
        audit=AUDIT,
    )


def through_docutils(html: str) -> str:
    settings = {"halt_level": 2, "report_level": 2}  # a warning is an error
    return str(publish_parts(as_rst(html), writer="html", settings_overrides=settings)["html_body"])


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    return made_runs.study(tmp_path_factory.mktemp("runs"), fourteen())


def test_it_opens_on_the_answer(runs: list[Run], tmp_path: Path) -> None:
    html = through_docutils(landing_html(runs, study(runs, tmp_path, list(CLASSES))))
    order = [choose(runs), "95% interval", "Not distinguishable from it", "data:image/svg+xml", "What happened in each"]
    order += ["<iframe", "treatment does by itself", "conclusions hold here", "Case 1: Which?", ">Ensemble</h2>"]
    order += ["The data", ">Provenance</h2>"]
    places = [html.index(text) for text in order]
    assert places == sorted(places)
    assert html.count("<details") == 2 * 14 + 3
    assert "✕ adam_ver1" in html and "every validation image was called by one class" in html
    assert "http" not in html.replace("http-equiv", "")


def test_the_comparison_comes_through_whole(runs: list[Run], tmp_path: Path) -> None:
    page = study(runs, tmp_path, list(CLASSES)).comparison
    html = through_docutils(landing_html(runs, study(runs, tmp_path, list(CLASSES))))
    inside = unescape(html.split('srcdoc="')[1].split('"></iframe>')[0])
    assert [line.strip() for line in inside.splitlines()] == [line.strip() for line in page.splitlines()]


def test_names_from_the_data_are_text(tmp_path: Path) -> None:
    runs = made_runs.study(tmp_path / "runs", [Made(recipe("a")), Made(recipe("b"), 0.0, "collapsed")], HOSTILE)
    runs[1].record["reason"] = "all called <b>*x*</b>.\n\n.. raw:: html\n\n   <i>"
    html = through_docutils(landing_html(runs, study(runs, tmp_path, HOSTILE, question="<u>|x|</u>")))
    for tag in ("<script", "<b>", "<u>", "<i>", ' onload=alert(1)">'):
        assert tag not in html
    text = unescape(html)
    for name in HOSTILE[:-1]:
        assert name in text
    assert "all called <b>*x*</b>" in text


def test_no_line_is_longer_than_docutils_takes(runs: list[Run], tmp_path: Path) -> None:
    text = as_rst(landing_html(runs, study(runs, tmp_path, list(CLASSES))))
    assert max(map(len, text.splitlines())) < 10_000


def test_a_study_of_one_recipe_and_of_failures_alone(runs: list[Run], tmp_path: Path) -> None:
    for few in (runs[:1], [run for run in runs if run.failed]):
        assert few[0].experiment in through_docutils(landing_html(few, study(few, tmp_path, list(CLASSES))))


def test_several_seeds(tmp_path: Path) -> None:
    made = [Made(recipe(name, reported=r), skill, seed=seed) for name, r, skill in (("a", 0.7, 0.8), ("b", 0.6, 0.5))
            for seed in (0, 1, 2)]  # fmt: skip
    runs = made_runs.study(tmp_path / "runs", made)
    html = through_docutils(landing_html(runs, study(runs, tmp_path, list(CLASSES))))
    assert "over 3 seeds" in html and "cannot give a p value below 0.25" in html
    assert "standard deviation over seeds" in html and "±" in html
    assert "a, seed " in html  # members of the vote


def test_origin_counts_what_differs_between_runs(runs: list[Run]) -> None:
    few = runs[:3]
    for run, commit in zip(few, ("a" * 40, "a" * 40, "b" * 40), strict=True):
        run.record["provenance"] = {"git_commit": commit, "git_dirty": False, "versions": {"torch": "2"}}
    told = dict(origin(few))
    assert told["commit"] == f"{'a' * 12} (2 runs); {'b' * 12} (1 run)"
    assert told["torch"] == "2" and told["device"] == "cpu"
