"""HTTP for azure-identity: answers capped in size and in time as a whole, which its own transport does not do.

`requests` limits the silence between two bytes, not the answer: an endpoint that drips or never ends would hold a
thread, or memory, for as long as it likes.
"""

from __future__ import annotations

import io
import time
from typing import TYPE_CHECKING, Any, Final

import requests
import urllib3
from azure.core.pipeline.transport import RequestsTransport
from requests.adapters import HTTPAdapter

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_ANSWER_BYTES: Final = 256 * 1024
"""An Entra token is 2 KiB; with the claims of a very busy tenant it stays below 16."""
_CONNECT_SECONDS: Final = 3.0
_CHUNK_BYTES: Final = 16 * 1024


def capped_transport(seconds: float) -> RequestsTransport:
    """Build a transport whose requests must all be answered within `seconds` from now; close it after use."""
    session = requests.Session()
    adapter = _CappedAdapter(deadline=time.monotonic() + seconds)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return RequestsTransport(session=session)


class _CappedAdapter(HTTPAdapter):
    """Read each answer whole before anyone looks at it, and give up where it is too long or too slow."""

    def __init__(self, *, deadline: float) -> None:
        self._deadline = deadline
        super().__init__(max_retries=0)

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: Any = True,
        cert: Any = None,
        proxies: Mapping[str, str] | None = None,
    ) -> requests.Response:
        """Send `request`; `stream` and `timeout` make no difference, and plain http never goes through a proxy.

        The platform's identity endpoint is plain http on this machine: its secret is nobody else's business.
        """
        left = self._left()
        response = super().send(
            request,
            stream=True,
            timeout=(min(_CONNECT_SECONDS, left), left),
            verify=verify,
            cert=cert,
            proxies=None if str(request.url).startswith("http://") else dict(proxies or {}),
        )
        try:
            return self._whole(request, response)
        finally:
            response.close()

    def _whole(self, request: requests.PreparedRequest, response: requests.Response) -> requests.Response:
        raw = response.raw
        raw.enforce_content_length = True
        body = bytearray()
        try:
            while chunk := raw.read1(_CHUNK_BYTES, decode_content=True):
                body += chunk
                if len(body) > MAX_ANSWER_BYTES:
                    raise requests.exceptions.ConnectionError("the answer is too large")
                self._left()
        except urllib3.exceptions.HTTPError as error:
            raise requests.exceptions.ConnectionError(type(error).__name__) from None
        headers = {name: value for name, value in raw.headers.items() if name.lower() not in _OF_THE_TRANSFER}
        whole = urllib3.HTTPResponse(
            body=io.BytesIO(bytes(body)),
            headers=headers,
            status=raw.status,
            reason=raw.reason,
            preload_content=False,
        )
        return self.build_response(request, whole)

    def _left(self) -> float:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise requests.exceptions.ReadTimeout("no complete answer in time")
        return left


_OF_THE_TRANSFER: Final = frozenset({"content-encoding", "content-length", "transfer-encoding", "connection"})
