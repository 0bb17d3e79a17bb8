"""Snakemake's own page, as it is installed here, made small: every result once, the first page readable as it is."""

import base64
import gzip
import json
import re
from pathlib import Path
from typing import Any

import pytest
from jinja2 import Environment, PackageLoader
from snakemake.report.html_reporter.common import get_resource_as_string
from snakemake.report.html_reporter.data import get_packages

from study.errors import StudyError
from study.report.report_page import small

FOLDER = Path("results/made up")
FIGURE = '<svg xmlns="http://www.w3.org/2000/svg"><text>var results = {};</text></svg>'
TABLE = 'name,"</script>"\n'
PLACED = '<study-result src="figures/a&quot;b.svg" alt="A"></study-result>'
PARAMS = "recipes: </script>\n" * 500


def result(content: str) -> dict[str, Any]:
    uri = f"data:text/plain;charset=utf8;filename=x;base64,{base64.b64encode(content.encode()).decode()}"
    return {"name": "x", "data_uri": uri, "job_properties": {"rule": "figures", "wildcards": "", "params": PARAMS}}


def snakemakes_page(first_page: str) -> str:
    """What Snakemake's template makes of two results."""
    environment = Environment(
        loader=PackageLoader("snakemake", "report/html_reporter/template"), trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["get_resource_as_string"] = get_resource_as_string
    results = {f'{FOLDER}/figures/a"b.svg': result(FIGURE), f"{FOLDER}/tables/all.csv": result(TABLE)}
    names = ("categories", "rulegraph", "rules", "runtimes", "timeline", "metadata")
    return environment.get_template("index.html.jinja2").render(
        results=json.dumps(results), workflow_desc=json.dumps(first_page), packages=get_packages(), pygments_css="",
        custom_stylesheet="", logo="", now="", **dict.fromkeys(names, "{}"),
    )  # fmt: skip


def unpacked(page: str) -> list[str]:
    packed = re.findall(r'<script type="application/gzip" data-result="[^"]*">([^<]*)</script>', page)
    return [gzip.decompress(base64.b64decode(data)).decode() for data in packed]


@pytest.fixture(scope="module")
def page() -> str:
    return small(snakemakes_page(f"<h1>Best</h1>{PLACED}"), FOLDER, "/* the loader */")


def test_every_result_is_there_once(page: str) -> None:
    assert unpacked(page) == [FIGURE, TABLE]
    assert "base64," not in page.split("<body>")[1].replace("data:image/svg+xml", "").split('id="packages"')[0]
    assert page.count("recipes: <\\/script>") == 500, "params that results share are listed once"


def test_the_first_page_comes_before_every_script_that_builds_the_menu(page: str) -> None:
    assert page.index(PLACED) < page.index("var results") < page.index("/* the loader */\nconst root = ")
    assert "Scripts are blocked here" in page and "enable Javascript" not in page


def test_it_comes_out_the_same_twice(page: str) -> None:
    assert small(snakemakes_page(f"<h1>Best</h1>{PLACED}"), FOLDER, "/* the loader */") == page


def test_a_figure_that_is_no_result_is_an_error() -> None:
    with pytest.raises(StudyError, match=r"shows figures/b\.svg: no result of the report"):
        small(snakemakes_page('<study-result src="figures/b.svg"></study-result>'), FOLDER, "")


def test_another_template_is_an_error() -> None:
    other = snakemakes_page(PLACED).replace('<div id="app">', '<main id="app">')
    with pytest.raises(StudyError, match="its template has changed"):
        small(other, FOLDER, "")
