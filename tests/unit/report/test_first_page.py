"""The report's first page: what it opens on, that nothing of the data is markup, and how docutils reads it."""

import re
from html import unescape
from pathlib import Path

import made_runs
import pandas as pd
import pytest
from docutils.core import publish_parts
from made_runs import AUDIT, CLASSES, PATIENTS, TEST_UNITS, Made, comparison_of, fourteen, recipe

from study.compare.comparison import Comparison
from study.compare.conclusions import conclusions
from study.compare.diagnosis import diagnoses
from study.compare.effects import effects
from study.compare.ensemble import ensemble_table
from study.compare.label_hints import label_hints
from study.compare.leakage import leakage
from study.compare.questionable import Choice
from study.compare.runs import Run
from study.compare.subgroups import subgroups
from study.report.all_figures import FIGURES, figures_of, keys_of
from study.report.first_page import SECTIONS, FirstPage, as_rst, first_page_html, provenance_rows

HOSTILE = ["<script>alert(1)</script>", "\"x' onload=alert(1)", "|x|", "{{ 1 }}", "..", "&lt;b&gt;", "a\u2028<b>x</b>"]

SITES = ["a", "b"] * 10  # of the images of the manifest

CONFIG = Path(__file__).parents[3] / "config"


def manifest(runs: list[Run]) -> pd.DataFrame:
    """Ten of the test images have a copy in training."""
    ids = runs[0].scores["test"].image_ids[:10]
    rows = [(name, "test", name) for name in ids] + [(f"copy of {name}", "train", name) for name in ids]
    return pd.DataFrame(rows, columns=["image_id", "split", "sha256"]).assign(status="kept", label="x", site=SITES)


def page(
    runs: list[Run],
    classes: list[str],
    question: str = "Which?",
    images: pd.DataFrame | None = None,
    each_up_to: int = 100,
) -> str:
    """The first page of made-up runs."""
    split = {"images": 10 * len(classes), "counts": dict.fromkeys(classes, 10)}
    splits = dict.fromkeys(("train", "val", "test"), split)
    comparison = compared(runs, images)
    shown = FirstPage(
        name="made up",
        questions={"1": question},
        note="",
        conclusions=conclusions(comparison),
        ensemble=ensemble_table(comparison),
        effects=effects(comparison),
        leakage=leakage(comparison),
        subgroups=subgroups(comparison),
        label_hints=label_hints(comparison),
        diagnosis=diagnoses(comparison),
        choices=[Choice("data.<i>", question, "because")],
        pack={"classes": classes, "channels": 1, "image_size": 8, "splits": splits},
        audit=AUDIT,
        figures=figures_of({run.experiment: run.recipe for run in runs}, each_up_to),
    )
    return first_page_html(comparison, shown)


def compared(runs: list[Run], images: pd.DataFrame | None = None) -> Comparison:
    weights = pd.DataFrame({"class": runs[0].classes, "count": 10, "weight": 1.0})
    return comparison_of(
        runs, 20, ensemble_members=3, manifest=manifest(runs) if images is None else images, class_weights=weights
    )


def through_docutils(html: str) -> str:
    settings = {"halt_level": 2, "report_level": 2}  # a warning is an error
    return str(publish_parts(as_rst(html), writer="html", settings_overrides=settings)["html_body"])


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    return made_runs.study(tmp_path_factory.mktemp("runs"), fourteen())


def test_it_opens_on_the_answer(runs: list[Run]) -> None:
    html = through_docutils(page(runs, list(CLASSES)))
    order = [
        compared(runs).best.name,
        "95% interval",
        "always answering “angry”: ",
        "The baseline, always answering &#39;angry&#39;, the largest class in training, has ",
        "Not distinguishable from it",
        'src="figures/comparison.svg"',
        "What happened in each",
    ]
    order += [
        'src="tables/comparison.html"',
        "treatment does by itself",
        "conclusions hold here",
        "Case 1: Which?",
        ">Ensemble</h2>",
    ]
    order += ["The data", ">Provenance</h2>"]
    places = [html.index(text) for text in order]
    assert places == sorted(places)
    assert html.count("<details") == 2 * 14 + 5
    assert "✕ adam_ver1" in html and "Predicts &#39;happy&#39; for every validation image since epoch 2 of 12" in html
    assert "http" not in html.replace("http-equiv", "")


def test_names_from_the_data_are_text(tmp_path: Path) -> None:
    runs = made_runs.study(tmp_path / "runs", [Made(recipe("a")), Made(recipe("b"), 0.0, "collapsed")], HOSTILE)
    runs[1].record["facts"]["only_class"]["name"] = "<b>*x*</b>.\n\n.. raw:: html\n\n   <i>"
    html = through_docutils(page(runs, HOSTILE, question="<u>|x|</u>"))
    for tag in ("<script", "<b>", "<u>", "<i>", ' onload=alert(1)">'):
        assert tag not in html
    text = unescape(html)
    for name in HOSTILE[:-1]:
        assert name in text
    assert "Predicts '<b>*x*</b>" in text


def test_no_line_is_longer_than_docutils_takes(runs: list[Run]) -> None:
    text = as_rst(page(runs, list(CLASSES)))
    assert max(map(len, text.splitlines())) < 10_000


