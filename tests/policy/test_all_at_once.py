"""No mistake hides one of another entry, and none is blamed on what merely refers to it."""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.policy.language import compose, rule
from tests.support.examples import examples
from vending.policy import Environment, PolicyError, load, load_bytes
from vending.policy.language.omission import Omission, validate_rest
from vending.policy.language.problems import Code, Location, Problem
from vending.policy.language.reader import read
from vending.policy.language.structure import validate

GUID = "00000000-0000-0000-0000-000000000001"
ENVIRONMENT = Environment(custom_hosts=frozenset({"r.example", "l.example"}))

POLICY: dict[str, Any] = {
    "version": 1,
    "audience": "https://vend.contoso.example",
    "registries": {
        "prod": {
            "login_server": "contoso.azurecr.io",
            "hosts": ["contoso.eastus.geo.azurecr.io"],
            "identity": "partner",
        },
        "dev": {"login_server": "contosodev.azurecr.io"},
        "own": {
            "cloud": "custom",
            "login_server": "r.example",
            "authority_host": "l.example",
            "token_audience": "https://r.example",
        },
    },
    "identities": {
        "default": {"type": "managed_identity", "client_id": GUID},
        "partner": {"type": "federated_app", "tenant_id": GUID, "client_id": GUID, "managed_identity": "default"},
        "app": {
            "type": "service_principal",
            "tenant_id": GUID,
            "client_id": GUID,
            "secret_setting": "VENDING_SECRET_A",
        },
        "pod": {"type": "workload_identity"},
        "laptop": {"type": "developer"},
    },
    "issuers": {
        "github": {"preset": "github"},
        "gitlab": {"preset": "gitlab", "issuer": "https://gitlab.contoso.example", "algorithms": ["RS256", "ES256"]},
        "cluster": {"preset": "kubernetes", "issuer": "https://oidc.example/cluster-1"},
        "other": {"preset": "generic", "issuer": "https://idp.example", "identity_claims": ["sub"]},
        "last": {"preset": "generic", "issuer": "https://last.example"},
    },
    "maps": {"images": {"1": "web/api", "2": "web/ui"}, "teams": {"a": "team/a"}},
    "rules": [
        {
            "name": "first",
            "issuer": "github",
            "when": {"repository_id": "1", "ref": ["refs/heads/main", "refs/tags/v*"]},
            "unless": {"actor": ["*[bot]"], "ref_type": "branch"},
            "grant": [
                {
                    "registry": "prod",
                    "repositories": ["web/api", "web/cache/**", "{repository_id|images}", "{ref|teams}"],
                    "actions": ["pull", "push"],
                },
                {"registry": "dev", "repositories": ["a"], "actions": ["pull"]},
                {"registry": "dev", "catalog": True},
            ],
            "expires": "2027-06-30",
            "mode": "enforce",
        },
        rule("unpinned", when={"repository_id": "1", "ref": "x", "environment": ["a", "b"]}),
        rule("referring", issuer="other", when={"sub": "me", "x": "y"}, unless={"y": "z"}),
        rule("several", issuer=["last", "other"], when={"sub": "me"}, description="text"),
        rule("whole"),
        rule("named", issuer="cluster", when={"sub": "me"}),
        rule("missing", unless={"ref": "y"}),
        rule("numbers", when={"repository_id": "1", "ref": "x"}, enabled=True),
        rule("sound"),
        rule("using", use=["people", "release"], when={"repository_id": {"in": "ids"}, "head_ref": {"absent": True}}),
        rule(
            "any",
            when={"ref": "x"},
            when_any=[{"repository_id": "1"}, {"repository_id": ["2", "3"]}],
            not_before="2027-01-01",
        ),
    ],
    "deny": [
        {"name": "all", "repositories": ["secret/**", "x"], "actions": ["delete", "push"]},
        {
            "name": "some",
            "issuer": "github",
            "when": {"ref": "x"},
            "unless": {"ref": "y"},
            "repositories": ["**"],
            "actions": ["push"],
        },
        {"name": "half", "registry": "dev", "repositories": ["a"], "actions": ["push"]},
    ],
    "conditions": {
        "people": {"unless": {"actor": "*[bot]"}},
        "release": {"when": {"ref": "refs/heads/main"}, "when_any": [{"environment": "a"}, {"environment": "b"}]},
    },
    "lists": {"ids": ["1", "2"], "words": ["a", "b"]},
    "never": [{"name": "secrets", "repositories": ["secret/**"], "actions": ["pull"]}],
    "limits": {"requests_per_minute": 600, "max_scopes": 32},
    "audit": {"claims": ["actor", "email"]},
}


