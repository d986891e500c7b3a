"""What is collected, skipped and run where: a pytest plugin that knows programs and workers, and no test.

- A check whose program no package registry offers carries `@pytest.mark.program("bicep")`, or asks for a fixture of
  PROGRAM_FIXTURES. Where the program is not on the PATH the check is not collected, and one line at the top says so.
- Programs that can be installed are installed when first needed. The top of the run lists all that are missing at once.
  With DEVSTACK_NO_INSTALL=1, or where a program cannot be installed, the tests that need it are skipped, never failed.
- With several workers (`-n 2`) each file runs on one of them, because its servers are shared by its tests; what shares
  more than that is a group of GROUPS. Slow groups start first. `-n auto` is one worker more than there are cores: tests
  that wait for a server, a process or the clock leave a core idle.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections import Counter
from collections.abc import Generator, Sequence
from pathlib import Path

import pytest
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

from devstack import tools
from tests.support import examples

PROGRAM_FIXTURES = {"terraform": "terraform", "applied": "terraform", "deployed": "terraform"}
"""Fixtures that need a program which no package registry offers."""

PROCESS_FIXTURES = {"upstreams", "azurite", "host", "editor"}
"""Fixtures that start servers or processes."""

GROUPS = {
    "tests/infra/": "infra",
    "tests/clients/test_real_clients.py": "engine",
    "tests/clients/test_docs.py": "engine",
    "tests/packaging/test_check_policy_action.py": "policy repository",
    "tests/packaging/test_hook.py": "policy repository",
    "tests/packaging/test_pipelines.py": "policy repository",
    "tests/packaging/test_policy_repository_page.py": "policy repository",
    "tests/packaging/test_starter.py": "policy repository",
    "tests/packaging/test_usage_workflow.py": "policy repository",
    "tests/telemetry/": "telemetry",
    "tests/soak/": "soak",
    "tests/fuzz/": "soak",
}
"""Paths whose tests share what is expensive to set up, or must not run beside each other: they run on one worker."""

SLOW_FIRST = (
    "tests/infra/",
    "tests/packaging/",
    "tests/policy/test_properties.py",
    "tests/soak/",
    "tests/fuzz/",
    "tests/clients/",
    "tests/telemetry/",
    "tests/e2e/",
    "tests/devstack/",
    "tests/policy/test_all_at_once.py",
    "tests/assurance/",
    "tests/evidence/",
)
"""With several workers these start first, the longest groups before all, so that nobody waits for them at the end."""

INSTALLED_ON_DEMAND = (
    tools.DOCKER_REGISTRY,
    tools.SKOPEO,
    tools.NODE,
    tools.NPM,
    tools.AZURITE,
    tools.OAUTH2_MOCK_SERVER,
    tools.CHROMIUM,
    tools.CHROMEDRIVER,
    tools.YAML_LANGUAGE_SERVER,
    tools.AXE,
    tools.MMDEBSTRAP,
)

_left_out: Counter[str] = Counter()


def pytest_configure(config: pytest.Config) -> None:
    """Describe the marker and set how often properties are tried."""
    for marker in (
        "program(name): needs a program that no package registry offers; not collected without it",
        "process: starts other processes, so `make check` leaves it out; set where a fixture does",
    ):
        config.addinivalue_line("markers", marker)
    examples.register()
    _prefer_the_interpreter_itself()


def _prefer_the_interpreter_itself() -> None:
    """Let `python3` be this interpreter, not a version manager's script that costs as much as starting it once more."""
    os.environ["PATH"] = f"{Path(sys.base_prefix, 'bin')}{os.pathsep}{os.environ['PATH']}"


def pytest_xdist_auto_num_workers() -> int:
    """Return how many workers `-n auto` starts."""
    return (os.cpu_count() or 1) + 1


