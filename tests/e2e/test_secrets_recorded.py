"""The search for secrets in what the app lets out finds what is there: a detector that finds nothing proves nothing."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from devstack.entra.tenant import Tenant
from devstack.issuer.server import IssuerServer
from devstack.stack import Stack
from tests.support.caller import exchange, vend
from tests.support.recorder import events, find_leaks, find_misfits

pytestmark = pytest.mark.e2e

TOKEN = Tenant().token("oid", "client", "https://containerregistry.azure.net")
HEADER, PAYLOAD, SIGNATURE = TOKEN.split(".")


def record(directory: Path, output: str, *secrets: str) -> None:
    (directory / "secrets-1.jsonl").write_text("".join(json.dumps(secret) + "\n" for secret in secrets))
    (directory / "output-1.log").write_text(output)


@pytest.mark.parametrize(
    ("output", "secret"),
    [
        pytest.param(f"INFO x sent {TOKEN}\n", TOKEN, id="a whole token"),
        pytest.param(f"'{PAYLOAD[:60]}'", TOKEN, id="the beginning of its claims"),
        pytest.param(f"…{PAYLOAD[37:70]}…", TOKEN, id="some of its claims"),
        pytest.param(f'{{"s": "{SIGNATURE}"}}', TOKEN, id="its signature alone"),
        pytest.param(f"Bearer {HEADER}", TOKEN, id="its header alone"),
        pytest.param("the secret is s3cr3t!", "s3cr3t!", id="a short secret"),
        pytest.param(
            "MIIEvQIBADANBgkqhkiG9w0BAQEF", "-----BEGIN X-----\nMIIEvQIBADANBgkqhkiG9w0BAQEF\n", id="a line of a PEM"
        ),
    ],
)
def test_a_secret_in_the_output_is_found(tmp_path: Path, output: str, secret: str) -> None:
    record(tmp_path, output, secret)
    assert len(find_leaks(tmp_path)) >= 1


@pytest.mark.parametrize(
    "output",
    ["INFO x nothing here", "a" * 64, "3f2504e0-4f89-11d3-9a0c-0305e82c3301", "registry_response_invalid_and_more"],
)
def test_digests_ids_and_words_are_no_leak(tmp_path: Path, output: str) -> None:
    record(tmp_path, output, TOKEN, "a" * 64 + ".x")
    assert find_leaks(tmp_path) == []


def test_an_event_that_does_not_fit_the_schema_is_found(tmp_path: Path) -> None:
    record(tmp_path, 'INFO vending.audit {"schema": 1, "kind": "token"}\n')
    seen, wrong = find_misfits(tmp_path)
    assert seen == {"token": 1}
    assert wrong


def test_the_run_itself_is_recorded_answers_logs_and_tokens(
    stack: Stack, issuers: IssuerServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEVSTACK_RECORD", str(tmp_path))
    with Stack(stack.upstreams) as own:
        token = issuers.github.token()
        vended = vend(own.url, token, scope="repository:web/api:pull")
        assert exchange(own.url, token, scope="repository:web/api:pull").status_code == 400
        # At this level the libraries hide least; what they log outside of an invocation the host drops.
        assert os.environ["DEVSTACK_LOG_LEVEL"] == "DEBUG"
    secrets = "".join(path.read_text() for path in tmp_path.glob("secrets-*"))
    assert token in secrets
    assert vended["access_token"] in secrets
    assert own.settings["IDENTITY_HEADER"] in secrets
    outputs = [path.read_text() for path in tmp_path.glob("output-*")]
    assert [event["outcome"] for event in events(outputs)] == ["allow", "deny"]
    assert any("token_replayed" in text and "X-Request-Id" in text for text in outputs)
    assert find_leaks(tmp_path) == []
    assert find_misfits(tmp_path) == ({"token": 2}, [])