def test_a_study_of_one_recipe_and_of_failures_alone(runs: list[Run]) -> None:
    for few in (runs[:1], [run for run in runs if run.failed]):
        assert few[0].experiment in through_docutils(page(few, list(CLASSES)))


def test_several_seeds(tmp_path: Path) -> None:
    made = [Made(recipe(name, reported=r), skill, seed=seed) for name, r, skill in (("a", 0.7, 0.8), ("b", 0.6, 0.5))
            for seed in (0, 1, 2)]  # fmt: skip
    runs = made_runs.study(tmp_path / "runs", made)
    html = through_docutils(page(runs, list(CLASSES)))
    assert "over 3 seeds and 400 test images" in html and "over further seeds and further images" in unescape(html)
    assert "standard deviation over seeds" in html and "±" in html
    assert "a, seed " in html  # members of the vote


def test_subgroups_have_a_section_where_the_source_says_more_of_its_images(tmp_path: Path) -> None:
    made = [Made(recipe(name), skill, mislabelled=30) for name, skill in (("a", 0.9), ("b", 0.85), ("c", 0.8))]
    runs = made_runs.study(tmp_path / "runs", made)
    site = ["<i>"] * 40 + ["b"] * 360  # those of which most labels are wrong, and the others
    images = made_runs.manifest(runs, site=site * 2, file=range(800)).assign(label="x")
    with_names = images.assign(file=images["file"] + ".png")
    html = unescape(through_docutils(page(runs, list(CLASSES), images=with_names)))
    assert "Not alike on all images: a is worse on those with site '<i>' (" in html
    assert "Not divided by: file (800 different texts, more than 20)." in html
    assert 'aria-label="Scores by subgroup"' in html
    assert html.index('id="errors"') < html.index("good, different recipes; confident learning") < html.index(
        'src="figures/label_hints.svg"'
    )  # fmt: skip
    assert "Careful with cleaning" in html
    plain = through_docutils(page(runs, list(CLASSES), images=made_runs.manifest(runs).assign(label="x")))
    assert 'id="subgroups"' not in plain and 'href="#subgroups"' not in plain and "figures/subgroups.svg" not in plain


def test_provenance_counts_what_differs_between_runs(runs: list[Run]) -> None:
    few = runs[:3]
    for run, commit in zip(few, ("a" * 40, "a" * 40, "b" * 40), strict=True):
        run.record["provenance"] = {"git_commit": commit, "git_dirty": False, "versions": {"torch": "2"}}
        run.record["provenance"] |= {"cpu": "Xeon"} if commit[0] == "b" else {"processor": "AVX512"}
    rows = dict(provenance_rows(few))
    assert rows["commit"] == f"{'a' * 12} (2 runs); {'b' * 12} (1 run)"
    assert rows["torch"] == "2" and rows["device"] == "cpu"
    assert rows["processor"] == "one with AVX512, its name not noted (2 runs); Xeon (1 run)"


def test_every_figure_is_on_the_page_and_every_section_is_reached(runs: list[Run]) -> None:
    html = through_docutils(page(runs, list(CLASSES)))
    recipes = {name: group.recipe for name, group in compared(runs).recipes.items()}
    for figure in FIGURES:
        for key in keys_of(figure, recipes) or [""]:
            placed = f'<study-result src="figures/{figure.path(key)}" alt="{figure.alt.format(key=key)}">'
            assert html.count(placed) == 1, f"{figure.name}: its section shows no figures"
    for anchor, name in SECTIONS.items():
        assert f'<section id="{anchor}">' in html and f'<a href="#{anchor}">{name}</a>' in html
    assert {figure.section for figure in FIGURES} <= {"answer", *SECTIONS}


def test_more_recipes_than_have_figures_of_their_own(runs: list[Run]) -> None:
    html = through_docutils(page(runs, list(CLASSES), each_up_to=len(runs) - 1))
    assert "curves_" not in html and "confusion_" not in html
    assert "config key tables.figures_of_each_up_to" in html
    assert "figures/case_1.svg" in html and "figures/comparison.svg" in html


def test_images_of_patients_are_tested_by_these(tmp_path: Path) -> None:
    made = [Made(recipe("a", batch_size=64), 0.7), Made(recipe("b", batch_size=128), 0.6)]
    html = page(made_runs.study(tmp_path, made, groups=PATIENTS), list(CLASSES))
    assert "McNemar" not in html
    assert html.count("Exact sign-flip tests of whole groups (with") == 2 and "p is the exact sign-flip test" in html
    assert f"400 test images of {TEST_UNITS} independent groups" in html


def test_predictions_from_a_file_are_called_so_and_nothing_is_said_of_their_cost(tmp_path: Path) -> None:
    theirs = Made(made_runs.imported("theirs"), 0.75)
    runs = made_runs.study(tmp_path / "a", [Made(recipe("ours"), 0.6), theirs])
    html = unescape(page(runs, list(CLASSES)))
    assert "The predictions of theirs come from a file. Nothing is known here of how they were made" in html
    assert (
        "Predictions read from resources/theirs.csv" in html and "What the training of theirs took is not known" in html
    )
    assert not re.search(r"\bnan\b", html)
    through_docutils(html)
    alone = made_runs.study(tmp_path / "b", [theirs])
    assert "Predictions read from resources/theirs.csv" in page(alone, list(CLASSES))
