"""What is deployed is enough to vend a token, and holds nothing else."""

from __future__ import annotations

import hashlib
import importlib.util
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from urllib.parse import urlencode

import pytest

import vending
from devstack import tools
from devstack.host.runtime import RUNTIME, Invocation, find_python, run_worker
from devstack.issuer.server import IssuerServer
from devstack.stack import Stack, Upstreams
from tests.infra.toolbox import CACHE, ROOT, SETUP_SECONDS, once, run, succeed
from tests.support.caller import GRANT_TYPE

FORM = {"content-type": "application/x-www-form-urlencoded"}
TAG = sys.implementation.cache_tag
SCOPE = "repository:web/api:pull,push"
SAMPLE = ("--policy", str(ROOT / "policy.yaml"), "--allow-sample-policy")

# The platform brings these two itself, so they are no requirement of the app.
PLATFORM = [RUNTIME, "azurefunctions-extensions-base==1.2.0"]


def build(target: Path, *options: str) -> Path:
    succeed([sys.executable, ROOT / "infra" / "package.py", *options, target])
    return target


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("package") / "app.zip", *SAMPLE)


@pytest.fixture(scope="module")
def app(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unpacked package, far from the repository."""
    folder = tmp_path_factory.mktemp("wwwroot")
    with zipfile.ZipFile(package) as archive:
        archive.extractall(folder)
    return folder


def test_only_what_the_app_needs_is_deployed(package: Path) -> None:
    names = zipfile.ZipFile(package).namelist()
    assert {name.split("/")[0] for name in names} == {
        "function_app.py",
        "host.json",
        "policy.json",
        "requirements.txt",
        "vending",
        "__pycache__",
    }
    assert {name for name in names if name.startswith("__pycache__/")} == {f"__pycache__/function_app.{TAG}.pyc"}


def test_every_source_file_of_the_app_is_deployed(package: Path) -> None:
    tracked = succeed(["git", "ls-files", "vending"]).splitlines()
    assert {path for path in tracked if (ROOT / path).is_file()} <= set(zipfile.ZipFile(package).namelist())


def test_the_same_files_give_the_same_package(package: Path, tmp_path: Path) -> None:
    assert build(tmp_path / "again.zip", *SAMPLE).read_bytes() == package.read_bytes()


# --- Bytecode


def other_python() -> Path:
    """Return an interpreter of another version than this one."""
    try:
        return find_python()
    except tools.Unavailable as reason:
        pytest.skip(str(reason))


def version_by(python: str | Path, app: Path) -> str:
    """Ask the unpacked app for its version, with an interpreter that has nothing but itself."""
    code = "import sys; sys.dont_write_bytecode = True; import vending; print(vending.__version__)"
    return succeed([python, "-I", "-c", f"import sys; sys.path.insert(0, {str(app)!r}); {code}"]).strip()


def test_every_module_that_runs_has_its_bytecode_beside_it(package: Path) -> None:
    names = zipfile.ZipFile(package).namelist()
    made = {name for name in names if name.endswith(".pyc")}
    modules = {name for name in names if name.endswith(".py") and not name.startswith("vending/starter/files/")}
    assert made == {importlib.util.cache_from_source(name) for name in modules}
    with zipfile.ZipFile(package) as archive:
        flags = {int.from_bytes(archive.read(name)[4:8], "little") for name in made}
    assert flags == {0b01}, "PEP 552: by hash, and not checked"


def test_bytecode_is_what_runs_and_another_interpreter_runs_the_source(app: Path, tmp_path: Path) -> None:
    """Changing the source behind its bytecode shows which of them an interpreter takes."""
    python = other_python()
    changed = tmp_path / "app"
    shutil.copytree(app, changed)
    (changed / "vending" / "__init__.py").write_text('__version__ = "changed"')
    assert version_by(sys.executable, changed) == vending.__version__
    assert version_by(python, changed) == "changed"
    assert version_by(python, app) == vending.__version__


def test_bytecode_is_for_the_interpreter_that_is_named(tmp_path: Path) -> None:
    python = other_python()
    command: list[str | Path] = [sys.executable, ROOT / "infra" / "package.py", "--python", python]
    told = run([*command, tmp_path / "app.zip"])
    tag = succeed([python, "-c", "import sys; print(sys.implementation.cache_tag)"]).strip()
    assert f"The bytecode is for {tag}" in told.stderr
    names = zipfile.ZipFile(tmp_path / "app.zip").namelist()
    assert {name.rsplit(".", 2)[1] for name in names if name.endswith(".pyc")} == {tag}
    again = succeed([*command, tmp_path / "again.zip"])
    assert again == told.stdout
    assert (tmp_path / "again.zip").read_bytes() == (tmp_path / "app.zip").read_bytes()


def test_interpreter_that_is_none_is_refused(tmp_path: Path) -> None:
    for program in ("/nonexistent/python", "/bin/true"):
        refused = run([sys.executable, ROOT / "infra" / "package.py", "--python", program, tmp_path / "app.zip"])
        assert refused.returncode == 1
        assert program in refused.stderr
    assert not (tmp_path / "app.zip").exists()


def test_stale_bytecode_of_the_working_folder_is_not_packed_and_none_is_left_there(clone: Path) -> None:
    pack(clone)
    clean = (clone / "app.zip").read_bytes()
    stale = Path(importlib.util.cache_from_source(str(clone / "vending" / "clock.py")))
    stale.parent.mkdir(exist_ok=True)
    stale.write_bytes(b"stale")
    assert pack(clone, "--policy", str(clone / "policy.yaml"), "--allow-sample-policy").returncode == 0
    assert pack(clone).returncode == 0
    assert (clone / "app.zip").read_bytes() == clean
    assert [path for path in clone.rglob("*.pyc") if "infra" not in path.parts] == [stale]


def test_telemetry_brings_its_own_requirements(tmp_path: Path) -> None:
    with zipfile.ZipFile(build(tmp_path / "app.zip", "--telemetry")) as archive:
        assert archive.read("requirements.txt") == (ROOT / "requirements-telemetry.txt").read_bytes()


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone of what git knows here, to work in."""
    folder = tmp_path / "clone"
    succeed(["git", "clone", "--quiet", "--no-hardlinks", ROOT, folder])
    for name in ("infra/package.py", ".funcignore"):
        shutil.copy(ROOT / name, folder / name)
    return folder


def pack(clone: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(clone / "infra" / "package.py"), *options, str(clone / "app.zip")]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=clone)


