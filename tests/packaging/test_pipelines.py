"""The pipelines that `init` writes, run as their platforms run them: what reviews a change, and what delivers it."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from devstack.entra.authority import Application, FederatedCredential
from devstack.stack import Stack
from tests.clients.servers import Answer, Seen, serve
from tests.packaging.forges import PLATFORMS, TOKEN, Forge, Platform
from tests.packaging.origin import Change, Origin
from tests.packaging.runners import (
    DELIVERIES,
    REVIEWS,
    SUBJECTS,
    Machine,
    Outcome,
    gitlab_review,
)
from tests.support.caller import vend
from vending.cli.main import main

if TYPE_CHECKING:
    from devstack.issuer.server import Issuer
    from devstack.stack import Upstreams
    from tests.support.azurite import Azurite

pytestmark = pytest.mark.process

LABEL = "access-approved"
EACH_PLATFORM = pytest.mark.parametrize("platform", PLATFORMS, ids=lambda platform: platform.name)
UI = "      - {registry: prod, repositories: [web/ui], actions: [pull]}\n"


@pytest.fixture(scope="module")
def files(upstreams: Upstreams, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh policy repository whose issuer and registry are those of this machine."""
    folder = tmp_path_factory.mktemp("files")
    assert main(["init", str(folder), "--service", upstreams.audience]) == 0
    policy = folder / "policy" / "main.yaml"
    text = policy.read_text().replace(
        "{preset: github}", f'{{preset: github, issuer: "{upstreams.issuers.github.url}"}}'
    )
    policy.write_text(text.replace("contoso.azurecr.io", upstreams.registry.login_server))
    return folder


@pytest.fixture(scope="module")
def environment(upstreams: Upstreams) -> dict[str, str]:
    """What makes every job of this machine find its loopback servers."""
    ca = str(upstreams.ca.ca_file)
    upstreams.authority.resources.add("https://storage.azure.com")
    return {
        "PIP_NO_INDEX": "1",  # what is to be installed is there
        "VENDING_ALLOW_LOOPBACK": "1",
        "SSL_CERT_FILE": ca,
        "REQUESTS_CA_BUNDLE": ca,
        "AZURE_AUTHORITY_HOST": f"https://{upstreams.authority.host}",
    }


@pytest.fixture
def machine(
    upstreams: Upstreams, programs: tuple[Path, Path], environment: dict[str, str], files: Path, tmp_path: Path
) -> Machine:
    origin = Origin(tmp_path, files)

    def token_for(audience: str, subject: str) -> str:
        return upstreams.issuers.github.token(audience=audience, claims={"sub": subject})

    def runner_for(subject: str) -> dict[str, str]:
        return upstreams.issuers.github.job(sub=subject).github_env

    return Machine(origin, programs, environment, {}, TOKEN, token_for, runner_for)


@dataclass
class Review:
    """A pull request on one platform and the machine that reviews it."""

    platform: Platform
    forge: Forge
    machine: Machine
    directory: Path
    runs: int = 0

    @property
    def origin(self) -> Origin:
        return self.machine.origin

    def run(self, *, labeled: bool = False) -> Outcome:
        self.runs += 1
        review = REVIEWS[self.platform.name]
        outcome = review(self.machine, self.directory / f"run-{self.runs}", labeled=labeled)
        assert TOKEN not in outcome.log
        assert "Traceback" not in outcome.log
        return outcome

    @property
    def comment(self) -> str:
        (body,) = self.forge.ours
        return body


@pytest.fixture(params=PLATFORMS, ids=lambda platform: platform.name)
def review(request: pytest.FixtureRequest, machine: Machine, tmp_path: Path) -> Iterator[Review]:
    platform, forge = request.param, Forge()
    with serve(lambda _server: lambda seen: platform.answer(forge, seen)) as server:
        own = replace(machine, environment={**machine.environment, **platform.variables(server.url)})
        yield Review(platform, forge, own, tmp_path / "runs")


def edit(file: str, old: str, new: str) -> Change:
    def change(tree: Path) -> None:
        text = (tree / file).read_text()
        assert old in text
        (tree / file).write_text(text.replace(old, new, 1))

    return change


def test_a_good_change_is_green_and_its_comment_is_updated_in_place(review: Review) -> None:
    review.origin.propose(edit("policy/team-web.yaml", "[pull, metadata_read]", "[pull]"))
    first = review.run()
    assert first.green, first.log
    assert "shrinks" in review.comment
    (page,) = first.kept.values()
    assert "<html" in page
    # Main goes on in the meantime, which is none of this pull request's doing.
    review.origin.push(edit("policy/team-web.yaml", "[pull, push, metadata_read]", "[pull, push]"))
    review.origin.propose(edit("policy/team-web.yaml", "actions: [pull]}", "actions: [pull, metadata_read]}"))
    second = review.run()
    assert second.green, second.log
    assert "shrinks" not in review.comment
    assert len(review.forge.comments) == 1


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        ("policy/team-web.yaml", "[web/api]", "[payments/api]", "policy/team-web.yaml:12:"),
        ("policy/team-web.yaml", "use: release", "use: relase", "policy/team-web.yaml:7:"),
        ("policy/team-web.yaml", "[pull, metadata_read]", "[pull, push]", "policy/team-web.yaml:14:"),
        ("tests/web.tests.yaml", "expect: deny", "expect: allow", "a pull request does not push"),
    ],
    ids=["outside of the team's bounds", "a name that is not there", "a pull request that pushes", "a failing test"],
)
def test_a_broken_change_is_red_and_told(review: Review, file: str, old: str, new: str, said: str) -> None:
    review.origin.propose(edit(file, old, new))
    outcome = review.run()
    assert not outcome.green
    assert said in outcome.log
    assert "\n    " in review.comment
    assert said in review.comment
    assert "does not pass" in outcome.log
    if review.platform.name == "github" and said.startswith("policy/"):
        file, line, _ = said.split(":")
        assert f"::error file={file},line={line}," in outcome.log


