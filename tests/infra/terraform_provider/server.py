"""Serve a provider schema to Terraform, so that `validate`, `plan` and `test` run for real without the provider.

It plans creations only: what is computed and not configured is unknown until applied, as with the real provider. It
never applies anything, and it has none of the provider's own value checks. Run by Terraform through `dev_overrides`;
argument: the JSON that schema.py wrote.
"""

from __future__ import annotations

import base64
import json
import re
import sys
import tempfile
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc  # type: ignore[import-untyped]
import msgpack  # type: ignore[import-not-found]
from tf.gen import grpc_controller_pb2 as controller  # type: ignore[import-not-found]
from tf.gen import grpc_controller_pb2_grpc as controller_rpc
from tf.gen import grpc_stdio_pb2_grpc as stdio_rpc
from tf.gen import tfplugin_pb2 as pb
from tf.gen import tfplugin_pb2_grpc as rpc
from tf.runner import _self_signed_cert  # type: ignore[import-not-found]

UNKNOWN = msgpack.ExtType(0, b"\0")
SECRET = re.compile(r"(_key|connection_string|password)$")
NESTING = {"single": 1, "list": 2, "set": 3, "map": 4}


def block(schema: dict[str, Any]) -> Any:
    """Turn the JSON schema of a block into the wire form; computed keys and connection strings are sensitive."""
    return pb.Schema.Block(
        attributes=[
            pb.Schema.Attribute(
                name=name,
                type=json.dumps(attribute["type"]).encode(),
                required=attribute["required"],
                optional=attribute["optional"] or not (attribute["required"] or attribute["computed"]),
                computed=attribute["computed"],
                sensitive=attribute["computed"] and bool(SECRET.search(name)),
            )
            for name, attribute in schema["attributes"].items()
        ],
        block_types=[
            pb.Schema.NestedBlock(
                type_name=name,
                block=block(nested["block"]),
                nesting=NESTING[nested["nesting_mode"]],
                min_items=nested.get("min_items", 0),
                max_items=nested.get("max_items", 0),
            )
            for name, nested in schema["block_types"].items()
        ],
    )


def unknown_where_computed(schema: dict[str, Any], value: dict[str, Any]) -> dict[str, Any]:
    """Put the unknown value wherever an attribute is computed and was not configured."""
    result = dict(value)
    for name, attribute in schema["attributes"].items():
        if attribute["computed"] and value.get(name) is None:
            result[name] = UNKNOWN
    for name, nested in schema["block_types"].items():
        match value.get(name):
            case list() as items:
                result[name] = [unknown_where_computed(nested["block"], item) for item in items]
            case dict() as item:
                result[name] = unknown_where_computed(nested["block"], item)
    return result


class Servicer(rpc.ProviderServicer):  # type: ignore[misc]
    """The calls of the plugin protocol, version 6, that validating and planning need."""

    def __init__(self, schemas: dict[str, Any]) -> None:
        self.schemas = schemas

    def GetMetadata(self, request: Any, context: Any) -> Any:  # noqa: N802
        return pb.GetMetadata.Response(
            resources=[pb.GetMetadata.ResourceMetadata(type_name=name) for name in self.schemas["resource_schemas"]]
        )

    def GetProviderSchema(self, request: Any, context: Any) -> Any:  # noqa: N802
        return pb.GetProviderSchema.Response(
            provider=pb.Schema(block=block(self.schemas["provider"])),
            resource_schemas={
                name: pb.Schema(block=block(schema)) for name, schema in self.schemas["resource_schemas"].items()
            },
        )

    def ValidateProviderConfig(self, request: Any, context: Any) -> Any:  # noqa: N802
        return pb.ValidateProviderConfig.Response()

    def ValidateResourceConfig(self, request: Any, context: Any) -> Any:  # noqa: N802
        return pb.ValidateResourceConfig.Response()

    def ConfigureProvider(self, request: Any, context: Any) -> Any:  # noqa: N802
        return pb.ConfigureProvider.Response()

    def PlanResourceChange(self, request: Any, context: Any) -> Any:  # noqa: N802
        proposed = msgpack.unpackb(request.proposed_new_state.msgpack, strict_map_key=False)
        planned = proposed and unknown_where_computed(self.schemas["resource_schemas"][request.type_name], proposed)
        return pb.PlanResourceChange.Response(
            planned_state=pb.DynamicValue(msgpack=msgpack.packb(planned)), legacy_type_system=True
        )

    def StopProvider(self, request: Any, context: Any) -> Any:  # noqa: N802
        return pb.StopProvider.Response()


class Controller(controller_rpc.GRPCControllerServicer):  # type: ignore[misc]
    """go-plugin's shutdown."""

    server: Any = None

    def Shutdown(self, request: Any, context: Any) -> Any:  # noqa: N802
        self.server.stop(grace=0.2)
        return controller.Empty()


class Stdio(stdio_rpc.GRPCStdioServicer):  # type: ignore[misc]
    """go-plugin's output channel; nothing is written."""

    def StreamStdio(self, request: Any, context: Any) -> Any:  # noqa: N802
        return iter(())


def main() -> None:
    schemas = json.loads(Path(sys.argv[1]).read_text())
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=8))
    stopper = Controller()
    stopper.server = server
    rpc.add_ProviderServicer_to_server(Servicer(schemas), server)
    controller_rpc.add_GRPCControllerServicer_to_server(stopper, server)
    stdio_rpc.add_GRPCStdioServicer_to_server(Stdio(), server)
    certificate, credentials = _self_signed_cert()
    with tempfile.TemporaryDirectory() as folder:
        socket = f"{folder}/plugin.sock"
        server.add_secure_port(f"unix://{socket}", credentials)
        server.start()
        handshake = ["1", "6", "unix", socket, "grpc", base64.b64encode(certificate).decode().rstrip("=")]
        sys.stdout.write("|".join(handshake) + "\n")
        sys.stdout.flush()
        server.wait_for_termination()


if __name__ == "__main__":
    main()
