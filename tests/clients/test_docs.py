"""The lines in docs/clients.md work as written: each platform's block runs on the whole stack, its push included."""

import base64
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from devstack.certs import TestAuthority

from . import test_real_clients
from .engine import Engine
from .live import Live
from .platforms import (
    CLIENTS,
    AzureJob,
    GitHubJob,
    GitLabJob,
    KubernetesJob,
    SnippetJob,
    base_environment,
    run,
    snippet,
    yaml_documents,
)
from .servers import Server
from .test_real_clients import tar_of

PAGE = (CLIENTS.parent / "docs" / "clients.md").read_text()
README = (CLIENTS.parent / "README.md").read_text()
ACTION = "contoso/acr-token-vending/clients/github-action@v1"


def section(heading: str) -> str:
    """Return the text under a heading of the page."""
    return PAGE.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0] + "\n"


def block(heading: str, number: int = 0) -> str:
    """Return a fenced block of the section with this heading."""
    blocks: list[str] = re.findall(r"^```\w*\n(.*?)^```$", section(heading), flags=re.MULTILINE | re.DOTALL)
    return blocks[number]


def messages() -> list[str]:
    """Return the messages in the table of failures, cut where they name something."""
    rows = [line.split(" | ")[0].removeprefix("| ") for line in section("When it does not work").splitlines()]
    said = [row for row in rows if row and row != "message" and not row.startswith(("| ", "---", "`"))]
    return [re.split(r",? …", row)[0] for row in said]


class Place:
    """The live stack and an engine with an image to push; turns the page's addresses into the real ones."""

    def __init__(self, live: Live, running: Engine, tmp_path: Path) -> None:
        self.live = live
        self.running = running
        self.directory = tmp_path
        content = tar_of(where=str(tmp_path))
        assert (
            running.docker("import", "-", self.real("contoso.azurecr.io/web/api:latest"), stdin=content).returncode == 0
        )
        self.environment = {**live.trust, "DOCKER_HOST": f"unix://{running.socket}"}
        self.programs = f"{running.programs}/usr/bin:{os.environ['PATH']}"
        live.stack.registry.board.clear()

    def real(self, text: str) -> str:
        """Replace the example's addresses."""
        return text.replace("https://vend.contoso.example", self.live.url).replace(
            "contoso.azurecr.io", self.live.registry
        )

    def yaml(self, heading: str, number: int = 0) -> Any:
        """Return a block of the page, parsed, with the real addresses."""
        (document,) = yaml_documents(self.real(block(heading, number)))
        return document

    def was_pushed(self) -> None:
        """Check that the engine's image lies in the registry now."""
        inspect = (
            "image",
            "inspect",
            "--format",
            "{{json .RepoDigests}}",
            self.real("contoso.azurecr.io/web/api:latest"),
        )
        assert "@sha256:" in self.running.docker(*inspect).stdout


@pytest.fixture
def place(live: Live, dockerd: Engine, tmp_path: Path) -> Iterator[Place]:
    """Return the live stack with an image to push that the registry has not seen."""
    made = Place(live, dockerd, tmp_path)
    yield made
    dockerd.docker("rmi", "--force", made.real("contoso.azurecr.io/web/api:latest"))


def test_the_readmes_lines_for_github_are_the_pages() -> None:
    lines = [line.strip() for line in block("GitHub Actions").splitlines() if "uses:" in line or "with:" in line]
    assert lines
    for line in lines:
        assert line in README


def test_the_lines_for_github(place: Place) -> None:
    document = place.yaml("GitHub Actions")
    assert document["permissions"] == {"contents": "read", "id-token": "write"}
    use, push = document["steps"]
    job = GitHubJob(place.directory / "job", {**place.live.stack.issuers.github.job().github_env, **place.environment})
    job.environment["PATH"] = place.programs
    assert job.uses(use["uses"], use["with"]).exit_code == 0
    result = job.run(push["run"])
    assert result.exit_code == 0, result.log
    place.was_pushed()


