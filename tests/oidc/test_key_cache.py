"""The cache of keys: when it asks, when it does not, and what it answers while the issuer is down."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from aiohttp import web

from tests.oidc.forge import Hands, Keys, Site, issuer_at, public_jwk
from vending.errors import Reason, Refusal
from vending.http_client import Http
from vending.oidc.key_cache import KeySets
from vending.oidc.types import Issuer

MINUTE = 60.0
HOUR = 3600.0

KNOWN, UNKNOWN, UNAVAILABLE = None, Reason.KEY_UNKNOWN, Reason.ISSUER_KEYS_UNAVAILABLE


@pytest.fixture
def key_sets(http: Http, hands: Hands) -> KeySets:
    return KeySets(http, hands.clock, allow_loopback=True)


@pytest.fixture
def issuer(site: Site) -> Issuer:
    return issuer_at(site)


@pytest.fixture
def other_site(keys: Keys) -> Iterator[Site]:
    with Site(jwks=[public_jwk(keys.p256, kid="other")]) as own:
        yield own


class Asker:
    """Ask a key set and remember the last refusal."""

    def __init__(self, key_sets: KeySets, issuer: Issuer) -> None:
        self.key_sets = key_sets
        self.issuer = issuer
        self.retry_after: float | None = None

    async def __call__(self, kid: str = "rsa", issuer: Issuer | None = None) -> Reason | None:
        try:
            await self.key_sets.find(issuer or self.issuer, kid, "RS256")
        except Refusal as refusal:
            self.retry_after = refusal.retry_after
            return refusal.reason
        return KNOWN


@pytest.fixture
def ask(key_sets: KeySets, issuer: Issuer) -> Asker:
    return Asker(key_sets, issuer)


def publish(site: Site, keys: Keys, *kids: str) -> None:
    """Let the issuer publish exactly these keys."""
    site.jwks = [public_jwk(keys.rsa, kid=kid) for kid in kids]


def status(code: int, **headers: str) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=code, headers=headers)

    return answer


def break_down(site: Site) -> None:
    """Let the issuer's key set be gone (a 404 is not tried again within one fetch)."""
    site.misbehave["/keys"] = status(404)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that happens in the background."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - the condition is set on another thread's loop
            await asyncio.sleep(0.01)


# --- Ages -------------------------------------------------------------------------------------------------------------


async def test_keys_are_fetched_once_and_then_at_hand(ask: Asker, site: Site) -> None:
    assert [await ask() for _ in range(5)] == [KNOWN] * 5
    assert site.requests == ["/issuer/.well-known/openid-configuration", "/keys"]


async def test_set_of_ten_minutes_is_not_refreshed(ask: Asker, site: Site, hands: Hands) -> None:
    await ask()
    hands.turn(10 * MINUTE)
    assert await ask() is KNOWN
    await asyncio.sleep(0.1)
    assert site.fetches == 1


async def test_older_set_is_refreshed_behind_the_answer(ask: Asker, site: Site, keys: Keys, hands: Hands) -> None:
    await ask()
    publish(site, keys, "new")
    gate = Gate(site)
    hands.turn(10 * MINUTE + 1)
    assert await ask() is KNOWN, "the old set answers meanwhile"
    gate.open()
    assert await ask("new") is KNOWN, "whoever needs the new set joins the refresh under way"
    assert site.fetches == 2


async def test_key_that_was_withdrawn_is_gone_with_the_refresh(
    ask: Asker, site: Site, keys: Keys, hands: Hands
) -> None:
    publish(site, keys, "rsa", "kept")
    await ask()
    publish(site, keys, "kept", "new")
    hands.turn(10 * MINUTE + 1)
    assert await ask("rsa") is KNOWN, "the old set answers meanwhile"
    assert await ask("new") is KNOWN
    assert await ask("rsa") is not KNOWN
    assert await ask("kept") is KNOWN


