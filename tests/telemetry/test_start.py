"""What the setting demands before the app starts, and that nothing of it is loaded where it is off."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from devstack.stack import PROJECT

CONNECTION = "InstrumentationKey=00000000-0000-0000-0000-0000000000aa;IngestionEndpoint=https://localhost:1/"
ON = {"VENDING_TELEMETRY": "azure-monitor", "APPLICATIONINSIGHTS_CONNECTION_STRING": CONNECTION}


END = "import sys, function_app; sys.exit(function_app.failure is not None)"


def start(code: str = END, **settings: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "WEBSITE_HOSTNAME": "vend.example", **settings}
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=PROJECT, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("value", ["", "off"])
def test_nothing_of_it_is_imported_where_it_is_off(value: str) -> None:
    code = "import sys, function_app; print([name for name in sys.modules if name.startswith('opentelemetry')])"
    done = start(code, VENDING_TELEMETRY=value, APPLICATIONINSIGHTS_CONNECTION_STRING=CONNECTION)
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr


def test_the_app_starts_with_it_and_loads_it_only_with_the_first_request() -> None:
    done = start("import sys, function_app; print('opentelemetry.sdk' in sys.modules)", **ON)
    assert (done.returncode, done.stdout.strip()) == (0, "False"), done.stderr


@pytest.mark.parametrize("missing", ["azure.monitor", "azure.monitor.opentelemetry"])
def test_without_the_package_the_start_fails_and_says_what_to_do(missing: str) -> None:
    done = start(f"import sys; sys.modules[{missing!r}] = None; {END}", **ON)
    assert done.returncode != 0
    message = done.stderr.splitlines()[-1]
    assert "SettingsError: VENDING_TELEMETRY" in message
    assert "requirements-telemetry.txt" in message


@pytest.mark.parametrize("value", ["", "  ", "IngestionEndpoint=https://localhost:1/", "InstrumentationKey=1"])
def test_without_a_usable_connection_string_the_start_fails_and_names_it(value: str) -> None:
    done = start(**{**ON, "APPLICATIONINSIGHTS_CONNECTION_STRING": value})
    assert done.returncode != 0
    assert "APPLICATIONINSIGHTS_CONNECTION_STRING" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("value", ["true", "True", "1"])
def test_two_reporters_to_application_insights_are_one_too_many(value: str) -> None:
    done = start(**ON, PYTHON_APPLICATIONINSIGHTS_ENABLE_TELEMETRY=value)
    assert done.returncode != 0
    assert "PYTHON_APPLICATIONINSIGHTS_ENABLE_TELEMETRY" in done.stderr.splitlines()[-1]


def test_the_requirements_with_telemetry_are_those_without_and_more() -> None:
    def pins(name: str) -> set[str]:
        return set(re.findall(r"^([\w.-]+==[^\s;]+)", (PROJECT / name).read_text(), re.MULTILINE))

    plain, more = pins("requirements.txt"), pins("requirements-telemetry.txt")
    assert plain < more
    assert any(pin.startswith("azure-monitor-opentelemetry==") for pin in more - plain)
