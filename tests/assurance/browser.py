"""A headless Chromium with the page of an access matrix in it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from selenium import webdriver

from devstack import tools

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_OPTIONS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1400,900",
)


@contextmanager
def open_page(page: Path, profile: Path, *, dark: bool = False) -> Iterator[webdriver.Chrome]:
    """Open a file in a new browser without any extension, cache or history."""
    options = webdriver.ChromeOptions()
    options.binary_location = str(tools.ensure(tools.CHROMIUM))
    for option in (*_OPTIONS, f"--user-data-dir={profile}", *(["--force-dark-mode"] if dark else [])):
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    service = webdriver.ChromeService(str(tools.ensure(tools.CHROMEDRIVER)))
    driver = webdriver.Chrome(options=options, service=service)
    try:
        if dark:
            media = {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
            driver.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
        driver.get(page.as_uri())
        yield driver
    finally:
        driver.quit()


def violations(driver: webdriver.Chrome) -> list[dict[str, Any]]:
    """Return what axe finds against WCAG 2.1 A and AA."""
    driver.execute_script(tools.ensure(tools.AXE).read_text())
    run = "const done = arguments[0]; axe.run({runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa']}).then(done)"
    found: list[dict[str, Any]] = driver.execute_async_script(run)["violations"]
    return found


def log(driver: webdriver.Chrome, kind: str) -> list[dict[str, Any]]:
    """Return the entries of a log since it was last read: `browser` (the console) or `performance` (the network)."""
    entries: list[dict[str, Any]] = driver.get_log(kind)  # type: ignore[no-untyped-call]
    return entries
