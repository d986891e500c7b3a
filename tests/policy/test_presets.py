"""The presets' tables agree with each other, and with what the documentation of the language promises."""

from __future__ import annotations

import pytest

from tests.policy.language import compose, load_data
from vending.oidc.claim_path import parse_key
from vending.policy import PRESETS, Preset
from vending.policy.language.models import PolicyModel
from vending.policy.providers.presets import HOUR, MINUTE, ClaimType, owner_of

EVERY = pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS.keys())

LIVES = {
    "github": ("once", 15 * MINUTE),
    "gitlab": ("reuse", 25 * HOUR),
    "azure-devops": ("once", 15 * MINUTE),
    "circleci": ("reuse", 65 * MINUTE),
    "bitbucket": ("reuse", 25 * HOUR),
    "buildkite": ("once", 15 * MINUTE),
    "terraform-cloud": ("reuse", 25 * HOUR),
    "kubernetes": ("reuse", 65 * MINUTE),
    "google": ("reuse", 65 * MINUTE),
    "entra": ("reuse", 25 * HOUR),
    "spacelift": ("reuse", 25 * HOUR),
    "generic": ("reuse", 65 * MINUTE),
}
MULTI_TENANT = {"github", "buildkite", "terraform-cloud", "google"}


def test_there_are_twelve_presets_and_the_file_knows_each() -> None:
    assert set(PRESETS) == set(LIVES)
    schema = PolicyModel.model_json_schema()["$defs"]["IssuerModel"]["properties"]["preset"]
    assert set(schema["enum"]) == set(PRESETS)


@EVERY
def test_replay_and_lifetime_are_as_documented(preset: Preset) -> None:
    assert (preset.replay, preset.lifetime) == LIVES[preset.name]


@EVERY
def test_every_claim_of_a_preset_is_well_formed_and_known(preset: Preset) -> None:
    refused = tuple(key for key, _ in preset.refused)
    named = {
        *preset.identity,
        *preset.immutable,
        *preset.pins,
        *preset.caller,
        *preset.folded,
        *preset.personal,
        *refused,
    }
    for key in (*named, *preset.types):
        parse_key(key)
    if preset.types:
        assert {key for key in named if not preset.sends(key)} <= preset.personal


@EVERY
def test_immutable_pinning_and_caller_claims_are_identity_claims(preset: Preset) -> None:
    assert {*preset.immutable, *preset.pins, *preset.caller} <= set(preset.identity)
    assert preset.caller


@EVERY
def test_exactly_the_shared_issuers_have_pins(preset: Preset) -> None:
    assert bool(preset.pins) == bool(preset.multi_tenant) == (preset.shared_issuer is not None)
    assert (preset.multi_tenant is True) == (preset.name in MULTI_TENANT)


@EVERY
def test_refused_values_have_the_type_of_their_claim(preset: Preset) -> None:
    for key, value in preset.refused:
        kind = preset.type_of(key)
        assert kind is not None
        assert kind.accepts(value)


@EVERY
def test_registered_claims_have_the_types_of_rfc_7519(preset: Preset) -> None:
    if preset.types:
        assert {preset.type_of(key) for key in ("iss", "sub", "aud", "jti")} == {ClaimType.TEXT}
        assert {preset.type_of(key) for key in ("exp", "nbf", "iat")} == {ClaimType.INTEGER}


@EVERY
def test_a_preset_says_which_url_to_write(preset: Preset) -> None:
    assert preset.default_issuer or preset.issuer_form


def test_slugs_that_a_tenant_chooses_pin_nothing() -> None:
    assert "pipeline_slug" not in PRESETS["buildkite"].pins
    assert "terraform_workspace_name" not in PRESETS["terraform-cloud"].pins