async def test_set_older_than_an_hour_is_refreshed_before_it_is_used(
    ask: Asker, site: Site, keys: Keys, hands: Hands
) -> None:
    await ask()
    publish(site, keys, "new")
    hands.turn(HOUR + 1)
    assert await ask("rsa") is UNKNOWN, "withdrawn meanwhile, and never used again"
    assert await ask("new") is KNOWN
    assert site.fetches == 2


# --- Unknown key ids --------------------------------------------------------------------------------------------------


async def test_unknown_kid_asks_the_issuer_once_and_is_unknown(ask: Asker, site: Site) -> None:
    await ask()
    assert await ask("bogus") is UNKNOWN
    assert site.fetches == 2


async def test_unknown_kid_within_a_minute_is_told_to_come_back(ask: Asker, site: Site, hands: Hands) -> None:
    await ask()
    await ask("bogus")
    hands.turn(20)
    assert await ask("bogus") is UNAVAILABLE
    assert ask.retry_after == pytest.approx(40)
    hands.turn(39.9)
    assert await ask("another") is UNAVAILABLE
    assert site.fetches == 2
    hands.turn(0.2)
    assert await ask("another") is UNKNOWN
    assert site.fetches == 3


async def test_known_kid_is_answered_within_that_minute(ask: Asker) -> None:
    await ask("bogus")
    assert await ask("rsa") is KNOWN


async def test_first_load_does_not_count_as_the_one_refresh(ask: Asker, site: Site, keys: Keys) -> None:
    await ask()
    publish(site, keys, "rsa", "rotated")
    assert await ask("rotated") is KNOWN, "a rotation right after the start is seen at once"
    assert site.fetches == 2


async def test_unknown_kid_on_a_cold_start_is_looked_up_twice(ask: Asker, site: Site) -> None:
    assert await ask("bogus") is UNKNOWN
    assert site.fetches == 2


async def test_unknown_kid_is_unknown_directly_after_a_regular_refresh(ask: Asker, site: Site, hands: Hands) -> None:
    await ask()
    hands.turn(HOUR + 1)
    assert await ask("bogus") is UNKNOWN
    assert site.fetches == 2
    assert await ask("bogus") is UNAVAILABLE


async def test_regular_refresh_does_not_use_up_the_one_for_an_unknown_kid(
    ask: Asker, site: Site, keys: Keys, hands: Hands
) -> None:
    await ask()
    hands.turn(HOUR + 1)
    assert await ask() is KNOWN
    publish(site, keys, "rotated")
    assert await ask("rotated") is KNOWN
    assert site.fetches == 3


async def test_kid_of_an_unusable_key_is_unknown_without_asking_again(ask: Asker, site: Site, keys: Keys) -> None:
    site.jwks = [*site.jwks, public_jwk(keys.small_rsa, kid="small"), public_jwk(keys.p256, kid="p256")]
    for kid in ("small", "p256", "small", "p256"):
        assert await ask(kid) is UNKNOWN
    assert site.fetches == 1


async def test_flood_of_bogus_kids_does_not_lock_out_a_rotation(
    ask: Asker, site: Site, keys: Keys, hands: Hands
) -> None:
    await ask()
    for second in range(61):
        await ask(f"bogus-{second}")
        if second == 5:
            publish(site, keys, "rotated")
        if second > 5:
            answer = await ask("rotated")
            assert answer in (UNAVAILABLE, KNOWN), "never `key_unknown`, which tells a client to give up"
        hands.turn(1)
    assert await ask("rotated") is KNOWN
    assert site.fetches == 3, "one for the start and one a minute"


async def test_flood_of_bogus_kids_costs_the_issuer_one_refresh(ask: Asker, site: Site) -> None:
    await ask()
    answers = await asyncio.gather(*(ask(f"bogus-{number}") for number in range(100)))
    assert set(answers) <= {UNKNOWN, UNAVAILABLE}
    assert site.fetches == 2


# --- Failures ---------------------------------------------------------------------------------------------------------


