"""A real Chromium for the tests of pages."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
needed = pytest.mark.skipif(
    not (BROWSER and DRIVER), reason="needs chromium and chromedriver (Debian: chromium, chromium-driver)"
)

OPTIONS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--hide-scrollbars",
)  # fmt: skip
SIZES = {"laptop": (1366, 768), "phone": (390, 844)}


def start(profile: Path) -> Any:
    """A headless browser that keeps its console and its network events."""
    options = webdriver.ChromeOptions()
    options.binary_location = str(BROWSER)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    for option in (*OPTIONS, f"--user-data-dir={profile}"):
        options.add_argument(option)
    return webdriver.Chrome(options=options, service=webdriver.ChromeService(str(DRIVER)))


def resize(browser: Any, screen: str) -> None:
    """Show the page as on a laptop or a phone."""
    width, height = SIZES[screen]
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": screen == "phone"}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def requests(browser: Any) -> list[str]:
    """Addresses that were asked for since the last call, but for those that lie in the page itself."""
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    urls = [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]
    return [url for url in urls if not url.startswith(("data:", "about:", "blob:"))]


def column(browser: Any, key: str) -> list[str]:
    """Values of a column of the comparison in the visible rows, from top to bottom."""
    script = """return [...document.querySelectorAll('tbody tr:not([hidden]) [data-key="' + arguments[0] + '"]')]
        .map(cell => cell.dataset.sort)"""
    return list(browser.execute_script(script, key))