@dataclass(frozen=True)
class Raw:
    """Text to be written unchanged."""

    text: str


@dataclass(frozen=True)
class Twice:
    """Two values under one key."""

    first: Any
    second: Any


GONE = Raw("")


@dataclass(frozen=True, eq=False)
class Flaw:
    """Put `value` at `path`, and expect one problem there; at the key where the code points at keys, or at `place`."""

    code: Code
    path: Location
    value: Any
    place: Location | None = None
    at_key: bool = False


def flaw(code: Code, path: str, value: Any, place: str | None = None, *, at_key: bool = False) -> Flaw:
    return Flaw(code, _path(path), value, None if place is None else _path(place), at_key)


def _path(text: str) -> Location:
    return tuple(int(step) if step.isdigit() else step.replace("%", "/") for step in text.split())


FLAWS = [
    flaw(Code.VALUE, "version", 2),
    flaw(Code.AUDIENCE, "audience", "http://vend.contoso.example"),
    flaw(Code.REGISTRY_HOST, "registries prod login_server", "contoso.example"),
    flaw(Code.VALUE, "registries prod hosts 0", "HOST"),
    flaw(Code.REFERENCE, "registries prod identity", "nobody"),
    flaw(Code.UNKNOWN_KEY, "registries prod bogus", 1, at_key=True),
    flaw(Code.MISSING_KEY, "registries dev login_server", GONE, "registries dev", at_key=True),
    flaw(Code.REGISTRY_HOST, "registries dev service", "contosodev.eastus.geo.azurecr.io"),
    flaw(Code.VALUE, "registries own authority_host", "https://l.example"),
    flaw(Code.MISSING_KEY, "registries own token_audience", GONE, "registries own", at_key=True),
    flaw(Code.VALUE, "identities default client_id", "x"),
    flaw(
        Code.CONFLICT,
        "identities default resource_id",
        f"/subscriptions/{GUID}/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/i",
        at_key=True,
    ),
    flaw(Code.REFERENCE, "identities partner managed_identity", "nobody"),
    flaw(Code.MISSING_KEY, "identities partner tenant_id", GONE, "identities partner", at_key=True),
    flaw(Code.VALUE, "identities app client_id", 5),
    flaw(Code.CONFLICT, "identities app secret_setting", GONE, "identities app"),
    flaw(Code.UNKNOWN_KEY, "identities pod bogus", 1, at_key=True),
    flaw(Code.VALUE, "identities laptop type", "desktop"),
    flaw(Code.CONFLICT, "issuers github identity_claims", ["sub"], at_key=True),
    flaw(Code.VALUE, "issuers github enabled", "yes"),
    flaw(Code.KEYS, "issuers github jwks", {"keys": []}),
    flaw(Code.UNKNOWN_KEY, "issuers github bogus", 1, at_key=True),
    flaw(Code.ISSUER_URL, "issuers gitlab issuer", "http://gitlab.contoso.example"),
    flaw(Code.VALUE, "issuers gitlab algorithms 0", "HS256"),
    flaw(Code.VALUE, "issuers gitlab algorithms 1", "none"),
    flaw(Code.VALUE, "issuers gitlab max_token_lifetime", "31d"),
    flaw(Code.MISSING_KEY, "issuers cluster issuer", GONE, "issuers cluster", at_key=True),
    flaw(Code.VALUE, "issuers cluster replay", "never"),
    flaw(Code.POINTER, "issuers other identity_claims 0", "/a~2"),
    flaw(Code.VALUE, "issuers other issuer", "https://idp.example?x"),
    flaw(Code.MISSING_KEY, "issuers last preset", GONE, "issuers last", at_key=True),
    flaw(Code.ISSUER_URL, "issuers last issuer", "http://last.example"),
    flaw(Code.REPOSITORY, "maps images 1x", "Web"),
    flaw(Code.EMPTY, "maps images 1y", Raw("null")),
    flaw(Code.CONFLICT, "maps lower", {"a": "b"}, at_key=True),
    # many in one rule
    flaw(Code.VALUE, "rules 0 name", "a b"),
    flaw(Code.CLAIM_TYPE, "rules 0 when repository_id", 5),
    flaw(Code.PATTERN, "rules 0 when ref 0", "***"),
    flaw(Code.VALUE, "rules 0 when ref 1", ["a"]),
    flaw(Code.POINTER, "rules 0 when %a~2", "x", at_key=True),
    flaw(Code.EMPTY, "rules 0 unless actor", [], at_key=True),
    flaw(Code.AMBIGUOUS_SCALAR, "rules 0 unless ref_type", Raw("1.5")),
    flaw(Code.REFERENCE, "rules 0 grant 0 registry", "nix"),
    flaw(Code.REPOSITORY, "rules 0 grant 0 repositories 0", "A"),
    flaw(Code.PATTERN, "rules 0 grant 0 repositories 1", "***"),
    flaw(Code.REPOSITORY, "rules 0 grant 0 repositories 2", "{repository_id|none}"),
    flaw(Code.REPOSITORY, "rules 0 grant 0 repositories 3", "x-{ref}"),
    flaw(Code.VALUE, "rules 0 grant 0 actions 0", "pul"),
    flaw(Code.VALUE, "rules 0 grant 0 actions 1", 7),
    flaw(Code.CONFLICT, "rules 0 grant 1 actions", GONE, "rules 0 grant 1 repositories", at_key=True),
    flaw(Code.UNKNOWN_KEY, "rules 0 grant 1 bogus", 1, at_key=True),
    flaw(Code.MISSING_KEY, "rules 0 grant 2 catalog", GONE, "rules 0 grant 2"),
    flaw(Code.DATE, "rules 0 expires", "2026-02-30"),
    flaw(Code.VALUE, "rules 0 mode", "dry-run"),
    flaw(Code.UNKNOWN_KEY, "rules 0 bogus", 1, at_key=True),
    # the others
    flaw(Code.UNPINNED, "rules 1 when repository_id", "1*", "rules 1 when", at_key=True),
    flaw(Code.DUPLICATE_KEY, "rules 1 when ref", Twice("x", "y")),
    flaw(Code.PATTERN, "rules 1 when environment 0", "***"),
    flaw(Code.AMBIGUOUS_SCALAR, "rules 1 when environment 1", Raw("1e3")),
    flaw(Code.REFERENCE, "rules 2 issuer", "nobody"),
    flaw(Code.PATTERN, "rules 2 when x", "a***"),
    flaw(Code.POINTER, "rules 2 unless %~", "x", at_key=True),
    flaw(Code.VALUE, "rules 2 unless y", {"a": "b"}),
    flaw(Code.DUPLICATE_NAME, "rules 3 issuer 1", "last"),
    flaw(Code.MISSING_KEY, "rules 3 grant", GONE, "rules 3"),
    flaw(Code.VALUE, "rules 3 description", 5),
    flaw(Code.VALUE, "rules 4", "text"),
    flaw(Code.DUPLICATE_NAME, "rules 5 name", "sound", "rules 8 name"),
    flaw(Code.VALUE, "rules 5 grant 0 actions", "pull"),
    flaw(Code.REFERENCE, "rules 5 grant 0 registry", "nix"),
    flaw(Code.MISSING_KEY, "rules 6 when", GONE, "rules 6"),
    flaw(Code.PATTERN, "rules 6 unless ref", "****"),
    flaw(Code.EMPTY, "rules 7 when repository_id", Raw("null")),
    flaw(Code.CLAIM_TYPE, "rules 7 when ref", True),
    flaw(Code.DUPLICATE_KEY, "rules 7 enabled", Twice(True, False)),
    flaw(Code.CONFLICT, "deny 0 unless", {"ref": "x"}, at_key=True),
    flaw(Code.REFERENCE, "deny 0 registry", "nix"),
    flaw(Code.REPOSITORY, "deny 0 repositories 0", "{ref}"),
    flaw(Code.PATTERN, "deny 0 repositories 1", "****"),
    flaw(Code.VALUE, "deny 0 actions 0", "*"),
    flaw(Code.CLAIM_TYPE, "deny 1 when ref", True),
    flaw(Code.PATTERN, "deny 1 unless ref", "***"),
    flaw(Code.MISSING_KEY, "deny 1 name", GONE, "deny 1"),
    flaw(Code.UNKNOWN_KEY, "deny 1 mode", "audit", at_key=True),
    flaw(Code.CONFLICT, "deny 2 actions", GONE, "deny 2 repositories", at_key=True),
    flaw(Code.REFERENCE, "deny 2 issuer", "nobody"),
    flaw(Code.REFERENCE, "rules 9 use 0", "nobody"),
    flaw(Code.REFERENCE, "rules 9 when repository_id in", "nothing", "rules 9 when repository_id in"),
    flaw(Code.VALUE, "rules 9 when head_ref absent", False),
    flaw(Code.UNPINNED, "rules 10 when_any 0 repository_id", "1*", "rules 10 when", at_key=True),
    flaw(Code.DATE, "rules 10 not_before", "2027-02-30"),
    flaw(Code.VALUE, "conditions people unless actor", {"a": "b"}),
    flaw(Code.UNKNOWN_KEY, "conditions release use", "people", at_key=True),
    flaw(Code.VALUE, "lists words 0", [1]),
    flaw(Code.REFERENCE, "never 0 registry", "nix"),
    flaw(Code.VALUE, "limits max_scopes", 0),
    flaw(Code.EMPTY, "limits requests_per_minute", Raw("null")),
    flaw(Code.UNKNOWN_KEY, "limits bogus", 1, at_key=True),
    flaw(Code.POINTER, "audit claims 0", "/a~2"),
    flaw(Code.VALUE, "audit claims 1", 5),
    flaw(Code.UNKNOWN_KEY, "bogus", {}, at_key=True),
]
"""Mistakes that have nothing to do with each other, so that any number of them can be made at once."""


