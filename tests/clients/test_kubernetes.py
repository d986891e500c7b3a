"""The CronJob that keeps an imagePullSecret fresh, its container run with the mounts that the manifest asks for."""

import base64
import json
from pathlib import Path

import pytest

from devstack.certs import TestAuthority

from .every import FAST, token_for_list
from .platforms import KubernetesJob
from .servers import USERNAME, Answer, Handle, Seen, Server, granted, refusal, serve, vendor

TOKEN = "header.payload-of-the-vended-token.signature"


def job_of(directory: Path, service: Server, api: str, ca: TestAuthority) -> KubernetesJob:
    """Return one run of the CronJob."""
    job = KubernetesJob(directory, token_for=token_for_list, url=service.url, api=api, ca=ca.ca_file)
    job.environment |= FAST
    return job


def test_a_run_writes_a_pull_secret_that_the_kubelet_understands(
    kubernetes_api: Server, ca: TestAuthority, tmp_path: Path
) -> None:
    with vendor(Answer(body=granted(TOKEN))) as service:
        result = job_of(tmp_path, service, kubernetes_api.url, ca).run()
        form = service.seen[-1].form
    assert result.exit_code == 0, result.log
    assert form["scope"] == "repository:web/api:pull"
    (request,) = kubernetes_api.seen
    assert request.query == {"fieldManager": ["acr-token-vending"], "force": ["true"]}
    secret = json.loads(request.body)
    assert (secret["kind"], secret["type"]) == ("Secret", "kubernetes.io/dockerconfigjson")
    assert secret["metadata"] == {"name": "acr-pull"}
    auths = json.loads(base64.b64decode(secret["data"][".dockerconfigjson"]))["auths"]
    assert set(auths) == {"contoso.azurecr.io", "contoso.eastus.geo.azurecr.io"}
    # The kubelet reads `auth` alone, not `registrytoken`.
    assert base64.b64decode(auths["contoso.azurecr.io"]["auth"]).decode() == f"{USERNAME}:{TOKEN}"
    assert TOKEN not in result.log


def test_a_refusal_fails_the_run_and_leaves_the_secret_alone(
    kubernetes_api: Server, ca: TestAuthority, tmp_path: Path
) -> None:
    with vendor(refusal(400, "no_matching_rule", "No rule matches.")) as service:
        result = job_of(tmp_path, service, kubernetes_api.url, ca).run()
    assert result.exit_code != 0
    assert "No rule matches." in result.log
    assert kubernetes_api.seen == []


@pytest.mark.parametrize("status", [401, 403, 404, 307, 500])
def test_a_refusal_of_the_api_server_fails_the_run(ca: TestAuthority, tmp_path: Path, status: int) -> None:
    with serve(lambda _: lambda _: Answer(status), tls=ca.server_context()) as api, vendor() as service:
        result = job_of(tmp_path, service, api.url, ca).run()
    assert result.exit_code != 0
    assert f"HTTP {status} to the secret web/acr-pull" in result.log


def test_an_api_server_with_another_certificate_is_not_told_anything(tmp_path: Path, ca: TestAuthority) -> None:
    other = TestAuthority(tmp_path / "other-ca")
    with serve(lambda _: lambda _: Answer(200), tls=other.server_context()) as api, vendor() as service:
        result = job_of(tmp_path / "job", service, api.url, ca).run()
        assert result.exit_code != 0
        assert api.seen == []


def test_the_rotated_token_is_read_at_every_attempt(kubernetes_api: Server, ca: TestAuthority, tmp_path: Path) -> None:
    sent = []

    def handle(server: Server) -> Handle:
        def respond(request: Seen) -> Answer:
            if request.method == "GET":
                return Answer(body={"issuer": server.url, "audience": server.url})
            sent.append(request.form["subject_token"])
            # The kubelet rotates the file while the job waits.
            Path(job.environment["ACR_VENDING_ID_TOKEN_FILE"]).write_text(token_for_list(server.url) + "rotated")
            return refusal(503, "r", "Wait.") if len(sent) == 1 else Answer(body=granted())

        return respond

    with serve(handle) as service:
        job = job_of(tmp_path, service, kubernetes_api.url, ca)
        assert job.run().exit_code == 0
    assert [token.endswith("rotated") for token in sent] == [False, True]


def test_everything_that_the_job_writes_goes_to_memory(
    kubernetes_api: Server, ca: TestAuthority, tmp_path: Path
) -> None:
    with vendor(Answer(body=granted(TOKEN))) as service:
        job = job_of(tmp_path, service, kubernetes_api.url, ca)
        job.run()
        before = set(tmp_path.rglob("*"))
        job.run()
    assert set(tmp_path.rglob("*")) == before
    assert [path for path in before if path.is_file() and TOKEN in path.read_text()] == []
