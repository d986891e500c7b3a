"""Open an issue with the patch that takes unused rights away, or bring the one that is open up to date.

Usage: python ci/issue.py OUT, after ci/usage.sh wrote OUT/usage.md and OUT/narrower.patch. There is one open issue at
most: another month rewrites it. What was closed as not planned is not asked again until the patch is another one. The
standard library alone; GitHub.
"""

import hashlib
import http.client
import re
import sys
import urllib.error
import urllib.parse
from pathlib import Path
from typing import Any

from comment import call, pages, variable

MARKER = "<!-- acr-vending: usage "
TITLE = "Access that nobody used"
MOST = 60_000
"""Characters; an issue of GitHub has at most 65,536."""


def body(report: str, patch: str) -> str:
    """Return the text of the issue. Its first line says which patch it is about, whatever date that gives a rule."""
    lasting = re.sub(r"expires: [0-9-]+|^@@.*@@", "", patch, flags=re.MULTILINE)
    # The fence is longer than any run of backticks inside.
    fence = "`" * max(3, *(len(run) + 1 for run in re.findall("`+", patch)), 0)
    shown = f"Apply this with `git apply`, and look at it with `acr-vending diff`.\n\n{fence}diff\n{patch}{fence}"
    if len(report) + len(patch) > MOST:
        report = report[: MOST // 2]
        shown = "The patch is too long for an issue: `acr-vending audit usage --patch` writes it."
    return f"{MARKER}{hashlib.sha256(lasting.encode()).hexdigest()} -->\n{report}\n{shown}\n"


def open_or_update(text: str) -> str:
    """Write the issue and say what was done: https://docs.github.com/rest/issues/issues."""
    issues = f"{variable('GITHUB_API_URL')}/repos/{variable('GITHUB_REPOSITORY')}/issues"
    headers = {"Authorization": f"Bearer {variable('GITHUB_TOKEN')}", "Accept": "application/vnd.github+json"}
    # The newest comes first. Anybody may write an issue that begins like ours, so only those that the job wrote count.
    query = "state=all&sort=created&direction=desc&creator=github-actions%5Bbot%5D&"
    ours = [one for one in pages(issues, headers, query) if (one["body"] or "").startswith(MARKER)]
    open_: Any = next((one for one in ours if one["state"] == "open"), None)
    if open_:
        call("PATCH", open_["url"], headers, {"body": text})
        return f"Updated {open_['html_url']}"
    first_line = text.partition("\n")[0]
    latest: Any = next(iter(ours), None)
    if latest and latest["state_reason"] == "not_planned" and latest["body"].partition("\n")[0].rstrip() == first_line:
        return f"{latest['html_url']} was closed as not planned, and nothing has changed."
    return f"Opened {call('POST', issues, headers, {'title': TITLE, 'body': text})['html_url']}"


def main() -> None:
    """Run in a job of GitHub Actions."""
    out = Path(sys.argv[1])
    text = body((out / "usage.md").read_text("utf-8"), (out / "narrower.patch").read_text("utf-8"))
    try:
        sys.stdout.write(f"{open_or_update(text)}\n")
    except urllib.error.HTTPError as error:
        sys.exit(f"The issue could not be written: {error.code} from {urllib.parse.urlsplit(error.url).netloc}.")
    except (OSError, ValueError, LookupError, TypeError, AttributeError, http.client.HTTPException) as error:
        sys.exit(f"The issue could not be written: {type(error).__name__}.")


if __name__ == "__main__":
    main()
