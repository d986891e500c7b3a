"""What never loads: each mistake is refused at its place, with a word on what to write instead."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.policy.language import compose, deny, grant, load_data, rule
from vending.policy import Environment, Policy, PolicyError, Problem, load, load_bytes
from vending.policy.language.problems import Code
from vending.policy.language.reader import MAX_JSON_BYTES, MAX_YAML_BYTES

HEAD = """\
version: 1
audience: https://vend.contoso.example
registries:
  prod: {login_server: contoso.azurecr.io}
issuers:
  github: {preset: github}
  generic: {preset: generic, issuer: https://idp.example}
"""
RULE = """\
rules:
  - name: r
    issuer: generic
    when: {sub: me}
    grant:
      - {registry: prod, repositories: [web/api], actions: [pull]}
"""


def load_yaml(text: str | bytes) -> Policy:
    data = text.encode() if isinstance(text, str) else text
    return load_bytes(data, name="policy.yaml", environment=Environment(), directory=None)


def problems_of(text: str | bytes) -> list[Problem]:
    with pytest.raises(PolicyError) as caught:
        load_yaml(text)
    return list(caught.value.problems)


def only_problem(text: str | bytes) -> Problem:
    found = problems_of(text)
    assert len(found) == 1, [str(problem) for problem in found]
    return found[0]


def test_the_smallest_policy_loads() -> None:
    assert load_yaml(HEAD + RULE).audience == "https://vend.contoso.example"


# --- YAML -------------------------------------------------------------------------------------------------------------


def cond(value: str) -> str:
    return HEAD + RULE.replace("{sub: me}", f"{{sub: me, x: {value}}}")


AT_X = (11, 26)
"""The line and column of the condition's value in `cond`."""


@pytest.mark.parametrize(
    ("value", "code", "word"),
    [
        ("0o7", Code.AMBIGUOUS_SCALAR, "0o7"),
        ("0x1F", Code.AMBIGUOUS_SCALAR, "0x1F"),
        ("0b101", Code.AMBIGUOUS_SCALAR, "0b101"),
        ("0123", Code.AMBIGUOUS_SCALAR, "quotes"),
        ("1_000", Code.AMBIGUOUS_SCALAR, "1_000"),
        ("+1", Code.AMBIGUOUS_SCALAR, "+1"),
        ("-0", Code.AMBIGUOUS_SCALAR, "-0"),
        ("1.5", Code.AMBIGUOUS_SCALAR, "1.5"),
        ("1.", Code.AMBIGUOUS_SCALAR, "1."),
        (".5", Code.AMBIGUOUS_SCALAR, ".5"),
        ("1e3", Code.AMBIGUOUS_SCALAR, "1e3"),
        ("1.0e+3", Code.AMBIGUOUS_SCALAR, "1.0e+3"),
        (".inf", Code.AMBIGUOUS_SCALAR, ".inf"),
        ("-.INF", Code.AMBIGUOUS_SCALAR, "-.INF"),
        (".NaN", Code.AMBIGUOUS_SCALAR, ".NaN"),
        ("190:20:30", Code.AMBIGUOUS_SCALAR, "190:20:30"),
        ("9999999999999999999", Code.AMBIGUOUS_SCALAR, "too large"),
        ("2027-06-30T12:00:00Z", Code.AMBIGUOUS_SCALAR, "time"),
        ("2027-6-3", Code.AMBIGUOUS_SCALAR, "time"),
        ("2027-02-30", Code.DATE, "2027-02-30"),
        ("2027-06-30", Code.VALUE, "quotes"),
        ("null", Code.EMPTY, "value is missing"),
        ("~", Code.EMPTY, "value is missing"),
        ("[]", Code.EMPTY, "at least one"),
        ("{}", Code.VALUE, "write a value, a list of values"),
        ("{a: b}", Code.VALUE, "write a value, a list of values"),
        ("[[a]]", Code.VALUE, "write a value, a list of values"),
        ("[a, 1.5]", Code.AMBIGUOUS_SCALAR, "1.5"),
        ("[a, null]", Code.EMPTY, "value is missing"),
        ("!!str 1", Code.YAML_FEATURE, "tag"),
        ("! 1", Code.YAML_FEATURE, "tag"),
        ("!secret x", Code.YAML_FEATURE, "tag"),
        ("!!python/object/apply:os.system [id]", Code.YAML_FEATURE, "tag"),
        ("&a x", Code.YAML_FEATURE, "anchor"),
        ('"a\\0b"', Code.VALUE, "text"),
        ('"a\\nb"', Code.VALUE, "text"),
        ('"***"', Code.PATTERN, "***"),
        ('"a****b"', Code.PATTERN, "***"),
    ],
)
def test_condition_value_is_refused(value: str, code: Code, word: str) -> None:
    problem = only_problem(cond(value))
    assert problem.code == code
    assert word in problem.message
    assert (problem.file, problem.line) == ("policy.yaml", AT_X[0])
    assert problem.column >= AT_X[1] - len("x: [] ")


@pytest.mark.parametrize(
    ("value", "claim"),
    [
        ("yes", "yes"),
        ("no", "no"),
        ("on", "on"),
        ("off", "off"),
        ("y", "y"),
        ("Yes", "Yes"),
        ("true", True),
        ("True", True),
        ("false", False),
        ("1", 1),
        ("0", 0),
        ("-7", -7),
        ('"1"', "1"),
        ('"0123"', "0123"),
        ("'true'", "true"),
        ('"2027-06-30"', "2027-06-30"),
        ("1.2.3", "1.2.3"),
        ("v1.2", "v1.2"),
        ("a:b", "a:b"),
        ("12ab", "12ab"),
        ("00000000-0000-0000-0000-000000000000", "00000000-0000-0000-0000-000000000000"),
        ('""', ""),
        ("<<", "<<"),
        ("prod", "prod"),
        ("рrod", "рrod"),
        ('"\\u00e9"', "\u00e9"),
        ("[yes]", "yes"),
    ],
)
def test_condition_value_is_what_yaml_1_2_says(value: str, claim: object) -> None:
    policy = load_yaml(cond(value))
    [compiled] = policy.rules["generic"].rules
    [_, condition] = compiled.when
    assert [(type(v), v) for v in condition.values] == [(type(claim), claim)]


@pytest.mark.parametrize(
    ("text", "code", "line", "column", "word"),
    [
        ("", Code.EMPTY, 1, 1, "version: 1"),
        ("# only a comment\n", Code.EMPTY, 1, 1, "version: 1"),
        ("---\n", Code.EMPTY, 2, 1, "value is missing"),
        ("[]", Code.VALUE, 1, 1, "mapping"),
        ("text", Code.VALUE, 1, 1, "mapping"),
        ("%YAML 1.1\n---\n" + HEAD, Code.YAML_FEATURE, 1, 1, "%"),
        ("%TAG ! tag:x,2000:\n---\n" + HEAD, Code.YAML_FEATURE, 1, 1, "%"),
        (HEAD + "---\n" + HEAD, Code.YAML_FEATURE, 8, 1, "second document"),
        (HEAD + "version: 1\n", Code.DUPLICATE_KEY, 8, 1, "first on line 1"),
        (HEAD + "audit: {claims: [a], claims: [b]}\n", Code.DUPLICATE_KEY, 8, 22, "claims"),
        (HEAD + 'audit: {claims: [a], "claims": [b]}\n', Code.DUPLICATE_KEY, 8, 22, "claims"),
        (HEAD + "1: x\n", Code.KEY_TYPE, 8, 1, "quotes"),
        (HEAD + "true: x\n", Code.KEY_TYPE, 8, 1, "quotes"),
        (HEAD + "maps: {images: {123: web/api}}\n", Code.KEY_TYPE, 8, 17, "123"),
        (HEAD + "? [a]\n: x\n", Code.KEY_TYPE, 8, 3, "list"),
        (HEAD + "? {a: b}\n: x\n", Code.KEY_TYPE, 8, 3, "mapping"),
        (HEAD + "~: x\n", Code.KEY_TYPE, 8, 1, "empty"),
        (HEAD + "2027-06-30: x\n", Code.KEY_TYPE, 8, 1, "quotes"),
        (HEAD + "<<: {limits: {max_scopes: 1}}\n", Code.YAML_FEATURE, 8, 1, "merge"),
        (HEAD + "deny:\n", Code.EMPTY, 8, 1, "remove the key"),
        (HEAD + "limits: {max_scopes: }\n", Code.EMPTY, 8, 10, "remove the key"),
        (HEAD + "limits: {max_scopes: yes}\n", Code.VALUE, 8, 22, "whole number"),
        (HEAD + "limits: {max_scopes: true}\n", Code.VALUE, 8, 22, "whole number"),
        (HEAD + "limits: {max_scopes: 0}\n", Code.VALUE, 8, 22, "at least 1"),
        (HEAD + "limits: {max_scopes: 129}\n", Code.VALUE, 8, 22, "at most 128"),
        (HEAD + "limits: {requests_per_minute: 0}\n", Code.VALUE, 8, 31, "at least 1"),
        (HEAD + "limit: {max_scopes: 1}\n", Code.UNKNOWN_KEY, 8, 1, "did you mean limits?"),
        (HEAD.replace("preset: github", "presett: github"), Code.MISSING_KEY, 6, 3, "preset"),
        (HEAD.replace("{preset: github}", "{preset: GitHub}"), Code.VALUE, 6, 20, "did you mean github?"),
        (HEAD.replace("{preset: github}", "{preset: github, enabled: no}"), Code.VALUE, 6, 37, "true or false"),
        (HEAD.replace("version: 1", "version: 2"), Code.VALUE, 1, 10, "write 1"),
        (HEAD.replace("version: 1", "version: true"), Code.VALUE, 1, 10, "write 1"),
        (HEAD.replace("version: 1", 'version: "1"'), Code.VALUE, 1, 10, "write 1"),
        (HEAD.replace("version: 1\n", ""), Code.MISSING_KEY, 1, 1, "version"),
        (HEAD + "a: [b\n", Code.SYNTAX, 9, 1, "opens on line 8 is not closed"),
        (HEAD + "\tlimits: {}\n", Code.SYNTAX, 8, 1, "tab"),
        (HEAD + "a: 'b\n", Code.SYNTAX, 9, 1, "opens on line 8 is not closed"),
    ],
)
def test_file_is_refused_where_the_mistake_is(text: str, code: Code, line: int, column: int, word: str) -> None:
    found = problems_of(text)
    problem = next((problem for problem in found if problem.code == code), found[0])
    assert (problem.code, problem.line, problem.column) == (code, line, column), [str(p) for p in found]
    assert word in problem.message


@pytest.mark.parametrize(
    "character",
    [
        "\x00",
        "\x07",
        "\x0b",
        "\x1b",
        "\x7f",
        "\x85",
        "\u2028",
        "\u2029",
        "\u200b",
        "\u200e",
        "\u202e",
        "\u2066",
        "\ufeff",
        "\ufffe",
    ],
)
def test_control_and_invisible_characters_are_refused(character: str) -> None:
    problem = only_problem(HEAD + f"# a comment{character}\n")
    assert (problem.code, problem.line, problem.column) == (Code.CHARACTER, 8, 12)
    assert f"U+{ord(character):04X}" in problem.message


def test_a_leading_byte_order_mark_is_accepted() -> None:
    assert load_yaml(b"\xef\xbb\xbf" + (HEAD + RULE).encode()).limits.max_scopes == 32


def test_windows_line_ends_are_accepted() -> None:
    assert load_yaml((HEAD + RULE).replace("\n", "\r\n")).limits.max_scopes == 32


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "latin-1"])
def test_other_encodings_are_refused(encoding: str) -> None:
    assert only_problem((HEAD + "# \u00e9\n").encode(encoding)).code in {Code.ENCODING, Code.CHARACTER}


