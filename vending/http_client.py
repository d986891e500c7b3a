"""HTTP to the outside: one client per event loop and trust anchor, capped in size and time. Retries nothing by itself.

Every response is read whole under a byte limit, so a hostile or broken server costs a bounded amount of memory and
time. Exceptions name the host and never carry a body, a header or a query string.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import weakref
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urljoin, urlsplit

import httpx

from vending import __version__
from vending.strict_json import unique_object

if TYPE_CHECKING:
    from types import TracebackType

_MAX_REDIRECTS: Final = 3
_CONNECT_SECONDS: Final = 4.0
"""Nobody who is there takes longer to accept a connection; another attempt finds another address, or says so."""
_KEEPALIVE_SECONDS: Final = 50.0  # Azure's load balancers drop idle connections after four minutes; stay well below.
_LONGEST_RETRY_AFTER_SECONDS: Final = 86_400.0
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})


class NetError(Exception):
    """A call to the outside brought no usable answer. The text names the host and the kind of failure only."""

    def __init__(self, url: str, what: str) -> None:
        self.host = urlsplit(url).netloc.rpartition("@")[2]
        super().__init__(f"{self.host}: {what}")


class Unreachable(NetError):
    """No connection, or it broke: DNS, TCP, TLS, reset, or an answer that is not HTTP."""


class TimedOut(NetError):
    """No complete answer in the time allowed."""


class TooLarge(NetError):
    """The answer is larger than the limit; the rest was not read."""


class RedirectRefused(NetError):
    """The answer points to another host, or to one more redirect than allowed."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Hold a whole HTTP response; `body` stays out of the repr."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)

    def json_object(self) -> dict[str, Any]:
        """Parse the body as a JSON object (UTF-8, no duplicate keys). Raises `ValueError` without quoting the body."""
        try:
            value = json.loads(self.body.decode("utf-8"), object_pairs_hook=unique_object)
        except (ValueError, RecursionError):
            raise ValueError("the body is not JSON") from None
        if not isinstance(value, dict):
            raise ValueError("the body is not a JSON object")  # noqa: TRY004 - bad data, not a bad argument
        return value

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


class Http:
    """Make HTTP calls on the running event loop, with one pooled client for each set of trust anchors."""

    def __init__(self) -> None:
        self._clients: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str | None, httpx.AsyncClient]] = (
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
        """Send one request and read the whole answer, within `timeout_seconds` and `max_bytes` of unpacked body.

        Redirects are answers like any other; with `follow_same_host` up to three are followed, as long as scheme, host
        and port stay the same. Raises `Unreachable`, `TimedOut`, `TooLarge` or `RedirectRefused`.
        """
        try:
            client = self._client(ca_pem)
            async with asyncio.timeout(timeout_seconds):
                for _ in range(_MAX_REDIRECTS + 1):
                    answer = await _once(client, method, url, headers, form, content, max_bytes)
                    if not (follow_same_host and answer.status in _REDIRECTS):
                        return answer
                    url = _same_origin(url, answer.headers.get("location", ""))
                raise RedirectRefused(url, "too many redirects")
        except TimeoutError:
            raise TimedOut(url, f"no complete answer in {timeout_seconds:g} s") from None
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, OSError, ValueError, OverflowError) as error:
            raise Unreachable(url, type(error).__name__) from None

    async def aclose(self) -> None:
        """Close the running loop's clients; for tests and command-line use, where a loop ends before the process."""
        for client in self._clients.pop(asyncio.get_running_loop(), {}).values():
            await client.aclose()

    async def __aenter__(self) -> Http:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def _client(self, ca_pem: str | None) -> httpx.AsyncClient:
        clients = self._clients.setdefault(asyncio.get_running_loop(), {})
        client = clients.get(ca_pem)
        if client is None:
            client = clients[ca_pem] = httpx.AsyncClient(
                verify=self._trust(ca_pem),
                trust_env=False,  # No proxy and no .netrc may steer where a credential goes.
                follow_redirects=False,
                cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),  # What one server says, no other hears.
                timeout=httpx.Timeout(None, connect=_CONNECT_SECONDS),  # `request` bounds the call as a whole.
                # No ceiling on connections: a registry that hangs must not use up what others need.
                limits=httpx.Limits(
                    max_connections=None, max_keepalive_connections=64, keepalive_expiry=_KEEPALIVE_SECONDS
                ),
                headers={"User-Agent": f"acr-token-vending/{__version__}", "Accept-Encoding": "identity"},
            )
        return client

    def _trust(self, ca_pem: str | None) -> ssl.SSLContext:
        if ca_pem is not None:
            return ssl.create_default_context(cadata=ca_pem)
        if self._public is None:  # Loading the anchors costs some 15 ms: once, and not at import.
            self._public = httpx.create_ssl_context()
        return self._public


async def _once(
    client: httpx.AsyncClient,
    method: str,
    url: str,
    headers: Mapping[str, str] | None,
    form: Mapping[str, str] | None,
    content: bytes | None,
    max_bytes: int,
) -> Answer:
    async with client.stream(method, url, headers=headers, data=form, content=content) as response:
        body = bytearray()
        unpack = _unpacker(url, response.headers.get("content-encoding", ""))
        async for chunk in response.aiter_raw():
            body += unpack(chunk, max_bytes + 1 - len(body))
            if len(body) > max_bytes:
                raise TooLarge(url, f"more than {max_bytes} bytes")
        return Answer(response.status_code, {k.lower(): v for k, v in response.headers.items()}, bytes(body))


def _unpacker(url: str, encoding: str) -> Callable[[bytes, int], bytes]:
    """Undo a content coding, never making more than the given number of bytes.

    `identity` is what was asked for; a server that has nothing but gzip may send that (RFC 9110 section 12.5.3), and a
    few KiB of it can unpack to many MiB.
    """
    if encoding.strip().lower() in {"", "identity"}:
        return lambda chunk, _most: chunk
    if encoding.strip().lower() not in {"gzip", "x-gzip"}:
        raise Unreachable(url, "an answer in a coding that was not asked for")
    gzip = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)

    def unpack(chunk: bytes, most: int) -> bytes:
        try:
            return gzip.decompress(chunk, most)
        except zlib.error:
            raise Unreachable(url, "an answer that is not gzip, as it says") from None

    return unpack


def _same_origin(url: str, location: str) -> str:
    target = urljoin(url, location)
    here, there = urlsplit(url), urlsplit(target)
    if not location or (here.scheme, here.netloc) != (there.scheme, there.netloc):
        raise RedirectRefused(url, "redirect to another host")
    return target
