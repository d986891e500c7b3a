"""Which policy is in force: watched files and a real blob, through bad content, deletion, outages and slow answers."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from devstack.faults import Fault
from tests.policy.language import compose
from tests.support.azurite import Azurite
from tests.support.replay import Time
from tests.support.tablefront import TableFront
from vending.acr.scope import parse
from vending.clock import Clock
from vending.errors import Reason, Refusal
from vending.http_client import Http
from vending.oidc.types import VerifiedClaims
from vending.policy import Environment, Policy, PolicyError, decide
from vending.policy_store import BlobSource, Fetched, FileSource, PolicySource, PolicyStore, Unavailable

if TYPE_CHECKING:
    from devstack.stack import Upstreams

REFRESH, MAX_STALE = 60.0, 3600.0
PAUSE = 60.0
"""The longest pause between two loads while there is no policy."""
NOW = 1_800_000_000.0


def policy_bytes(*repositories: str, **more: Any) -> bytes:
    """Write a policy that grants pulls of these repositories to one caller."""
    grant = {"registry": "prod", "repositories": list(repositories), "actions": ["pull"]}
    rule = {"name": "r", "issuer": "github", "when": {"repository_id": "1"}, "grant": [grant]}
    return json.dumps(compose(rules=[rule], **more)).encode()


NARROW, WIDE = policy_bytes("web/api"), policy_bytes("web/api", "web/secret")
BAD = b'{"version": 1, "rules": ['


def grants(policy: Policy, repository: str) -> bool:
    claims = VerifiedClaims(issuer="github", claims={"repository_id": "1"})
    return decide(policy, claims, "prod", parse(f"repository:{repository}:pull"), NOW).allowed


class Watch:
    """A store on a clock that can be turned, and what it swapped in."""

    def __init__(self, source: PolicySource, clock: Clock | None = None) -> None:
        self.time = Time()
        self.swapped: list[Policy] = []
        self.store = PolicyStore(
            source,
            clock or self.time.clock,
            refresh_seconds=REFRESH,
            max_stale_seconds=MAX_STALE,
            on_change=self.swapped.append,
        )

    async def after(self, seconds: float) -> Policy:
        """Let time pass, have one request start a check, and return what is in force when that is over."""
        self.time.ahead += seconds
        await self.store.get()
        await self.settled()
        return await self.store.get()

    async def settled(self) -> None:
        deadline = time.monotonic() + 60
        while "load" in self.store._flight:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)

    async def refused(self) -> Reason:
        with pytest.raises(Refusal) as caught:
            await self.store.get()
        return caught.value.reason


# --- Files ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "policy.json"
    path.write_bytes(NARROW)
    return path


@pytest.fixture
def watch(file: Path) -> Watch:
    return Watch(FileSource(file, Environment()))


async def test_first_request_waits_for_the_policy_and_all_share_one_load(watch: Watch) -> None:
    policies = await asyncio.gather(*(watch.store.get() for _ in range(50)))
    assert len({id(policy) for policy in policies}) == 1
    assert len(watch.swapped) == 1


async def test_changed_file_comes_into_force_after_the_refresh_time_and_not_before(watch: Watch, file: Path) -> None:
    await watch.store.get()
    file.write_bytes(WIDE)
    assert not grants(await watch.after(REFRESH - 1), "web/secret")
    assert grants(await watch.after(2), "web/secret")


async def test_change_that_keeps_size_and_time_is_seen(watch: Watch, file: Path) -> None:
    await watch.store.get()
    before = file.stat()
    file.write_bytes(NARROW.replace(b"web/api", b"web/cli"))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert file.stat().st_size == before.st_size
    assert grants(await watch.after(REFRESH), "web/cli")


async def test_unchanged_file_stays_young_and_is_not_parsed_again(watch: Watch) -> None:
    first = await watch.store.get()
    assert await watch.after(REFRESH) is first
    assert await watch.after(MAX_STALE - 1) is first
    assert watch.store.age_seconds() < 60
    assert len(watch.swapped) == 1


@pytest.mark.parametrize("damage", ["bad content", "deleted", "emptied", "a directory in its place"])
async def test_damaged_file_keeps_the_last_good_policy_until_that_is_too_old(
    watch: Watch, file: Path, damage: str
) -> None:
    good = await watch.store.get()
    file.unlink()
    if damage == "bad content":
        file.write_bytes(BAD)
    elif damage == "emptied":
        file.write_bytes(b"")
    elif damage == "a directory in its place":
        file.mkdir()
    assert await watch.after(REFRESH) is good
    assert await watch.after(MAX_STALE - REFRESH - 5) is good
    watch.time.ahead += 10
    assert await watch.refused() is Reason.POLICY_UNAVAILABLE
    assert watch.store.in_force is good  # shown by /readyz, and not decided by
    if file.is_dir():
        file.rmdir()
    file.write_bytes(WIDE)
    watch.time.ahead += PAUSE
    assert grants(await watch.store.get(), "web/secret")


async def test_without_any_good_policy_every_request_fails_closed_until_there_is_one(tmp_path: Path) -> None:
    path = tmp_path / "policy.json"
    watch = Watch(FileSource(path, Environment()))
    assert await watch.refused() is Reason.POLICY_UNAVAILABLE
    path.write_bytes(BAD)
    watch.time.ahead += PAUSE
    assert await watch.refused() is Reason.POLICY_UNAVAILABLE
    path.write_bytes(NARROW)
    watch.time.ahead += PAUSE
    assert grants(await watch.store.get(), "web/api")


async def test_changed_key_file_beside_the_policy_is_a_change(tmp_path: Path) -> None:
    from devstack.keys import SigningKey

    issuers = {"github": {"preset": "github", "jwks_file": "keys.json"}}
    (tmp_path / "policy.json").write_bytes(policy_bytes("web/api", issuers=issuers))
    keys = [{"keys": [SigningKey.generate("RS256").jwk()]} for _ in range(2)]
    (tmp_path / "keys.json").write_text(json.dumps(keys[0]))
    watch = Watch(FileSource(tmp_path / "policy.json", Environment()))
    await watch.store.get()
    (tmp_path / "keys.json").write_text(json.dumps(keys[1]))
    policy = await watch.after(REFRESH)
    [issuer] = policy.issuers.values()
    assert issuer.verification.static_keys == keys[1]


async def test_new_file_in_a_directory_is_a_change(tmp_path: Path) -> None:
    base = compose(rules=[])
    (tmp_path / "base.json").write_text(json.dumps(base))
    watch = Watch(FileSource(tmp_path, Environment()))
    assert not grants(await watch.store.get(), "web/api")
    (tmp_path / "team.json").write_text(json.dumps({"rules": json.loads(NARROW)["rules"]}))
    assert grants(await watch.after(REFRESH), "web/api")


# --- A blob -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def azurite(upstreams: Upstreams, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azurite]:
    with Azurite(tmp_path_factory.mktemp("azurite"), upstreams.ca, upstreams.tenant) as started:
        yield started


@pytest.fixture(scope="module")
def front(azurite: Azurite, upstreams: Upstreams) -> Iterator[TableFront]:
    with TableFront(azurite, upstreams.ca, azurite.blob_endpoint).start(upstreams.loop) as started:
        yield started


@pytest.fixture
def blob(azurite: Azurite, front: TableFront) -> str:
    front.board.clear()
    front.headers.clear()
    return azurite.new_blob("policy.json", NARROW)


@pytest.fixture
async def http(upstreams: Upstreams, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Http]:
    monkeypatch.setenv("SSL_CERT_FILE", str(upstreams.ca.ca_file))
    async with Http() as client:
        yield client


@pytest.fixture
def remote(blob: str, azurite: Azurite, front: TableFront, http: Http) -> Watch:
    async def token() -> str:
        return azurite.token()

    return Watch(BlobSource(front.of(blob), Environment(), http, token))


async def test_blob_is_read_with_the_identitys_token(remote: Watch, front: TableFront) -> None:
    assert grants(await remote.store.get(), "web/api")
    [(method, headers)] = front.headers
    assert method == "GET"
    assert headers["Authorization"].startswith("Bearer ")


async def test_unchanged_blob_is_confirmed_by_its_etag_without_being_sent(remote: Watch, front: TableFront) -> None:
    first = await remote.store.get()
    assert await remote.after(REFRESH) is first
    assert front.headers[-1][1]["If-None-Match"]
    assert remote.store.age_seconds() < 60
    assert len(remote.swapped) == 1


async def test_changed_blob_comes_into_force(remote: Watch, azurite: Azurite, blob: str) -> None:
    await remote.store.get()
    azurite.put_blob(blob, WIDE)
    assert grants(await remote.after(REFRESH), "web/secret")


FAULTS = {
    "bad content": Fault(body=BAD),
    "not found": Fault(status=404),
    "forbidden": Fault(status=403),
    "server error": Fault(status=500),
    "reset": Fault(reset=True),
    "cut short": Fault(truncate=True),
    "HTML": Fault(body=b"<!doctype html>"),
    "no content": Fault(status=204),
    "too large": Fault(stream_bytes=33 * 1024 * 1024),
    "redirect": Fault(redirect="https://evil.example/policy.json"),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
async def test_troubled_blob_keeps_the_last_good_policy_until_that_is_too_old(
    remote: Watch, azurite: Azurite, front: TableFront, blob: str, fault: Fault
) -> None:
    good = await remote.store.get()
    azurite.put_blob(blob, WIDE)  # What a healthy source would bring; nothing of it may be in force meanwhile.
    front.board.set("table", fault)
    assert await remote.after(REFRESH) is good
    remote.time.ahead += MAX_STALE
    assert await remote.refused() is Reason.POLICY_UNAVAILABLE
    front.board.clear()
    remote.time.ahead += PAUSE
    assert grants(await remote.store.get(), "web/secret")


async def test_deleted_blob_keeps_the_last_good_policy_and_a_new_one_replaces_it(
    remote: Watch, azurite: Azurite, blob: str
) -> None:
    good = await remote.store.get()
    azurite.delete_blob(blob)
    assert await remote.after(REFRESH) is good
    azurite.put_blob(blob, WIDE)
    assert grants(await remote.after(REFRESH), "web/secret")


async def test_slow_blob_holds_up_nobody_who_has_a_policy(remote: Watch, front: TableFront) -> None:
    good = await remote.store.get()
    front.board.set("table", Fault(delay=3), times=1)
    remote.time.ahead += REFRESH
    assert await remote.store.get() is good
    assert "load" in remote.store._flight  # The answer is still awaited, behind the requests.
    await remote.settled()
    assert remote.store.age_seconds() < 60


async def test_without_a_policy_a_slow_blob_is_waited_for(remote: Watch, front: TableFront) -> None:
    front.board.set("table", Fault(delay=1), times=1)
    assert grants(await remote.store.get(), "web/api")


async def test_without_a_token_there_is_no_request(blob: str, front: TableFront, http: Http) -> None:
    async def token() -> str:
        raise Refusal(Reason.IDENTITY_REFUSED)

    with pytest.raises(Unavailable):
        await BlobSource(front.of(blob), Environment(), http, token).fetch(None)
    assert front.headers == []


async def test_304_that_nobody_asked_for_is_no_policy(remote: Watch, front: TableFront) -> None:
    front.board.set("table", Fault(status=304, body=b""))
    assert await remote.refused() is Reason.POLICY_UNAVAILABLE


# --- What must not go unnoticed ---------------------------------------------------------------------------------------


async def test_side_file_that_changes_while_the_policy_is_read_is_read_again(tmp_path: Path) -> None:
    from devstack.keys import SigningKey

    issuers = {"github": {"preset": "github", "jwks_file": "keys.json"}}
    (tmp_path / "policy.json").write_bytes(policy_bytes("web/api", issuers=issuers))
    old, new = ({"keys": [SigningKey.generate("RS256").jwk()]} for _ in range(2))
    keys = tmp_path / "keys.json"
    # A pipe hands out the old keys while the policy is read, and is a file with the new ones before anyone looks again.
    os.mkfifo(keys)

    def rewrite() -> None:
        with keys.open("w") as pipe:
            pipe.write(json.dumps(old))
        keys.unlink()
        keys.write_text(json.dumps(new))

    watch = Watch(FileSource(tmp_path / "policy.json", Environment()))
    _, first = await asyncio.gather(asyncio.to_thread(rewrite), watch.store.get())
    [issuer] = first.issuers.values()
    assert issuer.verification.static_keys == old
    [issuer] = (await watch.after(REFRESH)).issuers.values()
    assert issuer.verification.static_keys == new


async def test_policy_that_changes_while_it_is_read_and_back_again_is_not_taken_for_what_was_read(
    tmp_path: Path,
) -> None:
    """What is in force must be what the file says, also where its content is that of before the read."""
    path = tmp_path / "policy.json"
    os.mkfifo(path)

    def hand_out(*contents: bytes) -> None:
        for content in contents:
            with path.open("wb") as pipe:
                pipe.write(content)
            time.sleep(0.2)
        path.unlink()
        path.write_bytes(contents[0])

    watch = Watch(FileSource(path, Environment()))
    _, first = await asyncio.gather(asyncio.to_thread(hand_out, NARROW, WIDE), watch.store.get())
    assert grants(first, "web/secret")
    assert not grants(await watch.after(REFRESH), "web/secret")


async def test_failure_that_nobody_foresaw_keeps_the_last_good_policy_and_is_logged(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(FileSource):
        async def fetch(self, in_force: Fetched | None) -> Fetched | None:
            if file.read_bytes() == BAD:
                raise IndexError("quoted content")
            return await super().fetch(in_force)

    watch = Watch(Broken(file, Environment()))
    good = await watch.store.get()
    file.write_bytes(BAD)
    assert await watch.after(REFRESH) is good
    assert "policy_reload_failed" in caplog.text
    assert "quoted content" not in caplog.text
    watch.time.ahead += MAX_STALE
    assert await watch.refused() is Reason.POLICY_UNAVAILABLE


async def test_bad_file_is_not_parsed_again_for_each_request(tmp_path: Path) -> None:
    path = tmp_path / "policy.json"
    path.write_bytes(BAD)
    source = FileSource(path, Environment())
    problems = []
    for _ in range(3):
        with pytest.raises(PolicyError) as caught:
            await source.fetch(None)
        problems.append(caught.value.problems)
    assert problems[1][0] is problems[0][0]
    assert problems[2][0] is problems[0][0]


async def test_bad_blob_is_not_fetched_again_until_it_changes(
    remote: Watch, azurite: Azurite, front: TableFront, blob: str
) -> None:
    azurite.put_blob(blob, BAD)
    assert await remote.refused() is Reason.POLICY_UNAVAILABLE
    remote.time.ahead += PAUSE
    assert await remote.refused() is Reason.POLICY_UNAVAILABLE
    assert front.headers[-1][1]["If-None-Match"]
    azurite.put_blob(blob, NARROW)
    remote.time.ahead += PAUSE
    assert grants(await remote.store.get(), "web/api")


UNPARSED = b'{"\\ud800": 1}'
"""A key that is half a surrogate pair."""


@pytest.mark.parametrize("content", [BAD, UNPARSED, b"\xff\xfe", b"", b"[" * 100_000], ids=range(5))
async def test_blob_that_does_not_load_never_confirms_the_old_policy(
    remote: Watch, azurite: Azurite, blob: str, content: bytes
) -> None:
    good = await remote.store.get()
    azurite.put_blob(blob, content)
    for _ in range(3):  # The same blob again is a 304 to its own ETag, and no good news about the old one.
        assert await remote.after(REFRESH) is good
        assert remote.store.reload_failure == "invalid"
    assert remote.store.age_seconds() >= 3 * REFRESH
    remote.time.ahead += MAX_STALE
    assert await remote.refused() is Reason.POLICY_UNAVAILABLE


@pytest.mark.parametrize(
    ("fault", "failure"),
    [
        (Fault(status=403), "refused"),
        (Fault(status=404), "refused"),
        (Fault(status=304, body=b""), None),
        (Fault(status=429), "unreachable"),
        (Fault(status=503), "unreachable"),
        (Fault(reset=True), "unreachable"),
        (Fault(body=BAD), "invalid"),
    ],
)
async def test_last_reload_says_what_became_of_it(
    remote: Watch, front: TableFront, fault: Fault, failure: str | None
) -> None:
    await remote.store.get()
    assert remote.store.reload_failure is None
    front.board.set("table", fault)
    await remote.after(REFRESH)
    assert remote.store.reload_failure == failure
    front.board.clear()
    await remote.after(REFRESH)
    assert remote.store.reload_failure is None


async def test_old_blob_that_comes_back_after_a_bad_one_is_loaded_anew(
    remote: Watch, azurite: Azurite, blob: str
) -> None:
    await remote.store.get()
    azurite.put_blob(blob, BAD)
    await remote.after(REFRESH)
    azurite.put_blob(blob, NARROW)
    await remote.after(REFRESH)
    assert remote.store.reload_failure is None
    assert remote.store.age_seconds() < REFRESH


# --- An instance that was idle ----------------------------------------------------------------------------------------


async def test_idle_instance_decides_its_first_request_by_what_holds_now(watch: Watch, file: Path) -> None:
    file.write_bytes(WIDE)
    await watch.store.get()
    file.write_bytes(NARROW)
    watch.time.ahead += MAX_STALE - 60
    assert not grants(await watch.store.get(), "web/secret")


@pytest.mark.parametrize("idle", [REFRESH + 1, 2 * REFRESH])
async def test_busy_instance_waits_for_nothing(watch: Watch, file: Path, idle: float) -> None:
    good = await watch.store.get()
    file.write_bytes(WIDE)
    watch.time.ahead += idle - 1
    assert await watch.store.get() is good


@pytest.mark.parametrize("clock", ["now", "monotonic"])
async def test_either_clock_makes_an_instance_an_idle_one(file: Path, clock: str) -> None:
    """A suspended virtual machine has a monotonic clock that stood still; wall time may have been set back."""
    ahead = 0.0
    hands = Clock(
        now=lambda: time.time() + (ahead if clock == "now" else -ahead),
        monotonic=lambda: time.monotonic() + (ahead if clock == "monotonic" else 0.0),
    )
    file.write_bytes(WIDE)
    watch = Watch(FileSource(file, Environment()), hands)
    await watch.store.get()
    file.write_bytes(NARROW)
    ahead = MAX_STALE - 60
    assert not grants(await watch.store.get(), "web/secret")


async def test_idle_instance_whose_source_hangs_goes_on_after_two_seconds(remote: Watch, front: TableFront) -> None:
    good = await remote.store.get()
    front.board.set("table", Fault(delay=30), times=1)
    remote.time.ahead += 3 * REFRESH
    assert await asyncio.wait_for(remote.store.get(), 20) is good
    assert "load" in remote.store._flight


# --- Without a policy -------------------------------------------------------------------------------------------------


async def test_source_is_asked_with_a_growing_pause_while_there_is_no_policy(remote: Watch, front: TableFront) -> None:
    front.board.set("table", Fault(status=503))
    waits = []
    for _ in range(6):
        asked = front.board.requests["table"]
        for _ in range(20):
            with pytest.raises(Refusal) as caught:
                await remote.store.get()
        assert front.board.requests["table"] == asked + 1
        wait = caught.value.retry_after
        assert wait is not None
        waits.append(wait)
        remote.time.ahead += wait
    assert waits == pytest.approx([5, 10, 20, 40, 60, 60], abs=4)
    front.board.clear()
    assert grants(await remote.store.get(), "web/api")
    remote.time.ahead += MAX_STALE + 1
    front.board.set("table", Fault(status=503))
    asked = front.board.requests["table"]
    assert await remote.refused() is Reason.POLICY_UNAVAILABLE
    assert front.board.requests["table"] == asked + 1  # The pause of the earlier outage is forgotten.


async def test_requests_without_a_policy_share_one_load_and_all_get_its_outcome(
    remote: Watch, front: TableFront
) -> None:
    front.board.set("table", Fault(delay=0.5), times=1)
    asked = front.board.requests["table"]
    policies = await asyncio.gather(*(remote.store.get() for _ in range(50)))
    assert front.board.requests["table"] == asked + 1
    assert len({id(policy) for policy in policies}) == 1