def test_an_alias_is_refused() -> None:
    found = problems_of(HEAD + "limits: &l {max_scopes: 1}\naudit: *l\n")
    assert [(p.code, p.line, p.column) for p in found] == [(Code.YAML_FEATURE, 8, 9), (Code.YAML_FEATURE, 9, 8)]


def test_an_alias_bomb_is_refused_without_being_built() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 40)]
    assert all(problem.code for problem in problems_of("\n".join(lines)))


@pytest.mark.parametrize("opening", ["[", "{a: ", "- "])
def test_deep_nesting_is_refused(opening: str) -> None:
    assert Code.TOO_DEEP in {problem.code for problem in problems_of("rules: \n  " + opening * 5000)}


def test_a_yaml_file_above_its_limit_is_refused() -> None:
    problem = only_problem(HEAD + "#" * MAX_YAML_BYTES)
    assert problem.code == Code.TOO_LARGE
    assert "JSON" in problem.message


def test_a_yaml_file_at_its_limit_is_read() -> None:
    text = HEAD + RULE
    assert load_yaml(text + "#" * (MAX_YAML_BYTES - len(text))).limits.max_scopes == 32


def test_several_mistakes_are_reported_at_once_in_the_order_of_the_file() -> None:
    found = problems_of(
        HEAD.replace("contoso.azurecr.io", "Contoso.azurecr.io") + "limits: {max_scopes: 0x1}\n"
        "rules:\n  - {name: r r, issuer: x, when: {}, grant: []}\n"
    )
    assert [(problem.line, problem.code) for problem in found] == [
        (4, Code.VALUE),
        (8, Code.AMBIGUOUS_SCALAR),
        (10, Code.VALUE),
        (10, Code.EMPTY),
        (10, Code.EMPTY),
    ]


