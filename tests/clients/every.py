"""Every client by name, each ready to be pointed at a vending service; for promises that all of them must keep."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

from .platforms import (
    CLIENTS,
    AzureJob,
    GitHubJob,
    GitLabJob,
    KubernetesJob,
    Result,
    SnippetJob,
    base_environment,
    run,
    snippet,
)
from .servers import Server, unsigned_jwt

Client = Callable[[str, Path, Server], Result]
"""Run a client against the service at a URL, in a directory of its own, with a CI platform's token endpoints."""

FAST: Final = {"ACR_VENDING_RETRY_SECONDS": "0"}
"""Retries without a wait."""


def token_for(audience: str) -> str:
    """Return a platform's token for an audience."""
    return unsigned_jwt(aud=audience)


def token_for_list(audience: str) -> str:
    """Return a token as Bitbucket and Kubernetes issue it: with a list of one audience."""
    return unsigned_jwt(aud=[audience])


def github_environment(ci: Server) -> dict[str, str]:
    """Return what GitHub sets for a job that may ask for tokens."""
    return {
        "ACTIONS_ID_TOKEN_REQUEST_URL": f"{ci.url}/github?api-version=2.0",
        "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "request-secret",
        **FAST,
    }


def azure_environment(ci: Server) -> dict[str, str]:
    """Return what Azure Pipelines sets."""
    return {"SYSTEM_OIDCREQUESTURI": f"{ci.url}/azure", "SYSTEM_ACCESSTOKEN": "request-secret", **FAST}


def script(command: str) -> Client:
    """Return acr-token.sh by itself, on GitHub."""

    def client(url: str, directory: Path, ci: Server) -> Result:
        environment = base_environment(directory / "home", ACR_VENDING_URL=url, **github_environment(ci))
        done = run(["sh", str(CLIENTS / "acr-token.sh"), command], environment, directory)
        return Result(done.returncode, done.stdout, done.stdout)

    return client


def helper(*arguments: str, stdin: str = "") -> Client:
    """Return the credential helper, on GitHub."""

    def client(url: str, directory: Path, ci: Server) -> Result:
        environment = base_environment(directory / "home", ACR_VENDING_URL=url, **github_environment(ci))
        program = str(CLIENTS / "docker-credential-acr-vending")
        done = run([program, *arguments], environment, directory, stdin=stdin)
        return Result(done.returncode, done.stdout, done.stdout)

    return client


def github_action(login: str) -> Client:
    """Return the action."""

    def client(url: str, directory: Path, ci: Server) -> Result:
        job = GitHubJob(directory, github_environment(ci))
        return job.uses("contoso/acr-token-vending/clients/github-action@v1", {"url": url, "login": login})

    return client


def gitlab(url: str, directory: Path, _ci: Server) -> Result:
    """Run a GitLab job that includes the template."""
    return GitLabJob(directory, token_for=token_for, inputs={"url": url}, variables=FAST).script("true")


def azure_pipelines(url: str, directory: Path, ci: Server) -> Result:
    """Run the Azure Pipelines template without an audience, on a platform that would issue tokens for the url."""
    ci.azure_audience = url
    job = AzureJob(directory, azure_environment(ci))
    return job.template("clients/azure-pipelines/acr-token.yml@vending", {"url": url, "audience": ""})


def snippet_of(platform: str) -> Client:
    """Return the snippet of CircleCI, Bitbucket or Buildkite."""

    def client(url: str, directory: Path, _ci: Server) -> Result:
        job = SnippetJob(directory, platform, token_for_list if platform == "bitbucket" else token_for, url=url)
        job.environment |= FAST
        return job.run(snippet(platform), last="true")

    return client


EVERY: Final[dict[str, Client]] = {
    "github-action": github_action("true"),
    "github-action-helper": github_action("helper"),
    "gitlab": gitlab,
    "azure-pipelines": azure_pipelines,
    "circleci": snippet_of("circleci"),
    "bitbucket": snippet_of("bitbucket"),
    "buildkite": snippet_of("buildkite"),
    "script-token": script("token"),
    "script-docker-config": script("docker-config"),
    "helper-get": helper("get", stdin="contoso.azurecr.io"),
    "helper-token": helper("token"),
    "helper-login": helper("login", "--write-token"),
    "helper-explain": helper("explain"),
}
"""All but the Kubernetes CronJob, which needs an API server as well."""


def kubernetes(api: Server, ca: Path) -> Client:
    """Return the CronJob's container, in front of an API server."""

    def client(url: str, directory: Path, _ci: Server) -> Result:
        job = KubernetesJob(directory, token_for=token_for_list, url=url, api=api.url, ca=ca)
        job.environment |= FAST
        return job.run()

    return client
