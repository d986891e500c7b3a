"""What was used and what was not, and the patch that only narrows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.evidence.recording import record
from tests.policy.language import NOW
from vending.acr.scope import parse as parse_scopes
from vending.assurance.diff import compare
from vending.evidence.patch import narrowed
from vending.evidence.usage import Row, usage
from vending.policy import Environment, load

if TYPE_CHECKING:
    from pathlib import Path

POLICY = """version: 1
audience: https://vend.contoso.example
registries:
  prod: {login_server: contoso.azurecr.io}
issuers:
  github: {preset: github}
rules:
  - name: web # a comment that stays
    issuer: github
    when: {repository_id: "1"}
    grant:
      - {registry: prod, repositories: [web/api, "web/cache/**", web/old], actions: [pull, push, delete]}
  - name: block
    issuer: github
    when: {repository_id: "1"}
    grant:
      - registry: prod
        repositories:
          - web/ui
          - web/unused
        actions: [pull]
  - name: never-used
    issuer: github
    when: {repository_id: "2"}
    grant: [{registry: prod, repositories: [web/api], actions: [pull]}]
  - name: young
    issuer: github
    when: {repository_id: "3"}
    not_before: 2027-01-10
    grant: [{registry: prod, repositories: [web/api], actions: [pull]}]
"""
ASKED = ["repository:web/api:pull,push", "repository:web/cache/layers:pull,push", "repository:web/ui:pull"]


def rows_of(folder: Path) -> tuple[Any, list[Row]]:
    file = folder / "policy.yaml"
    file.write_text(POLICY)
    policy = load(file, Environment())
    events = [record(policy, {"repository_id": "1"}, parse_scopes(s), NOW - 60, issuer="github")[0] for s in ASKED]
    return policy, usage(policy, events, since=NOW - 90 * 86_400, now=NOW)


def test_unused_rights_come_first_with_what_to_write_instead(tmp_path: Path) -> None:
    _, rows = rows_of(tmp_path)
    told = {(row.key.rule, row.key.repository, row.key.action): (row.used, row.instead) for row in rows}
    assert told["web", "web/api", "push"] == (1, "")
    assert told["web", "web/api", "delete"] == (0, "drop delete on web/api")
    assert told["web", "web/old", "pull"] == (0, "remove web/old from the grant in prod")
    assert told["web", "web/cache/**", "pull"] == (1, "write web/cache/layers instead of web/cache/**")
    assert told["never-used", "web/api", "pull"] == (0, "give the rule an expiry date, or remove it")
    assert ("young", "web/api", "pull") not in told
    assert [row.used > 0 for row in rows] == sorted(row.used > 0 for row in rows)


def test_the_patch_only_narrows_and_leaves_the_rest_of_the_text(tmp_path: Path) -> None:
    old, rows = rows_of(tmp_path)
    text = narrowed(POLICY, rows, "2027-02-01")
    assert "[web/api, web/cache/layers], actions: [pull, push]}" in text
    assert "# a comment that stays" in text
    assert "web/unused" not in text
    assert text.count("expires: 2027-02-01") == 1
    file = tmp_path / "new.yaml"
    file.write_text(text)
    difference = compare(old, load(file, Environment()), NOW)
    assert difference.grew == ()
    assert difference.shrank
    assert difference.not_decided == ()
    untouched = [line for line in POLICY.splitlines() if "repositories" not in line and "unused" not in line]
    assert all(line in text.splitlines() for line in untouched)
