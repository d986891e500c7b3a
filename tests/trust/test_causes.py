"""Whatever a library wraps around it, the error of the resolver, the socket or OpenSSL tells why nobody answered."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections.abc import AsyncIterator, Callable

import pytest

from tests.trust.authorities import server
from vending.cli.advice import CONNECTION, ISSUER_CONNECTION
from vending.connection import Broken, Cause, cause_of
from vending.http_client import Http, NetError, TimedOut


@pytest.fixture
async def http() -> AsyncIterator[Http]:
    async with Http() as made:
        yield made


def wrapped(error: BaseException) -> Exception:
    """Wrap an error as libraries do: as a cause, in a context, in a group, and as an argument."""
    try:
        try:
            raise ExceptionGroup("all attempts failed", [ValueError("first"), OSError(str(error), error)])
        except ExceptionGroup as group:
            raise RuntimeError("of another library") from group
    except RuntimeError as outer:
        return outer


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), Cause.DNS),
        (ConnectionRefusedError(errno.ECONNREFUSED, "refused"), Cause.REFUSED),
        (OSError(errno.ENETUNREACH, "unreachable"), Cause.NO_ROUTE),
        (OSError(errno.EHOSTUNREACH, "unreachable"), Cause.NO_ROUTE),
        (ConnectionResetError(errno.ECONNRESET, "reset"), Cause.RESET),
        (TimeoutError(), Cause.TIMED_OUT),
        (Broken(Cause.BAD_CODING), Cause.BAD_CODING),
        (ValueError("anything else"), Cause.UNKNOWN),
    ],
)
def test_cause_is_found_behind_what_wraps_it(error: Exception, cause: Cause) -> None:
    assert (cause_of(error), cause_of(wrapped(error))) == (cause, cause)


def test_errors_that_wrap_one_another_in_a_circle_end() -> None:
    first, second = ValueError("a"), ValueError("b")
    first.__cause__, second.__cause__ = second, first
    assert cause_of(first) is Cause.UNKNOWN


def test_every_cause_has_advice() -> None:
    assert set(CONNECTION) == set(ISSUER_CONNECTION) == set(Cause)


# --- Over sockets


Answering = Callable[[asyncio.StreamReader, asyncio.StreamWriter], object]


async def told(
    http: Http, answer: Answering, *, scheme: str = "http", seconds: float = 30, ca_pem: str | None = None
) -> NetError:
    """Call a server that answers in some way, and return what is made of it."""
    listening = await asyncio.start_server(answer, "127.0.0.1", 0)  # type: ignore[arg-type]
    url = f"{scheme}://127.0.0.1:{listening.sockets[0].getsockname()[1]}/"
    try:
        with pytest.raises(NetError) as caught:
            await http.request("GET", url, max_bytes=1000, timeout_seconds=seconds, ca_pem=ca_pem)
        return caught.value
    finally:
        listening.close()


def says(reply: bytes) -> Answering:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(reply)
        writer.close()

    return answer


@pytest.mark.parametrize(
    ("reply", "cause"),
    [
        (b"", Cause.RESET),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", Cause.NOT_HTTP),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}", Cause.RESET),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", Cause.NOT_HTTP),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 2\r\n\r\n{}", Cause.BAD_CODING),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}", Cause.BAD_CODING),
    ],
    ids=["nothing", "another protocol", "a body cut short", "broken chunks", "another coding", "gzip that is none"],
)
async def test_answer_that_is_none_has_its_cause(reply: bytes, cause: Cause, http: Http) -> None:
    assert (await told(http, says(reply))).cause is cause


async def test_server_without_tls_is_told_as_such(http: Http) -> None:
    failed = await told(http, says(b"HTTP/1.1 400 Bad Request\r\n\r\n"), scheme="https")
    assert failed.cause is Cause.TLS_NOT_SPOKEN


async def test_silence_is_told_as_such(http: Http) -> None:
    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    failed = await told(http, say_nothing, seconds=0.2)
    assert (type(failed), failed.cause) == (TimedOut, Cause.TIMED_OUT)


BAD_PEM = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"


async def test_certificates_that_cannot_be_read_trust_nobody(http: Http) -> None:
    failed = await told(
        http, says(b""), scheme="https", ca_pem="-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"
    )
    assert failed.cause is Cause.BAD_TRUST


async def test_file_of_public_authorities_that_is_missing_trusts_nobody(
    http: Http, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/does/not/exist.pem")
    assert (await told(http, says(b""), scheme="https")).cause is Cause.BAD_TRUST


async def test_session_keys_are_written_nowhere(
    http: Http, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    directory = tmp_path_factory.mktemp("keylog")
    own = server(None)
    (directory / "server.pem").write_text(own.pem + own.key_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "server.pem")
    monkeypatch.setenv("SSLKEYLOGFILE", str(directory / "keys.log"))
    reply = says(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
    listening = await asyncio.start_server(reply, "127.0.0.1", 0, ssl=context)  # type: ignore[arg-type]
    url = f"https://127.0.0.1:{listening.sockets[0].getsockname()[1]}/"
    answer = await http.request("GET", url, max_bytes=1000, timeout_seconds=30, ca_pem=own.pem)
    listening.close()
    assert answer.status == 200
    assert not (directory / "keys.log").exists()
