"""The access page in a real browser: it answers both ways, shows the rules behind a cell, and trusts no name."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from tests.assurance.browser import log, open_page, violations
from tests.policy.language import compose, deny, grant, rule
from vending.cli.main import main

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from selenium import webdriver

pytestmark = pytest.mark.process

HOSTILE = "</script><script>document.title='pwned'</script><img src=x onerror=\"document.title='pwned'\">"

OLD = compose(
    rules=[
        rule("web-release", grant("web/api", "web/ui"), when={"repository_id": "1", "ref": "refs/heads/main"}),
        rule("web-old", grant("web/legacy"), when={"repository_id": "2"}),
    ]
)
NEW = compose(
    rules=[
        rule(
            "web-release",
            grant("web/api", "web/ui"),
            when={"repository_id": "1", "ref": "refs/heads/main"},
            description=HOSTILE,
        ),
        rule("ci", grant("ci/{repository_id}/**"), when={"repository_owner_id": "7"}, expires="2030-06-30"),
        rule("trial", grant("web/api"), when={"repository_id": "3", "environment": HOSTILE}, mode="audit"),
    ],
    deny=[deny("no-pull-requests", "web/**", issuer="github", when={"event_name": "pull_request"})],
)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("matrix")
    for name, data in (("old.json", OLD), ("new.json", NEW)):
        (folder / name).write_text(json.dumps(data))
    target = folder / "access.html"
    assert main(["matrix", str(folder / "new.json"), "--diff", str(folder / "old.json"), "-o", str(target)]) == 0
    return target


@pytest.fixture(scope="module")
def browser(page: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    with open_page(page, tmp_path_factory.mktemp("profile")) as driver:
        yield driver


@pytest.fixture(autouse=True)
def _cleared(browser: webdriver.Chrome) -> None:
    browser.execute_script("document.querySelectorAll('dialog[open]').forEach((one) => one.close())")
    browser.find_element(By.ID, "clear").click()
    wait_for_the_page(browser)


def wait_for_the_page(browser: webdriver.Chrome) -> None:
    """Wait until what was entered or cleared is shown: the page writes its table anew in a later task."""
    browser.execute_async_script(
        "const done = arguments[0]; setTimeout(() => requestAnimationFrame(() => requestAnimationFrame(done)))"
    )


def callers(browser: webdriver.Chrome) -> list[str]:
    return [cell.text.split("\n")[0] for cell in browser.find_elements(By.CSS_SELECTOR, "#body th")]


def columns(browser: webdriver.Chrome) -> list[str]:
    return [cell.text.split("\n")[0] for cell in browser.find_elements(By.CSS_SELECTOR, "#head th")][1:]


def type_into(browser: webdriver.Chrome, field: str, text: str) -> None:
    browser.find_element(By.ID, field).send_keys(text)
    wait_for_the_page(browser)


def test_a_repository_leads_to_its_callers(browser: webdriver.Chrome) -> None:
    type_into(browser, "repository", "ci/12/cache")
    assert callers(browser) == ["ci"]
    assert columns(browser) == ["ci/{repository_id}/**"]


def test_a_caller_leads_to_its_repositories(browser: webdriver.Chrome) -> None:
    type_into(browser, "caller", "web-release")
    assert columns(browser) == ["web/api", "web/ui"]


def test_nobody_is_said_and_not_left_blank(browser: webdriver.Chrome) -> None:
    type_into(browser, "repository", "nothing/here")
    assert browser.find_element(By.ID, "status").text == "Nobody: no rule grants this."


def test_a_cell_shows_the_rule_behind_it_with_its_place(browser: webdriver.Chrome) -> None:
    type_into(browser, "caller", "ci repository_owner_id")
    browser.find_element(By.CSS_SELECTOR, "td button").click()
    text = browser.find_element(By.ID, "details").text
    assert "ci/{repository_id}/**" in text
    assert "2030-06-30" in text
    assert "new.json:" in text


def test_marks_are_words_and_not_colours_alone(browser: webdriver.Chrome) -> None:
    marks = {mark.text for mark in browser.find_elements(By.CSS_SELECTOR, ".mark")}
    assert any("audit mode" in mark for mark in marks)
    assert any("expires" in mark and "new" in mark for mark in marks)
    assert any("removed" in mark for mark in marks)
    assert any("denied in part" in mark for mark in marks)
    assert "no-pull-requests" in browser.find_element(By.ID, "denies").text


def test_arrow_keys_move_between_cells(browser: webdriver.Chrome) -> None:
    type_into(browser, "caller", "web-release")
    first, second = browser.find_elements(By.CSS_SELECTOR, "td button")
    first.send_keys(Keys.ARROW_RIGHT)
    assert browser.switch_to.active_element == second


def test_hostile_names_are_text(browser: webdriver.Chrome) -> None:
    assert browser.title == "Who may do what"
    assert not browser.find_elements(By.TAG_NAME, "img")
    assert len(browser.find_elements(By.TAG_NAME, "script")) == 2
    type_into(browser, "caller", "web-release")
    browser.find_element(By.CSS_SELECTOR, "td button").click()
    assert HOSTILE in browser.find_element(By.ID, "details").text


def test_the_page_asks_nobody_for_anything_and_complains_of_nothing(browser: webdriver.Chrome, page: Path) -> None:
    assert log(browser, "browser") == []
    sent = [json.loads(entry["message"])["message"] for entry in log(browser, "performance")]
    asked = {m["params"]["request"]["url"] for m in sent if m["method"] == "Network.requestWillBeSent"}
    # What the browser loads of itself has other schemes, such as chrome: and data:.
    outside = {url for url in asked if url.partition(":")[0] in {"file", "ftp", "http", "https", "ws", "wss"}}
    assert outside <= {page.as_uri()}


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_axe_finds_nothing(page: Path, tmp_path: Path, dark: bool) -> None:
    with open_page(page, tmp_path / "profile", dark=dark) as driver:
        assert violations(driver) == []
        driver.find_element(By.CSS_SELECTOR, "td button").click()
        assert violations(driver) == []
