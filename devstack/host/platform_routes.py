"""The paths that the Functions host answers itself, before any function is tried; it knows no app.

From Azure/azure-functions-host, `src/WebJobs.Script.WebHost`: the routes and methods of `Controllers/`, and
`Middleware/VirtualFileSystemMiddleware.cs`. What is no route of the host with this method goes on to the functions.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Reply:
    """A response on its way out."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


_CHALLENGE = Reply(401, {"WWW-Authenticate": "Bearer"})
"""The policies of `Security/Authorization/Policies` challenge with the bearer scheme."""
_PONG = Reply(200, {"Cache-Control": "no-store,no-cache", "Pragma": "no-cache"})
_HEALTHY = Reply(200)

_ROUTES: list[tuple[str, str, Reply]] = [
    # HostController
    (r"admin/host/ping", "GET POST", _PONG),
    (r"admin/host/(?:status|processes|drain/status|config)", "GET", _CHALLENGE),
    (r"admin/host/(?:drain|resume|scale/status|log|debug|synctriggers|restart)", "POST", _CHALLENGE),
    (r"admin/host/state", "PUT", _CHALLENGE),
    (r"runtime/webhooks/[^/]+(?:/.*)?", "GET PUT POST DELETE OPTIONS", _CHALLENGE),
    # KeysController
    (r"admin/host/(?:keys|functionkeys|systemkeys)", "GET", _CHALLENGE),
    (r"admin/host/(?:keys|functionkeys|systemkeys)/[^/]+", "GET POST PUT DELETE", _CHALLENGE),
    (r"admin/functions/[^/]+/keys", "GET", _CHALLENGE),
    (r"admin/functions/[^/]+/keys/[^/]+", "GET POST PUT DELETE", _CHALLENGE),
    # FunctionsController
    (r"admin/functions", "GET", _CHALLENGE),
    (r"admin/functions/[^/]+", "GET PUT POST DELETE", _CHALLENGE),
    (r"admin/functions/[^/]+/status", "GET", _CHALLENGE),
    # ExtensionsController, ExtensionBundleController
    (r"admin/host/extensions", "GET POST PUT", _CHALLENGE),
    (r"admin/host/extensions/[^/]+", "DELETE", _CHALLENGE),
    (r"admin/host/extensions/jobs(?:/[^/]+)?", "GET", _CHALLENGE),
    (r"admin/host/extensionBundle/v1/(?:templates|bindings|resources(?:\.[^/]+)?)", "GET", _CHALLENGE),
    # InstanceController, KubernetesPodController
    (r"admin/instance/http-health", "GET", _HEALTHY),
    (r"admin/instance/info", "GET", _CHALLENGE),
    (r"admin/instance/assign", "POST", _CHALLENGE),
    (r"admin/pod/assign", "POST", _CHALLENGE),
]
_COMPILED = [
    (re.compile(f"/{path}/?", re.IGNORECASE), frozenset(methods.split()), reply) for path, methods, reply in _ROUTES
]
_VIRTUAL_FILES = re.compile(r"/admin/vfs(?:/.*)?", re.IGNORECASE)
_OWN = re.compile(r"/(?:admin|runtime)/", re.IGNORECASE)


def answer(method: str, path: str) -> Reply | None:
    """Return the host's own answer to a request without a key, or None when it is the functions' turn."""
    if not _OWN.match(path):
        return None
    if _VIRTUAL_FILES.fullmatch(path):
        return Reply(401)  # This middleware sets the status only: no challenge, and whatever the method is.
    for pattern, methods, reply in _COMPILED:
        if method.upper() in methods and pattern.fullmatch(path):
            return reply
    return None
