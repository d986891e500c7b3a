"""Why an identity got no token. Apart from `library`, so that nobody imports azure-identity to catch it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vending.connection import Cause


class NoToken(Exception):
    """No token was to be had. Everything here is safe to log: the library's own text may quote secrets, and is dropped.

    `status` is the last HTTP status that was heard, None where there was none; `network` tells whether that is because
    nobody answered, and `cause` why nobody did. `by_platform` says that the status is the identity endpoint's rather
    than Entra's. `entra_error` is Entra's code (AADSTS…), `retry_after` is in seconds.
    """

    def __init__(
        self,
        error: str,
        *,
        status: int | None,
        by_platform: bool,
        network: bool,
        cause: Cause | None,
        entra_error: str | None,
        retry_after: float | None,
    ) -> None:
        self.error = error
        self.status = status
        self.by_platform = by_platform
        self.network = network
        self.cause = cause
        self.entra_error = entra_error
        self.retry_after = retry_after
        super().__init__(error)
