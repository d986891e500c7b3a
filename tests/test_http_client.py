"""HTTP to the outside: every way in which a server can misbehave costs a bounded amount of time and memory."""

from __future__ import annotations

import asyncio
import gzip
import re
import socket
import ssl
import threading
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from devstack.certs import TestAuthority
from vending.http_client import Answer, Http, RedirectRefused, TimedOut, TooLarge, Unreachable, retry_after

NOW = 1_800_000_000.0
LIMIT = 4096


@dataclass
class Server:
    """A server that sends prepared bytes, whatever is asked; it keeps what it was sent, and counts connections."""

    reply: bytes = b""
    chunk: bytes = b""
    """Sent over and over after `reply`, until the client goes away."""
    pause: float = 0.0
    """Seconds before each chunk."""
    hold: bool = False
    """Say nothing more, and keep the connection open."""
    keep_alive: bool = False
    port: int = 0
    seen: list[str] = field(default_factory=list)
    connections: int = 0
    sent: int = 0
    gone: asyncio.Event = field(default_factory=asyncio.Event)

    async def left_alone(self) -> None:
        """Wait until the client has closed its connection."""
        await asyncio.wait_for(self.gone.wait(), 30)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = next((line for line in head.lower().splitlines() if line.startswith("content-length")), "")
                body = await reader.readexactly(int(length.partition(":")[2] or 0))
                self.seen.append(head + body.decode())
                writer.write(self.reply)
                await writer.drain()
                while self.chunk:
                    await asyncio.sleep(self.pause)
                    writer.write(self.chunk)
                    self.sent += len(self.chunk)
                    await writer.drain()
                if self.hold:
                    await reader.read()
                if not self.keep_alive:
                    break
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client has seen enough
        finally:
            self.gone.set()
            writer.close()


Serve = Callable[..., Awaitable[Server]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    running: list[asyncio.Server] = []

    async def start(reply: bytes = b"", *, tls: ssl.SSLContext | None = None, **options: object) -> Server:
        server = Server(reply, **options)  # type: ignore[arg-type]
        listening = await asyncio.start_server(server.answer, "127.0.0.1", 0, ssl=tls)
        server.port = listening.sockets[0].getsockname()[1]
        running.append(listening)
        return server

    yield start
    for listening in running:
        listening.close()
        listening.close_clients() if hasattr(listening, "close_clients") else None


def response(body: bytes = b"{}", status: str = "200 OK", **headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


async def get(http: Http, url: str, **options: object) -> Answer:
    return await http.request("GET", url, max_bytes=LIMIT, **{"timeout_seconds": 30.0, **options})  # type: ignore[arg-type]


async def test_answer_is_read_whole(http: Http, serve: Serve) -> None:
    server = await serve(response(b'{"a": 1}', X_Custom="yes"))
    answer = await get(http, server.url)
    assert (answer.status, answer.json_object(), answer.headers["x-custom"]) == (200, {"a": 1}, "yes")


async def test_form_is_sent_as_a_form(http: Http, serve: Serve) -> None:
    server = await serve(response())
    form = {"scope": "repository:a/b:pull registry:catalog:*"}
    await http.request("POST", server.url + "/x", form=form, max_bytes=LIMIT, timeout_seconds=30)
    assert "content-type: application/x-www-form-urlencoded" in server.seen[0].lower()
    assert server.seen[0].endswith("scope=repository%3Aa%2Fb%3Apull+registry%3Acatalog%3A%2A")


async def test_error_statuses_are_answers(http: Http, serve: Serve) -> None:
    server = await serve(response(b"oops", "503 Service Unavailable"))
    assert (await get(http, server.url)).status == 503


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"SSH-2.0-OpenSSH_9.2\r\n", id="another protocol"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}", id="a body cut short"),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", id="broken chunks"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\n{}", id="two lengths"),
        pytest.param(b"HTTP/1.1 200 OK\r\nX: " + b"a" * 200_000, id="an endless header"),
        pytest.param(response(b"xx", Content_Encoding="br"), id="a coding nobody asked for"),
        pytest.param(response(b"xx", Content_Encoding="gzip"), id="gzip that is none"),
    ],
)
async def test_answer_that_is_no_http_is_as_good_as_none(http: Http, serve: Serve, reply: bytes) -> None:
    server = await serve(reply)
    with pytest.raises(Unreachable):
        await get(http, server.url)


async def test_closed_port_is_unreachable(http: Http) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        with pytest.raises(Unreachable):
            await get(http, f"http://127.0.0.1:{closed.getsockname()[1]}/")


