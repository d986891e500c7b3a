"""What docs/providers.md shows for a provider vends: its policy, its sample token, and the request of its client.

The issuers are the real ones by name. Their keys are written into the policy, so the tokens of the local stack pass for
theirs, and every address is the documented one.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from devstack import plain
from devstack.issuer.claims import shape_of
from devstack.stack import Stack, Upstreams
from tests.clients.live import Live, live_stack
from tests.clients.platforms import (
    CLIENTS,
    AzureJob,
    GitHubJob,
    GitLabJob,
    Result,
    SnippetJob,
    base_environment,
    run,
    snippet,
    yaml_documents,
)
from tests.clients.test_docs import block as client_block
from tests.docs.markdown import ROOT, Block, blocks
from tests.docs.test_providers_page import SECTIONS
from vending.acr.scope import parse
from vending.policy import PRESETS, Preset

PAGE = ROOT / "docs" / "providers.md"
AUDIENCE = "https://vend.contoso.example"
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"


# --- The page, taken apart --------------------------------------------------------------------------------------------


def _blocks(preset: str, language: str) -> list[Block]:
    heading = SECTIONS[preset].splitlines()[0]
    return [block for block in blocks(PAGE) if block.section == heading and block.language == language]


def _example(preset: str) -> dict[str, Any]:
    """Return the section's policy."""
    (document,) = yaml_documents(_blocks(preset, "yaml")[0].text)
    assert isinstance(document, dict)
    return document


def _scope(preset: str) -> str:
    """Return what the section's first test asks for."""
    (document,) = yaml_documents(_blocks(preset, "yaml")[1].text)
    first = document["tests"][0]
    assert first["expect"] == "allow"
    return str(first.get("scope") or first["granted"])


def _with_keys(issuers: dict[str, Any], upstreams: Upstreams) -> dict[str, Any]:
    """Give every issuer the keys of the local stack's issuer of its preset."""
    return {name: entry | {"jwks": upstreams.issuers.of(entry["preset"]).jwks()} for name, entry in issuers.items()}


def _of_the_page(upstreams: Upstreams, audience: str) -> str:
    """Put the policies of all sections into one."""
    issuers: dict[str, Any] = {}
    rules: list[Any] = []
    maps: dict[str, Any] = {}
    for preset in PRESETS:
        example = _example(preset)
        issuers |= example["issuers"]
        rules += example["rules"]
        maps |= example.get("maps", {})
    document = {
        "version": 1,
        "audience": audience,
        "registries": {"prod": {"login_server": upstreams.registry.login_server}},
        "issuers": _with_keys(issuers, upstreams),
        "maps": maps,
        "rules": rules,
    }
    return json.dumps(document)


@pytest.fixture(scope="module")
def documented(upstreams: Upstreams) -> Iterator[Live]:
    """The service behind TLS with the policies of docs/providers.md."""
    with live_stack(upstreams, _of_the_page) as live:
        yield live


# --- From the documented request of the documented client to the registry token ---------------------------------------


class Place:
    """A job's directory and the service; mints the tokens that the platform would."""

    def __init__(self, live: Live, directory: Path) -> None:
        self.live = live
        self.directory = directory

    def token(self, preset: str, audience: Any, form: str = "default") -> str:
        """Mint the sample token of a form, for an audience, by the keys that the policy names."""
        issuer = self.live.stack.issuers.of(preset)
        return issuer.mint(shape_of(preset, form)(PRESETS[preset].samples[form].claims["iss"], audience))

    def real(self, text: str) -> str:
        """Put the service's address in the place of the example's."""
        return text.replace(AUDIENCE, self.live.url)

    def page(self, heading: str, preset: str) -> Any:
        """Return the block of docs/clients.md for a platform, asking for what the provider's section shows."""
        text = self.real(client_block(heading)).replace("repository:web/api:pull,push", _scope(preset))
        (document,) = yaml_documents(text)
        return document

    def script(self, lines: str, **environment: str) -> str:
        """Run lines of shell beside acr-token.sh, and return what they print."""
        shutil.copy(CLIENTS / "acr-token.sh", self.directory)
        whole = base_environment(self.directory / "home", **self.live.trust, **environment)
        done = run(["sh", "-ec", lines], whole, self.directory)
        assert done.returncode == 0, done.stdout
        return done.stdout.strip().splitlines()[-1]

    def program(self, name: str, body: str) -> Path:
        """Write a program of the platform; return the directory to put onto the PATH."""
        programs = self.directory / "programs"
        programs.mkdir(exist_ok=True)
        (programs / name).write_text(f"#!/bin/sh\n{body}\n")
        (programs / name).chmod(0o755)
        return programs


