"""A replay store that all instances share: Azure Table storage over its REST interface, with the app's identity.

One insert is one claim: the service refuses a second entity with the same key atomically (409, `EntityAlreadyExists`).
Reference: the pages "Insert Entity", "Delete Entity", "Query Entities" and "Query timeout and pagination" of the Azure
Storage REST documentation.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import random
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from email.utils import formatdate
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

from vending.errors import Reason, Refusal
from vending.http_client import Answer, NetError, Unanswered
from vending.operations_log import note
from vending.retry import Transient, retrying

if TYPE_CHECKING:
    from vending.clock import Clock
    from vending.http_client import Http

_VERSION: Final = "2020-12-06"
"""The first version of the Table service that takes Entra tokens."""
_MAX_BYTES: Final = 2 * 1024 * 1024
"""A page of 1,000 entities with full metadata stays below 1 MiB."""
_ATTEMPT_SECONDS: Final = 4.0
_CLAIM_ROUNDS: Final = 3
"""Each round may find that a claim in the way is gone the moment after; three losses in a row are somebody's claim."""
_PARTITION_DIGITS: Final = 2
"""256 partitions, by the key's first byte: spread over servers, and no claim waits for another one's partition."""

_PURGE_SECONDS: Final = 600.0
_LONGEST_PURGE_SECONDS: Final = 4 * 3600.0
_WORTH_A_SEARCH: Final = 5_000
"""Claims. A search reads the whole table; an instance that found fewer to delete waits twice as long for its next one.
So however many instances there are, the table is searched about once for so many claims."""
_PURGE_LIMIT_SECONDS: Final = 120.0
_PURGE_MARGIN_SECONDS: Final = 600.0
"""Claims are deleted this long after they expired: an instance whose clock is behind must still find them."""
_PURGE_PARALLEL: Final = 8

