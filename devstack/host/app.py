"""Load an app as the worker does and index its HTTP functions as the host does; it calls none of them."""

import importlib.util
import inspect
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import azure.functions as func

from devstack.host.routes import Template


class AppError(Exception):
    """The app cannot be loaded; the text says why."""


@dataclass(frozen=True)
class HttpFunction:
    """An indexed HTTP function: where it answers and how it is called."""

    name: str
    template: Template
    methods: frozenset[str] | None
    """None is every method."""
    call: Callable[..., Any]
    request_parameter: str
    wants_context: bool

    @property
    def is_async(self) -> bool:
        """Return whether it runs on the event loop instead of in a thread."""
        return inspect.iscoroutinefunction(self.call)


def import_app(directory: Path) -> func.FunctionApp:
    """Import `function_app.py` as the worker does and return its one FunctionApp.

    Raise AppError when there is none or several; whatever the module raises passes through.
    """
    path = directory / "function_app.py"
    if not path.is_file():
        raise AppError(f"there is no function_app.py in {directory}")
    sys.path.insert(0, str(directory))
    spec = importlib.util.spec_from_file_location("function_app", path)
    if spec is None or spec.loader is None:
        raise AppError(f"{path} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules["function_app"] = module
    spec.loader.exec_module(module)
    if isinstance(failure := getattr(module, "failure", None), BaseException):
        raise failure  # What the platform would answer 503 for: here somebody is looking.
    return _the_app(module)


def _the_app(module: ModuleType) -> func.FunctionApp:
    apps = {id(value): value for value in vars(module).values() if isinstance(value, func.FunctionApp)}
    if len(apps) != 1:
        raise AppError(f"function_app.py must hold one FunctionApp at its top level; it has {len(apps)}")
    return next(iter(apps.values()))


def index(app: func.FunctionApp, route_prefix: str) -> list[HttpFunction]:
    """Return the HTTP functions in the order in which the platform tries them."""
    functions = [
        _http_function(function, route_prefix) for function in app.get_functions() if function.is_http_function()
    ]
    return sorted(functions, key=lambda function: function.name.upper())  # .NET's OrdinalIgnoreCase


def _http_function(function: Any, route_prefix: str) -> HttpFunction:
    trigger = function.get_trigger()
    name = function.get_function_name()
    call = function.get_user_function()
    bound = {binding.name for binding in function.get_bindings()}
    parameters = set(inspect.signature(call).parameters)
    if unbound := parameters - bound - {"context"}:
        raise AppError(f"function {name}: no binding is named {', '.join(sorted(unbound))}")
    if trigger.name not in parameters:
        raise AppError(f"function {name}: the parameter {trigger.name} is missing")
    route = trigger.route or name
    methods = None if trigger.methods is None else frozenset(str(method).upper() for method in trigger.methods)
    return HttpFunction(
        name=name,
        template=Template.parse("/".join(part for part in (route_prefix, route) if part)),
        methods=methods,
        call=call,
        request_parameter=trigger.name,
        wants_context="context" in parameters,
    )


def route_prefix(directory: Path) -> str:
    """Read `extensions.http.routePrefix` from host.json; `api` where it says nothing."""
    path = directory / "host.json"
    document = json.loads(path.read_text()) if path.is_file() else {}
    return str(document.get("extensions", {}).get("http", {}).get("routePrefix", "api")).strip("/")
