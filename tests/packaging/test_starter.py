"""The policy repository that `init` writes: it is clean, says what breaks it, and comments on what a change does."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.clients.servers import Answer, Server, serve
from tests.packaging.forges import PLATFORMS, TOKEN, Forge, Platform
from vending.cli.main import main
from vending.policy.language.json_schema import PART_SCHEMA_FILE, SCHEMA_FILE, TESTS_SCHEMA_FILE
from vending.starter import PLATFORMS as WRITTEN_FOR

LABEL = "access-approved"
EACH_PLATFORM = pytest.mark.parametrize("platform", PLATFORMS, ids=lambda platform: platform.name)


@pytest.fixture(scope="module")
def fresh(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fresh")
    assert run(installed, folder, "acr-vending", "init", "repository").returncode == 0
    return folder / "repository"


@pytest.fixture
def repository(fresh: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(fresh, tmp_path / "repository"))


def run(installed: Path, cwd: Path, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    given = {"PATH": f"{installed}:{os.environ['PATH']}", "HOME": str(cwd), **environment}
    return subprocess.run(command, cwd=cwd, env=given, capture_output=True, text=True, check=False, timeout=120)


def replace(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))


def test_a_new_repository_is_clean_and_keeps_its_promises(installed: Path, repository: Path) -> None:
    checked = run(installed, repository, "acr-vending", "check", "--strict", "policy")
    assert (checked.returncode, checked.stderr) == (0, ""), checked.stdout
    tested = run(installed, repository, "acr-vending", "test", "policy", "tests/web.tests.yaml")
    assert tested.returncode == 0, tested.stdout
    assert "4 passed, 0 failed" in tested.stdout


def test_the_files_name_schemas_that_are_there(installed: Path, repository: Path) -> None:
    for name, options in (
        ("policy.schema.json", ()),
        ("policy.part.schema.json", ("--part",)),
        ("policy.tests.schema.json", ("--tests",)),
    ):
        printed = run(installed, repository, "acr-vending", "schema", *options).stdout
        assert json.loads((repository / name).read_text()) == json.loads(printed)
    for file in (repository / "policy").iterdir():
        _, _, schema = file.read_text().splitlines()[0].partition("$schema=")
        assert (file.parent / schema).is_file()
    assert {SCHEMA_FILE.name, PART_SCHEMA_FILE.name, TESTS_SCHEMA_FILE.name} == {
        path.name for path in repository.glob("*.json")
    }


def test_nothing_is_overwritten(installed: Path, repository: Path) -> None:
    (repository / "policy" / "main.yaml").write_text("mine")
    (repository / "ci" / "review.sh").unlink()
    before = {path: path.read_bytes() for path in repository.rglob("*") if path.is_file()}
    again = run(installed, repository, "acr-vending", "init")
    assert again.returncode == 0
    assert "kept  policy/main.yaml, which was there" in again.stdout
    assert [line for line in again.stdout.splitlines() if line.startswith("wrote")] == ["wrote ci/review.sh"]
    assert {path: path.read_bytes() for path in before} == before


def test_the_values_that_are_given_are_in_the_files_and_no_placeholder_is_left(tmp_path: Path) -> None:
    arguments = ["--service", "https://tokens.fabrikam.example", "--registry", "fabrikam.azurecr.io", "--ci", "github"]
    assert main(["init", str(tmp_path), *arguments]) == 0
    text = (tmp_path / "policy" / "main.yaml").read_text()
    assert "audience: https://tokens.fabrikam.example " in text
    assert "login_server: fabrikam.azurecr.io}" in text
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and "{{" in path.read_text().replace("${{", "")]
    assert not (tmp_path / ".gitlab-ci.yml").exists()


@pytest.mark.parametrize("platform", WRITTEN_FOR)
def test_only_the_pipelines_that_are_asked_for_are_written(tmp_path: Path, platform: str) -> None:
    assert main(["init", str(tmp_path), "--ci", platform]) == 0
    pipelines = {".github": "github", ".gitlab-ci.yml": "gitlab", "azure-pipelines.yml": "azure-pipelines"}
    assert [name for name in pipelines if (tmp_path / name).exists()] == [
        name for name, owner in pipelines.items() if owner == platform
    ]


@pytest.mark.parametrize(
    ("file", "old", "new", "place", "code"),
    [
        ("team-web.yaml", "[web/api]", "[payments/api]", "policy/team-web.yaml:12:", "out_of_bounds"),
        ("team-web.yaml", "use: release", "use: relase", "policy/team-web.yaml:7:", "relase"),
        ("team-web.yaml", "[pull, metadata_read]", "[pull, push]", "policy/team-web.yaml:14:", "never_violated"),
    ],
    ids=["outside of the team's bounds", "a name that is not there", "a pull request that pushes"],
)
def test_a_broken_policy_is_told_with_its_line(
    installed: Path, repository: Path, file: str, old: str, new: str, place: str, code: str
) -> None:
    replace(repository / "policy" / file, old, new)
    checked = run(installed, repository, "acr-vending", "check", "--strict", "policy")
    assert checked.returncode == 1
    assert place in checked.stdout
    assert code in checked.stdout
    shutil.copytree(repository / "policy", repository / "base" / "policy")
    reviewed = review(installed, repository)
    assert (reviewed.returncode, verdict(repository)) == (1, "broken")
    assert place in reviewed.stdout
    assert f"\n    {place}" in (repository / "out" / "access.md").read_text()


def review(installed: Path, repository: Path) -> subprocess.CompletedProcess[str]:
    """Compare the repository with the one in its folder `base`."""
    return run(installed, repository, "sh", "ci/review.sh", "base", ".", "out")


def verdict(repository: Path) -> str:
    """Return what the review came to."""
    return (repository / "out" / "verdict").read_text().strip()


@pytest.mark.parametrize("link", ["policy/team-api.yaml", "policy", "tests/more.tests.yaml"])
def test_a_link_is_not_followed(installed: Path, repository: Path, link: str) -> None:
    shutil.copytree(repository / "policy", repository / "base" / "policy")
    place = repository / link
    if place.is_dir():
        place.rename(repository / "elsewhere")
    place.symlink_to(repository / "base" / "policy" if link == "policy" else "web.tests.yaml")
    reviewed = review(installed, repository)
    assert (reviewed.returncode, verdict(repository)) == (1, "broken")
    assert f"{link}\nNo symbolic links" in reviewed.stdout


def test_what_a_broken_policy_says_is_code_in_the_comment(installed: Path, repository: Path) -> None:
    (repository / "base").mkdir()
    replace(repository / "policy" / "team-web.yaml", "use: release", 'use: "x\\r\\n# heading\\n@contoso/platform"')
    assert review(installed, repository).returncode == 1
    _, _, quoted = (repository / "out" / "access.md").read_bytes().decode().partition("\n\n")
    assert quoted
    assert all(line.startswith("    ") for line in quoted.splitlines())


def test_what_a_change_does_is_written_down(installed: Path, repository: Path) -> None:
    shutil.copytree(repository / "policy", repository / "base" / "policy")
    out = repository / "out"
    assert review(installed, repository).returncode == 0
    assert verdict(repository) == "same"
    grow(repository)
    assert review(installed, repository).returncode == 0
    assert verdict(repository) == "grew"
    assert "Access grows for 1 rule" in (out / "access.md").read_text()
    assert "| pull | `web/ui` |" in (out / "access.md").read_text()
    assert "<html" in (out / "access.html").read_text()
    # And the other way round: less is not more.
    shutil.move(repository / "policy", repository / "wider")
    shutil.move(repository / "base" / "policy", repository / "policy")
    shutil.move(repository / "wider", repository / "base" / "policy")
    assert review(installed, repository).returncode == 0
    assert verdict(repository) == "same"
    assert "shrinks" in (out / "access.md").read_text()


@pytest.mark.parametrize("base", ["version: [", None], ids=["does not load", "has none"])
def test_what_cannot_be_compared_counts_as_growth(installed: Path, repository: Path, base: str | None) -> None:
    (repository / "base").mkdir()
    if base:
        (repository / "base" / "policy").mkdir()
        (repository / "base" / "policy" / "main.yaml").write_text(base)
    assert review(installed, repository).returncode == 0
    assert verdict(repository) == "grew"
    assert "target branch" in (repository / "out" / "access.md").read_text()
    assert "<html" in (repository / "out" / "access.html").read_text()


def grow(repository: Path) -> None:
    """Let the release rule pull another repository of the team."""
    grant = "      - {registry: prod, repositories: [web/ui], actions: [pull]}\n"
    replace(repository / "policy" / "team-web.yaml", "push, metadata_read]}\n", f"push, metadata_read]}}\n{grant}")


class Pipeline:
    """`ci/comment.py` in a job of one platform, after a review whose outcome the test writes."""

    def __init__(self, platform: Platform, forge: Forge, server: Server, repository: Path, installed: Path) -> None:
        self.forge, self.server = forge, server
        self._repository, self._installed = repository, installed
        event = repository / "event.json"
        event.write_text(json.dumps({"number": 7}))
        self.variables = platform.variables(server.url) | {"GITHUB_EVENT_PATH": str(event), platform.token: TOKEN}

    def comment(self, access: str, *, grew: bool) -> subprocess.CompletedProcess[str]:
        out = self._repository / "out"
        out.mkdir(exist_ok=True)
        (out / "access.md").write_text(access)
        (out / "verdict").write_text("grew\n" if grew else "same\n")
        done = run(self._installed, self._repository, "python", "ci/comment.py", "out", **self.variables)
        assert TOKEN not in done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done


@contextmanager
def pipeline(platform: Platform, repository: Path, installed: Path) -> Iterator[Pipeline]:
    forge = Forge()
    with serve(lambda _server: lambda seen: forge.instead or platform.answer(forge, seen)) as server:
        yield Pipeline(platform, forge, server, repository, installed)


@EACH_PLATFORM
def test_the_comment_is_updated_in_place(platform: Platform, repository: Path, installed: Path) -> None:
    with pipeline(platform, repository, installed) as job:
        for number in range(120):
            job.forge.add(f"remark {number}", author="somebody")
        assert job.comment("Nothing changes: é\n", grew=False).returncode == 0
        (first,) = job.forge.ours
        assert first.endswith("-->\nNothing changes: é\n")
        assert job.comment("Access shrinks.\n", grew=False).returncode == 0
        (second,) = job.forge.ours
        assert second.endswith("-->\nAccess shrinks.\n")


@EACH_PLATFORM
def test_growth_needs_the_label(platform: Platform, repository: Path, installed: Path) -> None:
    with pipeline(platform, repository, installed) as job:
        refused = job.comment("Access grows.\n", grew=True)
        assert refused.returncode == 1
        assert f"sets the label {LABEL}" in refused.stderr
        job.forge.labels |= {"other", "access"}
        assert job.comment("Access grows.\n", grew=True).returncode == 1
        job.forge.labels.add(LABEL)
        assert job.comment("Access grows.\n", grew=True).returncode == 0
        assert job.comment("Access grows.\n", grew=True).returncode == 0
        assert job.forge.labels == {"other", "access", LABEL}
        assert len(job.forge.ours) == 1


@EACH_PLATFORM
def test_an_approval_holds_only_for_what_was_shown(platform: Platform, repository: Path, installed: Path) -> None:
    with pipeline(platform, repository, installed) as job:
        job.forge.labels.add(LABEL)
        assert job.comment("Access grows.\n", grew=True).returncode == 1, "set before anything was shown"
        assert job.forge.labels == set()
        job.forge.labels.add(LABEL)
        assert job.comment("Access grows.\n", grew=True).returncode == 0
        more = job.comment("Access grows more.\n", grew=True)
        assert more.returncode == 1
        assert "other access than was approved" in more.stderr
        assert job.forge.labels == set()
        assert job.comment("Access grows more.\n", grew=True).returncode == 1
        job.forge.labels.add(LABEL)
        job.forge.refuse_removal = True
        assert job.comment("Access grows still more.\n", grew=True).returncode == 1
        assert job.forge.ours[0].endswith("Access grows more.\n"), "or the next run would take the label for its own"


@EACH_PLATFORM
def test_a_comment_that_somebody_else_prepared_approves_nothing(
    platform: Platform, repository: Path, installed: Path
) -> None:
    with pipeline(platform, repository, installed) as job:
        job.comment("Access grows.\n", grew=True)
        (prepared,) = job.forge.ours
        job.forge.comments.clear()
        job.forge.add(prepared, author="the author of the change")
        job.forge.labels.add(LABEL)
        assert job.comment("Access grows.\n", grew=True).returncode == 1
        assert job.forge.comments[0].body == prepared


@EACH_PLATFORM
@pytest.mark.parametrize(
    "answer",
    [
        Answer(401, '{"message": "Bad credentials"}'),
        Answer(403, '{"message": "Resource not accessible by integration"}'),
        Answer(500, "<html>"),
        Answer(200, "<html>a page to sign in</html>"),
        Answer(200, '{"surprising": []}'),
        Answer(200, "[1]"),
        Answer(302, "", {"Location": "/elsewhere"}),
        Answer(hang_up=True),
    ],
    ids=["401", "403", "500", "a page", "another shape", "a list of numbers", "a redirect", "no answer"],
)
def test_an_api_that_fails_is_an_error_and_tells_no_token(
    platform: Platform, repository: Path, installed: Path, answer: Answer
) -> None:
    with pipeline(platform, repository, installed) as job:
        job.forge.instead = answer
        failed = job.comment("Nothing changes.\n", grew=False)
        assert failed.returncode == 1
        assert failed.stderr.startswith("The comment could not be written: ")
        assert len(failed.stderr.splitlines()) == 1
        assert len(job.server.seen) == 1, "a redirect would take the token along"


@EACH_PLATFORM
def test_a_missing_variable_is_named(platform: Platform, repository: Path, installed: Path) -> None:
    with pipeline(platform, repository, installed) as job:
        del job.variables[platform.token]
        failed = job.comment("Nothing changes.\n", grew=False)
        assert (failed.returncode, failed.stderr) == (1, f"The variable {platform.token} is not set.\n")
        assert job.server.seen == []


def test_elsewhere_it_says_where_it_runs(repository: Path, installed: Path) -> None:
    out = repository / "out"
    out.mkdir()
    refused = run(installed, repository, "python", "ci/comment.py", "out")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "GitHub Actions, GitLab CI or Azure Pipelines" in refused.stderr
