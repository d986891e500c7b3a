"""Put together what a release ships for each platform: the one script, and the templates that must carry a copy of it.

A template that a pipeline includes gets no other file, so the script has to be inside. The repository has no such copy;
this writes them: `python clients/release.py DIRECTORY`.
"""

import shutil
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
SCRIPT = HERE / "acr-token.sh"
HELPER = HERE / "docker-credential-acr-vending"
MARK = "# >>> acr-token.sh"
TEMPLATES = ("azure-pipelines/acr-token.yml", "gitlab/acr-token.yml")
ACTION = "github-action"


def filled(template: str, script: str) -> str:
    """Return a template with the script in place of its marks, a part for each, indented as the mark is."""
    marks = [line for line in template.splitlines() if line.strip().startswith(MARK)]
    rest = script.splitlines()
    for number, mark in enumerate(marks):
        indent = mark[: mark.index(MARK)]
        share = len(rest) // (len(marks) - number)
        body = "\n".join(f"{indent}{line}".rstrip() for line in rest[:share])
        template, rest = template.replace(mark, body, 1), rest[share:]
    return template


def write(directory: Path) -> list[Path]:
    """Write every file of a release into a directory and return them."""
    script = SCRIPT.read_text(encoding="utf-8")
    written = []
    for source in sorted(path for path in HERE.rglob("*") if path.is_file() and "__pycache__" not in path.parts):
        name = source.relative_to(HERE).as_posix()
        target = directory / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if name in TEMPLATES:
            target.write_text(filled(source.read_text(encoding="utf-8"), script), encoding="utf-8")
        elif name != Path(__file__).name:
            shutil.copy(source, target)
        written.append(target)
    # The action by itself, as a repository of its own holds it: what it runs lies beside it instead of above it.
    written += [Path(shutil.copy(part, directory / ACTION)) for part in (SCRIPT, HELPER)]
    return written


def main() -> int:
    """Write the release and return the exit code."""
    if len(sys.argv) != 2:
        print("usage: release.py DIRECTORY", file=sys.stderr)
        return 2
    for path in write(Path(sys.argv[1])):
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
