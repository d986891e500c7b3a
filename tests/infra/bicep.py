"""Read Bicep and work out what a template would deploy, for the dialect that infra/bicep is written in.

No Bicep compiler can be installed from a package registry, so this is a reader of the language's core: parameters,
variables, loops, conditions, existing resources and modules. It checks no types. What only Azure knows (an identity's
client id, a resource's id) becomes a readable placeholder, as `<vendingIdentity>.properties.clientId`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

NAME = re.compile(r"[A-Za-z_]\w*")
NUMBER = re.compile(r"\d+")
SPACE = re.compile(r"(?:[ \t]|//[^\n]*|#[a-z][^\n]*)+")
SPACE_AND_LINES = re.compile(r"(?:\s|//[^\n]*|#[a-z][^\n]*)+")
OPERATORS = ("||", "&&", "==", "!=", "<=", ">=", "<", ">", "+", "-", "*", "/", "%")
PRECEDENCE = {
    "||": 1,
    "&&": 2,
    "==": 3,
    "!=": 3,
    "<": 4,
    ">": 4,
    "<=": 4,
    ">=": 4,
    "+": 5,
    "-": 5,
    "*": 6,
    "/": 6,
    "%": 6,
}
ESCAPES = {"n": "\n", "r": "\r", "t": "\t"}

SUBSCRIPTION = "00000000-0000-0000-0000-000000000001"
GROUP = "rg-vending"


class BicepError(Exception):
    """The text is not of the dialect, or the deployment would stop."""


class Placeholder(str):
    """A value that exists only after deployment; its properties are placeholders too."""

    __slots__ = ()


@dataclass(frozen=True)
class Loop:
    """`[for item, index in source: if (condition) body]`; `condition` and `index` may be absent."""

    item: str
    index: str | None
    source: Any
    condition: Any
    body: Any


@dataclass(frozen=True)
class Statement:
    """A declaration: `kind` is param, var, resource, module, output or targetScope."""

    kind: str
    name: str
    decorators: tuple[tuple[Any, ...], ...] = ()
    type: str = ""
    existing: bool = False
    condition: Any = None
    value: Any = None


class Parser:
    """A recursive-descent parser; expressions become nested tuples whose first item names the operation."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def skip(self, lines: bool = False) -> None:
        found = (SPACE_AND_LINES if lines else SPACE).match(self.text, self.at)
        if found:
            self.at = found.end()

    def take(self, token: str, lines: bool = False) -> bool:
        """Step over `token` if it is next."""
        self.skip(lines)
        if not self.text.startswith(token, self.at):
            return False
        if token[0].isalpha() and NAME.match(self.text, self.at).group() != token:  # type: ignore[union-attr]
            return False
        self.at += len(token)
        return True

    def need(self, token: str, lines: bool = False) -> None:
        if not self.take(token, lines):
            line = self.text.count("\n", 0, self.at) + 1
            raise BicepError(f"line {line}: expected {token!r} before {self.text[self.at : self.at + 40]!r}")

    def name(self) -> str:
        self.skip()
        found = NAME.match(self.text, self.at)
        if not found:
            self.need("a name")
        assert found is not None
        self.at = found.end()
        return found.group()

    def file(self) -> list[Statement]:
        statements: list[Statement] = []
        while True:
            decorators = []
            while self.take("@", lines=True):
                decorators.append(self.postfix())
            self.skip(lines=True)
            if self.at == len(self.text):
                return statements
            statements.append(self.statement(tuple(decorators)))

    def statement(self, decorators: tuple[tuple[Any, ...], ...]) -> Statement:
        kind = self.name()
        if kind == "targetScope":
            self.need("=")
            return Statement(kind, kind, value=self.expression())
        name = self.name()
        if kind in {"param", "output"}:
            declared = self.name()
            value = self.expression() if self.take("=") else None
            return Statement(kind, name, decorators, declared, value=value)
        if kind == "var":
            self.need("=")
            return Statement(kind, name, decorators, value=self.expression())
        if kind not in {"resource", "module"}:
            raise BicepError(f"unknown declaration {kind!r}")
        declared = self.string()[1][0]
        existing = self.take("existing")
        self.need("=")
        condition, value = self.conditional()
        return Statement(kind, name, decorators, declared, existing, condition, value)

    def conditional(self) -> tuple[Any, Any]:
        if not self.take("if"):
            return None, self.expression()
        self.need("(")
        condition = self.expression()
        self.need(")", lines=True)
        return condition, self.expression()

    def expression(self, minimum: int = 0) -> Any:
        left = self.unary()
        while True:
            self.skip()
            operator = next((o for o in OPERATORS if self.text.startswith(o, self.at)), None)
            if operator is None or PRECEDENCE[operator] <= minimum:
                break
            self.at += len(operator)
            left = ("binary", operator, left, self.expression(PRECEDENCE[operator]))
        if minimum == 0 and self.take("?"):
            self.skip(lines=True)
            yes = self.expression()
            self.need(":", lines=True)
            self.skip(lines=True)
            left = ("ternary", left, yes, self.expression())
        return left

    def unary(self) -> Any:
        if self.take("!"):
            return ("not", self.unary())
        return self.postfix()

    def postfix(self) -> Any:
        value = self.primary()
        while True:
            if self.text.startswith("!.", self.at):
                self.at += 1
            if self.text.startswith(".", self.at):
                self.at += 1
                value = ("member", value, self.name())
            elif self.text.startswith("[", self.at):
                self.at += 1
                value = ("index", value, self.expression())
                self.need("]")
            elif self.text.startswith("(", self.at) and value[0] == "name":
                self.at += 1
                value = ("call", value[1], tuple(self.items(")")))
            else:
                return value

    def items(self, end: str) -> list[Any]:
        found = []
        while not self.take(end, lines=True):
            self.skip(lines=True)
            found.append(self.expression())
            self.take(",", lines=True)
        return found

    def primary(self) -> Any:
        self.skip()
        if self.text.startswith("'", self.at):
            return self.string()
        if self.take("("):
            self.skip(lines=True)
            value = self.expression()
            self.need(")", lines=True)
            return value
        if self.take("{"):
            return self.object()
        if self.take("["):
            return self.loop() if self.take("for") else ("array", tuple(self.items("]")))
        number = NUMBER.match(self.text, self.at)
        if number:
            self.at = number.end()
            return ("value", int(number.group()))
        name = self.name()
        constants = {"true": True, "false": False, "null": None}
        return ("value", constants[name]) if name in constants else ("name", name)

    def object(self) -> Any:
        pairs = []
        while not self.take("}", lines=True):
            self.skip(lines=True)
            key = self.string() if self.text.startswith("'", self.at) else ("string", (self.name(),))
            self.need(":")
            pairs.append((key, self.expression()))
            self.take(",")
        return ("object", tuple(pairs))

    def loop(self) -> Any:
        index = None
        if self.take("("):
            item = self.name()
            self.need(",")
            index = self.name()
            self.need(")")
        else:
            item = self.name()
        self.need("in")
        source = self.expression()
        self.need(":")
        condition, body = self.conditional()
        self.need("]", lines=True)
        return ("loop", Loop(item, index, source, condition, body))

    def string(self) -> Any:
        self.need("'")
        parts: list[Any] = [""]
        while True:
            character = self.text[self.at]
            self.at += 1
            if character == "'":
                return ("string", tuple(parts))
            if character == "\\":
                escaped = self.text[self.at]
                self.at += 1
                parts.append(ESCAPES.get(escaped, escaped))
            elif character == "$" and self.text.startswith("{", self.at):
                self.at += 1
                parts.append(self.expression())
                self.need("}")
            elif isinstance(parts[-1], str):
                parts[-1] += character
            else:
                parts.append(character)


