"""The function host treats an app as the platform does."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import httpx
import pytest

from devstack import plain
from devstack.host.processes import HostProcess

SAMPLE = Path(__file__).parent / "sample_app"
LIMIT = 4096


@pytest.fixture(scope="module")
def host() -> Iterator[HostProcess]:
    with HostProcess({"FUNCTIONS_REQUEST_BODY_SIZE_LIMIT": str(LIMIT)}, app=SAMPLE) as running:
        yield running


@pytest.fixture(scope="module")
def http(host: HostProcess) -> Iterator[httpx.Client]:
    with plain.Client(base_url=host.url, timeout=30) as client:
        yield client


def _is_platform_answer(response: httpx.Response, status: int) -> bool:
    return response.status_code == status and not response.content and "content-type" not in response.headers


def _read(answers: BinaryIO) -> tuple[int, bytes]:
    """Read one answer from a raw connection that stays open."""
    status, headers, body = int(answers.readline().split()[1]), {}, b""
    while (line := answers.readline().strip()) != b"":
        name, _, value = line.lower().partition(b":")
        headers[name] = value.strip()
    if headers.get(b"transfer-encoding") != b"chunked":
        return status, answers.read(int(headers[b"content-length"]))
    while size := int(answers.readline(), 16):
        body += answers.read(size)
        answers.readline()
    answers.readline()
    return status, body


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.02)


def test_function_whose_name_sorts_first_wins_over_a_more_specific_route(http: httpx.Client) -> None:
    assert http.get("/things/special").json()["function"] == "a_parameter"


def test_literals_match_without_case_and_values_keep_theirs(http: httpx.Client) -> None:
    assert http.get("/THINGS/AbC").json()["route"] == {"name": "AbC"}


def test_path_that_fails_a_constraint_goes_on_to_the_next_function(http: httpx.Client) -> None:
    assert http.get("/numbers/12").json()["route"] == {"id": "12"}
    assert _is_platform_answer(http.get("/numbers/twelve"), 404)


@pytest.mark.parametrize("method", ["POST", "HEAD", "OPTIONS", "DELETE"])
def test_wrong_method_gets_the_platforms_empty_404(http: httpx.Client, method: str) -> None:
    assert http.get("/get-only").status_code == 200
    assert _is_platform_answer(http.request(method, "/get-only"), 404)


def test_unknown_path_gets_the_platforms_empty_404(http: httpx.Client) -> None:
    assert _is_platform_answer(http.get("/nowhere"), 404)


def test_paths_of_the_platform_never_reach_the_app(http: httpx.Client) -> None:
    assert _is_platform_answer(http.get("/admin/host/status"), 401)
    assert _is_platform_answer(http.get("/runtime/webhooks/x"), 401)


def test_unhandled_exception_is_a_bare_500_and_logged(host: HostProcess, http: httpx.Client) -> None:
    assert _is_platform_answer(http.get("/raise"), 500)
    _until(lambda: "nobody caught this one" in host.log)


def test_too_large_a_body_is_the_platforms_empty_500(http: httpx.Client) -> None:
    assert http.post("/things/x", content=b"a" * LIMIT).json()["body"] == "a" * LIMIT
    for path in ("/things/x", "/nowhere", "/get-only", "/admin/host/status"):
        assert _is_platform_answer(http.post(path, content=b"a" * (LIMIT + 1)), 500)


def test_connection_goes_on_after_too_large_a_body(host: HostProcess) -> None:
    with socket.create_connection(("127.0.0.1", int(host.url.rsplit(":", 1)[1])), timeout=30) as raw:
        answers = raw.makefile("rb")
        raw.sendall(b"POST /things/x HTTP/1.1\r\nHost: x\r\nContent-Length: 500000\r\n\r\n" + b"a" * 500_000)
        assert _read(answers)[0] == 500
        raw.sendall(b"GET /text HTTP/1.1\r\nHost: x\r\n\r\n")
        assert _read(answers) == (200, b"plain")


def test_chunked_body_reaches_the_app_empty_however_large_it_is(http: httpx.Client) -> None:
    def chunks(number: int) -> Iterator[bytes]:
        for _ in range(number):
            yield b"a" * 512

    for number in (1, LIMIT // 512 + 1, 1000):
        answer = http.post("/things/x", content=chunks(number))
        assert (answer.status_code, answer.json()["body"]) == (200, "")


def test_chunked_framing_wins_over_a_length(host: HostProcess) -> None:
    """A request with both is how one request is smuggled into another (RFC 9112 section 6.3)."""
    with socket.create_connection(("127.0.0.1", int(host.url.rsplit(":", 1)[1])), timeout=30) as raw:
        answers = raw.makefile("rb")
        head = b"POST /things/x HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"
        raw.sendall(head + b"3\r\nabc\r\n0\r\n\r\n")
        status, body = _read(answers)
        assert (status, json.loads(body)["body"]) == (200, "")


def test_answer_with_a_body_is_chunked_and_an_empty_one_has_a_length(http: httpx.Client) -> None:
    told = http.get("/text").headers
    assert (told["transfer-encoding"], told["server"], "content-length" in told) == ("chunked", "Kestrel", False)
    nothing = http.get("/nowhere").headers
    assert (nothing["content-length"], nothing["server"], "transfer-encoding" in nothing) == ("0", "Kestrel", False)


def test_head_is_delivered_as_head_and_answered_without_a_body(http: httpx.Client) -> None:
    answer = http.head("/headers")
    assert (answer.status_code, answer.headers["x-own"], answer.content) == (418, "yes", b"")


def test_status_and_headers_of_the_response_are_the_apps(http: httpx.Client) -> None:
    answer = http.get("/headers")
    assert (answer.status_code, answer.text, answer.headers["content-type"]) == (418, "teapot", "text/x-tea")


def test_string_result_is_plain_text(http: httpx.Client) -> None:
    assert http.get("/text").text == "plain"


def test_request_arrives_whole(host: HostProcess, http: httpx.Client) -> None:
    headers = [("X-Twice", "1"), ("X-Twice", "2"), ("X-Forwarded-For", "192.0.2.1")]
    told = http.post("/files/a%2Fb/c%20d?x=1&x=2&empty=", content=b"\x00body", headers=headers).json()
    assert told["method"] == "POST"
    assert told["url"] == f"{host.url}/files/a%2Fb/c%20d?x=1&x=2&empty="
    assert told["route"] == {"path": "a%2Fb/c d"}
    assert told["params"] == {"x": "1,2"}
    assert told["body"] == "\x00body"
    assert told["headers"]["x-twice"] == "1,2"
    assert told["headers"]["x-forwarded-for"].startswith("192.0.2.1, 127.0.0.1:")


def test_front_end_tells_the_clients_address(http: httpx.Client) -> None:
    address, _, port = http.get("/things/x").json()["headers"]["x-forwarded-for"].rpartition(":")
    assert address == "127.0.0.1"
    assert port.isdigit()


def test_sync_function_runs_in_a_thread_with_its_context(http: httpx.Client) -> None:
    first, second = (http.get("/sync").json()["context"] for _ in range(2))
    assert first["name"] == "e_sync"
    assert first["on_the_loop"] is False
    assert first["id"] != second["id"]


def test_app_is_imported_inside_the_running_loop(http: httpx.Client) -> None:
    assert http.get("/sync").json()["imported_in_a_loop"] is True


def test_function_goes_on_when_its_client_has_gone(host: HostProcess, http: httpx.Client) -> None:
    with socket.create_connection(("127.0.0.1", int(host.url.rsplit(":", 1)[1]))) as impatient:
        impatient.sendall(b"GET /slow?id=left HTTP/1.1\r\nHost: x\r\n\r\n")
    _until(lambda: "left" in http.get("/finished").json())


@pytest.mark.parametrize("path", ["/a%00b", "/%ff"])
def test_path_that_the_server_cannot_decode_is_400(http: httpx.Client, path: str) -> None:
    answer = httpx.Response(400)
    with socket.create_connection((http.base_url.host, int(http.base_url.port or 0))) as raw:
        raw.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        assert raw.makefile("rb").readline().split()[1] == str(answer.status_code).encode()


def test_settings_of_the_platform_are_filled_in(host: HostProcess, http: httpx.Client) -> None:
    address = host.url.removeprefix("http://")
    assert http.get("/environment").json() == {
        "WEBSITE_HOSTNAME": address,
        "VENDING_PUBLIC_URL": None,
        "AzureWebJobsDisableHomepage": "true",
    }


def test_plain_public_url_is_filled_in_where_loopback_is_allowed() -> None:
    with HostProcess({"VENDING_ALLOW_LOOPBACK": "1"}, app=SAMPLE) as own:
        told: dict[str, Any] = plain.get(f"{own.url}/environment").json()
    assert told["VENDING_PUBLIC_URL"] == own.url


def test_log_of_the_app_goes_to_standard_error(host: HostProcess, http: httpx.Client) -> None:
    http.get("/environment")
    _until(lambda: "the environment was asked for" in host.log)


def test_settings_that_are_there_are_kept() -> None:
    given = {"WEBSITE_HOSTNAME": "vend.example", "AzureWebJobsDisableHomepage": "false"}
    with HostProcess(given, app=SAMPLE) as own:
        told: dict[str, Any] = plain.get(f"{own.url}/environment").json()
        home = plain.get(own.url)
    assert told == given | {"VENDING_PUBLIC_URL": None}
    assert (home.status_code, home.headers["content-type"]) == (200, "text/html")


def test_root_reaches_the_app_when_the_homepage_is_off(tmp_path: Path) -> None:
    _write_app(tmp_path, '@app.route("{*path}")\ndef zz(req: func.HttpRequest) -> str:\n    return "mine"\n')
    with HostProcess({}, app=tmp_path) as own:
        assert plain.get(own.url).text == "mine"


def test_route_prefix_is_api_unless_host_json_says_otherwise(tmp_path: Path) -> None:
    _write_app(tmp_path, '@app.route("x")\ndef x(req: func.HttpRequest) -> str:\n    return "x"\n')
    (tmp_path / "host.json").write_text('{"version": "2.0"}')
    with HostProcess({}, app=tmp_path) as own:
        assert plain.get(f"{own.url}/api/x").text == "x"
        assert plain.get(f"{own.url}/x").status_code == 404


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "Ctrl-C"])
def test_signal_ends_the_host_cleanly(number: int) -> None:
    with HostProcess({}, app=SAMPLE) as own:
        os.kill(own.pid, number)
        assert own.wait() == 0


BROKEN_APPS = [
    ("raise SystemExit('THE_SETTING must be a number')\n", "THE_SETTING must be a number", False),
    ("class SettingsError(Exception): ...\nraise SettingsError('bad SETTING')\n", "bad SETTING", False),
    ("raise ZeroDivisionError('a bug')\n", "a bug", True),
    ("second = func.FunctionApp()\n", "it has 2", False),
    (
        '@app.route("x")\ndef x(request: func.HttpRequest) -> str:\n    return ""\n',
        "no binding is named request",
        False,
    ),
]


@pytest.mark.parametrize(("code", "message", "traceback"), BROKEN_APPS, ids=[message for _, message, _ in BROKEN_APPS])
def test_app_that_cannot_be_loaded_ends_the_host_with_its_message(
    tmp_path: Path, code: str, message: str, traceback: bool
) -> None:
    _write_app(tmp_path, code)
    command = [sys.executable, "-m", "devstack", "host", "--port", "0", "--app", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert message in done.stderr
    assert ("Traceback" in done.stderr) is traceback


def test_taken_port_is_said_in_one_line(host: HostProcess) -> None:
    command = [sys.executable, "-m", "devstack", "host", "--port", host.url.rsplit(":", 1)[1], "--app", str(SAMPLE)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "cannot be used" in done.stderr


def _write_app(directory: Path, code: str) -> None:
    head = "import azure.functions as func\napp = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)\n"
    (directory / "function_app.py").write_text(head + code)
    (directory / "host.json").write_text(json.dumps({"extensions": {"http": {"routePrefix": ""}}}))
