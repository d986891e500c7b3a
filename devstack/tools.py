"""Find the programs that the local stack and the tests use, and install what is missing; it runs none of them.

Debian packages are installed with apt when running as root; npm packages go into the git-ignored `.tools`. The
environment variable DEVSTACK_NO_INSTALL=1 forbids both, and every other download (`may_install`).
"""

import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

TOOLS_DIRECTORY = Path(__file__).resolve().parent.parent / ".tools"
_INSTALL_TIMEOUT = 600
_SBIN = os.pathsep.join(("/usr/local/bin", "/usr/bin", "/usr/sbin", "/sbin"))


@dataclass(frozen=True)
class Tool:
    """A program, or a `file` below `node_modules`: its name, and the package of Debian or npm that brings it."""

    command: str
    debian: str | None = None
    npm: str | None = None
    file: str | None = None


DOCKER_REGISTRY = Tool("docker-registry", debian="docker-registry")
SKOPEO = Tool("skopeo", debian="skopeo")
NODE = Tool("node", debian="nodejs")
NPM = Tool("npm", debian="npm")
AZURITE = Tool("azurite", npm="azurite@3.35.0")
OAUTH2_MOCK_SERVER = Tool("oauth2-mock-server", npm="oauth2-mock-server@8.2.3")
YAML_LANGUAGE_SERVER = Tool("yaml-language-server", npm="yaml-language-server@1.25.0")
CHROMIUM = Tool("chromium", debian="chromium")
CHROMEDRIVER = Tool("chromedriver", debian="chromium-driver")
AXE = Tool("axe-core", npm="axe-core@4.14.1", file="axe-core/axe.min.js")
MMDEBSTRAP = Tool("mmdebstrap", debian="mmdebstrap")


class Unavailable(Exception):
    """A tool is neither there nor can be installed; the text says why."""


def npm_root(tool: Tool) -> Path:
    """Return the directory whose `node_modules` holds an npm tool."""
    return TOOLS_DIRECTORY / "npm" / tool.command


def find(tool: Tool) -> Path | None:
    """Return where a tool is, or None."""
    if tool.npm:
        path = npm_root(tool) / "node_modules" / (tool.file or f".bin/{tool.command}")
        return path if path.exists() else None
    found = shutil.which(tool.command) or shutil.which(tool.command, path=_SBIN)
    return Path(found) if found else None


def ensure(tool: Tool) -> Path:
    """Return where a tool is, installing it first if need be. Raise Unavailable with the reason."""
    found = find(tool)
    if found:
        return found
    may_install(tool.command)
    with lock():
        if not find(tool):
            _install(tool)
    found = find(tool)
    if found is None:
        raise Unavailable(f"{tool.command} is still missing after its package was installed")
    return found


def may_install(what: str) -> None:
    """Raise Unavailable where DEVSTACK_NO_INSTALL=1 forbids to fetch `what` from a package registry."""
    if os.environ.get("DEVSTACK_NO_INSTALL") == "1":
        raise Unavailable(f"{what} is not installed, and DEVSTACK_NO_INSTALL=1")


def _install(tool: Tool) -> None:
    if tool.npm:
        _install_npm(tool)
    elif tool.debian:
        _install_debian(tool.debian)
    else:
        raise Unavailable(f"{tool.command} is not installed, and no package of it is known")


def _install_debian(package: str) -> None:
    apt = shutil.which("apt-get")
    if apt is None:
        raise Unavailable(f"{package} is not installed, and this system has no apt-get")
    if os.geteuid() != 0:
        raise Unavailable(f"{package} is not installed; run: sudo apt-get install {package}")
    _say(f"installing the Debian package {package}")
    install = [apt, "install", "--yes", "--no-install-recommends", package]
    if _run(install).returncode == 0:
        return
    _run([apt, "update"])  # the package lists may be missing or old
    _check(_run(install), package)


def _install_npm(tool: Tool) -> None:
    npm = ensure_npm()
    _say(f"installing the npm package {tool.npm}")
    root = npm_root(tool)
    root.mkdir(parents=True, exist_ok=True)
    command = [str(npm), "install", "--prefix", str(root), "--no-audit", "--no-fund", "--ignore-scripts", str(tool.npm)]
    _check(_run(command), str(tool.npm))


def ensure_npm() -> Path:
    """Return where npm is; the caller holds the lock. Raise Unavailable."""
    for tool in (NODE, NPM):
        if not find(tool):
            _install_debian(str(tool.debian))
    found = find(NPM)
    if found is None:
        raise Unavailable("npm is not installed")
    return found


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}  # packages start no service
    return subprocess.run(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_INSTALL_TIMEOUT,
        check=False,
    )


def _check(result: subprocess.CompletedProcess[str], package: str) -> None:
    if result.returncode:
        lines = (result.stderr or result.stdout).strip().splitlines()
        raise Unavailable(f"{package} could not be installed: {lines[-1] if lines else result.returncode}")


def _say(text: str) -> None:
    print(f"devstack: {text} …", file=sys.stderr, flush=True)


@contextlib.contextmanager
def lock() -> Iterator[None]:
    """Let one process install at a time."""
    TOOLS_DIRECTORY.mkdir(exist_ok=True)
    with (TOOLS_DIRECTORY / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
