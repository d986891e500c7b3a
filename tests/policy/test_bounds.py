"""What one file of a directory may say: held when the directory is checked, and when its compiled policy is loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.policy.language import compose, grant, rule
from vending.policy import Environment, PolicyError, load, load_bytes
from vending.policy.compiler.load import compile_directory

if TYPE_CHECKING:
    from pathlib import Path

import json

WEB = {"repositories": ["web/**", "ci/*/web"], "registries": ["prod"], "issuers": ["github"]}
MAIN_MAPS = {"names": {"1": "web/api", "2": "pay/api"}, "web": {"1": "web/api"}}


def write(directory: Path, bounds: dict[str, Any], *rules: Any, **team: Any) -> Path:
    main = compose(files={"team.json": bounds}, maps=MAIN_MAPS)
    (directory / "main.json").write_text(json.dumps(main))
    (directory / "team.json").write_text(json.dumps({"rules": list(rules), **team}))
    return directory


def problems(directory: Path) -> list[tuple[str, str]]:
    try:
        load(directory, Environment())
    except PolicyError as error:
        return [(problem.code, problem.message) for problem in error.problems]
    return []


WITHIN = [
    ("an exact name", rule("r", grant("web/api"))),
    ("a pattern", rule("r", grant("web/x/**", "web/*", "web/**"))),
    ("a template", rule("r", grant("ci/{repository_id}/web", "web/{repository|lower|path}/**"))),
    ("a map of which all values are within", rule("r", grant("{repository_id|web}"))),
    ("a name that one of several patterns covers", rule("r", grant("ci/1/web"))),
]
OUTSIDE = [
    ("another name", rule("r", grant("pay/api")), "pay/api"),
    ("the prefix itself", rule("r", grant("web")), "covers web, for one"),
    ("a wider pattern", rule("r", grant("w*/**")), "for one"),
    ("everything", rule("r", grant("**")), "for one"),
    ("a template that begins with a claim", rule("r", grant("{repository_id}/web")), "for one"),
    ("a template that goes on", rule("r", grant("ci/{repository_id}/web/**")), "for one"),
    ("a map of which one value is outside", rule("r", grant("{repository_id|names}")), "covers pay/api, for one"),
    ("another registry", rule("r", grant("web/api", registry="dev")), "dev"),
    ("one of several registries", rule("r", grant("web/api", registry=["prod", "dev"])), "dev"),
    ("another issuer", rule("r", grant("web/api"), issuer="generic", when={"sub": "me"}), "generic"),
    ("the catalog", rule("r", grant(catalog=True)), "catalog"),
    ("a disabled rule", rule("r", grant("pay/api"), enabled=False), "pay/api"),
    ("a rule in audit mode", rule("r", grant("pay/api"), mode="audit"), "pay/api"),
]


@pytest.mark.parametrize("entry", [row[1] for row in WITHIN], ids=[row[0] for row in WITHIN])
def test_what_is_within_the_bounds_loads(tmp_path: Path, entry: Any) -> None:
    assert problems(write(tmp_path, WEB, entry)) == []


@pytest.mark.parametrize(("entry", "said"), [row[1:] for row in OUTSIDE], ids=[row[0] for row in OUTSIDE])
def test_what_is_outside_the_bounds_is_refused(tmp_path: Path, entry: Any, said: str) -> None:
    [(code, message)] = problems(write(tmp_path, WEB, entry))
    assert code == "out_of_bounds"
    assert said in message
    assert "team.json" in message


def test_several_patterns_together_may_contain_one(tmp_path: Path) -> None:
    bounds = {"repositories": ["web/*", "web/*/**"]}
    assert problems(write(tmp_path, bounds, rule("r", grant("web/**")))) == []
    assert problems(write(tmp_path, {"repositories": ["web/*"]}, rule("r", grant("web/**"))))


def test_keys_that_are_left_out_do_not_bound(tmp_path: Path) -> None:
    assert problems(write(tmp_path, {}, rule("r", grant("x", registry="dev", catalog=True)))) == []


def test_deny_entries_must_be_allowed_and_within(tmp_path: Path) -> None:
    within = {"name": "d", "issuer": "github", "registry": "prod", "repositories": ["web/**"], "actions": ["push"]}
    assert [code for code, _ in problems(write(tmp_path, WEB, deny=[within]))] == ["out_of_bounds"]
    allowed = {**WEB, "deny": True}
    assert problems(write(tmp_path, allowed, deny=[within])) == []
    for key, value in {"issuer": None, "registry": None, "repositories": ["**"]}.items():
        entry = {name: entry for name, entry in {**within, key: value}.items() if entry is not None}
        assert [code for code, _ in problems(write(tmp_path, allowed, deny=[entry]))] == ["out_of_bounds"], key


def test_every_other_file_must_be_listed(tmp_path: Path) -> None:
    write(tmp_path, WEB, rule("r", grant("web/api")))
    (tmp_path / "new.json").write_text(json.dumps({"rules": [rule("n", grant("x"))]}))
    [(code, message)] = problems(tmp_path)
    assert code == "out_of_bounds"
    assert "new.json is not listed under files" in message


def test_the_file_with_the_bounds_is_not_bound(tmp_path: Path) -> None:
    write(tmp_path, WEB)
    main = json.loads((tmp_path / "main.json").read_text())
    (tmp_path / "main.json").write_text(json.dumps({**main, "rules": [rule("r", grant("**"))]}))
    assert problems(tmp_path) == []


def test_who_writes_a_map_is_bound_in_what_others_grant_by_it(tmp_path: Path) -> None:
    write(tmp_path, WEB, maps={"mine": {"1": "pay/api"}})
    main = json.loads((tmp_path / "main.json").read_text())
    (tmp_path / "main.json").write_text(json.dumps({**main, "rules": [rule("r", grant("{repository_id|mine}"))]}))
    [(code, message)] = problems(tmp_path)
    assert code == "out_of_bounds"
    assert "covers pay/api" in message


def test_bounds_name_what_exists(tmp_path: Path) -> None:
    bounds = {"repositories": ["Web", "a***"], "registries": ["nix"], "issuers": ["nobody"]}
    assert {code for code, _ in problems(write(tmp_path, bounds))} == {"repository"}
    bounds = {"repositories": ["a***"], "registries": ["nix"], "issuers": ["nobody"]}
    assert sorted(code for code, _ in problems(write(tmp_path, bounds))) == ["pattern", "reference", "reference"]


def test_the_compiled_policy_keeps_the_bounds(tmp_path: Path) -> None:
    compiled = compile_directory(write(tmp_path, WEB, rule("r", grant("web/api"))), Environment())
    load_bytes(compiled, name="policy.json", environment=Environment(), directory=None)
    data = json.loads(compiled)
    wider = json.dumps({**data, "rules": [rule("r", grant("pay/api"))]}).encode()
    unknown = json.dumps({**data, "rules": [*data["rules"], rule("s", grant("web/api"))]}).encode()
    for changed in (wider, unknown):
        with pytest.raises(PolicyError) as caught:
            load_bytes(changed, name="policy.json", environment=Environment(), directory=None)
        assert [problem.code for problem in caught.value.problems] == ["out_of_bounds"]
