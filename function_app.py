"""The Azure Functions entry point: one FunctionApp that registers the service's functions, and nothing else.

An exception here would leave an empty 404 on every path and no record of it: the worker reports no functions, and the
host goes on without any (Azure/azure-functions-python-worker, issue 1338). So whatever the start raises becomes one
function that answers everything with 503 and logs why; standard error, which the host forwards too, says it once.
"""

import json
import logging
import os
import re
import sys
import traceback
import uuid
from pathlib import Path

import azure.functions as func

failure: BaseException | None = None
"""What the start raised. Whoever runs the app without the platform ends with it."""

_BODY = {
    "error": "temporarily_unavailable",
    "error_description": "The service is not set up correctly; tell its operator, whose log says what is wrong.",
    "reason": "misconfigured",
}
_HEADERS = {"Cache-Control": "no-store", "Pragma": "no-cache", "X-Content-Type-Options": "nosniff"}
# Copies from vending/errors.py and vending/http.py, neither of which may be importable here. A test compares them.


def _register_service() -> func.FunctionApp:
    from vending.http import blueprint

    service = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)
    service.register_functions(blueprint(os.environ))
    return service


def _register_misconfigured(message: str) -> func.FunctionApp:
    async def answer(req: func.HttpRequest) -> func.HttpResponse:
        logging.getLogger("vending.operations").error("%s", json.dumps({"event": "misconfigured", "error": message}))
        given = req.headers.get("X-Request-Id", "")
        request_id = given if re.fullmatch("[A-Za-z0-9._-]{1,64}", given) else str(uuid.uuid4())
        return func.HttpResponse(
            json.dumps({**_BODY, "request_id": request_id}),
            status_code=503,
            headers={**_HEADERS, "X-Request-Id": request_id},
            mimetype="application/json",
        )

    fallback = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)
    fallback.function_name("zz_fallback")(fallback.route(route="{*path}")(answer))
    return fallback


def _describe(error: BaseException) -> str:
    """Say what is wrong without quoting a value: settings and imports are named, of the rest only type and place."""
    if isinstance(error, ImportError | SyntaxError) or type(error).__name__ == "SettingsError":
        return f"{type(error).__name__}: {error}"
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} in {Path(last.filename).name}:{last.lineno}"


try:
    app = _register_service()
except (Exception, SystemExit) as error:  # noqa: BLE001 - a setting, a package that is missing, a broken file.
    failure = error
    app = _register_misconfigured(_describe(error))
    sys.stderr.write(f"the app cannot start: {_describe(error)}\n")
