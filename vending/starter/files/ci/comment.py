"""Write what a change does to access as a comment on its pull request, and demand approval where access grew.

Usage: python ci/comment.py OUT, after ci/review.sh. The comment is updated in place. Exit 1 where the policy does not
pass, or where access grew and the pull request has no label `access-approved`. The label approves what the comment
shows: when a later commit changes that, the label is taken away and has to be set again. The standard library alone;
GitHub, GitLab and Azure DevOps.
"""

import hashlib
import http.client
import json
import os
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MARKER = "<!-- acr-vending: access "
LABEL = "access-approved"


class NoRedirect(urllib.request.HTTPRedirectHandler):
    """Follow no redirect: it would take the token to another host."""

    def redirect_request(self, *_: object) -> None:
        """Refuse, so that the redirect is an error like any other."""


OPENER = urllib.request.build_opener(NoRedirect)


@dataclass(frozen=True)
class PullRequest:
    """Hold our comment on a pull request, if there is one, its labels, and how to change both."""

    comment: str
    labels: set[str]
    write: Callable[[str], object]
    remove_label: Callable[[], object]


def variable(name: str) -> str:
    """Return a variable of the job."""
    value = os.environ.get(name)
    if not value:
        sys.exit(f"The variable {name} is not set.")
    return value


def call(method: str, url: str, headers: dict[str, str], body: object = None) -> Any:
    """Make one call of a platform's API and return its JSON."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json", "User-Agent": "acr-vending", **headers}
    with OPENER.open(urllib.request.Request(url, data=data, method=method, headers=headers), timeout=30) as answer:
        return json.loads(answer.read() or b"null")


def pages(url: str, headers: dict[str, str], query: str = "") -> Iterator[Any]:
    """Yield every item of a list that comes in pages of a hundred; a `query` ends in an ampersand."""
    page = 1
    while True:
        items = call("GET", f"{url}?{query}per_page=100&page={page}", headers)
        yield from items
        if len(items) < 100:
            return
        page += 1


def github() -> PullRequest:
    """Read a pull request of GitHub: https://docs.github.com/rest/issues."""
    number = json.loads(Path(variable("GITHUB_EVENT_PATH")).read_text("utf-8"))["number"]
    issue = f"{variable('GITHUB_API_URL')}/repos/{variable('GITHUB_REPOSITORY')}/issues/{number}"
    headers = {"Authorization": f"Bearer {variable('GITHUB_TOKEN')}", "Accept": "application/vnd.github+json"}
    # The job's token may edit everybody's comments, so only one that the job wrote counts.
    ours = next(
        (
            comment
            for comment in pages(f"{issue}/comments", headers)
            if comment["body"].startswith(MARKER) and comment["user"]["login"] == "github-actions[bot]"
        ),
        None,
    )
    method, place = ("PATCH", ours["url"]) if ours else ("POST", f"{issue}/comments")
    return PullRequest(
        comment=ours["body"] if ours else "",
        labels={label["name"] for label in pages(f"{issue}/labels", headers)},
        write=lambda text: call(method, place, headers, {"body": text}),
        remove_label=lambda: call("DELETE", f"{issue}/labels/{LABEL}", headers),
    )


def gitlab() -> PullRequest:
    """Read a merge request of GitLab: https://docs.gitlab.com/api/notes/ and https://docs.gitlab.com/api/merge_requests/."""
    project = urllib.parse.quote(variable("CI_PROJECT_ID"), safe="")
    change = f"{variable('CI_API_V4_URL')}/projects/{project}/merge_requests/{variable('CI_MERGE_REQUEST_IID')}"
    # A job token may not write notes: https://docs.gitlab.com/ci/jobs/ci_job_token/
    headers = {"PRIVATE-TOKEN": variable("COMMENT_TOKEN")}
    # Developers may edit no other's note, so one that somebody else began with the marker ends in an error.
    ours = next((note for note in pages(f"{change}/notes", headers) if note["body"].startswith(MARKER)), None)
    method, place = ("PUT", f"{change}/notes/{ours['id']}") if ours else ("POST", f"{change}/notes")
    return PullRequest(
        comment=ours["body"] if ours else "",
        labels=set(call("GET", change, headers)["labels"]),
        write=lambda text: call(method, place, headers, {"body": text}),
        remove_label=lambda: call("PUT", change, headers, {"remove_labels": LABEL}),
    )


