"""The fuzz targets for policy files: whatever is in them, loading either refuses them with a place or loads them, and
then linting and deciding work. As bytes, as mutations of a valid policy, and as directories.
"""

from __future__ import annotations

import atexit
import copy
import json
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

from vending.acr import scope
from vending.oidc.types import VerifiedClaims
from vending.policy import Environment, Loaded, PolicyError, Problem, decide, load_bytes, load_with_source
from vending.policy.compiler.load import compile_directory
from vending.policy.language.problems import Code
from vending.policy.lint import lint

_ENVIRONMENT: Final = Environment(custom_hosts=frozenset({"r.example", "l.example"}))
_NOW: Final = 1_800_000_000.0
_CLAIMS: Final[dict[str, Any]] = {
    "iss": "https://token.actions.githubusercontent.com", "sub": "repo:a/b:ref:refs/heads/main", "repository_id": "1",
    "repository_owner_id": "9", "repository": "Acme/Web", "ref": "refs/heads/main", "environment": "production",
    "list": ["a", 1, None], "deep": {"a/b": {"c": "d"}}, "flag": True, "number": 1, "null": None,
}  # fmt: skip
_SCOPES: Final = scope.parse("repository:web/api:pull,push repository:ci/acme/web/x:delete registry:catalog:*")

POLICY: Final[dict[str, Any]] = {
    "version": 1,
    "audience": "https://vend.contoso.example",
    "registries": {
        "prod": {"login_server": "contoso.azurecr.io", "hosts": ["contoso.eastus.geo.azurecr.io"], "identity": "app"},
        "own": {
            "cloud": "custom", "login_server": "r.example", "authority_host": "l.example",
            "token_audience": "https://r.example", "accept": {"x": "because"},
        },
    },
    "identities": {
        "default": {"type": "managed_identity"},
        "app": {
            "type": "federated_app", "tenant_id": "00000000-0000-0000-0000-000000000001",
            "client_id": "00000000-0000-0000-0000-000000000002", "managed_identity": "default",
        },
    },
    "issuers": {
        "github": {"preset": "github", "max_token_lifetime": "15m", "algorithms": ["RS256"]},
        "gitlab": {"preset": "gitlab", "issuer": "https://gitlab.contoso.example", "replay": "reuse"},
        "other": {"preset": "generic", "issuer": "https://idp.example", "identity_claims": ["sub", "/deep/a~1b"]},
        "keys": {
            "preset": "generic", "issuer": "https://keys.example", "jwks": {"keys": [{
                "kty": "OKP", "crv": "Ed25519", "kid": "k", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
            }]},
        },
    },
    "maps": {"images": {"1": "web/api", "2": ["web/ui", "web/ui/**"]}, "teams": {"9": "team/a"}},
    "conditions": {
        "people": {"unless": {"actor": "*[bot]"}},
        "release": {"when": {"ref": "refs/heads/main"}, "when_any": [{"environment": "production"}, {"flag": True}]},
    },
    "lists": {"repositories": ["1", "2"], "owners": ["9"]},
    "rules": [
        {
            "name": "first", "description": "text", "issuer": "github", "use": ["people", "release"],
            "when": {"repository_id": {"in": "repositories"}, "head_ref": {"absent": True}},
            "when_any": [{"ref": "refs/heads/main"}, {"ref": ["refs/tags/v*", "refs/tags/**"]}],
            "grant": [
                {"registry": ["prod", "own"], "repositories": ["web/**", "ci/{repository|lower|path}", "{ref|images}"],
                 "actions": ["pull", "push", "delete"]},
                {"registry": "prod", "repositories": ["ci/{repository_id}/**", "{repository_owner_id|teams}/x"],
                 "actions": ["metadata_read"], "catalog": True},
            ],
            "not_before": "2026-01-01T08:00Z", "expires": "2028-06-30", "accept": {"no_immutable_id": "because"},
        },
        {"name": "second", "issuer": ["gitlab", "other"], "when": {"sub": ["a", "b*"], "/deep/a~1b/c": "d"},
         "grant": [{"registry": "prod", "catalog": True}], "mode": "audit", "enabled": False},
    ],
    "deny": [
        {"name": "all", "repositories": ["secret/**", "x"], "actions": ["delete", "push"], "expires": "2028-01-01"},
        {"name": "some", "issuer": "github", "when": {"number": 1}, "unless": {"ref": "y"}, "catalog": True},
    ],
    "never": [{"name": "n", "issuer": "github", "when": {"ref": "refs/pull/**"}, "repositories": ["**"],
               "actions": ["push"]}],
    "limits": {"requests_per_minute": 600, "max_scopes": 32},
    "audit": {"claims": ["actor", "email"]},
    "files": {"team.yaml": {"repositories": ["web/**"], "registries": ["prod"], "issuers": ["github"], "deny": True}},
}  # fmt: skip

