"""Which registry a request means, however a client writes it."""

from __future__ import annotations

import pytest

from tests.policy.language import compose, load_data
from vending.errors import Refusal
from vending.policy import Environment
from vending.policy.engine.registries import find_registry

REGISTRIES = {
    "prod": {"login_server": "contoso.azurecr.io", "hosts": ["contoso.eastus.geo.azurecr.io"]},
    "dev": {"login_server": "localhost:5000"},
}
POLICY = load_data(compose(registries=REGISTRIES), Environment(allow_loopback=True))

SAME = [
    "contoso.azurecr.io",
    "CONTOSO.azurecr.io",
    "contoso.azurecr.io:443",
    "contoso.azurecr.io/",
    "contoso.azurecr.io/v2/",
    "Contoso.azurecr.io:443/v2",
    "contoso.eastus.geo.azurecr.io:443",
]


@pytest.mark.parametrize("written", ["prod", *SAME])
def test_an_audience_names_a_registry_however_it_is_written(written: str) -> None:
    assert find_registry(POLICY, written).name == "prod"


@pytest.mark.parametrize("written", [*SAME, "contoso.azurecr.io/V2/"])
def test_a_resource_names_a_registry_however_it_is_written(written: str) -> None:
    assert find_registry(POLICY, None, f"https://{written}").name == "prod"
    assert find_registry(POLICY, None, f"HTTPS://{written}").name == "prod"


def test_plain_http_is_for_this_machine_where_that_is_allowed() -> None:
    assert find_registry(POLICY, None, "http://localhost:5000", allow_loopback=True).name == "dev"
    assert find_registry(POLICY, None, "https://localhost:5000/v2/").name == "dev"
    for resource in ("http://localhost:5000", "http://contoso.azurecr.io"):
        with pytest.raises(Refusal, match="lists no registry"):
            find_registry(POLICY, None, resource)


@pytest.mark.parametrize(
    "written",
    [
        "contoso",
        "contoso.azurecr.io:5000",
        "contoso.azurecr.io/web",
        "contoso.azurecr.io.",
        "evil.azurecr.io",
        " prod",
        "",
    ],
)
def test_another_host_is_no_registry(written: str) -> None:
    with pytest.raises(Refusal, match="lists no registry"):
        find_registry(POLICY, written)
    with pytest.raises(Refusal, match="lists no registry"):
        find_registry(POLICY, None, f"https://{written}")


@pytest.mark.parametrize(
    "resource", ["https://prod", "contoso.azurecr.io", "//contoso.azurecr.io", "ftp://contoso.azurecr.io"]
)
def test_a_resource_is_a_host_as_a_url(resource: str) -> None:
    with pytest.raises(Refusal, match="lists no registry"):
        find_registry(POLICY, None, resource)


def test_a_url_as_audience_is_told_where_it_belongs() -> None:
    with pytest.raises(Refusal, match="a URL belongs in resource"):
        find_registry(POLICY, "https://contoso.azurecr.io")


def test_audience_and_resource_agree_after_both_are_read() -> None:
    assert find_registry(POLICY, "prod", "https://CONTOSO.azurecr.io:443/v2/").name == "prod"
    with pytest.raises(Refusal, match="two registries"):
        find_registry(POLICY, "prod", "https://localhost:5000")
