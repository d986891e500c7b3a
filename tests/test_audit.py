"""The audit event: its fields and their order, hostile values, and that it always fits on one line."""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import replace
from datetime import datetime
from typing import Any

import jsonschema_rs
import pytest

from tests.policy.language import compose, deny, grant, load_data, rule
from vending.acr.scope import parse, repository
from vending.audit import (
    MAX_LINE,
    PERSONAL_CLAIMS,
    Trail,
    client_address,
    is_personal,
    outcome,
    render,
    to_the_millisecond,
)
from vending.audit_event import AUDIT_SCHEMA, MAX_ITEMS, MAX_TEXT, SECURITY_SCHEMA, Kind
from vending.clock import Clock
from vending.errors import CATALOGUE, Reason, Refusal
from vending.oidc.claim_path import parse_key
from vending.oidc.types import Claims, RawToken, VerifiedClaims
from vending.policy import decide
from vending.policy.providers.preset import Preset
from vending.policy.providers.presets import PRESETS


class Ticking:
    """A clock that moves one millisecond each time somebody looks at it."""

    def __init__(self) -> None:
        self.looks = 0

    def monotonic(self) -> float:
        self.looks += 1
        return self.looks / 1000


def new_trail(kind: Kind = "token", request_id: str = "r-1") -> Trail:
    clock = Clock(now=lambda: 1_795_000_000.1234, monotonic=Ticking().monotonic)
    return Trail(kind=kind, clock=clock, request_id=request_id)


def preset(*identity: str, job: tuple[str, ...] = ()) -> Preset:
    return replace(PRESETS["generic"], identity=identity, job=job)


def full_trail() -> Trail:
    trail = new_trail()
    trail.invocation_id = "i-1"
    trail.client_address = "192.0.2.7"
    trail.user_agent = "curl/8"
    trail.issuer = "github"
    trail.subject(RawToken("a.b.c"))
    claims: Claims = {"repository_id": "123456", "actor": "octocat", "jti": "j-1", "run": 7, "flags": [True, None]}
    trail.identify(
        preset("repository_id", "environment", "actor", job=("run", "actor", "sha")),
        claims,
        ["actor", "run", "flags", "absent"],
    )
    trail.weigh(claims, ["actor", "flags", "ref", "repository_id"], ["flags"], 1_795_000_000.9876)
    trail.registry = "contoso.azurecr.io"
    trail.asked((repository("web/api", ["push", "pull"]), repository("web/ui", ["pull"])))
    trail.granted = ["repository:web/api:pull,push"]
    trail.missing = ["repository:web/ui:pull"]
    trail.rules = ["web-release"]
    trail.audit_rules = ["web-next"]
    trail.denies = ["nothing-is-deleted"]
    trail.failed_rules = [("web-hotfix", ["ref", "environment"])]
    trail.policy_sha256 = "ab" * 32
    trail.token_id = "t-1"
    trail.token_expires_at = 1_795_003_600.9
    with trail.step("verify"):
        pass
    with trail.step("decide"):
        pass
    return trail


def check(event: dict[str, Any]) -> None:
    errors = [error.message for error in jsonschema_rs.validator_for(AUDIT_SCHEMA).iter_errors(event)]
    assert errors == []
    assert list(event) == list(AUDIT_SCHEMA["properties"])