_ODD: Final[tuple[Any, ...]] = (
    None, True, False, 0, 1, -1, 2**63, 10**30, 0.5, "", " ", "*", "**", "***", "/", "/a~2",
    "//", "a/b", "{", "{}", "{a}", "{a|b}", "{/deep/a~1b|lower|path}", "{repository|images}/**", "\ud800", "\U0001f600",
    "é", "a\nb", "\x00", "2027-13-01", "2027-01-01T25:00Z", "0000-00-00", "1d", "9999999d", "https://", "https://[",
    "https://x:99999999", "https://[::1", "http://localhost", "x.azurecr.io:99999", "[::1]:0", "a" * 5000, "RS256",
    [], {}, [[]], {"": {}}, {"in": "nothing"}, {"in": ["x"]}, {"absent": False}, [{"in": "x"}], {"a": [{}]},
    {"absent": True, "in": "repositories"}, ["people", "people"], [None], {"keys": [{}]}, {"\ud800": 1},
)  # fmt: skip


@cache
def _directory() -> Path:
    """Return a directory that lives as long as the process."""
    made = tempfile.TemporaryDirectory(prefix="fuzz-policy-")
    atexit.register(made.cleanup)
    return Path(made.name)


def _write(files: Mapping[str, bytes]) -> Path:
    directory = _directory()
    for old in directory.iterdir():
        old.unlink()
    for name, data in files.items():
        (directory / name).write_bytes(data)
    return directory


def _outcome(path: Path, lines: int) -> Loaded | frozenset[str]:
    """Return the policy, or the codes of what it is refused for; anything but that is a finding."""
    try:
        loaded = load_with_source(path, _ENVIRONMENT)
    except PolicyError as error:
        _check_problems(error.problems, lines)
        return frozenset(problem.code for problem in error.problems)
    _check_problems(lint(loaded, _NOW), lines)
    for issuer in loaded.policy.issuers.values():
        claims = VerifiedClaims(issuer.name, _CLAIMS)
        for registry in loaded.policy.registries:
            decide(loaded.policy, claims, registry, _SCOPES, _NOW)
            decide(loaded.policy, claims, registry, None, _NOW)
    return loaded


def _check_problems(problems: Iterable[Problem], lines: int) -> None:
    for problem in problems:
        assert problem.code != Code.LOADER, problem
        assert 1 <= problem.line <= lines, problem
        assert problem.column >= 1, problem
        str(problem).encode()


def _lines(data: bytes) -> int:
    return data.count(b"\n") + data.count(b"\r") + 2


def fuzz_policy_yaml(data: bytes) -> None:
    """Load the input as a YAML policy."""
    _outcome(_write({"p.yaml": data}) / "p.yaml", _lines(data))


def fuzz_policy_json(data: bytes) -> None:
    """Load the input as a JSON policy."""
    _outcome(_write({"p.json": data}) / "p.json", _lines(data))


def fuzz_policy_mutated(data: bytes) -> None:
    """Load a valid policy that the input changes; JSON is YAML, so that both readers must agree."""
    text = json.dumps(_mutated(data), indent=1).encode()
    as_json = _outcome(_write({"p.json": text}) / "p.json", _lines(text))
    as_yaml = _outcome(_write({"p.yaml": text}) / "p.yaml", _lines(text))
    assert isinstance(as_json, Loaded) == isinstance(as_yaml, Loaded), (as_json, as_yaml)


