"""The report that Snakemake wrote, in a real Chromium: a small study whose classes are called by HTML."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from browser import SIZES, column, needed, requests, resize, start
from conftest import Workspace, copy_pipeline
from PIL import Image

pytestmark = needed
HOSTILE = "<img src=x onerror=\"document.title='broken'\">"
CLASSES = {HOSTILE: 90, "<b>&amp;": 80, "long" * 50: 70}
# Of Snakemake's own report, which carries Tailwind's browser build inside.
KNOWN_WARNING = "cdn.tailwindcss.com should not be used in production"


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A finished study of two recipes on noise that is brighter in one class."""
    workspace = copy_pipeline(tmp_path_factory.mktemp("study"))
    random = np.random.default_rng(0)
    for number, (label, count) in enumerate(CLASSES.items()):
        folder = workspace.root / "images" / label
        folder.mkdir(parents=True)
        for k in range(count):
            pixels = random.integers(0, 80, (16, 16), dtype=np.uint8) + np.uint8(80 * number)
            Image.fromarray(pixels).save(folder / f"{k}.png")
    workspace.configure(data={"source": "images"})
    workspace.snakemake()
    return workspace


@pytest.fixture(scope="module")
def page(study: Workspace) -> Path:
    return study.root / "results/small/report.html"


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    driver = start(tmp_path_factory.mktemp("profile"))
    driver.implicitly_wait(10)
    yield driver
    driver.quit()


@pytest.fixture
def opened(chromium: Any, page: Path) -> Any:
    resize(chromium, "laptop")
    chromium.get_log("browser")
    requests(chromium)  # what came before
    chromium.get(page.as_uri())
    chromium.find_element("css selector", ".study h1")
    return chromium


@pytest.fixture
def comparison(opened: Any) -> Iterator[Any]:
    """Inside the frame of the comparison."""
    opened.switch_to.frame(opened.find_element("css selector", "iframe.comparison"))
    yield opened
    opened.switch_to.default_content()


def best(study: Workspace) -> dict[str, Any]:
    table = pd.read_csv(study.root / "results/small/tables/comparison.csv")
    return dict(table[table["vs_best"] == "best"].iloc[0])


def bottom(browser: Any, selector: str) -> float:
    """Lower edge of an element, in pixels from the top of the screen."""
    element = browser.find_element("css selector", selector)
    assert element.is_displayed()
    return float(browser.execute_script("return arguments[0].getBoundingClientRect().bottom", element))


def test_it_loads_without_errors_and_asks_for_nothing(opened: Any, page: Path) -> None:
    opened.find_element("css selector", ".study #origin")
    assert [entry for entry in opened.get_log("browser") if KNOWN_WARNING not in entry["message"]] == []
    assert requests(opened) == [page.as_uri()]


@pytest.mark.parametrize("screen", SIZES)
def test_the_first_screen_has_the_winner_and_its_interval(opened: Any, study: Workspace, screen: str) -> None:
    resize(opened, screen)
    winner = best(study)
    assert opened.find_element("css selector", ".study .winner").text == winner["experiment"]
    score = opened.find_element("css selector", ".study .score").text
    low, high = winner["test_accuracy_low"], winner["test_accuracy_high"]
    assert f"{winner['test_accuracy']:.1%}" in score and f"{low:.1%} to {high:.1%}" in score
    assert bottom(opened, ".study .words") < SIZES[screen][1]


def test_html_in_names_is_text(opened: Any, study: Workspace) -> None:
    assert opened.title == "Snakemake Report"
    shown = opened.find_element("css selector", "#data table").text
    assert HOSTILE in shown and "<b>&amp;" in shown
    assert opened.find_elements("css selector", '.study img[src="x"]') == []


@pytest.mark.parametrize("screen", SIZES)
def test_nothing_is_wider_than_the_screen(opened: Any, screen: str) -> None:
    resize(opened, screen)
    width = SIZES[screen][0]
    assert opened.execute_script("return document.documentElement.scrollWidth") <= width
    outside = opened.execute_script(
        """return [...document.querySelectorAll(".study :is(p, li, h1, h2, h3, dd), #data .table")]
        .filter(e => e.getBoundingClientRect().right > innerWidth || e.scrollWidth > e.clientWidth + 1)
        .map(e => e.textContent)"""
    )
    assert outside == []


def test_a_phone_has_the_menu_below_the_text(opened: Any) -> None:
    resize(opened, "phone")
    top = "return document.querySelector(arguments[0]).getBoundingClientRect().top"
    assert opened.execute_script(top, "#app nav.h-screen") > opened.execute_script(top, ".study #origin")


def test_the_comparison_sorts(comparison: Any) -> None:
    button = comparison.find_element("css selector", '[data-key="experiment"] button')
    comparison.execute_script("arguments[0].click()", button)
    names = column(comparison, "experiment")
    assert names == ["plain", "weighted"]
    comparison.execute_script("arguments[0].click()", button)
    assert column(comparison, "experiment") == names[::-1]


def test_chosen_runs_show_only_what_differs(comparison: Any) -> None:
    def shown(key: str) -> bool:
        return bool(comparison.find_element("css selector", f'thead th[data-key="{key}"]').is_displayed())

    assert shown("optimizer") and not shown("nesterov")
    for selector in ('[aria-label="Choose plain, seed 0"]', "#chosen"):
        comparison.execute_script("arguments[0].click()", comparison.find_element("css selector", selector))
    assert column(comparison, "experiment") == ["plain"]
    assert not shown("optimizer")


def test_the_frame_is_as_high_as_its_content(opened: Any) -> None:
    frame = opened.find_element("css selector", "iframe.comparison")
    opened.switch_to.frame(frame)
    inside = opened.execute_script("return document.body.getBoundingClientRect().height")
    opened.switch_to.default_content()
    assert frame.size["height"] == pytest.approx(inside, abs=4)


def test_links_lead_to_every_section(opened: Any) -> None:
    links = opened.find_elements("css selector", ".study header nav a")
    targets = [link.get_attribute("href").split("#")[1] for link in links]
    assert {"comparison", "cases", "curves", "map", "errors", "data", "origin"} <= set(targets)
    for target in targets:
        assert opened.find_element("id", target).tag_name == "section"
    opened.find_element("css selector", '.study a[href="#origin"]').click()
    assert bottom(opened, "#origin h2") < SIZES["laptop"][1]


def test_it_prints_the_text_without_the_menu(opened: Any) -> None:
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    try:
        assert not opened.find_element("css selector", "#app nav.h-screen").is_displayed()
        height = opened.execute_script("return document.querySelector('.study').getBoundingClientRect().height")
        assert opened.execute_script("return document.documentElement.scrollHeight") >= height
    finally:
        opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
