"""HTTP to the outside: one client per event loop and trust anchor, capped in size and time. Retries nothing by itself.

Every response is read whole under a byte limit, so a hostile or broken server costs a bounded amount of memory and
time. Exceptions name the host and never carry a body, a header or a query string.
"""

from __future__ import annotations

import asyncio
import weakref
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import urlencode, urljoin, urlsplit

import httpx

from vending import __version__
from vending.connection import SENTENCES, Broken, Cause, cause_of
from vending.errors import Reason, Refusal
from vending.json_document import NotJson, json_object
from vending.trust import trust

if TYPE_CHECKING:
    import ssl
    from types import TracebackType

    from vending.transport import Transport

_MAX_REDIRECTS: Final = 3
_MOST_URLS: Final = 256
"""Addresses that are kept parsed: a handful of endpoints, and claims in a table, each of which has one of its own."""
_LONGEST_RETRY_AFTER_SECONDS: Final = 86_400.0
_HEADERS: Final[Mapping[str, str]] = {
    "Accept": "*/*",
    "Accept-Encoding": "identity",
    "User-Agent": f"acr-token-vending/{__version__}",
}
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})


class NetError(Exception):
    """A call to the outside brought no usable answer. The text names the host and the kind of failure only.

    `cause` is what went wrong below HTTP, and None where something else did.
    """

    def __init__(self, url: str, what: str, cause: Cause | None = None) -> None:
        self.host = _host(url)
        self.cause = cause
        super().__init__(f"{self.host}: {what}")


class Unreachable(NetError):
    """No connection, or it broke: DNS, TCP, TLS, reset, or an answer that is not HTTP."""

    def __init__(self, url: str, error: Exception) -> None:
        cause = cause_of(error)
        # An exception that nobody foresaw is worth its name; its text may quote what it choked on.
        kind = f" ({type(error).__name__})" if cause is Cause.UNKNOWN else ""
        super().__init__(url, SENTENCES[cause] + kind, cause)


class TimedOut(NetError):
    """No complete answer in the time allowed."""

    def __init__(self, url: str, seconds: float) -> None:
        super().__init__(url, f"no complete answer in {seconds:g} s", Cause.TIMED_OUT)


class TooLarge(NetError):
    """The answer is larger than the limit; the rest was not read."""


class RedirectRefused(NetError):
    """The answer points to another host, or to one more redirect than allowed."""


class Unanswered(Refusal):
    """Refuse a request because a server that it needs gave no answer; `cause` and `detail` are for the operator."""

    def __init__(self, reason: Reason, error: NetError) -> None:
        super().__init__(reason)
        self.cause = error.cause
        self.detail = str(error)


@dataclass(frozen=True, slots=True)
class Answer:
    """Hold a whole HTTP response; `body` stays out of the repr."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)

    def json_object(self) -> dict[str, Any]:
        """Parse the body as a JSON object (see `json_document`). Raises `ValueError` without quoting the body."""
        try:
            return json_object(self.body)
        except NotJson as error:
            raise ValueError(f"the body {error}") from None

    def retry_after(self, now: float) -> float | None:
        """Read `Retry-After` as seconds from `now` (seconds since the epoch); None where absent or unreadable."""
        return retry_after(self.headers.get("retry-after", ""), now)


def retry_after(value: str, now: float) -> float | None:
    """Read a `Retry-After` value (RFC 9110 section 10.2.3) as seconds from `now`, at most a day; None if unreadable."""
    from email.utils import parsedate_to_datetime

    text = value.strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), _LONGEST_RETRY_AFTER_SECONDS)
    try:
        return min(max(parsedate_to_datetime(text).timestamp() - now, 0.0), _LONGEST_RETRY_AFTER_SECONDS)
    except (ValueError, TypeError, OverflowError):
        return None


def _host(url: str) -> str:
    try:
        return urlsplit(url).netloc.rpartition("@")[2]
    except ValueError:
        return "an address that cannot be read"


class Http:
    """Make HTTP calls on the running event loop, with one pooled client for each set of trust anchors."""

    def __init__(self) -> None:
        self._transports: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str | None, Transport]] = (
            weakref.WeakKeyDictionary()
        )
        self._public: ssl.SSLContext | None = None

    async def request(
        self,
        method: str,
        url: str,
        *,
        max_bytes: int,
        timeout_seconds: float,
        headers: Mapping[str, str] | None = None,
        form: Mapping[str, str] | None = None,
        content: bytes | None = None,
        ca_pem: str | None = None,
        follow_same_host: bool = False,
    ) -> Answer:
        """Send one request and read the whole answer, within `timeout_seconds` and `max_bytes` of body.

        A compressed body may have `max_bytes` as it is received and as it is unpacked, and is read to its own end only.

        Redirects are answers like any other; with `follow_same_host` up to three are followed, as long as scheme, host
        and port stay the same. Raises `Unreachable`, `TimedOut`, `TooLarge` or `RedirectRefused`.
        """
        try:
            transport = self._transport(ca_pem)
            async with asyncio.timeout(timeout_seconds):
                for _ in range(_MAX_REDIRECTS + 1):
                    answer = await _once(transport, method, url, headers, form, content, max_bytes)
                    if not (follow_same_host and answer.status in _REDIRECTS):
                        return answer
                    url = _same_origin(url, answer.headers.get("location", ""))
                raise RedirectRefused(url, "too many redirects")
        except TimeoutError:
            raise TimedOut(url, timeout_seconds) from None
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, Broken, OSError, ValueError) as error:
            raise Unreachable(url, error) from None

    async def aclose(self) -> None:
        """Close the running loop's clients; for tests and command-line use, where a loop ends before the process."""
        for transport in self._transports.pop(asyncio.get_running_loop(), {}).values():
            await transport.aclose()

    async def __aenter__(self) -> Http:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def _transport(self, ca_pem: str | None) -> Transport:
        transports = self._transports.setdefault(asyncio.get_running_loop(), {})
        transport = transports.get(ca_pem)
        if transport is None:
            from vending.transport import Transport

            transport = transports[ca_pem] = Transport(self._trust(ca_pem))
        return transport

    def _trust(self, ca_pem: str | None) -> ssl.SSLContext:
        if ca_pem is not None:
            return trust(ca_pem)
        if self._public is None:  # Loading the anchors costs some 15 ms: once, and not at import.
            self._public = trust(None)
        return self._public