def test_the_workflow_in_full_is_the_same(place: Place) -> None:
    (document,) = yaml_documents(place.real((CLIENTS / "github-action" / "workflow.yml").read_text()))
    use = next(step for step in document["jobs"]["image"]["steps"] if step.get("uses") == ACTION)
    assert use["with"] == place.yaml("GitHub Actions")["steps"][0]["with"]


def test_the_lines_for_gitlab(place: Place) -> None:
    document = place.yaml("GitLab")
    (include,) = document["include"]
    assert include["file"] == "acr-token.yml"
    assert document["image"]["extends"] == ".acr-token"

    def token_for(audience: str) -> str:
        return place.live.stack.issuers.gitlab.token(audience)

    job = GitLabJob(place.directory / "job", token_for=token_for, inputs=include["inputs"])
    job.environment |= {**place.environment, "PATH": place.programs}
    result = job.script(document["image"]["script"])
    assert result.exit_code == 0, result.log
    place.was_pushed()


def test_a_gitlab_job_with_scripts_of_its_own_names_both_of_ours() -> None:
    text = re.sub(r"!reference (\[.*?\])", r"\1", block("GitLab", 1))
    (document,) = yaml_documents(text)
    assert document["image"]["before_script"][0] == [".acr-token", "before_script"]
    assert document["image"]["after_script"][-1] == [".acr-token", "after_script"]


def test_the_lines_for_azure_pipelines(place: Place) -> None:
    (template,) = place.yaml("Azure Pipelines")["steps"]
    issuer = place.live.stack.issuers.azure_devops
    job = AzureJob(place.directory / "job", {**issuer.job().azure_devops_env, **place.environment})
    job.environment["PATH"] = place.programs
    used = job.template(template["template"], template["parameters"])
    assert used.exit_code == 0, used.raw
    place.was_pushed()


@pytest.mark.parametrize("platform", ["CircleCI", "Bitbucket", "Buildkite"])
def test_the_lines_for_the_other_platforms(place: Place, platform: str) -> None:
    def token_for(audience: str) -> str:
        return place.live.stack.issuers.other.token([audience] if platform == "Bitbucket" else audience)

    name = platform.lower()
    job = SnippetJob(place.directory / "job", name, token_for, url=place.live.url)
    job.environment |= {**place.environment, "PATH": f"{job.programs}:{place.programs}"}
    text = block(platform).replace("contoso.azurecr.io", place.live.registry)
    result = job.run(snippet(name, text))
    assert result.exit_code == 0, result.log
    place.was_pushed()


def test_the_snippet_files_say_what_the_page_says() -> None:
    circle = [line for line in snippet("circleci", block("CircleCI")).lines if "acr-token" in line]
    assert circle == [line for line in snippet("circleci").lines if "acr-token" in line]
    assert snippet("circleci", block("CircleCI")).afterwards == snippet("circleci").afterwards
    assert snippet("bitbucket", block("Bitbucket")) == snippet("bitbucket")
    assert snippet("buildkite", block("Buildkite")) == snippet("buildkite")


def test_the_lines_for_anything_else(place: Place) -> None:
    token = place.live.stack.issuers.other.token(place.live.url)
    environment = base_environment(place.directory / "home", ACR_VENDING_ID_TOKEN=token, **place.environment)
    script = place.real(block("Anything else")).replace("sh acr-token.sh", f"sh {CLIENTS}/acr-token.sh")
    environment["PATH"] = place.programs
    done = run(["sh", "-ec", script], environment, place.directory)
    assert done.returncode == 0, done.stdout
    place.was_pushed()


def test_the_lines_for_the_credential_helper(place: Place) -> None:
    job = GitHubJob(place.directory / "job", {**place.live.stack.issuers.github.job().github_env, **place.environment})
    job.environment["PATH"] = f"{CLIENTS}:{place.programs}"
    result = job.run(place.real(block("The credential helper")))
    assert result.exit_code == 0, result.log
    place.was_pushed()
    assert not (job.home / ".docker").exists()
    (job.home / ".docker").mkdir()
    (job.home / ".docker" / "acr-vending.json").write_text(place.real(block("The credential helper", 1)))
    assert job.run(f"echo {place.live.registry} | docker-credential-acr-vending get").exit_code == 0


