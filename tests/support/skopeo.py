"""Run skopeo against a registry on this machine; install it when it is missing."""

import subprocess
from dataclasses import dataclass

from devstack import tools

NULL_GUID = "00000000-0000-0000-0000-000000000000"
_TIMEOUT = 120


@dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    status: int
    output: str
    error: str

    @property
    def ok(self) -> bool:
        """Return whether it succeeded."""
        return self.status == 0


def skopeo(*arguments: str) -> Outcome:
    """Run skopeo with these arguments. Raise devstack.tools.Unavailable when it cannot be installed."""
    command = [str(tools.ensure(tools.SKOPEO)), "--insecure-policy", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT, check=False)
    return Outcome(done.returncode, done.stdout, done.stderr)


def push(source: str, image: str, *, token: str, basic: bool = False) -> Outcome:
    """Push an OCI layout to `host/repository:tag`, with the token as bearer or as `docker login` would have it."""
    return skopeo(
        "copy", "-q", "--dest-tls-verify=false", *_credential("dest", token, basic), source, f"docker://{image}"
    )


def pull(image: str, target: str, *, token: str, basic: bool = False) -> Outcome:
    """Pull `host/repository:tag` into an OCI layout."""
    return skopeo(
        "copy", "-q", "--src-tls-verify=false", *_credential("src", token, basic), f"docker://{image}", target
    )


def _credential(side: str, token: str, basic: bool) -> list[str]:
    return [f"--{side}-creds", f"{NULL_GUID}:{token}"] if basic else [f"--{side}-registry-token", token]
