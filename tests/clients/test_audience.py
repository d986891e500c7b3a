"""No client hands over a token that is good elsewhere, however the service, or who poses as it, asks for one."""

from pathlib import Path

import pytest

from . import every
from .platforms import CLIENTS, AzureJob, GitHubJob, GitLabJob, base_environment, run
from .servers import Answer, Handle, Server, serve, unsigned_jwt, vendor


def assert_no_token_went_to(server: Server, ci: Server) -> None:
    """Check that nothing that looks like a token arrived, and that none was asked for a foreign audience."""
    for request in server.seen:
        everything = f"{request.path}{request.query}{request.headers}".encode() + request.body
        assert b"eyJ" not in everything
    assert "/token" not in server.paths()
    assert [request.query.get("audience") for request in ci.seen] == [None] * len(ci.seen)


def hostile_audience(name: str, url: str) -> str:
    """Return an audience that is not of the url's origin, though it may try to look so."""
    port = url.rpartition(":")[2]
    return {
        "sts.amazonaws.com": "sts.amazonaws.com",
        "azure": "api://AzureADTokenExchange",
        "other-host": "https://other.example",
        "other-scheme": f"https://127.0.0.1:{port}",
        "other-port": "http://127.0.0.1:1",
        "no-port": "http://127.0.0.1",
        "user-info": f"{url}@other.example",
        "user-info-2": f"{url}:x@other.example/",
        "longer-host": f"http://127.0.0.1.other.example:{port}",
        "longer-port": f"{url}1",
        "backslash": f"{url}\\@other.example",
        "leading-space": f" {url}",
        "line-end": f"{url}\nhttps://other.example",
        "no-break": f"{url}\u00a0",
        "empty": "",
    }[name]


EVERY_CLIENT_SEES = ["sts.amazonaws.com", "user-info"]


@pytest.mark.parametrize("asked", EVERY_CLIENT_SEES)
def test_no_client_sends_a_token_to_a_service_that_asks_for_a_foreign_audience(
    client: every.Client, ci: Server, tmp_path: Path, asked: str
) -> None:
    def handle(server: Server) -> Handle:
        body: dict[str, object] = {"issuer": server.url, "audience": hostile_audience(asked, server.url)}
        return lambda _request: Answer(body=body)

    with serve(handle) as hostile:
        result = client(hostile.url, tmp_path / "job", ci)
    assert result.exit_code != 0
    assert hostile.paths() == ["/.well-known/oauth-authorization-server"]
    assert "not of its own origin" in result.raw
    assert_no_token_went_to(hostile, ci)


ONE_OF_EACH_LANGUAGE = {name: every.EVERY[name] for name in ("script-token", "helper-token")}


@pytest.mark.parametrize("language", ONE_OF_EACH_LANGUAGE)
@pytest.mark.parametrize(
    "asked",
    [
        "other-host", "other-scheme", "no-port", "user-info-2", "longer-host", "longer-port", "backslash",
        "leading-space", "line-end", "no-break", "empty",
    ],
)  # fmt: skip
def test_an_audience_that_only_looks_like_the_services_own_is_refused(
    language: str, ci: Server, tmp_path: Path, asked: str
) -> None:
    def handle(server: Server) -> Handle:
        body: dict[str, object] = {"issuer": server.url, "audience": hostile_audience(asked, server.url)}
        return lambda _request: Answer(body=body)

    with serve(handle) as hostile:
        result = ONE_OF_EACH_LANGUAGE[language](hostile.url, tmp_path, ci)
    assert result.exit_code != 0
    assert_no_token_went_to(hostile, ci)


