"""Run the function host as a process of its own and wait until it is ready; for the stack and for tests."""

import contextlib
import os
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from devstack import recording

_PROJECT = Path(__file__).resolve().parents[2]
_READY = re.compile(r"listening on (http://\S+)")
START_TIMEOUT = 60.0
"""Seconds to wait for a host, with room for a slow and busy machine."""
_STOP_TIMEOUT = 15.0
_INHERITED = (
    "PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "TMPDIR",
    "VIRTUAL_ENV",
    "PYTHONDONTWRITEBYTECODE",
    "DEVSTACK_LOG_LEVEL",
    recording.VARIABLE,
)
"""Nothing else of the caller's environment reaches the host: settings must not leak into a test."""


class HostProcess:
    """`python -m devstack host` with exactly the given settings; use it as a context manager.

    Its log is kept, or with `show_log` goes to this process's own standard error. `python` is the interpreter.
    """

    def __init__(
        self,
        settings: Mapping[str, str],
        *,
        app: Path = _PROJECT,
        port: int = 0,
        show_log: bool = False,
        python: Path = Path(sys.executable),
    ) -> None:
        self._show_log = show_log
        self._settings = dict(settings)
        self._command = [str(python), "-m", "devstack", "host", "--port", str(port), "--app", str(app)]
        self._process: subprocess.Popen[str] | None = None
        recorded = recording.output("host-log")
        self._log: IO[str] = (
            recorded.open("w+") if recorded else tempfile.TemporaryFile("w+", prefix="devstack-host-")  # noqa: SIM115
        )
        self._closed_log = ""
        self.url = ""
        """Where the host answers, once started."""

    @property
    def pid(self) -> int:
        """The process id."""
        return self._running.pid

    @property
    def running(self) -> bool:
        """Return whether the process is alive."""
        return self._process is not None and self._process.poll() is None

    @property
    def _running(self) -> subprocess.Popen[str]:
        if self._process is None:
            raise RuntimeError("the host has not been started")
        return self._process

    @property
    def log(self) -> str:
        """What the host and the app have written to standard error so far; kept when the process is closed."""
        if self._log.closed:
            return self._closed_log
        return os.pread(self._log.fileno(), 16 * 1024 * 1024, 0).decode(errors="replace")

    def start(self) -> Self:
        """Start the host and wait until it listens. Raise RuntimeError, with its log, when it ends instead."""
        environment = {name: os.environ[name] for name in _INHERITED if name in os.environ} | self._settings
        environment["PYTHONPATH"] = str(_PROJECT)
        environment["PYTHONUNBUFFERED"] = "1"
        for name, value in self._settings.items():
            if name == "IDENTITY_HEADER" or name.startswith("VENDING_SECRET_"):
                recording.secret(value)
        self._process = subprocess.Popen(
            self._command,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=None if self._show_log else self._log,
            text=True,
            cwd=_PROJECT,
        )
        watchdog = threading.Timer(START_TIMEOUT, self._process.kill)
        watchdog.start()
        try:
            self.url = self._wait()
        finally:
            watchdog.cancel()
        return self

    def _wait(self) -> str:
        output = self._running.stdout
        for line in output or ():
            if ready := _READY.match(line):
                threading.Thread(target=self._drain, daemon=True).start()
                return ready[1]
        status = self._running.wait()
        message = self.log
        self.stop()
        raise RuntimeError(f"the function host ended with status {status}:\n{message}")

    def _drain(self) -> None:
        """Keep reading standard output, lest a full pipe block the app."""
        output = self._running.stdout
        with contextlib.suppress(ValueError):  # closed meanwhile
            for _ in output or ():
                pass

    def wait(self, timeout: float = _STOP_TIMEOUT) -> int:
        """Wait until the host has ended by itself; return its exit status. Raise subprocess.TimeoutExpired."""
        return self._running.wait(timeout)

    def stop(self) -> int:
        """End the host as the platform does, with SIGTERM; return its exit status. A second call does nothing."""
        process = self._running
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(_STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if process.stdout:
            with contextlib.suppress(OSError):
                process.stdout.close()
        return process.returncode

    def close(self) -> None:
        """End the host; its log can still be read."""
        self.stop()
        if not self._log.closed:
            self._closed_log = self.log
            self._log.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()