@cache
def quoted(text: str) -> str:
    return json.dumps(text)


class Page:
    """Write data as JSON, which is YAML as well, a value a line, and note the place of every key and value."""

    def __init__(self, data: Any) -> None:
        self.lines: list[str] = [""]
        self.values: dict[Location, tuple[int, int]] = {}
        self.keys: dict[Location, tuple[int, int]] = {}
        self._write((), data)
        self.text = "\n".join(self.lines)

    def _here(self) -> tuple[int, int]:
        return len(self.lines), len(self.lines[-1]) + 1

    def _put(self, text: str) -> None:
        self.lines[-1] += text

    def _write(self, path: Location, data: Any) -> None:
        self.values.setdefault(path, self._here())
        if isinstance(data, dict):
            pairs = [
                (key, item)
                for key, value in data.items()
                for item in ([value.first, value.second] if isinstance(value, Twice) else [value])
            ]
            self._put("{")
            for number, (key, value) in enumerate(pairs):
                self.lines.append("," * (number > 0) + " " * len(path))
                self.keys[(*path, key)] = self._here()  # Of a key that is a duplicate, the place of the second one.
                self._put(f"{quoted(key)}: ")
                self._write((*path, key), value)
            self._put("}")
        elif isinstance(data, list):
            self._put("[")
            for index, value in enumerate(data):
                self.lines.append("," * (index > 0) + " " * len(path))
                self._write((*path, index), value)
            self._put("]")
        else:
            self._put(
                data.text if isinstance(data, Raw) else quoted(data) if isinstance(data, str) else json.dumps(data)
            )

    def place(self, path: Location, *, at_key: bool) -> tuple[int, int]:
        return self.keys[path] if at_key and path in self.keys else self.values[path]


