"""A small imitation of Azure Resource Manager over HTTP(S) on 127.0.0.1, for Terraform's provider.

It copies what public reports say of the real one where that has broken a deployment: children that come with their
parent, answers in other cases than what was written, locks that block whatever lies below, an alert rule that nobody
asked for. It knows no schema and refuses no property: a green run says that Terraform is satisfied, not that Azure is.
"""

from __future__ import annotations

import base64
import copy
import json
import re
import threading
import time
import uuid
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tests.infra.serving import Handler, served

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator

Body = dict[str, Any]
TENANT = "00000000-0000-0000-0000-00000000000f"

# What exists as soon as its parent does. None of it can be deleted on its own.
CHILDREN = {
    "microsoft.storage/storageaccounts": ["blobServices/default", "tableServices/default", "queueServices/default"],
    "microsoft.web/sites": ["basicPublishingCredentialsPolicies/ftp", "basicPublishingCredentialsPolicies/scm"],
}
LOG_CATEGORIES = {
    "microsoft.storage": ["StorageRead", "StorageWrite", "StorageDelete"],
    "microsoft.containerregistry": ["ContainerRegistryLoginEvents", "ContainerRegistryRepositoryEvents"],
}


def guid(*parts: str) -> str:
    """Give the same GUID for the same parts, in whatever case they are spelt."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, "/".join(parts).lower()))


def client_id(identity: str) -> str:
    """The client id of a user-assigned identity."""
    return guid(identity, "client")


def principal_id(identity: str) -> str:
    """The object id of a user-assigned identity."""
    return guid(identity, "principal")


def connection_string(component: str) -> str:
    return f"InstrumentationKey={guid(component, 'key')};IngestionEndpoint=https://westeurope.in.example/"


def host_name(site: str) -> str:
    return f"{site.rsplit('/', 1)[1]}.azurewebsites.net"


def displayed(location: str) -> str:
    """Give a region's name as App Service shows it: `West Europe`."""
    return re.sub(r"(north|south|east|west|central)", r"\1 ", location).title()


def kind_of(identifier: str) -> str:
    """Give the lower-case type that an id is of: `microsoft.web/sites`."""
    low = identifier.lower()
    if "/providers/" not in low:
        return "microsoft.resources/" + ("resourcegroups" if "/resourcegroups/" in low else "subscriptions")
    parts = low[low.rindex("/providers/") + 11 :].split("/")
    return "/".join([parts[0], *parts[1::2]])


def parent_of(identifier: str) -> str:
    """Give the id of what a resource lies in, or is attached to."""
    start = identifier.lower().rfind("/providers/")
    inside = identifier[start + 11 :].split("/")
    return identifier[:start] if start < 0 or len(inside) == 3 else "/".join(identifier.split("/")[:-2])


def group_of(identifier: str) -> str:
    """Give the id of the resource group that a resource lies in."""
    return "/".join(identifier.split("/")[:5])


