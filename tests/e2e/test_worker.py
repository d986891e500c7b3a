"""The app under the platform's own code: indexed by azure-functions, and run by the real Python worker library."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from urllib.parse import urlencode

import pytest

from devstack.host.runtime import Invocation, run_worker
from devstack.issuer.server import IssuerServer
from devstack.stack import PROJECT, Stack, Upstreams
from tests.support import forwarded
from tests.support.caller import GRANT_TYPE

pytestmark = pytest.mark.e2e

FUNCTIONS = ["explain", "healthz", "metadata", "openapi", "readyz", "token", "zz_fallback"]
FORM = {"content-type": "application/x-www-form-urlencoded"}


_LIST_ROUTES = """
import json
from pathlib import Path
from devstack.host.app import import_app

functions = import_app(Path.cwd()).get_functions()
triggers = {str(one.get_function_name()): one.get_trigger() for one in functions}
print(json.dumps({name: one.get_dict_repr()["route"] for name, one in triggers.items() if one is not None}))
"""
"""In a process of its own: an app that is loaded takes over the operations log of its process."""


def test_the_catch_all_sorts_last_because_the_host_tries_routes_by_name() -> None:
    environment = {"PATH": os.environ["PATH"], "WEBSITE_HOSTNAME": "vend.example"}
    command = [sys.executable, "-c", _LIST_ROUTES]
    listed = subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True, check=True)
    routes = json.loads(listed.stdout)
    assert sorted(routes) == FUNCTIONS
    assert max(routes) == "zz_fallback"
    assert routes["zz_fallback"] == "{*path}"


def test_the_host_prefixes_no_route_and_samples_no_trace() -> None:
    host = json.loads((PROJECT / "host.json").read_text())
    assert host["extensions"]["http"]["routePrefix"] == ""
    assert host["logging"]["applicationInsights"]["samplingSettings"] == {"isEnabled": False}
    assert "extensionBundle" not in host


def test_the_real_worker_indexes_the_app_and_vends_a_token(upstreams: Upstreams, issuers: IssuerServer) -> None:
    with Stack(upstreams, start_host=False) as stack:
        settings = {**stack.settings, "VENDING_PUBLIC_URL": "https://vend.contoso.example"}
        body = urlencode(
            {
                "grant_type": GRANT_TYPE,
                "subject_token": issuers.github.token(),
                "scope": "repository:web/api:pull,push",
            }
        ).encode()
        calls = [
            Invocation("token", "POST", "https://vend.contoso.example/token", headers=FORM, body=body),
            Invocation("token", "GET", "https://vend.contoso.example/token"),
            Invocation("zz_fallback", "GET", "https://vend.contoso.example/nothing"),
        ]
        run = run_worker(PROJECT, settings, calls)
    assert run.python.startswith("3.13")
    assert sorted(run.functions) == FUNCTIONS
    vended, wrong_method, unknown = run.responses
    assert vended.status == 200, vended
    assert vended.json()["scope"] == "repository:web/api:pull,push"
    assert (wrong_method.status, wrong_method.json()["reason"]) == (405, "method_not_allowed")
    assert (unknown.status, unknown.json()["reason"]) == (404, "not_found")


def test_the_real_worker_answers_503_where_the_start_fails_and_forwards_why() -> None:
    calls = [
        Invocation("zz_fallback", "POST", "https://vend.contoso.example/token", headers=FORM, body=b"a=b"),
        Invocation("zz_fallback", "GET", "https://vend.contoso.example/healthz"),
    ]
    run = run_worker(PROJECT, {"WEBSITE_HOSTNAME": "vend.example", "VENDING_DEADLINE_SECONDS": "soon"}, calls)
    assert sorted(run.functions) == ["zz_fallback"]
    assert [(answer.status, answer.json()["reason"]) for answer in run.responses] == [(503, "misconfigured")] * 2
    logged = [event for event in forwarded.events(run.forwarded) if event["event"] == "misconfigured"]
    assert len(logged) == 2
    assert all("VENDING_DEADLINE_SECONDS" in event["error"] for event in logged)