def spoil(flaws: list[Flaw]) -> Any:
    data: Any = POLICY
    for each in flaws:
        data = changed(data, each.path, each.value)
    return data


def changed(node: Any, path: Location, value: Any) -> Any:
    """Return a copy with the value at the path; it shares with the original whatever is not on the path."""
    step, *rest = path
    made = copy.copy(node)
    if rest:
        made[step] = changed(node[step], tuple(rest), value)
    elif value is GONE:
        del made[step]
    else:
        made[step] = value
    return made


def problems(text: str, suffix: str) -> list[tuple[int, int, str]]:
    with pytest.raises(PolicyError) as caught:
        load_bytes(text.encode(), name=f"policy{suffix}", environment=ENVIRONMENT, directory=None)
    return [placed(problem) for problem in caught.value.problems]


def placed(problem: Problem) -> tuple[int, int, str]:
    return problem.line, problem.column, problem.code


@cache
def is_of_form(only: Flaw) -> bool:
    """Return whether a mistake breaks the form of its entry: the reader or the models object to it."""
    document = read(Page(spoil([only])).text.encode(), "policy.json")
    return bool(document.problems or validate(document.data)[1])


def entry_of(path: Location) -> Location:
    return path[: 1 if path[0] in {"limits", "audit"} else 2]