def test_mistakes_of_form_do_not_hide_mistakes_of_meaning() -> None:
    found = problems_of(
        HEAD.replace("version: 1", "version: 2") + "limits: {max_scopes: 0}\n"
        "rules:\n  - {name: r r, issuer: generic, when: {sub: me}, grant: [{registry: prod, catalog: true}]}\n"
        "  - {name: s, issuer: nobody, when: {sub: me}, grant: [{registry: prod, catalog: true}]}\n"
        "  - {name: t, issuer: github, when: {ref: x}, grant: [{registry: prod, catalog: yes}]}\n"
        "  - {name: u, issuer: github, when: {ref: x}, grant: [{registry: prod, catalog: true}]}\n"
    )
    assert [(problem.line, problem.code) for problem in found] == [
        (1, Code.VALUE), (8, Code.VALUE), (10, Code.VALUE), (11, Code.REFERENCE),
        (12, Code.VALUE), (13, Code.UNPINNED),
    ]  # fmt: skip


def test_what_refers_to_a_mistaken_entry_is_not_blamed_for_that() -> None:
    found = problems_of(HEAD.replace("preset: github", "preset: git") + RULE.replace("generic", "github"))
    assert [(problem.line, problem.code) for problem in found] == [(6, Code.VALUE)]


# --- JSON -------------------------------------------------------------------------------------------------------------


def json_problems(text: str | bytes, name: str = "policy.json") -> list[Problem]:
    data = text.encode() if isinstance(text, str) else text
    with pytest.raises(PolicyError) as caught:
        load_bytes(data, name=name, environment=Environment(), directory=None)
    return list(caught.value.problems)


PRETTY = json.dumps(compose(), indent=2)


@pytest.mark.parametrize(
    ("text", "code", "line", "column"),
    [
        ("", Code.SYNTAX, 1, 1),
        ("[]", Code.VALUE, 1, 1),
        ("{", Code.SYNTAX, 1, 2),
        (PRETTY.replace('"version": 1', '"version": 1, "version": 1'), Code.DUPLICATE_KEY, 2, 17),
        (PRETTY.replace('"version": 1', '"version": 1.0'), Code.AMBIGUOUS_SCALAR, 2, 14),
        (PRETTY.replace('"version": 1', '"version": 1e0'), Code.AMBIGUOUS_SCALAR, 2, 14),
        (PRETTY.replace('"version": 1', '"version": NaN'), Code.AMBIGUOUS_SCALAR, 2, 14),
        (PRETTY.replace('"version": 1', '"version": -Infinity'), Code.AMBIGUOUS_SCALAR, 2, 14),
        (PRETTY.replace('"version": 1', f'"version": {"9" * 5000}'), Code.AMBIGUOUS_SCALAR, 2, 14),
        (PRETTY.replace('"version": 1', '"version": null'), Code.EMPTY, 2, 14),
        (PRETTY.replace('"version": 1', '"\\ud800": 1'), Code.CHARACTER, 2, 3),
        (PRETTY.replace('"version": 1', '"version": "\\uDBFF"'), Code.CHARACTER, 2, 14),
        (PRETTY.replace('"version": 1', '"version": ["\\udc00\\ud800"]'), Code.CHARACTER, 2, 15),
        (PRETTY.replace('"version": 1', '"version": [null]'), Code.VALUE, 2, 14),
        (PRETTY.replace('"version": 1', '"version": 01'), Code.SYNTAX, 2, 15),
        (PRETTY.replace('"version": 1', "// no\n"), Code.SYNTAX, 2, 3),
        (PRETTY.replace('"version": 1', '"versions": 1'), Code.UNKNOWN_KEY, 2, 3),
        (PRETTY.replace("contoso.azurecr.io", "Contoso.azurecr.io"), Code.VALUE, 6, 23),
        (PRETTY.replace("contoso.azurecr.io", "contoso.example"), Code.REGISTRY_HOST, 6, 23),
        ('{"a":' * 100_000, Code.TOO_DEEP, 1, 0),
        (PRETTY + "x", Code.SYNTAX, 0, 0),
    ],
)
def test_json_is_refused_where_the_mistake_is(text: str, code: Code, line: int, column: int) -> None:
    found = json_problems(text)
    problem = next((problem for problem in found if problem.code == code), None)
    assert problem is not None, [str(p) for p in found]
    assert problem.line == line or not line
    assert problem.column == column or not column