_parsed = lru_cache(_MOST_URLS)(httpx.URL)


async def _once(
    transport: Transport,
    method: str,
    url: str,
    headers: Mapping[str, str] | None,
    form: Mapping[str, str] | None,
    content: bytes | None,
    max_bytes: int,
) -> Answer:
    # Straight to the transport: what `httpx.AsyncClient` does on the way (cookies, proxies, redirects, credentials of a
    # URL or a .netrc) must not happen here, and costs as much as the call itself. The body goes as a stream, because
    # httpx's own encoding of forms takes longer than the rest of the request; aiohttp writes the length and the host.
    sent = {**_HEADERS, **(headers or {})}
    if form is not None:
        content = urlencode(form).encode()
        sent["Content-Type"] = "application/x-www-form-urlencoded"
    stream = httpx.ByteStream(content or b"")
    request = httpx.Request(method, _parsed(url), headers=sent, stream=stream)
    response = await transport.handle_async_request(request)
    try:
        body = _Body(url, response.headers.get("content-encoding", ""), max_bytes)
        async for chunk in cast("httpx.AsyncByteStream", response.stream):
            if not body.takes(chunk):
                break
    finally:
        await response.aclose()
    return Answer(response.status_code, response.headers, body.whole())


class _Body:
    """Gather a body under a limit, undoing a content coding without ever making more than the limit allows.

    `identity` is what was asked for; a server that has nothing but gzip may send that (RFC 9110 section 12.5.3). A few
    KiB of it can unpack to many MiB, and many GiB of empty blocks to nothing: both sides count.
    """

    def __init__(self, url: str, encoding: str, max_bytes: int) -> None:
        self.content = bytearray()
        self._url = url
        self._max_bytes = max_bytes
        self._received = 0
        coding = encoding.strip().lower()
        if coding not in {"", "identity", "gzip", "x-gzip"}:
            raise Broken(Cause.BAD_CODING)
        self._gzip = None if coding in {"", "identity"} else zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)

    def takes(self, chunk: bytes) -> bool:
        """Add what came; tell whether more may follow. Behind the end of a compressed stream nothing is read."""
        self._received += len(chunk)
        self.content += chunk if self._gzip is None else self._unpacked(self._gzip, chunk)
        if self._received > self._max_bytes or len(self.content) > self._max_bytes:
            raise TooLarge(self._url, f"more than {self._max_bytes} bytes")
        return self._gzip is None or not self._gzip.eof

    def whole(self) -> bytes:
        """Return the content; a compressed stream must have come to its end."""
        if self._gzip is not None and self._received and not self._gzip.eof:
            raise Broken(Cause.RESET)
        return bytes(self.content)

    def _unpacked(self, gzip: zlib._Decompress, chunk: bytes) -> bytes:
        try:
            return gzip.decompress(chunk, self._max_bytes + 1 - len(self.content))
        except zlib.error:
            raise Broken(Cause.BAD_CODING) from None


def _same_origin(url: str, location: str) -> str:
    target = urljoin(url, location)
    here, there = urlsplit(url), urlsplit(target)
    if not location or (here.scheme, here.netloc) != (there.scheme, there.netloc):
        raise RedirectRefused(url, "redirect to another host")
    return target
