"""`doctor`: tell an operator what works, what does not, and what fixes it, with the settings of the app."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from vending.cli.frame import add_command
from vending.cli.report import FINDINGS, FINE, Cell, Report, count, line, problem_data
from vending.policy import PolicyError
from vending.settings import Settings, SettingsError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping, Sequence

    from vending.cli.diagnosis import Diagnostic
    from vending.cli.frame import Commands
    from vending.cli.report import Line
    from vending.policy import Problem

_STYLES: Final[Mapping[str, str]] = {"ok": "green", "warning": "yellow", "error": "bold red"}
_QUIET: Final = ("vending", "azure", "msal", "httpx", "httpcore", "urllib3")
"""What they log is in the report, in better words."""
_SOME_URL: Final = {"VENDING_PUBLIC_URL": "https://localhost"}


def register(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "doctor",
        run,
        description="Check, with the app's settings in the environment: the policy; each issuer's discovery document\n"
        "and keys; a token of each identity; for each registry the exchange, and a probe of what the rules\n"
        "grant. It changes nothing, and shows no token. What it looks at goes to standard error as it happens.",
        exit_status="Exit status: 0 all is well (warnings allowed), 1 something must be fixed, 2 the command "
        "cannot run as it was called.",
    )
    parser.add_argument(
        "--policy", metavar="POLICY", help="a file, directory or blob URL instead of the setting VENDING_POLICY"
    )


def run(arguments: argparse.Namespace) -> Report:
    """Examine what the settings name."""
    environment = dict(os.environ)
    if arguments.policy is not None:
        policy = arguments.policy
        environment["VENDING_POLICY"] = policy if "://" in policy else os.path.abspath(policy)  # noqa: PTH100 - a URL is no path.
    settings, findings = _settings(environment)
    problems: tuple[Problem, ...] = ()
    if settings is not None:
        with _quiet():
            more, problems = asyncio.run(_examine(settings))
        findings += more
    return _report(findings, problems)


def _settings(environment: Mapping[str, str]) -> tuple[Settings | None, list[Diagnostic]]:
    """Read the settings; where only the public URL is missing, which no check needs, go on without it."""
    from vending.cli.diagnosis import Diagnostic

    try:
        return Settings.from_environment(environment), []
    except SettingsError as error:
        found = [Diagnostic("settings", "environment", "error", str(error), "Set it in the app's settings.")]
    try:
        return Settings.from_environment({**environment, **_SOME_URL}), found
    except SettingsError:
        return None, found


async def _examine(settings: Settings) -> tuple[list[Diagnostic], tuple[Problem, ...]]:
    from vending.cli.diagnosis import Diagnosis
    from vending.http_client import Http

    async with Http() as http:
        try:
            return [finding async for finding in Diagnosis(settings, http, _say).findings()], ()
        except PolicyError as error:
            return [], error.problems


def _say(what: str) -> None:
    sys.stderr.write(f"checking {what} ...\n")
    sys.stderr.flush()


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what libraries and the app would log out of the way."""
    loggers = [logging.getLogger(name) for name in _QUIET]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


def _report(findings: Sequence[Diagnostic], problems: tuple[Problem, ...]) -> Report:
    errors = sum(finding.outcome == "error" for finding in findings) + len(problems)
    warnings = sum(finding.outcome == "warning" for finding in findings)
    summary = f"{count(errors, 'thing')} to fix, {count(warnings, 'warning')}"
    return Report(
        FINDINGS if errors else FINE,
        data={
            "findings": [
                {
                    "check": finding.check,
                    "name": finding.name,
                    "outcome": finding.outcome,
                    "message": finding.message,
                    "advice": finding.advice,
                }
                for finding in findings
            ],
            "problems": problem_data(problems),
        },
        problems=problems,
        body=tuple(text for finding in findings for text in _lines(finding)),
        summary=(line(Cell(summary, _STYLES["error" if errors else "warning" if warnings else "ok"])),),
    )


def _lines(finding: Diagnostic) -> Iterator[Line]:
    yield line(
        Cell(f"{finding.outcome:<8}", _STYLES[finding.outcome]),
        f"{finding.check} {finding.name}: {finding.message}",
    )
    if finding.advice is not None:
        yield line(f"→ {finding.advice}", indent=8)
