"""What a loaded policy holds: registries, identities, issuers, limits, and where each rule was written."""

from __future__ import annotations

import gc
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

import vending.policy
from tests.policy.language import GITHUB, ask, compose, grant, load_data, make_policy, rule
from vending.entra.clouds import ACR_AUDIENCE, CLOUDS
from vending.entra.identity import Identity
from vending.policy import (
    Environment,
    PolicyError,
    load,
    load_bytes,
    load_with_source,
)
from vending.policy.language.problems import Code, Finding
from vending.policy.language.reader import read

GUID = "ABCDEF00-0000-0000-0000-000000000001"
LOW = GUID.lower()


def test_everything_that_the_package_offers_can_be_imported() -> None:
    for name in vending.policy.__all__:
        assert getattr(vending.policy, name) is not None
    with pytest.raises(AttributeError, match="nothing_of_this_name"):
        _ = vending.policy.nothing_of_this_name


def test_shipped_policy_loads_with_default_settings() -> None:
    policy = load(Path("policy.yaml"), Environment())
    assert policy.sha256 == hashlib.sha256(Path("policy.yaml").read_bytes()).hexdigest()
    assert set(policy.rules) == {issuer.name for issuer in policy.issuers.values()}


def test_yaml_and_json_say_the_same(tmp_path: Path) -> None:
    data = compose(rules=[rule()])
    (tmp_path / "p.json").write_text(json.dumps(data))
    (tmp_path / "p.yaml").write_text(json.dumps(data))  # JSON is YAML, too.
    one, two = (load(tmp_path / name, Environment()) for name in ("p.json", "p.yaml"))
    assert ask(one, None, GITHUB) == ask(two, None, GITHUB)


# --- Identities -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entry", "identity"),
    [
        ({"type": "managed_identity"}, Identity("managed_identity")),
        ({"type": "managed_identity", "client_id": GUID}, Identity("managed_identity", client_id=LOW)),
        ({"type": "workload_identity"}, Identity("workload_identity")),
        ({"type": "workload_identity", "tenant_id": GUID, "client_id": GUID}, Identity("workload_identity", LOW, LOW)),
        ({"type": "developer", "tenant_id": GUID}, Identity("developer", LOW)),
        (
            {"type": "service_principal", "tenant_id": GUID, "client_id": GUID, "secret_setting": "VENDING_SECRET_A"},
            Identity("service_principal", LOW, LOW, secret_setting="VENDING_SECRET_A"),
        ),
        (
            {"type": "federated_app", "tenant_id": GUID, "client_id": GUID, "managed_identity": "other"},
            Identity("federated_app", LOW, LOW, assertion_client_id=LOW),
        ),
        ({"type": "federated_app", "tenant_id": GUID, "client_id": GUID}, Identity("federated_app", LOW, LOW)),
    ],
)
def test_identity(entry: dict[str, Any], identity: Identity) -> None:
    others = {"other": {"type": "managed_identity", "client_id": GUID}}
    assert make_policy(identities={**others, "i": entry}).identities["i"] == identity


def test_default_identity_exists_without_being_written() -> None:
    assert make_policy().identities == {"default": Identity("managed_identity")}


def test_default_identity_may_be_written() -> None:
    policy = make_policy(identities={"default": {"type": "workload_identity"}})
    assert policy.identities == {"default": Identity("workload_identity")}


# --- Registries -------------------------------------------------------------------------------------------------------


def test_registry_is_filled_in_from_its_cloud() -> None:
    registry = make_policy().registries["prod"]
    assert registry.cloud is CLOUDS["public"]
    assert (registry.authority_host, registry.token_audience) == ("login.microsoftonline.com", ACR_AUDIENCE)
    assert (registry.identity, registry.service, registry.hosts) == ("default", None, ())


def test_registry_is_found_by_name_and_by_each_host() -> None:
    entry = {
        "login_server": "contoso.azurecr.io",
        "hosts": ["contoso.eastus.geo.azurecr.io"],
        "service": "other.azurecr.io",
    }
    policy = make_policy(registries={"prod": entry})
    registry = policy.registries["prod"]
    for wanted in ("prod", "contoso.azurecr.io", "contoso.eastus.geo.azurecr.io"):
        assert policy.find_registry(wanted) is registry
    for other in ("PROD", "contoso.azurecr.io:443", "other.azurecr.io", "https://contoso.azurecr.io", ""):
        assert policy.find_registry(other) is None
    assert registry.all_hosts == ("contoso.azurecr.io", "contoso.eastus.geo.azurecr.io")


# --- Issuers ----------------------------------------------------------------------------------------------------------


def test_issuer_is_found_by_its_exact_url() -> None:
    policy = make_policy()
    assert policy.issuer_for("https://token.actions.githubusercontent.com") is not None
    for other in (
        "https://token.actions.githubusercontent.com/",
        "HTTPS://token.actions.githubusercontent.com",
        "https://token.actions.githubusercontent.com:443",
        "https://token.actions.githubusercontent.com/contoso",
        "github",
    ):
        assert policy.issuer_for(other) is None


