"""A cold start makes its calls side by side where the policy leaves no choice, and no caller adds one.

Order is seen by holding answers back: an issuer that publishes its keys only after the registry was asked for a refresh
token would wait for ever for a service that asks one after the other.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from devstack.faults import Fault
from devstack.policy import policy_text
from devstack.stack import Stack, Upstreams
from tests.support.caller import exchange, reason, vend

pytestmark = pytest.mark.e2e

SCOPE = "repository:web/api:pull,push"


@pytest.fixture(scope="module")
def own() -> Iterator[Upstreams]:
    with Upstreams(docker_registry=False) as upstreams:
        yield upstreams


@pytest.fixture
def uncalled(own: Upstreams) -> Upstreams:
    """Upstreams without a fault that nobody has called."""
    own.heal()
    issuers = [issuer.board for issuer in own.issuers.all.values()]
    for board in (own.identity.board, own.registry.board, *issuers):
        board.requests.clear()
    return own


@pytest.fixture
def cold(uncalled: Upstreams) -> Iterator[Stack]:
    """A service that has not been called yet."""
    with Stack(uncalled) as stack:
        yield stack


def calls(stack: Stack) -> dict[str, int]:
    """How often the identity endpoint and the registry were called."""
    return dict(stack.identity.board.requests + stack.registry.board.requests)


class Watch:
    """Hold an issuer's keys back until the others had so many calls; without a number, long enough for any call.

    `before` is what they had been asked when the keys were let go.
    """

    SECONDS = 1.0

    def __init__(self, stack: Stack, **wanted: int) -> None:
        self._stack = stack
        self._wanted = wanted
        self._end: float | None = None
        self.before: dict[str, int] | None = None
        stack.issuers.github.board.set("jwks", Fault(hold=self._over), times=1)

    def _over(self) -> bool:
        self._end = self._end or time.monotonic() + self.SECONDS
        so_far = calls(self._stack)
        if so_far != self._wanted if self._wanted else time.monotonic() < self._end:
            return False
        self.before = so_far
        return True


def forged(stack: Stack) -> str:
    """Return a token for the issuer's key, with a signature that is none."""
    header, payload, signature = stack.issuers.github.token().split(".")
    middle = len(signature) // 2
    other = "A" if signature[middle] != "A" else "B"
    return ".".join((header, payload, signature[:middle] + other + signature[middle + 1 :]))


# --- What runs side by side


def test_the_registry_is_asked_before_the_keys_have_come(cold: Stack) -> None:
    cold.issuers.github.board.set("jwks", Fault(hold=lambda: cold.registry.board.requests["exchange"] == 1))
    vend(cold.url, cold.issuers.github.token(), scope=SCOPE)
    assert calls(cold) == {"token": 2, "exchange": 1}


def test_the_identity_is_asked_before_the_discovery_has_come(cold: Stack) -> None:
    cold.issuers.github.board.set("discovery", Fault(hold=lambda: cold.identity.board.requests["token"] == 1))
    vend(cold.url, cold.issuers.github.token(), scope=SCOPE)
    assert calls(cold) == {"token": 2, "exchange": 1}


def test_keys_do_not_wait_for_the_registry(cold: Stack) -> None:
    cold.identity.board.set("token", Fault(hold=lambda: cold.issuers.github.board.requests["jwks"] == 1))
    vend(cold.url, cold.issuers.github.token(), scope=SCOPE)


def test_no_more_than_three_upstream_round_trips_follow_one_another(cold: Stack) -> None:
    """Each answer waits until everything of its own round was asked; one round more, and one of them waits for ever."""
    issuer, identity, registry = cold.issuers.github.board, cold.identity.board, cold.registry.board
    issuer.set("discovery", Fault(hold=lambda: identity.requests["token"] == 1))
    identity.set("token", Fault(hold=lambda: issuer.requests["discovery"] == 1))
    issuer.set("jwks", Fault(hold=lambda: registry.requests["exchange"] == 1))
    registry.set("exchange", Fault(hold=lambda: issuer.requests["jwks"] == 1))
    vend(cold.url, cold.issuers.github.token(), scope=SCOPE)
    assert dict(issuer.requests + identity.requests + registry.requests) == {
        "discovery": 1,
        "jwks": 1,
        "exchange": 1,
        "token": 2,  # One of the identity endpoint, one of the registry.
    }


# --- What a prefetch that fails counts for


