"""A directory of files is one policy, and compiles to one JSON file that says the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.policy.language import GITHUB, ask
from vending.policy import Environment, PolicyError, load, load_bytes, load_with_source
from vending.policy.compiler.load import compile_directory
from vending.policy.language.problems import Code

MAIN = """\
version: 1
audience: https://vend.contoso.example
registries:
  prod: {login_server: contoso.azurecr.io}
issuers:
  github:
    preset: github
"""
WEB = """\
# the web team's
rules:
  - name: web
    issuer: github
    when: {repository_id: "1"}
    grant:
      - {registry: prod, repositories: ["{repository_id|images}"], actions: [pull, push]}
    expires: 2027-06-30
maps:
  images: {"1": web/api}
"""
OPS = json.dumps({"deny": [{"name": "no-push", "repositories": ["base/**"], "actions": ["push"]}]}, indent=2)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    directory = tmp_path / "policies"
    directory.mkdir()
    (directory / "main.yaml").write_text(MAIN)
    (directory / "web.yml").write_text(WEB)
    (directory / "ops.json").write_text(OPS)
    return directory


def problems_of(directory: Path) -> list[tuple[str, int, int, str]]:
    with pytest.raises(PolicyError) as caught:
        load(directory, Environment())
    prefix = f"{directory}/"
    return [(p.file.removeprefix(prefix), p.line, p.column, p.code) for p in caught.value.problems]


def compiled(directory: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(compile_directory(directory, Environment()))
    return loaded


def test_directory_loads_as_one_policy(home: Path) -> None:
    policy = load(home, Environment())
    assert ask(policy, "repository:web/api:push", GITHUB).rules == ("web",)
    assert [deny.name for deny in policy.rules["github"].denies] == ["no-push"]


def test_compiled_policy_decides_as_the_directory_does(home: Path) -> None:
    from_directory = load(home, Environment())
    again = load_bytes(
        compile_directory(home, Environment()), name="policy.json", environment=Environment(), directory=None
    )
    for scope in ("repository:web/api:push", "repository:base/x:push", None):
        assert ask(again, scope, GITHUB) == ask(from_directory, scope, GITHUB)


def test_directory_has_the_digest_of_its_compiled_policy(home: Path) -> None:
    compiled_policy = load_bytes(
        compile_directory(home, Environment()), name="policy.json", environment=Environment(), directory=None
    )
    assert load(home, Environment()).sha256 == compiled_policy.sha256


def test_compiling_twice_gives_the_same_bytes(home: Path) -> None:
    assert compile_directory(home, Environment()) == compile_directory(home, Environment())


def test_entries_keep_their_file_and_line(home: Path) -> None:
    assert compiled(home)["sources"] == {
        "registries": {"prod": "main.yaml:4:3"},
        "issuers": {"github": "main.yaml:6:3"},
        "maps": {"images": "web.yml:10:3"},
        "rules": {"web": "web.yml:3:5"},
        "deny": {"no-push": "ops.json:3:5"},
    }


def test_rules_of_a_compiled_policy_know_where_they_were_written(home: Path) -> None:
    policy = load_bytes(
        compile_directory(home, Environment()), name="policy.json", environment=Environment(), directory=None
    )
    [rule] = policy.rules["github"].rules
    assert rule.origin == "web.yml:3:5"


def test_errors_in_a_compiled_policy_name_the_original_place(home: Path) -> None:
    data = compiled(home)
    data["rules"][0]["grant"][0]["registry"] = "nowhere"
    with pytest.raises(PolicyError) as caught:
        load_bytes(json.dumps(data).encode(), name="policy.json", environment=Environment(), directory=None)
    [problem] = caught.value.problems
    assert (problem.file, problem.line, problem.column) == ("web.yml", 3, 5)


def test_errors_in_a_directory_name_file_line_and_column(home: Path) -> None:
    (home / "web.yml").write_text(WEB.replace("registry: prod", "registry: nowhere"))
    (home / "ops.json").write_text(OPS.replace('"push"', '"pusch"'))
    assert problems_of(home) == [("ops.json", 9, 9, Code.VALUE), ("web.yml", 7, 20, Code.REFERENCE)]
    (home / "ops.json").write_text(OPS)
    assert problems_of(home) == [("web.yml", 7, 20, Code.REFERENCE)]


def test_reading_errors_in_a_directory_are_reported_together(home: Path) -> None:
    (home / "main.yaml").write_text(MAIN + "limits: {max_scopes: 0x1}\n")
    (home / "web.yml").write_text(WEB.replace("issuer: github", "issuer: ~"))
    assert problems_of(home) == [("main.yaml", 8, 22, Code.AMBIGUOUS_SCALAR), ("web.yml", 4, 13, Code.EMPTY)]


def test_broken_file_does_not_hide_the_others(home: Path) -> None:
    (home / "main.yaml").write_text("a: [")
    (home / "ops.json").write_text("{")
    assert [(file, code) for file, _, _, code in problems_of(home)] == [
        ("main.yaml", Code.SYNTAX),
        ("ops.json", Code.SYNTAX),
    ]


def test_one_rule_name_in_two_files_is_an_error(home: Path) -> None:
    (home / "zz.yaml").write_text(WEB.split("maps:", maxsplit=1)[0])
    assert problems_of(home) == [("zz.yaml", 3, 11, Code.DUPLICATE_NAME)]


def test_one_map_name_in_two_files_is_an_error(home: Path) -> None:
    (home / "zz.yaml").write_text('maps:\n  images: {"2": web/ui}\n')
    assert problems_of(home) == [("zz.yaml", 2, 3, Code.DUPLICATE_NAME)]


@pytest.mark.parametrize(
    "section", ["version: 1", "limits: {max_scopes: 1}", "registries: {dev: {login_server: fabrikam.azurecr.io}}"]
)
def test_everything_but_rules_denies_and_maps_stands_in_one_file(home: Path, section: str) -> None:
    (home / "zz.yaml").write_text(section + "\n")
    assert problems_of(home) == [("zz.yaml", 1, 1, Code.CONFLICT)]


def test_unknown_section_in_any_file_is_an_error(home: Path) -> None:
    (home / "zz.yaml").write_text("tests: []\n")
    assert problems_of(home) == [("zz.yaml", 1, 1, Code.UNKNOWN_KEY)]


def test_missing_version_is_missed_once(home: Path) -> None:
    (home / "main.yaml").write_text(MAIN.replace("version: 1\n", ""))
    assert problems_of(home) == [("main.yaml", 1, 1, Code.MISSING_KEY)]


def test_sources_are_not_written_by_hand(home: Path) -> None:
    (home / "zz.yaml").write_text("sources: {}\n")
    assert problems_of(home) == [("zz.yaml", 1, 1, Code.CONFLICT)]


def test_directory_without_policy_files_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("nothing")
    assert [code for *_, code in problems_of(tmp_path)] == [Code.FILE]


def test_only_policy_files_of_the_directory_itself_are_read(home: Path) -> None:
    (home / ".hidden.yaml").write_text("a: [")
    (home / "notes.txt").write_text("a: [")
    (home / "below").mkdir()
    (home / "below" / "x.yaml").write_text("a: [")
    (home / "folder.yaml").mkdir()
    load(home, Environment())


def test_keys_and_certificates_are_written_into_the_compiled_policy(home: Path, public_jwk: dict[str, str]) -> None:
    (home / "keys").mkdir()
    (home / "keys" / "github.jwks").write_text(json.dumps({"keys": [public_jwk]}))
    (home / "main.yaml").write_text(MAIN + "    jwks_file: keys/github.jwks\n")
    issuer = compiled(home)["issuers"]["github"]
    assert issuer == {"preset": "github", "jwks": {"keys": [public_jwk]}}
    policy = load(home, Environment())
    assert policy.files == ((home / "keys" / "github.jwks").resolve(),)
    assert policy.issuers["https://token.actions.githubusercontent.com"].verification.static_keys == issuer["jwks"]


def test_dates_and_strange_text_survive_compiling(home: Path) -> None:
    (home / "web.yml").write_text(WEB.replace('repository_id: "1"', 'repository_id: "1", x: "\\u202e\\u00e9"'))
    data = compiled(home)
    assert data["rules"][0]["expires"] == "2027-06-30"
    assert data["rules"][0]["when"]["x"] == "\u202e\u00e9"
    load_bytes(json.dumps(data).encode(), name="p.json", environment=Environment(), directory=None)


def test_model_and_document_are_kept_for_the_linter(home: Path) -> None:
    loaded = load_with_source(home, Environment())
    assert [rule.name for rule in loaded.model.rules] == ["web"]
    [(file, place)] = loaded.document.locate([(("rules", 0, "when", "repository_id"), False)])
    assert (file, place.line, place.column) == (str(home / "web.yml"), 5, 27)


def test_json_and_yaml_files_of_one_directory_say_the_same_as_either_alone(home: Path, tmp_path: Path) -> None:
    """The main file is JSON, one team writes YAML, another JSON; days and templates mean the same in both."""
    mixed = tmp_path / "mixed"
    mixed.mkdir()
    main: dict[str, Any] = {
        "version": 1,
        "audience": "https://vend.contoso.example",
        "registries": {"prod": {"login_server": "contoso.azurecr.io"}},
        "issuers": {"github": {"preset": "github"}},
    }
    (mixed / "main.json").write_text(json.dumps(main, indent=2))
    (mixed / "ops.json").write_text(OPS)
    (mixed / "web.yaml").write_text(WEB)
    said, same = compiled(home), compiled(mixed)
    assert said.pop("sources") != same.pop("sources")
    assert said == same
    assert said["rules"][0]["expires"] == "2027-06-30"


def test_mistakes_are_reported_in_the_file_that_has_them_whatever_its_form(home: Path) -> None:
    (home / "ops.json").write_text(OPS.replace('"push"', '"pusch"'))
    (home / "web.yml").write_text(WEB.replace("expires: 2027-06-30", "expires: 2027-06-31"))
    assert [(file, line, code) for file, line, _, code in problems_of(home)] == [
        ("ops.json", 9, Code.VALUE),
        ("web.yml", 8, Code.DATE),
    ]
