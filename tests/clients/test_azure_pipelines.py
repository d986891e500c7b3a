"""The Azure Pipelines step template, its script run as the agent runs it."""

import json
from pathlib import Path

import pytest

from .every import azure_environment
from .platforms import AzureJob, Result
from .servers import USERNAME, Answer, Server, claims_of, granted, refusal, vendor

AUDIENCE = "api://AzureADTokenExchange"
TOKEN = "header.payload-of-the-vended-token.signature"


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


def test_nothing_is_left_outside_the_agents_temporary_directory(ci: Server, tmp_path: Path) -> None:
    job = AzureJob(tmp_path, azure_environment(ci))
    with vendor(Answer(body=granted(TOKEN))) as service:
        use(job, service)
    holding = [path for path in tmp_path.rglob("*") if path.is_file() and TOKEN in path.read_text()]
    assert [path.name for path in holding] == ["config.json"]
    assert job.temp in holding[0].parents


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
    assert "System.AccessToken is not passed" in result.errors[0]


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
