"""Drive the real Azure Functions worker library, as its host would, without gRPC. Run by another interpreter.

`python worker_driver.py` reads one JSON document from standard input, `{"app": directory, "invocations": […]}`, and
writes one: the functions that the library indexed, the response of each invocation and the log records that the host
would forward (see `devstack.host.runtime`; `devstack.host.forwarding` names the rule's sources). It needs nothing but
`azure-functions-runtime`, whose protobuf classes are injected: plain objects do.
"""

import asyncio
import base64
import contextvars
import importlib
import json
import logging
import sys
import threading
import uuid
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any


class Message:
    """Stands for any protobuf message: unset fields are None, and `WhichOneof` names the first that is set."""

    def __init__(self, **fields: Any) -> None:
        self.__dict__.update(fields)

    def __getattr__(self, name: str) -> None:
        if name.startswith("__") or name == "TypedData":
            raise AttributeError(name)

    def WhichOneof(self, _group: str) -> str | None:  # noqa: N802 - protobuf's name
        """Return the name of the first field that is set."""
        return next((name for name, value in vars(self).items() if value is not None), None)


class BindingInfo(Message):
    """The binding message with its enumerations: directions and data types."""

    undefined, string, binary, stream = range(4)
    out, inout = 1, 2


setattr(BindingInfo, "in", 0)


class StatusResult(Message):
    """The status message with its enumeration."""

    Failure, Success = range(2)


class _Protos:
    """The injected protobuf module: every other message is a plain one."""

    BindingInfo = BindingInfo
    StatusResult = StatusResult

    def __getattr__(self, _name: str) -> type[Message]:
        return Message


PROTOS = _Protos()


def _request(**content: Any) -> SimpleNamespace:
    return SimpleNamespace(request=SimpleNamespace(**content), properties={"host": "127.0.0.1", "protos": PROTOS})


_invocation: contextvars.ContextVar[str | None] = contextvars.ContextVar("invocation", default=None)


class Forwarded(logging.Handler):
    """Keeps the messages of records that name a running invocation; the handlers of the functions are async."""

    def __init__(self) -> None:
        super().__init__()
        self.running: set[str] = set()
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record, or drop it."""
        # The proxy worker, for which this driver stands, marks an invocation's task and those that it creates. A thread
        # has a copy of the context and yet no invocation.
        if _invocation.get() in self.running and threading.current_thread() is threading.main_thread():
            self.messages.append(record.getMessage())


def _checked(response: Any) -> Any:
    if response.result.status != StatusResult.Success:
        raise SystemExit(f"{response.result.exception.message}\n{response.result.exception.stack_trace}")
    return response


def _typed_http(call: Mapping[str, Any], body: bytes) -> Message:
    http = Message(
        method=call["method"],
        url=call["url"],
        headers=call["headers"],
        query=call["query"],
        params=call["route"],
        body=Message(bytes=body),
    )
    return Message(http=http)


async def _invoke(runtime: Any, metadata: Any, call: Mapping[str, Any], log: Forwarded) -> dict[str, Any]:
    trigger = next(json.loads(raw) for raw in metadata.raw_bindings if json.loads(raw)["type"] == "httpTrigger")
    data = _typed_http(call, base64.b64decode(call["body"]))
    invocation = SimpleNamespace(
        invocation_id=str(uuid.uuid4()),
        function_id=metadata.function_id,
        input_data=[Message(data=data, name=trigger["name"])],  # WhichOneof must see `data` first
        trigger_metadata={},
        trace_context=SimpleNamespace(trace_parent="", trace_state="", attributes={}),
        retry_context=SimpleNamespace(retry_count=0, max_retry_count=0, exception=None),
    )
    log.running.add(invocation.invocation_id)
    token = _invocation.set(invocation.invocation_id)
    try:
        response = await runtime.invocation_request(_request(invocation_request=invocation))
    finally:
        log.running.discard(invocation.invocation_id)
        _invocation.reset(token)
    if response.result.status != StatusResult.Success:
        return {"error": response.result.exception.message}
    answer = response.return_value.http
    body = answer.body.bytes or b""
    return {
        "status": int(answer.status_code),
        "headers": answer.headers,
        "body": base64.b64encode(body).decode(),
    }


async def _drive(job: Mapping[str, Any]) -> dict[str, Any]:
    runtime = importlib.import_module("azure_functions_runtime")

    log = Forwarded()
    logging.getLogger().addHandler(log)
    logging.getLogger().setLevel(logging.INFO)
    runtime.start_threadpool_executor()
    sys.path.insert(0, job["app"])
    start = SimpleNamespace(capabilities={}, function_app_directory=job["app"])
    _checked(await runtime.worker_init_request(_request(worker_init_request=start)))
    indexed = _checked(await runtime.functions_metadata_request(_request())).function_metadata_results or []
    by_name = {metadata.name: metadata for metadata in indexed}
    for metadata in indexed:
        load = SimpleNamespace(function_id=metadata.function_id)
        _checked(await runtime.function_load_request(_request(function_load_request=load)))
    results = [await _invoke(runtime, by_name[call["function"]], call, log) for call in job["invocations"]]
    functions = [{"name": m.name, "bindings": [json.loads(raw) for raw in m.raw_bindings]} for m in indexed]
    return {"python": sys.version.split()[0], "functions": functions, "results": results, "log": log.messages}


if __name__ == "__main__":
    json.dump(asyncio.run(_drive(json.load(sys.stdin))), sys.stdout)