def test_an_event_holds_everything_in_a_stable_order() -> None:
    event = full_trail().event(Refusal(Reason.SCOPE_NOT_GRANTED))
    check(event)
    assert event == {
        "schema": 1,
        "kind": "token",
        "time": "2026-11-18T11:06:40.987+00:00",
        "outcome": "deny",
        "reason": "scope_not_granted",
        "request_id": "r-1",
        "invocation_id": "i-1",
        "issuer": "github",
        "caller": [{"name": "repository_id", "value": "123456"}],
        "job": {"run": 7, "actor": "octocat"},
        "claims": [
            {"name": "actor", "value": "octocat"},
            {"name": "flags", "value": "[true, null]"},
            {"name": "run", "value": "7"},
        ],
        "decided_on": {"flags": [True, None], "repository_id": "123456"},
        "absent": ["ref"],
        "withheld": ["actor"],
        "subject_token_sha256": hashlib.sha256(b"a.b.c").hexdigest(),
        "subject_token_id": "j-1",
        "registry": "contoso.azurecr.io",
        "scope": ["repository:web/api:pull,push", "repository:web/ui:pull"],
        "granted": ["repository:web/api:pull,push"],
        "missing": ["repository:web/ui:pull"],
        "rules": ["web-release"],
        "audit_rules": ["web-next"],
        "denies": ["nothing-is-deleted"],
        "failed_rules": [{"name": "web-hotfix", "claims": ["ref", "environment"]}],
        "policy_sha256": "ab" * 32,
        "token_id": "t-1",
        "token_expires_at": "2026-11-18T12:06:40Z",
        "durations_ms": {"verify": 1.0, "decide": 1.0, "total": 5.0},
        "client_address": "192.0.2.7",
        "user_agent": "curl/8",
        "shortened": [],
    }


@pytest.mark.parametrize("kind", ["token", "explain"])
def test_an_event_of_which_nothing_is_known_yet_fits_the_schema(kind: Kind) -> None:
    event = new_trail(kind).event(Refusal(Reason.POLICY_UNAVAILABLE))
    check(event)
    assert (event["kind"], event["outcome"]) == (kind, "error")


@pytest.mark.parametrize("reason", list(Reason))
def test_an_error_is_what_the_service_must_mend_and_a_denial_what_the_caller_must(reason: Reason) -> None:
    assert outcome(Refusal(reason)) == ("error" if CATALOGUE[reason].status >= 500 else "deny")


def test_no_refusal_is_an_allowance() -> None:
    assert outcome(None) == "allow"
    event = new_trail().event(None)
    assert (event["outcome"], event["reason"]) == ("allow", None)


@pytest.mark.parametrize(
    "hostile",
    [
        pytest.param('x"}\n{"kind": "token", "outcome": "allow"}', id="a forged second line"),
        pytest.param("\r\n\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029", id="every line break there is"),
        pytest.param("\x1b[31mred\x1b]0;title\x07\x7f\x9b", id="terminal escapes"),
        pytest.param("\u202eevil\u202c \u200b", id="text that runs backwards"),
        pytest.param("%s %(message)s {0} {}", id="format strings"),
        pytest.param("\x00", id="a null byte"),
    ],
)
def test_a_hostile_value_stays_one_value_on_one_ascii_line(hostile: str, caplog: pytest.LogCaptureFixture) -> None:
    trail = new_trail()
    trail.user_agent = trail.client_address = trail.invocation_id = trail.token_id = hostile
    trail.subject(RawToken(hostile))
    trail.identify(preset(*["sub"]), {"sub": hostile, "jti": hostile, "groups": [hostile]}, ["groups"])
    with caplog.at_level(logging.INFO, "vending.audit"):
        event = trail.write(None)
    check(event)
    (line,) = caplog.messages
    assert line.isascii()
    assert not any(ord(character) < 32 for character in line)
    assert json.loads(line)["user_agent"] == hostile


def test_lone_surrogates_are_replaced_for_other_readers_of_json_refuse_them() -> None:
    trail = new_trail()
    trail.user_agent = "a\ud800b\U0001f600"
    assert trail.event(None)["user_agent"] == "a\ufffdb\U0001f600"


@pytest.mark.parametrize("length", [MAX_TEXT - 1, MAX_TEXT, MAX_TEXT + 1, 100_000])
def test_a_long_value_is_cut_and_says_so(length: int) -> None:
    trail = new_trail()
    trail.user_agent = trail.client_address = trail.invocation_id = trail.token_id = "x" * length
    trail.identify(preset(*["sub"]), {"sub": "y" * length, "jti": "z" * length}, ["sub"])
    event = trail.event(None)
    check(event)
    for value in (event["user_agent"], event["caller"][0]["value"], event["claims"][0]["value"], event["token_id"]):
        assert len(value) == min(length, MAX_TEXT)
        assert value.endswith("…") == (length > MAX_TEXT)


