"""The kubelet's credential provider: its configuration file, and the exec protocol as the kubelet speaks it."""

import base64
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from .engine import Engine
from .every import FAST, token_for_list
from .live import Live
from .platforms import CLIENTS, yaml_documents
from .servers import USERNAME, Answer, Server, granted, refusal, vendor
from .test_real_clients import Pipeline, succeeded

HOST = "contoso.azurecr.io"
TOKEN = "header.payload-of-the-vended-token.signature"
API = "credentialprovider.kubelet.k8s.io/v1"
(CONFIGURATION,) = yaml_documents((CLIENTS / "kubernetes" / "credential-provider.yaml").read_text())
(PROVIDER,) = CONFIGURATION["providers"]


class Kubelet:
    """What the kubelet does for an image: match it, run the provider with its arguments, and read the answer."""

    def __init__(self, url: str, **environment: str) -> None:
        self.url = url
        given = {entry["name"]: self._real(entry["value"]) for entry in PROVIDER["env"]}
        self.environment = {"PATH": os.environ["PATH"], **given, **FAST, **environment}

    def _real(self, text: str) -> str:
        return text.replace("https://vend.contoso.example", self.url)

    @property
    def audience(self) -> str:
        """The audience of the tokens that the kubelet asks the API server for."""
        return self._real(PROVIDER["tokenAttributes"]["serviceAccountTokenAudience"])

    def ask(
        self, image: str, token: str | None, *arguments: str, changes: dict[str, object] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run the provider as the kubelet does, with a request on standard input."""
        request: dict[str, object] = {"apiVersion": API, "kind": "CredentialProviderRequest", "image": image}
        if token is not None:
            request |= {"serviceAccountToken": token, "serviceAccountAnnotations": {}}
        return subprocess.run(
            [CLIENTS / PROVIDER["name"], *PROVIDER["args"], *arguments],
            input=json.dumps({**request, **(changes or {})}),
            env=self.environment, capture_output=True, text=True, check=False,
        )  # fmt: skip

    def answer(self, image: str, *arguments: str) -> Any:
        """Return the answer to an honest request, checked as the kubelet checks it."""
        done = self.ask(image, token_for_list(self.audience), *arguments)
        assert done.returncode == 0, done.stderr
        answer = json.loads(done.stdout)
        assert answer["apiVersion"] == API
        assert answer["kind"] == "CredentialProviderResponse"
        assert answer["cacheKeyType"] in {"Image", "Registry", "Global"}
        assert answer["cacheDuration"].endswith("s")
        assert int(answer["cacheDuration"][:-1]) >= 0
        return answer


def kubelet_of(service: Server) -> Kubelet:
    """Return a kubelet whose provider asks this service."""
    return Kubelet(service.url)


def test_the_configuration_is_what_the_kubelet_reads() -> None:
    assert (CONFIGURATION["apiVersion"], CONFIGURATION["kind"]) == (
        "kubelet.config.k8s.io/v1",
        "CredentialProviderConfig",
    )
    assert PROVIDER["apiVersion"] == API
    assert (CLIENTS / PROVIDER["name"]).exists()
    assert set(PROVIDER) == {
        "name",
        "apiVersion",
        "matchImages",
        "defaultCacheDuration",
        "args",
        "env",
        "tokenAttributes",
    }
    attributes = PROVIDER["tokenAttributes"]
    assert attributes["requireServiceAccount"] is True
    assert attributes["cacheType"] in {"ServiceAccount", "Token"}
    (url,) = [entry["value"] for entry in PROVIDER["env"] if entry["name"] == "ACR_VENDING_URL"]
    assert attributes["serviceAccountTokenAudience"] == url


@pytest.mark.parametrize(
    ("image", "repository"),
    [
        (f"{HOST}/web/api", "web/api"),
        (f"{HOST}/web/api:1.2_x", "web/api"),
        (f"{HOST}/web/api@sha256:{'0' * 64}", "web/api"),
        (f"{HOST}/api:1@sha256:{'a' * 64}", "api"),
    ],
)
def test_the_credential_is_good_for_pulling_this_image_and_nothing_else(image: str, repository: str) -> None:
    with vendor(Answer(body=granted(TOKEN, expires_in=3600))) as service:
        answer = kubelet_of(service).answer(image)
        form = service.seen[-1].form
    assert form["scope"] == f"repository:{repository}:pull"
    assert form["audience"] == HOST
    assert answer["auth"] == {HOST: {"username": USERNAME, "password": TOKEN}}
    assert (answer["cacheKeyType"], answer["cacheDuration"]) == ("Image", "1800s")


def test_a_configured_scope_is_good_for_the_registry() -> None:
    with vendor(Answer(body=granted(TOKEN))) as service:
        scope = "repository:web/api:pull repository:web/ui:pull"
        answer = kubelet_of(service).answer(f"{HOST}/web/api:1", "--scope", scope)
        assert service.seen[-1].form["scope"] == scope
    assert answer["cacheKeyType"] == "Registry"


def test_the_pods_own_token_is_what_is_sent_whatever_else_is_there(tmp_path: Path) -> None:
    with vendor(Answer(body=granted(TOKEN))) as service:
        other = tmp_path / "token"
        other.write_text("somebody else's")
        kubelet = Kubelet(service.url, ACR_VENDING_ID_TOKEN_FILE=str(other), ACR_VENDING_CACHE=str(tmp_path))
        kubelet.answer(f"{HOST}/web/api:1")
        assert service.seen[-1].form["subject_token"] == token_for_list(kubelet.audience)
        assert [path.name for path in tmp_path.iterdir()] == ["token"]


def test_another_registrys_image_gets_no_credential_and_no_call() -> None:
    with vendor() as service:
        assert kubelet_of(service).answer("ghcr.io/contoso/web:1")["auth"] == {}
        assert service.seen == []


@pytest.mark.parametrize(
    ("token", "changes", "told"),
    [
        (None, {}, "add tokenAttributes"),
        ("", {}, "add tokenAttributes"),
        ("x", {}, "no JWT"),
        (
            "x",
            {"apiVersion": "credentialprovider.kubelet.k8s.io/v1beta1"},
            "speaks credentialprovider.kubelet.k8s.io/v1beta1",
        ),
        ("x", {"kind": "Something"}, "this speaks"),
        ("x", {"image": "web"}, "no image with a registry"),
        ("x", {"image": f"{HOST}/web/api:pull,push"}, "no image with a registry"),
        ("x", {"image": f"{HOST}/web repository:x:push"}, "no image with a registry"),
        ("x", {"image": 1}, "no image with a registry"),
    ],
)
def test_what_is_no_sound_request_is_refused_without_a_call(
    token: str | None, changes: dict[str, object], told: str
) -> None:
    with vendor() as service:
        done = kubelet_of(service).ask(f"{HOST}/web/api:1", token, changes=changes)
        assert "/token" not in service.paths()
    assert (done.returncode, done.stdout) == (1, "")
    assert told in done.stderr


def test_a_token_for_somebody_else_is_not_sent() -> None:
    with vendor() as service:
        done = kubelet_of(service).ask(f"{HOST}/web/api:1", token_for_list("https://kubernetes.default.svc"))
        assert "/token" not in service.paths()
    assert "nothing was sent" in done.stderr


@pytest.mark.parametrize("text", ["", "{", "[]", "null"])
def test_no_request_at_all_is_refused(text: str) -> None:
    with vendor() as service:
        kubelet = kubelet_of(service)
        command = [CLIENTS / PROVIDER["name"], *PROVIDER["args"]]
        done = subprocess.run(command, input=text, env=kubelet.environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "CredentialProviderRequest" in done.stderr


def test_a_refusal_is_told_where_the_kubelet_logs_it() -> None:
    with vendor(refusal(400, "no_matching_rule", "No rule matches.")) as service:
        done = kubelet_of(service).ask(f"{HOST}/web/api:1", token_for_list(service.url))
    assert (done.returncode, done.stdout) == (1, "")
    assert "No rule matches." in done.stderr


def test_a_host_that_the_policy_does_not_list_gets_no_credential() -> None:
    with vendor(Answer(body=granted(TOKEN, hosts=[HOST]))) as service:
        done = kubelet_of(service).ask("other.azurecr.io/web/api:1", token_for_list(service.url))
    assert done.returncode == 1
    assert "not for other.azurecr.io" in done.stderr


def test_containerd_pulls_with_what_the_kubelet_is_given(live: Live, dockerd: Engine, tmp_path: Path) -> None:
    pipeline = Pipeline(tmp_path, live)
    image = pipeline.image("kubelet")
    pipeline.job.environment["DOCKER_HOST"] = f"unix://{dockerd.socket}"
    docker = str(dockerd.programs / "usr/bin/docker")
    content = tmp_path / "file"
    content.write_text("kubelet")
    for command in (["build", "--tag", image, "."], ["push", image], ["rmi", image]):
        (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY file /file\n")
        succeeded(pipeline.run(docker, *command))
    kubelet = Kubelet(live.url, ACR_VENDING_HOSTS=live.registry, **live.trust)
    token = live.stack.issuers.cluster.token([live.url])
    done = kubelet.ask(image, token)
    auth = json.loads(succeeded(done))["auth"][live.registry]
    claims = json.loads(base64.urlsafe_b64decode(auth["password"].split(".")[1] + "=="))
    assert [(entry["name"], entry["actions"]) for entry in claims["access"]] == [("web/api", ["pull"])]
    ctr = (dockerd.programs / "usr/bin/ctr", "--address", dockerd.containerd, "--namespace", "pods", "images", "pull")
    user = f"{auth['username']}:{auth['password']}"
    succeeded(pipeline.run(*ctr, "--plain-http", "--snapshotter", "native", "--user", user, image))