@pytest.mark.parametrize("size", [LIMIT, LIMIT + 1])
async def test_limit_is_exact(http: Http, serve: Serve, size: int) -> None:
    server = await serve(response(b"x" * size))
    if size > LIMIT:
        with pytest.raises(TooLarge):
            await get(http, server.url)
    else:
        assert len((await get(http, server.url)).body) == LIMIT


async def test_endless_body_is_cut_off(http: Http, serve: Serve) -> None:
    server = await serve(b"HTTP/1.1 200 OK\r\n\r\n", chunk=b" " * 1024)
    with pytest.raises(TooLarge):
        await get(http, server.url)


async def test_gzip_is_unpacked_although_it_was_not_asked_for(http: Http, serve: Serve) -> None:
    server = await serve(response(gzip.compress(b'{"a": 1}'), Content_Encoding="gzip"))
    assert (await get(http, server.url)).json_object() == {"a": 1}
    assert "accept-encoding: identity" in server.seen[0].lower()


@pytest.mark.parametrize("piece", [b"\x00\x00\x00\xff\xff", b"\x00" * 1024], ids=["empty blocks", "padding"])
async def test_compressed_bytes_count_even_where_they_hold_nothing(http: Http, serve: Serve, piece: bytes) -> None:
    packer = zlib.compressobj(wbits=16 + zlib.MAX_WBITS)
    begin = packer.compress(b"{") + packer.flush(zlib.Z_SYNC_FLUSH)
    sent = piece * 200 if piece.startswith(b"\x00\x00\x00\xff") else piece
    server = await serve(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + begin, chunk=sent)
    with pytest.raises((TooLarge, Unreachable)):
        await get(http, server.url)
    assert server.sent < 8 * 1024 * 1024  # what the sockets between us hold, not what the server would send


async def test_nothing_is_read_behind_the_end_of_a_compressed_stream(http: Http, serve: Serve) -> None:
    whole = gzip.compress(b'{"a": 1}')
    server = await serve(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + whole, chunk=b"x" * 65536, pause=0.01)
    assert (await get(http, server.url)).json_object() == {"a": 1}
    await server.left_alone()


async def test_compressed_stream_without_its_end_is_no_answer(http: Http, serve: Serve) -> None:
    server = await serve(response(gzip.compress(b'{"a": 1}')[:-8], Content_Encoding="gzip"))
    with pytest.raises(Unreachable):
        await get(http, server.url)


async def test_gzip_bomb_is_cut_off_before_it_unfolds(http: Http, serve: Serve) -> None:
    bomb = gzip.compress(b" " * 50_000_000)
    server = await serve(response(bomb, Content_Encoding="gzip"))
    tracemalloc.start()
    with pytest.raises(TooLarge):
        await get(http, server.url)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5_000_000


@pytest.mark.parametrize("options", [{"hold": True}, {"chunk": b" ", "pause": 0.05}], ids=["silent", "dripping"])
async def test_time_is_limited_as_a_whole(http: Http, serve: Serve, options: dict[str, object]) -> None:
    server = await serve(b"HTTP/1.1 200 OK\r\nContent-Length: 4000\r\n\r\n", **options)
    with pytest.raises(TimedOut):
        await get(http, server.url, timeout_seconds=0.5)


async def test_connections_are_used_again(http: Http, serve: Serve) -> None:
    server = await serve(response(), keep_alive=True)
    for _ in range(5):
        await get(http, server.url)
    assert server.connections == 1


async def test_cookie_is_never_sent_back(http: Http, serve: Serve) -> None:
    server = await serve(response(Set_Cookie="a=b; Path=/"), keep_alive=True)
    for _ in range(2):
        await get(http, server.url)
    assert len(server.seen) == 2
    assert not any("cookie" in head.lower() for head in server.seen)


async def test_credentials_in_an_address_are_not_sent(http: Http, serve: Serve) -> None:
    server = await serve(response())
    await get(http, server.url.replace("http://", "http://user:secret@"))
    assert len(server.seen) == 1
    assert "authorization" not in server.seen[0].lower()
    assert "secret" not in server.seen[0]


async def test_connection_of_a_cancelled_request_is_given_up(http: Http, serve: Serve) -> None:
    server = await serve(hold=True)
    before = _open_sockets()
    for _ in range(20):
        with pytest.raises(TimedOut):
            await get(http, server.url, timeout_seconds=0.05)
    await asyncio.sleep(0.1)
    assert _open_sockets() - before < 10  # none on our side; the server's may take a moment


def _open_sockets() -> int:
    links = (_target(link) for link in Path("/proc/self/fd").iterdir())
    return sum(target.startswith("socket:") for target in links)


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except FileNotFoundError:
        return ""


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Temporary Redirect"])
async def test_redirects_are_not_followed_unless_asked(http: Http, serve: Serve, status: str) -> None:
    target = await serve(response())
    server = await serve(response(b"", status, Location=target.url))
    assert (await get(http, server.url)).status == int(status[:3])
    assert not target.seen


