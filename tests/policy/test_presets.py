"""The presets' tables agree with each other, and with what the documentation of the language promises."""

from __future__ import annotations

import pytest

from tests.policy.language import compose, load_data
from vending.oidc.claim_path import lookup, parse_key
from vending.policy import PRESETS, Preset
from vending.policy.engine.globs import compile_glob
from vending.policy.language.models import PolicyModel
from vending.policy.providers.preset import HOUR, MINUTE, BeginsWith, ClaimType, Follows
from vending.policy.providers.presets import owner_of


def named(value: Preset | str) -> str:
    """Return what stands for a parameter in a test's name."""
    return value if isinstance(value, str) else value.name


EVERY = pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS.keys())

LIVES = {
    "github": ("once", 15 * MINUTE),
    "gitlab": ("reuse", 25 * HOUR),
    "azure-devops": ("once", 15 * MINUTE),
    "circleci": ("reuse", 65 * MINUTE),
    "bitbucket": ("reuse", 25 * HOUR),
    "buildkite": ("reuse", 15 * MINUTE),
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


def related_claims(relation: Follows | BeginsWith) -> tuple[str, str]:
    """Return the two claims that a relation is about."""
    return (relation.claim, relation.then if isinstance(relation, Follows) else relation.other)


@EVERY
def test_every_claim_of_a_preset_is_well_formed_and_known(preset: Preset) -> None:
    refused = tuple(key for key, _ in preset.refused)
    caller = [key for keys in preset.callers for key in keys]
    related = [key for relation in preset.relations for key in related_claims(relation)]
    named = {
        *preset.identity,
        *preset.immutable,
        *preset.pins,
        *caller,
        *preset.job,
        *preset.prefix_free,
        *related,
        *preset.folded,
        *preset.personal,
        *refused,
    }
    for key in (*named, *preset.claims):
        parse_key(key)
    if preset.claims:
        assert {key for key in named if not preset.sends(key)} <= preset.personal


@EVERY
def test_immutable_pinning_and_caller_claims_are_identity_claims(preset: Preset) -> None:
    assert {*preset.immutable, *preset.pins, *(key for keys in preset.callers for key in keys)} <= set(preset.identity)
    assert preset.callers
    assert all(preset.callers)


@EVERY
def test_exactly_the_shared_issuers_have_pins(preset: Preset) -> None:
    assert bool(preset.pins) == bool(preset.multi_tenant) == bool(preset.shared_issuers)
    assert (preset.multi_tenant is True) == (preset.name in MULTI_TENANT)


@EVERY
def test_refused_values_have_the_type_of_their_claim(preset: Preset) -> None:
    for key, value in preset.refused:
        kind = preset.type_of(key)
        assert kind is not None
        assert kind.accepts(value)


@EVERY
def test_registered_claims_have_the_types_of_rfc_7519(preset: Preset) -> None:
    if preset.claims:
        assert {preset.type_of(key) for key in ("iss", "sub", "aud", "jti")} == {ClaimType.TEXT}
        assert {preset.type_of(key) for key in ("exp", "nbf", "iat")} == {ClaimType.INTEGER}


@EVERY
def test_a_preset_says_which_url_to_write(preset: Preset) -> None:
    assert preset.default_issuer or preset.issuer_form


# --- Claims, forms and advice -----------------------------------------------------------------------------------------

EVERY_CLAIM = pytest.mark.parametrize(
    ("preset", "claim"), [(preset, claim) for preset in PRESETS.values() for claim in preset.claims], ids=named
)


@EVERY_CLAIM
def test_a_form_admits_its_example(preset: Preset, claim: str) -> None:
    form = preset.claims[claim].form
    if form is not None:
        assert form.admits(form.example)
        assert form.example.startswith(form.prefix)
        assert all(map(form.admits, form.choices))


@EVERY_CLAIM
def test_what_is_advised_in_place_of_a_name_is_immutable(preset: Preset, claim: str) -> None:
    instead = preset.claims[claim].instead
    if instead:
        assert claim in preset.identity
        assert claim not in preset.immutable
        assert instead in preset.immutable


@EVERY_CLAIM
def test_a_claim_says_where_it_was_read(preset: Preset, claim: str) -> None:
    assert preset.page_of(claim).startswith("https://")


@EVERY
def test_every_identity_claim_that_can_be_renamed_has_advice(preset: Preset) -> None:
    if not preset.immutable:
        return
    mutable = set(preset.identity) - set(preset.immutable)
    advised = {claim for claim in mutable if preset.claims[claim].instead}
    assert mutable - advised <= {"/kubernetes.io/namespace"}, "a namespace has no id in a token"


# --- Sample tokens ----------------------------------------------------------------------------------------------------

EVERY_SAMPLE = pytest.mark.parametrize(
    ("preset", "form"), [(preset, form) for preset in PRESETS.values() for form in preset.samples], ids=named
)


def test_every_provider_shows_its_default_token() -> None:
    assert all("default" in preset.samples for preset in PRESETS.values())


@EVERY_SAMPLE
def test_a_sample_has_every_claim_that_is_always_there_and_none_that_is_unknown(preset: Preset, form: str) -> None:
    claims = preset.samples[form].claims
    for name, claim in preset.claims.items():
        if claim.always:
            assert lookup(claims, parse_key(name)) is not None, name
    if preset.claims:
        top_level = {parse_key(name)[0] for name in preset.claims}
        assert set(claims) <= top_level


@EVERY_SAMPLE
def test_the_values_of_a_sample_have_type_and_form(preset: Preset, form: str) -> None:
    for name, claim in preset.claims.items():
        value = lookup(preset.samples[form].claims, parse_key(name))
        if value is None:
            continue
        values = value if isinstance(value, list) else [value]
        assert isinstance(value, list) <= (claim.many or name == "aud"), name
        for item in values:
            assert claim.type.accepts(item), name
            assert claim.form is None or not isinstance(item, str) or claim.form.admits(item), name


@EVERY_SAMPLE
def test_a_sample_keeps_the_relations_and_times_of_its_provider(preset: Preset, form: str) -> None:
    claims = preset.samples[form].claims
    for relation in preset.relations:
        value = claims[relation.claim]
        assert isinstance(value, str)
        if isinstance(relation, BeginsWith):
            assert value.startswith(f"{claims[relation.other]}{relation.separator}")
        elif compile_glob(relation.pattern).matches(value):
            assert claims[relation.then] == relation.value
    issued, expires = claims["iat"], claims["exp"]
    assert isinstance(issued, int)
    assert isinstance(expires, int)
    assert 0 < expires - issued <= preset.lifetime


@EVERY_SAMPLE
def test_a_sample_comes_from_an_issuer_in_the_form_of_its_provider(preset: Preset, form: str) -> None:
    issuer = preset.samples[form].claims["iss"]
    assert isinstance(issuer, str)
    fitting = [address for address in preset.addresses if address.pattern.fullmatch(issuer)]
    assert bool(fitting) == bool(preset.addresses)
    for address in fitting:
        if address.audience is not None:
            assert address.audience.admits(str(preset.samples[form].claims["aud"]))


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
        ("circleci", "oidc.circleci.com/ssh-rerun", ClaimType.BOOLEAN),
        ("buildkite", "build_number", ClaimType.INTEGER),
        ("buildkite", "agent_tag:queue", ClaimType.TEXT),
        ("kubernetes", "/kubernetes.io/namespace", ClaimType.TEXT),
        ("kubernetes", "/kubernetes.io/warnafter", ClaimType.INTEGER),
        ("google", "email_verified", ClaimType.BOOLEAN),
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
        ({"preset": "terraform-cloud", "issuer": "https://app.eu.terraform.io"}, True),
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
        ("https://app.eu.terraform.io", "terraform-cloud"),
        ("https://gitlab.company.example", None),
        ("https://idp.example", None),
    ],
)
def test_shared_issuers_belong_to_their_preset(url: str, owner: str | None) -> None:
    assert owner_of(url) == owner


def test_a_generic_issuer_may_say_who_the_caller_is() -> None:
    entry = {"preset": "generic", "issuer": "https://idp.example", "identity_claims": ["org", "/job/id"]}
    [issuer] = load_data(compose(issuers={"i": entry})).issuers.values()
    assert issuer.preset.identity == ("org", "/job/id")
    assert issuer.preset.callers == (("org", "/job/id"),)


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