@pytest.mark.parametrize(
    "path", ["", "/", "/api", "?tenant=1", "#x"], ids=["bare", "slash", "path", "query", "fragment"]
)
@pytest.mark.parametrize("language", ONE_OF_EACH_LANGUAGE)
def test_an_audience_of_the_same_origin_is_used_as_it_is(language: str, ci: Server, tmp_path: Path, path: str) -> None:
    def handle(server: Server) -> Handle:
        metadata: dict[str, object] = {"issuer": f"{server.url}/", "audience": server.url + path}
        return lambda request: Answer(body=metadata) if request.method == "GET" else Answer(400, {"reason": "seen"})

    with serve(handle) as service:
        result = ONE_OF_EACH_LANGUAGE[language](service.url, tmp_path, ci)
    assert "seen" in result.raw
    assert [request.query["audience"] for request in ci.seen] == [[service.url + path]]


@pytest.mark.parametrize(
    "metadata",
    [
        Answer(body={"issuer": "https://vend.contoso.example", "audience": "https://vend.contoso.example"}),
        Answer(body={"audience": "https://vend.contoso.example"}),
        Answer(body={"issuer": ["x"], "audience": {}}),
        Answer(body="[]"),
        Answer(body='{"issuer": "x", "audience": "y"'),
        Answer(body="<html>"),
        Answer(404, {}),
    ],
    ids=["another-issuer", "no-issuer", "wrong-types", "array", "cut-off", "html", "404"],
)
@pytest.mark.parametrize("language", ONE_OF_EACH_LANGUAGE)
def test_unusable_metadata_ends_it(language: str, ci: Server, tmp_path: Path, metadata: Answer) -> None:
    with vendor(metadata=metadata) as service:
        result = ONE_OF_EACH_LANGUAGE[language](service.url, tmp_path, ci)
    assert result.exit_code != 0
    assert_no_token_went_to(service, ci)


@pytest.mark.parametrize("where", ["metadata", "token"])
def test_no_client_follows_a_redirect(client: every.Client, ci: Server, tmp_path: Path, where: str) -> None:
    with vendor() as elsewhere:

        def handle(server: Server) -> Handle:
            away = Answer(307, headers={"Location": f"{elsewhere.url}/token"})
            honest = Answer(body={"issuer": server.url, "audience": server.url})
            return lambda request: honest if where == "token" and request.method == "GET" else away

        with serve(handle) as service:
            result = client(service.url, tmp_path / "job", ci)
        assert result.exit_code != 0
        assert "redirect" in result.raw
        assert elsewhere.seen == []


@pytest.mark.parametrize("language", ONE_OF_EACH_LANGUAGE)
def test_a_token_endpoint_named_by_the_metadata_is_not_used(language: str, ci: Server, tmp_path: Path) -> None:
    with vendor() as elsewhere:

        def handle(server: Server) -> Handle:
            metadata: dict[str, object] = {
                "issuer": server.url,
                "audience": server.url,
                "token_endpoint": f"{elsewhere.url}/token",
            }
            return lambda request: Answer(body=metadata) if request.method == "GET" else Answer(400, {"reason": "seen"})

        with serve(handle) as service:
            ONE_OF_EACH_LANGUAGE[language](service.url, tmp_path, ci)
        assert service.paths()[-1] == "/token"
        assert elsewhere.seen == []


@pytest.mark.parametrize(
    "url",
    [
        "http://vend.contoso.example",
        "http://127.0.0.1.other.example",
        "http://localhost@other.example",
        "ftp://127.0.0.1",
        "file:///etc/passwd",
        "https://",
        "https://user:secret@vend.contoso.example",
        "https://vend.contoso.example/?x=y",
        "https://vend.contoso.example/#x",
        "https://vend.contoso.example /",
        "https:\\\\vend.contoso.example",
        "vend.contoso.example",
        "",
    ],
)
@pytest.mark.parametrize("language", ONE_OF_EACH_LANGUAGE)
def test_a_url_that_is_not_plainly_https_is_refused(language: str, ci: Server, tmp_path: Path, url: str) -> None:
    result = ONE_OF_EACH_LANGUAGE[language](url, tmp_path, ci)
    assert result.exit_code != 0
    assert "ACR_VENDING_URL" in result.raw
    assert ci.seen == []