def shown(flaws: list[Flaw]) -> list[Flaw]:
    """Return the mistakes that must be reported: an entry that is broken in form may hide its others."""
    broken = {entry_of(each.path) for each in flaws if is_of_form(each)}
    return [each for each in flaws if is_of_form(each) or entry_of(each.path) not in broken]


def expect_exactly(flaws: list[Flaw], suffix: str) -> None:
    page = Page(spoil(flaws))
    flaws = shown(flaws)
    expected = [
        (*page.place(each.place or each.path, at_key=each.at_key or isinstance(each.value, Twice)), each.code)
        for each in flaws
    ]
    assert sorted(problems(page.text, suffix)) == sorted(expected)


def test_the_policy_without_flaws_loads() -> None:
    load_bytes(Page(POLICY).text.encode(), name="policy.yaml", environment=ENVIRONMENT, directory=None)


# Reading YAML takes long, and what judges a policy sees only what was read: each mistake is made alone in JSON, and
# several are made at once to see that they are read in YAML alike.


@pytest.mark.parametrize("only", FLAWS, ids=lambda each: "/".join(map(str, each.path)))
def test_each_mistake_is_reported_alone_at_its_place(only: Flaw) -> None:
    expect_exactly([only], ".json")


@pytest.mark.parametrize("number", range(8))
def test_every_eighth_mistake_is_reported_at_its_place_in_yaml(number: int) -> None:
    expect_exactly(FLAWS[number::8], ".yaml")


@pytest.mark.parametrize("suffix", [".json", ".yaml"])
def test_all_mistakes_are_reported_at_once(suffix: str) -> None:
    expect_exactly(FLAWS, suffix)


@examples(150)
@given(
    st.lists(st.sampled_from(FLAWS), min_size=2, max_size=12, unique_by=lambda each: each.path),
    st.sampled_from([".json", ".yaml"]),
)
def test_any_mistakes_are_reported_at_once_and_nothing_besides(flaws: list[Flaw], suffix: str) -> None:
    expect_exactly(flaws, suffix)


# --- What only refers to a mistake is not blamed ----------------------------------------------------------------------


def paths_in(data: Any, path: Location = ()) -> list[Location]:
    inner = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [found for step, value in inner for found in [(*path, step), *paths_in(value, (*path, step))]]


def put(path: Location, value: Any) -> Any:
    return spoil([Flaw(Code.VALUE, path, value)])


def at(path: Location) -> Any:
    node: Any = POLICY
    for step in path:
        node = node[step]
    return node


EVERYWHERE = pytest.mark.parametrize("path", paths_in(POLICY), ids=lambda path: "/".join(map(str, path)))


# Here too each is alone in JSON; in YAML are all of one depth at once.


@EVERYWHERE
def test_value_left_out_is_the_only_thing_reported(path: Location) -> None:
    page = Page(put(path, Raw("null")))
    assert [place for *place, _ in problems(page.text, ".json")] == [[*page.values[path]]]


@EVERYWHERE
def test_value_that_cannot_be_read_is_the_only_thing_reported(path: Location) -> None:
    page = Page(put(path, Raw("1.5")))
    assert problems(page.text, ".json") == [(*page.values[path], Code.AMBIGUOUS_SCALAR)]


@EVERYWHERE
def test_value_of_a_wrong_type_is_the_only_thing_reported(path: Location) -> None:
    page = Page(put(path, [[]]))
    [(line, _, _)] = problems(page.text, ".json")
    assert page.values[path][0] <= line <= page.values[path][0] + 1


@pytest.mark.parametrize("path", [path for path in paths_in(POLICY) if isinstance(path[-1], str)])
def test_key_that_is_a_duplicate_is_the_only_thing_reported(path: Location) -> None:
    page = Page(put(path, Twice(at(path), at(path))))
    assert problems(page.text, ".json") == [(*page.keys[path], Code.DUPLICATE_KEY)]


