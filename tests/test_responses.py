"""What is written is what /openapi.json says: every shape, with and without its optional values."""

from __future__ import annotations

from typing import Any

import jsonschema_rs
import pytest

from vending import responses
from vending.errors import CATALOGUE, Reason
from vending.openapi import document
from vending.request import ACCESS_TOKEN_TYPE

SCHEMAS = document("https://vend.example", "1.0")["components"]["schemas"]
READY: dict[str, Any] = {
    "sha256": "ab" * 32,
    "version": "1.0",
    "age_seconds": 1.5,
    "source": "blob",
    "replay_store": "table",
    "issuers_in_trouble": 0,
    "reload_failure": "refused",
}
NONE: dict[str, Any] = {**READY, "sha256": None, "age_seconds": None, "reload_failure": None}
TOKEN = responses.Token(
    access_token="s3cret",
    issued_token_type=ACCESS_TOKEN_TYPE,
    token_type="Bearer",
    expires_in=0,
    expires_at="2026-11-21T13:00:00Z",
    scope="repository:web/api:pull",
    registry="contoso.azurecr.io",
    hosts=["contoso.azurecr.io"],
    username="00000000-0000-0000-0000-000000000000",
    rules=["r"],
    token_id="t",
    request_id="r",
)
RULES = [responses.ExplainedRule("r", False, ["ref"])]
SHAPES: list[tuple[str, object]] = [
    ("Token", TOKEN),
    ("Explanation", responses.Explanation(True, "h", "s", ["s"], [], None, None, [], {"a": [1]}, "r")),
    ("Explanation", responses.Explanation(False, "h", "s", [], ["s"], "no_matching_rule", "Why.", RULES, {}, "r")),
    ("Metadata", responses.Metadata("https://vend.example", "https://vend.example/token", "a")),
    ("Health", responses.Health()),
    ("Readiness", responses.Readiness(**READY)),
    ("Readiness", responses.Readiness(**NONE)),
    ("Unreadiness", responses.Unreadiness(**NONE, reason="policy_unavailable", error="temporarily_unavailable")),
    ("Error", responses.Error("invalid_request", "Why.", "missing_parameter", "r")),
    ("Error", responses.Error("invalid_scope", "Why.", "denied_by_rule", "r", "https://docs.example#x", ["s"])),
]


@pytest.mark.parametrize(("name", "shape"), SHAPES, ids=[f"{number} {name}" for number, (name, _) in enumerate(SHAPES)])
def test_shape_is_written_as_its_schema_says(name: str, shape: object) -> None:
    body = responses.written(shape)
    errors = [error.message for error in jsonschema_rs.validator_for(SCHEMAS[name]).iter_errors(body)]
    assert errors == []
    assert set(SCHEMAS[name]["required"]) <= set(body) <= set(SCHEMAS[name]["properties"])


@pytest.mark.parametrize("name", sorted({name for name, _ in SHAPES}))
def test_schema_refuses_what_lacks_a_field(name: str) -> None:
    shape = next(shape for known, shape in SHAPES if known == name)
    body = responses.written(shape)
    validator = jsonschema_rs.validator_for(SCHEMAS[name])
    for field in SCHEMAS[name]["required"]:
        assert not validator.is_valid({key: value for key, value in body.items() if key != field})


def test_error_without_values_leaves_their_fields_out() -> None:
    assert set(responses.written(responses.Error("e", "d", "r", "i"))) == {
        "error",
        "error_description",
        "reason",
        "request_id",
    }


def test_schema_knows_every_reason() -> None:
    assert SCHEMAS["Error"]["properties"]["reason"]["enum"] == [reason.value for reason in CATALOGUE]
    assert Reason.MISCONFIGURED.value in SCHEMAS["Error"]["properties"]["reason"]["enum"]


def test_registry_token_is_in_no_repr() -> None:
    assert "s3cret" not in repr(TOKEN)