def test_json_above_its_limit_is_refused() -> None:
    assert [p.code for p in json_problems(b" " * (MAX_JSON_BYTES + 1))] == [Code.TOO_LARGE]


def test_json_characters_are_checked_like_yaml() -> None:
    assert [p.code for p in json_problems(PRETTY + "\u202e")] == [Code.CHARACTER]


def test_places_are_right_amid_escapes_and_nesting() -> None:
    data = compose(
        rules=[
            rule("a", issuer="generic", when={'k"{[,:\\': ["}", "]"], "sub": "x"}),
            rule("b", issuer="nobody", when={"sub": "x"}),
        ]
    )
    text = json.dumps(data, indent=1)
    [problem] = json_problems(text)
    expected = next(n for n, line in enumerate(text.splitlines(), 1) if '"nobody"' in line)
    assert (problem.line, problem.column) == (expected, 14)


# --- Meaning ----------------------------------------------------------------------------------------------------------


def bad(**sections: Any) -> dict[str, Any]:
    return compose(**sections)


def with_registry(**entry: Any) -> dict[str, Any]:
    return bad(registries={"prod": {"login_server": "contoso.azurecr.io", **entry}})


def with_issuer(**entry: Any) -> dict[str, Any]:
    return bad(issuers={"i": entry})


def with_identity(**entry: Any) -> dict[str, Any]:
    return bad(identities={"i": entry})


def with_rule(*grants: Any, **changes: Any) -> dict[str, Any]:
    return bad(
        rules=[{**rule("r", *grants), **changes}],
        maps={
            "m": {"x": "a", "y": "b/c"},
            "n": {"x": "a", "y": "b/c"},
            "nested": {"x": "a", "y": "a/b"},
            "lists": {"x": ["a", "a/**"], "y": "b"},
        },
    )


GUID = "00000000-0000-0000-0000-000000000001"
ID = {"tenant_id": GUID, "client_id": GUID}


