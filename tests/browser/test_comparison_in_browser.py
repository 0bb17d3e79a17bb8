"""The comparison page in a real Chromium."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import made_runs
import pytest
from browser import SIZES, column, needed, requests, resize, start
from made_runs import comparison_of, fourteen

from study.compare.run_table import run_table
from study.report.comparison_page import comparison_html

pytestmark = needed
HOSTILE = "<script>document.title = 'broken'</script>"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    runs = made_runs.study(folder / "runs", fourteen())
    runs[6].record["facts"]["only_class"]["name"] = HOSTILE
    path = folder / "comparison.html"
    path.write_text(comparison_html(run_table(comparison_of(runs)), "made up"), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    driver = start(tmp_path_factory.mktemp("profile"))
    yield driver
    driver.quit()


@pytest.fixture
def opened(chromium: Any, page: Path) -> Any:
    resize(chromium, "laptop")
    requests(chromium)  # what came before
    chromium.get(page.as_uri())
    return chromium


def shown(browser: Any, key: str) -> bool:
    return bool(browser.find_element("css selector", f'thead th[data-key="{key}"]').is_displayed())


def head(browser: Any, key: str) -> Any:
    return browser.find_element("css selector", f'thead th[data-key="{key}"]')


def test_it_loads_without_errors_and_asks_for_nothing(opened: Any, page: Path) -> None:
    assert opened.get_log("browser") == []
    assert requests(opened) == [page.as_uri()]


def test_html_in_the_data_is_text(opened: Any) -> None:
    assert opened.title == "made up: all runs"
    assert HOSTILE in opened.find_element("tag name", "tbody").text


def test_a_click_on_a_heading_sorts_and_a_second_one_reverses(opened: Any) -> None:
    button = head(opened, "test_macro_f1").find_element("tag name", "button")
    button.click()
    values = [float(value) for value in column(opened, "test_macro_f1")]
    assert values == sorted(values, reverse=True)
    assert head(opened, "test_macro_f1").get_attribute("aria-sort") == "descending"
    assert head(opened, "test_accuracy").get_attribute("aria-sort") == "none"
    button.click()
    assert [float(value) for value in column(opened, "test_macro_f1")] == values[::-1]
    assert head(opened, "test_macro_f1").get_attribute("aria-sort") == "ascending"


def test_names_sort_as_text_and_the_keyboard_works(opened: Any) -> None:
    button = head(opened, "experiment").find_element("tag name", "button")
    button.send_keys("\ue007")  # Enter
    assert column(opened, "experiment") == sorted(column(opened, "experiment"))


def test_missing_values_come_last_in_both_directions(opened: Any) -> None:
    opened.find_element("id", "more").click()
    button = head(opened, "best_epoch").find_element("tag name", "button")
    for _ in range(2):
        button.click()
        assert column(opened, "best_epoch")[-1] == ""


def test_filter_takes_all_words(opened: Any) -> None:
    opened.find_element("id", "filter").send_keys("adam collapsed")
    assert sorted(column(opened, "experiment")) == ["adam_ver1", "adam_ver4"]
    assert opened.find_element("id", "count").text == "2 of 14 runs"
    opened.find_element("id", "filter").send_keys(" nothing")
    assert opened.find_element("id", "empty").is_displayed()


def test_settings_that_do_not_differ_are_hidden(opened: Any) -> None:
    assert not shown(opened, "nesterov")
    assert shown(opened, "optimizer")
    opened.find_element("id", "filter").send_keys("sgd_")
    assert not shown(opened, "optimizer")
    opened.find_element("id", "differs").click()
    assert shown(opened, "optimizer")
    assert shown(opened, "nesterov")


def test_chosen_runs_stand_alone(opened: Any) -> None:
    for name in ("sgd_ver3", "sgd_ver6"):
        opened.find_element("css selector", f'[aria-label="Choose {name}, seed 0"]').click()
    opened.find_element("id", "chosen").click()
    assert sorted(column(opened, "experiment")) == ["sgd_ver3", "sgd_ver6"]
    differing = [
        key for key in ("optimizer", "lr", "batch_size", "loss", "activation", "sampler") if shown(opened, key)
    ]
    assert differing == ["batch_size"]


@pytest.mark.parametrize("screen", SIZES)
def test_no_page_is_wider_than_its_screen(opened: Any, screen: str) -> None:
    resize(opened, screen)
    assert opened.execute_script("return document.documentElement.scrollWidth") <= SIZES[screen][0]


def test_a_phone_shows_cards_that_sort_by_a_list(opened: Any) -> None:
    resize(opened, "phone")
    assert not opened.find_element("tag name", "thead").is_displayed()
    opened.find_element("css selector", '#sort option[value="experiment"]').click()
    opened.find_element("id", "descending").click()
    assert column(opened, "experiment") == sorted(column(opened, "experiment"))