@pytest.mark.parametrize(
    ("preset", "key", "kind"),
    [
        ("github", "repository_id", ClaimType.TEXT),
        ("github", "ref_protected", ClaimType.TEXT),
        ("github", "repo_property_tier", ClaimType.TEXT),
        ("github", "a_claim_of_tomorrow", ClaimType.TEXT),
        ("gitlab", "runner_id", ClaimType.INTEGER),
        ("gitlab", "ref_protected", ClaimType.TEXT),
        ("gitlab", "groups_direct", ClaimType.TEXT),
        ("gitlab", "a_claim_of_tomorrow", None),
        ("circleci", "oidc.circleci.com/ssh-rerun", ClaimType.TRUTH),
        ("buildkite", "build_number", ClaimType.INTEGER),
        ("buildkite", "agent_tag:queue", ClaimType.TEXT),
        ("kubernetes", "/kubernetes.io/namespace", ClaimType.TEXT),
        ("kubernetes", "/kubernetes.io/warnafter", ClaimType.INTEGER),
        ("google", "email_verified", ClaimType.TRUTH),
        ("generic", "sub", None),
    ],
)
def test_type_of_a_claim(preset: str, key: str, kind: ClaimType | None) -> None:
    assert PRESETS[preset].type_of(key) is kind


@pytest.mark.parametrize(
    ("entry", "shared"),
    [
        ({"preset": "github"}, True),
        ({"preset": "github", "issuer": "https://ghe.contoso.example/_services/token"}, True),
        ({"preset": "gitlab"}, True),
        ({"preset": "gitlab", "issuer": "https://gitlab.com"}, True),
        ({"preset": "gitlab", "issuer": "https://gitlab.contoso.example"}, False),
        ({"preset": "circleci", "issuer": "https://oidc.circleci.com"}, True),
        ({"preset": "circleci", "issuer": "https://oidc.circleci.com/org/1"}, False),
        ({"preset": "buildkite"}, True),
        ({"preset": "terraform-cloud"}, True),
        ({"preset": "google"}, True),
        ({"preset": "generic", "issuer": "https://idp.example"}, False),
    ],
)
def test_whether_an_issuer_is_shared_depends_on_its_url(entry: dict[str, str], shared: bool) -> None:
    [issuer] = load_data(compose(issuers={"i": entry})).issuers.values()
    assert issuer.preset.multi_tenant is shared


@pytest.mark.parametrize(
    ("url", "owner"),
    [
        ("https://token.actions.githubusercontent.com", "github"),
        ("https://token.actions.githubusercontent.com/contoso", "github"),
        ("https://token.actions.githubusercontent.com.evil.example", None),
        ("https://gitlab.com", "gitlab"),
        ("https://gitlab.company.example", None),
        ("https://idp.example", None),
    ],
)
def test_shared_issuers_belong_to_their_preset(url: str, owner: str | None) -> None:
    assert owner_of(url) == owner


def test_a_generic_issuer_may_say_who_the_caller_is() -> None:
    entry = {"preset": "generic", "issuer": "https://idp.example", "identity_claims": ["org", "/job/id"]}
    [issuer] = load_data(compose(issuers={"i": entry})).issuers.values()
    assert issuer.preset.identity == issuer.preset.caller == ("org", "/job/id")


def test_what_the_file_writes_wins_over_the_preset() -> None:
    entry = {
        "preset": "github",
        "issuer": "https://ghe.example/_services/token",
        "audience": "other",
        "algorithms": ["ES256"],
        "max_token_lifetime": "1h",
        "replay": "reuse",
        "enabled": False,
        "allow_extra_audiences": True,
    }
    [issuer] = load_data(compose(issuers={"i": entry})).issuers.values()
    made = issuer.verification
    assert (made.name, made.url, made.audience) == ("i", "https://ghe.example/_services/token", "other")
    assert (made.algorithms, made.max_token_lifetime, made.replay) == (frozenset({"ES256"}), 3600, "reuse")
    assert (made.enabled, made.allow_extra_audiences) == (False, True)


def test_the_preset_fills_in_what_the_file_leaves_out() -> None:
    [issuer] = load_data(compose(issuers={"i": {"preset": "github"}})).issuers.values()
    made = issuer.verification
    assert (made.url, made.audience) == ("https://token.actions.githubusercontent.com", "https://vend.contoso.example")
    assert (made.algorithms, made.max_token_lifetime, made.replay) == (frozenset({"RS256"}), 900, "once")
    assert (made.enabled, made.allow_extra_audiences, made.static_keys, made.ca_pem) == (True, False, None, None)
