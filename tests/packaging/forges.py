"""What GitHub, GitLab and Azure DevOps answer to a pipeline that comments on a pull request, and nothing else.

Every rule has its documentation beside it; a call that is not known here is a failure of the test.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

from tests.clients.servers import Answer, Seen

TOKEN: Final = "forge-secret-token"
OURS: Final = "github-actions[bot]"


@dataclass
class Comment:
    """Hold one comment and who wrote it."""

    number: int
    author: str
    body: str


@dataclass
class Issue:
    """Hold one issue, who wrote it, and how it was closed, if it was."""

    number: int
    author: str
    title: str
    body: str
    closed_as: str = ""


@dataclass
class Forge:
    """Hold one pull request, number 7: its comments and labels, and an answer to give to every call instead.

    `issues` are those of the repository, the newest last.
    """

    comments: list[Comment] = field(default_factory=list)
    issues: list[Issue] = field(default_factory=list)
    labels: set[str] = field(default_factory=set)
    instead: Answer | None = None
    refuse_removal: bool = False

    def add(self, body: str, author: str = OURS) -> Comment:
        """Add a comment."""
        comment = Comment(len(self.comments) + 1, author, body)
        self.comments.append(comment)
        return comment

    def edit(self, number: int, body: str, *, anybodys: bool) -> Answer | None:
        """Change a comment; return a refusal where it is another's and the platform keeps that to its author."""
        comment = self.comments[number - 1]
        if comment.author != OURS and not anybodys:
            return _json({"message": "Forbidden"}, HTTPStatus.FORBIDDEN)
        comment.body = body
        return None

    @property
    def ours(self) -> list[str]:
        """Return the bodies of the pipeline's own comments."""
        return [comment.body for comment in self.comments if comment.author == OURS]


def _json(value: object, status: int = HTTPStatus.OK) -> Answer:
    return Answer(status, json.dumps(value))


def _page(items: list[Any], seen: Seen) -> Answer:
    size, page = int(seen.query["per_page"][0]), int(seen.query["page"][0])
    assert size <= 100  # https://docs.github.com/rest/using-the-rest-api/using-pagination-in-the-rest-api
    return _json(items[(page - 1) * size : page * size])


def _body(seen: Seen, *keys: str) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(seen.body)
    assert set(body) == set(keys)
    return body


def github(forge: Forge, seen: Seen) -> Answer:
    """Answer as https://docs.github.com/rest/issues says; a job's token may edit everybody's comments."""
    if seen.headers.get("authorization") != f"Bearer {TOKEN}":
        return _json({"message": "Bad credentials"}, HTTPStatus.UNAUTHORIZED)
    root = "/repos/contoso/access/issues"
    host = f"http://{seen.headers['host']}"

    def shown(comment: Comment) -> dict[str, object]:
        url = f"{host}{root}/comments/{comment.number}"
        return {"id": comment.number, "url": url, "body": comment.body, "user": {"login": comment.author}}

    # https://docs.github.com/rest/issues/comments#list-issue-comments
    if (seen.method, seen.path) == ("GET", f"{root}/7/comments"):
        return _page([shown(comment) for comment in forge.comments], seen)
    # https://docs.github.com/rest/issues/comments#create-an-issue-comment
    if (seen.method, seen.path) == ("POST", f"{root}/7/comments"):
        return _json(shown(forge.add(_body(seen, "body")["body"])), HTTPStatus.CREATED)
    # https://docs.github.com/rest/issues/comments#update-an-issue-comment
    if seen.method == "PATCH" and seen.path.startswith(f"{root}/comments/"):
        number = int(seen.path.rpartition("/")[2])
        return forge.edit(number, _body(seen, "body")["body"], anybodys=True) or _json({})
    if seen.path == root or re.fullmatch(rf"{root}/1\d\d", seen.path):
        return _github_issues(forge, seen, f"{host}{root}")
    # https://docs.github.com/rest/issues/labels#list-labels-for-an-issue
    if (seen.method, seen.path) == ("GET", f"{root}/7/labels"):
        return _page([{"name": name} for name in sorted(forge.labels)], seen)
    # https://docs.github.com/rest/issues/labels#remove-a-label-from-an-issue
    if seen.method == "DELETE" and seen.path.startswith(f"{root}/7/labels/"):
        return _removed(forge, seen.path.rpartition("/")[2])
    raise AssertionError(f"GitHub is not asked for {seen.method} {seen.path}")