async def test_first_load_that_fails_is_no_verdict_on_the_token(ask: Asker, site: Site) -> None:
    break_down(site)
    assert await ask() is UNAVAILABLE
    assert ask.retry_after == pytest.approx(5)


async def test_failed_refresh_keeps_the_old_keys_for_a_day(ask: Asker, site: Site, hands: Hands) -> None:
    await ask()
    break_down(site)
    for _ in range(23):
        hands.turn(HOUR)
        assert await ask() is KNOWN
    hands.turn(HOUR)
    assert await ask() is KNOWN, "at 24 hours"
    hands.turn(1)
    assert await ask() is UNAVAILABLE, "and not a second longer"
    site.misbehave.clear()
    hands.turn(MINUTE)
    assert await ask() is KNOWN


async def test_keys_older_than_a_day_are_forgotten_without_any_failure(
    ask: Asker, site: Site, keys: Keys, hands: Hands
) -> None:
    await ask()
    publish(site, keys, "new")
    hands.turn(24 * HOUR + 1)
    assert await ask() is UNKNOWN


async def test_empty_answer_keeps_the_old_keys(ask: Asker, key_sets: KeySets, site: Site, hands: Hands) -> None:
    await ask()
    site.jwks = []
    hands.turn(HOUR + 1)
    assert await ask() is KNOWN
    assert site.fetches == 2
    assert key_sets.in_trouble([ask.issuer]) == ["ci"]


async def test_answer_whose_keys_are_all_unusable_withdraws_the_old_ones(
    ask: Asker, key_sets: KeySets, site: Site, keys: Keys, hands: Hands
) -> None:
    await ask()
    site.jwks = [public_jwk(keys.small_rsa, kid="rsa")]
    hands.turn(HOUR + 1)
    assert await ask() is UNKNOWN
    assert key_sets.in_trouble([ask.issuer]) == ["ci"]


async def test_failure_is_remembered_for_five_seconds_and_twice_as_long_each_time(
    ask: Asker, site: Site, hands: Hands
) -> None:
    break_down(site)
    attempts = []
    for second in range(240):
        before = site.fetches
        assert await ask() is UNAVAILABLE
        if site.fetches > before:
            attempts.append(second)
        hands.turn(1)
    assert attempts == [0, 5, 15, 35, 75, 135, 195]


async def test_pause_after_a_failure_starts_anew_once_the_issuer_has_answered(
    ask: Asker, site: Site, hands: Hands
) -> None:
    break_down(site)
    await ask()
    hands.turn(5)
    await ask()
    assert ask.retry_after == pytest.approx(10)
    site.misbehave.clear()
    hands.turn(10)
    assert await ask() is KNOWN
    break_down(site)
    assert await ask("bogus") is UNAVAILABLE
    assert ask.retry_after == pytest.approx(5)


async def test_failed_refresh_does_not_use_up_the_one_for_an_unknown_kid(
    ask: Asker, site: Site, keys: Keys, hands: Hands
) -> None:
    await ask()
    break_down(site)
    assert await ask("rotated") is UNAVAILABLE
    site.misbehave.clear()
    publish(site, keys, "rotated")
    hands.turn(5)
    assert await ask("rotated") is KNOWN


async def test_retry_after_of_the_issuer_is_heeded(ask: Asker, site: Site, hands: Hands) -> None:
    site.misbehave["/keys"] = status(429, **{"Retry-After": "45"})
    assert await ask() is UNAVAILABLE
    assert ask.retry_after == pytest.approx(45)
    assert site.fetches == 1, "an issuer that asks for patience is not asked again within the request"
    hands.turn(44)
    await ask()
    assert site.fetches == 1


async def test_stumble_of_the_issuer_is_tried_again_within_the_request(ask: Asker, site: Site) -> None:
    async def stumble_once(_: web.Request) -> web.Response:
        del site.misbehave["/keys"]
        return web.Response(status=503)

    site.misbehave["/keys"] = stumble_once
    assert await ask() is KNOWN
    assert site.fetches == 2


