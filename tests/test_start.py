"""The start: what importing the app must not do, and what stops it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from devstack.stack import PROJECT

HEAVY = ["azure.identity", "msal", "requests", "pydantic", "ruamel.yaml", "opentelemetry", "devstack"]


def start(code: str, **settings: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], **settings}
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=PROJECT, capture_output=True, text=True, check=False
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


@pytest.mark.parametrize(
    ("name", "value"),
    [("VENDING_DEADLINE_SECONDS", "soon"), ("VENDING_POLICY", "https://abc.blob.core.windows.net/c/b?sig=1")],
)
def test_a_bad_setting_stops_the_start_and_is_named(name: str, value: str) -> None:
    done = start("import function_app", WEBSITE_HOSTNAME="vend.example", **{name: value})
    assert done.returncode != 0
    assert f"SettingsError: {name}" in done.stderr
    assert "sig=1" not in done.stderr.splitlines()[-1]