@pytest.mark.parametrize(
    ("data", "code"),
    [
        # audience
        (bad(audience="http://vend.example"), Code.AUDIENCE),
        (bad(audience="api://AzureADTokenExchange"), Code.VALUE),
        (bad(audience="sigstore"), Code.VALUE),
        (bad(audience="https://github.com/contoso"), Code.AUDIENCE),
        (bad(audience="https://GitHub.com/contoso"), Code.AUDIENCE),
        (bad(audience="https://sts.amazonaws.com"), Code.AUDIENCE),
        (bad(audience="https://vend.example?x"), Code.VALUE),
        (bad(audience="https://vend.example#x"), Code.VALUE),
        (bad(audience="https://me@vend.example"), Code.VALUE),
        (bad(audience="https://"), Code.VALUE),
        (bad(audience="https:///path"), Code.AUDIENCE),
        (bad(audience="https://vend.ex\u00e4mple"), Code.VALUE),
        (bad(audience="http://127.0.0.1:7071"), Code.AUDIENCE),
        # registries
        (bad(registries={}), Code.EMPTY),
        (bad(registries={"Prod": {"login_server": "contoso.azurecr.io"}}), Code.VALUE),
        (bad(registries={"p_1": {"login_server": "contoso.azurecr.io"}}), Code.VALUE),
        (with_registry(login_server="https://contoso.azurecr.io"), Code.VALUE),
        (with_registry(login_server="contoso.azurecr.io/"), Code.VALUE),
        (with_registry(login_server="CONTOSO.azurecr.io"), Code.VALUE),
        (with_registry(login_server="contoso.azurecr.io."), Code.VALUE),
        (with_registry(login_server="contoso.azurecr.us"), Code.REGISTRY_HOST),
        (with_registry(login_server="contoso.azurecr.io.evil.example"), Code.REGISTRY_HOST),
        (with_registry(login_server="evil.example"), Code.REGISTRY_HOST),
        (with_registry(login_server="azurecr.io"), Code.REGISTRY_HOST),
        (with_registry(login_server="a.contoso.azurecr.io"), Code.REGISTRY_HOST),
        (with_registry(login_server="contoso..azurecr.io"), Code.VALUE),
        (with_registry(service="contoso.eastus.geo.azurecr.io"), Code.REGISTRY_HOST),
        (with_registry(login_server="contosoazurecr.io"), Code.REGISTRY_HOST),
        (with_registry(login_server="contoso.azurecr.io:0"), Code.VALUE),
        (with_registry(login_server="contoso.azurecr.io:70000"), Code.REGISTRY_HOST),
        (with_registry(login_server="contoso.eastus.geo.azurecr.io"), Code.REGISTRY_HOST),
        (with_registry(login_server="contoso.eastus.data.azurecr.io"), Code.REGISTRY_HOST),
        (with_registry(login_server="localhost:5000"), Code.REGISTRY_HOST),
        (with_registry(login_server="127.0.0.1:5000"), Code.REGISTRY_HOST),
        (with_registry(hosts=["evil.example"]), Code.REGISTRY_HOST),
        (with_registry(hosts=["contoso.azurecr.io"]), Code.DUPLICATE_HOST),
        (with_registry(hosts=["fabrikam.azurecr.io", "fabrikam.azurecr.io"]), Code.DUPLICATE_HOST),
        (with_registry(hosts=[]), Code.EMPTY),
        (with_registry(identity="nobody"), Code.REFERENCE),
        (with_registry(authority_host="login.example"), Code.CONFLICT),
        (with_registry(cloud="custom", login_server="r.example", token_audience="https://r.example"), Code.MISSING_KEY),
        (with_registry(cloud="custom", login_server="r.example", authority_host="l.example"), Code.MISSING_KEY),
        (
            with_registry(
                cloud="custom", login_server="r.example", authority_host="l.example", token_audience="https://r.example"
            ),
            Code.REGISTRY_HOST,
        ),
        (
            bad(registries={"a": {"login_server": "contoso.azurecr.io"}, "b": {"login_server": "contoso.azurecr.io"}}),
            Code.DUPLICATE_HOST,
        ),
        (
            bad(
                registries={
                    "a": {"login_server": "contoso.azurecr.io"},
                    "b": {"login_server": "fabrikam.azurecr.io", "service": "contoso.azurecr.io"},
                }
            ),
            Code.DUPLICATE_HOST,
        ),
        (
            bad(
                registries={
                    "a": {"login_server": "contoso.azurecr.io"},
                    "b": {"login_server": "fabrikam.azurecr.io", "hosts": ["contoso.azurecr.io"]},
                }
            ),
            Code.DUPLICATE_HOST,
        ),
        # identities
        (with_identity(type="managed_identity", client_id="x"), Code.VALUE),
        (
            with_identity(
                type="managed_identity",
                client_id=GUID,
                resource_id=f"/subscriptions/{GUID}/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/i",
            ),
            Code.CONFLICT,
        ),
        (with_identity(type="managed_identity", resource_id="/subscriptions/x"), Code.VALUE),
        (with_identity(type="secret"), Code.VALUE),
        (with_identity(client_id=GUID), Code.MISSING_KEY),
        (with_identity(type="federated_app", **ID, managed_identity="nobody"), Code.REFERENCE),
        (with_identity(type="federated_app", **ID, managed_identity="i"), Code.REFERENCE),
        (with_identity(type="federated_app", tenant_id=GUID), Code.MISSING_KEY),
        (with_identity(type="service_principal", **ID), Code.CONFLICT),
        (
            with_identity(
                type="service_principal",
                **ID,
                secret_setting="VENDING_SECRET_A",
                certificate_setting="VENDING_SECRET_B",
            ),
            Code.CONFLICT,
        ),
        (with_identity(type="service_principal", **ID, secret_setting="hunter2"), Code.VALUE),
        (with_identity(type="service_principal", **ID, secret="hunter2"), Code.UNKNOWN_KEY),
        # issuers
        (bad(issuers={}), Code.EMPTY),
        (with_issuer(preset="generic"), Code.MISSING_KEY),
        (with_issuer(preset="kubernetes"), Code.MISSING_KEY),
        (with_issuer(preset="circleci"), Code.MISSING_KEY),
        (with_issuer(preset="generic", issuer="http://idp.example"), Code.ISSUER_URL),
        (with_issuer(preset="generic", issuer="http://127.0.0.1:1"), Code.ISSUER_URL),
        (with_issuer(preset="generic", issuer="https://idp.example?x=1"), Code.VALUE),
        (with_issuer(preset="generic", issuer="https://idp.example#x"), Code.VALUE),
        (with_issuer(preset="generic", issuer="https://u:p@idp.example"), Code.VALUE),
        (with_issuer(preset="generic", issuer="https://idp.example:x"), Code.ISSUER_URL),
        (with_issuer(preset="generic", issuer="https://idp.example:99999"), Code.ISSUER_URL),
        (with_issuer(preset="generic", issuer="https://[::1"), Code.ISSUER_URL),
        (with_issuer(preset="generic", issuer="https://token.actions.githubusercontent.com"), Code.ISSUER_URL),
        (with_issuer(preset="generic", issuer="https://token.actions.githubusercontent.com/contoso"), Code.ISSUER_URL),
        (with_issuer(preset="generic", issuer="https://gitlab.com"), Code.ISSUER_URL),
        (with_issuer(preset="generic", issuer="https://oidc.circleci.com"), Code.ISSUER_URL),
        (with_issuer(preset="kubernetes", issuer="https://accounts.google.com"), Code.ISSUER_URL),
        (bad(issuers={"a": {"preset": "github"}, "b": {"preset": "github"}}), Code.ISSUER_URL),
        (
            bad(
                issuers={
                    "a": {"preset": "generic", "issuer": "https://x.example"},
                    "b": {"preset": "kubernetes", "issuer": "https://x.example"},
                }
            ),
            Code.ISSUER_URL,
        ),
        (with_issuer(preset="github", algorithms=["HS256"]), Code.VALUE),
        (with_issuer(preset="github", algorithms=["none"]), Code.VALUE),
        (with_issuer(preset="github", algorithms=[]), Code.EMPTY),
        (with_issuer(preset="github", max_token_lifetime="15"), Code.VALUE),
        (with_issuer(preset="github", max_token_lifetime="15 m"), Code.VALUE),
        (with_issuer(preset="github", max_token_lifetime="1.5h"), Code.VALUE),
        (with_issuer(preset="github", max_token_lifetime="0s"), Code.VALUE),
        (with_issuer(preset="github", max_token_lifetime="31d"), Code.VALUE),
        (with_issuer(preset="github", replay="never"), Code.VALUE),
        (with_issuer(preset="github", identity_claims=["sub"]), Code.CONFLICT),
        (with_issuer(preset="generic", issuer="https://x.example", identity_claims=[]), Code.EMPTY),
        (with_issuer(preset="generic", issuer="https://x.example", identity_claims=["/a~2"]), Code.POINTER),
        (with_issuer(preset="github", jwks={}), Code.KEYS),
        (with_issuer(preset="github", jwks={"keys": []}), Code.KEYS),
        (with_issuer(preset="github", jwks={"keys": [{"kty": "oct", "kid": "a", "k": "AAAA"}]}), Code.KEYS),
        (with_issuer(preset="github", jwks={"keys": []}, jwks_file="k.json"), Code.CONFLICT),
        (with_issuer(preset="github", jwks_file="k.json"), Code.FILE),
        (with_issuer(preset="github", jwks_file="/etc/passwd"), Code.VALUE),
        (with_issuer(preset="github", ca="no certificate"), Code.KEYS),
        (with_issuer(preset="github", ca="x", ca_file="x"), Code.CONFLICT),
        # maps
        (bad(maps={"lower": {"a": "b"}}), Code.CONFLICT),
        (bad(maps={"path": {"a": "b"}}), Code.CONFLICT),
        (bad(maps={"m": {"a": "Web"}}), Code.REPOSITORY),
        (bad(maps={"m": {"a": "web/*"}}), Code.REPOSITORY),
        (bad(maps={"m": {"a": ""}}), Code.REPOSITORY),
        (bad(maps={"m": {"a": "a" * 256}}), Code.REPOSITORY),
        (bad(maps={"m": {}}), Code.EMPTY),
        (bad(maps={"m m": {"a": "b"}}), Code.VALUE),
        # rules
        (with_rule(name="a b"), Code.VALUE),
        (with_rule(name="x" * 65), Code.VALUE),
        (bad(rules=[rule("a"), rule("a")]), Code.DUPLICATE_NAME),
        (with_rule(issuer="nobody"), Code.REFERENCE),
        (with_rule(issuer=[]), Code.EMPTY),
        (with_rule(issuer=["github", "github"]), Code.DUPLICATE_NAME),
        (with_rule(when={}), Code.EMPTY),
        (with_rule(when={"repository_id": []}), Code.EMPTY),
        (with_rule(unless={}), Code.EMPTY),
        (with_rule(when={"": "x", "repository_id": "1"}), Code.VALUE),
        (with_rule(when={"/a~2b": "x", "repository_id": "1"}), Code.POINTER),
        (with_rule(when={"/a~": "x", "repository_id": "1"}), Code.POINTER),
        (with_rule(when={"repository_id": 1}), Code.CLAIM_TYPE),
        (with_rule(when={"/repository_id": 1}), Code.CLAIM_TYPE),
        (with_rule(when={"repository_id": "1", "ref_protected": True}), Code.CLAIM_TYPE),
        (with_rule(when={"repository_id": "1", "repo_property_tier": 1}), Code.CLAIM_TYPE),
        (with_rule(unless={"ref_protected": True}), Code.CLAIM_TYPE),
        (
            with_rule(
                issuer="circleci", when={"oidc.circleci.com/project-id": "p", "oidc.circleci.com/ssh-rerun": "true"}
            ),
            Code.CLAIM_TYPE,
        ),
        (with_rule(issuer="gitlab", when={"project_id": "1", "runner_id": "1"}), Code.CLAIM_TYPE),
        (with_rule(issuer="gitlab", when={"project_id": 1}), Code.CLAIM_TYPE),
        (with_rule(issuer="kubernetes", when={"/kubernetes.io/namespace": 1}), Code.CLAIM_TYPE),
        (with_rule(expires="2027-6-30"), Code.VALUE),
        (with_rule(expires="2027-02-30"), Code.DATE),
        (with_rule(expires=20270630), Code.VALUE),
        (with_rule(mode="dry-run"), Code.VALUE),
        (with_rule(enabled="yes"), Code.VALUE),
        # grants
        (bad(rules=[{"name": "r", "issuer": "github", "when": {"repository_id": "1"}, "grant": []}]), Code.EMPTY),
        (with_rule({"registry": "prod"}), Code.MISSING_KEY),
        (with_rule({"registry": "prod", "catalog": False}), Code.MISSING_KEY),
        (with_rule({"registry": "prod", "actions": ["pull"]}), Code.CONFLICT),
        (with_rule({"registry": "prod", "repositories": ["a"]}), Code.CONFLICT),
        (with_rule({"registry": "prod", "repositories": ["a"], "catalog": True}), Code.CONFLICT),
        (with_rule({"registry": "prod", "repositories": [], "actions": ["pull"]}), Code.EMPTY),
        (with_rule({"registry": "prod", "repositories": ["a"], "actions": []}), Code.EMPTY),
        (with_rule({"registry": "prod", "repositories": ["a"], "actions": "pull"}), Code.VALUE),
        (with_rule({"registry": "prod", "repositories": "a", "actions": ["pull"]}), Code.VALUE),
        (with_rule(grant("a", actions="*")), Code.VALUE),
        (with_rule(grant("a", actions="metadata/read")), Code.VALUE),
        (with_rule(grant("a", registry="nowhere")), Code.REFERENCE),
        (with_rule(grant("a", registry="contoso.azurecr.io")), Code.VALUE),
        (with_rule(grant("Web")), Code.REPOSITORY),
        (with_rule(grant("web/")), Code.REPOSITORY),
        (with_rule(grant("/web")), Code.REPOSITORY),
        (with_rule(grant("web//api")), Code.REPOSITORY),
        (with_rule(grant("web..api")), Code.REPOSITORY),
        (with_rule(grant("-web")), Code.REPOSITORY),
        (with_rule(grant("web:latest")), Code.REPOSITORY),
        (with_rule(grant("w\u00e9b")), Code.REPOSITORY),
        (with_rule(grant("a" * 256)), Code.REPOSITORY),
        (with_rule(grant("web/***")), Code.PATTERN),
        (with_rule(grant("Web/*")), Code.REPOSITORY),
        (with_rule(grant("web//*")), Code.REPOSITORY),
        (with_rule(grant("**/")), Code.REPOSITORY),
        # templates
        (with_rule(grant("ci/*/{repository_id}")), Code.REPOSITORY),
        (with_rule(grant("ci/{repository_id}/**/{ref}")), Code.REPOSITORY),
        (with_rule(grant("ci/{repository_id}-*")), Code.REPOSITORY),
        (with_rule(grant("ci/{repository_id}/***")), Code.PATTERN),
        (with_rule(grant("ci/{repository_id}/X*")), Code.REPOSITORY),
        (with_rule(grant("ci/{repository|lower|path}/*")), Code.REPOSITORY),
        (with_rule(grant("ci/{repository|lower|path}/x/**")), Code.REPOSITORY),
        (with_rule(grant("ci/{ref|path}/**")), Code.REPOSITORY),
        (with_rule(grant("ci/{repository|path}/**"), issuer="generic", when={"sub": "me"}), Code.REPOSITORY),
        (with_rule(grant("ci/{ref|lists}")), Code.REPOSITORY),
        (with_rule(grant("{ref|lists}/**")), Code.REPOSITORY),
        (with_rule(grant("{ref|nested}/{sha}/**")), Code.REPOSITORY),
        (with_rule(grant("ci/x-{repository_id}")), Code.REPOSITORY),
        (with_rule(grant("ci/{repository_id}{ref}")), Code.REPOSITORY),
        (with_rule(grant("ci/{repository_id")), Code.REPOSITORY),
        (with_rule(grant("ci/repository_id}")), Code.REPOSITORY),
        (with_rule(grant("ci/{}")), Code.REPOSITORY),
        (with_rule(grant("ci//{ref}")), Code.REPOSITORY),
        (with_rule(grant("ci/{ref}/")), Code.REPOSITORY),
        (with_rule(grant("CI/{ref}")), Code.REPOSITORY),
        (with_rule(grant("ci/{ref|path}/x")), Code.REPOSITORY),
        (with_rule(grant("ci/{ref|path}/{sha|path}")), Code.REPOSITORY),
        (with_rule(grant("ci/{ref|path|lower}")), Code.REPOSITORY),
        (with_rule(grant("ci/{ref|lower|lower}")), Code.REPOSITORY),
        (with_rule(grant("ci/{ref|upper}")), Code.REPOSITORY),
        (with_rule(grant("ci/{ref|nothing}")), Code.REPOSITORY),
        (with_rule(grant("ci/{ref|m|path}")), Code.REPOSITORY),
        (with_rule(grant("ci/{/a~2}")), Code.REPOSITORY),
        (with_rule(grant("ci/{ref|m}/{sha|n}")), Code.REPOSITORY),
        (with_rule(grant("ci/{ref|m}/{sha|path}")), Code.REPOSITORY),
        # pinning
        (with_rule(when={"ref": "refs/heads/main"}), Code.UNPINNED),
        (with_rule(when={"actor": "mona"}), Code.UNPINNED),
        (with_rule(when={"job_workflow_ref": "contoso/w/.github/workflows/x.yml@refs/tags/v1"}), Code.UNPINNED),
        (with_rule(when={"sub": "repo:contoso/web:ref:refs/heads/main"}), Code.UNPINNED),
        (with_rule(when={"repository_owner": "contoso*"}), Code.UNPINNED),
        (with_rule(when={"repository_owner": ["contoso", "fabrikam*"]}), Code.UNPINNED),
        (with_rule(when={"repository_owner": ""}), Code.UNPINNED),
        (with_rule(when={"repository_id": ["1", ""]}), Code.UNPINNED),
        (with_rule(issuer="generic", when={"sub": "*"}), Code.UNPINNED),
        (with_rule(issuer="generic", when={"sub": "**/*:*"}), Code.UNPINNED),
        (with_rule(issuer="generic", when={"sub": ["me", "*"]}), Code.UNPINNED),
        (with_rule(issuer="generic", when={"sub": ""}), Code.UNPINNED),
        (with_rule(issuer=["generic", "github"], when={"sub": "me"}), Code.UNPINNED),
        # deny
        (bad(deny=[deny("a", "**"), deny("a", "**")]), Code.DUPLICATE_NAME),
        (bad(deny=[deny("a")]), Code.MISSING_KEY),
        (bad(deny=[{"name": "a", "repositories": ["**"]}]), Code.CONFLICT),
        (bad(deny=[{"name": "a", "actions": ["push"], "catalog": True}]), Code.CONFLICT),
        (bad(deny=[deny("a", "**", registry="nowhere")]), Code.REFERENCE),
        (bad(deny=[deny("a", "**", issuer="nobody")]), Code.REFERENCE),
        (bad(deny=[deny("a", "**", when={"ref": "x"})]), Code.CONFLICT),
        (bad(deny=[deny("a", "**", unless={"ref": "x"})]), Code.CONFLICT),
        (bad(deny=[deny("a", "{ref}")]), Code.REPOSITORY),
        (bad(deny=[deny("a", "**", issuer="github", when={"ref": True})]), Code.CLAIM_TYPE),
        (bad(deny=[deny("a", "**", expires="2027-01-32")]), Code.DATE),
        (bad(deny=[deny("a", "**", when_any=[{"ref": "x"}])]), Code.UNKNOWN_KEY),
        (bad(deny=[deny("a", "**", mode="audit")]), Code.UNKNOWN_KEY),
        # the rest
        (bad(audit={"claims": []}), Code.EMPTY),
        (bad(audit={"claims": ["/a~2"]}), Code.POINTER),
        (bad(audit={}), Code.MISSING_KEY),
        (bad(limits={"max_scope": 1}), Code.UNKNOWN_KEY),
    ],
)
def test_policy_is_refused(data: dict[str, Any], code: Code) -> None:
    with pytest.raises(PolicyError) as caught:
        load_data(data)
    found = caught.value.problems
    assert code in {problem.code for problem in found}, [str(problem) for problem in found]
    assert all(problem.severity == "error" and problem.message for problem in found)


