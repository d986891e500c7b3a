"""The demonstration: the whole story over real sockets, step by step, each step checked. What `make demo` runs.

It says what goes in and what comes out, and ends with a status other than 0 as soon as a step does otherwise.
"""

import json
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from devstack import plain, tools
from devstack.keys import peek
from devstack.registry.client import RegistryClient, RegistryRefused
from devstack.registry.images import Image
from devstack.stack import PROJECT, Stack, Upstreams

TOKEN_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
NULL_GUID = "00000000-0000-0000-0000-000000000000"
_HOUR = 3600
_WIDTH = 110
_SHOWN_CLAIMS = (
    "iss",
    "aud",
    "sub",
    "repository",
    "repository_id",
    "repository_owner_id",
    "ref",
    "event_name",
    "project_path",
    "project_id",
    "ref_path",
)


class Unexpected(Exception):
    """A step did otherwise than told."""


@dataclass(frozen=True)
class Vended:
    """What the service answered, and the token in it."""

    answer: Mapping[str, Any]

    @property
    def token(self) -> str:
        """The registry token."""
        return str(self.answer["access_token"])


class Narrator:
    """Prints the story; colours only on a terminal."""

    def __init__(self) -> None:
        self._steps = 0
        self._colour = sys.stdout.isatty()

    def _paint(self, code: str, text: str) -> str:
        return f"\033[{code}m{text}\033[0m" if self._colour else text

    def step(self, title: str, *explanation: str) -> None:
        """Begin a numbered step."""
        self._steps += 1
        print(f"\n{self._paint('1', f'{self._steps}. {title}')}")
        for line in explanation:
            print(_wrapped(line, "   "))

    def show(self, name: str, value: object) -> None:
        """Print a name and a value in columns."""
        print(f"     {name:<28} {value}")

    def done(self, text: str) -> None:
        """Say that something happened as it should."""
        print(f"   {self._paint('32', '✓')} {text}", flush=True)

    def failed(self, text: str) -> None:
        """Say that something did not."""
        print(f"\n   {self._paint('31', '✗')} {text}", flush=True)


def run(*, memory_registry: bool = False, app: Path = PROJECT) -> int:
    """Play the demonstration with the service in `app`; return 0 when every step went as told, else 1."""
    narrator = Narrator()
    print("ACR Token Vending: a CI job's OIDC token goes in, a registry token for exactly what it may do comes out.")
    stack: Stack | None = None
    try:
        with Upstreams(docker_registry=not memory_registry) as upstreams, Stack(upstreams, app=app) as stack:
            _Demo(narrator, stack).play()
    except (Unexpected, RegistryRefused, httpx.HTTPError, RuntimeError, LookupError, ValueError) as error:
        narrator.failed(f"{type(error).__name__}: {error}")
        if stack and stack.hosts:
            print(textwrap.indent(stack.host.log[-4000:], "     | "))
        return 1
    print("\nEverything went as it should.")
    return 0


