"""The forge's side of a policy repository: its main branch, and pull request 7 with the merge that the forge makes."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Final

_IDENTITY: Final = {
    f"GIT_{role}_{what}": value
    for role in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "contoso"), ("EMAIL", "contoso@contoso.example"))
}

Change = Callable[[Path], None]
"""Changes files in a work tree."""


def git(place: Path, *arguments: str) -> str:
    """Run git without the settings of the machine, and return what it prints."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(place), "GIT_CONFIG_NOSYSTEM": "1", **_IDENTITY}
    done = subprocess.run(["git", *arguments], cwd=place, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


class Origin:
    """A bare repository with a clone to write in; `main`, `head` and `merge` are commits."""

    def __init__(self, directory: Path, files: Path) -> None:
        self.path = directory / "origin.git"
        self._tree = directory / "author"
        self._tree.mkdir(parents=True)
        git(self._tree, "init", "--quiet", "--bare", "--initial-branch=main", str(self.path))
        git(self._tree, "init", "--quiet", "--initial-branch=main")
        git(self._tree, "remote", "add", "origin", str(self.path))
        shutil.copytree(files, self._tree, dirs_exist_ok=True)
        self._commit("main")
        self.head = self.merge = ""

    @property
    def url(self) -> str:
        """Where jobs fetch from, in a form that honours a depth."""
        return self.path.as_uri()

    @property
    def main(self) -> str:
        """The tip of main."""
        return git(self.path, "rev-parse", "main")

    @property
    def begin(self) -> str:
        """Where the pull request's branch began."""
        return git(self.path, "merge-base", "main", self.head)

    def file(self, commit: str, path: str) -> str:
        """Return a file as a commit has it."""
        return git(self.path, "show", f"{commit}:{path}")

    def propose(self, change: Change, branch: str = "change") -> None:
        """Push a commit of the pull request, which begins with the first; the forge merges it into main."""
        begun = git(self._tree, "branch", "--list", branch)
        git(self._tree, "switch", "--quiet", *([] if begun else ["--create"]), branch)
        change(self._tree)
        self.head = self._commit(branch)
        git(self._tree, "switch", "--quiet", "main")
        tree = git(self.path, "merge-tree", "--write-tree", "main", self.head)
        self.merge = git(self.path, "commit-tree", tree, "-p", "main", "-p", self.head, "-m", "merge")
        for ref, commit in (
            ("refs/pull/7/merge", self.merge),  # GitHub and Azure Repos
            ("refs/merge-requests/7/head", self.head),  # GitLab
        ):
            git(self.path, "update-ref", ref, commit)

    def push(self, change: Change) -> None:
        """Push a commit to main."""
        change(self._tree)
        self._commit("main")

    def _commit(self, branch: str) -> str:
        git(self._tree, "add", "--all")
        git(self._tree, "commit", "--quiet", "--message", "a change")
        git(self._tree, "push", "--quiet", "origin", f"HEAD:{branch}")
        return git(self._tree, "rev-parse", "HEAD")


def checkout(url: str, ref: str, place: Path, depth: int) -> None:
    """Check a commit or a reference out as the platforms' runners do: fetched by itself, detached; 0 is all of it."""
    place.mkdir(parents=True, exist_ok=True)
    git(place, "init", "--quiet")
    git(place, "remote", "add", "origin", url)
    limit = [f"--depth={depth}"] if depth else []
    everything = [] if depth else ["+refs/heads/*:refs/remotes/origin/*"]
    git(place, "fetch", "--quiet", "--no-tags", *limit, "origin", ref, *everything)
    git(place, "checkout", "--quiet", "--detach", git(place, "rev-parse", "FETCH_HEAD"))
