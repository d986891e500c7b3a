"""The start: what importing the app must not do, and what stops it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from devstack.stack import PROJECT
from vending.endpoints import _HANDLERS
from vending.errors import CATALOGUE, Reason
from vending.http import ENDPOINTS
from vending.startup import PACKAGES

pytestmark = pytest.mark.process

HEAVY = [
    *("azure.identity", "msal", "requests", "pydantic", "ruamel.yaml", "opentelemetry", "devstack"),
    *("aiohttp", "httpx", "cryptography", "vending.wiring", "vending.endpoints"),
]


def start(code: str, cwd: Path = PROJECT, **settings: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], **settings}
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=cwd, capture_output=True, text=True, check=False
    )


def test_importing_the_app_loads_nothing_heavy() -> None:
    code = f"import sys, function_app; print([name for name in {HEAVY} if name in sys.modules])"
    done = start(code, WEBSITE_HOSTNAME="vend.example")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


def test_importing_the_app_opens_no_file_of_the_policy_and_no_socket() -> None:
    code = (
        "import sys\n"
        "seen = []\n"
        "def watch(event, arguments):\n"
        "    if event.startswith('socket.') or (event == 'open' and 'policy.yaml' in str(arguments[0])):\n"
        "        seen.append(event)\n"
        "import azure.functions\n"
        "sys.addaudithook(watch)\n"
        "import function_app\n"
        "print(seen)\n"
    )
    done = start(code, WEBSITE_HOSTNAME="vend.example")
    assert done.stdout.strip() == "[]", done.stderr


ASK = """
import asyncio, sys, time
import function_app
functions = {f.get_function_name(): f.get_user_function() for f in function_app.app.get_functions()}
import azure.functions as func

class Context:
    invocation_id = "1"

async def main():
    before = [name for name in NAMES if name in sys.modules]
    request = func.HttpRequest("GET", "https://vend.example/healthz", headers={}, body=b"")
    answer = await functions["healthz"](request, Context())
    at_once = [name for name in NAMES if name in sys.modules]
    end = time.monotonic() + 60
    while any(name not in sys.modules for name in NAMES) and time.monotonic() < end:
        await asyncio.sleep(0.01)
    behind = [name for name in NAMES if name in sys.modules]
    print(answer.status_code, before, at_once, behind == NAMES)

asyncio.run(main())
"""


def test_what_requests_need_is_imported_behind_the_answer_to_the_first_one() -> None:
    needed = ["vending.vendor", "aiohttp", "httpx", "pydantic", "cryptography", "azure.identity"]
    done = start(f"NAMES = {needed}\n{ASK}", WEBSITE_HOSTNAME="vend.example")
    assert done.stdout.strip() == "200 [] [] True", done.stderr


LOAD = """
import asyncio, sys, time

async def main():
    import function_app
    at_once = [name for name in NAMES if name in sys.modules]
    end = time.monotonic() + 60
    while any(name not in sys.modules for name in NAMES) and time.monotonic() < end:
        await asyncio.sleep(0.01)
    print(at_once, [name for name in NAMES if name in sys.modules] == NAMES)

asyncio.run(main())
"""


def test_worker_that_waits_for_the_first_request_imports_what_requests_need() -> None:
    needed = ["vending.endpoints", "vending.vendor", "aiohttp", "httpx", "pydantic", "cryptography", "azure.identity"]
    done = start(f"NAMES = {needed}\n{LOAD}", WEBSITE_HOSTNAME="vend.example")
    assert done.stdout.strip() == "[] True", done.stderr


@pytest.mark.parametrize("name", PACKAGES)
def test_package_that_is_missing_stops_the_start_although_it_is_imported_later(name: str) -> None:
    answer, (printed, _) = misconfigured(before=f"sys.modules[{name!r}] = None")
    assert (answer["status"], answer["body"]["reason"], answer["failure"]) == (
        503,
        "misconfigured",
        "ModuleNotFoundError",
    )
    assert printed == f"the app cannot start: ModuleNotFoundError: No module named {name!r}"


@pytest.mark.parametrize("binary", ["_pydantic_core.cpython-38-x86_64-linux-gnu.so", ""])
def test_packages_of_another_python_stop_the_start_and_are_named(tmp_path: Path, binary: str) -> None:
    (tmp_path / "pydantic_core" / "_pydantic_core").mkdir(parents=True)  # The stubs, as in the wheel.
    (tmp_path / "pydantic_core" / "__init__.py").write_text("raise SystemExit('imported')")
    if binary:
        (tmp_path / "pydantic_core" / binary).touch()
    answer, (printed, logged) = misconfigured(before=f"sys.path.insert(0, {str(tmp_path)!r})")
    assert (answer["status"], answer["body"]["reason"], answer["failure"]) == (503, "misconfigured", "ImportError")
    assert printed.startswith(
        f"the app cannot start: ImportError: the packages are installed for another Python: "
        f"pydantic_core has {binary or 'no binary'}, and this one needs _pydantic_core.{sys.implementation.cache_tag}"
    )
    assert json.loads(logged)["error"] in printed


def test_every_package_that_the_app_requires_is_looked_for() -> None:
    lines = (PROJECT / "requirements.in").read_text(encoding="utf-8").splitlines()
    required = {re.split(r"[\[<>=~; ]", line)[0] for line in lines if line and not line.startswith("#")}
    module_of = {"azure-identity": "azure.identity", "PyJWT": "jwt"}
    assert {"cryptography"} | {module_of.get(name, name) for name in required - {"azure-functions"}} == set(PACKAGES)


def test_package_that_cannot_be_imported_after_all_answers_503_and_is_named_in_the_log(tmp_path: Path) -> None:
    (tmp_path / "cryptography").mkdir()
    (tmp_path / "cryptography" / "__init__.py").write_text("raise ImportError('libssl.so.3: version not found')")
    code = f"""