def test_a_claim_that_is_no_text_is_written_as_json_and_a_token_id_that_is_none_is_left_out() -> None:
    trail = new_trail()
    trail.identify(preset(*["sub"]), {"sub": {"a": [1, 2.5, None]}, "jti": 7}, [])
    event = trail.event(None)
    assert event["caller"] == [{"name": "sub", "value": '{"a": [1, 2.5, null]}'}]
    assert event["subject_token_id"] is None


def test_claims_that_name_a_person_are_left_out_unless_they_are_listed() -> None:
    claims = dict.fromkeys(PERSONAL_CLAIMS, "someone")
    trail = new_trail()
    trail.identify(preset(*PERSONAL_CLAIMS), claims, [])
    assert trail.event(None)["caller"] == []
    trail.identify(preset(*PERSONAL_CLAIMS), claims, ["email"])
    event = trail.event(None)
    assert event["caller"] == []
    assert event["claims"] == [{"name": "email", "value": "someone"}]


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_what_a_preset_calls_personal_is_personal_under_every_preset(name: str) -> None:
    assert PRESETS[name].personal <= PERSONAL_CLAIMS


def test_the_largest_request_there_can_be_still_makes_one_whole_line(caplog: pytest.LogCaptureFixture) -> None:
    """What was granted is kept for longest: it is what an auditor needs."""
    trail = full_trail()
    scopes = tuple(repository(f"{number:03}" + "/a" * 126, ["pull"]) for number in range(128))
    trail.asked(scopes)
    trail.granted = [str(scope) for scope in scopes[:64]]
    trail.missing = [str(scope) for scope in scopes[64:]]
    trail.failed_rules = [("r" * 64, ["c" * 1000] * 500)] * 500
    trail.rules = [f"rule-{number}" for number in range(500)]
    trail.user_agent = "\U0001f600" * 1000
    with caplog.at_level(logging.INFO, "vending.audit"):
        trail.write(Refusal(Reason.SCOPE_NOT_GRANTED))
    (line,) = caplog.messages
    assert len(line) <= MAX_LINE
    event = json.loads(line)
    check(event)
    assert event["granted"] == trail.granted
    assert set(event["shortened"]) == {"failed_rules", "audit_rules", "scope", "claims", "missing", "rules"}


@pytest.mark.parametrize("count", [1, 50, 127, 128, 129, 5000])
def test_a_list_keeps_its_first_entries_and_says_when_it_lost_some(count: int) -> None:
    trail = new_trail()
    trail.rules = [f"rule-{number}" for number in range(count)]
    event = json.loads(render(trail.event(None)))
    assert event["rules"] == trail.rules[:MAX_ITEMS]
    assert event["shortened"] == (["rules"] if count > MAX_ITEMS else [])


