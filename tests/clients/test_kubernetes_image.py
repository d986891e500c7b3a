"""The image that the CronJob runs, built by its Containerfile on a base of Debian packages, and run."""

import base64
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from devstack.certs import TestAuthority

from .buildah import Buildah
from .every import FAST, token_for_list
from .platforms import CLIENTS
from .servers import USERNAME, Answer, Server, granted, refusal, vendor
from .tools import debian

TOKEN = "header.payload-of-the-vended-token.signature"


def base_root(directory: Path) -> Path:
    """Return a root file system of Debian's packages: programs and the libraries that they need."""
    root = directory / "root"
    (root / "bin").mkdir(parents=True)
    busybox = debian("shells", "busybox-static", "gawk", "libsigsegv2", "original-awk", "yash", "ksh93u+m", "mawk")
    shutil.copy(busybox / "bin/busybox", root / "bin/busybox")
    tools = (
        "cat chmod cp date id mkdir mktemp mv readlink rm rmdir sed sleep tail tr base64 dirname sh awk ls find grep"
    )
    for tool in tools.split():
        (root / "bin" / tool).symlink_to("busybox")
    curl = Path(shutil.which("curl") or "/usr/bin/curl").resolve()
    listed = subprocess.run(["ldd", curl], capture_output=True, text=True, check=True).stdout
    for word in [str(curl), *(word for word in listed.split() if word.startswith("/"))]:
        target = root / word.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(word, target)
    (root / "tmp").mkdir()
    (root / "tmp").chmod(0o1777)
    return root


@pytest.fixture(scope="module")
def buildah(container_programs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Buildah]:
    """Build the image once, as the documentation does, on a base that is made here."""
    directory = tmp_path_factory.mktemp("image")
    tool = Buildah(container_programs / "usr/bin/buildah", directory)
    container = tool("from", "scratch").stdout.strip()
    tool("copy", container, str(base_root(directory)), "/")
    tool("commit", *tool.policy, container, "base:debian")
    file = str(CLIENTS / "kubernetes" / "Containerfile")
    build = ("build", *tool.policy, "--build-arg", "BASE=localhost/base:debian", "--file", file)
    tool(*build, "--tag", "acr-pull-secret:1", str(CLIENTS))
    yield tool
    shutil.rmtree(directory, ignore_errors=True)


def test_the_image_holds_the_scripts_as_they_are_and_runs_as_nobody(buildah: Buildah) -> None:
    container = buildah("from", "--pull-never", "localhost/acr-pull-secret:1").stdout.strip()
    place = Path(buildah("mount", container).stdout.strip()) / "usr/local/lib/acr-vending"
    assert sorted(path.name for path in place.iterdir()) == ["acr-token.sh", "refresh-pull-secret.sh"]
    assert (place / "acr-token.sh").read_bytes() == (CLIENTS / "acr-token.sh").read_bytes()
    config = json.loads(buildah("inspect", "--type", "image", "localhost/acr-pull-secret:1").stdout)["OCIv1"]["config"]
    assert config["User"] == "65532:65532"
    assert config["Entrypoint"] == ["/bin/sh", "/usr/local/lib/acr-vending/refresh-pull-secret.sh"]
    buildah("umount", container)
    buildah("rm", container)


@pytest.mark.parametrize("outcome", ["granted", "refused"])
def test_the_container_writes_the_pull_secret(
    buildah: Buildah, kubernetes_api: Server, ca: TestAuthority, tmp_path: Path, outcome: str
) -> None:
    answer = (
        Answer(body=granted(TOKEN)) if outcome == "granted" else refusal(400, "no_matching_rule", "No rule matches.")
    )
    account = tmp_path / "account"
    account.mkdir()
    (account / "token").write_text("kubernetes-api-secret")
    (account / "namespace").write_text("web")
    shutil.copy(ca.ca_file, account / "ca.crt")
    with vendor(answer) as service:
        (account / "oidc").write_text(token_for_list(service.url) + "\n")
        for path in (tmp_path, account, *account.iterdir()):
            path.chmod(0o755 if path.is_dir() else 0o644)
        host, _, port = kubernetes_api.url.removeprefix("https://").partition(":")
        environment = {
            "ACR_VENDING_URL": service.url, "ACR_VENDING_SCOPE": "repository:web/api:pull", "PULL_SECRET": "acr-pull",
            "ACR_VENDING_ID_TOKEN_FILE": "/account/oidc", "SERVICE_ACCOUNT_DIR": "/account", "PATH": "/bin:/usr/bin",
            "KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port, **FAST,
        }  # fmt: skip
        container = buildah("from", "--pull-never", "localhost/acr-pull-secret:1").stdout.strip()
        options = [word for name, value in environment.items() for word in ("--env", f"{name}={value}")]
        run = ("run", "--isolation", "chroot", "--network", "host", "--volume", f"{account}:/account:ro", *options)
        done = buildah(
            *run, container, "--", "/bin/sh", "/usr/local/lib/acr-vending/refresh-pull-secret.sh", check=False
        )
        buildah("rm", container)
    if outcome == "refused":
        assert done.returncode != 0
        assert "No rule matches." in done.stderr
        assert kubernetes_api.seen == []
        return
    assert done.returncode == 0, done.stderr
    secret = json.loads(kubernetes_api.seen[-1].body)
    auths = json.loads(base64.b64decode(secret["data"][".dockerconfigjson"]))["auths"]
    assert base64.b64decode(auths["contoso.azurecr.io"]["auth"]).decode() == f"{USERNAME}:{TOKEN}"
    assert TOKEN not in done.stdout + done.stderr