def test_a_secret_written_where_its_name_belongs_is_not_repeated() -> None:
    with pytest.raises(PolicyError) as caught:
        load_data(with_identity(type="service_principal", **ID, secret_setting="hunter2"))
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "data",
    [
        with_registry(login_server="contoso-e7ggejfuhzhgedc8.azurecr.io"),
        with_registry(login_server="contoso.azurecr.us", cloud="usgovernment"),
        with_registry(login_server="contoso.azurecr.cn", cloud="china"),
        with_registry(login_server="contoso.azurecr.io:443"),
        with_registry(hosts=["contoso.eastus.geo.azurecr.io", "contoso.westeurope.geo.azurecr.io"]),
        with_registry(service="contoso.azurecr.io"),
        with_registry(token_audience="https://management.azure.com"),
        with_identity(type="managed_identity"),
        with_identity(type="federated_app", **ID),
        with_identity(type="workload_identity"),
        with_identity(type="developer"),
        with_identity(type="service_principal", **ID, secret_setting="VENDING_SECRET_A"),
        with_issuer(preset="github", issuer="https://token.actions.githubusercontent.com/contoso"),
        with_issuer(preset="github", issuer="https://ghe.contoso.example/_services/token"),
        with_issuer(preset="github", algorithms=["RS256", "EdDSA"], max_token_lifetime="30d", replay="reuse"),
        with_issuer(preset="kubernetes", issuer="https://oidc.example/with/trailing/"),
        with_rule(issuer="generic", when={"sub": "*x"}),
        with_rule(issuer="generic", when={"sub": "*", "n": 1}),
        with_rule(issuer="generic", when={"sub": "*", "n": False}),
        with_rule(when={"/repository_id": "1"}),
        with_rule(when={"repository": "contoso/web"}),
        with_rule(grant("ci/{/a/b}/{oidc.circleci.com/x|lower}")),
        bad(rules=[]),
        bad(identities={"default": {"type": "developer"}}),
    ],
)
def test_policy_loads(data: dict[str, Any]) -> None:
    load_data(data)


