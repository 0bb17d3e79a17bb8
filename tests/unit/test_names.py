"""Names are text wherever they travel: classes, images, recipes and captions that look like something else.

From a folder of images to tables and pages and back again, without Snakemake, so that there is time for many names.
"""

import json
import tempfile
from dataclasses import fields
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from unicodedata import normalize
from xml.etree import ElementTree

import made_runs
import numpy as np
import pandas as pd
import pytest
import yaml
from docutils.core import publish_parts
from hypothesis import HealthCheck, Phase, assume, example, given, settings
from hypothesis import strategies as st
from made_runs import Made, comparison_of, recipe
from markdown_it import MarkdownIt
from PIL import Image

from study.compare.all_tables import TABLES, all_tables, read_written
from study.compare.comparison import Comparison
from study.compare.questionable import Choice
from study.compare.runs import load_runs
from study.data import packed
from study.data.class_weights import class_weights, read_class_weights
from study.data.data_settings import DataSettings
from study.data.manifest import read_manifest, write_manifest
from study.data.manifest_building import build_manifest
from study.data.packing import pack
from study.data.splits import SplitSettings
from study.evaluate.metrics import evaluate
from study.evaluate.predictions import Predictions, read_predictions, write_predictions
from study.files import read_json, read_yaml, write_json, write_table
from study.names import EVALUATED_SPLITS
from study.recipe import Recipe
from study.recipe_table import read_recipes
from study.report.all_figures import FIGURES
from study.report.case_text import case_markdown
from study.report.figures.material import Material
from study.report.figures.style import name as shown_in_figures
from study.report.first_page import FirstPage, as_rst, first_page_html
from study.settings import captions, validate_config

ROOT = Path(__file__).parents[2]
BASE = yaml.safe_load((ROOT / "config/config.yaml").read_text(encoding="utf-8"))
DATA = {key: value for key, value in BASE["data"].items() if key not in ("url", "sha256", "expected")}
SVG = '<svg xmlns="http://www.w3.org/2000/svg"/>'

