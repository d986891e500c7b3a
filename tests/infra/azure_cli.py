"""The Azure CLI, as far as the pages of this project call it, in front of the tests' Resource Manager.

It deploys what the real Bicep compiler evaluates, as a deployment stack does: everything that is named is put, and what
is named no longer is deleted. It knows the rules that stop somebody: who has not signed in, a resource provider that is
not registered, a resource group that is somebody else's, a lock.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.infra.bodies import ENVELOPE, normal, resolved
from tests.infra.compiler import Compiler
from tests.infra.resource_manager import Refusal, ResourceManager, group_of, host_name, kind_of
from tests.infra.scenarios import SUBSCRIPTION
from tests.infra.serving import Handler, served

SUFFIX = "core.windows.net"
ALWAYS_REGISTERED = {"microsoft.authorization", "microsoft.resources"}
PROGRAM = """#!{python}
import json, os, sys, urllib.request
body = json.dumps({{"words": sys.argv[1:], "folder": os.getcwd()}}).encode()
with urllib.request.urlopen("{url}", data=body) as answer:
    found = json.load(answer)
sys.stdout.write(found["out"])
sys.stderr.write(found["err"])
sys.exit(found["status"])
"""


def options_of(words: list[str]) -> dict[str, str]:
    """Give each option with what follows it up to the next one."""
    found: dict[str, str] = {}
    name = ""
    for word in words:
        if word.startswith("--"):
            name = word
            found[name] = ""
        elif name:
            found[name] = f"{found[name]} {word}".strip()
    return found


class Failure(Exception):
    """What the Azure CLI prints on standard error before it ends with 1."""


@dataclass
class Stack:
    """A deployment stack: what it manages, the last first, and its outputs."""

    managed: list[str]
    outputs: dict[str, Any]


@dataclass
class AzureCli:
    """One subscription, seen by somebody who owns some resource groups of it, and all of it where `owner` says so."""

    manager: ResourceManager
    compiler: Compiler | None = None
    groups: set[str] = field(default_factory=set)
    owner: bool = False
    signed_in: bool = False
    registered: set[str] = field(default_factory=set)
    stacks: dict[str, Stack] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)

    def answer(self, words: list[str], folder: Path) -> tuple[int, str, str]:
        """Run one command, and give its status and what it prints."""
        command = " ".join(words[: next((n for n, word in enumerate(words) if word.startswith("-")), len(words))])
        self.calls.append(" ".join(words))
        options = options_of(words)
        try:
            if command != "login" and not self.signed_in:
                raise Failure("Please run 'az login' to setup account.")
            found = self.commands()[command](options, folder)
        except KeyError as missing:
            return 2, "", f"ERROR: {missing} is misspelled or not recognized by the system.\n"
        except Refusal as refusal:
            return 1, "", f"ERROR: ({refusal.code}) {refusal}\n"
        except Failure as problem:
            return 1, "", f"ERROR: {problem}\n"
        return 0, "" if found is None else f"{found if isinstance(found, str) else json.dumps(found)}\n", ""

    def commands(self) -> dict[str, Callable[[dict[str, str], Path], Any]]:
        return {
            "account get-access-token": lambda options, folder: "a-token",
            "functionapp config appsettings list": self.list_settings,
            "functionapp show": self.show_app,
            "group delete": self.delete_group,
            "lock delete": self.delete_lock,
            "login": self.log_in,
            "provider register": self.register,
            "stack group create": self.create_stack,
            "stack group delete": self.delete_stack,
            "stack group show": self.show_stack,
        }

    def log_in(self, options: dict[str, str], folder: Path) -> None:
        self.signed_in = True

    def register(self, options: dict[str, str], folder: Path) -> None:
        if not self.owner:
            raise Failure("(AuthorizationFailed) The client does not have authorization to perform register/action.")
        self.registered.add(options["--namespace"].lower())

    def group(self, options: dict[str, str]) -> str:
        return f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{options['--resource-group']}"

    # Stacks.

    def create_stack(self, options: dict[str, str], folder: Path) -> None:
        """Put what the parameters name, then delete what they name no longer: in this order, as Azure does."""
        file, *inline = options["--parameters"].split()
        snapshot = self.evaluate(folder / file, inline)
        wanted = {each["id"]: each for each in snapshot["predictedResources"]}
        for identifier in wanted:
            self.check(identifier)
        for identifier in sorted(wanted, key=lambda each: (each.count("/"), "/locks/" in each)):
            resource = wanted[identifier]
            body = normal({name: value for name, value in resource.items() if name not in ENVELOPE})
            self.manager.handle("PUT", identifier, body)
        name = f"{self.group(options)}/{options['--name']}".lower()
        before = self.stacks.get(name, Stack([], {})).managed
        outputs = {key: {"value": self.output(value)} for key, value in snapshot["outputs"].items()}
        self.stacks[name] = Stack(list(wanted), outputs)
        left = [each for each in before if each not in wanted]
        assert options["--action-on-unmanage"] == "deleteResources"
        try:
            self.delete(left)
        except Refusal:
            self.stacks[name].managed += left  # still the stack's, so that its next run tries again
            raise

    def evaluate(self, parameters: Path, inline: list[str]) -> dict[str, Any]:
        """Evaluate a parameters file, and what is added to it, as the Resource Manager of the public cloud would."""
        assert self.compiler
        inside = parameters.with_name("evaluated.bicepparam")
        more = [f"param {name} = {value}" for name, _, value in (each.partition("=") for each in inline)]
        inside.write_text("\n".join([parameters.read_text(), f"param storageSuffix = '{SUFFIX}'", *more, ""]))
        try:
            return self.compiler.snapshot(inside)
        finally:
            inside.unlink()

    def output(self, value: Any) -> Any:
        return value if "outputs." in str(value) else resolved(value)

    def check(self, identifier: str) -> None:
        """Hold what stops a deployment before it begins. Raises `Failure`."""
        namespace = kind_of(identifier).split("/")[0]
        if namespace not in self.registered | ALWAYS_REGISTERED:
            raise Failure(f"(MissingSubscriptionRegistration) The subscription is not registered for {namespace}.")
        if not self.owner and group_of(identifier).lower() not in {each.lower() for each in self.groups}:
            raise Failure(f"(AuthorizationFailed) The client does not have authorization over {group_of(identifier)}.")

    def delete(self, identifiers: list[str]) -> None:
        """Delete from the leaves; in which order Azure takes locks is written nowhere, so they go last here."""
        for identifier in sorted(identifiers, key=lambda each: ("/locks/" in each, -each.count("/"))):
            try:
                self.manager.handle("DELETE", identifier, {})
            except Refusal as refusal:
                if refusal.status != 405:  # what cannot be deleted on its own goes with its parent
                    raise

    def delete_stack(self, options: dict[str, str], folder: Path) -> None:
        name = f"{self.group(options)}/{options['--name']}".lower()
        self.delete(self.stacks[name].managed)
        del self.stacks[name]

    def show_stack(self, options: dict[str, str], folder: Path) -> str:
        found: Any = {"outputs": self.stacks[f"{self.group(options)}/{options['--name']}".lower()].outputs}
        for part in options["--query"].split("."):
            found = found[part]
        return str(found)

    # The rest.

    def delete_lock(self, options: dict[str, str], folder: Path) -> None:
        resource = f"{self.group(options)}/providers/{options['--resource-type']}/{options['--resource-name']}"
        self.manager.handle("DELETE", f"{resource}/providers/Microsoft.Authorization/locks/{options['--name']}", {})

    def delete_group(self, options: dict[str, str], folder: Path) -> None:
        self.manager.handle("DELETE", f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{options['--name']}", {})

    def show_app(self, options: dict[str, str], folder: Path) -> str:
        kind = re.search(r"hostType=='(\w+)'", options["--query"])
        assert kind
        # Of Flex Consumption the Azure CLI prints the resource with its `properties`, not flattened as of other plans.
        if "properties" not in options["--query"]:
            return ""
        name = host_name(self.site(options))
        return name if kind[1] == "Standard" else name.replace(".", ".scm.", 1)

    def list_settings(self, options: dict[str, str], folder: Path) -> str:
        wanted = re.search(r"name=='(\w+)'", options["--query"])
        assert wanted
        settings = self.manager.resources[self.site(options)][1]["properties"]["siteConfig"]["appSettings"]
        return json.dumps([each for each in settings if each["name"] == wanted[1]])

    def site(self, options: dict[str, str]) -> str:
        return self.manager.find(f"{self.group(options)}/providers/Microsoft.Web/sites/{options['--name']}")


@contextmanager
def on_the_path(azure: AzureCli, folder: Path) -> Iterator[None]:
    """Put a program `az` into `folder` that asks `azure`."""

    class Asked(Handler):
        def respond(self) -> None:
            asked = json.loads(self.content())
            status, out, err = azure.answer(asked["words"], Path(asked["folder"]))
            self.reply(200, json.dumps({"status": status, "out": out, "err": err}).encode())

    with served(Asked) as port:
        program = folder / "az"
        program.write_text(PROGRAM.format(python=sys.executable, url=f"http://127.0.0.1:{port}"))
        program.chmod(0o755)
        yield