@pytest.mark.parametrize("host", ["127.0.0.1:5000", "localhost:5000", "[::1]:5000", "localhost"])
def test_loopback_hosts_load_only_where_loopback_is_allowed(host: str) -> None:
    data = with_registry(login_server=host)
    assert load_data(data, Environment(allow_loopback=True)).registries["prod"].login_server == host
    with pytest.raises(PolicyError):
        load_data(data)


@pytest.mark.parametrize("url", ["http://127.0.0.1:7000", "http://localhost:7000/x", "http://[::1]:7000"])
def test_loopback_urls_load_only_where_loopback_is_allowed(url: str) -> None:
    data = {**with_issuer(preset="generic", issuer=url), "audience": url}
    policy = load_data(data, Environment(allow_loopback=True))
    assert policy.issuer_for(url) is not None
    with pytest.raises(PolicyError):
        load_data(data)


@pytest.mark.parametrize("host", ["127.0.0.1.evil.example:5000", "localhost.evil.example", "127.0.0.2", "0.0.0.0"])
def test_what_only_looks_like_loopback_never_loads(host: str) -> None:
    with pytest.raises(PolicyError):
        load_data(with_registry(login_server=host), Environment(allow_loopback=True))


def test_custom_cloud_needs_its_hosts_in_the_settings() -> None:
    data = with_registry(
        cloud="custom",
        login_server="r.example:5000",
        hosts=["s.example"],
        authority_host="l.example",
        token_audience="https://r.example",
    )
    allowed = frozenset({"r.example:5000", "s.example", "l.example"})
    registry = load_data(data, Environment(custom_hosts=allowed)).registries["prod"]
    assert (registry.cloud.name, registry.authority_host, registry.all_hosts) == (
        "custom",
        "l.example",
        ("r.example:5000", "s.example"),
    )
    for missing in allowed:
        with pytest.raises(PolicyError) as caught:
            load_data(data, Environment(custom_hosts=allowed - {missing}))
        assert [problem.code for problem in caught.value.problems] == [Code.REGISTRY_HOST]