def test_no_policy_is_bundled_unless_one_is_named(clone: Path) -> None:
    packed = pack(clone)
    assert packed.returncode == 0
    assert "policy" not in " ".join(name for name in packed.stdout.split() if "/" not in name)
    assert "VENDING_POLICY" in packed.stderr


def test_a_policy_in_json_is_packed_as_it_is(clone: Path) -> None:
    policy = clone / "build" / "mine.json"
    policy.parent.mkdir()
    policy.write_text('{"version": 1}')
    assert "policy.json" in pack(clone, "--policy", str(policy)).stdout.split()
    assert zipfile.ZipFile(clone / "app.zip").read("policy.json") == b'{"version": 1}'


def test_a_policy_in_yaml_is_packed_compiled(clone: Path) -> None:
    """As `acr-vending compile` makes it of a directory with this file alone."""
    folder, compiled = clone / "build" / "policy", clone / "build" / "policy.json"
    folder.mkdir(parents=True)
    shutil.copy(ROOT / "policy.yaml", folder / "mine.yaml")
    packed = pack(clone, "--policy", str(folder / "mine.yaml"), "--allow-sample-policy")
    assert "policy.json" in packed.stdout.split()
    assert "policy.yaml" not in packed.stdout.split()
    succeed([sys.executable, "-m", "vending", "compile", folder, "-o", compiled])
    assert zipfile.ZipFile(clone / "app.zip").read("policy.json") == compiled.read_bytes()
    assert hashlib.sha256(compiled.read_bytes()).hexdigest() in packed.stderr


def test_a_policy_that_does_not_load_is_refused(clone: Path) -> None:
    policy = clone / "mine.yaml"
    policy.write_text("version: 1\nrules: [{nmae: x}]\n")
    refused = pack(clone, "--policy", str(policy))
    assert refused.returncode == 1
    assert "mine.yaml:2" in refused.stderr
    assert not (clone / "app.zip").exists()


def test_a_policy_in_yaml_is_packed_as_it_is_where_nothing_can_compile_it(clone: Path, tmp_path: Path) -> None:
    succeed([sys.executable, "-m", "venv", "--without-pip", tmp_path / "bare"])
    policy = clone / "mine.yaml"
    policy.write_text("version: 1\n")
    program = tmp_path / "bare" / "bin" / "python"
    packed = run([program, clone / "infra" / "package.py", "--policy", policy, clone / "app.zip"])
    assert packed.returncode == 0, packed.stderr
    assert zipfile.ZipFile(clone / "app.zip").read("policy.yaml") == policy.read_bytes()
    assert "policy.json" not in packed.stdout.split()
    assert hashlib.sha256(policy.read_bytes()).hexdigest() in packed.stderr
    assert "requirements.txt" in packed.stderr