def fuzz_policy_directory(data: bytes) -> None:
    """Compile a directory of three files: what comes out loads again, and is the same policy."""
    main, team, more = [*data.split(b"\0", 2), b"", b""][:3]
    directory = _write({"main.yaml": main, "team.yaml": team, "more.json": more})
    outcome = _outcome(directory, _lines(data))
    if isinstance(outcome, Loaded):
        compiled = compile_directory(directory, _ENVIRONMENT)
        again = load_bytes(compiled, name="compiled.json", environment=_ENVIRONMENT, directory=None)
        assert again.sha256 == outcome.policy.sha256
        assert again.registries == outcome.policy.registries


def _mutated(data: bytes) -> Any:
    """Change the policy at the places and in the ways that the bytes choose, four bytes a change."""
    policy = copy.deepcopy(POLICY)
    for start in range(0, min(len(data), 40) - 3, 4):
        places = list(_places(policy))
        high, low, way, choice = data[start : start + 4]
        container, step = places[(high << 8 | low) % len(places)]
        odd = copy.deepcopy(_ODD[choice % len(_ODD)])
        if way % 5 == 0:
            del container[step]
        elif way % 5 == 1 and isinstance(container, dict):
            container[str(odd)[:80]] = container[step]
        elif way % 5 == 2:
            other, at = places[choice % len(places)]
            container[step] = copy.deepcopy(other[at])
        elif way % 5 == 3 and isinstance(container[step], str):
            text, at = container[step], choice % (len(container[step]) + 1)
            container[step] = text[:at] + chr(way) + text[at + (way & 1) :]
        else:
            container[step] = odd
    return policy


def _places(node: Any) -> Iterator[tuple[Any, Any]]:
    steps: Iterable[Any] = list(node) if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ()
    for step in steps:
        yield node, step
        yield from _places(node[step])


_HEAD: Final = {key: POLICY[key] for key in ("version", "audience", "registries", "identities", "issuers")}
_PART: Final = {key: POLICY[key] for key in ("rules", "deny", "maps")}
_YAML: Final = b"""\
# A policy as people write it.
version: 1
audience: https://vend.contoso.example
registries: {prod: {login_server: contoso.azurecr.io}}
issuers: {github: {preset: github}}
maps:
  images: {"1": web/api}
rules:
  - name: web
    issuer: github
    when: {repository_id: "1", ref: [refs/heads/main, 'refs/tags/v*'], n: 5, t: true}
    grant:
      - registry: prod
        repositories: [web/api, "web/cache/**", "ci/{repository|lower|path}"]
        actions: [pull, push]
    expires: 2028-06-30
    not_before: 2026-01-01T08:00Z
"""

TARGETS: Final[Mapping[str, Callable[[bytes], None]]] = {
    "policy-yaml": fuzz_policy_yaml,
    "policy-json": fuzz_policy_json,
    "policy-mutated": fuzz_policy_mutated,
    "policy-directory": fuzz_policy_directory,
}
SEEDS: Final[Mapping[str, tuple[bytes, ...]]] = {
    "policy-yaml": (_YAML, b'a: "\\ud800"', b'"\\U00110000"', b"? [a]: *b\n!c &d e: |\n f"),
    "policy-json": (json.dumps(POLICY).encode(), b'{"\\ud800": 1}', b'{"a": [1e5, -0, null], "a": {}}'),
    "policy-mutated": (bytes(range(40)), bytes(range(80, 160, 2)), b"\0\0\0\0"),
    "policy-directory": (
        b"\0".join((json.dumps(_HEAD).encode(), json.dumps(_PART, indent=1).encode(), b'{"rules": []}')),
        b"\0".join((_YAML, b"deny:\n  - {name: d, repositories: ['**'], actions: [delete]}", b"{}")),
        b"\xff\0[\0{",
    ),
}
