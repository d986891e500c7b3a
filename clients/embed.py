"""Write `acr-token.sh` into the templates that must carry it, because what includes them gets no other file.

Run it after a change of the script: `python clients/embed.py`; with `--check` it only says whether that is needed.
"""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
PLACES = {
    "azure-pipelines/acr-token.yml": ["acr-token.sh"],
    "gitlab/templates/acr-token.yml": ["acr-token.sh"],
    "gitlab/acr-token.gitlab-ci.yml": ["acr-token.sh"],
    "kubernetes/scripts.yaml": ["acr-token.sh", "kubernetes/refresh-pull-secret.sh"],
}


def embedded(text: str, script: Path) -> str:
    """Return the template with what lies between the marks of `script` replaced by it, indented as they are."""
    begin, end = f"# >>> {script.name}", f"# <<< {script.name}"
    lines = text.splitlines()
    first, last = ([line.strip() for line in lines].index(mark) for mark in (begin, end))
    indent = lines[first][: len(lines[first]) - len(lines[first].lstrip())]
    body = [f"{indent}{line}".rstrip() for line in script.read_text(encoding="utf-8").splitlines()]
    return "\n".join([*lines[: first + 1], *body, *lines[last:]]) + "\n"


def main() -> int:
    """Bring every template up to date and return the exit code."""
    stale = []
    for name, scripts in PLACES.items():
        path = HERE / name
        text = path.read_text(encoding="utf-8")
        fresh = text
        for script in scripts:
            fresh = embedded(fresh, HERE / script)
        if fresh != text:
            stale.append(name)
            if "--check" not in sys.argv:
                path.write_text(fresh, encoding="utf-8")
    for name in stale:
        print(f"{name}: {'is out of date' if '--check' in sys.argv else 'written'}")
    return 1 if stale and "--check" in sys.argv else 0


if __name__ == "__main__":
    sys.exit(main())
