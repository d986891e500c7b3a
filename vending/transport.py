"""Carry httpx's requests over aiohttp's connections. Follows, unpacks and keeps nothing that httpx did not ask for.

httpx's own pool looks at every idle connection for every request, which was a third of the time of a vend; aiohttp
learns from the event loop when a connection closes. `docs/performance.md` has the comparison.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import aiohttp
import httpx
from aiohttp.resolver import ThreadedResolver
from yarl import URL

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator

_CONNECT_SECONDS: Final = 4.0
"""For name, TCP and TLS together. Nobody who is there takes longer; another attempt finds another address."""
_KEEPALIVE_SECONDS: Final = 50.0
"""Azure's load balancers drop idle connections after four minutes; stay well below."""
_DNS_SECONDS: Final = 10
_HEADER_BYTES: Final = 64 * 1024
"""For one line; policies on content security and cookies of portals are long. 128 lines at most, which is aiohttp's."""


class Transport(httpx.AsyncBaseTransport):
    """Send requests over pooled connections that are verified with one TLS context. Belongs to one event loop."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                ssl=context,
                limit=0,  # No ceiling: a registry that hangs must not use up what others need.
                keepalive_timeout=_KEEPALIVE_SECONDS,
                ttl_dns_cache=_DNS_SECONDS,
                resolver=ThreadedResolver(),  # The system's, whatever else happens to be installed.
            ),
            cookie_jar=aiohttp.DummyCookieJar(),  # What one server says, no other hears.
            trust_env=False,  # No proxy and no .netrc may steer where a credential goes.
            auto_decompress=False,
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
            timeout=aiohttp.ClientTimeout(total=None, connect=_CONNECT_SECONDS),
            max_line_size=_HEADER_BYTES,
            max_field_size=_HEADER_BYTES,
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request whose body is in memory; the answer's body is read, or not, by whoever gets it."""
        try:
            response = await self._session.request(
                request.method,
                _url(request),
                headers=[(name.decode("ascii"), value.decode("latin-1")) for name, value in request.headers.raw],
                data=aiohttp.BytesPayload(body) if (body := request.read()) else None,
                allow_redirects=False,
            )
        except aiohttp.ConnectionTimeoutError as error:
            raise httpx.ConnectTimeout("connect") from error
        except aiohttp.ClientConnectorError as error:
            raise httpx.ConnectError("connect") from error
        except aiohttp.ClientError as error:
            raise httpx.ReadError("read") from error
        return httpx.Response(response.status, headers=response.raw_headers, stream=_Body(response), request=request)

    async def aclose(self) -> None:
        """Close every connection."""
        await self._session.close()


def _url(request: httpx.Request) -> URL:
    """Return the address as it is written, not quoted anew, and without a user name: aiohttp would send it along."""
    url = request.url.copy_with(userinfo=b"") if request.url.userinfo else request.url
    return URL(str(url), encoded=True)


class _Body(httpx.AsyncByteStream):
    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._response.content.iter_any():
                yield chunk
        except aiohttp.ClientError as error:
            raise httpx.ReadError("read") from error

    async def aclose(self) -> None:
        """Give the connection back if the answer was read to its end, and close it if not."""
        if self._response.content.at_eof():
            self._response.release()
        else:
            self._response.close()