def test_the_shell_lines_for_jenkins(place: Place) -> None:
    script = re.search(r"^    sh \'\'\'\n(.*?)^    \'\'\'$", block("Jenkins"), flags=re.DOTALL | re.MULTILINE)
    assert script is not None
    token = place.directory / "id-token"
    token.write_text(f"{place.live.stack.issuers.other.token(place.live.url)}\n")
    environment = base_environment(place.directory / "home", ACR_VENDING_ID_TOKEN_FILE=str(token), **place.environment)
    environment |= {"ACR_VENDING_URL": place.live.url, "ACR_VENDING_SCOPE": "repository:web/api:pull,push"}
    environment |= {"PATH": place.programs, "WORKSPACE_TMP": str(place.directory)}
    lines = place.real(script[1]).replace("ci/acr-token.sh", str(CLIENTS / "acr-token.sh"))
    done = run(["sh", "-xe", "-c", lines], environment, place.directory)
    assert done.returncode == 0, done.stdout
    place.was_pushed()
    assert not (place.directory / "docker").exists()


def test_the_pull_secret_pulls(place: Place, kubernetes_api: Server, ca: TestAuthority, tmp_path: Path) -> None:
    issuers = place.live.stack.issuers
    job = GitHubJob(tmp_path / "pusher", {**issuers.github.job().github_env, **place.environment})
    job.environment["PATH"] = place.programs
    job.uses(ACTION, place.yaml("GitHub Actions")["steps"][0]["with"])
    image = place.real("contoso.azurecr.io/web/api:latest")
    assert job.run(f"docker push {image} && docker rmi {image}").exit_code == 0

    def token_for(audience: str) -> str:
        return issuers.cluster.token([audience])

    api = kubernetes_api.url
    cron = KubernetesJob(tmp_path / "cron", token_for=token_for, url=place.live.url, api=api, ca=ca.ca_file)
    cron.environment |= place.live.trust
    result = cron.run()
    assert result.exit_code == 0, result.log
    secret = json.loads(kubernetes_api.seen[-1].body)["data"][".dockerconfigjson"]
    auth = json.loads(base64.b64decode(secret))["auths"][place.live.registry]["auth"]
    user = base64.b64decode(auth).decode()  # the kubelet hands containerd user and password
    ctr = f"{place.running.programs}/usr/bin/ctr --address {place.running.containerd} --namespace kubelet images pull"
    done = job.run(f"{ctr} --plain-http --snapshotter native --user {user} {image}")
    assert done.exit_code == 0, done.log


def test_every_row_of_the_table_was_run() -> None:
    tests = {name for name in vars(test_real_clients) if name.startswith("test_")}
    rows = [line for line in PAGE.splitlines() if line.startswith("| ") and "`test_" in line]
    named = {name for row in rows for name in re.findall(r"`(test_\w+)`", row)}
    assert len(rows) == 7
    assert named <= tests
    unnamed = tests - named
    assert unnamed == {
        "test_a_pull_token_does_not_push",
        "test_only_the_helper_carries_a_build_past_the_end_of_its_first_token",
        "test_the_helper_explains_and_prints_tokens_for_people",
    }


def test_the_page_names_every_input_and_file() -> None:
    (action,) = yaml_documents((CLIENTS / "github-action" / "action.yml").read_text())
    for name in [*action["inputs"], *action["outputs"]]:
        assert f"`{name}`" in PAGE
    for link in re.findall(r"\]\((\.\./clients[^)#]*)\)", PAGE):
        assert (CLIENTS.parent / "docs" / link).exists()
    headings = {
        re.sub(r"[^\w -]", "", line[3:]).lower().replace(" ", "-") for line in PAGE.splitlines() if line[:3] == "## "
    }
    assert set(re.findall(r"\]\(#([\w-]+)\)", PAGE)) <= headings


@pytest.mark.parametrize("message", messages())
def test_every_message_in_the_troubleshooting_table_exists(message: str) -> None:
    source = (CLIENTS / "acr-token.sh").read_text().replace("\\\n", "")
    assert message.removesuffix(" 400") in source
