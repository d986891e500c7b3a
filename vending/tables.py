"""A replay store that all instances share: Azure Table storage over its REST interface, with the app's identity.

One insert is one claim: the service refuses a second entity with the same key atomically (409, `EntityAlreadyExists`).
Reference: the storage documentation's pages "Insert Entity", "Delete Entity" and "Query Entities".
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from vending.errors import Reason, Refusal
from vending.net import Answer, NetError
from vending.oplog import note
from vending.retry import Transient, retrying

if TYPE_CHECKING:
    from vending.clock import Clock
    from vending.net import Http

STORAGE_AUDIENCE: Final = "https://storage.azure.com"
_VERSION: Final = "2020-12-06"
_MAX_BYTES: Final = 1024 * 1024
_ATTEMPT_SECONDS: Final = 4.0
_PURGE_SECONDS: Final = 600.0
_PURGE_BATCH: Final = 100
_PARTITION_DIGITS: Final = 2
"""256 partitions, by the key's first byte: spread over servers, and still few enough to purge."""


@dataclass(frozen=True, slots=True)
class _Entity:
    owner: str
    expires_at: float
    etag: str


class TableStore:
    """Keep claims as entities of one table: partition = first byte of the key, row = the key."""

    def __init__(
        self,
        url: str,
        http: Http,
        clock: Clock,
        storage_token: Callable[[], Awaitable[str]],
        *,
        budget_seconds: float,
    ) -> None:
        self._url = url
        self._http = http
        self._clock = clock
        self._storage_token = storage_token
        self._budget_seconds = budget_seconds
        self._purge_at = clock.monotonic() + _PURGE_SECONDS
        self._purge: asyncio.Task[None] | None = None

    async def claim(self, key: str, owner: str, expires_at: float) -> bool:
        """Insert the entity; where one is in the way, take its place only if it has expired.

        Raises `Refusal` with `replay_store_unavailable`, or an `identity_…` reason.
        """
        self._purge_sometimes()
        entity = json.dumps(
            {
                "PartitionKey": key[:_PARTITION_DIGITS],
                "RowKey": key,
                "Owner": owner,
                "ExpiresAt": str(int(expires_at)),
                "ExpiresAt@odata.type": "Edm.Int64",
            }
        ).encode()
        for _ in range(2):
            answer = await self._call("POST", self._url, content=entity)
            if answer.status in {201, 204}:
                return True
            if answer.status != 409:
                raise self._unusable("claim", answer)
            held = await self._read(key)
            if held is not None and held.owner == owner:
                return True  # An earlier attempt of this very claim got through, and only its answer was lost.
            if held is not None and held.expires_at > self._clock.now():
                return False
            if held is not None:
                await self._delete(key, held.etag)
        return False

    async def release(self, key: str, owner: str) -> None:
        """Delete the entity if `owner` still holds it. Raises `Refusal` with `replay_store_unavailable`."""
        held = await self._read(key)
        if held is not None and held.owner == owner:
            await self._delete(key, held.etag)

    async def is_claimed(self, key: str) -> bool:
        """Tell whether an unexpired entity holds `key`. Raises `Refusal` with `replay_store_unavailable`."""
        held = await self._read(key)
        return held is not None and held.expires_at > self._clock.now()

    async def _read(self, key: str) -> _Entity | None:
        answer = await self._call("GET", self._entity(key))
        if answer.status == 404:
            return None
        if answer.status != 200:
            raise self._unusable("read", answer)
        try:
            body = answer.json_object()
            return _Entity(str(body["Owner"]), float(body["ExpiresAt"]), str(body["odata.etag"]))
        except (ValueError, KeyError, TypeError):
            raise Refusal(Reason.REPLAY_STORE_UNAVAILABLE) from None

    async def _delete(self, key: str, etag: str) -> None:
        answer = await self._call("DELETE", self._entity(key), {"If-Match": etag})
        # 404 and 412: somebody else was faster, which is as good.
        if answer.status not in {204, 404, 412}:
            raise self._unusable("release", answer)

    def _entity(self, key: str) -> str:
        return f"{self._url}(PartitionKey='{key[:_PARTITION_DIGITS]}',RowKey='{key}')"

    async def _call(
        self, method: str, url: str, headers: dict[str, str] | None = None, content: bytes | None = None
    ) -> Answer:
        return await retrying(
            lambda: self._attempt(method, url, headers or {}, content), budget_seconds=self._budget_seconds
        )

    async def _attempt(self, method: str, url: str, headers: dict[str, str], content: bytes | None) -> Answer:
        token = await self._storage_token()
        try:
            answer = await self._http.request(
                method,
                url,
                headers={
                    "Authorization": f"Bearer {token}",
                    "Accept": "application/json;odata=fullmetadata",
                    "Content-Type": "application/json",
                    "Prefer": "return-no-content",
                    "x-ms-version": _VERSION,
                    **headers,
                },
                content=content,
                max_bytes=_MAX_BYTES,
                timeout_seconds=_ATTEMPT_SECONDS,
            )
        except NetError as error:
            note(logging.WARNING, "replay_store_failed", error=str(error))
            raise Transient(Refusal(Reason.REPLAY_STORE_UNAVAILABLE)) from None
        if answer.status in {408, 429} or answer.status >= 500:
            note(logging.WARNING, "replay_store_failed", status=answer.status)
            wait = answer.retry_after(self._clock.now())
            raise Transient(Refusal(Reason.REPLAY_STORE_UNAVAILABLE, retry_after=wait))
        return answer

    def _unusable(self, what: str, answer: Answer) -> Refusal:
        note(logging.ERROR, "replay_store_refused", operation=what, status=answer.status)
        return Refusal(Reason.REPLAY_STORE_UNAVAILABLE)

    def _purge_sometimes(self) -> None:
        if self._clock.monotonic() >= self._purge_at and (self._purge is None or self._purge.done()):
            self._purge_at = self._clock.monotonic() + _PURGE_SECONDS
            self._purge = asyncio.create_task(self._purge_expired())

    async def _purge_expired(self) -> None:
        """Delete some entities that expired; whatever goes wrong is only a delay."""
        condition = quote(f"ExpiresAt lt {int(self._clock.now())}L")
        try:
            answer = await self._call("GET", f"{self._url}()?$filter={condition}&$top={_PURGE_BATCH}")
            rows = answer.json_object().get("value", []) if answer.status == 200 else []
            for row in rows:
                await self._delete(str(row["RowKey"]), str(row["odata.etag"]))
        except (Refusal, ValueError, KeyError, TypeError) as error:
            note(logging.WARNING, "replay_purge_failed", error=type(error).__name__)
