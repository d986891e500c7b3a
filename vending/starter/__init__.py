"""A policy repository that works, to begin with: policy, tests, owners and pipelines. Writes files; overwrites none."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Final

from vending import __version__
from vending.policy.language.json_schema import PART_SCHEMA_FILE, SCHEMA_FILE, TESTS_SCHEMA_FILE

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

PLATFORMS: Final = ("github", "gitlab", "azure-pipelines")

_COMMON: Final[Mapping[str, str]] = {
    ".gitignore": "gitignore",
    "CODEOWNERS": "CODEOWNERS",
    "README.md": "README.md",
    "ci/comment.py": "ci/comment.py",
    "ci/review.sh": "ci/review.sh",
    "policy/main.yaml": "policy/main.yaml",
    "policy/team-web.yaml": "policy/team-web.yaml",
    "tests/web.tests.yaml": "tests/web.tests.yaml",
}
_OF_PLATFORM: Final[Mapping[str, Mapping[str, str]]] = {
    "github": {
        ".github/workflows/deliver.yml": "github/deliver.yml",
        ".github/workflows/policy.yml": "github/policy.yml",
        ".github/workflows/usage.yml": "github/usage.yml",
        "ci/issue.py": "ci/issue.py",
        "ci/usage.sh": "ci/usage.sh",
    },
    "gitlab": {".gitlab-ci.yml": "gitlab-ci.yml"},
    "azure-pipelines": {"azure-pipelines.yml": "azure-pipelines.yml"},
}
"""Path in the repository → file of this package."""


@dataclass(frozen=True, slots=True)
class Written:
    """Name the files that were written, and those that were there before and stay as they are."""

    new: tuple[str, ...]
    kept: tuple[str, ...]


def contents(platforms: Collection[str], *, service: str, registry: str) -> dict[str, str]:
    """Return the files of a policy repository by their paths.

    `service` is the URL that callers use as audience, `registry` a login server.
    """
    folder = files("vending.starter") / "files"
    chosen = {**_COMMON, **{path: name for platform in platforms for path, name in _OF_PLATFORM[platform].items()}}
    values = {"{{service}}": service, "{{registry}}": registry, "{{version}}": __version__}
    found = {}
    for path, name in sorted(chosen.items()):
        text = (folder / name).read_text("utf-8")
        for placeholder, value in values.items():
            text = text.replace(placeholder, value)
        found[path] = text
    return found | {file.name: file.read_text("utf-8") for file in (SCHEMA_FILE, PART_SCHEMA_FILE, TESTS_SCHEMA_FILE)}


def write(directory: Path, wanted: Mapping[str, str]) -> Written:
    """Write files below a directory, each only where there is none. Raises `OSError`."""
    new, kept = [], []
    for path, text in wanted.items():
        target = directory / path
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with target.open("x", encoding="utf-8", newline="\n") as file:
                file.write(text)
        except FileExistsError:
            kept.append(path)
        else:
            new.append(path)
    return Written(tuple(new), tuple(kept))
