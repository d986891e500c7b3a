"""Lint of issuers: what is trusted, under the address, for the audience and on the terms that its provider has."""

from __future__ import annotations

import datetime
import json
from typing import TYPE_CHECKING, Any

import pytest

from devstack.keys import SigningKey
from vending.policy import PRESETS, Environment, PolicyError, load_with_source
from vending.policy.lint import Lint, lint

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime.datetime(2026, 11, 28, 12, tzinfo=datetime.UTC).timestamp()
GUID = "00000000-0000-4000-8000-000000000001"
GRANT = {"registry": "prod", "repositories": ["web/api"], "actions": ["pull", "metadata_read"]}


def _found(
    directory: Path, entry: dict[str, Any], when: dict[str, Any] | None = None, now: float = NOW
) -> dict[str, str]:
    """Return the codes of what is found about an issuer, with their severity."""
    rules = [{"name": "r", "issuer": "i", "when": when, "grant": [GRANT]}] if when else []
    document = {
        "version": 1,
        "audience": "https://vend.contoso.example",
        "registries": {"prod": {"login_server": "contoso.azurecr.io"}},
        "issuers": {"i": entry},
        "rules": rules,
    }
    path = directory / "policy.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    loaded = load_with_source(path, Environment(allow_loopback=True))
    return {str(problem.code): problem.severity for problem in lint(loaded, now)}


FORMS: list[tuple[str, str, bool]] = [
    ("github", "https://token.actions.githubusercontent.com", True),
    ("github", "https://token.actions.githubusercontent.com/contoso-group", True),
    ("github", "https://token.actions.contoso.ghe.com", True),
    ("github", "https://github.contoso.example/_services/token", True),
    ("github", "https://github.contoso.example", False),
    ("github", "https://github.contoso.example/_services/token/", False),
    ("github", "https://contoso.ghe.com", False),
    ("github", "http://127.0.0.1:1234/github", True),
    ("gitlab", "https://gitlab.contoso.example", True),
    ("gitlab", "https://contoso.example/gitlab", True),
    ("gitlab", "https://gitlab.contoso.example/", False),
    ("azure-devops", f"https://vstoken.dev.azure.com/{GUID}", True),
    ("azure-devops", "https://vstoken.dev.azure.com/contoso", False),
    ("azure-devops", "https://dev.azure.com/contoso", False),
    ("circleci", f"https://oidc.circleci.com/org/{GUID}", True),
    ("circleci", "https://oidc.circleci.com", True),
    ("circleci", f"https://oidc.circleci.com/{GUID}", False),
    ("bitbucket", "https://api.bitbucket.org/2.0/workspaces/contoso/pipelines-config/identity/oidc", True),
    ("bitbucket", "https://bitbucket.org/contoso", False),
    ("buildkite", "https://agent.buildkite.com", True),
    ("buildkite", "https://buildkite.com", False),
    ("terraform-cloud", "https://app.eu.terraform.io", True),
    ("terraform-cloud", "https://tfe.contoso.example", True),
    ("terraform-cloud", "https://tfe.contoso.example/app", False),
    ("kubernetes", "https://anything.example/cluster/", True),
    ("google", "https://accounts.google.com", True),
    ("google", "https://google.com", False),
    ("entra", f"https://login.microsoftonline.com/{GUID}/v2.0", True),
    ("entra", f"https://sts.windows.net/{GUID}/", True),
    ("entra", f"https://sts.windows.net/{GUID}", False),
    ("entra", "https://login.microsoftonline.com/common/v2.0", False),
    ("spacelift", "https://contoso.app.spacelift.io", True),
    ("spacelift", "https://contoso.spacelift.io", False),
    ("generic", "https://idp.example", True),
]


@pytest.mark.parametrize(("preset", "url", "fits"), FORMS, ids=[f"{preset} {url}" for preset, url, _ in FORMS])
def test_an_issuer_has_the_form_of_its_provider(tmp_path: Path, preset: str, url: str, fits: bool) -> None:
    assert (Lint.ISSUER_FORM not in _found(tmp_path, {"preset": preset, "issuer": url})) is fits


AUDIENCES: list[tuple[str, str, str | None, bool]] = [
    ("azure-devops", f"https://vstoken.dev.azure.com/{GUID}", None, False),
    ("azure-devops", f"https://vstoken.dev.azure.com/{GUID}", "https://own.example", False),
    ("azure-devops", f"https://vstoken.dev.azure.com/{GUID}", "api://AzureADTokenExchange", True),
    ("entra", f"https://login.microsoftonline.com/{GUID}/v2.0", None, False),
    ("entra", f"https://login.microsoftonline.com/{GUID}/v2.0", "api://vending", False),
    ("entra", f"https://login.microsoftonline.com/{GUID}/v2.0", GUID, True),
    ("entra", f"https://sts.windows.net/{GUID}/", None, True),
    ("spacelift", "https://contoso.app.spacelift.io", None, False),
    ("spacelift", "https://contoso.app.spacelift.io", "contoso.app.spacelift.io", True),
    ("github", "https://token.actions.githubusercontent.com", None, True),
]


@pytest.mark.parametrize(("preset", "url", "audience", "fits"), AUDIENCES)
def test_an_audience_is_one_that_the_issuers_tokens_have(
    tmp_path: Path, preset: str, url: str, audience: str | None, fits: bool
) -> None:
    entry = {"preset": preset, "issuer": url} | ({"audience": audience} if audience else {})
    assert (Lint.FIXED_AUDIENCE not in _found(tmp_path, entry)) is fits


