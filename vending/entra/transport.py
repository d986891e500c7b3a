"""HTTP for azure-identity: its calls go out through the app's own client, with everything that this one guarantees.

azure-identity blocks, so it runs in a thread; each of its requests is made on the app's event loop. So there is one
TLS context, one cap on size and time, and no proxy for any call, and a failure has the same causes everywhere.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import json
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from azure.core.exceptions import ServiceRequestError, ServiceResponseError
from azure.core.pipeline.transport import HttpResponse, HttpTransport
from azure.core.utils import CaseInsensitiveDict

from vending.http_client import NetError, TimedOut, Unreachable
from vending.json_document import NotJson, json_object, present

if TYPE_CHECKING:
    from types import TracebackType

    from azure.core.pipeline.transport import HttpRequest

    from vending.http_client import Answer, Http

MAX_ANSWER_BYTES: Final = 256 * 1024
"""An Entra token is 2 KiB; with the claims of a very busy tenant it stays below 16."""
_GRACE_SECONDS: Final = 1.0
"""The call ends by itself in time; this is for an event loop that runs no more."""


class AppTransport(HttpTransport["HttpRequest", "HttpResponse"]):
    """Send azure-identity's requests with `http`, on `loop`; all must be answered within `seconds` from now."""

    def __init__(self, http: Http, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        self._http = http
        self._loop = loop
        self._deadline = time.monotonic() + seconds

    def send(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        """Send `request` and return its whole answer. Raises the two errors that azure-core knows for none."""
        left = max(self._deadline - time.monotonic(), 0.001)
        future = asyncio.run_coroutine_threadsafe(self._request(request, left), self._loop)
        try:
            return _Response(request, future.result(left + _GRACE_SECONDS))
        except (TimedOut, Unreachable) as error:
            raise ServiceRequestError(str(error), error=error) from error
        except NetError as error:
            raise ServiceResponseError(str(error), error=error) from error
        except (TimeoutError, concurrent.futures.CancelledError):  # The loop has stopped, and the app with it.
            future.cancel()
            raise ServiceRequestError("the event loop has stopped") from None

    async def _request(self, request: HttpRequest, seconds: float) -> Answer:
        return await self._http.request(
            request.method,
            request.url,
            headers={name: str(value) for name, value in request.headers.items() if name not in _OF_THE_TRANSFER},
            content=_content(request.data),
            max_bytes=MAX_ANSWER_BYTES,
            timeout_seconds=seconds,
        )

    def open(self) -> None:
        """Do nothing: the client is the app's."""

    def close(self) -> None:
        """Do nothing: the client is the app's."""

    def __exit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        """Do nothing: the client is the app's."""


_OF_THE_TRANSFER: Final = frozenset({"Content-Length", "Connection", "Host", "User-Agent", "Accept-Encoding"})


def _content(data: Any) -> bytes | None:
    if isinstance(data, Mapping):
        return urlencode(data).encode()
    return data.encode() if isinstance(data, str) else data


class _Response(HttpResponse):
    """An answer in the form that azure-core's policies read."""

    def __init__(self, request: HttpRequest, answer: Answer) -> None:
        super().__init__(request, None)
        self.status_code = answer.status
        self.headers = CaseInsensitiveDict(answer.headers)
        self.reason = ""
        self.content_type = answer.headers.get("content-type")
        self._body = _without_nulls(answer.body)

    def body(self) -> bytes:
        """Return the whole body."""
        return self._body


def _without_nulls(body: bytes) -> bytes:
    """Take out members that are null: the libraries ask whether a name is there, and take null for a value."""
    try:
        document = json_object(body)
    except NotJson:
        return body
    kept = present(document)
    return body if len(kept) == len(document) else json.dumps(kept).encode()
