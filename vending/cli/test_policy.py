"""`test`: run policy tests and say what differs from the expected outcome."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from vending.cli.cases import MAX_TESTS_BYTES, read_cases, run_cases
from vending.cli.frame import add_command
from vending.cli.inputs import existing, load_policy, now, read_text
from vending.cli.report import FINDINGS, FINE, Cell, Report, Table, line, problem_data
from vending.policy import PolicyError, Problem

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from vending.cli.cases import CaseFile, Result
    from vending.cli.frame import Commands
    from vending.cli.report import Line
    from vending.policy import Policy

_MAX_NAMED: Final = 10
_FAILED: Final = "test_failed"


def register(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "test",
        run,
        description="Run the tests of each TESTS file against POLICY with the evaluator of the running app.\n\n"
        "tests:\n"
        "  - name: main may push\n"
        "    issuer: github\n"
        '    claims: {repository_id: "123456", ref: refs/heads/main}\n'
        "    registry: prod\n"
        "    scope: repository:web/api:pull,push\n"
        "    expect: allow                  # or deny, with an optional reason\n\n"
        "A test may also say `at` (when the request is made) and `granted` (exactly what is granted).",
        exit_status="Exit status: 0 every test passed, 1 any difference or a file with errors, 2 the command cannot "
        "run as it was called.",
    )
    parser.add_argument("policy", metavar="POLICY", type=Path, help="a policy file, or a directory")
    parser.add_argument("tests", metavar="TESTS", nargs="+", type=Path, help="policy-test files, YAML or JSON")


def run(arguments: argparse.Namespace) -> Report:
    """Run every test of every file."""
    for path in arguments.tests:
        existing(path)
    policy = load_policy(arguments.policy).policy
    files = _read(arguments.tests, policy)
    results = [result for file in files for result in run_cases(file, policy, now())]
    failed = sum(not result.passed for result in results)
    untested = _untested(policy, results)
    return Report(
        FINDINGS if failed else FINE,
        data={
            "passed": len(results) - failed,
            "failed": failed,
            "tests": [_data(result) for result in results],
            "untested_rules": untested,
            "problems": problem_data(warning for file in files for warning in file.warnings),
        },
        problems=(*(warning for file in files for warning in file.warnings), *_problems(results)),
        body=(_table(results),),
        summary=(*_note(untested), _tally(len(results) - failed, failed)),
    )


def _read(paths: Sequence[Path], policy: Policy) -> list[CaseFile]:
    """Read all files, and report what is wrong with any of them at once."""
    files: list[CaseFile] = []
    problems: list[Problem] = []
    for path in paths:
        try:
            files.append(read_cases(path, read_text(str(path), MAX_TESTS_BYTES), policy))
        except PolicyError as error:
            problems += error.problems
    if problems:
        raise PolicyError(problems)
    return files


def _problems(results: Sequence[Result]) -> tuple[Problem, ...]:
    return tuple(
        Problem(r.file, r.line, r.column, _FAILED, f"{r.name}: expected {r.expected}, got {r.actual}: {r.message}")
        for r in results
        if not r.passed
    )


def _untested(policy: Policy, results: Sequence[Result]) -> list[str]:
    """Name the rules in force that contributed to no test's outcome."""
    named = {name for result in results for name in result.rules}
    in_force = {rule.name for rules in policy.rules.values() for rule in rules.rules if rule.enabled and rule.enforced}
    return sorted(in_force - named)


def _data(result: Result) -> dict[str, Any]:
    return {
        "name": result.name,
        "file": result.file,
        "line": result.line,
        "passed": result.passed,
        "expected": result.expected,
        "actual": result.actual,
        "reason": result.reason,
        "granted": list(result.granted),
        "missing": list(result.missing),
        "rules": list(result.rules),
        "denies": list(result.denies),
        "message": result.message,
    }


def _table(results: Sequence[Result]) -> Table:
    passed, failed = Cell("passed", "green"), Cell("FAILED", "bold red")
    return Table(
        ("outcome", "expected", "test"),
        tuple((passed if result.passed else failed, Cell(result.expected), Cell(result.name)) for result in results),
    )


def _note(untested: Sequence[str]) -> tuple[Line, ...]:
    if not untested:
        return ()
    more = f" and {len(untested) - _MAX_NAMED} more" if len(untested) > _MAX_NAMED else ""
    return (line(f"No test has anything granted by {', '.join(untested[:_MAX_NAMED])}{more}."),)


def _tally(passed: int, failed: int) -> Line:
    return line(f"{passed} passed, ", Cell(f"{failed} failed", "bold red" if failed else "green"))
