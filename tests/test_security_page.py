"""The security page names what exists: every file, every reason, every line of RFC 8725."""

import re
from pathlib import Path

import pytest

from vending.oidc import claims, key_cache, keys, token

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "security.md").read_text()


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`((?:tests|bench|vending|docs|infra)/[\w./-]*)`", PAGE))))
def test_file_that_the_page_names_exists(path: str) -> None:
    assert (ROOT / path).exists()


@pytest.mark.parametrize("module", re.findall(r"`(\w+\.py)`", PAGE))
def test_module_that_a_step_names_exists(module: str) -> None:
    assert any((ROOT / "vending").rglob(module))


@pytest.mark.parametrize("section", [*(f"2.{n}" for n in range(1, 10)), *(f"3.{n}" for n in range(1, 13))])
def test_each_line_of_rfc_8725_has_a_row(section: str) -> None:
    assert len(re.findall(rf"^\| {re.escape(section)} \|", PAGE, flags=re.MULTILINE)) == 1


@pytest.mark.parametrize(
    ("said", "value"),
    [
        ("16,384 characters", token.MAX_TOKEN_LENGTH),
        ("2,048 to 8,192", keys.MIN_RSA_BITS),
        ("8,192 bits", keys.MAX_RSA_BITS),
        ("`exp + 60 s`", claims.SKEW_SECONDS),
        ("one refresh per 60 s", int(key_cache.UNKNOWN_KID_SECONDS)),
        ("doubling to 60 s", int(key_cache.LONGEST_PAUSE_SECONDS)),
        ("remembered for 5 s", int(key_cache.FIRST_PAUSE_SECONDS)),
    ],
)
def test_number_on_the_page_is_the_one_in_the_code(said: str, value: int) -> None:
    assert said in PAGE
    assert f"{value:,}" in said


def test_heading_that_the_page_links_to_exists() -> None:
    headings = {
        re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
        for heading in re.findall(r"^## (.*)$", PAGE, flags=re.MULTILINE)
    }
    assert set(re.findall(r"\]\(#([\w-]+)\)", PAGE)) <= headings
