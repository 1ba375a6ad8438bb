"""Headless Chromium, driven by selenium."""

from __future__ import annotations

import shutil
from contextlib import contextmanager

import pytest

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
needed = pytest.mark.skipif(not (BROWSER and DRIVER), reason="no Chromium with chromedriver is installed")


@contextmanager
def opened(page, profile):
    """A driver that shows a file; the page must not have logged any problem at the end."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                     "--window-size=1100,900", f"--user-data-dir={profile}"):
        options.add_argument(argument)
    # Some builds open a start page from the network.
    options.add_experimental_option("prefs", {"session.restore_on_startup": 4, "session.startup_urls": ["about:blank"]})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    try:
        driver.get("about:blank")
        driver.get_log("performance")  # what came before the page is not the page's
        driver.get(page.as_uri())
        yield driver
        assert [entry for entry in driver.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")] == []
    finally:
        driver.quit()
