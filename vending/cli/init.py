"""`init`: write a policy repository that works."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from vending.cli.frame import add_command
from vending.cli.report import FINE, Report, UsageError, line
from vending.starter import PLATFORMS, contents, write

if TYPE_CHECKING:
    import argparse

    from vending.cli.frame import Commands

_SERVICE = re.compile(r"https://[a-z0-9.-]+(?::[0-9]+)?(?:/[A-Za-z0-9._~/-]*)?")
_REGISTRY = re.compile(r"[a-z0-9]+\.azurecr\.(?:io|us|cn)")


def register(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "init",
        run,
        description="Write a policy repository: a commented policy with one team's file, its tests, CODEOWNERS, and\n"
        "pipelines that review changes and deliver them. A file that is there already stays as it is.",
    )
    parser.add_argument(
        "directory", metavar="DIR", type=Path, nargs="?", default=Path(), help="where to write (default: here)"
    )
    parser.add_argument(
        "--service",
        metavar="URL",
        default="https://vend.contoso.example",
        help="the service's URL, which is the audience of its callers (default: a placeholder)",
    )
    parser.add_argument(
        "--registry", metavar="HOST", default="contoso.azurecr.io", help="a login server (default: a placeholder)"
    )
    parser.add_argument(
        "--ci",
        choices=PLATFORMS,
        action="append",
        help="write the pipelines of this platform only; may be repeated (default: those of all)",
    )


def run(arguments: argparse.Namespace) -> Report:
    """Write what is not there yet."""
    if not _SERVICE.fullmatch(arguments.service):
        raise UsageError(f"--service: {arguments.service!r} is not an https URL")
    if not _REGISTRY.fullmatch(arguments.registry):
        raise UsageError(f"--registry: {arguments.registry!r} is not a login server such as contoso.azurecr.io")
    wanted = contents(arguments.ci or PLATFORMS, service=arguments.service, registry=arguments.registry)
    try:
        written = write(arguments.directory, wanted)
    except OSError as error:
        raise UsageError(f"{error.filename}: {error.strerror or type(error).__name__}") from None
    body = [line(f"wrote {path}") for path in written.new]
    body += [line(f"kept  {path}, which was there") for path in written.kept]
    folder = arguments.directory / "policy"
    return Report(
        FINE,
        data={"written": list(written.new), "kept": list(written.kept)},
        body=tuple(body),
        summary=(line(f"Next: read README.md, write your ids, and run acr-vending check --strict {folder}"),),
    )
