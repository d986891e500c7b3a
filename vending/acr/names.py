"""The names of repositories and of the actions on them: what they may be, and of what is neither, what is wrong with it
and what to write. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

ACTIONS: Final = ("pull", "push", "delete", "metadata_read", "metadata_write")
"""The actions of a repository, in the order in which they are written."""

MAX_NAME_LENGTH: Final = 255
"""Characters in a repository name; the limit of the OCI distribution specification's reference implementation."""

COMPONENT_PATTERN: Final = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_COMPONENT = re.compile(COMPONENT_PATTERN)

_HOST: Final = re.compile(r"(?:(?:[A-Za-z0-9-]+\.)+[A-Za-z]{2,}|localhost)(?::[0-9]+)?/|[A-Za-z0-9.-]+:[0-9]+/")
_DIGEST: Final = re.compile(r"@[A-Za-z0-9+._-]+:.*|@.*")
_TAG: Final = re.compile(r":[^/]*$")
_EXPRESSION: Final = re.compile(r"\$\{|\{\{|\$\(|\$[A-Za-z_]|<[^>]*>")
_REGULAR_EXPRESSION: Final = re.compile(r"[][()^$+?|\\]")
_READABLE: Final = 1024
"""Characters of a text that is worth more than its length as an explanation; some patterns here need quadratic time."""

_REGISTRY_HOST: Final = re.compile(
    r".+\.azurecr\.(io|us|cn)|docker\.io|ghcr\.io|quay\.io|gcr\.io|public\.ecr\.aws|mcr\.microsoft\.com"
)

_SPACE: Final = re.compile(r"\s")

_OTHER_ACTIONS: Final = {
    "content/read": "pull",
    "content/write": "push",
    "content/delete": "delete",
    "metadata/read": "metadata_read",
    "metadata/write": "metadata_write",
    "read": "pull",
    "write": "push",
    "acrpull": "pull",
    "acrpush": "push",
    "acrdelete": "delete",
    "metadata-read": "metadata_read",
    "metadata-write": "metadata_write",
    "registries/pull/read": "pull",
    "registries/push/write": "push",
    "registries/artifacts/delete": "delete",
    "registries/repositories/content/read": "pull",
    "registries/repositories/content/write": "push",
    "registries/repositories/content/delete": "delete",
    "registries/repositories/metadata/read": "metadata_read",
    "registries/repositories/metadata/write": "metadata_write",
}
"""What other parts of Azure call the actions: scope maps, roles and the permissions inside roles."""


def is_component(text: str) -> bool:
    """Return whether `text` is one path component of an OCI repository name."""
    return _COMPONENT.fullmatch(text) is not None


def is_repository_name(text: str) -> bool:
    """Return whether `text` is an OCI repository name of at most 255 characters."""
    return len(text) <= MAX_NAME_LENGTH and all(is_component(part) for part in text.split("/"))


def is_registry_host(text: str) -> bool:
    """Return whether the first part of a name is the host of a well-known registry, which no repository begins with."""
    return _REGISTRY_HOST.fullmatch(text) is not None


def explain_action(action: str) -> str:
    """Say which action is meant by a word that is none."""
    known = _OTHER_ACTIONS.get(action.lower().removeprefix("microsoft.containerregistry/").removesuffix("/action"))
    if known is None and action.lower() in ACTIONS:
        known = action.lower()
    if known is not None:
        return f"{action!r} is called {known} here; write {known}"
    if action in {"*", "all"}:
        return f"an action is written out, never as {action!r}; write those that are needed of {', '.join(ACTIONS)}"
    if "," in action or " " in action:
        return f"{action!r} is several actions in one text; write a list, as in [pull, push]"
    return f"unknown action {action!r}; expected one of {', '.join(ACTIONS)}"


def explain_name(text: str, *, patterns: bool = False) -> str:
    """Say in words that follow the text why it is not a repository name, or with `patterns` not a pattern either."""
    if len(text) > _READABLE:
        return _too_long(text)
    return next(found for check in _CHECKS if (found := check(text, patterns)))


def _not_filled_in(text: str, _: bool) -> str | None:
    if not _EXPRESSION.search(text):
        return None
    return (
        "has an expression that nobody fills in here; write the name, or in a rule's grant a template with a claim, as "
        "in 'ci/{repository|lower|path}'"
    )


def _url(text: str, _: bool) -> str | None:
    if "://" not in text:
        return None
    return f"is a URL; write the repository alone: {bare_name(text)!r}"


def _host(text: str, _: bool) -> str | None:
    if not _HOST.match(text) or (is_component(text.partition("/")[0]) and not _has_tag(text)):
        return None
    return f"begins with a registry's host; write the repository alone: {bare_name(text)!r}"


def _digest(text: str, _: bool) -> str | None:
    if "@" not in text:
        return None
    return f"has a digest; rights are on whole repositories, so write {bare_name(text)!r}"


def _tag(text: str, _: bool) -> str | None:
    if not _has_tag(text):
        return None
    return f"has a tag; rights are on whole repositories, so write {bare_name(text)!r}"


def _has_tag(text: str) -> bool:
    return _TAG.search(text) is not None


def bare_name(image: str) -> str:
    """Strip scheme, host, tag and digest of an image's name; what is left is in lower case."""
    image = image.partition("://")[2] or image
    return _TAG.sub("", _DIGEST.sub("", _HOST.sub("", image, count=1))).lower().strip("/")


def _blank(text: str, _: bool) -> str | None:
    return "has a blank; remove it" if _SPACE.search(text) else None


def _regular_expression(text: str, patterns: bool) -> str | None:
    if not _REGULAR_EXPRESSION.search(text):
        return None
    write = (
        "patterns have * (within a part) and ** (across parts), and a list has several" if patterns else "write a name"
    )
    return f"looks like a regular expression, and there are none; {write}"


def _capitals(text: str, _: bool) -> str | None:
    if text == text.lower():
        return None
    return f"has capital letters, and repository names have none; write {text.lower()!r}"


def _slashes(text: str, _: bool) -> str | None:
    if text and all(text.split("/")):
        return None
    return "has an empty part; parts are joined by single slashes, with none at the beginning or the end"


def _characters(text: str, patterns: bool) -> str | None:
    other = re.search(r"[^a-z0-9._/*-]" if patterns else r"[^a-z0-9._/-]", text)
    if other is None:
        return None
    allowed = "lower-case letters, digits and . _ - /" + (" besides * and **" if patterns else "")
    return f"has the character {other[0]!r}; names have {allowed}"


def _length(text: str, _: bool) -> str | None:
    return _too_long(text) if len(text) > MAX_NAME_LENGTH else None


def _too_long(text: str) -> str:
    return f"has {len(text)} characters, and a repository name at most {MAX_NAME_LENGTH}"


def _separators(text: str, _: bool) -> str:
    wrong = next((part for part in text.split("/") if "*" not in part and not is_component(part)), text)
    if "___" in wrong:
        return "has more than two underscores in a row; letters and digits are joined by . _ __ or any number of -"
    if wrong and not (wrong[0].isalnum() and wrong[-1].isalnum()):
        return f"has the part {wrong!r}, which does not begin and end with a letter or digit"
    return f"has the part {wrong!r}; letters and digits are joined by one of . _ __ or by any number of -"


_CHECKS: Final[tuple[Callable[[str, bool], str | None], ...]] = (
    _not_filled_in, _blank, _url, _host, _digest, _tag, _regular_expression, _capitals, _slashes, _characters, _length,
    _separators,
)  # fmt: skip
