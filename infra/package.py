"""Build the deployment package: a zip of the files that git tracks and `.funcignore` names, and of one policy.

Usage: python infra/package.py [--policy FILE] [--telemetry] OUT.zip

Without --policy the package has none, for a policy in a blob. Dependencies are not in it: Azure installs
requirements.txt (remote build); --telemetry puts requirements-telemetry.txt in its place, for
VENDING_TELEMETRY=azure-monitor. The same files give the same bytes, so that a package can be compared with a release.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# Zip knows no earlier time; a fixed one keeps packages of the same files equal.
EPOCH = (1980, 1, 1, 0, 0, 0)
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
    """Return the name of a policy in the package and its content. Raises `Refused`."""
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
    if name == "policy.yaml" and SIDE_FILE.search(content):
        raise Refused(f"{policy}: names files beside it; pack what `acr-vending compile` makes of its directory")
    return name, content


def build(target: Path, *, policy: Path | None = None, telemetry: bool = False, sample: bool = False) -> list[str]:
    """Write the package to `target` and return the paths in it. Raises `Refused`, and writes nothing then."""
    source = {"requirements.txt": "requirements-telemetry.txt"} if telemetry else {}
    entries = {path: (ROOT / source.get(path, path)).read_bytes() for path in files()}
    if policy is not None:
        name, content = policy_entry(policy, sample=sample)
        entries[name] = content
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as package:
        for path in sorted(entries):
            entry = zipfile.ZipInfo(path, EPOCH)
            entry.external_attr = 0o100644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            package.writestr(entry, entries[path])
    return sorted(entries)


def main() -> None:
    parser = argparse.ArgumentParser(description="Build the deployment package.")
    parser.add_argument("--policy", type=Path, metavar="FILE", help="bundle this policy, as policy.json or policy.yaml")
    parser.add_argument("--allow-sample-policy", action="store_true", help="bundle it even if it is the sample")
    parser.add_argument("--telemetry", action="store_true", help="with the requirements for OpenTelemetry")
    parser.add_argument("target", type=Path, metavar="OUT.zip")
    given = parser.parse_args()
    try:
        packed = build(given.target, policy=given.policy, telemetry=given.telemetry, sample=given.allow_sample_policy)
    except Refused as refusal:
        sys.exit(f"package.py: {refusal}")
    sys.stdout.write("\n".join(packed) + "\n")
    if given.policy is None:
        sys.stderr.write("No policy is bundled: VENDING_POLICY must name a blob, or pass --policy FILE.\n")


if __name__ == "__main__":
    main()
