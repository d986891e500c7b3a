"""`explain`: the owner's trace, from claims and from tokens that nobody verified."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.cli.conftest import HEAD, RULES

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Run, Write

ISS = "https://token.actions.githubusercontent.com"
MAIN = {"iss": ISS, "repository_id": "123456", "ref": "refs/heads/main"}
TOPIC = {**MAIN, "ref": "refs/heads/topic"}

POLICY = (
    HEAD.replace("contoso.azurecr.io}", "contoso.azurecr.io}\n  dev: {login_server: contosodev.azurecr.io}").replace(
        "github: {preset: github}",
        'github: {preset: github}\n  gitlab: {preset: gitlab, issuer: "https://gitlab.contoso.example"}',
    )
    + RULES
    + """\
  - name: somebody-else
    issuer: github
    when: {repository_id: "7"}
    unless: {actor: mallory}
    grant:
      - {registry: dev, repositories: ["ci/{repository_id}", "x/**"], actions: [push], catalog: true}
    mode: audit
    expires: 2030-01-01
  - name: off
    issuer: github
    when: {repository_id: "123456"}
    grant: [{registry: prod, repositories: ["**"], actions: [pull]}]
    enabled: false
  - name: elsewhere
    issuer: gitlab
    when: {project_id: "1"}
    grant: [{registry: prod, repositories: [a], actions: [pull]}]
deny:
  - name: frozen
    registry: prod
    issuer: github
    repositories: [web/api]
    actions: [push]
    when: {ref: refs/heads/main}
    unless: {environment: production}
