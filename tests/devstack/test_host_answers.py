"""The function host answers as the real one did: recorded requests are played against it over a raw socket.

`host-answers.json` holds 236 requests and what host 4.1037 with this app answered to each: `by` whom, the status, the
app's reason, whether it was empty, and some headers. `{a*N}` stands for N letters, `filler` for a body's length.
A request of kind `malformed` is what no client sends; the local host need not agree there, and is held to refuse what
the real one refused.
"""

import json
import re
import socket
from pathlib import Path
from typing import Any

import pytest

from devstack.stack import Stack

RECORDED: list[dict[str, Any]] = json.loads((Path(__file__).parent / "host-answers.json").read_text())
SOUND = [row for row in RECORDED if row["kind"] == "sound"]
MALFORMED = [row for row in RECORDED if row["kind"] == "malformed"]
CHUNK = 8192


def _expand(text: str) -> str:
    return re.sub(r"\{a\*(\d+)\}", lambda found: "a" * int(found[1]), text)


def _wire(row: dict[str, Any]) -> bytes:
    """Write a recorded request as it goes over the wire."""
    if "raw" in row:
        return str(row["raw"]).encode("latin-1")
    lines: list[str] = [
        f"{row['method']} {_expand(row['path'])} {row.get('version', 'HTTP/1.1')}",
        f"Host: {row.get('host', 'vend.contoso.example')}",
        *(f"{name}: {_expand(value)}" for name, value in row.get("headers", [])),
    ]
    content = str(row.get("body", "")).encode("latin-1") + b"a" * int(row.get("filler", 0))
    if row.get("chunked"):
        lines.append("Transfer-Encoding: chunked")
        parts = [content[at : at + CHUNK] for at in range(0, len(content), CHUNK)]
        content = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
    elif "body" in row:
        lines.append(f"Content-Length: {len(content)}")
    head = "\r\n".join(lines) + "\r\n\r\n"
    return head.encode("latin-1") + content


def _ask(url: str, request: bytes) -> tuple[int, dict[str, str], bytes] | None:
    """Send bytes and read one answer; None when the connection ends without one."""
    with socket.create_connection(("127.0.0.1", int(url.rsplit(":", 1)[1])), timeout=30) as connection:
        connection.sendall(request)
        stream = connection.makefile("rb")
        line = stream.readline()
        if not line.startswith(b"HTTP/"):
            return None
        headers: dict[str, str] = {}
        while (header := stream.readline().decode("latin-1").strip()) != "":
            name, _, value = header.partition(":")
            headers[name.lower()] = value.strip()
        body = b""
        if request.startswith(b"HEAD"):
            pass
        elif headers.get("transfer-encoding") == "chunked":
            while size := int(stream.readline(), 16):
                body += stream.read(size)
                stream.readline()
        elif "content-length" in headers:
            body = stream.read(int(headers["content-length"]))
        else:
            body = stream.read()
        return int(line.split()[1]), headers, body


def _told(answer: tuple[int, dict[str, str], bytes] | None, recorded: dict[str, Any]) -> dict[str, Any]:
    """Describe an answer in the words of the recording, with the headers that it names."""
    if answer is None:
        return {"by": "nobody"}
    status, headers, body = answer
    told: dict[str, Any] = {"by": "app" if "x-request-id" in headers else "host", "status": status}
    if status >= 400 and told["by"] == "app" and body:
        told["reason"] = json.loads(body)["reason"]
    if told["by"] == "host":
        told["empty"] = not body
    if "headers" in recorded:
        told["headers"] = {name: headers.get(name) for name in recorded["headers"]}
    return told


@pytest.mark.parametrize("row", SOUND, ids=[row["name"] for row in SOUND])
def test_sound_request_gets_the_recorded_answer(row: dict[str, Any], stack: Stack) -> None:
    assert _told(_ask(stack.url, _wire(row)), row["answer"]) == row["answer"]


@pytest.mark.parametrize("row", MALFORMED, ids=[row["name"] for row in MALFORMED])
def test_malformed_request_is_refused_where_the_real_host_refuses_it(row: dict[str, Any], stack: Stack) -> None:
    told = _told(_ask(stack.url, _wire(row)), row["answer"])
    if row["answer"]["by"] == "app":
        assert told["by"] == "app" or told["status"] == 400
    else:
        assert told == row["answer"]


