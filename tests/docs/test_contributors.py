"""docs/architecture.md and docs/contributing.md say of the code what the code says of itself."""

from __future__ import annotations

import ast
import re
import subprocess
import tomllib
from functools import cache

import pytest

from devstack.stack import PROJECT

ARCHITECTURE = (PROJECT / "docs" / "architecture.md").read_text(encoding="utf-8")
CONTRIBUTING = (PROJECT / "docs" / "contributing.md").read_text(encoding="utf-8")
SOURCES = {path.relative_to(PROJECT).as_posix(): path.read_text("utf-8") for path in PROJECT.glob("vending/**/*.py")}
OFFLINE = (
    "vending/assurance/",
    "vending/evidence/",
    "vending/cli/",
    "vending/starter/",
    "vending/policy/compiler/",
    "vending/policy/lint/",
)
"""What runs before a policy is in force, and serves no request."""
RECIPES = re.findall(r"^### (Add an? \w+)\n\nFollow `(\w+)`\.\n\n((?:- .*\n(?:  .*\n)*)+)", CONTRIBUTING, re.MULTILINE)


@cache
def trees() -> dict[str, ast.Module]:
    """Parse every module, once and only where a test asks."""
    return {name: ast.parse(text) for name, text in SOURCES.items()}


def contract(number: int) -> list[list[str]]:
    """Return the lines of a contract on imports, each the modules of one layer."""
    settings = tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"]["importlinter"]
    return [line.split(" | ") for line in settings["contracts"][number]["layers"]]


def tables() -> list[list[list[str]]]:
    """Return the first cells of the two tables of modules, each the modules that it names."""
    found = re.findall(r"\| modules \| what they are for \|\n\| --- \| --- \|\n((?:\|.*\n)+)", ARCHITECTURE)
    return [[re.findall(r"`(\w+)`", row.split("|")[1]) for row in table.splitlines()] for table in found]


@pytest.mark.parametrize("number", [0, 1])
def test_map_shows_what_the_check_of_imports_holds(number: int) -> None:
    assert tables()[number] == contract(number)


def test_every_cache_is_in_the_table() -> None:
    """Whatever keeps entries by a key from one request to the next."""
    rows = ARCHITECTURE.partition("## Every cache")[2]
    named = {f"vending/{path}" for path in re.findall(r"\(`([\w/]+(?:\.py|/))`\)", rows)}
    assert all((PROJECT / path).exists() for path in named)
    keeps = re.compile(r"self\.\w+(?:: (?:\w+\.)?(?:dict|OrderedDict|deque|WeakKeyDictionary)\b|.*= OrderedDict\(\))")
    kept = {
        name
        for name, text in SOURCES.items()
        if keeps.search(text) and not name.startswith(("vending/policy/", *OFFLINE))
    }
    missing = {name for name in kept if name not in named and f"{name.rpartition('/')[0]}/" not in named}
    assert missing <= {"vending/audit.py", "vending/recorder.py"}  # Of one request.


def test_only_http_knows_azure_functions() -> None:
    knowing = {
        name for name, tree in trees().items() if any(_imports(node, "azure.functions") for node in ast.walk(tree))
    }
    assert knowing == {"vending/http.py"}


def _imports(node: ast.AST, module: str) -> bool:
    if isinstance(node, ast.Import):
        return any(alias.name == module for alias in node.names)
    return isinstance(node, ast.ImportFrom) and node.module == module


def _calls(tree: ast.AST, *names: str) -> bool:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            function = node.func
            name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
            if name in names:
                return True
    return False


def test_policy_opens_files_in_one_place() -> None:
    opening = {
        name
        for name, tree in trees().items()
        if name.startswith("vending/policy/") and _calls(tree, "open", "read_bytes", "read_text")
    }
    assert opening - {"vending/policy/language/merge.py"} == {"vending/policy/compiler/load.py"}
    # `merge` is handed the function that reads.
    assert "read_bytes: Callable" in SOURCES["vending/policy/language/merge.py"]


def test_engine_has_no_clock_and_no_io() -> None:
    for name, tree in trees().items():
        if name.startswith("vending/policy/engine/"):
            assert not _calls(tree, "now", "utcnow", "today", "monotonic", "open", "getenv"), name
            assert not any(
                _imports(node, module) for node in ast.walk(tree) for module in ("os", "asyncio", "time", "socket")
            )


def test_only_verification_makes_verified_claims_from_a_token() -> None:
    """Command line and assurance make them from claims that a policy's owner wrote down, or that no token ever had."""
    making = {name for name, tree in trees().items() if _calls(tree, "VerifiedClaims")}
    assert {name for name in making if not name.startswith(OFFLINE)} == {"vending/oidc/verify.py"}


def test_story_of_a_request_is_on_one_screen() -> None:
    [story] = [
        node
        for node in ast.walk(trees()["vending/vendor.py"])
        if isinstance(node, ast.AsyncFunctionDef) and node.name == "token"
    ]
    assert (story.end_lineno or 0) - story.lineno < 30


def test_every_recipe_is_read() -> None:
    assert [title for title, _, _ in RECIPES] == ["Add a provider", "Add a reason", "Add a lint", "Add an endpoint"]


@pytest.mark.parametrize(("example", "steps"), [(row[1], row[2]) for row in RECIPES], ids=[row[0] for row in RECIPES])
def test_recipe_names_every_file_of_its_example(example: str, steps: str) -> None:
    listed = re.findall(r"^- `([^`]+)`", steps, re.MULTILINE)
    assert listed
    for path in listed:
        assert example in (PROJECT / path).read_text(encoding="utf-8").lower(), path
    tracked = subprocess.run(
        ["git", "grep", "-il", example, "--", "vending"], cwd=PROJECT, capture_output=True, text=True, check=True
    ).stdout.split()
    assert set(tracked) <= set(listed)


@pytest.mark.parametrize("text", [ARCHITECTURE, CONTRIBUTING], ids=["architecture", "contributing"])
def test_every_path_that_is_named_exists(text: str) -> None:
    for path in re.findall(r"`((?:vending|tests|docs|devstack|\.ci)/[\w/.*-]+)`", text):
        assert list(PROJECT.glob(path)), path


def test_every_target_of_make_is_described() -> None:
    targets = set(re.findall(r"^([a-z-]+):.*## ", (PROJECT / "Makefile").read_text(), re.MULTILINE))
    defined = set(re.findall(r"^([a-z-]+):", (PROJECT / "Makefile").read_text(), re.MULTILINE))
    assert targets == defined
    assert set(re.findall(r"`make ([a-z-]+)", CONTRIBUTING)) <= targets
