"""Build the deployment package: a zip of the files that git tracks and `.funcignore` names, and of one policy.

Usage: python infra/package.py [--policy FILE] [--telemetry] [--with-dependencies] [--python PROGRAM] OUT.zip

Without --policy the package has none, for a policy in a blob. A policy in YAML is packed as `acr-vending compile` makes
it where this Python has the packages of requirements.txt, and as it is where it has not. Dependencies are not in the
package: Azure installs requirements.txt (remote build); --telemetry puts requirements-telemetry.txt in its place, for
VENDING_TELEMETRY=azure-monitor. --with-dependencies packs them too, as wheels for the function app's Linux.

The bytecode of all that is packed lies beside its source, so that a cold start does not compile it: for the Python that
runs this, or for --python. It is made from the very files that are packed and never checked against them again (PEP
552, unchecked), since nobody changes a deployed package. Another Python looks for another file name and takes the
source; with dependencies the app refuses to start on it, because their binaries fit one Python alone.

The same files and the same Python give the same bytes, so that a package can be compared with a release.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# Zip knows no earlier time; a fixed one keeps packages of the same files equal.
EPOCH = (1980, 1, 1, 0, 0, 0)
NOT_IMPORTED = "vending/starter/files/"  # What `init` writes into a new repository.
SITE_PACKAGES = ".python_packages/lib/site-packages"
"""Where the Functions worker looks first on Linux: azure-functions-python-worker, workers/python/*/worker.py."""
VERSIONS = ("3.11", "3.12", "3.13")
"""Of CPython: what the app runs on, and requirements.txt is locked for."""
PLATFORM = "manylinux2014_x86_64"
"""Flex Consumption runs x86_64. The oldest manylinux that all locked wheels have, so that any of its images will do."""
POLICIES = {".json": "policy.json", ".yaml": "policy.yaml", ".yml": "policy.yaml"}

# The sample's owner id, registry and audience: a policy with any of them is somebody's first copy of policy.yaml.
SAMPLE = re.compile(rb"(?<![\w.-])(?:9919(?!\d)|contoso\w*\.azurecr\.io|vend\.contoso\.example)")
SIDE_FILE = re.compile(rb"^\s*(?:jwks_file|ca_file)\s*:|[{,]\s*\"?(?:jwks_file|ca_file)\"?\s*:", re.MULTILINE)


class Refused(Exception):
    """The package would hold what it must not hold, or lack what it needs."""


def _git(*arguments: str) -> list[str]:
    command = ["git", "-C", str(ROOT), *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 - arguments of ours alone
    return done.stdout.split("\0")[:-1]


def files() -> list[str]:
    """Return the paths of the app's own files. Raises `Refused` where one of their folders has an untracked file."""
    left_out = set(_git("ls-files", "-z", "--cached", "--ignored", "--exclude-from=.funcignore"))
    kept = [path for path in _git("ls-files", "-z", "--cached") if path not in left_out]
    paths = sorted(path for path in kept if path not in POLICIES.values() and (ROOT / path).is_file())
    folders = sorted({path.partition("/")[0] for path in paths if "/" in path})
    unknown = _git("ls-files", "-z", "--others", "--exclude-standard", "--", *folders)
    if unknown:
        raise Refused(f"git does not track {', '.join(sorted(unknown))}: add or remove it")
    return paths


def policy_entry(policy: Path, *, sample: bool) -> tuple[str, bytes]:
    """Return the name of a policy in the package and its content, compiled if it is YAML. Raises `Refused`."""
    name = POLICIES.get(policy.suffix)
    if name is None:
        raise Refused(f"{policy}: the name of a policy ends in .json or .yaml")
    try:
        content = policy.read_bytes()
    except OSError as error:
        raise Refused(f"{policy}: {error.strerror}") from None
    found = SAMPLE.search(content)
    if found and not sample:
        raise Refused(
            f"{policy}: {found[0].decode()} belongs to the sample policy; write your own ids and hosts, "
            "or pass --allow-sample-policy"
        )
    if name == "policy.json":
        return name, content
    if SIDE_FILE.search(content):
        raise Refused(f"{policy}: names files beside it; pack what `acr-vending compile` makes of its directory")
    made = compiled(policy.name, content)
    return (name, content) if made is None else ("policy.json", made)


def compiled(name: str, content: bytes) -> bytes | None:
    """Compile a policy that is one file; None where the packages for that are missing. Raises `Refused`."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "policy"), Path(folder, "policy.json")
        source.mkdir()
        (source / name).write_bytes(content)
        command = [sys.executable, "-B", "-m", "vending", "compile", "policy", "-o", target]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(  # noqa: S603 - arguments of ours alone
            command, capture_output=True, text=True, check=False, cwd=folder, env=environment
        )
        if done.returncode == 0:
            return target.read_bytes()
    said = (done.stdout + done.stderr).strip()
    if "ModuleNotFoundError" in said:
        return None
    raise Refused(f"{name} cannot be compiled:\n{said}")


def bytecode(sources: dict[str, bytes], python: str) -> dict[str, bytes]:
    """Compile modules for an interpreter and return its files by their paths. Raises `Refused`."""
    with tempfile.TemporaryDirectory() as folder:
        for path, content in sources.items():
            module = Path(folder, path)
            module.parent.mkdir(parents=True, exist_ok=True)
            module.write_bytes(content)
        command = [python, "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", "-s", folder, folder]
        # Nothing of the caller's environment: with PYTHONPYCACHEPREFIX the files would go elsewhere. A fixed seed keeps
        # the order of sets in bytecode.
        environment = {"PATH": os.environ.get("PATH", ""), "PYTHONHASHSEED": "0"}
        try:
            done = subprocess.run(  # noqa: S603 - arguments of ours alone
                command, capture_output=True, text=True, check=False, env=environment
            )
        except OSError as error:
            raise Refused(f"{python}: {error.strerror}") from None
        if done.returncode:
            raise Refused(f"{python} cannot compile the app:\n{(done.stdout + done.stderr).strip()}")
        made = {path.relative_to(folder).as_posix(): path.read_bytes() for path in Path(folder).rglob("*.pyc")}
    if len(made) != len(sources):
        raise Refused(f"{python} compiled {len(made)} of {len(sources)} modules")
    return made


def version_of(python: str) -> str:
    """Return the version of an interpreter, such as 3.13. Raises `Refused` unless it is CPython 3.11 to 3.13."""
    code = "import sys; print(sys.implementation.name, '%d.%d' % sys.version_info[:2])"
    try:
        done = subprocess.run([python, "-I", "-c", code], capture_output=True, text=True, check=False)  # noqa: S603 - arguments of ours alone
    except OSError as error:
        raise Refused(f"{python}: {error.strerror}") from None
    name, _, version = done.stdout.strip().partition(" ")
    if name != "cpython" or version not in VERSIONS:
        found = done.stdout.strip() or "no Python"
        raise Refused(f"{python} is {found}; the app runs on CPython {', '.join(VERSIONS)}: name one by --python")
    return version


def dependencies(requirements: bytes, python: str) -> dict[str, bytes]:
    """Install locked requirements for the function app, and return their files by their paths. Raises `Refused`.

    The interpreter's own pip does it, because pip evaluates environment markers for the Python that it runs on, and not
    for --python-version (pip issue 11664). The lock names all packages, so pip need not look for more.
    """
    version = version_of(python)
    with tempfile.TemporaryDirectory() as folder:
        lock, target = Path(folder, "requirements.txt"), Path(folder, "target")
        lock.write_bytes(requirements)
        quiet = ["--quiet", "--disable-pip-version-check", "--no-input", "--root-user-action=ignore"]
        wheels = ["--platform", PLATFORM, "--python-version", version, "--implementation", "cp", "--only-binary=:all:"]
        exact = ["--no-deps", "--no-compile", "--require-hashes", "--target", str(target), "--requirement", str(lock)]
        done = subprocess.run(  # noqa: S603 - arguments of ours alone
            [python, "-m", "pip", "install", *quiet, *wheels, *exact],
            capture_output=True,
            text=True,
            check=False,
            cwd=folder,
        )
        if done.returncode:
            raise Refused(_why_not_installed(done.stderr.strip(), python, version))
        return _installed(target)


def _why_not_installed(said: str, python: str, version: str) -> str:
    if "No module named pip" in said:
        return f"{python} has no pip: run `{python} -m ensurepip`, or name a Python that has it by --python"
    return (
        f"the dependencies cannot be installed for CPython {version} on {PLATFORM}:\n{said}\n"
        "pip needs a package index (PIP_INDEX_URL names another) with a wheel of every locked package; "
        "without --with-dependencies Azure installs them"
    )


def _installed(target: Path) -> dict[str, bytes]:
    """Read what pip installed, without the programs: each begins with the path of the interpreter that pip ran on."""
    found = {}
    for path in target.rglob("*"):
        name = path.relative_to(target)
        if name.parts[0] == "bin" or not path.is_file():
            continue
        content = path.read_bytes()
        if name.name == "RECORD":
            content = b"".join(line for line in content.splitlines(True) if not line.startswith(b"../../bin/"))
        found[f"{SITE_PACKAGES}/{name.as_posix()}"] = content
    return found


def build(
    target: Path,
    *,
    policy: Path | None = None,
    telemetry: bool = False,
    sample: bool = False,
    python: str = sys.executable,
    with_dependencies: bool = False,
) -> list[str]:
    """Write the package to `target` and return the paths in it. Raises `Refused`, and writes nothing then."""
    source = {"requirements.txt": "requirements-telemetry.txt"} if telemetry else {}
    entries = {path: (ROOT / source.get(path, path)).read_bytes() for path in files()}
    if policy is not None:
        name, content = policy_entry(policy, sample=sample)
        entries[name] = content
    if with_dependencies:
        entries |= dependencies(entries["requirements.txt"], python)
    modules = {path: entries[path] for path in entries if path.endswith(".py") and not path.startswith(NOT_IMPORTED)}
    entries |= bytecode(modules, python)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as package:
        for path in sorted(entries):
            entry = zipfile.ZipInfo(path, EPOCH)
            entry.external_attr = 0o100644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            package.writestr(entry, entries[path])
    return sorted(entries)


def packed_policy(package: Path) -> tuple[str, str] | None:
    """Return the name of the policy in a package and its SHA-256, as `/readyz` will tell it; None without a policy."""
    with zipfile.ZipFile(package) as archive:
        for name in set(POLICIES.values()) & set(archive.namelist()):
            return name, hashlib.sha256(archive.read(name)).hexdigest()
    return None


def interpreter(paths: list[str]) -> str:
    """Return the tag of the interpreter that a package's bytecode is for, such as cpython-313."""
    return next(path.rsplit(".", 2)[1] for path in paths if path.endswith(".pyc"))


def packed_python(package: Path) -> str | None:
    """Return the version of Python that the dependencies in a package fit, such as 3.13; None where it has none."""
    with zipfile.ZipFile(package) as archive:
        names = archive.namelist()
    if not any(name.startswith(SITE_PACKAGES) for name in names):
        return None
    return interpreter(names).replace("cpython-3", "3.")


def main() -> None:
    parser = argparse.ArgumentParser(description="Build the deployment package.")
    parser.add_argument("--policy", type=Path, metavar="FILE", help="bundle this policy, compiled")
    parser.add_argument("--allow-sample-policy", action="store_true", help="bundle it even if it is the sample")
    parser.add_argument("--telemetry", action="store_true", help="with the requirements for OpenTelemetry")
    parser.add_argument("--with-dependencies", action="store_true", help="pack them: no remote build, for one Python")
    parser.add_argument("--python", metavar="PROGRAM", default=sys.executable, help="the Python that the app runs on")
    parser.add_argument("target", type=Path, metavar="OUT.zip")
    given = parser.parse_args()
    try:
        packed = build(
            given.target,
            policy=given.policy,
            telemetry=given.telemetry,
            sample=given.allow_sample_policy,
            python=given.python,
            with_dependencies=given.with_dependencies,
        )
    except Refused as refusal:
        sys.exit(f"package.py: {refusal}")
    sys.stdout.write("\n".join(packed) + "\n")
    tell(given.target, packed)


def tell(package: Path, packed: list[str]) -> None:
    """Say on standard error what a package is for, and which policy it has."""
    tag, only = interpreter(packed), packed_python(package)
    if only is None:
        sys.stderr.write(f"The bytecode is for {tag}; another Python runs the source.\n")
    else:
        sys.stderr.write(f"The dependencies and the bytecode are for {tag} on x86_64 Linux, and for no other Python.\n")
        sys.stderr.write("Deploy it without the remote build, as infra/deliver.py does.\n")
    policy = packed_policy(package)
    if policy is None:
        sys.stderr.write("No policy is bundled: VENDING_POLICY must name a blob, or pass --policy FILE.\n")
    else:
        name, sha256 = policy
        sys.stderr.write(f"{name} has the SHA-256 {sha256}, which /readyz tells.\n")
        if name != "policy.json":
            sys.stderr.write("It is not compiled: this Python lacks the packages of requirements.txt.\n")


if __name__ == "__main__":
    main()
