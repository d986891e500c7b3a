"""`check`: what it finds, how it counts, what it exits with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.cli.conftest import HEAD, RULES

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Run, Write

WARNING = HEAD + RULES.replace('repository_id: "123456"', "repository: contoso/web")
INFORMATION = HEAD + RULES.replace("[pull, push, metadata_read]", "[pull]")
BROKEN = HEAD.replace("version: 1", "version: 2") + RULES.replace("pull, push", "pull, shove")


@pytest.mark.parametrize(
    ("text", "options", "status"),
    [
        (HEAD + RULES, [], 0),
        (HEAD + RULES, ["--strict"], 0),
        (INFORMATION, [], 0),
        (INFORMATION, ["--strict"], 0),
        (WARNING, [], 0),
        (WARNING, ["--strict"], 1),
        (BROKEN, [], 1),
        (BROKEN, ["--strict"], 1),
        ("", [], 1),
        ("{", [], 1),
    ],
    ids=[
        "fine",
        "fine-strict",
        "information",
        "information-strict",
        "warning",
        "warning-strict",
        "error",
        "error-strict",
        "empty",
        "no-yaml",
    ],
)
@pytest.mark.parametrize("format_", ["text", "json", "github"])
def test_exit_status_is_that_of_the_worst_finding(
    run: Run, write: Write, text: str, options: list[str], status: int, format_: str
) -> None:
    assert run("check", write("p.yaml", text), "--format", format_, *options).status == status


def test_all_errors_are_reported_at_once_with_line_and_column(run: Run, write: Write) -> None:
    path = write("p.yaml", BROKEN)
    ran = run("check", path)
    assert [line.split(" ")[0] for line in ran.out.splitlines()] == [f"{path}:1:10:", f"{path}:12:67:", f"{path}:"]
    assert ran.out.endswith(f"{path}: 2 errors\n")


def test_each_argument_is_a_policy_of_its_own(run: Run, write: Write) -> None:
    fine, broken = write("fine.yaml", HEAD + RULES), write("broken.yaml", BROKEN)
    ran = run("check", "--format", "json", fine, broken, fine)
    assert ran.status == 1
    assert [(entry["policy"], entry["errors"]) for entry in ran.json["policies"]] == [
        (str(fine), 0),
        (str(broken), 2),
        (str(fine), 0),
    ]


def test_a_directory_is_one_policy(run: Run, write: Write) -> None:
    base = write("teams/base.yaml", HEAD)
    write("teams/web.yml", RULES)
    write("teams/notes.txt", "not a policy")
    ran = run("check", base.parent, "--format", "json")
    assert ran.status == 0
    assert ran.json["policies"][0]["rules"] == 1


def test_a_finding_in_a_directory_names_its_own_file(run: Run, write: Write) -> None:
    base = write("teams/base.yaml", HEAD)
    web = write("teams/web.yaml", RULES.replace("refs/heads/main", "main"))
    problems = run("check", base.parent, "--format", "json").json["policies"][0]["problems"]
    assert [(problem["file"], problem["line"]) for problem in problems] == [(str(web), 4)]


def test_json_says_all_of_it(run: Run, write: Write) -> None:
    path = write("p.yaml", WARNING)
    (entry,) = run("check", "--format", "json", path).json["policies"]
    (problem,) = entry.pop("problems")
    sha256 = entry.pop("sha256")
    assert len(sha256) == 64
    assert entry == {"policy": str(path), "errors": 0, "warnings": 1, "information": 0, "rules": 1, "deny": 0}
    message = problem.pop("message")
    assert problem == {
        "file": str(path),
        "line": 10,
        "column": 5,
        "severity": "warning",
        "code": "no_immutable_id",
    }
    assert "repository_id" in message


def test_github_gets_one_annotation_for_each_finding(
    run: Run, write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_WORKSPACE", str(tmp_path))
    path = write("policies/a,b.yaml", HEAD + RULES.replace("refs/heads/main", "100%"))
    first, *rest = run("check", "--format", "github", path).out.splitlines()
    assert first.startswith(
        "::warning file=policies/a%2Cb.yaml,line=10,col=42,title=impossible_value::no token has '100%25' in ref"
    )
    assert rest[0].startswith("::stop-commands::")
    assert rest[-1] == f"::{rest[0].rpartition('::')[2]}::"
    assert rest[1:-1] == [f"{path}: 1 warning (1 rule, 0 deny entries)"]


@pytest.mark.parametrize(
    ("text", "command"),
    [(INFORMATION, "::notice "), (WARNING, "::warning "), (BROKEN, "::error ")],
    ids=["information", "warning", "error"],
)
def test_severities_are_the_commands_that_github_knows(run: Run, write: Write, text: str, command: str) -> None:
    assert run("check", "--format", "github", write("p.yaml", text)).out.startswith(command)


LOOPBACK = HEAD.replace("contoso.azurecr.io", "localhost:5000") + RULES
CUSTOM = (
    HEAD.replace(
        "login_server: contoso.azurecr.io",
        "login_server: registry.internal, cloud: custom, authority_host: login.internal, "
        "token_audience: https://registry.internal",
    )
    + RULES
)


@pytest.mark.parametrize(
    ("text", "setting", "value"),
    [
        (LOOPBACK, "VENDING_ALLOW_LOOPBACK", "1"),
        (CUSTOM, "VENDING_CUSTOM_HOSTS", "registry.internal, login.internal"),
    ],
    ids=["loopback", "custom"],
)
def test_settings_count_as_in_the_app(
    run: Run, write: Write, monkeypatch: pytest.MonkeyPatch, text: str, setting: str, value: str
) -> None:
    path = write("p.yaml", text)
    assert run("check", path).status == 1
    monkeypatch.setenv(setting, value)
    assert run("check", path).status == 0


def test_other_settings_of_the_app_are_not_needed(run: Run, policy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VENDING_PUBLIC_URL", "not a url")
    monkeypatch.setenv("VENDING_DEADLINE_SECONDS", "soon")
    assert run("check", policy).status == 0


@pytest.mark.parametrize("accepted", [False, True])
def test_a_never_entry_that_cannot_be_proved_may_be_accepted(run: Run, write: Write, accepted: bool) -> None:
    """Ten groups of two alternatives are more combinations than the proof looks at."""
    groups = "".join(f"  c{n}: {{when_any: [{{environment: e{n}}}, {{ref: refs/heads/r{n}}}]}}\n" for n in range(10))
    policy = (
        HEAD
        + f"conditions:\n{groups}"
        + """\
rules:
  - name: web
    issuer: github
    when: {repository_id: "123456"}
    use: [c0, c1, c2, c3, c4, c5, c6, c7, c8, c9]
    grant: [{registry: prod, repositories: [web/api], actions: [pull, metadata_read]}]
never:
  - name: pushes
    issuer: github
    when: {event_name: push}
    repositories: ["web/**"]
    actions: [pull]
"""
        + ('    accept: {never_not_proved: "looked at by two people"}\n' if accepted else "")
    )
    ran = run("check", "--strict", write("policy.yaml", policy))
    assert ("never_not_proved" in ran.out) is not accepted
    assert ran.status == (0 if accepted else 1)