@pytest.mark.parametrize("endpoint", ["identity", "exchange"])
@pytest.mark.parametrize(
    "fault",
    [Fault(status=403), Fault(status=429, headers={"Retry-After": "50"}), Fault(truncate=True)],
    ids=["forbidden", "throttled", "truncated"],
)
def test_failed_prefetch_is_no_failure_of_the_request(cold: Stack, endpoint: str, fault: Fault) -> None:
    if endpoint == "identity":
        cold.identity.board.set("token", fault, times=1)
        Watch(cold, token=1)
    else:
        cold.registry.board.set("exchange", fault, times=1)
        Watch(cold, token=1, exchange=1)
    vend(cold.url, cold.issuers.github.token(), scope=SCOPE)
    assert calls(cold) == ({"token": 3, "exchange": 1} if endpoint == "identity" else {"token": 2, "exchange": 2})
    events = [json.loads(line[line.index("{") :]) for line in cold.host.log.splitlines() if '{"' in line]
    said = [event["event"] for event in events if "event" in event]
    assert set(said) <= {"started", "replay_store_is_per_process", "loopback_allowed", "policy_loaded"}
    assert [event["outcome"] for event in events if event.get("kind") == "token"] == ["allow"]


# --- What begins one, and what steers it


def test_forged_tokens_cause_one_prefetch_and_no_vended_token(cold: Stack) -> None:
    refusals = [exchange(cold.url, forged(cold), scope=SCOPE) for _ in range(5)]
    assert {reason(refusal) for refusal in refusals} == {"signature_invalid"}
    assert cold.identity.board.requests["token"] <= 1
    assert cold.registry.board.requests["exchange"] <= 1
    assert cold.registry.board.requests["token"] == 0


def test_forged_tokens_cause_no_flood_where_the_prefetch_fails(cold: Stack) -> None:
    cold.identity.board.set("token", Fault(status=403))
    Watch(cold, token=1)
    for _ in range(5):
        assert reason(exchange(cold.url, forged(cold), scope=SCOPE)) == "signature_invalid"
    assert calls(cold) == {"token": 1}


def test_nothing_that_the_caller_names_steers_it(cold: Stack) -> None:
    Watch(cold, token=1, exchange=1)
    named = {"audience": "other.azurecr.io", "resource": "https://another.azurecr.io"}
    refused = exchange(cold.url, cold.issuers.github.token(), scope="repository:somebody/elses:delete", **named)
    assert reason(refused) == "unknown_registry"
    assert calls(cold) == {"token": 1, "exchange": 1}


def test_token_that_needs_no_keys_causes_no_call(cold: Stack) -> None:
    issuer = cold.issuers.github
    refused = {
        "issuer_unknown": [cold.issuers.other.token()],
        "token_malformed": [issuer.token() + ".x", issuer.token().partition(".")[2], "x.y.z"],
        "algorithm_not_allowed": [jwt.encode({"iss": issuer.url}, "k" * 64, "HS256")],
        "key_unknown": [jwt.encode({"iss": issuer.url}, rsa.generate_private_key(65537, 2048), "RS256")],
    }
    for said, tokens in refused.items():
        assert [reason(exchange(cold.url, token, scope=SCOPE)) for token in tokens] == [said] * len(tokens)
    time.sleep(Watch.SECONDS)
    assert calls(cold) == {}
    assert dict(issuer.board.requests) == {}


def test_explanation_causes_no_call_but_for_keys(cold: Stack) -> None:
    watch = Watch(cold)
    assert exchange(cold.url, cold.issuers.github.token(), path="/explain", scope=SCOPE).json()["allowed"]
    assert watch.before == {}
    assert calls(cold) == {}


def test_valid_credentials_are_not_fetched_again_for_another_issuers_first_token(cold: Stack) -> None:
    vend(cold.url, cold.issuers.github.token(), scope=SCOPE)
    vend(cold.url, cold.issuers.gitlab.token(), scope="repository:api/server:pull")
    assert calls(cold) == {"token": 3, "exchange": 1}


def with_second_registry(upstreams: Upstreams) -> str:
    return policy_text(upstreams).replace(
        "registries:\n", "registries:\n  spare: {login_server: spare.azurecr.io, cloud: public}\n"
    )


def on_trial(upstreams: Upstreams) -> str:
    return policy_text(upstreams).replace("    grant:\n", "    mode: audit\n    grant:\n")


def not_yet(upstreams: Upstreams) -> str:
    return policy_text(upstreams).replace("    grant:\n", "    not_before: 2100-01-01\n    grant:\n")


# A policy on trial, or one that does not grant yet, needs no credential; its operator may not even have made one.
@pytest.mark.parametrize("policy", [with_second_registry, on_trial, not_yet])
def test_nothing_is_fetched_where_the_policy_leaves_a_choice_or_grants_nothing(
    policy: Callable[[Upstreams], str], uncalled: Upstreams
) -> None:
    with Stack(uncalled, policy=policy) as stack:
        watch = Watch(stack)
        answer = exchange(stack.url, stack.issuers.github.token(), scope=SCOPE, audience="prod")
        assert watch.before == {}
        minted = policy is with_second_registry
        assert answer.status_code == (200 if minted else 400)
        assert calls(stack) == ({"token": 2, "exchange": 1} if minted else {})
