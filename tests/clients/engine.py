"""A real Docker engine of its own for the tests, from unpacked Debian packages: no installation, no network bridge."""

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

_START_TIMEOUT = 120.0


class CannotStart(Exception):
    """The engine does not come up in this environment; the text holds the end of its log."""


@dataclass(frozen=True)
class Engine:
    """Hold a running engine: its socket and its programs."""

    socket: Path
    containerd: Path
    programs: Path
    directory: Path

    @property
    def environment(self) -> dict[str, str]:
        """Return what makes docker's own command find the engine."""
        return {
            "DOCKER_HOST": f"unix://{self.socket}",
            "PATH": f"{self.programs / 'usr/bin'}:{self.programs / 'usr/sbin'}:{os.environ['PATH']}",
            "HOME": str(self.directory),
        }

    def docker(
        self, *arguments: str, environment: Mapping[str, str] | None = None, stdin: bytes | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run docker's command; the given environment comes on top."""
        merged = {**self.environment, **(environment or {})}
        merged["DOCKER_HOST"] = self.environment["DOCKER_HOST"]
        command = [str(self.programs / "usr/bin/docker"), *arguments]
        done = subprocess.run(command, env=merged, input=stdin, capture_output=True, timeout=300, check=False)
        return subprocess.CompletedProcess(command, done.returncode, done.stdout.decode(), done.stderr.decode())


@contextlib.contextmanager
def engine(programs: Path) -> Iterator[Engine]:
    """Start dockerd and wait until it answers. Raise CannotStart."""
    if os.geteuid() != 0:
        raise CannotStart("dockerd needs root")
    directory = Path(tempfile.mkdtemp(prefix="dkr-"))  # short: a socket's path has at most 107 bytes
    running = Engine(directory / "docker.sock", directory / "exec/containerd/containerd.sock", programs, directory)
    command = [
        programs / "usr/sbin/dockerd", "--host", f"unix://{running.socket}",
        "--data-root", directory / "data", "--exec-root", directory / "exec", "--pidfile", directory / "pid",
        "--iptables=false", "--ip6tables=false", "--bridge=none", "--storage-driver=vfs",
    ]  # fmt: skip
    log = directory / "log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [str(word) for word in command],
            env=running.environment,
            stdout=output,
            stderr=output,
            stdin=subprocess.DEVNULL,
        )
    try:
        _wait(running, process, log)
        yield running
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        shutil.rmtree(directory, ignore_errors=True)


def _wait(running: Engine, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_TIMEOUT
    while process.poll() is None and time.monotonic() < deadline:
        if running.docker("version").returncode == 0:
            return
        time.sleep(0.2)
    raise CannotStart(f"dockerd does not come up here: {log.read_text()[-2000:]}")
