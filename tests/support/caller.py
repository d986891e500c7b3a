"""Call the service as a CI job would: plain HTTP, nothing shared with the service's own code but the wire."""

from typing import Any

import httpx

from devstack import plain

GRANT_TYPE = "urn:ietf:params:oauth:grant-type:token-exchange"


def exchange(url: str, token: str, *, path: str = "/token", **parameters: str) -> httpx.Response:
    """Send a token exchange with the subject token in the body."""
    form = {"grant_type": GRANT_TYPE, "subject_token": token, **parameters}
    return plain.post(url + path, data=form)


def vend(url: str, token: str, **parameters: str) -> dict[str, Any]:
    """Send a token exchange that must succeed; return the answer."""
    answer = exchange(url, token, **parameters)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def reason(answer: httpx.Response) -> str:
    """Return the reason of a refusal."""
    return str(answer.json()["reason"])