def test_two_variable_insertions_are_fine_when_one_always_has_one_length() -> None:
    load_data(compose(rules=[rule("r", grant("ci/{sha|m}/{ref|path}"))], maps={"m": {"x": "a/b", "y": "c/d"}}))


# --- Files ------------------------------------------------------------------------------------------------------------


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(PolicyError) as caught:
        load(tmp_path / "none.yaml", Environment())
    assert caught.value.problems[0].code == Code.FILE


@pytest.mark.parametrize("name", ["../outside.json", "keys/../../outside.json", "link.json"])
def test_side_files_outside_the_directory_are_refused(tmp_path: Path, name: str) -> None:
    home = tmp_path / "policy"
    (home / "keys").mkdir(parents=True)
    (tmp_path / "outside.json").write_text("{}")
    (home / "link.json").symlink_to(tmp_path / "outside.json")
    (home / "policy.json").write_text(json.dumps(with_issuer(preset="github", jwks_file=name)))
    with pytest.raises(PolicyError) as caught:
        load(home / "policy.json", Environment())
    assert [(p.code, "outside" in p.message) for p in caught.value.problems] == [(Code.FILE, True)]


@pytest.mark.parametrize("content", ["", "[1, 2", '{"keys": [], "keys": []}', "[" * 100_000])
def test_side_files_are_read_strictly(tmp_path: Path, content: str) -> None:
    (tmp_path / "keys.json").write_text(content)
    (tmp_path / "policy.json").write_text(json.dumps(with_issuer(preset="github", jwks_file="keys.json")))
    with pytest.raises(PolicyError) as caught:
        load(tmp_path / "policy.json", Environment())
    assert [p.code for p in caught.value.problems] == [Code.FILE]


def test_side_files_have_a_limit(tmp_path: Path) -> None:
    (tmp_path / "keys.json").write_text(" " * 300_000)
    (tmp_path / "policy.json").write_text(json.dumps(with_issuer(preset="github", jwks_file="keys.json")))
    with pytest.raises(PolicyError, match="256 KiB"):
        load(tmp_path / "policy.json", Environment())