def _github(place: Place) -> str:
    use = place.page("GitHub Actions", "github")["steps"][0]
    job = place.live.stack.issuers.github.job(iss=PRESETS["github"].default_issuer)
    runner = GitHubJob(place.directory / "job", {**job.github_env, **place.live.trust})
    # There is no engine to log in to; the token is an output.
    done = runner.uses(use["uses"], {**use["with"], "login": "false"})
    assert done.exit_code == 0, done.raw
    return done.outputs["password"]


def _gitlab(place: Place) -> str:
    inputs = place.page("GitLab", "gitlab")["include"][0]["inputs"]
    job = GitLabJob(place.directory / "job", token_for=lambda audience: place.token("gitlab", audience), inputs=inputs)
    job.environment |= place.live.trust
    return _password(job.script('cat "$DOCKER_CONFIG/config.json"'))


def _azure(place: Place) -> str:
    step = place.page("Azure Pipelines", "azure-devops")["steps"][0]
    issuer = PRESETS["azure-devops"].samples["default"].claims["iss"]
    job = place.live.stack.issuers.azure_devops.job(iss=issuer)
    runner = AzureJob(place.directory / "job", {**job.azure_devops_env, **place.live.trust})
    done = runner.template(step["template"], {**step["parameters"], "login": "false", "steps": []})
    assert done.exit_code == 0, done.raw
    return runner.secrets["ACR_TOKEN"]


def _snippet(preset: str, heading: str) -> Callable[[Place], str]:
    def job(place: Place) -> str:
        def token_for(audience: str) -> str:
            # Bitbucket sends a list where a step names its audience, and appends the workspace's.
            return place.token(preset, [audience, WORKSPACE] if preset == "bitbucket" else audience)

        runner = SnippetJob(place.directory / "job", preset, token_for, url=place.live.url)
        runner.environment |= place.live.trust
        if preset == "buildkite":
            _hand_out_what_is_asked_for(runner, place)
        text = client_block(heading).replace("repository:web/api:pull,push", _scope(preset))
        done = runner.run(snippet(preset, text), 'cat "$DOCKER_CONFIG/config.json"')
        return _password(done)

    return job


WORKSPACE = "ari:cloud:bitbucket::workspace/a1b2c3d4-0001-4000-8000-00000000000a"


def _hand_out_what_is_asked_for(runner: SnippetJob, place: Place) -> None:
    """Put a `buildkite-agent` into a job that puts the ids into a token only where they are asked for."""
    tokens = {form: place.token("buildkite", place.live.url, form) for form in ("ids", "default")}
    agent = runner.programs / "buildkite-agent"
    agent.write_text(
        "#!/bin/sh\n"
        f'case "$*" in *"--claim organization_id,pipeline_id"*) echo "{tokens["ids"]}" ;;\n'
        f'*) echo "{tokens["default"]}" ;; esac\n'
    )


def _by_helper(preset: str, audience: Callable[[Place], Any]) -> Callable[[Place], str]:
    """The credential helper takes the token from a file."""

    def job(place: Place) -> str:
        file = place.directory / "token"
        file.write_text(place.token(preset, audience(place)))
        helper = CLIENTS / "docker-credential-acr-vending"
        done = place.script(
            f"python3 {helper} token",
            ACR_VENDING_URL=place.live.url,
            ACR_VENDING_SCOPE=_scope(preset),
            ACR_VENDING_ID_TOKEN_FILE=str(file),
            SSL_CERT_FILE=str(place.live.ca_file),
        )
        return str(json.loads(done)["access_token"]) if done.startswith("{") else done

    return job