RULES = [
    # method, path, further headers, by, status
    ("DELETE", "/admin/functions/zz_fallback", "", "host", 401),
    ("PATCH", "/admin/functions/zz_fallback", "", "app", 404),
    ("POST", "/admin/host/ping", "", "host", 200),
    ("GET", "/ADMIN/Host/Ping/", "", "host", 200),
    ("GET", "/admin/host/ping/x", "", "app", 404),
    ("GET", "/admin//host/ping", "", "app", 404),
    ("GET", "/admin/instance/http-health", "", "host", 200),
    ("POST", "/admin/host/synctriggers", "", "host", 401),
    ("GET", "/admin/host/synctriggers", "", "app", 404),
    ("GET", "/admin/host/systemkeys", "", "host", 401),
    ("GET", "/admin/host/otherkeys", "", "app", 404),
    ("PUT", "/admin/host/keys/mine", "", "host", 401),
    ("TRACE", "/admin/vfs", "", "host", 401),
    ("GET", "/admin/vfsx", "", "app", 404),
    ("GET", "/admin/warmup", "", "app", 404),
    ("OPTIONS", "/runtime/webhooks/x/y/z", "", "host", 401),
    ("PATCH", "/runtime/webhooks/x", "", "app", 404),
    ("GET", "/runtime/webhooks/", "", "app", 404),
    ("GET", "/token%2F%2Fx", "", "app", 404),
    ("GET", "///healthz", "", "host", 404),
    ("GET", "/healthz/../../token", "", "app", 405),
    ("OPTIONS", "*", "", "app", 404),
    ("GET", "*", "", "host", 405),
    ("GET", "http://other.example/healthz", "", "host", 400),
    ("CONNECT", "vend.contoso.example", "", "app", 404),
    ("CONNECT", "other.example:443", "", "host", 400),
    ("GET", "vend.contoso.example", "", "host", 405),
    ("GET", "/" + "a" * (8192 - len("GET / HTTP/1.1\r\n")), "", "app", 404),
    ("GET", "/" + "a" * (8193 - len("GET / HTTP/1.1\r\n")), "", "host", 414),
    ("GET", "/healthz", "X-Long: " + "a" * (32770 - len("Host: vend.contoso.example\r\nX-Long: \r\n\r\n")), "app", 200),
    (
        "GET",
        "/healthz",
        "X-Long: " + "a" * (32771 - len("Host: vend.contoso.example\r\nX-Long: \r\n\r\n")),
        "host",
        431,
    ),
    ("GET", "/healthz", "\r\n".join(f"X-{number}: v" for number in range(99)), "app", 200),
    ("GET", "/healthz", "\r\n".join(f"X-{number}: v" for number in range(100)), "host", 431),
    ("GET", "/healthz", "Content-Length: 1048577", "host", 500),
    ("GET", "//token", "Content-Length: 1048577", "host", 500),
    ("GET", "/healthz", "Content-Length: +1", "host", 400),
    ("GET", "/healthz", f"Content-Length: {2**63}", "host", 400),
    ("GET", "/healthz", "Transfer-Encoding: gzip", "host", 400),
    ("GET", "/healthz", "Transfer-Encoding: chunked, gzip", "host", 400),
    ("GET", "/healthz", "Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings", "app", 200),
    ("GET", "/healthz#x", "", "app", 404),
    ("GET", "/healthz", "X: a\x01b", "app", 200),
    ("GET", "/healthz", "X: a\0b", "host", 400),
    ("GET", "/healthz", "X : a", "host", 400),
]


@pytest.mark.parametrize(
    ("method", "path", "header", "by", "status"), RULES, ids=[f"{row[0]} {row[1]:.40} {row[2]:.30}" for row in RULES]
)
def test_each_rule_holds_at_its_bounds(method: str, path: str, header: str, by: str, status: int, stack: Stack) -> None:
    lines = [f"{method} {path} HTTP/1.1", "Host: vend.contoso.example", *([header] if header else []), "", ""]
    told = _told(_ask(stack.url, "\r\n".join(lines).encode()), {})
    assert (told["by"], told["status"]) == (by, status)


def test_head_that_arrives_byte_by_byte_is_one_request(stack: Stack) -> None:
    with socket.create_connection(("127.0.0.1", int(stack.url.rsplit(":", 1)[1])), timeout=30) as connection:
        for byte in b"\r\nGET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n":
            connection.sendall(bytes([byte]))
        assert connection.makefile("rb").readline().split()[1] == b"200"


def test_second_request_of_a_connection_is_held_to_the_limits_too(stack: Stack) -> None:
    with socket.create_connection(("127.0.0.1", int(stack.url.rsplit(":", 1)[1])), timeout=30) as connection:
        stream = connection.makefile("rb")
        connection.sendall(b"HEAD /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert stream.readline().split()[1] == b"200"
        while stream.readline().strip():
            pass
        connection.sendall(b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n")
        assert stream.readline().split()[1] == b"414"


def _statuses(stack: Stack, data: bytes) -> list[bytes]:
    """Send bytes as they are and return the status of each answer until the connection ends."""
    with socket.create_connection(("127.0.0.1", int(stack.url.rsplit(":", 1)[1])), timeout=30) as connection:
        connection.sendall(data)
        return re.findall(rb"HTTP/1\.1 (\d+) ", connection.makefile("rb").read())


def test_requests_that_come_together_are_answered_one_after_the_other(stack: Stack) -> None:
    one = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    form = b"POST /token HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
    assert _statuses(stack, one + form + b"FOO /healthz HTTP/1.1\r\nHost: x\r\n\r\n" + one + b"GET\r\n\r\n") == [
        b"200",
        b"415",
        b"405",
        b"200",
        b"400",
    ]


def test_lines_may_end_in_a_line_feed_alone(stack: Stack) -> None:
    assert _statuses(stack, b"GET /healthz HTTP/1.1\nHost: x\nConnection: close\n\n") == [b"200"]


def test_chunked_body_is_not_looked_at_before_the_answer(stack: Stack) -> None:
    head = b"POST /token HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert _statuses(stack, head + b"no chunk\r\n") == [b"415"]