_KEY: Final = re.compile(r"[0-9a-f]{64}")


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
        # Instances that start together must not all purge at the same moment.
        self._purge_at = clock.monotonic() + _PURGE_SECONDS * random.random()  # noqa: S311 - no secret
        self._purge_pause = _PURGE_SECONDS
        self._purging: asyncio.Task[None] | None = None

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
                "ExpiresAt": str(math.ceil(expires_at)),
                "ExpiresAt@odata.type": "Edm.Int64",
            }
        ).encode()
        for _ in range(_CLAIM_ROUNDS):
            answer = await self._call("POST", self._url, content=entity)
            if answer.status in {201, 204}:
                return True
            if not _already_exists(answer):
                raise _unusable("claim", answer)
            held = await self._read(key)
            if held is None:
                continue  # Given back, or purged, between the two calls.
            if held.owner == owner:
                return True  # An earlier attempt of this very claim got through, and only its answer was lost.
            now = self._clock.now()
            if held.expires_at > now or expires_at <= now:
                return False  # A claim that is over itself, by a clock that jumped, takes nobody's place.
            await self._delete(key, held.etag)
        return False

    async def release(self, key: str, owner: str) -> None:
        """Delete the entity if `owner` still holds it. Raises `Refusal` with `replay_store_unavailable`."""
        held = await self._read(key)
        if held is not None and held.owner == owner:
            await self._delete(key, held.etag)

    async def is_claimed(self, key: str) -> bool:
        """Return whether an unexpired entity holds `key`. Raises `Refusal` with `replay_store_unavailable`."""
        held = await self._read(key)
        return held is not None and held.expires_at > self._clock.now()

    async def purge(self) -> int:
        """Delete the claims that expired ten minutes ago or earlier; return how many. May raise `Refusal`."""
        deleted = 0
        async for expired in self._expired():
            for start in range(0, len(expired), _PURGE_PARALLEL):
                batch = expired[start : start + _PURGE_PARALLEL]
                await asyncio.gather(*(self._delete(key, etag) for key, etag in batch))
                deleted += len(batch)
        return deleted

    async def _read(self, key: str) -> _Entity | None:
        answer = await self._call("GET", self._entity(key))
        if answer.status == 404 and _error_code(answer) != "TableNotFound":
            return None
        if answer.status != 200:
            raise _unusable("read", answer)
        try:
            body = answer.json_object()
            return _Entity(str(body["Owner"]), float(body["ExpiresAt"]), str(body["odata.etag"]))
        except (ValueError, KeyError, TypeError):
            raise _unusable("read", answer) from None

    async def _delete(self, key: str, etag: str) -> None:
        answer = await self._call("DELETE", self._entity(key), {"If-Match": etag})
        # 404 and 412: somebody else was faster, which is as good.
        if answer.status not in {204, 404, 412}:
            raise _unusable("delete", answer)

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
                    "DataServiceVersion": "3.0",
                    "MaxDataServiceVersion": "3.0",
                    "Prefer": "return-no-content",
                    "x-ms-date": formatdate(self._clock.now(), usegmt=True),
                    "x-ms-version": _VERSION,
                    **headers,
                },
                content=content,
                max_bytes=_MAX_BYTES,
                timeout_seconds=_ATTEMPT_SECONDS,
            )
        except NetError as error:
            note(logging.WARNING, "replay_store_failed", error=str(error), cause=error.cause)
            raise Transient(Unanswered(Reason.REPLAY_STORE_UNAVAILABLE, error)) from None
        if answer.status in {408, 429} or answer.status >= 500:
            note(logging.WARNING, "replay_store_failed", status=answer.status)
            wait = answer.retry_after(self._clock.now())
            raise Transient(Refusal(Reason.REPLAY_STORE_UNAVAILABLE, retry_after=wait))
        return answer

    async def _expired(self) -> AsyncIterator[list[tuple[str, str]]]:
        """Page through keys and ETags of what may be deleted. A page may be empty and still not be the last."""
        before = int(self._clock.now() - _PURGE_MARGIN_SECONDS)
        query = {"$filter": f"ExpiresAt lt {before}L"}
        while True:
            answer = await self._call("GET", f"{self._url}()?{urlencode(query)}")
            if answer.status != 200:
                raise _unusable("purge", answer)
            try:
                rows = [(str(row["RowKey"]), str(row["odata.etag"])) for row in answer.json_object()["value"]]
            except (ValueError, KeyError, TypeError):
                raise _unusable("purge", answer) from None
            yield [(key, etag) for key, etag in rows if _KEY.fullmatch(key)]
            partition = answer.headers.get("x-ms-continuation-nextpartitionkey")
            if not partition:
                return
            query["NextPartitionKey"] = partition
            query["NextRowKey"] = answer.headers.get("x-ms-continuation-nextrowkey", "")

    def _purge_sometimes(self) -> None:
        if self._clock.monotonic() >= self._purge_at and (self._purging is None or self._purging.done()):
            self._purging = asyncio.create_task(self._purge_in_background())

    async def _purge_in_background(self) -> None:
        """Purge for a while; whatever goes wrong is only a delay."""
        try:
            async with asyncio.timeout(_PURGE_LIMIT_SECONDS):
                deleted = await self.purge()
        except (Refusal, TimeoutError) as error:
            note(logging.WARNING, "replay_purge_failed", error=str(error) or type(error).__name__)
        else:
            longer = min(2 * self._purge_pause, _LONGEST_PURGE_SECONDS)
            self._purge_pause = _PURGE_SECONDS if deleted >= _WORTH_A_SEARCH else longer
        finally:
            self._purge_at = self._clock.monotonic() + self._purge_pause


def _already_exists(answer: Answer) -> bool:
    # A table that is being deleted is a 409 too, and no claim.
    return answer.status == 409 and _error_code(answer) == "EntityAlreadyExists"


def _error_code(answer: Answer) -> str:
    """Read the code of an error answer ("Status and error codes" of the Table service); empty if there is none."""
    try:
        code = answer.json_object()["odata.error"]["code"]
    except (ValueError, KeyError, TypeError):
        return ""
    return code[:64] if isinstance(code, str) else ""


def _unusable(what: str, answer: Answer) -> Refusal:
    note(logging.ERROR, "replay_store_refused", operation=what, status=answer.status, code=_error_code(answer))
    return Refusal(Reason.REPLAY_STORE_UNAVAILABLE)