@pytest.mark.parametrize("size", range(29_000, 31_500, 97))
def test_a_line_that_just_fits_is_left_alone_and_one_that_does_not_gives_way(size: int) -> None:
    trail = new_trail()
    trail.failed_rules = [("x" * 64, ["y" * 200]) for _ in range(size // 291)]
    event = trail.event(None)
    whole = json.dumps(event)
    line = render(event)
    assert len(line) <= MAX_LINE
    assert (line == whole) == (len(whole) <= MAX_LINE)


def test_a_security_event_names_the_request_and_cuts_what_a_registry_said(caplog: pytest.LogCaptureFixture) -> None:
    trail = full_trail()
    trail.security("registry_grant_wider", registry="contoso.azurecr.io", excess="x\n" * 5000)
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    event = json.loads(record.getMessage())
    assert jsonschema_rs.validator_for(SECURITY_SCHEMA).is_valid(event)
    assert event["request_id"] == "r-1"
    assert len(event["details"][1]["value"]) == MAX_TEXT


def test_events_are_written_whatever_the_level_of_the_root_logger(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)
    assert logging.getLogger("vending.audit").isEnabledFor(logging.INFO)


@pytest.mark.parametrize(
    ("header", "address"),
    [
        ("", ""),
        ("192.0.2.1", "192.0.2.1"),
        ("192.0.2.1:50123", "192.0.2.1"),
        ("203.0.113.9, 192.0.2.1:50123", "192.0.2.1"),
        ("192.0.2.1,evil, 198.51.100.2", "198.51.100.2"),
        ("2001:db8::1", "2001:db8::1"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("192.0.2.1,", ""),
    ],
)
def test_the_clients_address_is_the_one_that_the_platform_wrote(header: str, address: str) -> None:
    assert client_address(header) == address


def test_the_schemas_are_schemas() -> None:
    for schema in (AUDIT_SCHEMA, SECURITY_SCHEMA):
        jsonschema_rs.meta.validate(schema)


# --- What decided -----------------------------------------------------------------------------------------------------

NOW = 1_795_000_000.9876


def weighed(claims: Claims, reads: list[str], listed: list[str] | None = None) -> dict[str, Any]:
    trail = new_trail()
    trail.weigh(claims, reads, listed or [], NOW)
    event: dict[str, Any] = json.loads(render(trail.event(None)))
    check(event)
    return event


def test_request_that_reached_no_decision_has_none() -> None:
    event = new_trail().event(Refusal(Reason.TOKEN_EXPIRED))
    assert (event["decided_on"], event["absent"], event["withheld"]) == (None, [], [])
    assert event["time"] == "2026-11-18T11:06:40.123+00:00"


@pytest.mark.parametrize(
    "value",
    ["x" * 5000, "", 0, 7, 2**70, -1.5, True, False, [], ["a", None], {}, {"a": {"b": [1]}}, "\u2028\x00\U0001f600"],
)
def test_value_that_decided_is_told_to_the_letter(value: Any) -> None:
    event = weighed({"c": value}, ["c"])
    assert event["decided_on"] == {"c": value}
    assert type(event["decided_on"]["c"]) is type(value)
    assert (event["absent"], event["shortened"]) == ([], [])


def test_claim_that_is_missing_or_null_is_named_as_absent() -> None:
    event = weighed({"a": None, "/b": "x"}, ["/c/d", "a", "b"])
    assert (event["decided_on"], event["absent"]) == ({}, ["/c/d", "a", "b"])


@pytest.mark.parametrize(
    ("claim", "listed", "told"),
    [
        ("user_identities", [], False),
        ("/user_identities/0/provider", [], False),
        ("/user_identities", [], False),
        ("/user_identities/0/provider", ["user_identities"], True),
        ("/user_identities/0/provider", ["/user_identities/0"], True),
        ("/user_identities/0/provider", ["/user_identities/0/provider"], True),
        ("user_identities", ["/user_identities/0/provider"], False),
        ("/user_identities/0", ["/user_identities/0/provider"], False),
        ("/user_identities/1/provider", ["/user_identities/0"], False),
        ("user_login", ["user_identities"], False),
        ("ref", [], True),
    ],
)
def test_personal_claim_and_what_a_pointer_finds_in_it_are_withheld_unless_listed(
    claim: str, listed: list[str], told: bool
) -> None:
    claims: Claims = {
        "ref": "r",
        "user_login": "octocat",
        "user_identities": [{"provider": "github"}, {"provider": "saml"}],
    }
    event = weighed(claims, [claim], listed)
    assert (claim in event["decided_on"]) is told
    assert event["withheld"] == ([] if told else [claim])
    assert event["absent"] == []


def test_object_that_holds_a_personal_claim_is_withheld_too() -> None:
    assert is_personal("/email")
    assert not is_personal("/emails")
    assert not is_personal("/job/email")  # A claim of that name elsewhere is the issuer's own business.


def test_half_a_surrogate_pair_is_left_out_and_said_to_be() -> None:
    event = weighed({"a": "x\ud800", "b": {"\udfff": 1}, "c": "fine"}, ["a", "b", "c"])
    assert (event["decided_on"], event["shortened"]) == ({"c": "fine"}, ["decided_on"])


def test_longest_values_go_first_where_an_event_is_too_long() -> None:
    claims: Claims = {"a": "x" * 20_000, "b": "y" * 15_000, **{f"c{number}": "z" * 20 for number in range(50)}}
    trail = new_trail()
    trail.weigh(claims, sorted(claims), [], NOW)
    line = render(trail.event(None))
    assert len(line) <= MAX_LINE
    event = json.loads(line)
    assert set(claims) - set(event["decided_on"]) == {"a"}
    assert event["shortened"] == ["decided_on"]


def test_job_leads_to_the_run_and_to_no_person() -> None:
    trail = new_trail()
    claims: Claims = {"run_id": "7", "sha": "x" * 300, "actor": "octocat", "list": ["a"], "number": 3, "none": None}
    trail.identify(preset(job=("run_id", "sha", "actor", "list", "number", "none", "gone")), claims, [])
    event = trail.event(None)
    assert event["job"] == {"run_id": "7", "sha": "x" * 255 + "…", "list": '["a"]', "number": 3}


def from_event(event: dict[str, Any]) -> Claims:
    """Build claims again from what an event tells of them."""
    claims: dict[str, Any] = {}
    for name, value in event["decided_on"].items():
        if not name.startswith("/"):
            claims[name] = value
            continue
        *way, last = parse_key(name)
        place = claims
        for part in way:
            place = place.setdefault(part, {})
        place[last] = value
    return claims


MAIN = ["refs/heads/main", "refs/tags/v*"]
REPLAYED = compose(
    issuers={"github": {"preset": "github"}},
    maps={"images": {"1": "web/mapped"}},
    rules=[
        rule("exact", when={"repository_id": "1", "ref": MAIN}, unless={"actor": "*[bot]"}),
        rule("nested", when={"repository_id": "1", "/job/name": "deploy"}, mode="audit"),
        rule("template", grant("ci/{repository_owner|lower}", "{repository_id|images}"), when={"repository_id": "1"}),
        rule("until", when={"repository_id": "2"}, expires="2026-11-18"),
    ],
    deny=[deny("d", "web/**", actions="pull", issuer="github", when={"environment": "test"})],
)
CALLERS: list[Claims] = [
    {"repository_id": "1", "ref": "refs/heads/main", "actor": "octocat", "repository_owner": "Contoso"},
    {"repository_id": "1", "ref": "refs/heads/main", "actor": "dependabot[bot]"},
    {"repository_id": "1", "ref": "refs/tags/v1", "actor": "octocat", "environment": "TEST"},
    {"repository_id": "1", "ref": None, "job": {"name": "deploy"}, "repository_owner": "Ünsafe"},
    {"repository_id": "1", "event_name": "pull_request_target", "ref": "refs/heads/main", "actor": "octocat"},
    {"repository_id": "2"},
    {"repository_id": 1},
    {},
]
MIDNIGHT = 1_795_046_400.0
"""The first moment at which the rule `until` counts no longer: 2026-11-19."""


@pytest.mark.parametrize("claims", CALLERS, ids=range(len(CALLERS)))
@pytest.mark.parametrize("now", [NOW, MIDNIGHT - 0.0004, MIDNIGHT, MIDNIGHT + 0.0009])
@pytest.mark.parametrize(
    "scope", [None, "repository:web/api:pull", "repository:ci/contoso:push repository:web/mapped:pull"]
)
def test_policy_and_event_give_the_same_decision_again(claims: Claims, now: float, scope: str | None) -> None:
    policy = load_data(REPLAYED)
    scopes = None if scope is None else parse(scope)
    decided_at = to_the_millisecond(now)
    first = decide(policy, VerifiedClaims("github", claims), "prod", scopes, decided_at)
    trail = new_trail()
    trail.weigh(claims, policy.rules["github"].reads, ["actor"], decided_at)
    event = json.loads(render(trail.event(None)))
    assert event["withheld"] == []
    told = VerifiedClaims("github", from_event(event))
    moment = datetime.fromisoformat(event["time"]).timestamp()
    again = decide(policy, told, "prod", scopes, moment)
    for name in ("allowed", "granted", "missing", "reason", "rules", "audit_rules", "denies"):
        assert getattr(again, name) == getattr(first, name)
    assert set(event["decided_on"]) | set(event["absent"]) == set(policy.rules["github"].reads)