def pytest_report_header() -> list[str]:
    """Say what is missing before anything runs."""
    return report_missing([tool for tool in INSTALLED_ON_DEMAND if tools.find(tool) is None])


def report_missing(missing: Sequence[tools.Tool]) -> list[str]:
    """Name all missing tools in one line, and what happens about them; nothing where none is missing."""
    if not missing:
        return []
    what = ", ".join(f"{tool.command} ({'npm' if tool.npm else 'Debian'})" for tool in missing)
    debian = " ".join(str(tool.debian) for tool in missing if tool.debian)
    if os.environ.get("DEVSTACK_NO_INSTALL") == "1":
        then = "DEVSTACK_NO_INSTALL=1, so the tests that need them are skipped"
    elif debian and os.geteuid() != 0:
        then = f"not root, so first run: sudo apt-get install {debian}"
    else:
        then = "installed when first needed"
    return [f"missing tools: {what}; {then}"]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what needs a program that is not there, and put each test where it runs."""
    items[:] = [item for item in items if not _lacks_a_program(item)]
    for item in items:
        if PROCESS_FIXTURES.intersection(getattr(item, "fixturenames", ())):
            item.add_marker("process")
    if os.environ.get("PYTEST_XDIST_WORKER"):
        items.sort(key=lambda item: _rank(_path(item)))


class _ByGroup(LoadScopeScheduling):  # type: ignore[misc]
    """pytest-xdist's scheduler of whole scopes, where a scope is a group of GROUPS or a file."""

    def _split_scope(self, nodeid: str) -> str:
        return _group(nodeid.partition("::")[0])


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object | None:
    """Hand out groups with `--dist loadscope`; every other kind of distribution is pytest-xdist's own."""
    return _ByGroup(config, log) if config.getvalue("dist") == "loadscope" else None


def pytest_report_collectionfinish(config: pytest.Config, items: Sequence[pytest.Item]) -> list[str]:
    """Say in one line what was not collected."""
    return _line()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say it at the end too, where somebody looks; with workers, the first time."""
    for line in _line() or _from_workers(terminalreporter):
        terminalreporter.write_line(line)


def _line() -> list[str]:
    if not _left_out:
        return []
    what = ", ".join(f"{count} tests that need {program}" for program, count in sorted(_left_out.items()))
    return [f"not collected: {what}, which is not on the PATH and in no package registry"]


def _from_workers(reporter: pytest.TerminalReporter) -> list[str]:
    """Look the programs up again: workers collect for themselves and tell nobody."""
    if not reporter.config.pluginmanager.hasplugin("dsession"):
        return []
    absent = sorted({program for program in PROGRAM_FIXTURES.values() if not shutil.which(program)})
    return [f"not collected: tests that need {program}, which is not on the PATH" for program in absent]


def _lacks_a_program(item: pytest.Item) -> bool:
    needed = {str(marker.args[0]) for marker in item.iter_markers("program")}
    needed |= {PROGRAM_FIXTURES[name] for name in getattr(item, "fixturenames", ()) if name in PROGRAM_FIXTURES}
    absent = sorted(program for program in needed if not shutil.which(program))
    _left_out.update(absent[:1])
    return bool(absent)


def _path(item: pytest.Item) -> str:
    return item.nodeid.partition("::")[0]


def _group(path: str) -> str:
    return next((group for prefix, group in GROUPS.items() if path.startswith(prefix)), path)


def _rank(path: str) -> int:
    return next((rank for rank, prefix in enumerate(SLOW_FIRST) if path.startswith(prefix)), len(SLOW_FIRST))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None]:
    """Skip a test whose fixture needs a tool that is not to be had."""
    return (yield from _unavailable_is_a_skip())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    """Skip a test that needs a tool which is not to be had."""
    return (yield from _unavailable_is_a_skip())


def _unavailable_is_a_skip() -> Generator[None]:
    try:
        return (yield)
    except tools.Unavailable as reason:
        pytest.skip(str(reason))
