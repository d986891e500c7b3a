"""What the acceptance run works with: programs, HTTP, tokens of this workflow, and claims with their outcome."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
GRANT_TYPE = "urn:ietf:params:oauth:grant-type:token-exchange"


class Failed(Exception):
    """A claim does not hold; the message says what was seen."""


@dataclass(frozen=True)
class Outcome:
    """One line of the report: `result` is pass, fail or `not checked`."""

    claim: str
    result: str
    seen: str


@dataclass
class World:
    """One run."""

    location: str
    prefix: str
    work: Path
    pause: float = 15
    attempts: int = 40
    pull_policy_seconds: float = 90
    issuer: str = "https://token.actions.githubusercontent.com"
    url_override: str = ""
    scm_override: str = ""
    registry_override: str = ""
    registry_url: str = ""
    nowhere_override: str = ""
    outcomes: list[Outcome] = field(default_factory=list)

    # Claims.

    @contextmanager
    def claim(self, text: str) -> Iterator[list[str]]:
        """Hold a claim: what the block appends is told beside it, and an exception is its failure, not the run's."""
        seen: list[str] = []
        try:
            yield seen
        except (Failed, OSError, ValueError, KeyError, IndexError, TypeError, subprocess.SubprocessError) as problem:
            self.outcomes.append(Outcome(text, "fail", " ".join([*seen, f"{type(problem).__name__}: {problem}"])))
        else:
            self.outcomes.append(Outcome(text, "pass", " ".join(seen)))

    def not_checked(self, text: str, why: str) -> None:
        self.outcomes.append(Outcome(text, "not checked", why))

    def until(self, look: Callable[[], Any], what: str, *, seconds: float | None = None) -> Any:
        """Look again and again until there is something to see. Raises `Failed`."""
        end = time.monotonic() + (self.attempts * self.pause if seconds is None else seconds)
        while True:
            found = look()
            if found:
                return found
            if time.monotonic() >= end:
                raise Failed(f"{what}: not within the time")
            time.sleep(self.pause)

    # Programs.

    def run(self, *command: str | Path, cwd: Path = ROOT, given: str | None = None, fails: bool = False) -> str:
        """Run a program that has to succeed, or with `fails` to fail, and give what it printed. Raises `Failed`."""
        done = subprocess.run(  # noqa: S603 - arguments of ours alone
            [str(part) for part in command], cwd=cwd, input=given, capture_output=True, text=True, check=False
        )
        if bool(done.returncode) != fails:
            raise Failed(
                f"{command[0]} {command[1]}: exit {done.returncode}: {(done.stderr or done.stdout)[-600:].strip()}"
            )
        return done.stdout + (done.stderr if fails else "")

    def az(self, *command: str) -> Any:
        """Run the Azure CLI, and give its JSON."""
        text = self.run("az", *command, "--output", "json")
        return json.loads(text) if text.strip() else None

    # HTTP.

    def ask(
        self,
        url: str,
        form: dict[str, str] | bytes | None = None,
        *,
        method: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> tuple[int, dict[str, Any]]:
        """Send a request, and give status and JSON; a body that is none comes as `{"text": …}`."""
        data = urllib.parse.urlencode(form).encode() if isinstance(form, dict) else form
        request = urllib.request.Request(url, data=data, method=method, headers=headers or {})  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - the app, and GitHub
                status, content = answer.status, answer.read()
        except urllib.error.HTTPError as error:
            status, content = error.code, error.read()
        except OSError as error:
            return 0, {"text": str(error)}
        try:
            found = json.loads(content)
        except ValueError:
            return status, {"text": content.decode(errors="replace")[:300]}
        return status, found if isinstance(found, dict) else {"text": str(found)}

    def id_token(self, audience: str) -> str:
        """Ask GitHub for a token of this job. Needs `id-token: write`."""
        url = f"{os.environ['ACTIONS_ID_TOKEN_REQUEST_URL']}&audience={urllib.parse.quote(audience, safe='')}"
        bearer = f"Bearer {os.environ['ACTIONS_ID_TOKEN_REQUEST_TOKEN']}"
        status, answer = self.ask(url, headers={"Authorization": bearer})
        if status != 200:
            raise Failed(f"GitHub gives no token: {status} {answer}")
        return str(answer["value"])


def claims_of(token: str) -> dict[str, Any]:
    """Read a token's claims; nothing is verified."""
    part = token.split(".")[1]
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return found


def exchange(token: str, scope: str | None = None, **more: str) -> dict[str, str]:
    """Make the form of a token exchange."""
    form = {"grant_type": GRANT_TYPE, "subject_token": token, **more}
    return {**form, "scope": scope} if scope is not None else form


def report(outcomes: Sequence[Outcome], facts: Sequence[Outcome], title: str) -> str:
    """Write the page: claims with pass or fail, their counts above them, and what became of the unverified facts."""
    counts = {result: sum(each.result == result for each in outcomes) for result in ("pass", "fail", "not checked")}
    lines = [f"# {title}", "", ", ".join(f"{count} {result}" for result, count in counts.items()), ""]
    lines += table("| claim | result | what was seen |", outcomes)
    lines += ["", "## What docs/deploy.md and docs/acr.md call unverified", ""]
    lines += table("| fact | result | by which claim, or why not |", facts)
    return "\n".join(lines) + "\n"


def table(head: str, outcomes: Sequence[Outcome]) -> list[str]:
    rows = []
    for each in outcomes:
        seen = " ".join(each.seen.replace("|", "\\|").split())[:500]
        rows.append(f"| {each.claim} | {each.result} | {seen} |")
    return [head, "| --- | --- | --- |", *rows]
