"""The app under the platform's own code: indexed by azure-functions, and run by the real Python worker library."""

from __future__ import annotations

import json
from urllib.parse import urlencode

import pytest

from devstack.host.app import import_app
from devstack.host.runtime import Invocation, run_worker
from devstack.issuer.server import IssuerServer
from devstack.stack import PROJECT, Stack, Upstreams
from tests.support import forwarded
from tests.support.caller import GRANT_TYPE

pytestmark = pytest.mark.e2e

FUNCTIONS = ["explain", "healthz", "metadata", "openapi", "readyz", "token", "zz_fallback"]
FORM = {"content-type": "application/x-www-form-urlencoded"}


def test_the_catch_all_sorts_last_because_the_host_tries_routes_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEBSITE_HOSTNAME", "vend.example")
    triggers = {
        str(function.get_function_name()): function.get_trigger() for function in import_app(PROJECT).get_functions()
    }
    routes = {name: trigger.get_dict_repr()["route"] for name, trigger in triggers.items() if trigger is not None}
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