def _github_issues(forge: Forge, seen: Seen, root: str) -> Answer:
    def shown(issue: Issue) -> dict[str, object]:
        return {
            "url": f"{root}/{issue.number}",
            "html_url": f"https://github.com/contoso/access/issues/{issue.number}",
            "number": issue.number,
            "title": issue.title,
            "body": issue.body,
            "user": {"login": issue.author},
            "state": "closed" if issue.closed_as else "open",
            "state_reason": issue.closed_as or None,
        }

    # https://docs.github.com/rest/issues/issues#list-repository-issues
    if seen.method == "GET":
        given = {name: values[0] for name, values in seen.query.items()}
        assert (given["state"], given["sort"], given["direction"]) == ("all", "created", "desc")
        listed = [issue for issue in forge.issues if issue.author == given["creator"]]
        return _page([shown(issue) for issue in reversed(listed)], seen)
    # https://docs.github.com/rest/issues/issues#create-an-issue
    if seen.method == "POST":
        new = _body(seen, "title", "body")
        assert len(new["body"]) <= 65_536
        forge.issues.append(Issue(101 + len(forge.issues), OURS, new["title"], new["body"]))
        return _json(shown(forge.issues[-1]), HTTPStatus.CREATED)
    # https://docs.github.com/rest/issues/issues#update-an-issue
    assert seen.method == "PATCH"
    issue = next(issue for issue in forge.issues if seen.path.endswith(f"/{issue.number}"))
    issue.body = _body(seen, "body")["body"]
    return _json(shown(issue))


def gitlab(forge: Forge, seen: Seen) -> Answer:
    """Answer as https://docs.gitlab.com/api/notes/ says; developers edit only their own notes."""
    # https://docs.gitlab.com/api/rest/authentication/#personalprojectgroup-access-tokens
    if seen.headers.get("private-token") != TOKEN:
        return _json({"message": "401 Unauthorized"}, HTTPStatus.UNAUTHORIZED)
    root = "/api/v4/projects/4200/merge_requests/7"
    # https://docs.gitlab.com/api/notes/#list-all-merge-request-notes
    if (seen.method, seen.path) == ("GET", f"{root}/notes"):
        return _page([{"id": comment.number, "body": comment.body} for comment in forge.comments], seen)
    # https://docs.gitlab.com/api/notes/#create-new-merge-request-note
    if (seen.method, seen.path) == ("POST", f"{root}/notes"):
        return _json({"id": forge.add(_body(seen, "body")["body"]).number}, HTTPStatus.CREATED)
    # https://docs.gitlab.com/api/notes/#modify-existing-merge-request-note
    if seen.method == "PUT" and seen.path.startswith(f"{root}/notes/"):
        number = int(seen.path.rpartition("/")[2])
        return forge.edit(number, _body(seen, "body")["body"], anybodys=False) or _json({})
    # https://docs.gitlab.com/api/merge_requests/#get-single-mr
    if (seen.method, seen.path) == ("GET", root):
        return _json({"iid": 7, "labels": sorted(forge.labels)})
    # https://docs.gitlab.com/api/merge_requests/#update-mr
    if (seen.method, seen.path) == ("PUT", root):
        return _removed(forge, _body(seen, "remove_labels")["remove_labels"])
    raise AssertionError(f"GitLab is not asked for {seen.method} {seen.path}")