# --- Waiting: shared, bounded by each caller's own patience, and never by another issuer ------------------------------


class Gate:
    """Hold the answer back until the test opens."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._open = False
        site.misbehave["/keys"] = self._answer

    async def _answer(self, _: web.Request) -> web.Response:
        async with asyncio.timeout(20):
            while not self._open:  # noqa: ASYNC110 - the test runs on another thread's loop
                await asyncio.sleep(0.01)
        return web.json_response({"keys": self._site.jwks})

    def open(self) -> None:
        self._open = True


async def test_concurrent_callers_share_one_fetch(ask: Asker, site: Site) -> None:
    gate = Gate(site)
    callers = [asyncio.create_task(ask()) for _ in range(50)]
    await until(lambda: site.fetches == 1)
    gate.open()
    assert await asyncio.gather(*callers) == [KNOWN] * 50
    assert site.fetches == 1


async def test_caller_that_gives_up_leaves_the_fetch_to_the_others(ask: Asker, site: Site) -> None:
    gate = Gate(site)
    patient = asyncio.create_task(ask())
    await until(lambda: site.fetches == 1)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await ask()
    gate.open()
    assert await patient is KNOWN
    assert site.fetches == 1


async def test_fetch_outlives_the_only_caller(ask: Asker, site: Site) -> None:
    gate = Gate(site)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await ask()
    gate.open()
    assert await ask() is KNOWN
    assert site.fetches == 1


async def test_issuer_in_trouble_does_not_slow_another(ask: Asker, site: Site, other_site: Site) -> None:
    gate = Gate(site)
    stuck = asyncio.create_task(ask())
    await until(lambda: site.fetches == 1)
    other = issuer_at(other_site, name="other")
    key = await ask.key_sets.find(other, "other", "ES256")
    assert key.kid == "other"
    assert not stuck.done()
    gate.open()
    await stuck


# --- Whose keys they are ----------------------------------------------------------------------------------------------


async def test_keys_of_one_issuer_are_never_used_for_another(ask: Asker, other_site: Site) -> None:
    await ask()
    assert await ask("rsa", issuer_at(other_site)) is UNKNOWN


async def test_static_keys_are_used_without_any_call(ask: Asker, site: Site, keys: Keys) -> None:
    static = issuer_at(site, static_keys={"keys": [public_jwk(keys.rsa, kid="static")]})
    assert await ask("static", static) is KNOWN
    assert await ask("rsa", static) is UNKNOWN
    assert site.requests == []


async def test_changed_static_keys_are_used_at_once(ask: Asker, site: Site, keys: Keys) -> None:
    before, after = (
        issuer_at(site, static_keys={"keys": [public_jwk(keys.rsa, kid=kid)]}) for kid in ("before", "after")
    )
    assert await ask("before", before) is KNOWN
    assert await ask("before", after) is UNKNOWN
    assert await ask("after", after) is KNOWN


async def test_changed_certificate_authority_starts_without_keys(
    ask: Asker, site: Site, authority_pem: str, issuer: Issuer
) -> None:
    await ask()
    assert await ask("rsa", issuer_at(site, ca_pem=authority_pem)) is KNOWN
    assert site.fetches == 2


async def test_renamed_issuer_keeps_its_keys(ask: Asker, site: Site) -> None:
    await ask()
    assert await ask("rsa", issuer_at(site, name="renamed")) is KNOWN
    assert site.fetches == 1


@pytest.mark.parametrize("gone", ["dropped", "disabled", "static"])
async def test_keys_are_forgotten_when_the_policy_no_longer_fetches_them(
    gone: str, ask: Asker, site: Site, keys: Keys
) -> None:
    await ask()
    policy = {
        "dropped": [],
        "disabled": [issuer_at(site, enabled=False)],
        "static": [issuer_at(site, static_keys={"keys": [public_jwk(keys.rsa, kid="static")]})],
    }
    ask.key_sets.keep(policy[gone])
    assert await ask() is KNOWN
    assert site.fetches == 2


async def test_keys_are_kept_when_the_policy_still_has_the_issuer(ask: Asker, site: Site) -> None:
    await ask()
    ask.key_sets.keep([ask.issuer])
    assert await ask() is KNOWN
    assert site.fetches == 1


async def test_fetch_under_way_does_not_bring_back_a_dropped_issuer(ask: Asker, site: Site, keys: Keys) -> None:
    gate = Gate(site)
    first = asyncio.create_task(ask())
    await until(lambda: site.fetches == 1)
    ask.key_sets.keep([])
    gate.open()
    assert await first is KNOWN
    site.misbehave.clear()
    publish(site, keys, "new")
    assert await ask("new") is KNOWN
    assert site.fetches == 2, "the new entry has fetched for itself, and has not asked a second time"


# --- What the operator sees -------------------------------------------------------------------------------------------


def events(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [json.loads(record.message) for record in caplog.records if record.name == "vending.operations"]


async def test_trouble_and_recovery_are_logged_once(
    ask: Asker, site: Site, hands: Hands, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "vending.operations")
    break_down(site)
    for _ in range(3):
        await ask()
        hands.turn(MINUTE)
    site.misbehave.clear()
    await ask()
    assert [(event["event"], event["issuer"], event.get("failure")) for event in events(caplog)] == [
        ("issuer_trouble", "ci", "bad_status"),
        ("issuer_recovered", "ci", None),
    ]


async def test_another_kind_of_trouble_is_logged_again(
    ask: Asker, site: Site, hands: Hands, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "vending.operations")
    break_down(site)
    await ask()
    site.misbehave.clear()
    site.jwks = []
    hands.turn(MINUTE)
    await ask()
    assert [event["failure"] for event in events(caplog)] == ["bad_status", "no_keys"]


async def test_trouble_lists_issuers_that_failed_and_no_others(
    ask: Asker, site: Site, other_site: Site, hands: Hands
) -> None:
    good, bad = issuer_at(other_site, name="good"), ask.issuer
    in_trouble = ask.key_sets.in_trouble
    assert in_trouble([good, bad]) == [], "nobody has asked yet"
    break_down(site)
    await ask()
    await ask("other", good)
    assert in_trouble([good, bad]) == ["ci"]
    assert in_trouble([good, issuer_at(site, enabled=False)]) == []
    site.misbehave.clear()
    hands.turn(MINUTE)
    await ask()
    assert in_trouble([good, bad]) == []


async def test_static_keys_without_a_usable_one_are_trouble(key_sets: KeySets, site: Site, keys: Keys) -> None:
    small = issuer_at(site, static_keys={"keys": [public_jwk(keys.small_rsa, kid="small")]})
    assert key_sets.in_trouble([small]) == ["ci"]


async def test_refusal_tells_the_caller_no_address(ask: Asker, site: Site) -> None:
    break_down(site)
    with pytest.raises(Refusal) as refused:
        await ask.key_sets.find(ask.issuer, "rsa", "RS256")
    assert "127.0.0.1" not in str(refused.value)


# --- Keys that are published and cannot be used


def troubles(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [json.loads(record.getMessage()) for record in caplog.records if "issuer_" in record.getMessage()]


async def refused(key_sets: KeySets, issuer: Issuer, kid: str, algorithm: str = "RS256") -> str:
    with pytest.raises(Refusal) as caught:
        await key_sets.find(issuer, kid, algorithm)
    assert caught.value.reason is Reason.KEY_UNKNOWN
    return caught.value.description


async def test_published_key_that_cannot_be_used_is_told_to_caller_and_operator(
    key_sets: KeySets, site: Site, keys: Keys, issuer: Issuer, caplog: pytest.LogCaptureFixture
) -> None:
    """An issuer that rotates to a key we refuse, beside one that still works."""
    site.jwks.append(public_jwk(keys.small_rsa, kid="small"))
    why = "RSA key of 1024 bits, not 2048 to 8192"
    with caplog.at_level(logging.INFO):
        await key_sets.find(issuer, "rsa", "RS256")
        assert (key_sets.in_trouble([issuer]), troubles(caplog)) == ([], [])
        description = await refused(key_sets, issuer, "small")
        await refused(key_sets, issuer, "small")
    assert description == (
        f"The issuer publishes the token's key small, but it cannot be used: {why}; tell those who run the issuer."
    )
    told = f"keys[1] (kid small): {why}"
    assert troubles(caplog) == [{"event": "issuer_trouble", "issuer": "ci", "failure": "key_unusable", "detail": told}]
    assert key_sets.in_trouble([issuer]) == ["ci"]


async def test_trouble_with_a_published_key_is_over_when_it_is_replaced(
    key_sets: KeySets, site: Site, keys: Keys, issuer: Issuer, hands: Hands, caplog: pytest.LogCaptureFixture
) -> None:
    site.jwks.append(public_jwk(keys.small_rsa, kid="next"))
    await refused(key_sets, issuer, "next")
    site.jwks[-1] = public_jwk(keys.other_rsa, kid="next")
    hands.turn(61 * MINUTE)
    with caplog.at_level(logging.INFO):
        await key_sets.find(issuer, "next", "RS256")
    assert [event["event"] for event in troubles(caplog)] == ["issuer_trouble", "issuer_recovered"]
    assert key_sets.in_trouble([issuer]) == []


async def test_trouble_that_nobody_meets_any_more_is_not_counted(
    key_sets: KeySets, site: Site, keys: Keys, issuer: Issuer, hands: Hands
) -> None:
    site.jwks.append(public_jwk(keys.small_rsa, kid="small"))
    await refused(key_sets, issuer, "small")
    hands.turn(10 * MINUTE)
    assert key_sets.in_trouble([issuer]) == []


async def test_key_that_is_not_for_the_algorithm_is_told_to_the_caller_alone(
    key_sets: KeySets, site: Site, keys: Keys, issuer: Issuer, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever writes another algorithm into a forged token must not raise an alarm."""
    site.jwks.append(public_jwk(keys.rsa, kid="only", alg="RS512"))
    with caplog.at_level(logging.INFO):
        description = await refused(key_sets, issuer, "only")
    assert "cannot be used: it is not for RS256;" in description
    assert (troubles(caplog), key_sets.in_trouble([issuer])) == ([], [])