def _handed_over(preset: str, form: str = "default") -> Callable[[Place], str]:
    """The platform hands the token over in a variable or a file, as docs/clients.md has it for anything else."""

    def job(place: Place) -> str:
        sample = PRESETS[preset].samples[form]
        address = next((a for a in PRESETS[preset].addresses if a.pattern.fullmatch(str(sample.claims["iss"]))), None)
        fixed = {"ACR_VENDING_AUDIENCE": str(sample.claims["aud"])} if address is not None and address.audience else {}
        audience: Any = fixed.get("ACR_VENDING_AUDIENCE", place.live.url)
        if isinstance(sample.claims["aud"], list):
            audience = [audience]
        file = place.directory / "token"
        file.write_text(place.token(preset, audience, form))
        lines = client_block("Anything else").splitlines()[0].replace("repository:web/api:pull,push", _scope(preset))
        return place.script(f"{place.real(lines)}\nsh acr-token.sh token", ACR_VENDING_ID_TOKEN_FILE=str(file), **fixed)

    return job


def _metadata(preset: str, host: str) -> Callable[[Place], str]:
    """The lines of the section ask a machine's metadata server; what stands in for it is the command that asks."""

    def job(place: Place) -> str:
        curl = shutil.which("curl")
        token = place.token(preset, place.live.url)
        answer = json.dumps({"access_token": token, "token_type": "Bearer"}) if preset == "entra" else token
        (place.directory / "answer").write_text(answer)
        asked = place.directory / "asked"
        programs = place.program(
            "curl",
            f'case "$*" in *{host}*) echo "$*" >>"{asked}"; cat "{place.directory}/answer" ;;\n'
            f'*) exec {curl} "$@" ;; esac',
        )
        (lines,) = _blocks(preset, "sh")
        environment = base_environment(place.directory / "outer")
        said = place.script(
            place.real(lines.text),
            ACR_VENDING_SCOPE=_scope(preset),
            PATH=f"{programs}:{environment['PATH']}",
        )
        assert place.live.url in asked.read_text()
        return said

    return job


def _password(done: Result) -> str:
    """Return the registry token of the last docker configuration that a job has printed."""
    assert done.exit_code == 0, done.log
    configuration = json.loads(done.log[done.log.index("{") :])
    (entry,) = configuration["auths"].values()
    return str(entry["registrytoken"])


JOBS: dict[str, Callable[[Place], str]] = {
    "github": _github,
    "gitlab": _gitlab,
    "azure-devops": _azure,
    "circleci": _snippet("circleci", "CircleCI"),
    "bitbucket": _snippet("bitbucket", "Bitbucket"),
    "buildkite": _snippet("buildkite", "Buildkite"),
    "bitbucket by the helper": _by_helper("bitbucket", lambda place: [place.live.url, WORKSPACE]),
    "terraform-cloud": _handed_over("terraform-cloud"),
    "terraform-cloud by stack": _handed_over("terraform-cloud", "stack"),
    "kubernetes": _handed_over("kubernetes"),
    "google": _metadata("google", "metadata.google.internal"),
    "entra": _metadata("entra", "169.254.169.254"),
    "entra v2": _handed_over("entra", "v2"),
    "spacelift": _handed_over("spacelift"),
    "generic": _handed_over("generic"),
}


def test_every_provider_has_a_job() -> None:
    assert {name.partition(" ")[0] for name in JOBS} == set(PRESETS)


@pytest.mark.parametrize("name", JOBS)
def test_the_documented_job_gets_its_registry_token(documented: Live, tmp_path: Path, name: str) -> None:
    preset = name.partition(" ")[0]
    token = JOBS[name](Place(documented, tmp_path))
    [asked] = parse(_scope(preset))
    held = documented.stack.registry.tokens.verify_access(token)["access"]
    assert [(entry["name"], set(entry["actions"])) for entry in held] == [(asked.name, set(asked.actions))]


# --- Every form of every provider's tokens ----------------------------------------------------------------------------

FORMS = [(preset, form) for preset in PRESETS.values() for form in preset.samples]
_IDS = [f"{preset.name}-{form}" for preset, form in FORMS]


def _audience(preset: Preset, form: str) -> Any:
    """Return the `aud` with which this form comes when a job asks for ours."""
    claims = preset.samples[form].claims
    address = next((a for a in preset.addresses if a.pattern.fullmatch(str(claims["iss"]))), None)
    if address is not None and address.audience is not None:
        return claims["aud"]
    if preset.extra_audience is not None and isinstance(claims["aud"], list):
        return [AUDIENCE, claims["aud"][1]]
    return [AUDIENCE] if isinstance(claims["aud"], list) else AUDIENCE