def test_static_keys_and_certificates_are_read_beside_the_policy(tmp_path: Path, public_jwk: dict[str, str]) -> None:
    (tmp_path / "keys.json").write_text(json.dumps({"keys": [public_jwk]}))
    (tmp_path / "p.json").write_text(
        json.dumps(compose(issuers={"github": {"preset": "github", "jwks_file": "keys.json"}}))
    )
    policy = load(tmp_path / "p.json", Environment())
    [issuer] = policy.issuers.values()
    assert issuer.verification.static_keys == {"keys": [public_jwk]}
    assert policy.files == ((tmp_path / "keys.json").resolve(),)


def test_policy_of_a_blob_has_no_files_beside_it() -> None:
    data = json.dumps(compose(issuers={"github": {"preset": "github", "jwks_file": "keys.json"}})).encode()
    with pytest.raises(PolicyError, match="inline"):
        load_bytes(data, name="policy.json", environment=Environment(), directory=None)


def test_policy_reached_through_links_as_in_a_config_map(tmp_path: Path, public_jwk: dict[str, str]) -> None:
    version = tmp_path / "..2027"
    version.mkdir()
    (version / "keys.json").write_text(json.dumps({"keys": [public_jwk]}))
    (version / "p.json").write_text(
        json.dumps(compose(issuers={"github": {"preset": "github", "jwks_file": "keys.json"}}))
    )
    (tmp_path / "..data").symlink_to(version)
    for name in ("p.json", "keys.json"):
        (tmp_path / name).symlink_to(f"..data/{name}")
    assert load(tmp_path / "p.json", Environment()).files == ((version / "keys.json").resolve(),)


# --- Places -----------------------------------------------------------------------------------------------------------


def test_rules_of_a_yaml_file_know_their_line(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(json.dumps(compose(rules=[rule("a"), rule("b")]), indent=1))
    expected = [n for n, line in enumerate(path.read_text().splitlines(), 1) if '"name": "' in line]
    policy = load(path, Environment())
    assert [rule.origin for rule in policy.rules["github"].rules] == [f"{path}:{n - 1}:3" for n in expected]


@pytest.mark.parametrize("suffix", [".json", ".yaml"])
def test_findings_are_placed_at_keys_values_or_the_nearest_thing_above(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"p{suffix}"
    path.write_text(json.dumps(compose(rules=[rule("a"), rule("b")]), indent=2))
    document = load_with_source(path, Environment()).document
    lines = path.read_text().splitlines()
    at_key, at_value, gone, nowhere = document.place(
        [
            Finding(("rules", 1, "when"), "x", "", at_key=True),
            Finding(("rules", 1, "grant", 0, "actions", 1), "x", ""),
            Finding(("rules", 1, "expires"), "x", ""),
            Finding(("nothing", "here"), "x", ""),
        ]
    )
    second = next(n for n, line in enumerate(lines, 1) if '"name": "b"' in line)
    assert lines[at_key.line - 1][at_key.column - 1 :].startswith('"when"')
    assert at_key.line > second
    assert lines[at_value.line - 1][at_value.column - 1 :] == '"push"'
    assert (gone.line, lines[gone.line - 1][gone.column - 1 :]) == (second - 1, "{")
    assert (nowhere.line, nowhere.column) == (1, 1)


# --- Large policies ---------------------------------------------------------------------------------------------------


def test_large_policy_loads_with_the_collector_paused_and_leaves_it_running() -> None:
    rules = [
        rule(f"r{n}", grant(f"team/image-{n}"), when={"repository_id": str(n)}, description="x" * 300)
        for n in range(2500)
    ]
    data = compose(rules=rules)
    assert len(json.dumps(data)) > 1 << 20
    assert gc.isenabled()
    policy = load_data(data)
    assert gc.isenabled()
    gc.unfreeze()
    assert ask(policy, "repository:team/image-7:pull", {**GITHUB, "repository_id": "7"}).rules == ("r7",)


def test_collector_stays_off_where_it_was_off() -> None:
    gc.disable()
    try:
        load_data(compose())
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_policy_that_is_replaced_is_freed_without_the_collector() -> None:
    """The app keeps what its start made from the collector (`vending.startup.settle`): a cycle would stay for ever."""
    sample = Path("policy.yaml")
    data = json.dumps(read(sample.read_bytes(), sample.name).data, default=str).encode()

    def load_and_drop() -> None:
        load_bytes(data, name="policy.json", environment=Environment(), directory=Path())

    load_and_drop()
    gc.collect()
    load_and_drop()
    assert gc.collect() == 0


# --- A loader that fails ----------------------------------------------------------------------------------------------


class BrokenEnvironment:
    """Fails whenever the loader asks it for anything, as a bug would."""

    def __getattr__(self, name: str) -> object:
        raise IndexError(name)


def test_whatever_loading_raises_is_a_bad_policy(tmp_path: Path) -> None:
    text = json.dumps(compose()).replace("contoso.azurecr.io", "localhost:1")
    (tmp_path / "policy.json").write_text(text)
    environment = cast("Environment", BrokenEnvironment())
    attempts: list[Callable[[], object]] = [
        lambda: load_bytes(text.encode(), name="policy.json", environment=environment, directory=None),
        lambda: load(tmp_path, environment),
        lambda: load(tmp_path / "policy.json", environment),
    ]
    for attempt in attempts:
        with pytest.raises(PolicyError, match=r"IndexError at test_loading\.py") as caught:
            attempt()
        assert [problem.code for problem in caught.value.problems] == [Code.LOADER]