class Refusal(Exception):
    """An error answer: status, code and message."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code


@dataclass
class ResourceManager:
    """What there is, by lower-case id, and what was asked for."""

    resources: dict[str, tuple[str, Body]] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def seed(self, identifier: str) -> None:
        """Put something there that existed before, and the resource group that holds it."""
        self.seeds.append(identifier)
        self.put_there(identifier)

    def put_there(self, identifier: str) -> None:
        for each in (group_of(identifier), identifier):
            self.resources.setdefault(each.lower(), (each, {"location": "westeurope", "properties": {}}))

    seeds: list[str] = field(default_factory=list)

    def left(self) -> set[str]:
        """Name what is there beyond what was seeded."""
        return (
            set(self.resources)
            - {each.lower() for each in self.seeds}
            - {group_of(each).lower() for each in self.seeds}
        )

    def start_again(self) -> None:
        """Forget all but what was seeded."""
        self.resources = {}
        for each in list(self.seeds):
            self.put_there(each)

    def handle(self, method: str, target: str, body: Body) -> tuple[int, Body]:
        """Answer one request of the control plane. Raises `Refusal`."""
        identifier = urlsplit(target).path.rstrip("/")
        with self.lock:
            self.requests.append((method, identifier))
            if method == "POST":
                return 200, {"id": identifier, "registrationState": "Registered"}
            if re.fullmatch(r"/subscriptions/[^/]+(/providers/[^/]+)?", identifier):
                return 200, {"id": identifier, "registrationState": "Registered", "state": "Enabled"}
            if method == "GET":
                return 200, self.show(self.find(identifier))
            if method == "PUT":
                return 200, self.put(identifier, body)
            if method == "DELETE":
                return self.delete(identifier), {}
        raise Refusal(405, "MethodNotAllowed", method)

    def find(self, identifier: str) -> str:
        """Give the key of what exists."""
        if identifier.lower() not in self.resources:
            raise Refusal(404, "ResourceNotFound", f"The Resource '{identifier}' was not found.")
        return identifier.lower()

    def put(self, identifier: str, body: Body) -> Body:
        low, kind = identifier.lower(), kind_of(identifier)
        parent = parent_of(identifier) if "/providers/" in low else ""
        if parent and parent.lower() not in self.resources:
            raise Refusal(404, "ParentResourceNotFound", f"Parent resource '{parent}' not found.")
        before = self.resources.get(low)
        if kind == "microsoft.authorization/roleassignments":
            self.check_assignment(low, body, before)
        kept = {name: copy.deepcopy(value) for name, value in body.items() if name not in {"id", "name", "type"}}
        if before and kind.startswith("microsoft.storage/"):  # what a PUT of storage does not name, stays
            kept["properties"] = {**(before[1].get("properties") or {}), **(kept.get("properties") or {})}
        self.resources[low] = (before[0] if before else identifier, kept)
        if not before:
            self.bring_children(identifier, kind)
        return self.show(low)

    def check_assignment(self, low: str, body: Body, before: tuple[str, Body] | None) -> None:
        """Hold an assignment to the two rules: one per scope, principal and role; a principal is never exchanged."""
        wanted = body["properties"]
        for other, (_, present) in self.resources.items():
            same = [
                present.get("properties", {}).get(name) == wanted[name] for name in ("principalId", "roleDefinitionId")
            ]
            if other != low and other.rpartition("/")[0] == low.rpartition("/")[0] and all(same):
                raise Refusal(409, "RoleAssignmentExists", "The role assignment already exists.")
        if before and before[1]["properties"]["principalId"] != wanted["principalId"]:
            raise Refusal(400, "RoleAssignmentUpdateNotPermitted", "The principal id is not allowed to be updated.")

    def bring_children(self, identifier: str, kind: str) -> None:
        for child in CHILDREN.get(kind, []):
            properties: Body = {"allow": True} if "Credentials" in child else {"cors": {"corsRules": []}}
            self.resources[f"{identifier}/{child}".lower()] = (f"{identifier}/{child}", {"properties": properties})
        if kind == "microsoft.insights/components":
            rule = f"Failure Anomalies - {identifier.rsplit('/', 1)[1]}"
            self.put_there(
                f"{group_of(identifier)}/providers/microsoft.alertsManagement/smartDetectorAlertRules/{rule}"
            )

    def delete(self, identifier: str) -> int:
        low, kind = identifier.lower(), kind_of(identifier)
        if low not in self.resources:
            return 204
        parent = kind_of(parent_of(identifier)) if "/providers/" in low else ""
        if any(low.endswith(f"/{child}".lower()) for child in CHILDREN.get(parent, [])):
            raise Refusal(405, "MethodNotAllowed", "The requested resource does not support http method 'DELETE'.")
        if kind != "microsoft.authorization/locks":
            for other in self.resources:
                scope = parent_of(other)
                if kind_of(other) == "microsoft.authorization/locks" and f"{low}/".startswith(f"{scope}/"):
                    raise Refusal(409, "ScopeLocked", f"'{identifier}' cannot be deleted: '{scope}' is locked.")
                if kind_of(other) == "microsoft.authorization/locks" and scope.startswith(f"{low}/"):
                    raise Refusal(409, "ScopeLocked", f"'{identifier}' cannot be deleted: '{scope}' is locked.")
        for other in [name for name in self.resources if name == low or name.startswith(f"{low}/")]:
            del self.resources[other]
        return 200

    def show(self, low: str) -> Body:
        """Give a resource as it comes back: with what the Resource Manager adds, renames and withholds."""
        identifier, body = self.resources[low]
        shown = copy.deepcopy(body)
        properties = shown.get("properties")
        shown["properties"] = properties = properties if isinstance(properties, dict) else {}
        kind = kind_of(identifier)
        properties.setdefault("provisioningState", "Succeeded")
        if kind == "microsoft.managedidentity/userassignedidentities":
            properties |= {"clientId": client_id(identifier), "principalId": principal_id(identifier)}
        elif kind == "microsoft.insights/components":
            properties["ConnectionString"] = connection_string(identifier)
        elif kind == "microsoft.web/serverfarms":
            shown["location"] = displayed(shown["location"])
        elif kind == "microsoft.web/sites":
            show_site(identifier, shown, properties)
        elif kind == "microsoft.insights/diagnosticsettings":
            provider = kind_of(parent_of(identifier)).split("/")[0]
            named = {entry["category"] for entry in properties["logs"]}
            missing = [category for category in LOG_CATEGORIES[provider] if category not in named]
            properties["logs"] += [{"category": category, "enabled": False} for category in missing]
        elif kind == "microsoft.insights/actiongroups":
            shown["location"] = "Global"
        return {"id": identifier, "name": identifier.rsplit("/", 1)[1], "type": kind, **shown}


def show_site(identifier: str, shown: Body, properties: Body) -> None:
    """A site comes back with lower-case enumerations and without most of siteConfig, which is a resource of its own."""
    shown["location"] = displayed(shown["location"])
    properties["defaultHostName"] = host_name(identifier)
    properties["serverFarmId"] = re.sub("(?i)/serverfarms/", "/serverfarms/", properties["serverFarmId"])
    properties["siteConfig"] = {
        "http20Enabled": properties["siteConfig"].get("http20Enabled"),
        "appSettings": None,
        "minTlsVersion": None,
    }
    storage = properties["functionAppConfig"]["deployment"]["storage"]
    storage["type"] = storage["type"].lower()
    storage["authentication"]["type"] = storage["authentication"]["type"].lower()
    identities = shown["identity"]["userAssignedIdentities"]
    shown["identity"]["userAssignedIdentities"] = {
        each.replace("/resourceGroups/", "/resourcegroups/"): {
            "clientId": client_id(each),
            "principalId": principal_id(each),
        }
        for each in identities
    }


def token() -> Body:
    """An access token as Entra ID would give it, signed by nobody."""

    def part(value: Body) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    now = int(time.time())
    claims = {"tid": TENANT, "oid": guid("me"), "appid": guid("app"), "iat": now, "exp": now + 3600}
    text = f"{part({'alg': 'RS256', 'typ': 'JWT'})}.{part(claims)}.c2ln"
    return {"token_type": "Bearer", "expires_in": 3600, "ext_expires_in": 3600, "access_token": text}


class Requests(Handler):
    """HTTP around one `ResourceManager`, and the little of Entra ID that a provider asks for before it."""

    protocol_version = "HTTP/1.1"
    manager: ResourceManager

    def answer(self, status: int, body: Body) -> None:
        self.reply(status, b"" if status == 204 else json.dumps(body).encode(), "application/json")

    def respond(self) -> None:
        content = self.content()
        tenant = f"https://{self.headers['Host']}/{TENANT}"
        path = urlsplit(self.path).path
        if path.endswith("/oauth2/v2.0/token"):
            self.answer(200, token())
        elif path.endswith("/.well-known/openid-configuration"):
            endpoints = {f"{name}_endpoint": f"{tenant}/oauth2/v2.0/{name}" for name in ("token", "authorize")}
            endpoints["authorization_endpoint"] = endpoints.pop("authorize_endpoint")
            self.answer(200, {"issuer": f"{tenant}/v2.0", **endpoints})
        else:
            try:
                status, body = self.manager.handle(self.command, self.path, json.loads(content or b"{}"))
            except Refusal as refusal:
                status, body = refusal.status, {"error": {"code": refusal.code, "message": str(refusal)}}
            self.answer(status, body)


@contextmanager
def serve(manager: ResourceManager, tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """Serve it on a free port, and give its URL."""
    with served(Requests, tls, manager=manager) as port:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{port}"