def test_a_foreign_audience_is_used_where_the_author_of_the_pipeline_gives_it(ci: Server, tmp_path: Path) -> None:
    with vendor(audience="https://elsewhere.example") as service:
        github = GitHubJob(tmp_path / "github", every.github_environment(ci))
        action = "contoso/acr-token-vending/clients/github-action@v1"
        assert github.uses(action, {"url": service.url, "audience": "urn:contoso:vend"}).exit_code == 0
        assert ci.seen[-1].query["audience"] == ["urn:contoso:vend"]

        azure = AzureJob(tmp_path / "azure", every.azure_environment(ci))
        parameters = {"url": service.url, "audience": "api://AzureADTokenExchange"}
        assert azure.template("clients/azure-pipelines/acr-token.yml@vending", parameters).exit_code == 0

        inputs = {"url": service.url, "audience": "urn:contoso:vend"}
        gitlab = GitLabJob(tmp_path / "gitlab", token_for=every.token_for, inputs=inputs)
        assert gitlab.script("true").exit_code == 0
        assert service.paths() == ["/token"] * 3


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": "sts.amazonaws.com"},
        {"aud": ["sts.amazonaws.com"]},
        {"aud": ["{url}", "sts.amazonaws.com"]},
        {"aud": []},
        {"aud": None},
        {"aud": 1},
        {"aud": {"{url}": "{url}"}},
        {"aud": "{url}\n"},
        {},
    ],
    ids=["foreign", "foreign-list", "also-foreign", "none", "null", "number", "object", "line-end", "missing"],
)
@pytest.mark.parametrize("program", ["acr-token.sh", "docker-credential-acr-vending"])
def test_a_token_handed_over_in_a_variable_is_sent_only_if_it_is_for_the_service_alone(
    program: str, tmp_path: Path, claims: dict[str, object]
) -> None:
    def real(value: object, url: str) -> object:
        if isinstance(value, list):
            return [real(one, url) for one in value]
        return value.replace("{url}", url) if isinstance(value, str) else value

    with vendor() as service:
        token = unsigned_jwt(**{name: real(value, service.url) for name, value in claims.items()})
        environment = base_environment(tmp_path / "home", ACR_VENDING_URL=service.url, ACR_VENDING_ID_TOKEN=token)
        done = run([str(CLIENTS / program), "token"], environment, tmp_path)
        assert done.returncode == 1
        assert "nothing was sent" in done.stdout
        assert service.paths() == ["/.well-known/oauth-authorization-server"]


@pytest.mark.parametrize("token", ["", "x", "a.b", "a.b.c.d", "a.!.c", "a.bnVsbA.c", "a.e30.c"])
@pytest.mark.parametrize("program", ["acr-token.sh", "docker-credential-acr-vending"])
def test_what_is_no_token_is_not_sent(program: str, tmp_path: Path, token: str) -> None:
    file = tmp_path / "token"
    file.write_text(token)
    with vendor() as service:
        environment = base_environment(
            tmp_path / "home", ACR_VENDING_URL=service.url, ACR_VENDING_ID_TOKEN_FILE=str(file)
        )
        done = run([str(CLIENTS / program), "token"], environment, tmp_path)
        assert done.returncode == 1
        assert service.paths() == ["/.well-known/oauth-authorization-server"]


def test_every_client_gets_its_token_from_an_honest_service(client: every.Client, ci: Server, tmp_path: Path) -> None:
    with vendor() as service:
        result = client(service.url, tmp_path / "job", ci)
    exchanges = [request for request in service.seen if request.method == "POST"]
    assert len(exchanges) == 1
    assert exchanges[0].query == {}
    assert exchanges[0].form["subject_token"].startswith("eyJ")
    assert exchanges[0].headers["content-type"] == "application/x-www-form-urlencoded"
    explained = exchanges[0].path == "/explain"  # the answer is a registry token, which explains nothing
    assert result.exit_code == (1 if explained else 0), result.raw