@pytest.mark.parametrize("depth", range(1, 1 + max(map(len, paths_in(POLICY)))))
@pytest.mark.parametrize(("written", "code"), [("null", Code.EMPTY), ("1.5", Code.AMBIGUOUS_SCALAR)])
def test_values_left_out_or_unreadable_leave_nothing_else_open_in_yaml(written: str, code: Code, depth: int) -> None:
    paths = [path for path in paths_in(POLICY) if len(path) == depth]
    page = Page(spoil([Flaw(code, path, Raw(written)) for path in paths]))
    document = read(page.text.encode(), "policy.yaml")
    assert [placed(problem) for problem in document.problems] == [(*page.values[path], code) for path in paths]
    assert document.broken == set(paths)
    assert document.data == spoil([Flaw(code, path, "") for path in paths])


@pytest.mark.parametrize("depth", range(1, 1 + max(map(len, paths_in(POLICY)))))
def test_keys_that_are_duplicates_leave_nothing_else_open_in_yaml(depth: int) -> None:
    paths = [path for path in paths_in(POLICY) if len(path) == depth and isinstance(path[-1], str)]
    page = Page(spoil([Flaw(Code.DUPLICATE_KEY, path, Twice(at(path), at(path))) for path in paths]))
    document = read(page.text.encode(), "policy.yaml")
    assert [placed(problem) for problem in document.problems] == [
        (*page.keys[path], Code.DUPLICATE_KEY) for path in paths
    ]
    assert document.broken == set(paths)
    assert document.data == POLICY


@pytest.mark.parametrize("section", ["registries", "identities", "issuers", "maps"])
def test_misspelt_section_is_not_held_against_those_who_refer_to_it(section: str) -> None:
    data = {f"{key}x" if key == section else key: value for key, value in POLICY.items()}
    missing = [Code.MISSING_KEY] if section in {"registries", "issuers"} else []
    assert sorted(code for _, _, code in problems(Page(data).text, ".json")) == [*missing, Code.UNKNOWN_KEY]


@pytest.mark.parametrize(
    ("section", "name"), [("registries", "prod"), ("identities", "partner"), ("issuers", "github"), ("maps", "images")]
)
def test_misspelt_name_is_the_only_thing_reported(section: str, name: str) -> None:
    entries = {f"{key}!" if key == name else key: value for key, value in POLICY[section].items()}
    page = Page({**POLICY, section: entries})
    for suffix in (".json", ".yaml"):
        assert problems(page.text, suffix) == [(*page.keys[section, f"{name}!"], Code.VALUE)]


def test_entry_without_a_proper_name_does_not_hide_others() -> None:
    data = compose(registries={"Prod": {"login_server": "evil.example"}, "b": {"login_server": "evil.example"}})
    page = Page(data)
    assert problems(page.text, ".json") == [
        (*page.keys["registries", "Prod"], Code.VALUE),
        (*page.values["registries", "b", "login_server"], Code.REGISTRY_HOST),
    ]


@pytest.mark.parametrize(
    ("condition", "certain"),
    [
        ('{ref: x, ref: y}', False),
        ('{ref: 1.5}', False),
        ('{ref: "***"}', True),
        ('{repository_id: ["1*", 1.5]}', False),
        ('{repository_id: 1.5}', False),
        ('{repository_id: "***"}', False),
        ('{repository_id: ["1", "***"]}', False),
        ('{repository_id: "*", repository_id: "1"}', False),
        ('{<<: {}, ref: x}', False),
        ('{"": "1", ref: x}', False),
        ('{"/repository_id~": "1", ref: x}', False),
        ('{? [a] : "1", ref: x}', False),
        ('&a {ref: x}', True),
        ('*a', False),
        ('5', False),
    ],
)  # fmt: skip
def test_rule_counts_as_unpinned_only_where_that_is_certain(condition: str, certain: bool) -> None:
    text = Page(compose(rules=[rule(when=Raw(condition))])).text
    codes = {code for _, _, code in problems(text, ".yaml")}
    assert codes - {Code.UNPINNED}
    assert (Code.UNPINNED in codes) is certain