async def test_id_that_static_keys_lack_is_told_once_however_many_are_made_up(
    key_sets: KeySets, keys: Keys, site: Site, hands: Hands, caplog: pytest.LogCaptureFixture
) -> None:
    issuer = issuer_at(site, static_keys={"keys": [public_jwk(keys.rsa, kid="rsa")]})
    await key_sets.find(issuer, "rsa", "RS256")
    assert key_sets.in_trouble([issuer]) == []
    with caplog.at_level(logging.INFO):
        for number in range(50):
            assert f"key made-up-{number} is not among them" in await refused(key_sets, issuer, f"made-up-{number}")
    [event] = troubles(caplog)
    assert (event["failure"], key_sets.in_trouble([issuer])) == ("key_not_in_policy", ["ci"])
    hands.turn(60 * MINUTE)
    with caplog.at_level(logging.INFO):
        await refused(key_sets, issuer, "again")
    assert len(troubles(caplog)) == 2


async def test_failure_below_http_is_told_with_its_cause(
    key_sets: KeySets, site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    issuer = issuer_at(site, url="https://127.0.0.1:9")
    with caplog.at_level(logging.INFO), pytest.raises(Refusal):
        await key_sets.find(issuer, "rsa", "RS256")
    [event] = troubles(caplog)
    assert (event["failure"], event["cause"], event["detail"]) == (
        "unreachable",
        "refused",
        "127.0.0.1:9: it refuses connections on this port",
    )
