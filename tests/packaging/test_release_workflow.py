"""What release.yml does after it has built: it publishes with GitHub's own command line, and moves the major tag."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from devstack.certs import TestAuthority
from tests.clients.platforms import GitHubJob, Result, yaml_documents
from tests.clients.servers import Answer, Seen, Server, serve
from tests.clients.tools import debian
from vending import __version__

pytestmark = pytest.mark.process

ROOT = Path(__file__).resolve().parents[2]
TAG = f"v{__version__}"
MAJOR = TAG.partition(".")[0]
API = "/api/v3/repos/contoso/acr-token-vending"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class GitHub:
    """A repository with its tags and releases, as https://docs.github.com/rest answers for them."""

    tags: dict[str, str] = field(default_factory=lambda: {TAG: COMMIT})
    releases: list[dict[str, Any]] = field(default_factory=list)
    assets: dict[str, bytes] = field(default_factory=dict)

    def answer(self, seen: Seen) -> Answer:
        if seen.headers.get("authorization") != "token forge-secret-token":
            return Answer(401, {"message": "Bad credentials"})
        if seen.path == "/api/graphql":  # --verify-tag
            tag = json.loads(seen.body)["variables"]["tagName"].removeprefix("refs/tags/")
            return Answer(body={"data": {"repository": {"ref": {"id": "1"} if tag in self.tags else None}}})
        if seen.path.startswith(f"{API}/git/"):
            return self._refs(seen.method, seen.path.removeprefix(f"{API}/git/"), seen)
        return self._releases(seen)

    def _refs(self, method: str, path: str, seen: Seen) -> Answer:
        kind, _, name = path.partition("/tags/")
        # https://docs.github.com/rest/git/refs#list-matching-references
        if (method, kind) == ("GET", "matching-refs"):
            return Answer(body=json.dumps([{"ref": f"refs/tags/{tag}"} for tag in self.tags if tag.startswith(name)]))
        if (method, kind) == ("GET", "ref"):
            return Answer(200 if name in self.tags else 404, {})
        body = json.loads(seen.body)
        if (method, path) == ("POST", "refs"):
            self.tags[body["ref"].removeprefix("refs/tags/")] = body["sha"]
            return Answer(201, {})
        assert (method, kind, body["force"]) == ("PATCH", "refs", True)
        assert name in self.tags
        self.tags[name] = body["sha"]
        return Answer(body={})

    def _releases(self, seen: Seen) -> Answer:
        host = f"https://{seen.headers['host']}"
        if (seen.method, seen.path) == ("POST", f"{API}/releases"):
            self.releases.append(json.loads(seen.body))
            urls: dict[str, object] = {
                "url": f"{host}{API}/releases/1",
                "upload_url": f"{host}/uploads{{?name,label}}",
                "html_url": host,
            }
            return Answer(201, urls)
        if seen.path == "/uploads":
            self.assets[seen.query["name"][0]] = seen.body
            return Answer(201, {})
        if (seen.method, seen.path) == ("PATCH", f"{API}/releases/1"):
            self.releases[0] |= json.loads(seen.body)
            return Answer(body={"html_url": host})
        return Answer(404, b"" if seen.method == "HEAD" else {"message": "Not Found"})


@dataclass
class Run:
    """The job, with the files that its steps read, and the repository on GitHub."""

    job: GitHubJob
    github: GitHub

    def step(self, name: str, tag: str = TAG) -> Result:
        (workflow,) = yaml_documents((ROOT / ".github" / "workflows" / "release.yml").read_text())
        (step,) = [step for step in workflow["jobs"]["release"]["steps"] if step.get("name") == name]
        context = {
            "${{ github.ref_name }}": tag,
            "${{ github.repository }}": "contoso/acr-token-vending",
            "${{ github.sha }}": COMMIT,
            "${{ github.token }}": "forge-secret-token",
        }
        environment = {variable: context[value] for variable, value in step["env"].items()}
        # The program takes the token for other hosts than GitHub's own from another variable.
        if "GH_TOKEN" in environment:
            environment["GH_ENTERPRISE_TOKEN"] = environment["GH_TOKEN"]
        return self.job.run(step["run"], ("-e",), **environment)


