"""Step 1, the shape of a `/token` or `/explain` request: media type, size, parameters, scopes. No I/O, no crypto.

The request is an RFC 8693 token exchange; registries are named with `audience` or `resource` (RFC 8707).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote_to_bytes

from vending.acr import scope as scopes
from vending.acr.scope import Scope
from vending.errors import Reason, Refusal, quote
from vending.oidc.types import RawToken

GRANT_TYPE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS_TOKEN_TYPE: Final = "urn:ietf:params:oauth:token-type:access_token"
SUBJECT_TOKEN_TYPES: Final = frozenset(
    {"urn:ietf:params:oauth:token-type:jwt", "urn:ietf:params:oauth:token-type:id_token"}
)
MEDIA_TYPE: Final = "application/x-www-form-urlencoded"

MAX_BODY_BYTES: Final = 64 * 1024
"""Four times the largest subject token: room for percent-encoding and for every scope that a request may have."""
MAX_PARAMETERS: Final = 100
"""An exchange has a dozen parameters; a body of 64 KiB could hold ten thousand."""
MAX_SCOPES: Final = 128
"""The highest limit that a policy can set; checked before there is a policy to ask."""

_BROKEN_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_TRAILING: Final = " \t\r\n"
"""What editors and `echo` leave behind a token in a file, and a client sends along."""
_REGISTRY_PARAMETERS: Final = ("audience", "resource")


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """Hold a well-formed request. `scopes` is None where the caller leaves the choice to the policy."""

    subject_token: RawToken = field(repr=False)
    token_in_header: bool
    audience: str | None
    resource: str | None
    scopes: tuple[Scope, ...] | None
    scope_count: int
    """How many scopes were written, before any were merged."""


def parse(*, query: str, content_type: str | None, body: bytes, authorization: str | None) -> TokenRequest:
    """Check the shape of a request and take it apart.

    `query` is the part after the `?` of the URL; `authorization` is the header's value. `body` is empty where the
    caller sent it chunked: the Functions host reads a body only by its `Content-Length`. Raises `Refusal` with the
    reasons of the shape: `malformed_request` to `unsupported_grant_type`, and those of scopes.
    """
    if len(body) > MAX_BODY_BYTES:
        raise Refusal(Reason.BODY_TOO_LARGE)
    _check_media_type(content_type)
    if query:
        raise Refusal(
            Reason.MALFORMED_REQUEST,
            "Send the parameters in the body: a query string would leave the token in every log on the way.",
        )
    if not body:
        raise Refusal(
            Reason.MISSING_PARAMETER,
            "The body arrived empty; send the form with a Content-Length, because the platform drops a chunked body.",
        )
    form = parse_form(body)
    for name in ("actor_token", "actor_token_type"):
        if name in form:
            raise Refusal(Reason.MALFORMED_REQUEST, f"Leave out {name}: this service does not support delegation.")
    _check_grant_type(form.get("grant_type"))
    token, in_header = _subject_token(_trimmed(form.get("subject_token", "")), authorization)
    _check_token_types(form)
    written = form.get("scope")
    count = 0 if written is None else scopes.count(written)
    if count > MAX_SCOPES:
        raise Refusal(Reason.TOO_MANY_SCOPES, f"Ask for at most {MAX_SCOPES} scopes in one request.")
    return TokenRequest(
        subject_token=token,
        token_in_header=in_header,
        audience=form.get("audience"),
        resource=form.get("resource"),
        scopes=None if written is None else scopes.parse(written),
        scope_count=count,
    )


def parse_form(body: bytes) -> dict[str, str]:
    """Parse a form body strictly: UTF-8, no broken escapes, each name once. Empty values count as absent.

    Raises `Refusal` with `malformed_request`, `duplicate_parameter` or `multiple_registries`.
    """
    if _BROKEN_ESCAPE.search(body):
        raise Refusal(Reason.MALFORMED_REQUEST, "The form body has a broken percent escape; encode it again.")
    if body.count(b"&") >= MAX_PARAMETERS:
        raise Refusal(Reason.MALFORMED_REQUEST, f"Send at most {MAX_PARAMETERS} parameters.")
    form: dict[str, str] = {}
    for pair in body.replace(b"+", b" ").split(b"&"):
        if not pair:
            continue
        name, _, value = pair.partition(b"=")
        try:
            key, text = unquote_to_bytes(name).decode(), unquote_to_bytes(value).decode()
        except UnicodeDecodeError:
            raise Refusal(Reason.MALFORMED_REQUEST, "The form body is not UTF-8; encode it again.") from None
        if key in form:
            if key in _REGISTRY_PARAMETERS:
                raise Refusal(Reason.MULTIPLE_REGISTRIES, f"Name one registry: {key} is given more than once.")
            raise Refusal(Reason.DUPLICATE_PARAMETER, f"Send {quote(key)} once.")
        form[key] = text
    return {name: value for name, value in form.items() if value}


def _check_media_type(content_type: str | None) -> None:
    media_type, _, parameters = (content_type or "").partition(";")
    charset = parameters.strip().lower()
    if media_type.strip().lower() != MEDIA_TYPE or charset not in {"", "charset=utf-8", 'charset="utf-8"'}:
        raise Refusal(Reason.UNSUPPORTED_MEDIA_TYPE)


def _check_grant_type(value: str | None) -> None:
    if value is None:
        raise Refusal(Reason.MISSING_PARAMETER, f"Add grant_type={GRANT_TYPE}.")
    if value != GRANT_TYPE:
        raise Refusal(Reason.UNSUPPORTED_GRANT_TYPE)


def _check_token_types(form: dict[str, str]) -> None:
    subject = form.get("subject_token_type")
    if subject is not None and subject not in SUBJECT_TOKEN_TYPES:
        raise Refusal(
            Reason.UNSUPPORTED_TOKEN_TYPE,
            f"Leave subject_token_type out, or use one of {' and '.join(sorted(SUBJECT_TOKEN_TYPES))}.",
        )
    if form.get("requested_token_type", ACCESS_TOKEN_TYPE) != ACCESS_TOKEN_TYPE:
        raise Refusal(Reason.UNSUPPORTED_TOKEN_TYPE, f"Leave requested_token_type out, or make it {ACCESS_TOKEN_TYPE}.")


def _trimmed(token: str) -> str:
    """Remove white space after a token from a file; a token of white space alone is none."""
    return token.rstrip(_TRAILING) if token.strip() else ""


def _subject_token(in_body: str, authorization: str | None) -> tuple[RawToken, bool]:
    scheme, _, credentials = (authorization or "").strip().partition(" ")
    in_header = credentials.strip() if scheme.lower() == "bearer" else ""
    if in_body and in_header and in_body != in_header:
        raise Refusal(Reason.CONFLICTING_TOKENS)
    token = in_body or in_header
    if not token:
        raise Refusal(Reason.MISSING_PARAMETER, "Add subject_token: the OIDC token that your CI platform issued.")
    return RawToken(token), not in_body