class _Demo:
    def __init__(self, narrator: Narrator, stack: Stack) -> None:
        self._say = narrator
        self._stack = stack
        self._registry = stack.registry
        self._image = Image.containing("built by contoso/web")

    def play(self) -> None:
        """Play every step in order."""
        self._introduce()
        audience = self._discover()
        oidc_token = self._ask_the_runner(audience)
        vended = self._vend(oidc_token, "repository:web/api:pull,push", claims=True)
        self._push_and_pull(vended)
        self._push_with_skopeo(vended)
        self._refused_by_the_registry(vended)
        self._pull_request()
        self._other_platforms()
        self._refused_by_the_service(oidc_token)

    def _introduce(self) -> None:
        self._say.step("The local stack is up", "Each part answers over HTTP on this machine; nothing leaves it.")
        self._say.show("CI's OIDC issuers", self._stack.issuers.url)
        self._say.show("managed identity", self._stack.identity.env["IDENTITY_ENDPOINT"])
        self._say.show("registry", f"{self._registry.login_server}, {self._registry.backend.description}")
        self._say.show("service", self._stack.url)
        if note := self._stack.upstreams.registry_note:
            print(f"     (docker-registry is not used: {note})")
        ready = plain.get(f"{self._stack.url}/readyz")
        self._expect(ready.status_code == 200, f"the service is ready, with the policy {_short(ready)}")

    def _discover(self) -> str:
        self._say.step("The job asks the service which audience its token must name")
        url = f"{self._stack.url}/.well-known/oauth-authorization-server"
        metadata = plain.get(url).json()
        self._say.show("audience", metadata["audience"])
        self._say.show("token_endpoint", metadata["token_endpoint"])
        self._expect(metadata["audience"] == self._stack.audience, "the metadata names the policy's audience")
        return str(metadata["audience"])

    def _ask_the_runner(self, audience: str) -> str:
        self._say.step("The job, a push to main of contoso/web on GitHub, asks its runner for an OIDC token")
        env = self._stack.issuers.github.job().github_env
        answer = plain.get(
            f"{env['ACTIONS_ID_TOKEN_REQUEST_URL']}&audience={audience}",
            headers={"Authorization": f"bearer {env['ACTIONS_ID_TOKEN_REQUEST_TOKEN']}"},
        )
        self._expect(answer.status_code == 200, "the runner hands out a token that lives five minutes")
        return str(answer.json()["value"])

    def _post(self, oidc_token: str, scope: str, **more: str) -> httpx.Response:
        form = {"grant_type": TOKEN_EXCHANGE, "subject_token": oidc_token, "scope": scope} | more
        return plain.post(f"{self._stack.url}/token", data=form)

    def _vend(self, oidc_token: str, scope: str, *, claims: bool = False, title: str = "") -> Vended:
        self._say.step(title or f"It trades that token for {scope}")
        if claims:
            self._claims_of(oidc_token)
        answer = self._post(oidc_token, scope)
        if answer.status_code != 200:
            raise Unexpected(f"the service refused with {answer.status_code}: {answer.text}")
        vended = Vended(answer.json())
        access = peek(vended.token)["access"]
        self._say.show("username", vended.answer["username"])
        self._say.show("expires", f"{vended.answer['expires_at']}, in {vended.answer['expires_in']} s")
        self._say.show("rules", ", ".join(vended.answer["rules"]))
        self._say.show("access in the token", json.dumps(access))
        self._expect(vended.answer["scope"] == scope, f"the service vends exactly {scope}")
        self._expect(vended.answer["username"] == NULL_GUID, "the username is the one that ACR reserves for tokens")
        return vended

    def _claims_of(self, token: str) -> None:
        claims = peek(token)
        for name in _SHOWN_CLAIMS:
            if name in claims:
                self._say.show(name, claims[name])
        if pod := claims.get("kubernetes.io"):
            for name in ("namespace", "serviceaccount"):
                self._say.show(f"/kubernetes.io/{name}", pod[name])
        self._say.show("exp", time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(claims["exp"])))

    def _client(self, vended: Vended) -> RegistryClient:
        return RegistryClient(self._registry.url, vended.token)

    def _push_and_pull(self, vended: Vended) -> None:
        self._say.step("The job pushes and pulls web/api:1 with the vended token as its bearer token")
        digest = self._client(vended).push("web/api", "1", self._image)
        self._expect(digest == self._image.digest, f"pushed {digest}")
        self._expect(self._client(vended).pull("web/api", "1") == self._image, "pulled it back, byte for byte")

    def _push_with_skopeo(self, vended: Vended) -> None:
        self._say.step(
            "skopeo does the same, with the credentials that `docker login` would take",
            "The username and the vended token as password; skopeo trades them at the registry's own token endpoint.",
        )
        try:
            program = tools.ensure(tools.SKOPEO)
        except tools.Unavailable as reason:
            print(f"     left out: {reason}")
            return
        target = f"docker://{self._registry.login_server}/web/api:2"
        credentials = f"{vended.answer['username']}:{vended.token}"
        with tempfile.TemporaryDirectory() as directory:
            source = self._image.write_layout(Path(directory) / "source")
            pushed = _skopeo(program, "--dest-tls-verify=false", "--dest-creds", credentials, source, target)
            copy = f"oci:{directory}/copy:latest"
            pulled = _skopeo(program, "--src-tls-verify=false", "--src-creds", credentials, target, copy)
            elsewhere = target.replace("web/api", "web/other")
            refused = _skopeo(program, "--dest-tls-verify=false", "--dest-creds", credentials, source, elsewhere)
        self._expect(pushed.returncode == 0, "skopeo pushed web/api:2", pushed.stderr)
        self._expect(pulled.returncode == 0, "skopeo pulled web/api:2", pulled.stderr)
        self._expect("denied" in refused.stderr, "skopeo may not push web/other: denied", refused.stderr)

    def _refused_by_the_registry(self, vended: Vended) -> None:
        self._say.step("The registry refuses what the token does not say")
        self._refusal("a push to another repository, web/ui", lambda: self._client(vended).push("web/ui", "1", _NEW))
        self._refusal("a delete", lambda: self._client(vended).delete("web/api", self._image.digest))
        self._refusal("the list of all repositories", lambda: self._client(vended).catalog())

    def _refusal(self, what: str, attempt: Callable[[], object]) -> None:
        try:
            attempt()
        except RegistryRefused as refusal:
            self._expect(refusal.status in (401, 403), f"{what}: {refusal.status} {refusal.code}")
        else:
            raise Unexpected(f"the registry allowed {what}")

    def _pull_request(self) -> None:
        token = self._stack.issuers.github.token(
            event_name="pull_request", ref="refs/pull/7/merge", head_ref="change", base_ref="main"
        )
        title = "A pull request of contoso/web asks for a pull, and may do no more"
        vended = self._vend(token, "repository:web/api:pull", claims=True, title=title)
        self._expect(self._client(vended).pull("web/api", "1") == self._image, "it pulled web/api:1")
        self._refusal("a push with the pull-only token", lambda: self._client(vended).push("web/api", "3", _NEW))

    def _other_platforms(self) -> None:
        gitlab = self._stack.issuers.gitlab.token()
        title = "A GitLab job on the protected main branch of contoso/api pushes its image"
        server = Image.containing("built by contoso/api")
        vended = self._vend(gitlab, "repository:api/server:pull,push", claims=True, title=title)
        self._expect(self._client(vended).push("api/server", "1", server) == server.digest, "pushed api/server:1")
        pod = self._stack.issuers.cluster.token()
        title = "A Kubernetes service account pulls both images with one token"
        scope = "repository:web/api:pull repository:api/server:pull"
        vended = self._vend(pod, scope, claims=True, title=title)
        pulled = [self._client(vended).pull(name, "1") for name in ("web/api", "api/server")]
        self._expect(pulled == [self._image, server], "pulled web/api:1 and api/server:1")

    def _refused_by_the_service(self, used: str) -> None:
        self._say.step("The service refuses, and says why", "Nothing is minted for any of these.")
        github, scope = self._stack.issuers.github, "repository:web/api:pull,push"
        an_hour_ago = time.time() - _HOUR
        someone = {"repository_id": "1", "repository_owner_id": "2", "repository": "someone/else"}
        topic = {"ref": "refs/heads/topic"}
        pull_request = {"ref": "refs/pull/7/merge", "event_name": "pull_request"}
        cases = [
            ("a push from a topic branch", github.token(claims=topic), scope, "no_matching_rule"),
            ("a push from a pull request", github.token(claims=pull_request), scope, "scope_not_granted"),
            ("a repository beyond the policy", github.token(), "repository:billing/api:push", "scope_not_granted"),
            ("an action beyond the policy", github.token(), "repository:web/api:delete", "scope_not_granted"),
            ("every repository at once", github.token(), "repository:*:pull", "wildcard_scope"),
            ("an expired token", github.token(at=an_hour_ago), scope, "token_expired"),
            ("a token of an unknown issuer", self._stack.issuers.other.token(), scope, "issuer_unknown"),
            ("a wrong audience", github.token("https://elsewhere.example"), scope, "audience_mismatch"),
            ("a repository that no rule is about", github.token(claims=someone), scope, "no_matching_rule"),
            ("a token that was used before", used, scope, "token_replayed"),
        ]
        for what, token, asked, reason in cases:
            self._expect_refusal(what, self._post(token, asked), reason)

    def _expect_refusal(self, what: str, answer: httpx.Response, reason: str) -> None:
        body = answer.json()
        self._expect(
            answer.status_code == 400 and body["reason"] == reason,
            f"{what}: {answer.status_code} {body['error']}, {body['reason']}",
            f"{reason} was expected: {answer.text}",
        )
        print(_wrapped(body["error_description"], "       "))

    def _expect(self, held: bool, text: str, otherwise: str = "") -> None:
        if not held:
            raise Unexpected(f"{text}: it did not happen. {otherwise}".rstrip())
        self._say.done(text)


_NEW = Image.containing("not from here")


def _wrapped(text: str, indent: str) -> str:
    return textwrap.fill(text, _WIDTH, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)


def _short(ready: httpx.Response) -> str:
    return str(ready.json().get("sha256", ""))[:12]


def _skopeo(program: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(program), "--insecure-policy", "copy", "-q", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