"""
)


@pytest.fixture
def two(write: Write) -> Path:
    """Write a policy with two registries, two issuers and a deny entry."""
    return write("policy.yaml", POLICY)


def _claims(write: Write, claims: dict[str, Any]) -> Path:
    return write("claims.json", json.dumps(claims))


def _token(claims: dict[str, Any], signature: str = "c2VjcmV0c2lnbmF0dXJl") -> str:
    parts = (json.dumps(part).encode() for part in ({"alg": "RS256", "kid": "k", "typ": "JWT"}, claims))
    return ".".join([*(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts), signature])


def test_an_allowed_request_exits_with_0_and_a_denied_one_with_1(run: Run, write: Write, policy: Path) -> None:
    assert run("explain", policy, "--claims", _claims(write, MAIN)).status == 0
    assert run("explain", policy, "--claims", _claims(write, TOPIC)).status == 1


def test_every_rule_and_deny_of_the_issuer_is_shown_condition_by_condition(run: Run, write: Write, two: Path) -> None:
    out = run(
        "explain",
        two,
        "--all",
        "--claims",
        _claims(write, MAIN),
        "--registry",
        "prod",
        "--scope",
        "repository:web/api:push",
    ).out
    assert out.splitlines()[0] == "decision    denied: denied_by_rule"
    assert "web-release (" in out
    assert '+ when ref: holds; the token has "refs/heads/main", the policy "refs/heads/main"' in out
    assert "somebody-else (" in out
    assert '- when repository_id: differs; the token has "123456", the policy "7"' in out
    assert '- unless actor: missing; the token has nothing, the policy "mallory"' in out
    assert "in audit mode: it grants nothing, until 2030-01-01" in out
    assert "ci/{repository_id} is ci/123456" in out
    assert "another registry than the one asked for" in out
    assert "off (" in out
    assert " disabled" in out
    assert "elsewhere" not in out
    assert "frozen (" in out
    assert "takes away repository:web/api:push" in out


def test_entries_are_shown_with_file_and_line(run: Run, write: Write, policy: Path) -> None:
    assert f"web-release ({policy}:8) matches" in run("explain", policy, "--claims", _claims(write, MAIN)).out


def test_json_has_the_whole_trace(run: Run, write: Write, two: Path) -> None:
    said = run(
        "explain",
        two,
        "--all",
        "--claims",
        _claims(write, MAIN),
        "--registry",
        "contoso.azurecr.io",
        "--scope",
        "repository:web/api:pull,push",
        "--at",
        "2026-11-22",
        "--format",
        "json",
    ).json
    assert {key: value for key, value in said.items() if key not in {"rules", "deny", "error_description"}} == {
        "allowed": False,
        "issuer": "github",
        "registry": "prod",
        "login_server": "contoso.azurecr.io",
        "at": "2026-11-22T00:00:00Z",
        "asked": ["repository:web/api:pull,push"],
        "granted": ["repository:web/api:pull"],
        "missing": ["repository:web/api:push"],
        "reason": "denied_by_rule",
        "notes": [],
        "refused_triggers": {},
        "left_out": {"rules": 0, "deny": 0},
    }
    assert [(rule["name"], rule["status"]) for rule in said["rules"]] == [
        ("web-release", "matched"),
        ("somebody-else", "not_matched"),
        ("off", "disabled"),
    ]
    assert said["rules"][0]["when"][1] == {
        "claim": "ref",
        "accepted": ["refs/heads/main"],
        "absent": False,
        "actual": "refs/heads/main",
        "state": "holds",
        "satisfied": True,
    }
    assert said["rules"][0]["grants"][0]["gives"] == ["repository:web/api:pull,push"]
    assert [(deny["name"], deny["holds"], deny["takes"]) for deny in said["deny"]] == [
        ("frozen", True, ["repository:web/api:push"])
    ]


def test_a_refused_trigger_is_named(run: Run, write: Write, policy: Path) -> None:
    claims = _claims(write, {**MAIN, "event_name": "pull_request_target"})
    out = run("explain", policy, "--claims", claims).out
    assert "decision    denied: trigger_refused" in out
    assert "matches but for a refused trigger" in out
    assert 'refused unless a rule names it: event_name = "pull_request_target"' in out


@pytest.mark.parametrize(("at", "status"), [("2030-01-01", 0), ("2030-01-02", 1), ("2030-01-01T23:59:59Z", 0)])
def test_another_time_can_be_asked_about(run: Run, write: Write, at: str, status: int) -> None:
    policy = write("p.yaml", HEAD + RULES + "    expires: 2030-01-01\n")
    assert run("explain", policy, "--claims", _claims(write, MAIN), "--at", at).status == status


def test_claims_come_from_standard_input_too(run: Run, policy: Path) -> None:
    assert run("explain", policy, "--claims", "-", stdin=json.dumps(MAIN).encode()).status == 0


def test_without_iss_the_only_issuer_counts(run: Run, write: Write, policy: Path) -> None:
    claims = {name: value for name, value in MAIN.items() if name != "iss"}
    assert run("explain", policy, "--claims", _claims(write, claims)).status == 0


@pytest.mark.parametrize(
    ("claims", "options", "says"),
    [
        ({"ref": "x"}, ["--registry", "prod"], "name the issuer with --issuer, one of github, gitlab"),
        ({"iss": "https://evil.example"}, ["--registry", "prod"], "no issuer with the URL 'https://evil.example'"),
        ({"iss": ["x"]}, ["--registry", "prod"], "no issuer with the URL"),
        (
            {"iss": "https://gitlab.contoso.example/"},
            ["--registry", "prod"],
            "'https://gitlab.contoso.example' is another string: the token's ends with a slash",
        ),
        (MAIN, ["--registry", "prod", "--issuer", "jenkins"], "the policy has no issuer 'jenkins'; there are github"),
        (MAIN, [], "expected one of dev, prod."),
        (MAIN, ["--registry", "qa"], "The policy lists no registry qa; expected one of dev, prod."),
        (MAIN, ["--registry", "prod", "--scope", "repository:*:pull"], "wildcard"),
        (MAIN, ["--registry", "prod", "--scope", " ".join(["repository:a:pull"] * 33)], "32 scopes in one request"),
        (MAIN, ["--registry", "prod", "--at", "soon"], "'soon' is no date"),
    ],
    ids=["no-iss", "iss", "iss-list", "slash", "issuer", "registries", "registry", "scope", "scopes", "at"],
)
def test_a_request_that_cannot_be_decided_is_a_usage_error(
    run: Run, write: Write, two: Path, claims: dict[str, Any], options: list[str], says: str
) -> None:
    ran = run("explain", two, "--claims", _claims(write, claims), *options)
    assert (ran.status, ran.out) == (2, "")
    assert says in ran.err


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{", '{"a": 1, "a": 2}', '{"a": NaN}', '"x"', "\udc00", "{" + " " * 70000 + "}"],
    ids=["empty", "list", "open", "duplicate", "nan", "text", "not-utf-8", "too-long"],
)
def test_claims_are_read_as_strictly_as_by_the_app(run: Run, policy: Path, text: str) -> None:
    ran = run("explain", policy, "--claims", "-", stdin=text.encode(errors="surrogatepass"))
    assert (ran.status, ran.out) == (2, "")


def test_a_token_is_taken_apart_but_never_shown_and_never_trusted(run: Run, policy: Path) -> None:
    token = _token(MAIN)
    for format_ in ("text", "json", "github"):
        ran = run("explain", policy, "--token", "-", "--format", format_, stdin=f"{token}\n".encode())
        assert ran.status == 0
        assert "NOT VERIFIED" in ran.out
        assert not any(part in ran.out + ran.err for part in token.split("."))


def test_what_the_app_would_refuse_first_is_noted(run: Run, write: Write, policy: Path) -> None:
    path = write("token", _token({**MAIN, "aud": "https://other.example", "exp": 1, "iat": 0, "jti": "1"}))
    said = run("explain", policy, "--token", path, "--format", "json").json
    assert said["allowed"] is True
    assert "audience_mismatch" in said["notes"][1]


def test_a_disabled_issuer_is_noted(run: Run, write: Write) -> None:
    policy = write("p.yaml", HEAD.replace("preset: github}", "preset: github, enabled: false}") + RULES)
    assert "the issuer is disabled" in run("explain", policy, "--claims", _claims(write, MAIN)).out


@pytest.mark.parametrize("text", ["", "a.b", "é.b.c", "a.b.c", "x" * 20000], ids=["empty", "two", "text", "no", "long"])
def test_what_is_no_token_is_a_usage_error_that_does_not_quote_it(run: Run, policy: Path, text: str) -> None:
    ran = run("explain", policy, "--token", "-", stdin=text.encode())
    assert (ran.status, ran.out) == (2, "")
    assert not text or text not in ran.err


def test_claims_cannot_speak_to_a_workflow(run: Run, policy: Path) -> None:
    claims = {**MAIN, "ref": "\n::error::x", "repository_id": "##[add-mask]y"}
    lines = run(
        "explain", policy, "--claims", "-", "--format", "github", stdin=json.dumps(claims).encode()
    ).out.splitlines()
    stop = lines[0].partition("::stop-commands::")[2]
    assert len(stop) == 32
    assert lines[-1] == f"::{stop}::"
    assert [line for line in lines[1:-1] if line.lstrip().startswith("::")] == []


def test_explaining_a_broken_policy_reports_its_errors(run: Run, write: Write) -> None:
    policy = write("p.yaml", HEAD.replace("version: 1", "version: 2"))
    ran = run("explain", policy, "--claims", _claims(write, MAIN))
    assert ran.status == 1
    assert ran.out.startswith(f"{policy}:1:10: error: ")


BRANCHES = "".join(
    f"""
  - name: branch-{number:03}
    issuer: github
    when: {{repository_id: "123456", ref: refs/heads/b{number}, sha: x}}
    grant: [{{registry: prod, repositories: [other-{number}], actions: [pull]}}]"""
    for number in range(200)
)
PUSHES = """
  - name: far
    issuer: github
    when: {repository_id: "123456", ref: refs/heads/a, environment: production}
    grant: [{registry: prod, repositories: [web/api], actions: [push]}]
  - name: near
    issuer: github
    when: {repository_id: "123456"}
    when_any: [{ref: refs/heads/release, sha: x}, {ref: {absent: true}}]
    grant: [{registry: prod, repositories: ["web/*"], actions: [push]}]