@dataclass(frozen=True)
class Resource:
    """A resource that the template deploys: ARM type, API version, evaluated body, and where it is declared."""

    type: str
    version: str
    body: Mapping[str, Any]
    file: str
    symbol: str
    scope: str

    @property
    def properties(self) -> Mapping[str, Any]:
        return self.body.get("properties") or {}


@dataclass
class Deployment:
    """One template with its parameters, evaluated on demand.

    Args:
        path: the template.
        parameters: name to value; what is missing takes its default.
        scope: the resource group (or subscription) that it deploys to.
    """

    path: Path
    parameters: Mapping[str, Any]
    scope: str = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}"
    known: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.statements = Parser(self.path.read_text()).file()
        # Outputs have names of their own: nothing refers to them, and one may be called like a parameter.
        self.declared = {s.name: s for s in self.statements if s.kind != "output"}
        unknown = set(self.parameters) - {s.name for s in self.statements if s.kind == "param"}
        if unknown:
            raise BicepError(f"{self.path.name} has no parameter {', '.join(sorted(unknown))}")
        for statement in self.statements:
            if statement.kind == "param":
                self.check(statement, self.lookup(statement.name, {}))

    def check(self, statement: Statement, value: Any) -> None:
        """Hold a parameter against its decorators."""
        for _, name, arguments in (d for d in statement.decorators if d[0] == "call"):
            if name == "allowed" and value not in self.evaluate(arguments[0], {}):
                raise BicepError(f"{statement.name}: {value!r} is not allowed")
            bound = self.evaluate(arguments[0], {}) if arguments else None
            if (name == "minValue" and value < bound) or (name == "maxValue" and value > bound):
                raise BicepError(f"{statement.name}: {value!r} is out of range")

    def lookup(self, name: str, local: Mapping[str, Any]) -> Any:
        if name in local:
            return local[name]
        if name not in self.known:
            if name not in self.declared:
                raise BicepError(f"{self.path.name}: nothing is called {name}")
            self.known[name] = self.declare(self.declared[name])
        return self.known[name]

    def declare(self, statement: Statement) -> Any:
        if statement.kind == "param" and statement.name in self.parameters:
            return self.parameters[statement.name]
        if statement.kind == "param" and statement.value is None:
            raise BicepError(f"{self.path.name}: parameter {statement.name} is missing")
        if statement.kind in {"param", "var"}:
            return self.evaluate(statement.value, {})
        return Reference(self, statement)

    def evaluate(self, node: Any, local: Mapping[str, Any]) -> Any:
        return getattr(self, f"evaluate_{node[0]}")(node, local)

    def evaluate_value(self, node: Any, local: Mapping[str, Any]) -> Any:
        return node[1]

    def evaluate_name(self, node: Any, local: Mapping[str, Any]) -> Any:
        return self.lookup(node[1], local)

    def evaluate_string(self, node: Any, local: Mapping[str, Any]) -> str:
        return "".join(part if isinstance(part, str) else str(self.evaluate(part, local)) for part in node[1])

    def evaluate_array(self, node: Any, local: Mapping[str, Any]) -> list[Any]:
        return [self.evaluate(item, local) for item in node[1]]

    def evaluate_object(self, node: Any, local: Mapping[str, Any]) -> dict[str, Any]:
        return {self.evaluate(key, local): self.evaluate(value, local) for key, value in node[1]}

    def evaluate_not(self, node: Any, local: Mapping[str, Any]) -> bool:
        return not self.evaluate(node[1], local)

    def evaluate_ternary(self, node: Any, local: Mapping[str, Any]) -> Any:
        return self.evaluate(node[2] if self.evaluate(node[1], local) else node[3], local)

    def evaluate_binary(self, node: Any, local: Mapping[str, Any]) -> Any:
        _, operator, left, right = node
        first = self.evaluate(left, local)
        if operator in {"&&", "||"}:
            return bool(self.evaluate(right, local)) if bool(first) == (operator == "&&") else bool(first)
        second = self.evaluate(right, local)
        match operator:
            case "==":
                return first == second
            case "!=":
                return first != second
            case "+":
                return first + second
        raise BicepError(f"operator {operator} is not of the dialect")

    def evaluate_member(self, node: Any, local: Mapping[str, Any]) -> Any:
        return member(self.evaluate(node[1], local), node[2])

    def evaluate_index(self, node: Any, local: Mapping[str, Any]) -> Any:
        value, index = self.evaluate(node[1], local), self.evaluate(node[2], local)
        if isinstance(value, Placeholder):
            return Placeholder(f"{value}[{index}]")
        return value if isinstance(value, Reference) else value[index]

    def evaluate_loop(self, node: Any, local: Mapping[str, Any]) -> list[Any]:
        loop: Loop = node[1]
        return [self.evaluate(loop.body, scope) for scope in self.rounds(loop, local)]

    def rounds(self, loop: Loop, local: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Give the local names of each round whose condition holds."""
        scopes = []
        for index, item in enumerate(self.evaluate(loop.source, local)):
            scope = {**local, loop.item: item} | ({loop.index: index} if loop.index else {})
            if loop.condition is None or self.evaluate(loop.condition, scope):
                scopes.append(scope)
        return scopes

    def evaluate_call(self, node: Any, local: Mapping[str, Any]) -> Any:
        _, name, arguments = node
        values = [self.evaluate(argument, local) for argument in arguments]
        match name:
            case "loadJsonContent":
                return json.loads((self.path.parent / values[0]).read_text())
            case "loadTextContent":
                return (self.path.parent / values[0]).read_text()
            case "resourceGroup" if values:
                return f"/subscriptions/{values[0]}/resourceGroups/{values[1]}"
            case "resourceGroup":
                return {"id": self.scope, "name": self.scope.rsplit("/", 1)[1], "location": "westeurope"}
            case "resourceId":
                return Placeholder(f"{self.scope}/providers/{values[0]}/{values[1]}")
            case "subscriptionResourceId":
                return f"/subscriptions/{self.scope.split('/')[2]}/providers/{values[0]}/{values[1]}"
        if name not in FUNCTIONS:
            raise BicepError(f"function {name} is not of the dialect")
        return FUNCTIONS[name](*values)

    def outputs(self) -> dict[str, Any]:
        return {s.name: self.evaluate(s.value, {}) for s in self.statements if s.kind == "output"}

    def resources(self) -> list[Resource]:
        """Give all resources that would be deployed, those of modules included."""
        found: list[Resource] = []
        for statement in self.statements:
            if statement.kind not in {"resource", "module"} or statement.existing:
                continue
            if statement.condition is not None and not self.evaluate(statement.condition, {}):
                continue
            for body in self.bodies(statement):
                if statement.kind == "module":
                    found += self.module(statement, body).resources()
                    continue
                kind, version = statement.type.split("@")
                parent = body.get("parent")
                scope = body.get("scope", parent)
                where = str(member(scope, "id")) if isinstance(scope, Reference) else self.scope
                found.append(Resource(kind, version, body, self.path.name, statement.name, where))
        return found

    def bodies(self, statement: Statement) -> list[dict[str, Any]]:
        """Evaluate a resource or module: one body, or one for each round of its loop."""
        value = self.evaluate(statement.value, {})
        return value if isinstance(value, list) else [value]

    def module(self, statement: Statement, body: Mapping[str, Any]) -> Deployment:
        scope = body.get("scope", self.scope)
        if isinstance(scope, Reference):
            scope = f"{self.scope}/resourceGroups/{member(scope, 'name')}"
        return Deployment(self.path.parent / statement.type, body["params"], scope)


@dataclass(frozen=True)
class Reference:
    """A resource or module by its symbol."""

    owner: Deployment
    statement: Statement

    def get(self, name: str) -> Any:
        [body] = self.owner.bodies(self.statement)
        if self.statement.kind == "module":
            return self.owner.module(self.statement, body).outputs()
        return body["name"] if name == "name" else Placeholder(f"<{self.statement.name}>.{name}")

    def __str__(self) -> str:
        return f"<{self.statement.name}>"


def member(value: Any, name: str) -> Any:
    """Give a property of an object, of a placeholder or of a resource."""
    match value:
        case Reference():
            return Placeholder(f"<{value.statement.name}>.id") if name == "id" else value.get(name)
        case Placeholder():
            return Placeholder(f"{value}.{name}")
        case _:
            return value[name]


def _contains(container: Any, item: Any) -> bool:
    return item in container


def _empty(value: Any) -> bool:
    return len(value) == 0


def _int(value: str) -> int:
    if not re.fullmatch(r"-?\d+", value):
        raise BicepError(f"int: {value}")
    return int(value)


def _merge(*values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: item for value in values for key, item in value.items()}


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "concat": lambda *values: [item for value in values for item in value],
    "contains": _contains,
    "empty": _empty,
    "endsWith": str.endswith,
    "environment": lambda: {"suffixes": {"storage": "core.windows.net"}},
    "guid": lambda *values: Placeholder(f"guid({', '.join(values)})"),
    "int": _int,
    "items": lambda value: [{"key": key, "value": value[key]} for key in sorted(value)],
    "join": lambda values, separator: separator.join(values),
    "last": lambda value: value[-1],
    "replace": str.replace,
    "split": str.split,
    "string": _text,
    "take": lambda value, count: value[:count],
    "toLower": lambda value: type(value)(value.lower()),
    "union": _merge,
    "uniqueString": lambda *_: "abcdefghijklm",
}

main = partial(Deployment, Path(__file__).parents[2] / "infra" / "bicep" / "main.bicep")
