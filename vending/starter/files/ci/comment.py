"""Write what a change does to access as a comment on its pull request, and demand approval where access grew.

Usage: python ci/comment.py OUT, after ci/review.sh. The comment is updated in place. Exit 1 where access grew and the
pull request has no label `access-approved`. The standard library alone; GitHub, GitLab and Azure DevOps.
"""

import json
import os
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MARKER = "<!-- acr-vending: access -->"
LABEL = "access-approved"


def call(method: str, url: str, headers: dict[str, str], body: object = None) -> Any:
    """Make one call of a platform's API and return its JSON."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json", "User-Agent": "acr-vending", **headers}
    request = urllib.request.Request(url, data=data, method=method, headers=headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.loads(answer.read() or b"null")


def pages(url: str, headers: dict[str, str]) -> Iterator[Any]:
    """Yield every item of a list that comes in pages of a hundred."""
    page = 1
    while True:
        items = call("GET", f"{url}{'&' if '?' in url else '?'}per_page=100&page={page}", headers)
        yield from items
        if len(items) < 100:
            return
        page += 1


def github(text: str) -> set[str]:
    event = json.loads(Path(os.environ["GITHUB_EVENT_PATH"]).read_text())
    issue = f"{os.environ['GITHUB_API_URL']}/repos/{os.environ['GITHUB_REPOSITORY']}/issues/{event['number']}"
    headers = {"Authorization": f"Bearer {os.environ['GITHUB_TOKEN']}", "Accept": "application/vnd.github+json"}
    ours = next((c for c in pages(f"{issue}/comments", headers) if c["body"].startswith(MARKER)), None)
    if ours:
        call("PATCH", ours["url"], headers, {"body": text})
    else:
        call("POST", f"{issue}/comments", headers, {"body": text})
    return {label["name"] for label in pages(f"{issue}/labels", headers)}


def gitlab(text: str) -> set[str]:
    project = urllib.parse.quote(os.environ["CI_PROJECT_ID"], safe="")
    change = f"{os.environ['CI_API_V4_URL']}/projects/{project}/merge_requests/{os.environ['CI_MERGE_REQUEST_IID']}"
    # A job token may not write notes: https://docs.gitlab.com/ci/jobs/ci_job_token/
    headers = {"PRIVATE-TOKEN": os.environ["COMMENT_TOKEN"]}
    ours = next((n for n in pages(f"{change}/notes", headers) if n["body"].startswith(MARKER)), None)
    if ours:
        call("PUT", f"{change}/notes/{ours['id']}", headers, {"body": text})
    else:
        call("POST", f"{change}/notes", headers, {"body": text})
    return set(call("GET", change, headers)["labels"])


def azure_devops(text: str) -> set[str]:
    repository = (
        f"{os.environ['SYSTEM_COLLECTIONURI'].rstrip('/')}/{urllib.parse.quote(os.environ['SYSTEM_TEAMPROJECT'])}"
        f"/_apis/git/repositories/{os.environ['BUILD_REPOSITORY_ID']}"
    )
    change = f"{repository}/pullRequests/{os.environ['SYSTEM_PULLREQUEST_PULLREQUESTID']}"
    headers = {"Authorization": f"Bearer {os.environ['SYSTEM_ACCESSTOKEN']}", "X-TFS-FedAuthRedirect": "Suppress"}
    version = "api-version=7.1"
    threads = call("GET", f"{change}/threads?{version}", headers)["value"]
    for thread in threads:
        first = (thread.get("comments") or [{}])[0]
        if (first.get("content") or "").startswith(MARKER):
            place = f"{change}/threads/{thread['id']}/comments/{first['id']}?{version}"
            call("PATCH", place, headers, {"content": text})
            break
    else:
        comment = {"parentCommentId": 0, "content": text, "commentType": "text"}
        call("POST", f"{change}/threads?{version}", headers, {"comments": [comment], "status": "closed"})
    return {label["name"] for label in call("GET", f"{change}/labels?{version}", headers)["value"]}


def main() -> None:
    out = Path(sys.argv[1])
    grew = (out / "grew").read_text().strip() != "0"
    text = f"{MARKER}\n{(out / 'access.md').read_text()}"
    platforms = {"GITHUB_ACTIONS": github, "GITLAB_CI": gitlab, "TF_BUILD": azure_devops}
    platform = next((function for name, function in platforms.items() if os.environ.get(name)), None)
    if platform is None:
        sys.exit("This runs in GitHub Actions, GitLab CI or Azure Pipelines.")
    try:
        labels = platform(text)
    except KeyError as error:
        sys.exit(f"The variable {error} is not set.")
    except urllib.error.HTTPError as error:
        sys.exit(f"The comment could not be written: {error.code} from {urllib.parse.urlsplit(error.url).netloc}.")
    except OSError as error:
        sys.exit(f"The comment could not be written: {type(error).__name__}.")
    if grew and LABEL not in labels:
        sys.exit(f"This change adds access. Whoever may approve that sets the label {LABEL}.")


if __name__ == "__main__":
    main()
