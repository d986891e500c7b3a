"""A function fits on a screen, and a module holds one concept: neither grows past its bound."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from devstack.stack import PROJECT

FOLDERS = ("vending", "devstack", "bench", "scripts", "infra", "clients")
HELPER = PROJECT / "clients" / "docker-credential-acr-vending"
"""A program of one file, so that it runs wherever it is copied."""
MODULES = [
    PROJECT / "function_app.py",
    *sorted(path for name in FOLDERS for path in (PROJECT / name).rglob("*.py") if "node_modules" not in path.parts),
]
MAX_FUNCTION_LINES = 49
MAX_MODULE_LINES = 499


def long_functions(text: str) -> list[str]:
    """Name the functions with more lines than MAX_FUNCTION_LINES, decorators left out."""
    return [
        f"{node.name}: {lines} lines"
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (lines := (node.end_lineno or node.lineno) - node.lineno + 1) > MAX_FUNCTION_LINES
    ]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PROJECT)))
def test_module_and_its_functions_stay_small(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MAX_MODULE_LINES
    assert long_functions(text) == []


def test_the_credential_helper_is_long_but_its_functions_are_not() -> None:
    assert long_functions(HELPER.read_text(encoding="utf-8")) == []


def test_everything_that_is_written_in_python_is_measured() -> None:
    measured = {path.relative_to(PROJECT).parts[0] for path in MODULES}
    assert measured >= {"function_app.py", "vending", "devstack", "bench", "scripts", "infra", "clients"}


def test_long_function_is_found() -> None:
    body = "\n".join("    pass" for _ in range(MAX_FUNCTION_LINES))
    assert long_functions(f"def outer():\n{body}\n") == ["outer: 50 lines"]
    assert long_functions(f"class A:\n  async def inner(self):\n{body.removesuffix('    pass').rstrip()}\n") == []
