"""Drive the real Azure Functions worker library, as its host would, without gRPC. Run by another interpreter.

`python worker_driver.py` reads one JSON document from standard input, `{"app": directory, "invocations": […]}`, and
writes one: the functions that the library indexed and the response of each invocation (see `devstack.host.runtime`). It
needs nothing but `azure-functions-runtime`, whose protobuf classes are injected: plain objects do.
"""

import asyncio
import base64
import importlib
import json
import sys
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


async def _invoke(runtime: Any, metadata: Any, call: Mapping[str, Any]) -> dict[str, Any]:
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
    response = await runtime.invocation_request(_request(invocation_request=invocation))
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

    runtime.start_threadpool_executor()
    sys.path.insert(0, job["app"])
    start = SimpleNamespace(capabilities={}, function_app_directory=job["app"])
    _checked(await runtime.worker_init_request(_request(worker_init_request=start)))
    indexed = _checked(await runtime.functions_metadata_request(_request())).function_metadata_results or []
    by_name = {metadata.name: metadata for metadata in indexed}
    for metadata in indexed:
        load = SimpleNamespace(function_id=metadata.function_id)
        _checked(await runtime.function_load_request(_request(function_load_request=load)))
    results = [await _invoke(runtime, by_name[call["function"]], call) for call in job["invocations"]]
    functions = [{"name": m.name, "bindings": [json.loads(raw) for raw in m.raw_bindings]} for m in indexed]
    return {"python": sys.version.split()[0], "functions": functions, "results": results}


if __name__ == "__main__":
    json.dump(asyncio.run(_drive(json.load(sys.stdin))), sys.stdout)