def azure_devops() -> PullRequest:
    """Read a pull request of Azure Repos: https://learn.microsoft.com/rest/api/azure/devops/git/pull-request-threads."""
    project = f"{variable('SYSTEM_COLLECTIONURI').rstrip('/')}/{urllib.parse.quote(variable('SYSTEM_TEAMPROJECT'))}"
    repository = f"{project}/_apis/git/repositories/{variable('BUILD_REPOSITORY_ID')}"
    change = f"{repository}/pullRequests/{variable('SYSTEM_PULLREQUEST_PULLREQUESTID')}"
    headers = {"Authorization": f"Bearer {variable('SYSTEM_ACCESSTOKEN')}", "X-TFS-FedAuthRedirect": "Suppress"}
    version = "api-version=7.1"
    comment, method, place = "", "POST", f"{change}/threads?{version}"
    # Nobody may edit another's comment, so one that somebody else began with the marker ends in an error.
    for thread in call("GET", f"{change}/threads?{version}", headers)["value"]:
        first = (thread.get("comments") or [{}])[0]
        if (first.get("content") or "").startswith(MARKER) and not first.get("isDeleted"):
            place = f"{change}/threads/{thread['id']}/comments/{first['id']}?{version}"
            comment, method = first["content"], "PATCH"
            break
    return PullRequest(
        comment=comment,
        labels={label["name"] for label in call("GET", f"{change}/labels?{version}", headers)["value"]},
        write=lambda text: call(method, place, headers, {"content": text} if comment else thread_of(text)),
        remove_label=lambda: call("DELETE", f"{change}/labels/{LABEL}?{version}", headers),
    )


def thread_of(text: str) -> dict[str, object]:
    """Return a closed thread, which blocks no merge, with one comment."""
    return {"comments": [{"parentCommentId": 0, "content": text, "commentType": "text"}], "status": "closed"}


def review(request: PullRequest, access: str, verdict: str) -> str | None:
    """Write the comment; return what is missing, if anything."""
    first_line = f"{MARKER}{hashlib.sha256(access.encode()).hexdigest()} -->"
    approved = LABEL in request.labels
    shown = request.comment.partition("\n")[0].rstrip("\r") == first_line
    if verdict != "same" and approved and not shown:
        request.remove_label()  # before the comment says something new
    request.write(f"{first_line}\n{access}")
    if verdict == "same":
        return None
    if verdict != "grew":
        return "This policy does not pass. The comment and the log say why."
    if approved and shown:
        return None
    if approved:
        return f"This change adds other access than was approved. Read the comment, and set the label {LABEL} again."
    return f"This change adds access. Whoever may approve that sets the label {LABEL}."


def main() -> None:
    """Run on the platform whose variables are set."""
    out = Path(sys.argv[1])
    platforms = {"GITHUB_ACTIONS": github, "GITLAB_CI": gitlab, "TF_BUILD": azure_devops}
    platform = next((function for name, function in platforms.items() if os.environ.get(name)), None)
    if platform is None:
        sys.exit("This runs in GitHub Actions, GitLab CI or Azure Pipelines.")
    if not (out / "verdict").is_file():
        sys.exit("ci/review.sh did not finish: its log says why.")
    verdict = (out / "verdict").read_text("utf-8").strip()
    access = (out / "access.md").read_text("utf-8", errors="replace")
    try:
        missing = review(platform(), access, verdict)
    except urllib.error.HTTPError as error:
        sys.exit(f"The comment could not be written: {error.code} from {urllib.parse.urlsplit(error.url).netloc}.")
    except (OSError, ValueError, LookupError, TypeError, AttributeError, http.client.HTTPException) as error:
        sys.exit(f"The comment could not be written: {type(error).__name__}.")
    if missing:
        sys.exit(missing)


if __name__ == "__main__":
    main()
