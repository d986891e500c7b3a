"""`compile`: merge a directory of policy files into the one JSON file that is deployed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from vending.cli.frame import add_command
from vending.cli.inputs import STDIN, policy_environment
from vending.cli.report import FINE, Report, UsageError, count, line
from vending.policy import load_bytes
from vending.policy.compiler.load import compile_directory

if TYPE_CHECKING:
    import argparse

    from vending.cli.frame import Commands

_SUFFIX: Final = ".json"


def register(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "compile",
        run,
        description="Merge *.yaml, *.yml and *.json in DIR (not in its subdirectories) into one JSON policy. Rules,\n"
        "deny entries and maps may be in any file; everything else, version included, in one of them. Each\n"
        "entry keeps its file and line, and files that the policy names are written into it. Nothing is written\n"
        "if DIR has errors.",
    )
    parser.add_argument("directory", metavar="DIR", type=Path, help="a directory of policy files")
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        required=True,
        help="where to write: a name in .json, or - for standard output",
    )


def run(arguments: argparse.Namespace) -> Report:
    """Compile the directory, load what came out, and write it."""
    directory: Path = arguments.directory
    if not directory.is_dir():
        raise UsageError(f"{directory}: there is no such directory")
    if arguments.output != STDIN:
        _check_output(Path(arguments.output), directory)
    environment = policy_environment()
    compiled = compile_directory(directory, environment)
    policy = load_bytes(compiled, name=f"compiled{_SUFFIX}", environment=environment, directory=None)
    if arguments.output == STDIN:
        return Report(FINE, data=json.loads(compiled), body=(line(compiled.decode("ascii").rstrip("\n")),))
    _write(Path(arguments.output), compiled)
    rules = len({rule.name for listed in policy.rules.values() for rule in listed.rules})
    return Report(
        FINE,
        data={"file": arguments.output, "sha256": policy.sha256, "bytes": len(compiled), "rules": rules},
        summary=(line(f"{arguments.output}: {count(rules, 'rule')}, sha256 {policy.sha256}"),),
    )


def _check_output(output: Path, directory: Path) -> None:
    if output.suffix != _SUFFIX:
        raise UsageError(f"{output}: a compiled policy is JSON, so its name must end in {_SUFFIX}")
    if output.resolve().parent == directory.resolve():
        raise UsageError(f"{output}: this lies in {directory}, and would be part of the policy next time")


def _write(output: Path, data: bytes) -> None:
    """Write the whole file or nothing: an app may be watching it."""
    beside = output.with_name(f".{output.name}.{os.getpid()}")
    try:
        beside.write_bytes(data)
        beside.replace(output)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise UsageError(f"{output}: {error.strerror or type(error).__name__}") from None
