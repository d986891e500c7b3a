"""The whole local stack behind TLS, as pipelines meet it: the service at an https URL that is also its audience."""

import contextlib
import http.client
import json
import urllib.parse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from devstack.stack import Stack, Upstreams

from .servers import Answer, Handle, Seen, Server, serve

_CALLERS = {
    "github": {"repository_id": "123456", "repository_owner_id": "9919", "ref": "refs/heads/main"},
    "gitlab": {"project_id": "4200", "namespace_id": "77"},
    "cluster": {"sub": "system:serviceaccount:production:deployer"},
    "azure-devops": {"prj_id": "0f1e2d3c-0002-4000-8000-000000000002", "def_id": "17"},
    "other": {"sub": "workload:builder"},
}
"""Who may push web/api and web/base: one caller of each issuer of the local stack."""


def policy(upstreams: Upstreams, audience: str) -> str:
    """Return a policy in which one job on every platform may push web/api; JSON is YAML too."""
    issuers = {name: issuer.url for name, issuer in upstreams.issuers.all.items()}
    grant = {"registry": "prod", "repositories": ["web/api", "web/base"], "actions": ["pull", "push", "metadata_read"]}
    document = {
        "version": 1,
        "audience": audience,
        "registries": {"prod": {"login_server": upstreams.registry.login_server}},
        "issuers": {
            "github": {"preset": "github", "issuer": issuers["github"]},
            "gitlab": {"preset": "gitlab", "issuer": issuers["gitlab"]},
            "cluster": {"preset": "kubernetes", "issuer": issuers["cluster"]},
            "azure-devops": {
                "preset": "azure-devops",
                "issuer": issuers["azure-devops"],
                "audience": "api://AzureADTokenExchange",
            },
            "other": {"preset": "generic", "issuer": issuers["other"], "algorithms": ["ES256"]},
        },
        "rules": [
            {"name": f"web-on-{issuer}", "issuer": issuer, "when": when, "grant": [grant]}
            for issuer, when in _CALLERS.items()
        ],
    }
    return json.dumps(document, indent=2)


PolicyFor = Callable[[Upstreams, str], str]
"""Writes a policy for the upstreams and an audience."""


@dataclass(frozen=True)
class Live:
    """Hold the running stack, and where it is reached from outside."""

    stack: Stack
    front: Server
    ca_file: Path

    @property
    def url(self) -> str:
        """The address of the service, which is its audience too."""
        return self.front.url

    @property
    def registry(self) -> str:
        """The registry's host, as images are named after it."""
        return self.stack.registry.login_server

    @property
    def trust(self) -> dict[str, str]:
        """Return what makes curl and Python trust the front's certificate."""
        return {"CURL_CA_BUNDLE": str(self.ca_file)}

    def vended(self) -> int:
        """Return how many exchanges the service was asked for."""
        return self.front.paths().count("/token")


@contextlib.contextmanager
def live_stack(upstreams: Upstreams, policy: PolicyFor = policy) -> Iterator[Live]:
    """Start the service on these upstreams, and a TLS front for it."""
    target: list[str] = []

    def handle(_server: Server) -> Handle:
        def respond(request: Seen) -> Answer:
            return _forwarded(target[0], request)

        return respond

    with serve(handle, tls=upstreams.ca.server_context()) as front:
        text = policy(upstreams, front.url)
        with Stack(upstreams, policy=text, settings={"VENDING_PUBLIC_URL": front.url}) as stack:
            target.append(stack.url)
            yield Live(stack, front, upstreams.ca.ca_file)


def _forwarded(url: str, request: Seen) -> Answer:
    query = urllib.parse.urlencode(request.query, doseq=True)
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=60)
    try:
        headers = {name: value for name, value in request.headers.items() if name not in {"host", "content-length"}}
        path = request.path + (f"?{query}" if query else "")
        connection.request(request.method, path, request.body, headers)
        response = connection.getresponse()
        kept = {name: value for name, value in response.getheaders() if name.lower() in {"content-type", "retry-after"}}
        return Answer(response.status, response.read(), kept)
    finally:
        connection.close()