HEAD = """\
version: 1
audience: https://vend.contoso.example
registries:
  prod: {login_server: contoso.azurecr.io}
issuers:
  github: {preset: github}
  generic: {preset: generic, issuer: https://idp.example}
"""
GRANT = "grant: [{registry: prod, repositories: [a], actions: [pull]}]"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(
            HEAD + "rules:\n"
            "- {name: a, issuer: github, when: {repository_id: 5}, grant: [{registry: prod, repositories: [a],\n"
            "   actions: [pul]}]}",
            [(10, 14, Code.VALUE)],
            id="a condition, hidden by an action",
        ),
        pytest.param(
            HEAD + "rules:\n- {name: a, issuer: nope, when: {ref: x}, bogus: 1, expires: 2026-02-30, " + GRANT + "}",
            [(9, 43, Code.UNKNOWN_KEY), (9, 62, Code.DATE)],
            id="a key and a date, and an issuer that they hide",
        ),
        pytest.param(
            HEAD + "rules:\n- {name: a, issuer: github, when: {ref: x, ref: y}, " + GRANT + "}",
            [(9, 44, Code.DUPLICATE_KEY)],
            id="a key that is a duplicate in a rule that pins nothing",
        ),
        pytest.param(
            HEAD.replace("preset: github", "preset: github, bogus: 1")
            + "rules:\n- {name: a, issuer: github, when: {ref: x}, "
            + GRANT
            + "}",
            [(6, 28, Code.UNKNOWN_KEY), (9, 29, Code.UNPINNED)],
            id="an issuer and its rule",
        ),
        pytest.param(
            HEAD.replace("contoso.azurecr.io", "CONTOSO")
            + "rules:\n- {name: a, issuer: github, when: {repository_id: 5}, "
            + GRANT
            + "}",
            [(4, 24, Code.VALUE), (9, 51, Code.CLAIM_TYPE)],
            id="a registry and a rule for it",
        ),
        pytest.param(
            HEAD + 'rules:\n- {name: a, issuer: github, when: {repository_id: "5"}, grant: [{registry: prod,\n'
            '   repositories: ["A", "***"], actions: [pull]}]}',
            [(10, 19, Code.REPOSITORY)],
            id="two repositories, one hidden by the other",
        ),
        pytest.param(
            HEAD + "rules:\n- {name: a, bogus: 2, issuer: github, when: {repository_id: 5},\n"
            "   grant: [{registry: nix, catalog: true}]}",
            [(9, 13, Code.UNKNOWN_KEY)],
            id="a key that hides a condition and a registry",
        ),
        pytest.param(
            HEAD + "limits: &l {max_scopes: 0}\nrules: !r\n"
            "- &r {name: r r, issuer: &i nope, when: {sub: me}, " + GRANT + "}\n"
            "- {<<: *r, name: s s}",
            [
                (8, 9, Code.YAML_FEATURE), (8, 25, Code.VALUE), (9, 8, Code.YAML_FEATURE), (10, 3, Code.YAML_FEATURE),
                (10, 13, Code.VALUE), (10, 26, Code.YAML_FEATURE), (11, 4, Code.YAML_FEATURE),
                (11, 8, Code.YAML_FEATURE), (11, 18, Code.VALUE),
            ],
            id="anchors, tags and merge keys",
        ),
        pytest.param(
            HEAD.replace("issuers:", "issuers:\n  5: {preset: github, bogus: 1}").replace("github: {", "gh: {")
            + "rules:\n- {name: a, issuer: '5', when: {ref: x}, " + GRANT + "}",
            [(6, 3, Code.KEY_TYPE), (6, 23, Code.UNKNOWN_KEY), (7, 3, Code.ISSUER_URL), (10, 26, Code.UNPINNED)],
            id="a name that is a number",
        ),
        pytest.param(
            HEAD + "rules: [{name: a, issuer: nope, when: {sub: x}, " + GRANT + "}]\nrules: []",
            [(8, 27, Code.REFERENCE), (9, 1, Code.DUPLICATE_KEY)],
            id="a section that is a duplicate",
        ),
        pytest.param(
            HEAD + "registries: {}",
            [(8, 1, Code.DUPLICATE_KEY)],
            id="a section that is a duplicate, empty",
        ),
        pytest.param(
            HEAD.replace("login_server: contoso.azurecr.io", "login_server: contoso.example, cloud: publik"),
            [(4, 48, Code.VALUE)],
            id="a host of a cloud that nobody knows",
        ),
    ],
)  # fmt: skip
def test_mistakes_beside_each_other_are_all_reported(text: str, expected: list[tuple[int, int, str]]) -> None:
    assert sorted(problems(text, ".yaml")) == sorted(expected)


