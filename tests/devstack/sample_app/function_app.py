"""A small function app whose answers tell what the host gave it; only the tests of the host use it."""

import asyncio
import json
import logging
import os
from typing import Any

import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)
IMPORTED_IN_A_LOOP = asyncio.get_running_loop() is not None
_finished: list[str] = []


def _told(name: str, req: func.HttpRequest, **more: Any) -> func.HttpResponse:
    body = {
        "function": name,
        "method": req.method,
        "url": req.url,
        "headers": dict(req.headers),
        "params": dict(req.params),
        "route": dict(req.route_params),
        "body": req.get_body().decode("latin-1"),
        **more,
    }
    return func.HttpResponse(json.dumps(body), mimetype="application/json")


@app.function_name("b_literal")
@app.route("things/special")
async def literal(req: func.HttpRequest) -> func.HttpResponse:
    """Answer a path that `a_parameter`, which sorts before it, matches too."""
    return _told("b_literal", req)


@app.function_name("a_parameter")
@app.route("things/{name}")
async def parameter(req: func.HttpRequest) -> func.HttpResponse:
    """Answer any one segment below things."""
    return _told("a_parameter", req)


@app.function_name("c_number")
@app.route("numbers/{id:int}/{rest?}")
async def number(req: func.HttpRequest) -> func.HttpResponse:
    """Answer whole numbers only."""
    return _told("c_number", req)


@app.function_name("d_get_only")
@app.route("get-only", methods=["GET"])
async def get_only(req: func.HttpRequest) -> func.HttpResponse:
    """Answer GET; the platform refuses the rest."""
    return _told("d_get_only", req)


@app.function_name("e_sync")
@app.route("sync")
def in_a_thread(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    """Answer from a thread, with the invocation's context."""
    try:
        asyncio.get_running_loop()
        on_the_loop = True
    except RuntimeError:
        on_the_loop = False
    names = {"name": context.function_name, "id": context.invocation_id, "on_the_loop": on_the_loop}
    return _told("e_sync", req, context=names, imported_in_a_loop=IMPORTED_IN_A_LOOP)


@app.function_name("f_raise")
@app.route("raise")
async def fail(req: func.HttpRequest) -> func.HttpResponse:
    """Fail without catching."""
    raise ValueError("nobody caught this one")


@app.function_name("g_files")
@app.route("files/{*path}")
async def files(req: func.HttpRequest) -> func.HttpResponse:
    """Answer everything below files."""
    return _told("g_files", req)


@app.function_name("h_slow")
@app.route("slow")
async def slow(req: func.HttpRequest) -> func.HttpResponse:
    """Take a moment, and remember having come to the end."""
    await asyncio.sleep(0.5)
    _finished.append(req.params["id"])
    return func.HttpResponse("done")


@app.function_name("i_finished")
@app.route("finished")
async def finished(req: func.HttpRequest) -> func.HttpResponse:
    """List what `slow` has finished."""
    return func.HttpResponse(json.dumps(_finished), mimetype="application/json")


@app.function_name("j_headers")
@app.route("headers")
async def headers(req: func.HttpRequest) -> func.HttpResponse:
    """Answer with a status and headers of its own."""
    return func.HttpResponse(b"teapot", status_code=418, headers={"X-Own": "yes", "Content-Type": "text/x-tea"})


@app.function_name("k_text")
@app.route("text")
async def text(req: func.HttpRequest) -> str:
    """Return a plain string, which the worker allows."""
    return "plain"


@app.function_name("l_environment")
@app.route("environment")
async def environment(req: func.HttpRequest) -> func.HttpResponse:
    """Tell the settings that the platform makes."""
    logging.getLogger("sample").info("the environment was asked for")
    names = ("WEBSITE_HOSTNAME", "VENDING_PUBLIC_URL", "AzureWebJobsDisableHomepage")
    return func.HttpResponse(json.dumps({name: os.environ.get(name) for name in names}), mimetype="application/json")