async def test_redirect_to_another_host_is_refused(http: Http, serve: Serve) -> None:
    target = await serve(response())
    server = await serve(response(b"", "302 Found", Location=target.url))
    with pytest.raises(RedirectRefused):
        await get(http, server.url, follow_same_host=True)
    assert not target.seen


async def test_redirects_in_a_circle_end(http: Http, serve: Serve) -> None:
    server = await serve(response(b"", "302 Found", Location="/again"), keep_alive=True)
    with pytest.raises(RedirectRefused):
        await get(http, server.url, follow_same_host=True)
    assert len(server.seen) == 4


async def test_proxy_of_the_environment_is_not_used(http: Http, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = await serve(response(b'{"proxy": true}'))
    server = await serve(response(b'{"proxy": false}'))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, proxy.url)
    assert (await get(http, server.url)).json_object() == {"proxy": False}


async def test_certificate_of_an_unknown_authority_is_refused(http: Http, serve: Serve, tmp_path: Path) -> None:
    authority = TestAuthority(tmp_path)
    server = await serve(response(), tls=authority.server_context())
    with pytest.raises(Unreachable):
        await get(http, f"https://localhost:{server.port}")
    answer = await get(http, f"https://localhost:{server.port}", ca_pem=authority.ca_file.read_text())
    assert answer.status == 200


async def test_errors_name_the_host_and_nothing_else(http: Http, serve: Serve) -> None:
    server = await serve(b"HTTP/1.1 200 OK\r\n\r\n", chunk=b"secret-body" * 100)
    with pytest.raises(TooLarge) as caught:
        await http.request(
            "POST",
            f"http://user:hunter2@127.0.0.1:{server.port}/secret-path?secret-query",
            form={"refresh_token": "secret-form"},
            max_bytes=LIMIT,
            timeout_seconds=30,
        )
    assert str(caught.value) == f"127.0.0.1:{server.port}: more than {LIMIT} bytes"


def test_answer_keeps_its_content_out_of_its_repr() -> None:
    assert repr(Answer(200, {"x": "hunter2"}, b"hunter2")) == "Answer(status=200)"


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"", "is empty"),
        (b"[]", "is not a JSON object"),
        (b"hunter2", "is not JSON"),
        (b"<!doctype html><title>Sign in</title>", "is not JSON: it begins like a web page or XML"),
        (b'{"a": 1, "a": 2}', "has a name twice in one object"),
        (b'{"a": "\\ud800"}', "holds half a surrogate pair"),
        (b'{"a": NaN}', "has NaN, which is not JSON"),
        (b"\xc3\x28", "is not UTF-8"),
        ('{"a": 1}'.encode("utf-16"), "is UTF-16, not UTF-8"),
        ('{"a": 1}'.encode("utf-16-le"), "is UTF-16, not UTF-8"),
        ('{"a": 1}'.encode("utf-32"), "is UTF-32, not UTF-8"),
        (b"[" * 100_000, "is not JSON"),
        (b'{"a": ' + b"9" * 5000 + b"}", "has a number that is too long"),
    ],
)
def test_body_that_is_no_json_object_is_refused_without_quoting_it(body: bytes, told: str) -> None:
    with pytest.raises(ValueError, match=f"^the body {re.escape(told)}$"):
        Answer(200, {}, body).json_object()


def test_byte_order_mark_before_a_document_means_nothing() -> None:
    assert Answer(200, {}, b'\xef\xbb\xbf{"a": 1}').json_object() == {"a": 1}


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        (" 7 ", 7.0),
        ("0", 0.0),
        ("Fri, 15 Jan 2027 08:00:30 GMT", 30.0),
        ("Fri, 15 Jan 2027 07:00:00 GMT", 0.0),
        ("99999999999999999999", 86_400.0),
        ("Fri, 15 Jan 2100 08:00:00 GMT", 86_400.0),
        ("", None),
        ("soon", None),
        ("-1", None),
        ("1.5", None),
        ("٣", None),
    ],
)
def test_retry_after_is_read_as_seconds_from_now(value: str, seconds: float | None) -> None:
    assert retry_after(value, NOW) == seconds


def test_each_event_loop_has_a_client_of_its_own() -> None:
    shared = Http()

    async def use() -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(response())
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        async with shared:
            assert (await get(shared, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")).status == 200
        server.close()

    for _ in range(3):
        asyncio.run(use())
    other = threading.Thread(target=lambda: asyncio.run(use()))
    other.start()
    other.join()