def test_in_a_directory_each_mistake_is_reported_in_its_own_file(tmp_path: Path) -> None:
    (tmp_path / "main.yaml").write_text(HEAD.replace("audience:", "audiense:").replace("preset: github", "preset: git"))
    (tmp_path / "web.yaml").write_text(
        "rules:\n- {name: a, issuer: github, when: {ref: '***', ref: x}, bogus: 1,\n"
        "   grant: [{registry: nix, repositories: [A, '{ref|none}'], actions: [pul]}]}\n"
        "- {name: b, issuer: github, when: {repository_id: '1'}, grant: [{registry: nix, catalog: true}]}\n"
    )
    with pytest.raises(PolicyError) as caught:
        load(tmp_path, Environment())
    assert [(Path(p.file).name, p.line, p.column, p.code) for p in caught.value.problems] == [
        ("main.yaml", 1, 1, Code.MISSING_KEY),
        ("main.yaml", 2, 1, Code.UNKNOWN_KEY),
        ("main.yaml", 6, 20, Code.VALUE),
        ("web.yaml", 2, 48, Code.DUPLICATE_KEY),
        ("web.yaml", 2, 57, Code.UNKNOWN_KEY),
        ("web.yaml", 3, 43, Code.REPOSITORY),
        ("web.yaml", 3, 71, Code.VALUE),
        ("web.yaml", 4, 76, Code.REFERENCE),
    ]


@pytest.mark.parametrize(
    ("broken", "expected"),
    [
        ("team.yaml: {deny: 5}, more.yaml: {repositories: [b]}", ["main.yaml value", "more.yaml out_of_bounds"]),
        ("'': {}, more.yaml: {repositories: [b]}", ["main.yaml value"]),
        ("team.yaml: {}, more.yaml: {repositories: [b]}", ["more.yaml out_of_bounds"]),
    ],
)
def test_broken_bounds_are_not_held_against_their_file(tmp_path: Path, broken: str, expected: list[str]) -> None:
    (tmp_path / "main.yaml").write_text(f"{HEAD}files: {{{broken}}}")
    for file in ("team", "more"):
        text = json.dumps({"rules": [rule(file)]})
        (tmp_path / f"{file}.yaml").write_text(text)
    with pytest.raises(PolicyError) as caught:
        load(tmp_path, Environment())
    assert [f"{Path(problem.file).name} {problem.code}" for problem in caught.value.problems] == expected


WRONG: st.SearchStrategy[Any] = st.sampled_from(
    [None, 5, "", "x y", [], {}, [[]], {"a": {}}, [{}], {"": 1}, Raw("1.5"), Twice(1, {}), Twice({}, 1), GONE]
)


@examples(150)
@given(st.dictionaries(st.sampled_from(paths_in(POLICY)), WRONG, min_size=1, max_size=12))
def test_whatever_is_wrong_the_rest_can_be_judged(changes: dict[Location, Any]) -> None:
    made = [
        Flaw(Code.VALUE, path, value)
        for path, value in changes.items()
        if isinstance(path[-1], str) or not (value is GONE or isinstance(value, Twice))
    ]
    page = Page(spoil(sorted(made, key=lambda each: len(each.path), reverse=True)))
    document = read(page.text.encode(), "policy.json")
    omission = Omission.of(document.data, document.broken, validate(document.data)[1])
    assert validate_rest(document.without(omission.locations).data) is not None


def test_file_that_cannot_be_read_hides_only_itself(tmp_path: Path) -> None:
    (tmp_path / "main.yaml").write_text(HEAD + "maps: {images: [}")
    (tmp_path / "web.yaml").write_text(
        "rules:\n- {name: a, issuer: github, when: {ref: '***'},\n"
        "   grant: [{registry: nix, repositories: [a, '{ref|none}', 'a--b/---'], actions: [pull]}]}"
    )
    with pytest.raises(PolicyError) as caught:
        load(tmp_path, Environment())
    assert [(Path(p.file).name, p.line, p.code) for p in caught.value.problems] == [
        ("main.yaml", 8, Code.SYNTAX),
        ("web.yaml", 2, Code.PATTERN),
        ("web.yaml", 3, Code.REPOSITORY),
    ]
