"""The JSON Schema accepts and refuses what the loader does, as far as form goes."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given

from tests.policy.language import compose, deny, grant, load_data, rule
from tests.policy.test_properties import policies
from tests.support.examples import examples
from vending.cli.cases import tests_schema as schema_of_tests
from vending.policy import PolicyError
from vending.policy.language.json_schema import (
    PART_SCHEMA_FILE,
    SCHEMA_FILE,
    TESTS_SCHEMA_FILE,
    part_schema,
    policy_schema,
    render_schema,
)
from vending.policy.language.reader import read

VALIDATOR = jsonschema_rs.validator_for(policy_schema())
GUID = "00000000-0000-0000-0000-000000000001"


def loads(data: Any) -> bool:
    try:
        load_data(data)
    except PolicyError:
        return False
    return True


def entry(section: str, **values: Any) -> dict[str, Any]:
    return compose(**{section: {"x": values}})


def registry(**values: Any) -> dict[str, Any]:
    return entry("registries", **{"login_server": "contoso.azurecr.io", **values})


def issuer(**values: Any) -> dict[str, Any]:
    return entry("issuers", **{"preset": "github", **values})


def ruled(**changes: Any) -> dict[str, Any]:
    return compose(rules=[{**rule(), **changes}], maps={"m": {"x": "a"}})


def granted(**changes: Any) -> dict[str, Any]:
    return ruled(grant=[{**grant("a"), **changes}])


def without(data: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in data.items() if name != key}


CORPUS: list[Any] = [
    compose(),
    [],
    "text",
    {},
    compose(version=2),
    compose(version=True),
    compose(version="1"),
    compose(extra=1),
    *(without(compose(), key) for key in ("version", "audience", "registries", "issuers")),
    compose(audience="vend"),
    compose(audience="https://a b"),
    compose(audience="https://v.example?x"),
    compose(audience=1),
    registry(),
    registry(login_server="UPPER.azurecr.io"),
    registry(login_server="https://contoso.azurecr.io"),
    registry(login_server=""),
    registry(cloud="mars"),
    registry(hosts=[]),
    registry(hosts=["fabrikam.azurecr.io"]),
    registry(hosts="fabrikam.azurecr.io"),
    registry(port=1),
    registry(authority_host="l.example"),
    registry(cloud="custom"),
    registry(cloud="custom", authority_host="l.example"),
    compose(registries={}),
    compose(registries={"Up": {"login_server": "contoso.azurecr.io"}}),
    compose(registries={"x" * 65: {"login_server": "contoso.azurecr.io"}}),
    entry("identities", type="managed_identity"),
    entry("identities", type="managed_identity", client_id="x"),
    entry("identities", type="other"),
    entry("identities"),
    entry(
        "identities",
        type="managed_identity",
        client_id=GUID,
        resource_id=f"/subscriptions/{GUID}/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/i",
    ),
    entry(
        "identities",
        type="managed_identity",
        resource_id=f"/subscriptions/{GUID}/resourcegroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/i",
    ),
    entry("identities", type="federated_app", tenant_id=GUID),
    entry("identities", type="federated_app", tenant_id=GUID, client_id=GUID),
    entry("identities", type="service_principal", tenant_id=GUID, client_id=GUID),
    entry("identities", type="service_principal", tenant_id=GUID, client_id=GUID, secret_setting="VENDING_SECRET_X"),
    entry("identities", type="service_principal", tenant_id=GUID, client_id=GUID, secret_setting="OTHER"),
    entry(
        "identities",
        type="service_principal",
        tenant_id=GUID,
        client_id=GUID,
        secret_setting="VENDING_SECRET_X",
        certificate_setting="VENDING_SECRET_Y",
    ),
    issuer(),
    issuer(preset="other"),
    entry("issuers"),
    issuer(preset="generic"),
    issuer(preset="kubernetes"),
    issuer(preset="gitlab"),
    issuer(issuer="ftp://x"),
    issuer(algorithms=["RS256"]),
    issuer(algorithms=["HS256"]),
    issuer(algorithms=[]),
    issuer(algorithms="RS256"),
    issuer(max_token_lifetime="1h"),
    issuer(max_token_lifetime="1w"),
    issuer(max_token_lifetime=60),
    issuer(replay="twice"),
    issuer(enabled="yes"),
    issuer(enabled=False),
    issuer(enabled=None),
    issuer(identity_claims=["sub"]),
    issuer(preset="generic", issuer="https://i.example", identity_claims=["sub"]),
    issuer(preset="generic", issuer="https://i.example", identity_claims=[]),
    issuer(jwks={}, jwks_file="x"),
    issuer(ca="x", ca_file="y"),
    issuer(jwks_file="/abs"),
    compose(maps={}),
    compose(maps={"m": {}}),
    compose(maps={"m": {"x": "A"}}),
    compose(maps={"m": {"x": "a/b"}}),
    compose(maps={"m": {"x": 1}}),
    compose(maps={"m!": {"x": "a"}}),
    compose(rules=[]),
    compose(rules={}),
    ruled(),
    ruled(name=""),
    ruled(name="a b"),
    ruled(name=1),
    ruled(description="x"),
    ruled(description=1),
    ruled(issuer=[]),
    ruled(issuer=["github"]),
    ruled(issuer=1),
    ruled(when={}),
    ruled(when=[]),
    ruled(when={"repository_id": "1", "x": []}),
    ruled(when={"repository_id": "1", "x": ["a", "b"]}),
    ruled(when={"repository_id": "1", "x": [["a"]]}),
    ruled(when={"repository_id": "1", "x": {}}),
    ruled(when={"repository_id": "1", "x": None}),
    ruled(when={"repository_id": "1", "x": 1.5}),
    ruled(when={"repository_id": "1", "x": "***"}),
    ruled(when={"repository_id": "1", "x": "a\nb"}),
    ruled(when={"repository_id": "1", "": "a"}),
    ruled(issuer="generic", when={"sub": "me", "x": 1}),
    ruled(issuer="generic", when={"sub": "me", "x": True}),
    ruled(issuer="generic", when={"sub": "me", "x": ""}),
    ruled(unless={}),
    ruled(unless={"ref": "x"}),
    ruled(expires="2027-01-01"),
    ruled(expires="01.01.2027"),
    ruled(expires=20270101),
    ruled(mode="audit"),
    ruled(mode="off"),
    ruled(enabled=False),
    ruled(enabled=1),
    ruled(extra=1),
    ruled(grant=[]),
    ruled(grant={}),
    *(compose(rules=[without(rule(), key)]) for key in ("name", "issuer", "when", "grant")),
    granted(),
    granted(actions=[]),
    granted(actions=["read"]),
    granted(actions="pull"),
    granted(repositories=[]),
    granted(repositories="a"),
    granted(repositories=["A"]),
    granted(repositories=["a/***"]),
    granted(repositories=["a/**", "b/*", "{ref|lower|path}", "x/{ref|m}"]),
    granted(repositories=["{"]),
    granted(repositories=[""]),
    granted(catalog=True),
    granted(catalog="yes"),
    granted(extra=1),
    ruled(grant=[{"registry": "prod"}]),
    ruled(grant=[{"registry": "prod", "catalog": True}]),
    ruled(grant=[{"registry": "prod", "catalog": False}]),
    ruled(grant=[without(grant("a"), "actions")]),
    ruled(grant=[without(grant("a"), "repositories")]),
    ruled(grant=[without(grant("a"), "registry")]),
    ruled(grant=[{**without(grant("a"), "actions"), "catalog": True}]),
    compose(deny=[deny("d", "**")]),
    compose(deny=[deny("d")]),
    compose(deny=[deny("d", catalog=True)]),
    compose(deny=[deny("d", "{ref}")]),
    compose(deny=[deny("d", "a/***")]),
    compose(deny=[deny("d", "**", when={"ref": "x"})]),
    compose(deny=[deny("d", "**", issuer="github", when={"ref": "x"})]),
    compose(deny=[deny("d", "**", issuer="github", unless={})]),
    compose(deny=[deny("d", "**", unless={"ref": "x"})]),
    compose(deny=[deny("d", "**", expires="2027-01-01")]),
    compose(deny=[without(deny("d", "**"), "name")]),
    compose(limits={}),
    compose(limits={"max_scopes": 0}),
    compose(limits={"max_scopes": 128}),
    compose(limits={"max_scopes": 129}),
    compose(limits={"max_scopes": "1"}),
    compose(limits={"requests_per_minute": 0}),
    compose(limits={"x": 1}),
    compose(audit={"claims": ["actor"]}),
    compose(audit={"claims": []}),
    compose(audit={}),
    compose(sources={"rules": {"r": "a:1:1"}}),
]


@pytest.mark.parametrize("data", CORPUS, ids=range(len(CORPUS)))
def test_schema_and_loader_agree(data: Any) -> None:
    assert VALIDATOR.is_valid(data) == loads(data)


@examples(100)
@given(policies())
def test_schema_accepts_every_policy_that_loads(data: dict[str, Any]) -> None:
    load_data(data)
    assert VALIDATOR.is_valid(data)


def test_shipped_schema_is_the_one_of_the_models() -> None:
    assert SCHEMA_FILE.read_text() == render_schema(policy_schema()), "write it anew: python -m vending schema -o FILE"
    assert PART_SCHEMA_FILE.read_text() == render_schema(part_schema()), "and: python -m vending schema --part -o FILE"
    assert TESTS_SCHEMA_FILE.read_text() == render_schema(schema_of_tests()), (
        "and: python -m vending schema --tests -o FILE"
    )


def test_schema_is_a_valid_schema() -> None:
    jsonschema_rs.meta.validate(policy_schema())
    jsonschema_rs.meta.validate(part_schema())
    jsonschema_rs.meta.validate(schema_of_tests())


def test_schema_describes_every_key() -> None:
    schema = policy_schema()
    for owner in (schema, *schema["$defs"].values()):
        for key, value in owner["properties"].items():
            assert key == "type" or owner is schema["$defs"]["SourcesModel"] or value.get("description"), key


def test_shipped_policy_fits_schema_and_loader() -> None:
    data = Path("policy.yaml").read_bytes()
    document = read(data, "policy.yaml")
    plain = json.loads(json.dumps(document.data, default=date.isoformat))
    assert VALIDATOR.is_valid(plain)
    assert loads(plain)
