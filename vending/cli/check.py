"""`check`: parse and lint policies. Errors keep a policy from loading; warnings say what its author may not want."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from vending.cli.frame import add_command
from vending.cli.inputs import existing, now, places, policy_environment
from vending.cli.progress import Progress
from vending.cli.report import FINDINGS, FINE, Cell, Report, count, line, problem_data
from vending.policy import PolicyError, load_with_source
from vending.policy.lint import lint
from vending.policy.lint.accept import NOT_PROVED

if TYPE_CHECKING:
    import argparse

    from vending.cli.frame import Commands
    from vending.cli.report import Line
    from vending.policy import Environment, Loaded, Problem


def register(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "check",
        run,
        description="Parse and lint each POLICY by itself, as the app would load it; a directory is one policy.\n"
        "docs/lint.md explains every code. VENDING_CUSTOM_HOSTS and VENDING_ALLOW_LOOPBACK count as in the app.",
        exit_status="Exit status: 0 fine, 1 errors (with --strict also warnings), 2 the command cannot run as it was "
        "called.",
    )
    parser.add_argument("policies", metavar="POLICY", nargs="+", type=Path, help="a policy file, or a directory")
    parser.add_argument("--strict", action="store_true", help="exit with 1 on warnings too")


def run(arguments: argparse.Namespace) -> Report:
    """Check every policy that was named."""
    environment = policy_environment()
    for path in arguments.policies:
        existing(path)
    checked = [(path, *_check(path, environment)) for path in arguments.policies]
    failing = {"error", "warning"} if arguments.strict else {"error"}
    return Report(
        FINDINGS if any(p.severity in failing for _, problems, _ in checked for p in problems) else FINE,
        data={"policies": [_data(path, problems, facts) for path, problems, facts in checked]},
        problems=tuple(problem for _, problems, _ in checked for problem in problems),
        summary=tuple(_summary(path, problems, facts) for path, problems, facts in checked),
    )


def _check(path: Path, environment: Environment) -> tuple[tuple[Problem, ...], dict[str, Any]]:
    """Return what is wrong with one policy, and what there is to say about it if it loads."""
    try:
        loaded = load_with_source(path, environment)
    except PolicyError as error:
        return error.problems, {}
    facts = {"sha256": loaded.policy.sha256, "rules": len(loaded.model.rules), "deny": len(loaded.model.deny)}
    return (*lint(loaded, now()), *_never(loaded)), facts


def _never(loaded: Loaded) -> list[Problem]:
    """Prove the `never` entries, and say what breaks one or could not be proved, unless an entry accepts the latter."""
    if not loaded.model.never:
        return []
    from vending.assurance.never import Verdict, problem, prove

    progress = Progress("issuers examined")
    findings = prove(loaded.policy, now(), progress)
    progress.close()
    never, rules = places(loaded, "never"), places(loaded)
    accepting = {entry.name for entry in loaded.model.never if NOT_PROVED in entry.accept}
    return [
        problem(finding, never, rules)
        for finding in findings
        if finding.verdict is Verdict.VIOLATED
        or (finding.verdict is Verdict.NOT_PROVED and finding.name not in accepting)
    ]


def _tally(problems: tuple[Problem, ...]) -> dict[str, int]:
    return {
        severity: sum(problem.severity == severity for problem in problems) for severity in ("error", "warning", "info")
    }


def _data(path: Path, problems: tuple[Problem, ...], facts: dict[str, Any]) -> dict[str, Any]:
    tally = _tally(problems)
    return {
        "policy": str(path),
        "errors": tally["error"],
        "warnings": tally["warning"],
        "information": tally["info"],
        **facts,
        "problems": problem_data(problems),
    }


def _summary(path: Path, problems: tuple[Problem, ...], facts: dict[str, Any]) -> Line:
    tally = _tally(problems)
    found = [count(tally["error"], "error")] if tally["error"] else []
    found += [count(tally["warning"], "warning")] if tally["warning"] else []
    found += [f"{tally['info']} for information"] if tally["info"] else []
    style = "bold red" if tally["error"] else "yellow" if tally["warning"] else "green"
    holds = f" ({count(facts['rules'], 'rule')}, {count(facts['deny'], 'deny entry', 'deny entries')})" if facts else ""
    return line(f"{path}: ", Cell(", ".join(found) or "fine", style), holds)
