"""The report that Snakemake wrote, in a real Chromium: a small study whose classes are called by HTML."""

import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import numpy as np
import pandas as pd
import pytest
from browser import SIZES, column, needed, requests, resize, start
from conftest import Workspace, copy_pipeline
from PIL import Image
from selenium.webdriver.support.wait import WebDriverWait

from study.report.report_page import ALLOWED, WITHOUT_SCRIPTS

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
    opened.switch_to.frame(opened.find_element("css selector", "study-result iframe"))
    yield opened
    opened.switch_to.default_content()


def wait(browser: Any, until: Callable[[Any], object]) -> None:
    """Until something is so, a minute at most."""
    WebDriverWait(browser, 60).until(until)


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
    opened.implicitly_wait(0)
    assert opened.find_elements("css selector", '.study img[src="x"]') == []
    opened.implicitly_wait(10)


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
    frame = opened.find_element("css selector", "study-result iframe")
    opened.switch_to.frame(frame)
    inside = opened.execute_script("return document.body.getBoundingClientRect().height")
    opened.switch_to.default_content()
    wait(opened, lambda b: frame.size["height"] == pytest.approx(inside, abs=4))


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


def pictures(browser: Any, where: str = "") -> list[int]:
    """Widths in pixels of the figures that were put in; 0 for one that does not show."""
    script = "return [...document.querySelectorAll(arguments[0])].map(image => image.complete && image.naturalWidth)"
    return list(browser.execute_script(script, f".study {where} study-result img"))


def shows_figures(browser: Any) -> bool:
    browser.find_element("css selector", ".study study-result img")
    wait(browser, lambda b: len(pictures(b)) > 5 and all(pictures(b)))
    return True


def test_a_figure_in_a_fold_is_put_in_when_it_is_opened(opened: Any, study: Workspace) -> None:
    assert shows_figures(opened)
    other = ({"plain", "weighted"} - {best(study)["experiment"]}).pop()
    fold = opened.find_element("xpath", f"//section[@id='curves']//details[summary='{other}']")
    opened.implicitly_wait(0)
    assert fold.find_elements("tag name", "img") == []
    opened.execute_script("arguments[0].open = true", fold)
    wait(opened, lambda b: fold.find_elements("tag name", "img"))
    opened.implicitly_wait(10)
    wait(opened, lambda b: all(pictures(b)))


def test_the_menu_shows_figures_and_pages_and_offers_tables(opened: Any, study: Workspace, tmp_path: Path) -> None:
    opened.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)})
    choose(opened, "4 Errors", "reliability diagram")
    wait(opened, lambda b: b.execute_script("return document.querySelector('#app > div > .grow img')?.naturalWidth"))
    choose(opened, "1 Tables", "page that sorts and filters")
    opened.switch_to.frame(opened.find_element("css selector", "#app > div > .grow iframe"))
    assert opened.find_element("tag name", "h1").text == "small: all runs"
    opened.switch_to.default_content()
    choose(opened, "1 Tables", "pairs of recipes")
    wait(opened, lambda b: (tmp_path / "pairwise.csv").exists())
    assert (tmp_path / "pairwise.csv").read_bytes() == (study.root / "results/small/tables/pairwise.csv").read_bytes()


def choose(browser: Any, category: str, label: str) -> None:
    """Click on a result in the menu."""
    browser.execute_script("app.setView({ navbarMode: 'menu' })")
    browser.find_element("xpath", f"//nav//*[text()='{category}']").click()
    row = f"//nav//tr[td[text()='{label}']]//a"
    browser.execute_script("arguments[0].click()", browser.find_element("xpath", row))


@pytest.fixture
def served(page: Path) -> Iterator[str]:
    """Address of a server of the study's folder: /report.html, under a policy if one is asked for as ?policy=…"""

    class Handler(SimpleHTTPRequestHandler):
        def end_headers(self) -> None:
            if policy := parse_qs(urlsplit(self.path).query).get("policy"):
                self.send_header("Content-Security-Policy", policy[0])
            super().end_headers()

        def log_message(self, format: str, *words: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(page.parent))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def test_it_works_in_the_sandbox_of_jupyter(chromium: Any, page: Path, served: str) -> None:
    """JupyterLab shows an HTML file in a frame with `sandbox="allow-scripts"`, which has no origin and no storage."""
    (page.parent / "frame.html").write_text('<iframe sandbox="allow-scripts" src="report.html" width="1300"></iframe>')
    chromium.get(f"{served}frame.html")
    chromium.switch_to.frame(chromium.find_element("tag name", "iframe"))
    assert shows_figures(chromium)
    frame = chromium.find_element("css selector", "study-result iframe")
    wait(chromium, lambda b: frame.get_attribute("style"))  # its height, which it said itself
    chromium.switch_to.frame(frame)
    assert column(chromium, "experiment") == ["plain", "weighted"]
    chromium.switch_to.default_content()


def test_where_scripts_are_blocked_it_says_so_and_shows_text_and_figures(chromium: Any, served: str) -> None:
    """Jenkins' policy for archived files, https://www.jenkins.io/doc/book/security/configuring-content-security-policy/."""
    policy = "sandbox allow-same-origin; default-src 'none'; img-src 'self'; style-src 'self';"
    chromium.get(f"{served}report.html?{urlencode({'policy': policy})}")
    text = chromium.find_element("tag name", "body").text
    assert text.startswith("Scripts are blocked here")
    assert "Best recipe: " in text and "tables/comparison.html" in text and "95% interval" in text
    assert chromium.find_element("css selector", 'img[src="figures/comparison.svg"]').size["height"] > 100
    assert "".join(WITHOUT_SCRIPTS.split()).endswith(f'{"".join(ALLOWED.split())}".</p>')


def test_with_the_policy_that_it_names_it_works(chromium: Any, served: str) -> None:
    chromium.get(f"{served}report.html?{urlencode({'policy': ALLOWED})}")
    assert shows_figures(chromium)
    assert not chromium.find_element("id", "jswarning").is_displayed()