def _when(preset: Preset, form: str) -> dict[str, Any]:
    """Return what pins a sample's caller: its identity claims, or `sub` where it has none; and a refused trigger."""
    claims = preset.samples[form].claims
    pins = {name: claims[name] for name in preset.identity if name in claims} or {"sub": claims["sub"]}
    return pins | {name: value for name, value in preset.refused if claims.get(name) == value}


def _of_every_form(upstreams: Upstreams) -> str:
    issuers: dict[str, Any] = {}
    rules: list[Any] = []
    for number, (preset, form) in enumerate(FORMS):
        url = str(preset.samples[form].claims["iss"])
        audience = _audience(preset, form)
        entry: dict[str, Any] = {"preset": preset.name, "issuer": url}
        if isinstance(audience, str) and audience != AUDIENCE:
            entry["audience"] = audience
        if preset.name == "generic":
            entry["algorithms"] = ["ES256"]
        name = next((known for known, other in issuers.items() if other["issuer"] == url), f"{preset.name}-{form}")
        issuers.setdefault(name, entry)
        grant = {"registry": "prod", "repositories": [f"form/{number}"], "actions": ["pull"]}
        rules.append({"name": f"{preset.name}-{form}", "issuer": name, "when": _when(preset, form), "grant": [grant]})
    document = {
        "version": 1,
        "audience": AUDIENCE,
        "registries": {"prod": {"login_server": upstreams.registry.login_server}},
        "issuers": _with_keys(issuers, upstreams),
        "rules": rules,
    }
    return json.dumps(document)


@pytest.fixture(scope="module")
def of_every_form(upstreams: Upstreams) -> Iterator[Stack]:
    """The service with a rule for each form."""
    with Stack(upstreams, policy=_of_every_form) as stack:
        yield stack


def _ask(stack: Stack, preset: Preset, form: str, audience: Any) -> httpx.Response:
    token = stack.issuers.of(preset.name).mint(
        shape_of(preset.name, form)(preset.samples[form].claims["iss"], audience)
    )
    number = FORMS.index((preset, form))
    data = {"grant_type": EXCHANGE, "subject_token": token, "scope": f"repository:form/{number}:pull"}
    return plain.post(f"{stack.url}/token", data=data)


@pytest.mark.parametrize(("preset", "form"), FORMS, ids=_IDS)
def test_a_token_of_every_form_vends(of_every_form: Stack, preset: Preset, form: str) -> None:
    answer = _ask(of_every_form, preset, form, _audience(preset, form))
    assert answer.status_code == 200, answer.text
    assert f"{preset.name}-{form}" in answer.json()["rules"]


@pytest.mark.parametrize(("preset", "form"), FORMS, ids=_IDS)
def test_a_token_for_the_platforms_own_audience_is_refused(of_every_form: Stack, preset: Preset, form: str) -> None:
    default = preset.samples[form].claims["aud"]
    if default == _audience(preset, form):
        default = "https://other.example"
    answer = _ask(of_every_form, preset, form, default)
    assert answer.json()["reason"] == "audience_mismatch"


# --- Where a platform gives no token ----------------------------------------------------------------------------------

WORDS = "runs of Dependabot and pull requests from forks get no OIDC token, whatever permissions says"


@pytest.mark.parametrize("command", ["sh acr-token.sh token", f"python3 {CLIENTS}/docker-credential-acr-vending token"])
def test_a_github_job_without_a_token_hears_who_never_gets_one_in_the_words_of_the_pages(
    documented: Live, tmp_path: Path, command: str
) -> None:
    shutil.copy(CLIENTS / "acr-token.sh", tmp_path)
    environment = base_environment(
        tmp_path / "home",
        **documented.trust,
        SSL_CERT_FILE=str(documented.ca_file),
        GITHUB_ACTIONS="true",
        ACR_VENDING_URL=documented.url,
        ACR_VENDING_SCOPE="repository:web/api:pull",
    )
    done = run(["sh", "-c", command], environment, tmp_path)
    assert done.returncode != 0
    assert WORDS in done.stdout
    for page in ("clients.md", "providers.md"):
        assert WORDS in (ROOT / "docs" / page).read_text(encoding="utf-8").replace("`", "").replace("Runs", "runs")