@pytest.fixture
def release(tmp_path: Path) -> Iterator[Run]:
    authority = TestAuthority(tmp_path / "ca")
    with running(authority) as (github, server):
        environment = {
            "GH_HOST": server.url.removeprefix("https://"),
            "GH_NO_UPDATE_NOTIFIER": "1",
            "SSL_CERT_FILE": str(authority.ca_file),
        }
        job = GitHubJob(tmp_path / "job", environment)
        job.environment["PATH"] = f"{debian('gh', 'gh') / 'usr/bin'}:{job.environment['PATH']}"
        for name in ("scripts/version.py", "vending/__init__.py", "CHANGELOG.md"):
            (job.workspace / name).parent.mkdir(exist_ok=True)
            shutil.copy(ROOT / name, job.workspace / name)
        changelog = job.workspace / "CHANGELOG.md"
        changelog.write_text(
            f"# Changelog\n\n## {__version__} (2026-12-01)\n\n- New.\n\n## 0.0.1 (2026-11-01)\n\n- Old.\n"
        )
        (job.workspace / "dist").mkdir()
        (job.workspace / "dist" / "SHA256SUMS").write_text("sums")
        (job.workspace / "dist" / "app.zip").write_bytes(b"zip")
        yield Run(job, github)


@contextmanager
def running(authority: TestAuthority) -> Iterator[tuple[GitHub, Server]]:
    github = GitHub()
    with serve(lambda _server: github.answer, tls=authority.server_context()) as server:
        yield github, server


def test_a_tag_that_is_not_the_version_ends_the_run(release: Run) -> None:
    name = "Compare the tag with the version and the changelog"
    assert release.step(name).exit_code == 0
    assert release.step(name, tag="v9.9.9").exit_code == 1
    (release.job.workspace / "CHANGELOG.md").write_text("# Changelog\n\n## Unreleased\n\n- New.\n")
    assert release.step(name).exit_code == 1


def test_everything_that_was_built_is_published_with_the_notes_of_its_version(release: Run) -> None:
    done = release.step("Publish")
    assert done.exit_code == 0, done.log
    (published,) = release.github.releases
    assert (published["tag_name"], published["body"], published["draft"]) == (TAG, "- New.\n", False)
    assert release.github.assets == {"SHA256SUMS": b"sums", "app.zip": b"zip"}


def test_a_tag_that_is_gone_publishes_nothing(release: Run) -> None:
    release.github.tags.clear()
    assert release.step("Publish").exit_code != 0
    assert release.github.releases == []


def test_the_major_tag_is_made_and_moved(release: Run) -> None:
    assert release.step("Move the major tag").exit_code == 0
    assert release.github.tags[MAJOR] == COMMIT
    release.github.tags[MAJOR] = "an older commit"
    assert release.step("Move the major tag").exit_code == 0
    assert release.github.tags[MAJOR] == COMMIT


@pytest.mark.parametrize(
    ("ahead", "patch", "moves"),
    [(99, "0", False), (0, "10", False), (1, "0-rc1", True)],
    ids=["a later minor version", "a later patch with more digits", "no release"],
)
def test_the_major_tag_moves_to_the_newest_release_alone(release: Run, ahead: int, patch: str, moves: bool) -> None:
    tags = release.github.tags
    tags[MAJOR] = "the newest commit"
    tags[f"{MAJOR}.{int(__version__.split('.')[1]) + ahead}.{patch}"] = "another"
    assert release.step("Move the major tag").exit_code == 0
    assert tags[MAJOR] == (COMMIT if moves else "the newest commit")


def test_the_major_tag_starts_no_release() -> None:
    (workflow,) = yaml_documents((ROOT / ".github" / "workflows" / "release.yml").read_text())
    assert workflow["on"] == {"push": {"tags": ["v[0-9]+.[0-9]+.[0-9]+"]}}
