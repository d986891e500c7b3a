"""Build everything that a release holds: app package, wheel, sdist, clients, bill of materials, and their checksums.

Usage: python scripts/build_release.py OUT

Twice from the same commit gives the same bytes. Needs what infra/release/requirements.txt locks.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
EPOCH = 315_532_800
"""1 January 1980, the first time that a zip can hold; every file of a release carries it."""


def _run(*command: str | Path) -> None:
    environment = {**os.environ, "SOURCE_DATE_EPOCH": str(EPOCH)}
    subprocess.run([str(part) for part in command], check=True, cwd=ROOT, env=environment)  # noqa: S603 - ours alone


def build_clients(target: Path) -> None:
    """Write a tar of the clients, the script in the templates that must carry it, with fixed times and owners."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        _run(sys.executable, "clients/release.py", folder)
        with (
            target.open("wb") as raw,
            gzip.GzipFile("", "wb", fileobj=raw, mtime=EPOCH) as packed,
            tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
        ):
            for path in sorted(path for path in folder.rglob("*") if path.is_file()):
                content = path.read_bytes()
                entry = tarfile.TarInfo(f"clients/{path.relative_to(folder)}")
                entry.size, entry.mtime = len(content), EPOCH
                entry.mode = 0o755 if os.access(path, os.X_OK) else 0o644
                archive.addfile(entry, io.BytesIO(content))


def write_checksums(folder: Path) -> None:
    """Write SHA256SUMS, as sha256sum --check reads it."""
    files = sorted(path for path in folder.iterdir() if path.name != "SHA256SUMS")
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in files]
    (folder / "SHA256SUMS").write_text("".join(lines))


def build(out: Path) -> None:
    """Build a release into an empty folder."""
    out.mkdir(parents=True, exist_ok=True)
    if any(out.iterdir()):
        sys.exit(f"{out} is not empty")
    _run(sys.executable, "infra/package.py", out / "acr-token-vending-app.zip")
    _run(sys.executable, "infra/package.py", "--telemetry", out / "acr-token-vending-app-telemetry.zip")
    _run(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, ROOT)
    build_clients(out / "acr-token-vending-clients.tar.gz")
    bill: list[str | Path] = [
        "requirements",
        "--output-reproducible",
        "--of",
        "JSON",
        "-o",
        out / "acr-token-vending.cdx.json",
    ]
    _run(sys.executable, "-m", "cyclonedx_py", *bill, ROOT / "requirements.txt")
    write_checksums(out)


def main() -> None:
    """Read the arguments and build."""
    parser = argparse.ArgumentParser(description="Build everything that a release holds.")
    parser.add_argument("out", type=Path, metavar="OUT", help="an empty folder")
    build(parser.parse_args().out.resolve())


if __name__ == "__main__":
    main()