def test_access_that_grows_is_red_without_the_label_and_green_with_it(review: Review) -> None:
    review.origin.propose(edit("policy/team-web.yaml", "push, metadata_read]}\n", f"push, metadata_read]}}\n{UI}"))
    refused = review.run()
    assert not refused.green
    assert f"sets the label {LABEL}" in refused.log
    assert "| pull | `web/ui` |" in review.comment
    assert len(refused.kept) == 1, "whoever approves looks at the page"
    review.forge.labels.add(LABEL)
    approved = review.run(labeled=True)
    assert approved.green, approved.log


def test_a_change_of_the_scripts_does_not_approve_itself(review: Review) -> None:
    def change(tree: Path) -> None:
        edit("policy/team-web.yaml", "push, metadata_read]}\n", f"push, metadata_read]}}\n{UI}")(tree)
        (tree / "ci" / "review.sh").write_text('mkdir -p "$3"; echo same >"$3/verdict"; echo fine >"$3/access.md"\n')
        (tree / "ci" / "comment.py").write_text("print('fine')\n")
        for name in ("pip.py", "json.py", "ci/json.py"):
            (tree / name).write_text("print('the pull request runs')\nraise SystemExit(0)\n")
        if review.platform.name == "github":
            (tree / ".github" / "workflows" / "policy.yml").write_text("on: pull_request_target\njobs: {}\n")

    review.origin.propose(change)
    outcome = review.run()
    assert not outcome.green
    assert "the pull request runs" not in outcome.log
    assert f"sets the label {LABEL}" in outcome.log
    assert "| pull | `web/ui` |" in review.comment


def test_a_configuration_kept_elsewhere_is_not_the_merge_requests(machine: Machine, tmp_path: Path) -> None:
    """GitLab's setting "CI/CD configuration file": https://docs.gitlab.com/ci/pipelines/settings/."""

    def change(tree: Path) -> None:
        edit("policy/team-web.yaml", "push, metadata_read]}\n", f"push, metadata_read]}}\n{UI}")(tree)
        edit(".gitlab-ci.yml", "- python target/ci/comment.py out", "- echo skipped")(tree)

    machine.origin.propose(change)
    (platform,) = (platform for platform in PLATFORMS if platform.name == "gitlab")
    forge = Forge()
    with serve(lambda _server: lambda seen: platform.answer(forge, seen)) as server:
        own = replace(machine, environment={**machine.environment, **platform.variables(server.url)})
        assert gitlab_review(own, tmp_path / "own").green, "which is why the setting is needed"
        assert not gitlab_review(own, tmp_path / "elsewhere", configuration="main").green


@dataclass(frozen=True)
class Delivery:
    """A delivery of one platform: its blob, and the service that reads it."""

    name: str
    machine: Machine
    blob: str
    azurite: Azurite
    service: Stack
    directory: Path

    def run(self) -> Outcome:
        outcome = DELIVERIES[self.name](self.machine, self.directory / "run")
        assert "eyJ" not in outcome.log
        assert "Traceback" not in outcome.log
        return outcome

    @property
    def held(self) -> bytes:
        with self.azurite.client() as client:
            return client.get(self.blob).raise_for_status().content

    @property
    def in_force(self) -> str:
        return str(httpx.get(f"{self.service.url}/readyz").json()["sha256"])

    def wait_until_in_force(self, policy: bytes) -> None:
        end = time.monotonic() + 30
        while self.in_force != hashlib.sha256(policy).hexdigest():
            assert time.monotonic() < end, "the service does not read its policy"
            time.sleep(0.1)


@pytest.fixture(scope="module")
def blob(azurite: Azurite, files: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, bytes]:
    """The blob that the service reads, and what it holds before each delivery."""
    compiled = tmp_path_factory.mktemp("compiled") / "policy.json"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VENDING_ALLOW_LOOPBACK", "1")
        assert main(["compile", str(files / "policy"), "-o", str(compiled)]) == 0
    return azurite.new_blob("policy.json", compiled.read_bytes()), compiled.read_bytes()