AWKWARD = (
    *("nan", "NA", "None", "null", "True", "yes", "0", "01", "1", "10", "1.0", "1e5", "-", "2026-01-01"),
    *("val", "test", "p_a", "label", "image_id", "split", "class", "index", "total", "mean", "status", "property"),
    *("__class__", "constructor", "__proto__", "self", "a,b", 'q"uo"te', "'", '"', "a\tb", "a\rb", "a\nb", "a\r\nb"),
    *("=1+1", "@x", "#1", " lead", "trail ", "back\\slash", "\\", "100%", "%s", "{x}", "{{ x }}", "{% x %}"),
    *("<b>x", "<script>alert(1)<", "&lt;", "a & b", "$x_1$", "_a_", "x^2", "*a*", "**", "a|b", "`a`", "|a|_", "a::"),
    *("- a", "1. a", "+", "==", "~a~", "[a](b)", "![a]", "a;b(c)", "🦁", "👩\u200d🔬", "שלום", "\u202eabc", "e\u0301"),
    *("a\u2028b", "a\x85b", "a\x0bb", "\ufeffa", "\x1b[31m", "x" * 200, "C#", "..a", "~", "!", "a\u00a0b"),
)
FILE_NAME = st.one_of(
    st.sampled_from(AWKWARD),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1, max_size=12),
    st.text("\"',;\t\r\n\\{}%<>&$_^*|`#=@ -\u2028é01", min_size=1, max_size=6),
).filter(lambda text: not text.startswith(".") and len(text.encode()) < 240)
RECIPE_NAMES = (
    *("01", "1", "NA", "None", "nan", "1e5", "True", "null", "yes", "2026-01-01", "0x1", "1_000", "1.0", "inf"),
    *("property", "index", "mean", "constructor", "a_seed_1", "seed_0", "a.b", "a", "ab", "all", "best", "x" * 200),
)
QUICK = settings(
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def distinct(names: list[str]) -> bool:
    """Names that no file system takes for the same."""
    return len({normalize("NFKC", name).casefold().strip() for name in names}) == len(names)


def plain(text: str) -> str:
    return " ".join(text.split())


class Texts(HTMLParser):
    """The texts of a page's elements, as a browser shows them, and every tag that there is."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.texts: list[str] = [""]
        self.tags: set[str] = set()
        self.scripts = ""
        self.feed(html)
        self.close()
        self.texts = [plain(text) for text in self.texts]

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.texts.append("")
        for name, value in attributes:
            assert not name.startswith("on"), (name, value)
            if name == "srcdoc":
                inside = Texts(value or "")
                self.texts += [*inside.texts, ""]
                self.tags |= inside.tags - {"b"}  # of its bars
                self.scripts += inside.scripts

    def handle_endtag(self, tag: str) -> None:
        self.texts.append("")

    def handle_data(self, data: str) -> None:
        self.texts[-1] += data
        self.scripts += data if self.cdata_elem == "script" else ""


def through_docutils(html: str) -> str:
    strict = {"halt_level": 2, "report_level": 2}  # a warning is an error
    return str(publish_parts(as_rst(html), writer="html", settings_overrides=strict)["html_body"])


def markdown_cells(text: str) -> list[str]:
    """The texts of a Markdown page: of its paragraphs, headings and cells."""
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    inline = [token for token in tokens if token.type == "inline"]
    return [plain("".join(part.content for part in token.children or ())) for token in inline]


def written_tables(comparison: Comparison, folder: Path) -> dict[str, pd.DataFrame]:
    """All tables, written; those that are read again come back as they were made."""
    folder.mkdir(exist_ok=True)
    tables = all_tables(comparison)
    for name, table in tables.items():
        write_table(table, folder / name)
    for declared in TABLES:
        if declared.text:
            again, table = read_written(folder / f"{declared.name}.csv"), tables[f"{declared.name}.csv"]
            assert list(again) == list(table)
            for column in declared.text:
                assert again[column].tolist() == ["" if pd.isna(cell) else cell for cell in table[column]]
    return tables


def page_of(
    comparison: Comparison, tables: dict[str, pd.DataFrame], folder: Path, questions: dict[str, str], index: Any
) -> str:
    shown = {field.name for field in fields(FirstPage)}
    read = {one.name: read_written(folder / f"tables/{one.name}.csv") for one in TABLES if one.name in shown}
    page = FirstPage(
        name="made up", questions=questions, note=next(iter(questions.values()), ""),
        choices=[Choice("data.oversample", index["classes"][0], "because")],
        pack=index, audit=made_runs.AUDIT, figures=FIGURES, **read,
    )  # fmt: skip
    return first_page_html(comparison, page)


@settings(QUICK, max_examples=40)
@given(st.lists(FILE_NAME, min_size=2, max_size=4), st.lists(FILE_NAME, min_size=2, max_size=3))
def test_classes_and_images(classes: list[str], images: list[str]) -> None:
    assume(distinct(classes) and distinct(images))
    with tempfile.TemporaryDirectory() as place:
        _classes_and_images(Path(place), classes, images)


@pytest.mark.parametrize(
    ("classes", "images"),
    [
        (["nan", "1", "01"], ["a\rb", '"', "=1", "a,b"]),
        (["p_a", "a\rb", "label", "image_id"], [" lead ", "a\nb", "x" * 200]),
        (["0", "1", "10", "2"], ["🦁", "שלום", "\u202eabc", "e\u0301"]),
        (["{{ x }}", "<script>alert(1)<", "$x_1$", "a|b"], ["{x}", "#", "%s", "\\"]),
    ],
)
def test_classes_on_pages(classes: list[str], images: list[str], tmp_path: Path) -> None:
    made, loaded, manifest, index = _classes_and_images(tmp_path, classes, images)
    runs = load_runs(
        {one.recipe.experiment: one.recipe for one in made},
        sorted(tmp_path.glob("train/*/*/run.json")), sorted(tmp_path.glob("evaluate/*/*/metrics.json")),
        sorted(tmp_path.glob("train/*/*/history.csv")), sorted(tmp_path.glob("evaluate/*/*/predictions.parquet")),
    )  # fmt: skip
    assert all(run.classes == list(loaded.classes) for run in runs)
    evaluated = {i for split in EVALUATED_SPLITS for i in loaded.image_ids[split]}
    assert {i for scores in runs[0].scores.values() for i in scores.image_ids} == evaluated
    weights = read_class_weights(tmp_path / "class_weights.csv")
    comparison = comparison_of(runs, class_weights=weights, manifest=manifest, reported_protocol=made_runs.PROTOCOL)
    tables = written_tables(comparison, tmp_path / "tables")
    collapsed = plain(f"'{loaded.classes[3 % len(loaded.classes)]}'")
    assert collapsed in plain(read_written(tmp_path / "tables/diagnosis.csv")["what_happened"].iloc[1])
    page = Texts(through_docutils(page_of(comparison, tables, tmp_path, {}, index)))
    assert {plain(label) for label in classes} <= set(page.texts)
    assert "b" not in page.tags and "<script>alert(1)" not in page.scripts
    cells = markdown_cells(case_markdown(tables["case_1.csv"], 1, "", 0.95))
    assert any(collapsed in cell for cell in cells)


def _classes_and_images(
    folder: Path, classes: list[str], images: list[str]
) -> tuple[list[Made], packed.PackedData, pd.DataFrame, dict[str, Any]]:
    """From images to metrics; each file comes back as it was written."""
    random = np.random.default_rng(0)
    ids = {f"{label}/{k}{name}": label for label in classes for k in range(3) for name in images}
    for image_id in ids:
        path = folder / "images" / image_id
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (8, 8), dtype=np.uint8)).save(path, "PNG")
    data = DataSettings(**{**DATA, "source": str(folder / "images"), "image_size": 8})
    manifest, audit = build_manifest(data, SplitSettings(**BASE["split"]), 1, report=lambda line: None)
    write_manifest(manifest, folder / "manifest.csv")
    read = read_manifest(folder / "manifest.csv")
    assert dict(zip(read["image_id"], read["label"], strict=True)) == ids
    assert read["image_id"].tolist() == manifest["image_id"].tolist()
    assert audit["kept"]["classes"] == dict.fromkeys(sorted(classes), 3 * len(images))

    index = pack(read, data, folder, 1)
    assert read_json(folder / "pack.json") == index
    loaded = packed.load(folder)
    assert list(loaded.classes) == sorted(classes)
    assert {i for split in loaded.image_ids.values() for i in split} == set(ids)
    counts = [index["splits"]["train"]["counts"][label] for label in loaded.classes]
    weights = pd.DataFrame({"class": loaded.classes, "count": counts, "weight": class_weights(counts, "balanced", 0.9)})
    write_table(weights, folder / "class_weights.csv")
    assert read_class_weights(folder / "class_weights.csv")["class"].tolist() == list(loaded.classes)

    made = [Made(recipe("one")), Made(recipe("two", sampler="balanced"), outcome="collapsed")]
    for one in made:
        _evaluated(folder, one, loaded)
    return made, loaded, read, index


def _evaluated(folder: Path, made: Made, data: packed.PackedData) -> None:
    """The files of a run on these very images; a failed one names one class throughout."""
    place = f"{made.recipe.experiment}/seed_0"
    labels = np.concatenate([data.labels[split] for split in EVALUATED_SPLITS])
    ids = [image_id for split in EVALUATED_SPLITS for image_id in data.image_ids[split]]
    splits = [split for split in EVALUATED_SPLITS for _ in data.image_ids[split]]
    values = np.eye(len(data.classes))[labels] * 0.9 + 0.1 / len(data.classes)
    predictions = Predictions.of(ids, splits, labels, np.log(values), data.classes)
    train, evaluated = folder / "train" / place, folder / "evaluate" / place
    for path in (train, evaluated):
        path.mkdir(parents=True)
    write_predictions(predictions, evaluated / "predictions.parquet")
    read = read_predictions(evaluated / "predictions.parquet")
    assert read.classes == list(data.classes)
    assert read.scores["image_id"].tolist() == ids
    assert read.scores["label"].tolist() == predictions.scores["label"].tolist()
    write_json(evaluate(read.scores, 15), evaluated / "metrics.json")
    curve = made_runs.history(made, len(data.classes))
    write_table(curve, train / "history.csv")
    write_json(made_runs.record(made, curve, data.classes), train / "run.json")


CAPTION = st.one_of(st.sampled_from(AWKWARD), st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20))


@settings(QUICK, max_examples=8)
@given(
    st.lists(
        st.one_of(st.sampled_from(RECIPE_NAMES), st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,9}[a-z]", fullmatch=True)),
        min_size=2, max_size=4, unique_by=str.lower,
    ),
    CAPTION, CAPTION,
)  # fmt: skip
@example(["01", "1", "NA", "None"], "# <b>no heading</b>", "{x} {{ 1 }}")
@example(["property", "nan", "True", "a_seed_1"], "- no *list*", "1. no | cell")
@example(["2026-01-01", "1e5", "seed_0", "a.b"], "|no_ link_|", "$x$ `y`")
def test_recipes_and_captions(names: list[str], caption: str, note: str) -> None:
    with tempfile.TemporaryDirectory() as place:
        _recipes_and_captions(Path(place), names, caption, note)


def _recipes_and_captions(folder: Path, names: list[str], caption: str, note: str) -> None:
    recipes = _through_a_table(folder / "table.tsv", names)
    assert list(recipes) == names
    config = {**BASE, "experiments": "table.tsv", "cases": {1: caption}}
    (folder / "config.yaml").write_text(yaml.safe_dump(config, allow_unicode=True), encoding="utf-8")
    read = read_yaml(folder / "config.yaml")
    validate_config(read)
    asked = captions(read, folder=folder)
    assert asked == {"1": caption, "2": "of the table"}

    made = [Made(one.but(reported=None if k else 0.5, reported_note=note)) for k, one in enumerate(recipes.values())]
    runs = made_runs.study(folder, made, ["a", "b"], images=30)
    assert [run.experiment for run in runs] == names
    manifest = pd.DataFrame({"image_id": [], "split": [], "sha256": [], "status": []}, dtype=str)
    comparison = comparison_of(runs, 20, manifest=manifest, reported_protocol=made_runs.PROTOCOL)
    tables = written_tables(comparison, folder / "tables")
    table = tables["case_1.csv"]
    assert list(table.columns[1:]) == names
    cells = markdown_cells(case_markdown(table, 1, caption, 0.95, [note]))
    assert {*names, plain(caption), plain(note)} - {""} <= set(cells)

    split = {"images": 2, "counts": {"a": 1, "b": 1}}
    splits = {"train": split, "val": split, "test": split}
    index = {"classes": ["a", "b"], "channels": 1, "image_size": 8, "splits": splits}
    page = Texts(through_docutils(page_of(comparison, tables, folder, asked, index)))
    assert set(names) <= set(page.texts)
    assert {plain(f"Case 1: {caption}" if caption else "Case 1"), plain(caption)} - {""} <= set(page.texts)


def _through_a_table(path: Path, names: list[str]) -> dict[str, Recipe]:
    head = [
        "experiment",
        "case",
        "optimizer",
        "lr",
        "min_lr",
        "batch_size",
        "max_epochs",
        "loss",
        "activation",
        "sampler",
    ]
    rows = [[name, "1", "SGD", f"0.{k + 1}", "0", "8", "1", "cross_entropy", "logits", "shuffle"]
            for k, name in enumerate(names)]  # fmt: skip
    lines = ["# case 1: of nobody", "# case 2: of the table", *("\t".join(row) for row in [head, *rows])]
    path.write_text("\n".join(lines), encoding="utf-8")
    return read_recipes(path)


@pytest.mark.parametrize("classes", [AWKWARD[k : k + 12] for k in range(0, len(AWKWARD), 12)])
def test_figures_show_names_as_they_are(classes: tuple[str, ...], tmp_path: Path) -> None:
    made = [Made(recipe("NA")), Made(recipe("01", lr=0.1), 0.0, "collapsed")]
    weights = pd.DataFrame({"class": classes, "count": 5, "weight": 0.5})
    comparison = comparison_of(made_runs.study(tmp_path, made, classes, images=100), class_weights=weights)
    counts = dict.fromkeys(classes, 5)
    material = Material(
        comparison, questions={"1": classes[0]}, pack={"classes": classes, "splits": {"train": {"counts": counts}}},
    )  # fmt: skip
    for figure, key in (("confusion", "NA"), ("recall", ""), ("class_counts", ""), ("cases", 1), ("curves", "01")):
        one = next(one for one in FIGURES if one.name == figure)
        one.draw(material, tmp_path / "figure.svg", *([key] if key else []))
        root = ElementTree.parse(tmp_path / "figure.svg").getroot()
        texts = " ".join("".join(part.itertext()) for part in root.iter("{http://www.w3.org/2000/svg}text"))
        if figure in ("confusion", "class_counts"):
            longest = 20 if figure == "confusion" else 24
            assert all(shown_in_figures(name, longest) in texts for name in classes)
        elif figure != "curves":
            assert {"NA", "01"} <= set(texts.replace(":", " ").split())


def test_a_caption_of_another_table_is_never_shown(tmp_path: Path) -> None:
    _through_a_table(tmp_path / "mine.tsv", ["a"])
    (tmp_path / "mine.tsv").write_text((tmp_path / "mine.tsv").read_text().replace("# case", "# no case"))
    assert captions({**BASE, "experiments": "mine.tsv"}, folder=tmp_path) == {}
    assert set(captions(BASE, folder=ROOT)) == {"1", "2", "3", "4", "5"}
    assert json.loads(json.dumps(captions(BASE, folder=ROOT)))["4"] == "Adam, learning rate × batch size"
