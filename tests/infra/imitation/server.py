"""Imitate Terraform's azapi provider over its plugin protocol, against a Resource Manager of the tests.

It has azapi's published schema and the two of its rules that have broken deployments: `azapi_resource` looks before it
creates and stops where something is there, and every refresh compares what was written with what comes back. Beside
that: an update makes `output` unknown, and `azapi_update_resource` merges and never deletes. It knows no ARM types.
Arguments: azapi.json, the path of the socket to listen on, the URL of the Resource Manager.
"""

from __future__ import annotations

import json
import sys
import urllib.error
import urllib.parse
import urllib.request
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc  # type: ignore[import-untyped]
import msgpack  # type: ignore[import-not-found]
from tf.gen import tfplugin_pb2 as pb  # type: ignore[import-not-found]
from tf.gen import tfplugin_pb2_grpc as rpc

UNKNOWN = msgpack.ExtType(0, b"\0")
NESTING = {"single": 1, "list": 2, "set": 3, "map": 4}
OBJECT_NESTING = {"single": 1, "list": 2, "set": 3, "map": 4}
DYNAMIC = {"body", "output", "response_export_values", "replace_triggers_external_values", "sensitive_body"}
DEFAULTS = {
    "ignore_casing": False,
    "ignore_missing_property": True,
    "ignore_null_property": False,
    "schema_validation_enabled": True,
    "method": "POST",
    "when": "apply",
}
FIXED = {"type", "name", "parent_id", "location"}


# Terraform's values. A dynamic one travels as [its type, the value].