@pytest.fixture(scope="module")
def service(upstreams: Upstreams, blob: tuple[str, bytes]) -> Iterator[Stack]:
    settings = {
        "VENDING_POLICY": blob[0],
        "VENDING_POLICY_REFRESH_SECONDS": "1",
        "SSL_CERT_FILE": str(upstreams.ca.ca_file),
    }
    with Stack(upstreams, settings=settings) as started:
        yield started


@pytest.fixture(params=DELIVERIES)
def delivery(
    request: pytest.FixtureRequest,
    upstreams: Upstreams,
    machine: Machine,
    azurite: Azurite,
    blob: tuple[str, bytes],
    service: Stack,
    tmp_path: Path,
) -> Delivery:
    azurite.put_blob(*blob)
    issuer = upstreams.issuers.github
    trusted = FederatedCredential(issuer.url, SUBJECTS[request.param], lambda: issuer.keys)
    application = upstreams.authority.register(Application(federated=[trusted]))
    variables = {
        "AZURE_TENANT_ID": upstreams.tenant.tenant_id,
        "AZURE_CLIENT_ID": application.client_id,
        "POLICY_BLOB_URL": blob[0],
        "VENDING_URL": service.url,
    }
    own = replace(machine, variables=variables)
    own.origin.push(edit("policy/team-web.yaml", "push, metadata_read]}\n", f"push, metadata_read]}}\n{UI}"))
    made = Delivery(request.param, own, blob[0], azurite, service, tmp_path)
    made.wait_until_in_force(blob[1])  # The delivery before this one left another policy in force.
    return made


def release(issuer: Issuer) -> str:
    """A token of the job that the release rule is about."""
    return issuer.token(claims={"ref": "refs/heads/main", "ref_protected": "true", "event_name": "push"})


def test_what_is_merged_is_in_force(upstreams: Upstreams, delivery: Delivery) -> None:
    done = delivery.run()
    assert done.green, done.log
    assert delivery.in_force == hashlib.sha256(delivery.held).hexdigest()
    vend(delivery.service.url, release(upstreams.issuers.github), scope="repository:web/ui:pull")


def test_what_the_service_does_not_take_is_rolled_back(delivery: Delivery, blob: tuple[str, bytes]) -> None:
    """The pipeline's settings allow a host that those of the service do not."""
    host = "registry.contoso.example"
    entry = f"{host}, cloud: custom, authority_host: {host}, token_audience: https://{host}"
    new = f"registries:\n  edge: {{login_server: {entry}}}\n"
    delivery.machine.origin.push(edit("policy/main.yaml", "registries:\n", new))
    own = replace(delivery.machine, environment={**delivery.machine.environment, "VENDING_CUSTOM_HOSTS": host})
    failed = replace(delivery, machine=own).run()
    assert not failed.green
    assert "Uploaded the policy" in failed.log
    assert "does not take the policy: its last reload was invalid" in failed.log
    assert "Put the previous policy back" in failed.log
    assert delivery.held == blob[1]
    assert delivery.in_force == hashlib.sha256(blob[1]).hexdigest()


def test_a_role_that_may_only_read_changes_nothing(
    upstreams: Upstreams, delivery: Delivery, blob: tuple[str, bytes]
) -> None:
    """https://learn.microsoft.com/rest/api/storageservices/blob-service-error-codes names the refusal."""

    def answer(seen: Seen) -> Answer:
        if seen.method != "GET":
            return Answer(403, "", {"x-ms-error-code": "AuthorizationPermissionMismatch"})
        return Answer(200, delivery.held, {"ETag": '"0x8D1"'})

    with serve(lambda _server: answer, tls=upstreams.ca.server_context()) as storage:
        variables = {**delivery.machine.variables, "POLICY_BLOB_URL": f"{storage.url}/policy/policy.json"}
        own = replace(delivery.machine, variables=variables)
        failed = replace(delivery, machine=own).run()
    assert not failed.green
    assert (
        "403, AuthorizationPermissionMismatch. Give the identity the role Storage Blob Data Contributor" in failed.log
    )
    assert delivery.held == blob[1]


def test_an_identity_that_does_not_trust_the_pipeline_changes_nothing(
    upstreams: Upstreams, delivery: Delivery, blob: tuple[str, bytes]
) -> None:
    issuer = upstreams.issuers.github
    other = FederatedCredential(issuer.url, "repo:contoso/access:ref:refs/heads/feature", lambda: issuer.keys)
    application = upstreams.authority.register(Application(federated=[other]))
    variables = {**delivery.machine.variables, "AZURE_CLIENT_ID": application.client_id}
    failed = replace(delivery, machine=replace(delivery.machine, variables=variables)).run()
    assert not failed.green
    assert "AADSTS700213" in failed.log or "Check its federated credential" in failed.log
    assert "Uploaded" not in failed.log
    assert delivery.held == blob[1]


def test_a_policy_that_does_not_keep_its_promises_is_not_delivered(delivery: Delivery, blob: tuple[str, bytes]) -> None:
    delivery.machine.origin.push(edit("tests/web.tests.yaml", "expect: deny", "expect: allow"))
    failed = delivery.run()
    assert not failed.green
    assert "a pull request does not push" in failed.log
    assert delivery.held == blob[1]