def azure_devops(forge: Forge, seen: Seen) -> Answer:
    """Answer as https://learn.microsoft.com/rest/api/azure/devops/git/ says; comments are edited by their authors."""
    if seen.headers.get("authorization") != f"Bearer {TOKEN}":
        return _json({"message": "TF400813"}, HTTPStatus.UNAUTHORIZED)
    # https://learn.microsoft.com/rest/api/azure/devops/#api-version
    assert seen.query == {"api-version": ["7.1"]}
    root = "/contoso/Web%20Shop/_apis/git/repositories/4711/pullRequests/7"
    # https://learn.microsoft.com/rest/api/azure/devops/git/pull-request-threads/list
    if (seen.method, seen.path) == ("GET", f"{root}/threads"):
        system = {"id": 1000, "comments": []}
        threads = [
            {"id": 100 + comment.number, "comments": [{"id": 1, "content": comment.body}]} for comment in forge.comments
        ]
        return _json({"count": len(threads) + 1, "value": [system, *threads]})
    # https://learn.microsoft.com/rest/api/azure/devops/git/pull-request-threads/create
    if (seen.method, seen.path) == ("POST", f"{root}/threads"):
        (comment,) = _body(seen, "comments", "status")["comments"]
        return _json({"id": 100 + forge.add(comment["content"]).number})
    # https://learn.microsoft.com/rest/api/azure/devops/git/pull-request-thread-comments/update
    if seen.method == "PATCH" and seen.path.startswith(f"{root}/threads/") and seen.path.endswith("/comments/1"):
        number = int(seen.path.split("/")[-3]) - 100
        return forge.edit(number, _body(seen, "content")["content"], anybodys=False) or _json({})
    # https://learn.microsoft.com/rest/api/azure/devops/git/pull-request-labels/list
    if (seen.method, seen.path) == ("GET", f"{root}/labels"):
        return _json({"value": [{"name": name, "active": True} for name in sorted(forge.labels)]})
    # https://learn.microsoft.com/rest/api/azure/devops/git/pull-request-labels/delete
    if seen.method == "DELETE" and seen.path.startswith(f"{root}/labels/"):
        removed = _removed(forge, seen.path.rpartition("/")[2])
        return Answer(removed.status, b"" if removed.status == HTTPStatus.OK else removed.body)
    raise AssertionError(f"Azure DevOps is not asked for {seen.method} {seen.path}")


def _removed(forge: Forge, label: str) -> Answer:
    if forge.refuse_removal:
        return _json({"message": "Forbidden"}, HTTPStatus.FORBIDDEN)
    forge.labels.remove(label)
    return _json([{"name": name} for name in sorted(forge.labels)])


@dataclass(frozen=True)
class Platform:
    """Hold how a platform answers and which variables its jobs have, given the API's URL."""

    name: str
    answer: Callable[[Forge, Seen], Answer]
    variables: Callable[[str], dict[str, str]]
    token: str


PLATFORMS: Final = (
    Platform(
        "github",
        github,
        # https://docs.github.com/actions/reference/workflows-and-actions/variables
        lambda url: {"GITHUB_ACTIONS": "true", "GITHUB_API_URL": url, "GITHUB_REPOSITORY": "contoso/access"},
        "GITHUB_TOKEN",
    ),
    Platform(
        "gitlab",
        gitlab,
        # https://docs.gitlab.com/ci/variables/predefined_variables/
        lambda url: {
            "GITLAB_CI": "true",
            "CI_API_V4_URL": f"{url}/api/v4",
            "CI_PROJECT_ID": "4200",
            "CI_MERGE_REQUEST_IID": "7",
        },
        "COMMENT_TOKEN",
    ),
    Platform(
        "azure-pipelines",
        azure_devops,
        # https://learn.microsoft.com/azure/devops/pipelines/build/variables
        lambda url: {
            "TF_BUILD": "True",
            "SYSTEM_COLLECTIONURI": f"{url}/contoso/",
            "SYSTEM_TEAMPROJECT": "Web Shop",
            "BUILD_REPOSITORY_ID": "4711",
            "SYSTEM_PULLREQUEST_PULLREQUESTID": "7",
        },
        "SYSTEM_ACCESSTOKEN",
    ),
)
