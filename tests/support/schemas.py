"""check-jsonschema by its own entry point: starting the program takes a second, checking a file ten milliseconds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from click.testing import CliRunner

if TYPE_CHECKING:
    from pathlib import Path


def fits(name: str, *files: Path, options: tuple[str, ...] = ()) -> None:
    """Check files against one of the schemas that check-jsonschema carries; fail with what it says."""
    from check_jsonschema import main  # type: ignore[import-untyped]

    done = CliRunner().invoke(main, ["--builtin-schema", f"vendor.{name}", *options, *map(str, files)])
    assert done.exit_code == 0, done.output
