"""The Bicep compiler, where there is one: one process that answers many questions (`bicep jsonrpc`).

No package registry has it; GitHub's runners have one. Run as a module, this writes anew what the compiler says:
`python -m tests.infra.compiler`.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.infra.scenarios import GROUP, LOCATION, SCENARIOS, SUBSCRIPTION, TENANT, Scenario
from tests.infra.toolbox import BICEP, ROOT

PROGRAM = shutil.which("bicep")
TEMPLATE = ROOT / "infra" / "azuredeploy.json"
METADATA = {
    "tenantId": TENANT,
    "subscriptionId": SUBSCRIPTION,
    "resourceGroup": GROUP,
    "location": LOCATION,
    "deploymentName": "vending",
}


class Refused(Exception):
    """The compiler's or the template's own words on why there is no result."""


class Compiler:
    """A running compiler. Paths go in and come out in full."""

    def __enter__(self) -> Self:
        assert PROGRAM
        self._process = subprocess.Popen(
            [PROGRAM, "jsonrpc", "--stdio"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        self._id = 0
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call `bicep/<method>`. Raises `Refused` with the message of a JSON-RPC error."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        self._id += 1
        sent = {"jsonrpc": "2.0", "id": self._id, "method": f"bicep/{method}", "params": parameters}
        body = json.dumps(sent).encode()
        stdin.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
        stdin.flush()
        length = 0
        while header := stdout.readline().strip():
            name, _, value = header.partition(b":")
            length = int(value) if name.lower() == b"content-length" else length
        answer = json.loads(stdout.read(length))
        if "error" in answer:
            raise Refused(json.dumps(answer["error"]))
        result: dict[str, Any] = answer["result"]
        return result

    def compile(self, path: Path) -> dict[str, Any]:
        """Give `success`, `diagnostics` and `contents`, the template."""
        return self.ask("compile", path=str(path))

    def snapshot(self, parameters: Path) -> dict[str, Any]:
        """Evaluate a parameters file. Raises `Refused`, as the deployment would."""
        try:
            answer = self.ask("getSnapshot", path=str(parameters), metadata=METADATA, externalInputs=[])
        except Refused:
            compiled = self.ask("compileParams", path=str(parameters), parameterOverrides={})
            if compiled["success"]:
                raise
            raise Refused("\n".join(entry["message"] for entry in compiled["diagnostics"])) from None
        found: dict[str, Any] = json.loads(answer["snapshot"])
        return found

    def formatted(self, path: Path) -> str:
        return str(self.ask("format", path=str(path))["contents"])

    def metadata(self, path: Path) -> dict[str, Any]:
        return self.ask("getMetadata", path=str(path))


def snapshot_text(compiler: Compiler, scenario: Scenario) -> str:
    return json.dumps(compiler.snapshot(scenario.parameters), indent=1, sort_keys=True) + "\n"


def template_text(compiler: Compiler) -> str:
    """The compiled template, without what only names the compiler that wrote it."""
    found = json.loads(compiler.compile(BICEP / "main.bicep")["contents"])
    return json.dumps(without_generator(found), indent=1) + "\n"


def without_generator(value: Any) -> Any:
    """Drop `metadata._generator`: another compiler version writes the same template under another hash."""
    if isinstance(value, list):
        return [without_generator(item) for item in value]
    if isinstance(value, dict):
        kept = {k: without_generator(v) for k, v in value.items() if k != "_generator"}
        return {k: v for k, v in kept.items() if k != "metadata" or v}
    return value


def main() -> None:
    if PROGRAM is None:
        sys.exit("There is no Bicep compiler on PATH.")
    with Compiler() as compiler:
        for scenario in SCENARIOS:
            scenario.parameters.write_text(scenario.written())
            scenario.parameters.write_text(compiler.formatted(scenario.parameters))
            scenario.snapshot_file.write_text(snapshot_text(compiler, scenario))
        TEMPLATE.write_text(template_text(compiler))


if __name__ == "__main__":
    main()