import sys; sys.path.insert(0, {str(tmp_path)!r})
import asyncio, json, logging
import azure.functions as func
import function_app
functions = {{f.get_function_name(): f.get_user_function() for f in function_app.app.get_functions()}}
class Context: invocation_id = "1"
logging.basicConfig(level="ERROR", format="%(message)s")
request = func.HttpRequest("GET", "https://vend.example/readyz", headers={{}}, body=b"")
answer = asyncio.run(functions["readyz"](request, Context()))
print(answer.status_code, json.loads(answer.get_body())["reason"])
"""
    done = start(code, WEBSITE_HOSTNAME="vend.example")
    assert done.stdout.strip() == "503 misconfigured", done.stderr
    assert json.loads(done.stderr.splitlines()[-1]) == {
        "event": "misconfigured",
        "error": "ImportError: libssl.so.3: version not found",
    }


READY = """
import asyncio, sys
import azure.functions as func
import function_app
functions = {f.get_function_name(): f.get_user_function() for f in function_app.app.get_functions()}

class Context:
    invocation_id = "1"

request = func.HttpRequest("GET", "https://vend.example/readyz", headers={}, body=b"")
answer = asyncio.run(functions["readyz"](request, Context()))
print(answer.status_code, [name for name in sys.modules if name.startswith("ruamel.")])
"""


def test_compiled_policy_is_in_force_without_the_yaml_parser(tmp_path: Path) -> None:
    source, compiled = tmp_path / "policy", tmp_path / "policy.json"
    source.mkdir()
    shutil.copy(PROJECT / "policy.yaml", source)
    command = [sys.executable, "-m", "vending", "compile", str(source), "-o", str(compiled)]
    subprocess.run(command, check=True, cwd=PROJECT, capture_output=True)
    done = start(READY, WEBSITE_HOSTNAME="vend.example", VENDING_POLICY=str(compiled))
    assert done.stdout.strip() == "200 []", done.stderr
    done = start(READY, WEBSITE_HOSTNAME="vend.example", VENDING_POLICY=str(source / "policy.yaml"))
    assert done.stdout.startswith("200 ['ruamel."), done.stderr


def test_every_endpoint_has_a_handler() -> None:
    assert {endpoint.name for endpoint in ENDPOINTS} - {"zz_fallback"} == set(_HANDLERS)


SHOW = """
import asyncio, json, logging, sys
import azure.functions as func
{before}
import function_app
functions = function_app.app.get_functions()
[function] = functions
trigger = function.get_trigger().get_dict_repr()
headers = {{"x-request-id": "{request_id}"}}
request = func.HttpRequest("{method}", "https://vend.example{path}", headers=headers, body=b"")
logging.basicConfig(level="INFO", format="%(message)s")
answer = asyncio.run(function.get_user_function()(request))
print(json.dumps({{
    "name": function.get_function_name(), "route": trigger["route"], "methods": trigger.get("methods"),
    "auth": trigger["authLevel"].name, "status": answer.status_code, "headers": dict(answer.headers),
    "body": json.loads(answer.get_body()), "mimetype": answer.mimetype, "failure": type(function_app.failure).__name__,
}}))
"""


SOON = {"VENDING_DEADLINE_SECONDS": "soon"}


def misconfigured(
    settings: Mapping[str, str] | None = None,
    before: str = "",
    method: str = "GET",
    path: str = "/",
    request_id: str = "r-1",
    cwd: Path = PROJECT,
) -> tuple[dict[str, Any], list[str]]:
    """Import the app, which cannot start, ask it once, and return its answer and what it wrote to standard error."""
    code = SHOW.format(before=before, method=method, path=path, request_id=request_id)
    done = start(code, cwd, WEBSITE_HOSTNAME="vend.example", **(settings or {}))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr.splitlines()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("VENDING_DEADLINE_SECONDS", "soon"),
        ("VENDING_POLICY", "https://abc.blob.core.windows.net/c/b?sig=secret"),
        ("VENDING_TELEMETRY", "azure-monitor"),
    ],
)
def test_bad_setting_answers_503_everywhere_and_is_named_in_the_log(name: str, value: str) -> None:
    answer, (printed, logged) = misconfigured({name: value})
    assert (answer["name"], answer["route"], answer["methods"], answer["auth"]) == (
        "zz_fallback",
        "{*path}",
        None,
        "ANONYMOUS",
    )
    assert (answer["status"], answer["body"]["reason"], answer["failure"]) == (503, "misconfigured", "SettingsError")
    assert name not in json.dumps(answer)  # No detail for whoever asks.
    assert printed.startswith(f"the app cannot start: SettingsError: {name}")
    event = json.loads(logged)
    assert event["event"] == "misconfigured"
    assert event["error"].startswith(f"SettingsError: {name}")
    assert "secret" not in printed + logged


@pytest.mark.parametrize(
    ("before", "error"),
    [
        ("sys.modules['httpx'] = None", "ModuleNotFoundError"),
        ("sys.modules['vending'] = None", "ModuleNotFoundError"),
        ("sys.modules['vending.settings'] = None", "ModuleNotFoundError"),
    ],
)
def test_missing_package_or_module_answers_503(before: str, error: str) -> None:
    answer, (printed, logged) = misconfigured(before=before)
    assert (answer["status"], answer["body"]["reason"], answer["failure"]) == (503, "misconfigured", error)
    assert printed.startswith(f"the app cannot start: {error}: ")
    assert json.loads(logged)["error"].startswith(f"{error}: ")


@pytest.mark.parametrize(
    ("content", "error", "said"),
    [
        ("def blueprint(:", "SyntaxError", "SyntaxError: "),
        ("raise SystemExit(3)", "SystemExit", "SystemExit in http.py:1"),
        ("raise ValueError('the secret s3cret is wrong')", "ValueError", "ValueError in http.py:1"),
        ("def blueprint(environment):\n    return None", "AttributeError", "AttributeError in "),
    ],
)
def test_whatever_the_start_raises_answers_503(tmp_path: Path, content: str, error: str, said: str) -> None:
    (tmp_path / "vending").mkdir()
    (tmp_path / "vending" / "__init__.py").touch()
    (tmp_path / "vending" / "http.py").write_text(content)
    (tmp_path / "function_app.py").write_bytes((PROJECT / "function_app.py").read_bytes())
    answer, (printed, logged) = misconfigured(cwd=tmp_path)
    assert (answer["status"], answer["body"]["reason"], answer["failure"]) == (503, "misconfigured", error)
    assert json.loads(logged)["error"].startswith(said)
    assert "s3cret" not in printed + logged


@pytest.mark.parametrize(("method", "path"), [("POST", "/token"), ("HEAD", "/healthz"), ("PUT", "/a/b?c")])
@pytest.mark.parametrize(("request_id", "kept"), [("a.B-1_", True), ("x" * 65, False), ("a b", False)])
def test_answer_of_a_start_that_failed_is_an_error_like_any_other(
    method: str, path: str, request_id: str, kept: bool
) -> None:
    answer, _ = misconfigured(SOON, method=method, path=path, request_id=request_id)
    entry = CATALOGUE[Reason.MISCONFIGURED]
    told = answer["headers"].pop("X-Request-Id")
    assert answer["headers"] == {"Cache-Control": "no-store", "Pragma": "no-cache", "X-Content-Type-Options": "nosniff"}
    assert (told == request_id) is kept
    assert answer["mimetype"] == "application/json"
    assert answer["body"] == {
        "error": entry.error,
        "error_description": entry.advice,
        "reason": "misconfigured",
        "request_id": told,
    }
    assert answer["status"] == entry.status


def test_local_host_ends_with_the_message_of_a_bad_setting() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "devstack", "host", "--port", "0"],
        env={"PATH": os.environ["PATH"], "VENDING_DEADLINE_SECONDS": "soon"},
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1
    assert "devstack host: VENDING_DEADLINE_SECONDS must be" in done.stderr
    assert "Traceback" not in done.stderr
