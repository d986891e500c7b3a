"""The command line as an image: built by its Containerfile on a base of Debian packages, and run."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from devstack import tools
from tests.clients.buildah import Buildah
from tests.clients.tools import container_programs
from vending import __version__
from vending.cli.main import main

pytestmark = pytest.mark.process

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = "base-files,coreutils,dash,python3-venv"
SOURCES = Path("/etc/apt")
IMAGE = "localhost/acr-vending:test"


def base() -> Path:
    """Return a tar of a root file system with Python, from this system's own Debian sources; made once."""
    made = tools.TOOLS_DIRECTORY / "debian" / "python-base.tar"
    if made.exists():
        return made
    program = tools.ensure(tools.MMDEBSTRAP)
    release = platform.freedesktop_os_release()["VERSION_CODENAME"]
    lists = [*SOURCES.glob("sources.list"), *SOURCES.glob("sources.list.d/*.sources")]
    with tools.lock():
        made.parent.mkdir(parents=True, exist_ok=True)
        fresh = made.with_name("python-base.new.tar")
        options = ["--mode=root", "--variant=extract", f"--include={PACKAGES}"]
        done = subprocess.run(
            [program, *options, release, fresh, *lists], capture_output=True, text=True, timeout=600, check=False
        )
        if done.returncode:
            raise tools.Unavailable(f"the image's base cannot be made: {done.stderr.strip()[-300:]}")
        fresh.replace(made)
    return made


def unpack(archive: Path, root: Path) -> str:
    """Unpack the base and return the version of its Python."""
    root.mkdir()
    with tarfile.open(archive) as tar:
        tar.extractall(
            root, filter="tar", members=(m for m in tar if m.isfile() or m.isdir() or m.issym() or m.islnk())
        )
    (root / "tmp").chmod(0o1777)
    (root / "usr/local/bin").mkdir(parents=True)  # as installing base-files does
    return re.sub(r"^python", "", (root / "usr/bin/python3").readlink().name)


@pytest.fixture(scope="module")
def buildah(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Buildah]:
    """Build the image as the Containerfile says, with the wheels that it needs in a folder that the base names."""
    archive = base()
    directory = tmp_path_factory.mktemp("image")
    version = unpack(archive, directory / "root")
    wheels = directory / "wheels"
    download: list[str | Path] = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--dest",
        wheels,
        "--only-binary=:all:",
    ]
    subprocess.run([*download, f"--python-version={version}", wheel], check=True, capture_output=True)
    (directory / "root" / "etc" / "pip.conf").write_text("[global]\nno-index = true\nfind-links = /wheels\n")
    context = directory / "context"
    (context / "dist").mkdir(parents=True)
    shutil.copy(wheel, context / "dist")
    tool = Buildah(container_programs() / "usr/bin/buildah", directory)
    container = tool("from", "scratch").stdout.strip()
    tool("copy", container, str(directory / "root"), "/")
    tool("commit", *tool.policy, container, "base:debian")
    build = ["build", *tool.policy, "--isolation", "chroot", "--network", "host", "--volume", f"{wheels}:/wheels:ro"]
    arguments = ["--build-arg", "BASE=localhost/base:debian", "--build-arg", f"WHEEL=dist/{wheel.name}"]
    tool(*build, *arguments, "--file", str(ROOT / "Containerfile"), "--tag", IMAGE, str(context))
    yield tool
    shutil.rmtree(directory, ignore_errors=True)


def test_the_image_checks_a_mounted_policy_and_is_nobody(buildah: Buildah, tmp_path: Path) -> None:
    config = json.loads(buildah("inspect", "--type", "image", IMAGE).stdout)["OCIv1"]["config"]
    entry, user, place = config["Entrypoint"], config["User"], config["WorkingDir"]
    assert (entry, user, place) == (["acr-vending"], "65532:65532", "/work")
    assert main(["init", str(tmp_path / "access"), "--ci", "github"]) == 0
    os.chmod(tmp_path, 0o755)  # noqa: PTH101 - pytest makes it for its own user alone
    container = buildah("from", "--pull-never", IMAGE).stdout.strip()
    options = ["run", "--isolation", "chroot", "--volume", f"{tmp_path / 'access'}:/work:ro", container, "--"]
    assert buildah(*options, *entry, "--version").stdout == f"acr-token-vending {__version__}\n"
    assert buildah(*options, *entry, "check", "--strict", "policy").stdout == "policy: fine (2 rules, 1 deny entry)\n"
    whoami = buildah(*options, "python3", "-c", "import os; print(os.getuid(), os.getgid())")
    assert whoami.stdout == "65532 65532\n"
    team = tmp_path / "access" / "policy" / "team-web.yaml"
    team.write_text(team.read_text().replace("use: release", "use: relase", 1))
    wrong = buildah(*options, *entry, "check", "policy", check=False)
    assert "policy/team-web.yaml:7:10: error" in wrong.stdout
    assert wrong.returncode == 1
    buildah("rm", container)