def type_of(value: Any) -> Any:
    """Give the type that Terraform would infer for a JSON value."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, str):
        return "string"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, list):
        return ["tuple", [type_of(item) for item in value]]
    if isinstance(value, dict):
        return ["object", {name: type_of(item) for name, item in value.items()}]
    return "dynamic"


def dynamic(value: Any) -> Any:
    return None if value is None else [json.dumps(type_of(value)).encode(), value_within(value)]


def value_within(value: Any) -> Any:
    return {k: value_within(v) for k, v in value.items()} if isinstance(value, dict) else value


def plain(value: Any) -> Any:
    """Give what a dynamic value holds."""
    return value[1] if isinstance(value, list) and len(value) == 2 and isinstance(value[0], bytes) else value


def unpack(message: Any) -> dict[str, Any] | None:
    found: dict[str, Any] | None = msgpack.unpackb(message.msgpack, strict_map_key=False) if message.msgpack else None
    return found


def pack(value: Any) -> Any:
    return pb.DynamicValue(msgpack=msgpack.packb(value))


def has_unknown(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(has_unknown, value.values()))
    if isinstance(value, list):
        return any(map(has_unknown, value))
    return isinstance(value, msgpack.ExtType)


# The schema, in its wire form.


def attribute(name: str, described: dict[str, Any]) -> Any:
    nested = described.get("nested_type")
    return pb.Schema.Attribute(
        name=name,
        type=b"" if nested else json.dumps(described["type"]).encode(),
        nested_type=pb.Schema.Object(
            attributes=[attribute(n, d) for n, d in nested["attributes"].items()],
            nesting=OBJECT_NESTING[nested["nesting_mode"]],
        )
        if nested
        else None,
        required=described.get("required", False),
        optional=described.get("optional", False),
        computed=described.get("computed", False),
        sensitive=described.get("sensitive", False),
    )


def block(described: dict[str, Any]) -> Any:
    return pb.Schema.Block(
        attributes=[attribute(name, each) for name, each in described.get("attributes", {}).items()],
        block_types=[
            pb.Schema.NestedBlock(type_name=name, block=block(each["block"]), nesting=NESTING[each["nesting_mode"]])
            for name, each in described.get("block_types", {}).items()
        ],
    )


# The Resource Manager.


class Manager:
    """Requests to one Resource Manager."""

    def __init__(self, url: str) -> None:
        self.url = url

    def call(self, method: str, identifier: str, version: str, body: Any = None) -> tuple[int, Any]:
        """Send a request, and give status and body; an error's body is its message."""
        request = urllib.request.Request(
            f"{self.url}{urllib.parse.quote(identifier)}?api-version={version}",
            data=None if body is None else json.dumps(body).encode(),
            method=method,
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                content = answer.read()
                return answer.status, json.loads(content) if content else {}
        except urllib.error.HTTPError as error:
            problem = json.loads(error.read())["error"]
            return error.code, f"{error.code} {problem['code']}: {problem['message']}"


def merged(old: Any, new: Any) -> Any:
    """Lay one body over another, as `azapi_update_resource` does."""
    if isinstance(old, dict) and isinstance(new, dict):
        return {**old, **{name: merged(old.get(name), value) for name, value in new.items()}}
    return new


def refreshed(written: Any, found: Any, options: dict[str, Any]) -> Any:
    """Give what was written as it is now: nothing else is looked at, and what is missing counts as unchanged."""
    if found is None:
        return written
    if isinstance(written, dict) and isinstance(found, dict):
        return {name: refreshed(value, found.get(name), options) for name, value in written.items()}
    if isinstance(written, list) and isinstance(found, list):
        key = "category" if options.get("list_unique_id_property") else "name"
        if all(isinstance(item, dict) and key in item for item in [*written, *found]):
            there = {item[key]: item for item in found}
            kept = [refreshed(item, there[item[key]], options) for item in written if item[key] in there]
            return kept + [item for item in found if item[key] not in {each[key] for each in written}]
        if len(written) == len(found):
            return [refreshed(a, b, options) for a, b in zip(written, found, strict=True)]
    if isinstance(written, str) and isinstance(found, str) and options.get("ignore_casing"):
        return written if written.lower() == found.lower() else found
    return found


def same_place(written: str | None, found: str | None) -> str | None:
    """Compare regions as Azure does: `West Europe` is `westeurope`."""
    if found and written and found.replace(" ", "").lower() == written.replace(" ", "").lower():
        return written
    return found or written


def exported(values: Any, answer: dict[str, Any]) -> dict[str, Any] | None:
    """Give of an answer what `response_export_values` names."""
    found: dict[str, Any] = {}
    for path in plain(values) or []:
        source, target = answer, found
        *steps, last = path.split(".")
        for step in steps:
            source, target = source[step], target.setdefault(step, {})
        target[last] = source[last]
    return found


def without_null(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: without_null(item) for name, item in value.items() if item is not None}
    return [without_null(item) for item in value] if isinstance(value, list) else value


def sent(state: dict[str, Any]) -> dict[str, Any]:
    """Make the body of a PUT from a planned state."""
    body = dict(plain(state.get("body")) or {})
    if state.get("ignore_null_property"):
        body = without_null(body)
    body |= {name: state[name] for name in ("location", "tags") if state.get(name)}
    for identity in state.get("identity") or []:
        ids = identity["identity_ids"]
        body["identity"] = {"type": identity["type"], "userAssignedIdentities": {each: {} for each in ids}}
    return body


def identifier(state: dict[str, Any]) -> str:
    """Give the id that a planned resource will have."""
    kind = state["type"].split("@")[0]
    if kind.lower() == "microsoft.resources/resourcegroups":
        return f"{state['parent_id']}/resourceGroups/{state['name']}"
    if kind.count("/") > 1:
        return f"{state['parent_id']}/{kind.rsplit('/', 1)[1]}/{state['name']}"
    return f"{state['parent_id']}/providers/{kind}/{state['name']}"


def murmur(data: bytes) -> int:
    """The 64-bit hash behind uniqueString: two 32-bit halves, as the Resource Manager mixes them."""
    mask = 0xFFFFFFFF

    def rotate(value: int, bits: int) -> int:
        return ((value << bits) | (value >> (32 - bits))) & mask

    one = two = 0
    whole = len(data) // 8 * 8
    for start in range(0, whole, 8):
        low, high = (int.from_bytes(data[at : at + 4], "little") for at in (start, start + 4))
        one ^= rotate(low * 0x239B961B & mask, 15) * 0xAB0E9789 & mask
        one = ((rotate(one, 19) + two) * 5 + 0x561CCD1B) & mask
        two ^= rotate(high * 0xAB0E9789 & mask, 17) * 0x239B961B & mask
        two = ((rotate(two, 13) + one) * 5 + 0x0BCAA747) & mask
    tail = data[whole:]
    if tail:
        one ^= rotate(int.from_bytes(tail[:4], "little") * 0x239B961B & mask, 15) * 0xAB0E9789 & mask
    if len(tail) > 4:
        two ^= rotate(int.from_bytes(tail[4:], "little") * 0xAB0E9789 & mask, 17) * 0x239B961B & mask
    one, two = one ^ len(data), two ^ len(data)
    one = (one + two) & mask
    two = (two + one) & mask

    def finish(value: int) -> int:
        value = (value ^ value >> 16) * 0x85EBCA6B & mask
        value = (value ^ value >> 13) * 0xC2B2AE35 & mask
        return value ^ value >> 16

    one, two = finish(one), finish(two)
    one = (one + two) & mask
    two = (two + one) & mask
    return two << 32 | one


def unique_string(values: list[str]) -> str:
    """Bicep's uniqueString: 13 letters of the hash of the joined values."""
    number, letters = murmur("-".join(values).encode()), "abcdefghijklmnopqrstuvwxyz234567"
    text = ""
    for _ in range(13):
        text += letters[number >> 59]
        number = number << 5 & 0xFFFFFFFFFFFFFFFF
    return text


class Failed(Exception):
    """What Terraform shows as an error."""


class Servicer(rpc.ProviderServicer):  # type: ignore[misc]
    """The calls of the plugin protocol, version 6, for a whole life of a resource."""

    def __init__(self, schemas: dict[str, Any], manager: Manager) -> None:
        self.schemas, self.manager = schemas, manager

    def GetProviderSchema(self, request: Any, context: Any) -> Any:  # noqa: N802
        return pb.GetProviderSchema.Response(
            provider=pb.Schema(block=block(self.schemas["provider"]["block"])),
            resource_schemas={
                name: pb.Schema(version=each["version"], block=block(each["block"]))
                for name, each in self.schemas["resource_schemas"].items()
            },
            functions=self.functions(),
            server_capabilities=pb.ServerCapabilities(get_provider_schema_optional=False),
        )

    def functions(self) -> dict[str, Any]:
        string = json.dumps("string").encode()
        parameter = pb.Function.Parameter(name="base_string", type=json.dumps(["list", "string"]).encode())
        function = pb.Function(parameters=[parameter], **{"return": pb.Function.Return(type=string)})
        return {"unique_string": function}

    def GetFunctions(self, request: Any, context: Any) -> Any:  # noqa: N802
        return pb.GetFunctions.Response(functions=self.functions())

    def CallFunction(self, request: Any, context: Any) -> Any:  # noqa: N802
        [values] = [msgpack.unpackb(argument.msgpack) for argument in request.arguments]
        return pb.CallFunction.Response(result=pack(unique_string(values)))

    def GetMetadata(self, request: Any, context: Any) -> Any:  # noqa: N802
        names = [pb.GetMetadata.ResourceMetadata(type_name=name) for name in self.schemas["resource_schemas"]]
        return pb.GetMetadata.Response(
            resources=names, functions=[pb.GetMetadata.FunctionMetadata(name="unique_string")]
        )

    def ValidateProviderConfig(self, request: Any, context: Any) -> Any:  # noqa: N802
        return pb.ValidateProviderConfig.Response()

    def ValidateResourceConfig(self, request: Any, context: Any) -> Any:  # noqa: N802
        return pb.ValidateResourceConfig.Response()

    def ConfigureProvider(self, request: Any, context: Any) -> Any:  # noqa: N802
        return pb.ConfigureProvider.Response()

    def UpgradeResourceState(self, request: Any, context: Any) -> Any:  # noqa: N802
        state = json.loads(request.raw_state.json)
        for name in DYNAMIC & set(state):
            wrapped = state[name]
            state[name] = wrapped and [json.dumps(wrapped["type"]).encode(), wrapped["value"]]
        return pb.UpgradeResourceState.Response(upgraded_state=pack(state))

    def ReadResource(self, request: Any, context: Any) -> Any:  # noqa: N802
        state = unpack(request.current_state)
        assert state is not None
        if request.type_name == "azapi_resource_action":
            return pb.ReadResource.Response(new_state=request.current_state)
        status, answer = self.manager.call("GET", state["id"], state["type"].split("@")[1])
        if status == 404:
            return pb.ReadResource.Response(new_state=pack(None))
        if state.get("body") is not None:
            written = plain(state["body"])
            now = refreshed(written, answer, state)
            state["body"] = state["body"] if now == written else dynamic(now)
        if "location" in state:
            state["location"] = same_place(state["location"], answer.get("location"))
        if state.get("tags") is not None:
            state["tags"] = answer.get("tags") or {}
        return pb.ReadResource.Response(new_state=pack(state))

    def PlanResourceChange(self, request: Any, context: Any) -> Any:  # noqa: N802
        prior, planned = unpack(request.prior_state), unpack(request.proposed_new_state)
        if planned is None:
            return pb.PlanResourceChange.Response(planned_state=pack(None), legacy_type_system=True)
        for name, value in DEFAULTS.items():
            if name in planned and planned[name] is None:
                planned[name] = value
        if prior is None:
            unknown_until_applied(planned)
            return pb.PlanResourceChange.Response(planned_state=pack(planned), legacy_type_system=True)
        replace = [name for name in FIXED if name in planned and is_other(name, prior[name], planned[name])]
        triggers = "replace_triggers_external_values"
        if plain(prior.get(triggers)) != plain(planned.get(triggers)):
            replace.append(triggers)
        changed = [name for name in planned if name not in {"id", "output"} and differs(name, prior, planned)]
        if replace:
            unknown_until_applied(planned)
        elif changed:
            planned |= {"id": prior["id"], "output": UNKNOWN}
        else:
            planned = prior
        return pb.PlanResourceChange.Response(
            planned_state=pack(planned),
            requires_replace=[pb.AttributePath(steps=[pb.AttributePath.Step(attribute_name=name)]) for name in replace],
            legacy_type_system=True,
        )

    def ApplyResourceChange(self, request: Any, context: Any) -> Any:  # noqa: N802
        prior, planned = unpack(request.prior_state), unpack(request.planned_state)
        try:
            state = self.apply(request.type_name, prior, planned)
        except Failed as failure:
            problem = pb.Diagnostic(severity=1, summary="The Resource Manager refused", detail=str(failure))
            return pb.ApplyResourceChange.Response(new_state=pack(prior), diagnostics=[problem])
        return pb.ApplyResourceChange.Response(new_state=pack(state), legacy_type_system=True)

    def apply(self, kind: str, prior: dict[str, Any] | None, planned: dict[str, Any] | None) -> dict[str, Any] | None:
        """Create, update or delete, and give the state after it. Raises `Failed`."""
        if planned is None:
            assert prior is not None
            if kind == "azapi_resource":
                status, answer = self.manager.call("DELETE", prior["id"], prior["type"].split("@")[1])
                if status >= 400 and status != 404:
                    raise Failed(answer)
            return None
        if kind == "azapi_data_plane_resource":
            raise Failed("Nothing here speaks to a data plane.")
        answer = self.act(planned) if kind == "azapi_resource_action" else self.put(kind, prior, planned)
        for name in ("tags", "location", "body"):
            if has_unknown(planned.get(name)):
                planned[name] = None
        for identity in planned.get("identity") or []:
            identity |= {"principal_id": None, "tenant_id": None}
        planned["output"] = dynamic(exported(planned.get("response_export_values"), answer))
        return planned

    def act(self, planned: dict[str, Any]) -> dict[str, Any]:
        where = f"{planned['resource_id']}/{planned['action']}"
        status, answer = self.manager.call(planned["method"], where, planned["type"].split("@")[1])
        if status >= 400:
            raise Failed(answer)
        planned |= {"id": planned["resource_id"], "exist": True, "sensitive_output": None}
        return {}

    def put(self, kind: str, prior: dict[str, Any] | None, planned: dict[str, Any]) -> dict[str, Any]:
        """Look first, then write: what is there must be ours, or be there already where it is only updated."""
        where, version = prior["id"] if prior else identifier(planned), planned["type"].split("@")[1]
        body = sent(planned)
        status, found = self.manager.call("GET", where, version)
        if kind == "azapi_update_resource":
            if status == 404:
                raise Failed(found)
            body = merged(found, body)
            planned["resource_id"] = where
        elif prior is None and status == 200:
            raise Failed(f"Resource already exists: {where}")
        status, answer = self.manager.call("PUT", where, version, body)
        if status >= 400:
            raise Failed(answer)
        planned["id"] = where
        result: dict[str, Any] = answer
        return result


def unknown_until_applied(planned: dict[str, Any]) -> None:
    """Mark what only the answer of the Resource Manager tells."""
    planned |= {"id": UNKNOWN, "output": UNKNOWN}
    for name in ("resource_id", "sensitive_output", "exist"):
        if name in planned and planned[name] is None:
            planned[name] = UNKNOWN


def is_other(name: str, old: Any, new: Any) -> bool:
    """Whether a value that cannot be changed in place is another one."""
    if isinstance(new, msgpack.ExtType):
        return True
    if name == "type":
        return bool(old.split("@")[0] != new.split("@")[0])
    return new is not None and bool(old != new)


def differs(name: str, prior: dict[str, Any], planned: dict[str, Any]) -> bool:
    old, new = prior.get(name), planned.get(name)
    if name in DYNAMIC:
        old, new = plain(old), plain(new)
    if planned.get("ignore_null_property") and name == "body":
        old, new = without_null(old), without_null(new)
    if name == "identity":
        old, new = ([each["identity_ids"] for each in value or []] for value in (old, new))
    if name in {"body", "tags", "location"} and new is None:
        return False  # computed where it is not given
    return bool(old != new)


def main() -> None:
    schemas = json.loads(Path(sys.argv[1]).read_text())
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=16))
    rpc.add_ProviderServicer_to_server(Servicer(schemas, Manager(sys.argv[3])), server)
    server.add_insecure_port(f"unix://{sys.argv[2]}")
    server.start()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.read()  # until the tests close it
    server.stop(grace=0.2)


if __name__ == "__main__":
    main()
