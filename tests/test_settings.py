"""Settings: what is accepted, what stops the start, and that the message names the setting."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vending.settings import APP_ROOT, KNOWN_SETTINGS, Settings, SettingsError

BASE = {"WEBSITE_HOSTNAME": "vend.example"}


def read(**changes: str) -> Settings:
    return Settings.from_environment({**BASE, **changes})


def test_the_defaults_are_the_documented_ones() -> None:
    settings = read()
    assert settings.policy == APP_ROOT / "policy.yaml"
    assert settings.public_url == "https://vend.example"
    assert (settings.policy_refresh_seconds, settings.policy_max_stale_seconds) == (60, 3600)
    assert (settings.replay_store, settings.deadline_seconds) == ("memory", 20)
    assert (settings.custom_hosts, settings.allow_loopback, settings.client_id) == (frozenset(), False, None)


REFUSED = [
    ("VENDING_POLICY", "https://abc.blob.core.windows.net/c/policy.yaml?sig=secret"),
    ("VENDING_POLICY", "https://abc.blob.core.windows.net/policy.yaml"),
    ("VENDING_POLICY", "http://abc.blob.core.windows.net/c/policy.yaml"),
    ("VENDING_POLICY", "https://user:pass@abc.blob.core.windows.net/c/policy.yaml"),
    ("VENDING_POLICY", "ftp://a/b/c"),
    ("VENDING_POLICY", "https://evil.example/c/policy.yaml"),
    ("VENDING_POLICY", "https://abc.blob.core.windows.net.evil.example/c/policy.yaml"),
    ("VENDING_PUBLIC_URL", "http://vend.example"),
    ("VENDING_PUBLIC_URL", "vend.example"),
    ("VENDING_PUBLIC_URL", "https://"),
    ("VENDING_PUBLIC_URL", "https://vend.example/?x=1"),
    ("VENDING_PUBLIC_URL", "https://vend.example:port"),
    ("VENDING_POLICY_REFRESH_SECONDS", "often"),
    ("VENDING_POLICY_REFRESH_SECONDS", "0"),
    ("VENDING_POLICY_REFRESH_SECONDS", "-1"),
    ("VENDING_POLICY_REFRESH_SECONDS", "0.5"),
    ("VENDING_POLICY_REFRESH_SECONDS", "86401"),
    ("VENDING_POLICY_MAX_STALE_SECONDS", "0.99"),
    ("VENDING_DEADLINE_SECONDS", "0.9"),
    ("VENDING_DOCS_URL", "http://docs.example/errors"),
    ("VENDING_DOCS_URL", "https://docs.example/errors#reasons"),
    ("VENDING_DOCS_URL", "https://docs.example/\\errors"),
    ("VENDING_DOCS_URL", "errors.md"),
    ("VENDING_POLICY_MAX_STALE_SECONDS", "nan"),
    ("VENDING_POLICY_MAX_STALE_SECONDS", "inf"),
    ("VENDING_DEADLINE_SECONDS", "20s"),
    ("VENDING_DEADLINE_SECONDS", "1e9"),
    ("VENDING_DEADLINE_SECONDS", "51"),
    ("VENDING_REPLAY_STORE", "redis"),
    ("VENDING_REPLAY_STORE", "https://evil.example/claims"),
    ("VENDING_REPLAY_STORE", "https://a1b.table.core.windows.net.evil.example/claims"),
    ("VENDING_REPLAY_STORE", "https://abc.table.core.windows.net/claims?sig=x"),
    ("VENDING_REPLAY_STORE", "https://abc.table.core.windows.net/"),
    ("VENDING_REPLAY_STORE", "http://127.0.0.1:10002/claims"),
    ("VENDING_CUSTOM_HOSTS", "registry.example,*.example"),
    ("VENDING_CUSTOM_HOSTS", "Registry.example"),
    ("VENDING_CUSTOM_HOSTS", "a,,b"),
    ("VENDING_ALLOW_LOOPBACK", "true"),
    ("VENDING_ALLOW_LOOPBACK", "0"),
    ("VENDING_TELEMETRY", "on"),
    ("AZURE_CLIENT_ID", "my-identity"),
]


@pytest.mark.parametrize(("name", "value"), REFUSED, ids=[f"{name}={value}" for name, value in REFUSED])
def test_a_setting_that_cannot_be_parsed_stops_the_start_and_is_named(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name) as refused:
        read(**{name: value})
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    "platform",
    [
        {"WEBSITE_INSTANCE_ID": "0a1b"},  # App Service, Premium, Consumption
        {"WEBSITE_SKU": "FlexConsumption", "WEBSITE_POD_NAME": "pod-1", "CONTAINER_NAME": "C-1"},  # Flex Consumption
        {"WEBSITE_SKU": "FlexConsumption"},
        {"WEBSITE_POD_NAME": "pod-1"},
        {"CONTAINER_NAME": "C-1"},
        {"WEBSITE_OWNER_NAME": "0000+group-region"},
    ],
    ids=lambda platform: " ".join(platform),
)
def test_loopback_stops_the_start_in_azure(platform: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match="VENDING_ALLOW_LOOPBACK"):
        read(VENDING_ALLOW_LOOPBACK="1", **platform)


def test_loopback_is_allowed_under_core_tools_which_set_a_host_name() -> None:
    assert read(VENDING_ALLOW_LOOPBACK="1", WEBSITE_HOSTNAME="localhost:7071").allow_loopback


@pytest.mark.parametrize(
    ("settings", "processes"),
    [
        ({}, 1),
        ({"FUNCTIONS_WORKER_PROCESS_COUNT": "1"}, 1),
        ({"FUNCTIONS_WORKER_PROCESS_COUNT": "2"}, 2),
        ({"FUNCTIONS_WORKER_PROCESS_COUNT": "99"}, 10),  # The host starts ten at most.
        ({"FUNCTIONS_WORKER_PROCESS_COUNT": "0"}, 1),
        ({"FUNCTIONS_WORKER_PROCESS_COUNT": "many"}, 1),
        ({"FUNCTIONS_WORKER_DYNAMIC_CONCURRENCY_ENABLED": "true"}, 10),  # The host adds processes as it sees fit.
    ],
)
def test_worker_processes_are_counted_as_the_host_counts_them(settings: dict[str, str], processes: int) -> None:
    assert read(**settings).worker_processes == processes


def test_without_any_public_url_the_start_stops() -> None:
    with pytest.raises(SettingsError, match="VENDING_PUBLIC_URL"):
        Settings.from_environment({})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("VENDING_POLICY", "https://abc.blob.core.windows.net/policy/policy.yaml"),
        ("VENDING_REPLAY_STORE", "https://abc.table.core.windows.net/claims"),
        ("VENDING_REPLAY_STORE", "memory"),
        ("VENDING_CUSTOM_HOSTS", "registry.example:5000, login.example"),
        ("VENDING_DEADLINE_SECONDS", "2.5"),
        ("VENDING_DEADLINE_SECONDS", "1"),
        ("VENDING_DEADLINE_SECONDS", "50"),
        ("VENDING_POLICY_REFRESH_SECONDS", "86400"),
        ("VENDING_DOCS_URL", "https://docs.contoso.example/vending/errors?lang=en"),
        ("AZURE_CLIENT_ID", "00000000-0000-0000-0000-00000000000A"),
    ],
)
def test_a_good_setting_is_accepted(name: str, value: str) -> None:
    assert isinstance(read(**{name: value}), Settings)


def test_loopback_urls_are_accepted_where_loopback_is_allowed() -> None:
    settings = read(
        VENDING_ALLOW_LOOPBACK="1",
        VENDING_PUBLIC_URL="http://127.0.0.1:7071/",
        VENDING_POLICY="http://127.0.0.1:10000/devstoreaccount1/policy/policy.yaml",
        VENDING_REPLAY_STORE="http://localhost:10002/devstoreaccount1/claims",
    )
    assert settings.public_url == "http://127.0.0.1:7071"
    assert settings.replay_store == "table"


def test_an_empty_setting_is_an_unset_one() -> None:
    assert read(**dict.fromkeys(KNOWN_SETTINGS, "")) == Settings(
        policy=Path(APP_ROOT / "policy.yaml"),
        public_url="https://vend.example",
        environment={**BASE, **dict.fromkeys(KNOWN_SETTINGS, "")},
    )


def test_a_repr_holds_no_environment() -> None:
    assert "hunter2" not in repr(read(VENDING_SECRET_PARTNER="hunter2"))


def test_no_deadline_lasts_as_long_as_the_hosts_which_ends_the_worker_with_everybodys_requests() -> None:
    host = json.loads((APP_ROOT / "host.json").read_text())
    hours, minutes, seconds = map(int, host["functionTimeout"].split(":"))
    assert read(VENDING_DEADLINE_SECONDS="50").deadline_seconds + 5 < hours * 3600 + minutes * 60 + seconds