"""


@pytest.fixture
def large(write: Write) -> Path:
    """Write a policy with some two hundred rules for one caller, of which few concern a push."""
    return write("policy.yaml", HEAD + RULES.rstrip() + BRANCHES + PUSHES)


PUSH = ("--scope", "repository:web/api:push")


def test_a_denial_fits_on_one_screen_and_begins_with_the_nearest_rule(run: Run, write: Write, large: Path) -> None:
    out = run("explain", large, "--claims", _claims(write, TOPIC), *PUSH).out
    lines = out.splitlines()
    assert len(lines) <= 50
    shown = [line.split()[0] for line in lines if line.startswith("  ") and not line.startswith("   ")]
    assert shown[0] in {"near", "web-release"}
    assert {"near", "far"} <= set(shown)
    assert len(shown) == 5
    assert "1. when ref: differs" in out
    assert '2. when ref: differs; the token has "refs/heads/topic", the policy that it be absent' in out
    assert "+ when repository_id" not in out
    assert "--rule NAME shows one" in out


def test_one_rule_is_shown_in_full_and_all_with_all(run: Run, write: Write, large: Path) -> None:
    one = run("explain", large, "--claims", _claims(write, TOPIC), *PUSH, "--rule", "branch-007").out
    assert "+ when repository_id: holds" in one
    assert "branch-008" not in one
    assert "branch-199" in run("explain", large, "--claims", _claims(write, TOPIC), *PUSH, "--all").out
    ran = run("explain", large, "--claims", _claims(write, TOPIC), *PUSH, "--rule", "nobody")
    assert (ran.status, ran.out) == (2, "")
    assert "no rule or deny entry 'nobody'" in ran.err
    said = run("explain", large, "--claims", _claims(write, TOPIC), *PUSH, "--format", "json").json
    assert len(said["rules"]) == 5
    assert said["left_out"]["rules"] > 190


def test_an_allowed_request_shows_what_granted_it(run: Run, write: Write, large: Path) -> None:
    claims = _claims(write, {**MAIN, "ref": "refs/heads/release", "sha": "x"})
    out = run("explain", large, "--claims", claims, *PUSH).out
    assert "near (" in out
    assert "far (" not in out


def test_claims_may_be_the_answer_of_explain_as_it_is(run: Run, write: Write, large: Path) -> None:
    answer = {
        "allowed": False, "registry": "contoso.azurecr.io", "scope": "", "granted": [], "missing": [],
        "reason": "no_matching_rule", "error_description": "x", "rules": [], "claims": TOPIC, "request_id": "1",
    }  # fmt: skip
    bare = run("explain", large, "--claims", _claims(write, TOPIC), "--at", "2027-01-01", *PUSH).out
    assert run("explain", large, "--claims", _claims(write, answer), "--at", "2027-01-01", *PUSH).out == bare
