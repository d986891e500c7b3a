"""buildah for the tests: builds images and runs them, without a service and without an image registry."""

import subprocess
from pathlib import Path


class Buildah:
    """buildah with a storage of its own."""

    def __init__(self, program: Path, directory: Path) -> None:
        policy = directory / "policy.json"
        policy.write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
        self._command = [
            str(program),
            "--storage-driver",
            "vfs",
            "--root",
            f"{directory}/data",
            "--runroot",
            f"{directory}/run",
        ]
        self._environment = {"PATH": f"{program.parent}:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(directory)}
        self._environment["CONTAINERS_REGISTRIES_CONF"] = "/dev/null"
        self.policy = ("--signature-policy", str(policy))

    def __call__(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [*self._command, *arguments],
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert not check or done.returncode == 0, done.stderr
        return done
