"""The stack holds together: the demonstration, the foreground command, further instances, and finding tools."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from devstack import demo, plain, tools
from devstack.faults import Fault
from devstack.registry.tokens import Rights
from devstack.stack import Stack, Upstreams

SAMPLE = Path(__file__).parent / "sample_app"


@pytest.mark.e2e
@pytest.mark.parametrize("memory_registry", [False, True], ids=["docker-registry", "memory"])
def test_demo_plays_the_whole_story(capsys: pytest.CaptureFixture[str], memory_registry: bool) -> None:
    status = demo.run(memory_registry=memory_registry)
    told = capsys.readouterr().out
    assert status == 0, told
    backend = "the emulator's own small registry" if memory_registry else "the real docker-registry server"
    assert backend in told
    for promised in (
        "username                     00000000-0000-0000-0000-000000000000",
        "pulled it back, byte for byte",
        "a push to another repository, web/ui: 401",
        "a push with the pull-only token: 401",
        "scope_not_granted",
        "token_expired",
        "issuer_unknown",
        "audience_mismatch",
        "Everything went as it should.",
    ):
        assert promised in told
    assert not re.search(r"eyJ[\w-]{20,}", told), "a token was printed"


def test_demo_fails_when_the_service_does_otherwise(capsys: pytest.CaptureFixture[str]) -> None:
    assert demo.run(memory_registry=True, app=SAMPLE) == 1
    told = capsys.readouterr().out
    assert "✗" in told
    assert "Everything" not in told


def test_demo_says_when_docker_registry_cannot_be_had(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setenv("DEVSTACK_NO_INSTALL", "1")
    monkeypatch.setattr(tools, "DOCKER_REGISTRY", tools.Tool("no-such-registry", debian="no-such-registry"))
    monkeypatch.setattr(tools, "SKOPEO", tools.Tool("no-such-skopeo", debian="no-such-skopeo"))
    assert demo.run() == 0
    told = capsys.readouterr().out
    assert "docker-registry is not used: no-such-registry is not installed" in told
    assert "left out: no-such-skopeo is not installed" in told


@pytest.mark.e2e
def test_up_prints_a_request_that_works_and_ends_with_the_signal() -> None:
    command = [sys.executable, "-m", "devstack", "up", "--port", "0", "--memory-registry"]
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        told = ""
        while "audience=" not in told:
            line = process.stdout.readline()
            assert line, told
            told += line
        pasted = re.search(r"^curl -sS \S+/token .*?\n\n", told, re.DOTALL | re.MULTILINE)
        assert pasted
        done = subprocess.run(pasted[0], shell=True, capture_output=True, text=True, timeout=60, check=False)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    assert '"scope":"repository:web/api:pull,push"' in done.stdout.replace(": ", ":")


def test_taken_port_ends_up_with_a_message(upstreams: Upstreams) -> None:
    command = [sys.executable, "-m", "devstack", "up", "--memory-registry", "--port", str(upstreams.issuers.port)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    assert "cannot be used" in done.stderr


def test_instances_of_one_stack_share_its_policy_and_upstreams(upstreams: Upstreams) -> None:
    with Stack(upstreams, policy="version: 1\n", app=SAMPLE, settings={"FUNCTIONS_REQUEST_BODY_SIZE_LIMIT": ""}) as own:
        second = own.add_host({"WEBSITE_HOSTNAME": "second.example"})
        answers = [plain.get(f"{url}/environment").json()["WEBSITE_HOSTNAME"] for url in (own.url, second.url)]
        assert answers == [own.url.removeprefix("http://"), "second.example"]
        assert own.policy_path.read_text() == "version: 1\n"
        assert "FUNCTIONS_REQUEST_BODY_SIZE_LIMIT" not in own.settings
        own.write_policy("version: 2\n")
        assert own.policy_path.read_text() == "version: 2\n"
    assert not second.running


def test_healing_removes_every_fault_and_oddity(upstreams: Upstreams) -> None:
    identity = upstreams.identity
    identity.board.set("token", Fault(status=500))
    upstreams.issuers.gitlab.board.set("jwks", Fault(status=500))
    upstreams.registry.board.set("v2", Fault(status=500))
    upstreams.registry.firewalled = True
    upstreams.registry.tokens.capital_keys = True
    assert identity.system is not None
    upstreams.registry.allow(identity.system.object_id, Rights())
    upstreams.heal()
    assert plain.get(upstreams.issuers.gitlab.discovery()["jwks_uri"]).status_code == 200
    assert plain.get(f"{upstreams.registry.url}/v2/").status_code == 401
    assert upstreams.registry.tokens.capital_keys is False
    assert upstreams.registry.tokens.rights[identity.system.object_id].catalog


def test_second_registry_stands_apart(upstreams: Upstreams) -> None:
    second = upstreams.new_registry()
    assert second.login_server != upstreams.registry.login_server
    assert plain.get(f"{second.url}/v2/").status_code == 401


def test_tool_that_is_there_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    assert tools.ensure(tools.Tool("sh")).name == "sh"
    monkeypatch.setenv("DEVSTACK_NO_INSTALL", "1")
    with pytest.raises(tools.Unavailable, match="DEVSTACK_NO_INSTALL"):
        tools.ensure(tools.Tool("no-such-tool", debian="no-such-tool"))


def test_tool_without_a_package_is_unavailable() -> None:
    with pytest.raises(tools.Unavailable, match="no package of it is known"):
        tools.ensure(tools.Tool("no-such-tool"))


def test_only_root_installs_debian_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(tools.Unavailable, match=r"sudo apt-get install|no apt-get"):
        tools.ensure(tools.Tool("no-such-tool", debian="no-such-tool"))


def test_throttle_is_over_after_its_time() -> None:
    assert not Fault.throttled(60).over
    assert Fault.throttled(-1).over
