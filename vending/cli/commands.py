"""The commands by name, each with its module and the line that the help shows. Imports none of them."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import ModuleType


@dataclass(frozen=True, slots=True)
class Command:
    """Name a command's module in this package, imported when the command runs, and say what it does."""

    module: str
    summary: str
    extra: bool = False
    """Whether it needs more packages than the others: those of the distribution's extra of the same name."""

    def load(self) -> ModuleType:
        """Import the module, which has `register(commands)`."""
        return import_module(f"vending.cli.{self.module}")


COMMANDS: Final[Mapping[str, Command]] = {
    "check": Command("check", "parse and lint policies"),
    "compile": Command("compile_policy", "merge a directory into one JSON policy"),
    "test": Command("test_policy", "run policy tests: recorded claims, a request, the expected outcome"),
    "explain": Command("explain", "show how a decision is reached, for the policy's owner"),
    "who-can": Command("who_can", "list every rule that can grant something on a repository"),
    "diff": Command("diff", "show what access a change to the policy adds and removes"),
    "matrix": Command("matrix", "write who may do what, as a page or as rows"),
    "audit": Command("audit", "answer questions from recorded audit events"),
    "schema": Command("schema", "print the JSON Schema of the policy file"),
    "init": Command("init", "write a policy repository that works"),
    "deliver": Command("deliver", "write a policy to its blob, and wait until the service has it in force", extra=True),
    "doctor": Command("doctor", "check policy, issuers, identities and registries, and say what to fix", extra=True),
}
"""In the order of the help."""