@pytest.mark.parametrize(
    "text",
    ['{"a": "9919"}', '"contoso.azurecr.io"', '{"audience": "https://vend.contoso.example"}', '{"ids": [9919]}'],
)
def test_the_sample_policy_is_refused(clone: Path, text: str) -> None:
    policy = clone / "mine.json"
    policy.write_text(text)
    refused = pack(clone, "--policy", str(policy))
    assert refused.returncode == 1
    assert "sample" in refused.stderr
    assert not (clone / "app.zip").exists()
    assert pack(clone, "--policy", str(policy), "--allow-sample-policy").returncode == 0


@pytest.mark.parametrize("text", ["jwks_file: keys/a.json", "  ca_file: x", "{preset: gitlab, jwks_file: keys/a.json}"])
def test_a_policy_with_files_beside_it_is_refused(clone: Path, text: str) -> None:
    policy = clone / "mine.yaml"
    policy.write_text(text)
    refused = pack(clone, "--policy", str(policy))
    assert refused.returncode == 1
    assert "compile" in refused.stderr


def test_what_git_does_not_track_is_never_packed(clone: Path) -> None:
    leftovers = ["app.zip", "parameters.json", "oidc-token.txt", "key.pem", "claims.json", "app.log", ".env"]
    clean = pack(clone)
    before = (clone / "app.zip").read_bytes()
    for name in leftovers:
        if name != "app.zip":
            (clone / name).write_text("secret")
    (clone / "venv").mkdir()
    (clone / "venv" / "pyvenv.cfg").write_text("x")
    (clone / "vending" / "__pycache__").mkdir(exist_ok=True)
    (clone / "vending" / "__pycache__" / "x.pyc").write_text("x")
    assert pack(clone).stdout == clean.stdout
    assert (clone / "app.zip").read_bytes() == before


def test_a_leftover_in_a_packed_folder_is_refused(clone: Path) -> None:
    (clone / "vending" / "notes.txt").write_text("secret")
    refused = pack(clone)
    assert refused.returncode == 1
    assert "vending/notes.txt" in refused.stderr
    assert not (clone / "app.zip").exists()


def empty_environment(app: Path, python: Path) -> Path:
    """Make an environment with the package's locked requirements alone, and give its interpreter."""
    folder = ROOT / ".venv-infra-package"

    def make() -> None:
        succeed([python, "-m", "venv", "--clear", folder], seconds=SETUP_SECONDS)
        install = ["install", "--quiet", "--disable-pip-version-check", "--require-hashes", "-r"]
        succeed([folder / "bin" / "python", "-m", "pip", *install, app / "requirements.txt"], seconds=SETUP_SECONDS)

    return once(folder, [app / "requirements.txt"], make) / "bin" / "python"


def platform_library(python: Path) -> Path:
    """Install what the platform itself has into a folder of its own."""
    folder = CACHE / "functions-runtime"

    def make() -> None:
        options: list[str | Path] = ["--quiet", "--disable-pip-version-check", "--no-deps", "--target", folder]
        succeed([python, "-m", "pip", "install", *options, *PLATFORM], seconds=SETUP_SECONDS)

    return once(folder, [Path(__file__)], make)


@pytest.mark.e2e
def test_the_deployed_package_vends_a_token(app: Path, upstreams: Upstreams, issuers: IssuerServer) -> None:
    try:
        base = find_python()
    except tools.Unavailable as reason:
        pytest.skip(str(reason))
    python, library = empty_environment(app, base), platform_library(base)
    with Stack(upstreams, start_host=False) as stack:
        form = {"grant_type": GRANT_TYPE, "subject_token": issuers.github.token(), "scope": SCOPE}
        settings = {
            **stack.settings,
            "VENDING_PUBLIC_URL": "https://vend.contoso.example",
            "PYTHONPATH": str(library),
        }
        url = "https://vend.contoso.example"
        run = run_worker(
            app,
            settings,
            [
                Invocation("token", "POST", f"{url}/token", headers=FORM, body=urlencode(form).encode()),
                Invocation("readyz", "GET", f"{url}/readyz"),
            ],
            python=python,
        )
    vended, ready = run.responses
    assert run.python.startswith("3.13")
    assert vended.status == 200, vended
    assert vended.json()["scope"] == SCOPE
    assert ready.status == 200, ready


def test_the_bundled_policy_of_the_package_loads(app: Path) -> None:
    succeed([sys.executable, "-m", "vending", "check", app / "policy.json"])
