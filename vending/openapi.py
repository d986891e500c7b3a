"""The OpenAPI 3.1 description of the HTTP interface, built from the catalogue of refusals. Serves nothing itself."""

from __future__ import annotations

from functools import cache
from typing import Any, Final

from vending import responses
from vending.errors import CATALOGUE, Reason
from vending.request import ACCESS_TOKEN_TYPE, GRANT_TYPE, MEDIA_TYPE, SUBJECT_TOKEN_TYPES
from vending.shapes import schema_of

_REQUEST_ID: Final = {
    "description": "The caller's own X-Request-Id where it was usable, else a new one.",
    "schema": {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$"},
}
_HEADERS: Final = {
    "X-Request-Id": _REQUEST_ID,
    "Cache-Control": {"schema": {"const": "no-store"}},
    "Pragma": {"schema": {"const": "no-cache"}},
    "X-Content-Type-Options": {"schema": {"const": "nosniff"}},
}
_RETRY_AFTER: Final = {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 1}}}

_STATUS_TEXT: Final = {
    400: "The request, the token or what it asks for is not acceptable.",
    401: "The token in the Authorization header is not acceptable.",
    404: "There is nothing at this path.",
    405: "The method is not one of those in Allow.",
    413: "The body is too large.",
    415: "The body is not a form.",
    429: "This caller sends too many requests.",
    500: "An unexpected error.",
    502: "Entra ID or the registry refused the service, or answered what it cannot hand on.",
    503: "Something that the service needs does not answer.",
    504: "The request took longer than the deadline.",
}


def document(public_url: str, version: str) -> dict[str, Any]:
    """Build the description for a service at `public_url`."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "ACR Token Vending",
            "version": version,
            "summary": "Trade a CI job's OIDC token for a short-lived Azure Container Registry token.",
        },
        "servers": [{"url": public_url}],
        "paths": {
            "/token": {"post": _exchange("vendToken", "Vend a registry token (RFC 8693)", "Token")},
            "/explain": {"post": _exchange("explainToken", "Explain what /token would decide", "Explanation")},
            "/.well-known/oauth-authorization-server": {
                "get": _read("metadata", "Authorization server metadata (RFC 8414)", "Metadata", 503)
            },
            "/openapi.json": {"get": _read("openapi", "This document", "Document")},
            "/healthz": {"get": _read("healthz", "Report whether the app is alive", "Health")},
            "/readyz": {"get": _ready()},
        },
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {
                "subjectToken": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": "The OIDC token of the CI job, instead of the parameter subject_token.",
                }
            },
        },
    }


def _exchange(operation: str, summary: str, schema: str) -> dict[str, Any]:
    statuses = sorted({entry.status for entry in CATALOGUE.values()} - {404, 405} | {401})
    return {
        "operationId": operation,
        "summary": summary,
        "security": [{}, {"subjectToken": []}],
        "parameters": [_REQUEST_ID_PARAMETER],
        "requestBody": {"required": True, "content": {MEDIA_TYPE: {"schema": _ref("Exchange")}}},
        "responses": {
            "200": _answer("Granted." if schema == "Token" else "Explained.", schema),
            **{str(status): _error(status) for status in statuses},
        },
    }


def _read(operation: str, summary: str, schema: str, *errors: int) -> dict[str, Any]:
    return {
        "operationId": operation,
        "summary": summary,
        "security": [{}],
        "parameters": [_REQUEST_ID_PARAMETER],
        "responses": {
            "200": _answer("The answer.", schema),
            **{str(status): _error(status) for status in (*errors, 500)},
        },
    }


def _ready() -> dict[str, Any]:
    operation = _read("readyz", "Report whether a fresh policy is in force", "Readiness")
    operation["responses"]["503"] = _answer("No policy is in force, or it is too old.", "Unreadiness")
    return operation


def _answer(description: str, schema: str) -> dict[str, Any]:
    return {
        "description": description,
        "headers": _HEADERS,
        "content": {"application/json": {"schema": _ref(schema)}},
    }


def _error(status: int) -> dict[str, Any]:
    reasons = [reason.value for reason, entry in CATALOGUE.items() if _may_answer(entry.status, status, reason)]
    answer = _answer(_STATUS_TEXT[status], "Error")
    answer["description"] += f" Reasons: {', '.join(reasons)}."
    if status in {429, 503}:
        answer["headers"] = {**_HEADERS, **_RETRY_AFTER}
    if status == 401:
        answer["headers"] = {**_HEADERS, "WWW-Authenticate": {"schema": {"type": "string"}}}
    return answer


def _may_answer(own: int, status: int, reason: Reason) -> bool:
    return own == status or (status == 401 and CATALOGUE[reason].about_token)


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


_REQUEST_ID_PARAMETER: Final = {
    "name": "X-Request-Id",
    "in": "header",
    "required": False,
    "description": "Names the request in answers and logs; kept when it is 1 to 64 of A-Z a-z 0-9 . _ -",
    "schema": {"type": "string"},
}


_EXCHANGE: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["grant_type"],
    "properties": {
        "grant_type": {"type": "string", "enum": [GRANT_TYPE]},
        "subject_token": {"type": "string", "maxLength": 16384, "description": "The CI job's OIDC token."},
        "subject_token_type": {"type": "string", "enum": sorted(SUBJECT_TOKEN_TYPES)},
        "requested_token_type": {"type": "string", "enum": [ACCESS_TOKEN_TYPE]},
        "audience": {"type": "string", "description": "The registry: its name, login server or one of its hosts."},
        "resource": {"type": "string", "description": "The registry as https://<host>."},
        "scope": {
            "type": "string",
            "description": "Space-delimited scopes; left out: everything that the policy grants by name.",
            "examples": ["repository:web/api:pull,push"],
        },
    },
}


@cache
def _schemas() -> dict[str, Any]:
    """Build the schemas, once: of the parameters by hand, of the answers from their shapes."""
    shapes = (responses.Token, responses.Explanation, responses.Metadata, responses.Health, responses.Readiness)
    unready = schema_of(responses.Unreadiness, closed=False)
    unready["properties"] |= {
        "reason": {"const": Reason.POLICY_UNAVAILABLE.value},
        "error": {"const": "temporarily_unavailable"},
    }
    return {
        "Exchange": _EXCHANGE,
        **{shape.__name__: schema_of(shape, closed=False) for shape in shapes},
        "Unreadiness": unready,
        "Error": schema_of(responses.Error, closed=False, optional=("error_uri", "missing")),
        "Document": {"type": "object"},
    }