ADO = {
    "preset": "azure-devops",
    "issuer": f"https://vstoken.dev.azure.com/{GUID}",
    "audience": "api://AzureADTokenExchange",
}


@pytest.mark.parametrize(
    ("day", "severity"),
    [((2026, 11, 28), "info"), ((2027, 6, 30), "info"), ((2027, 7, 1), "warning"), ((2028, 1, 1), "warning")],
)
def test_an_announced_end_is_information_until_it_comes(
    tmp_path: Path, day: tuple[int, int, int], severity: str
) -> None:
    now = datetime.datetime(*day, tzinfo=datetime.UTC).timestamp()
    assert _found(tmp_path, ADO, now=now)[Lint.ISSUER_ENDS] == severity


def test_what_has_no_announced_end_is_not_said_to_end(tmp_path: Path) -> None:
    assert Lint.ISSUER_ENDS not in _found(tmp_path, {"preset": "github"})


@pytest.mark.parametrize(
    ("url", "when", "warned"),
    [
        ("https://oidc.vercel.com", {"project_id": "prj_1"}, True),
        ("https://oidc.vercel.com/", {"project_id": "prj_1"}, True),
        ("https://oidc.vercel.com", {"owner_id": "team_*", "project_id": "prj_1"}, True),
        ("https://oidc.vercel.com", {"owner_id": "team_1", "project_id": "prj_1"}, False),
        ("https://oidc.vercel.com/contoso", {"project_id": "prj_1"}, False),
        ("https://oidc.codefresh.io", {"pipeline_id": "p"}, True),
        ("https://oidc.codefresh.io", {"account_id": "a", "pipeline_id": "p"}, False),
        ("https://idp.example", {"sub": "x"}, False),
    ],
)
def test_a_rule_of_a_shared_issuer_says_whose_tokens_it_means(
    tmp_path: Path, url: str, when: dict[str, Any], warned: bool
) -> None:
    assert (Lint.SHARED_ISSUER in _found(tmp_path, {"preset": "generic", "issuer": url}, when)) is warned


@pytest.mark.parametrize(
    ("entry", "warned"),
    [
        ({"preset": "github", "replay": "reuse"}, True),
        ({"preset": "github", "replay": "once"}, False),
        ({"preset": "github", "max_token_lifetime": "16m"}, True),
        ({"preset": "github", "max_token_lifetime": "5m"}, False),
        ({"preset": "github", "allow_extra_audiences": True}, True),
        ({"preset": "github", "allow_extra_audiences": False}, False),
        ({"preset": "github", "replay": "reuse", "enabled": False}, False),
        ({"preset": "gitlab", "replay": "once"}, False),
        ({"preset": "generic", "issuer": "https://idp.example", "max_token_lifetime": "25h"}, False),
    ],
)
def test_a_loosened_preset_is_pointed_out(tmp_path: Path, entry: dict[str, Any], warned: bool) -> None:
    assert (Lint.LOOSENED_PRESET in _found(tmp_path, entry)) is warned


@pytest.mark.parametrize("name", PRESETS)
def test_the_issuers_of_every_sample_give_no_warning(tmp_path: Path, name: str) -> None:
    preset = PRESETS[name]
    for sample in preset.samples.values():
        url = str(sample.claims["iss"])
        fixed = any(a.audience is not None and a.pattern.fullmatch(url) for a in preset.addresses)
        entry = {"preset": name, "issuer": url} | ({"audience": sample.claims["aud"]} if fixed else {})
        found = _found(tmp_path, entry)
        assert {code for code, severity in found.items() if severity == "warning"} <= {Lint.SHARED_AUDIENCE}


# --- Plain http -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("keys", [{"jwks": True}, {"jwks_file": "keys.json"}], ids=["jwks", "jwks_file"])
def test_an_issuer_whose_keys_are_in_the_policy_may_have_a_name_in_plain_http(
    tmp_path: Path, keys: dict[str, Any]
) -> None:
    published = {"keys": [SigningKey.generate("RS256").jwk()]}
    (tmp_path / "keys.json").write_text(json.dumps(published), encoding="utf-8")
    held = {"jwks": published} if "jwks" in keys else keys
    assert _found(tmp_path, {"preset": "generic", "issuer": "http://idp.inner.example"} | held) == {}


@pytest.mark.parametrize("url", ["http://idp.inner.example", "http://10.0.0.1/idp"])
def test_an_issuer_whose_keys_are_fetched_may_not(tmp_path: Path, url: str) -> None:
    with pytest.raises(PolicyError) as refused:
        _found(tmp_path, {"preset": "generic", "issuer": url})
    [problem] = refused.value.problems
    assert problem.code == "issuer_url"
    assert "jwks_file" in problem.message


@pytest.mark.parametrize("url", ["http://:80", "http://idp.example:0"])
def test_keys_in_the_policy_do_not_make_a_url_of_what_is_none(tmp_path: Path, url: str) -> None:
    held = {"jwks": {"keys": [SigningKey.generate("RS256").jwk()]}}
    with pytest.raises(PolicyError):
        _found(tmp_path, {"preset": "generic", "issuer": url} | held)
