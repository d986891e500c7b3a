"""The Azure Pipelines step template, its script run as the agent runs it."""

import base64
import json
from pathlib import Path

import pytest

from .every import azure_environment
from .platforms import AzureJob, Result
from .servers import USERNAME, Answer, Handle, Seen, Server, claims_of, granted, refusal, serve, vendor

AUDIENCE = "api://AzureADTokenExchange"
TOKEN = "header.payload-of-the-vended-token.signature"


def holding(directory: Path) -> list[Path]:
    """Return the files that hold the vended token, in either form."""
    forms = (TOKEN.encode(), base64.b64encode(f"{USERNAME}:{TOKEN}".encode()))
    return [
        path for path in directory.rglob("*") if path.is_file() and any(form in path.read_bytes() for form in forms)
    ]


def use(job: AzureJob, service: Server, **parameters: object) -> Result:
    """Run the template."""
    given = {"url": service.url, "audience": AUDIENCE, **parameters}
    return job.template("clients/azure-pipelines/acr-token.yml@vending", given)


def test_later_steps_get_credentials_and_variables(ci: Server, tmp_path: Path) -> None:
    job = AzureJob(tmp_path, azure_environment(ci))
    with vendor(Answer(body=granted(TOKEN))) as service:
        result = use(job, service, scope="repository:web/api:pull", registry="prod")
        form = service.seen[-1].form
    assert result.exit_code == 0
    assert (form["scope"], form["audience"]) == ("repository:web/api:pull", "prod")
    assert claims_of(form["subject_token"])["aud"] == AUDIENCE
    shown = job.bash('cat "$DOCKER_CONFIG/config.json"').log
    assert json.loads(shown)["auths"]["contoso.azurecr.io"]["registrytoken"] == TOKEN
    assert job.bash("echo $ACR_USERNAME $ACR_REGISTRY").log == f"{USERNAME} contoso.azurecr.io\n"
    assert job.bash('echo "[$ACR_TOKEN]"').log == "[]\n"
    assert job.bash('echo "$GIVEN"', GIVEN="$(ACR_TOKEN)").log == f"{TOKEN}\n"


def test_the_token_is_secret_before_anything_else_is_said(ci: Server, tmp_path: Path) -> None:
    with vendor(Answer(body=granted(TOKEN))) as service:
        result = use(AzureJob(tmp_path, azure_environment(ci)), service)
    assert result.raw.splitlines()[0] == f"##vso[task.setsecret]{TOKEN}"
    assert TOKEN not in result.log


def test_the_steps_of_the_template_have_credentials_and_nothing_is_left(ci: Server, tmp_path: Path) -> None:
    job = AzureJob(tmp_path, azure_environment(ci))
    steps = [{"bash": 'grep -q registrytoken "$DOCKER_CONFIG/config.json" && echo had it'}, {"bash": "exit 3"}]
    with vendor(Answer(body=granted(TOKEN))) as service:
        result = use(job, service, steps=steps)
    assert "had it" in result.log
    assert result.exit_code == 3
    assert holding(tmp_path) == []


def test_without_steps_the_rest_of_the_job_has_credentials(ci: Server, tmp_path: Path) -> None:
    job = AzureJob(tmp_path, azure_environment(ci))
    with vendor(Answer(body=granted(TOKEN))) as service:
        assert use(job, service).exit_code == 0
    assert {path.name for path in holding(tmp_path)} == {"config.json", "acr-vending-login.json"}
    assert job.bash('sh "$AGENT_TEMPDIRECTORY/acr-token.sh" logout').exit_code == 0
    assert holding(tmp_path) == []


def test_no_step_runs_after_a_refusal(ci: Server, tmp_path: Path) -> None:
    with vendor(refusal(400, "no_matching_rule", "No.")) as service:
        result = use(AzureJob(tmp_path, azure_environment(ci)), service, steps=[{"bash": "echo went on"}])
    assert result.exit_code == 1
    assert "went on" not in result.log


def test_the_jobs_access_token_is_nowhere_on_disk(ci: Server, tmp_path: Path) -> None:
    """Azure Pipelines replaces $(System.AccessToken) wherever it is written, comments and messages included."""
    with vendor(Answer(body=granted(TOKEN))) as service:
        use(AzureJob(tmp_path, azure_environment(ci)), service)
    assert [path for path in tmp_path.rglob("*") if path.is_file() and "request-secret" in path.read_text()] == []


def test_a_redirect_to_a_page_for_signing_in_is_understood(tmp_path: Path) -> None:
    def handle(_server: Server) -> Handle:
        def respond(request: Seen) -> Answer:
            if request.headers.get("x-tfs-fedauthredirect") == "Suppress":
                return Answer(401, {"$id": "1", "message": "TF400813: The user is not authorized."})
            return Answer(302, headers={"Location": "https://login.example"})

        return respond

    with serve(handle) as ci, vendor() as service:
        result = use(AzureJob(tmp_path, azure_environment(ci)), service)
    assert "HTTP 401: TF400813: The user is not authorized." in result.errors[0]


def test_without_login_there_is_no_configuration(ci: Server, tmp_path: Path) -> None:
    job = AzureJob(tmp_path, azure_environment(ci))
    with vendor() as service:
        assert use(job, service, login=False).exit_code == 0
    assert "DOCKER_CONFIG" not in job.environment
    assert "ACR_TOKEN" in job.secrets


@pytest.mark.parametrize(
    ("description", "shown"),
    [("50%", "50%"), ("a\r\nb", "a\r\nb"), ("##vso[task.complete]", "##vso[task.complete]"), ("x;y]z", "x;y]z")],
)
def test_the_services_description_is_shown_as_one_issue(
    ci: Server, tmp_path: Path, description: str, shown: str
) -> None:
    with vendor(refusal(400, "no_matching_rule", description)) as service:
        result = use(AzureJob(tmp_path, azure_environment(ci)), service)
    assert result.exit_code == 1
    assert result.errors == [f"{service.url} answered HTTP 400, no_matching_rule: {shown} (request req-9)"]


def test_a_missing_access_token_is_explained(ci: Server, tmp_path: Path) -> None:
    environment = {**azure_environment(ci), "SYSTEM_ACCESSTOKEN": ""}
    with vendor() as service:
        result = use(AzureJob(tmp_path, environment), service)
    assert "map System.AccessToken to SYSTEM_ACCESSTOKEN" in result.errors[0]


def test_each_attempt_has_a_fresh_token(ci: Server, tmp_path: Path) -> None:
    with vendor(Answer(hang_up=True), Answer(body=granted())) as service:
        result = use(AzureJob(tmp_path, azure_environment(ci)), service)
        sent = {claims_of(request.form["subject_token"])["jti"] for request in service.seen}
    assert result.exit_code == 0
    assert len(sent) == 2


def test_the_audience_must_be_written_down(ci: Server, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"missing \{'audience'\}"):
        AzureJob(tmp_path, azure_environment(ci)).template(
            "clients/azure-pipelines/acr-token.yml@vending", {"url": "https://vend.contoso.example"}
        )
