"""docs/costs.md counts right: by its own prices, with what the templates create."""

from __future__ import annotations

import json
import re
from decimal import ROUND_HALF_UP, Decimal

import pytest

from tests.infra.scenarios import DEFAULT, PRIVATE
from tests.infra.toolbox import ROOT

PAGE = (ROOT / "docs" / "costs.md").read_text()
ALERTS = json.loads((ROOT / "infra" / "shared" / "alerts.json").read_text())
CENT = Decimal("0.01")


def table(heading: str) -> list[list[str]]:
    """Give the rows of a section's table, without its head."""
    section = PAGE[PAGE.index(heading) :]
    rows = [line.strip("| ").split(" | ") for line in section[section.index("| ---") :].splitlines()[1:]]
    return rows[: next(n for n, row in enumerate(rows) if len(row) == 1)]


PRICES = {row[0]: row[1] for row in table("# Costs")}
REST, TOKENS = table("## At rest"), table("## Per million")


def product(text: str) -> Decimal:
    """Multiply and divide from left to right."""
    found = Decimal(1)
    for sign, number in re.findall(r"(?:^|([x/]) )\$?([\d.,]+)", text.strip()):
        value = Decimal(number.replace(",", ""))
        found = found / value if sign == "/" else found * value
    return found


def counted(text: str) -> Decimal:
    """Work out sums and differences of products."""
    total = Decimal(0)
    for sign, part in re.findall(r"(?:^|([+-]) )([^+-]+)", text):
        total += -product(part) if sign == "-" else product(part)
    return total.quantize(CENT, ROUND_HALF_UP)


@pytest.mark.parametrize("row", [*REST, *TOKENS], ids=lambda row: " ".join(row[:2]))
def test_each_row_comes_to_what_it_says(row: list[str]) -> None:
    calculation, result = row[-2:]
    assert counted(calculation) == Decimal(result.removeprefix("$"))
    for price in re.findall(r"\$[\d.]+", calculation):
        assert price in PRICES.values()


def test_a_wrong_sum_is_noticed() -> None:
    assert counted("3 x $1.50 + 2 x $0.50") == Decimal("5.50")
    assert counted("1,000,000 / 8 x 2 x $0.000026") == Decimal("6.50")
    assert counted("30 x $1.667 - 30 x $0.167") == Decimal("45.00")


def test_the_sentences_add_up() -> None:
    defaults = sum(Decimal(row[3].removeprefix("$")) for row in REST if row[0] == "the defaults")
    assert f"come to ${defaults} a month" in PAGE
    alone, together, *rest = [Decimal(row[2].removeprefix("$")) for row in TOKENS]
    assert f"between ${together + sum(rest)} and ${alone + sum(rest)} beside" in PAGE


def rows_about(words: str) -> str:
    [row] = [row for row in REST if words in row[1]]
    return row[2]


def test_what_is_counted_is_what_the_templates_create() -> None:
    for minutes in (5, 15):
        rules = sum(alert["frequency"] == f"PT{minutes}M" for alert in ALERTS)
        assert rows_about(f"rules every {minutes} minutes").startswith(f"{rules} x ")
    created = [resource["type"] for resource in PRIVATE.snapshot()["predictedResources"]]
    # The scenario has a policy blob and one private registry, whose endpoint and zone have rows of their own.
    assert created.count("Microsoft.Network/privateEndpoints") == 2 + 1 + 1
    assert created.count("Microsoft.Network/privateDnsZones") == 2 + 1
    assert rows_about("two private endpoints").startswith("2 x ")
    assert rows_about("two private DNS zones").startswith("2 x ")
    [test] = [r for r in DEFAULT.snapshot()["predictedResources"] if r["type"] == "Microsoft.Insights/webtests"]
    a_month = 30 * 24 * 3600 // test["properties"]["Frequency"]
    assert rows_about("the availability test, from").startswith(
        f"{len(test['properties']['Locations'])} x {a_month:,} x"
    )


def test_every_price_says_where_it_was_read() -> None:
    for row in table("# Costs"):
        assert "assumed" in row[3] or "http" in row[3] or "the same" in row[3] or "public cost model" in row[3], row
