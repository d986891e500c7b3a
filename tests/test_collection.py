"""How tests are collected, skipped and handed out, tried on a small suite in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from devstack import tools
from devstack.stack import PROJECT
from tests.support import collection

pytestmark = pytest.mark.process

SUITE = """
import os
import pytest
from devstack import tools

@pytest.fixture
def missing():
    tools.ensure(tools.Tool("no-such-tool", debian="no-such-tool"))

def test_fixture_needs_a_tool(missing):
    raise AssertionError("never runs")

def test_needs_a_tool_itself():
    tools.may_install("an environment")
    raise AssertionError("never runs")

@pytest.mark.program("no-such-compiler")
def test_needs_a_program_of_no_registry():
    raise AssertionError("never runs")

@pytest.mark.program("sh")
def test_has_its_program():
    pass

def test_other_failures_stay_failures():
    raise RuntimeError("a real failure")
"""


def run(directory: Path, *options: str, **environment: str) -> str:
    """Run the suite in `directory` with the plugin alone; return what it printed."""
    command = [sys.executable, "-m", "pytest", "-rA", "-p", "tests.support.collection", "-p", "no:cacheprovider"]
    given = {**os.environ, "PYTHONPATH": str(PROJECT), "DEVSTACK_NO_INSTALL": "1", **environment}
    given.pop("PYTEST_XDIST_WORKER", None)
    done = subprocess.run(
        [*command, f"--rootdir={directory}", *options, str(directory)],
        cwd=directory,
        env=given,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> str:
    directory = tmp_path_factory.mktemp("suite")
    (directory / "test_suite.py").write_text(SUITE)
    return run(directory, PATH=f"{directory}:/usr/bin:/bin")


def test_tool_that_must_not_be_installed_skips_its_tests(output: str) -> None:
    assert "2 skipped" in output
    assert "no-such-tool is not installed, and DEVSTACK_NO_INSTALL=1" in output
    assert "an environment is not installed, and DEVSTACK_NO_INSTALL=1" in output


def test_nothing_else_is_skipped(output: str) -> None:
    assert "1 failed, 1 passed, 2 skipped" in output


def test_program_that_no_registry_has_leaves_its_tests_out_and_says_so(output: str) -> None:
    assert "not collected: 1 tests that need no-such-compiler" in output
    assert "test_needs_a_program_of_no_registry" not in output


def test_missing_tools_are_named_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    missing = [tools.Tool("one", debian="one"), tools.Tool("two", npm="two@1"), tools.Tool("three", debian="three-bin")]
    monkeypatch.setenv("DEVSTACK_NO_INSTALL", "1")
    [line] = collection.report_missing(missing)
    assert line.startswith("missing tools: one (Debian), two (npm), three (Debian); DEVSTACK_NO_INSTALL=1")
    monkeypatch.delenv("DEVSTACK_NO_INSTALL")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    [line] = collection.report_missing(missing)
    assert line.endswith("sudo apt-get install one three-bin")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    [line] = collection.report_missing(missing)
    assert line.endswith("installed when first needed")
    assert collection.report_missing([]) == []


def test_workers_get_whole_files(tmp_path: Path) -> None:
    for name in "abcd":
        (tmp_path / f"test_{name}.py").write_text(
            "import os, pathlib, pytest, time\n"
            "@pytest.mark.parametrize('n', range(6))\n"
            "def test_it(n):\n"
            f"    with open({str(tmp_path / name)!r}, 'a') as file:\n"
            "        file.write(os.environ['PYTEST_XDIST_WORKER'] + '\\n')\n"
        )
    run(tmp_path, "-n", "2", "--dist", "loadscope", "--no-loadscope-reorder")
    workers = [(tmp_path / name).read_text().split() for name in "abcd"]
    assert all(len(ran) == 6 and len(set(ran)) == 1 for ran in workers)
    assert len({ran[0] for ran in workers}) == 2
