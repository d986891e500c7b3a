"""What a caller is told about a denial: about the caller's own token, never about others' rules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.policy.language import GITHUB, NOW, ask, deny, grant, make_policy, rule
from vending.acr.scope import parse
from vending.oidc.types import VerifiedClaims
from vending.policy import PRESETS, Preset, RuleHint, hints

if TYPE_CHECKING:
    from collections.abc import Mapping

WEB = {"repository_id": "1", "ref": "refs/heads/release"}


def told(claims: dict[str, Any], *rules: Any, scope: str | None = "repository:web/api:pull", **sections: Any) -> str:
    decision = ask(make_policy(rules=list(rules), **sections), scope, claims)
    assert not decision.allowed
    return decision.description


def about(
    claims: dict[str, Any], *rules: Any, scope: str = "repository:web/api:pull", now: float = NOW
) -> tuple[RuleHint, ...]:
    return hints(make_policy(rules=list(rules)), VerifiedClaims("github", claims), "prod", parse(scope), now)


def test_nearest_rule_about_the_caller_is_named_with_the_callers_own_value() -> None:
    text = told(GITHUB, rule("web-release", when=WEB))
    assert "the rule web-release does not match because of ref (refs/heads/main)" in text


def test_expected_values_are_never_told() -> None:
    text = told(GITHUB, rule("web", when={**WEB, "environment": "secret-env"}, unless={"actor": "mona"}))
    assert "release" not in text
    assert "secret-env" not in text


def test_missing_claim_is_said_to_be_missing() -> None:
    claims = {key: value for key, value in GITHUB.items() if key != "environment"}
    assert "environment (not in the token)" in told(claims, rule("r", when={"repository_id": "1", "environment": "p"}))


def test_claim_of_unless_is_told_too() -> None:
    assert "actor (mona)" in told(GITHUB, rule("r", unless={"actor": "mona"}))


@pytest.mark.parametrize(
    "when",
    [
        {"repository_id": "2", "ref": "x"},
        {"repository_owner_id": "9919", "repository_id": "2"},
        {"repository_owner_id": "9919", "repository": "contoso/*-api"},
    ],
    ids=["another repository", "the owner's other repository", "a pattern that does not match"],
)
def test_rules_about_others_are_never_told(when: dict[str, Any]) -> None:
    assert "secret" not in told(GITHUB, rule("secret", when=when))
    assert about(GITHUB, rule("secret", when=when)) == ()


def test_rule_on_the_owner_alone_is_about_each_of_its_repositories() -> None:
    [hint] = about(GITHUB, rule("r", when={"repository_owner_id": "9919", "ref": "x"}))
    assert hint == RuleHint("r", matched=False, failed_claims=("ref",), grants=True)


def test_rule_with_patterns_on_identity_only_is_about_nobody() -> None:
    policy = make_policy(rules=[rule("r", issuer="gitlab", when={"project_path": "contoso/*", "ref": "x"})])
    assert hints(policy, VerifiedClaims("gitlab", {"project_path": "contoso/web"}), "prod", None, NOW) == ()


@pytest.mark.parametrize("changes", [{"enabled": False}, {"mode": "audit"}, {"expires": "2027-01-14"}])
def test_rules_without_effect_give_no_hint(changes: dict[str, Any]) -> None:
    assert about(GITHUB, rule("r", when=WEB, **changes)) == ()


def test_rules_of_other_issuers_give_no_hint() -> None:
    assert about(GITHUB, rule("r", issuer="gitlab", when={"project_id": "1"})) == ()


def test_hint_with_fewest_failed_claims_wins_then_the_first_by_name() -> None:
    far = rule("a", when={"repository_id": "1", "ref": "x", "environment": "y"})
    near = [rule(name, when={"repository_id": "1", "ref": name}) for name in ("c", "b")]
    assert "the rule b does not match" in told(GITHUB, far, *near)


def test_hints_begin_with_what_would_grant_then_the_nearest_then_the_first_by_name() -> None:
    far = rule("a", when={**WEB, "environment": "x"})
    other = rule("c", grant("other"), when=WEB)
    assert about(GITHUB, far, other, rule("b"), rule("d", when=WEB), rule("e", when=WEB)) == (
        RuleHint("b", matched=True, failed_claims=(), grants=True),
        RuleHint("d", matched=False, failed_claims=("ref",), grants=True),
        RuleHint("e", matched=False, failed_claims=("ref",), grants=True),
        RuleHint("a", matched=False, failed_claims=("ref", "environment"), grants=True),
        RuleHint("c", matched=False, failed_claims=("ref",), grants=False),
    )


PULL_REQUEST = rule("pull-request", grant("web/api", actions="pull"), when={"repository_id": "1", "event_name": "x"})
NOTHING = "no rule about this caller grants repository:web/api:push."


def test_a_rule_that_grants_nothing_of_what_is_asked_is_never_the_cause() -> None:
    text = told(GITHUB, PULL_REQUEST, rule("web", grant("web/api", actions="pull")), scope="repository:web/api:push")
    assert text == f"The policy does not grant repository:web/api:push to this caller; {NOTHING}"
    text = told(GITHUB, PULL_REQUEST, scope="repository:web/api:push")
    assert text == f"No rule of the policy matches this token; {NOTHING}"


def test_a_push_refused_for_its_branch_is_told_the_branch() -> None:
    release = rule("release", when={**WEB, "environment": "Production"})
    pull = rule("web", grant("web/api", actions="pull"))
    text = told(GITHUB, PULL_REQUEST, pull, release, scope="repository:web/api:pull,push")
    assert text == (
        "The policy does not grant repository:web/api:push to this caller; the rule release does not match because "
        "of ref (refs/heads/main)."
    )


def test_of_two_rules_as_near_the_one_that_would_grant_more_is_named() -> None:
    claims = {**GITHUB, "ref": "refs/heads/topic", "event_name": "push"}
    pull = rule("a-pull-request", grant("web/api", actions="pull"), when={"repository_id": "1", "event_name": "x"})
    release = rule("release", when={"repository_id": "1", "ref": "refs/heads/main", "event_name": "push"})
    text = told(claims, pull, release, scope="repository:web/api:pull,push")
    assert "the rule release does not match because of ref (refs/heads/topic)" in text


def test_what_another_registry_would_grant_is_not_the_cause() -> None:
    assert "elsewhere" not in told(GITHUB, rule("elsewhere", grant("web/api", registry="dev"), when=WEB))


def test_long_and_strange_values_are_cut_and_made_printable() -> None:
    claims = {**GITHUB, "ref": 'refs/heads/"\\\n\u00e9' + "x" * 1000}
    text = told(claims, rule("r", when=WEB))
    assert "ref (refs/heads/????xxx" in text
    assert len(text) < 400


def test_many_failed_claims_are_counted_not_listed() -> None:
    when = {"repository_id": "1", **{f"c{number}": "x" for number in range(40)}}
    text = told(GITHUB, rule("r", when=when))
    assert text.endswith("and 36 more.")
    assert len(text) < 1000


def test_values_that_are_no_text_are_shown_as_json() -> None:
    assert "ref ([1, true])" in told({**GITHUB, "ref": [1, True]}, rule("r", when=WEB))


def test_missing_scopes_are_named_and_counted() -> None:
    scope = " ".join(f"repository:x{number}:pull" for number in range(9))
    assert "repository:x0:pull" in told(GITHUB, rule(), scope=scope)
    assert "and 5 more" in told(GITHUB, rule(), scope=scope)


def test_denied_scope_is_told_without_the_deny_entry() -> None:
    text = told(GITHUB, rule(), scope="repository:web/api:push", deny=[deny("secret-deny", "web/*")])
    assert "A deny entry of the policy covers repository:web/api:push" in text
    assert "secret-deny" not in text
    assert "web/*" not in text


def test_other_repositories_are_never_told() -> None:
    assert "hidden" not in told(GITHUB, rule("r", grant("hidden/repo")))


def test_refused_trigger_is_told() -> None:
    text = told({**GITHUB, "event_name": "workflow_run"}, rule())
    assert text == "Tokens of this trigger are refused unless a rule names it: event_name (workflow_run)."
    [hint] = about({**GITHUB, "event_name": "workflow_run"}, rule())
    assert hint == RuleHint("r", matched=False, failed_claims=("event_name",), grants=True)


def test_trigger_that_is_not_the_cause_is_not_blamed() -> None:
    assert "trigger" not in told({**GITHUB, "event_name": "workflow_run"}, rule(when=WEB))


def test_allowed_requests_carry_no_hints() -> None:
    decision = ask(make_policy(rules=[rule(), rule("other", when=WEB)]), "repository:web/api:pull", GITHUB)
    assert (decision.hints, decision.description) == ((), "")


def test_generic_identity_is_what_the_file_says() -> None:
    issuers = {"generic": {"preset": "generic", "issuer": "https://idp.example", "identity_claims": ["/job/org"]}}
    policy = make_policy(issuers=issuers, rules=[rule("r", issuer="generic", when={"/job/org": "x", "sub": "me"})])
    caller = VerifiedClaims("generic", {"sub": "you", "job": {"org": "x"}})
    assert hints(policy, caller, "prod", None, NOW) == (
        RuleHint("r", matched=False, failed_claims=("sub",), grants=True),
    )


# --- Identity claims that are not there -------------------------------------------------------------------------------


def lacking(preset: Preset, claims: Mapping[str, Any]) -> str:
    """Return what a caller hears about the claims that its token lacks, from a policy with a rule for somebody else."""
    url = str(preset.samples["default"].claims["iss"])
    when = dict.fromkeys(preset.pins or preset.identity[:1], "nobody")
    issuers = {"i": {"preset": preset.name, "issuer": url}}
    policy = make_policy(issuers=issuers, rules=[rule("r", issuer="i", when=when)])
    text = ask(policy, "repository:web/api:pull", dict(claims), issuer="i").description
    return text.removeprefix(NOTHING_GRANTS).removeprefix("; ").removesuffix(".")


NOTHING_GRANTS = "No rule of the policy matches this token; no rule about this caller grants repository:web/api:pull"
COMMAND = "buildkite-agent oidc request-token"
CLAIM = "--claim organization_id,pipeline_id`"
LACKING = {
    ("buildkite", form): f"the token has no organization_id, pipeline_id: ask for them with `{COMMAND} {CLAIM}"
    for form in ("default", "tag", "older-agent")
} | {
    ("google", "default"): "the token has no email: ask the metadata server with format=full, or generateIdToken with "
    "includeEmail"
}


@pytest.mark.parametrize(
    ("preset", "form"),
    [(preset, form) for preset in PRESETS.values() for form in preset.samples],
    ids=lambda value: getattr(value, "name", value),
)
def test_a_token_hears_which_identity_claims_it_lacks_and_how_to_get_them(preset: Preset, form: str) -> None:
    assert lacking(preset, preset.samples[form].claims) == LACKING.get((preset.name, form), "")


@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS.keys())
def test_a_token_without_any_identity_claim_hears_of_those_that_it_should_have(preset: Preset) -> None:
    text = lacking(preset, {"iss": "x"})
    expected = [
        name
        for name in preset.identity
        if not preset.claims or preset.claims[name].always or preset.claims[name].obtain
    ]
    assert all(name in text for name in expected)
    assert bool(text) == bool(expected)
    assert not any(name in text.split(": ")[0].split(", ") for name in set(preset.identity) - set(expected))


def test_nobody_hears_of_claims_where_a_rule_matches() -> None:
    assert "has no" not in told(
        {"repository_id": "1"}, rule("r", when={"repository_id": "1"}), scope="repository:x:push"
    )


@pytest.mark.parametrize("host", ["contoso.azurecr.io", "fabrikam.azurecr.us", "ghcr.io", "mcr.microsoft.com"])
def test_a_registry_host_in_a_name_is_the_cause(host: str) -> None:
    text = told(GITHUB, rule("web", when={"repository_id": "1"}), scope=f"repository:{host}/web/api:pull,push")
    assert f"{host} is a registry's host" in text
    assert "write repository:web/api:pull,push" in text


def test_a_name_that_a_rule_grants_is_no_mistake_whatever_it_begins_with() -> None:
    policy = make_policy(rules=[rule("web", grant("ghcr.io/web"), when={"repository_id": "1"})])
    assert ask(policy, "repository:ghcr.io/web:pull", GITHUB).allowed


def test_a_request_that_names_nothing_is_not_told_of_what_it_asked_for() -> None:
    held = deny("all", "**", actions="pull push metadata_read")
    text = told(GITHUB, rule("web", when={"repository_id": "1"}), scope=None, deny=[held])
    assert text == "The request names no scope, and the policy grants this caller nothing in this registry."
