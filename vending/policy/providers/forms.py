"""Forms of values that several providers share, and the means to write others. Knows no claim."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final

from vending.policy.providers.preset import Form

_GUID: Final = r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
_EXAMPLE_GUID: Final = "00000000-0000-0000-0000-000000000000"


def form(pattern: str, says: str, example: str, prefix: str = "") -> Form:
    """Describe values by a regular expression that matches the whole of each."""
    return Form(re.compile(pattern), says, example, prefix)


def one_of(*values: str) -> Form:
    """Describe a claim that has a few values."""
    return Form(re.compile("|".join(map(re.escape, values))), f"is {' or '.join(values)}", values[0], choices=values)


NUMBER: Final = form(r"[0-9]+", "is a number", "123456")
BOOLEAN_TEXT: Final = one_of("true", "false")
"""The words, as strings."""
GUID: Final = form(_GUID, "is a GUID", _EXAMPLE_GUID)
BRACED_GUID: Final = form(rf"\{{{_GUID}\}}", "is a GUID in braces", f"{{{_EXAMPLE_GUID}}}", "{")
COMMIT: Final = form(
    r"[0-9a-f]{40}([0-9a-f]{24})?", "is the hash of a commit", "0b5c1a9d5d1c4f5e8a9e2b7c3d4e5f60718293a4"
)
REF: Final = replace(
    form(r"|refs/.+", "begins with refs/heads/ or refs/tags/ and has no slash at its end", "refs/heads/main", "refs/"),
    slips=re.compile(r"refs/(head|tag|branch|branches|pulls)/.*|.*/"),
)
REF_TYPE: Final = one_of("branch", "tag")
NAME: Final = form(r"[^/]+", "has no slash", "contoso")
WORD: Final = form(r"[a-z]+(_[a-z]+)*", "is written in lower case, with underscores", "push")
SOME: Final = form(r".+", "is not empty", "production")
EMAIL: Final = form(r"[^@]+@[^@]+", "is an e-mail address", "a@b.example")
