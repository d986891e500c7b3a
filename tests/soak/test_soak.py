"""The soak itself: that a short one passes, and that it would notice what it is there to notice."""

from __future__ import annotations

import httpx
import jwt
import pytest

from tests.soak.load import CALLS, judge
from tests.soak.run import soak
from tests.soak.watch import Sample, growth

GITHUB, EXPIRED = CALLS[0], CALLS[-1]


@pytest.mark.e2e
def test_short_soak_loses_nothing() -> None:
    said: list[str] = []
    outcome = soak(8, 10, 7, said.append)
    assert outcome.problems == []
    assert outcome.sent > 20


def vended(scope: str) -> httpx.Response:
    access = [dict(zip(("type", "name", "actions"), _parts(item), strict=True)) for item in scope.split(" ")]
    return httpx.Response(200, json={"access_token": jwt.encode({"access": access}, "k" * 32, "HS256")})


def _parts(item: str) -> tuple[str, str, list[str]]:
    kind, name, actions = item.split(":")
    return kind, name, actions.split(",")


def refused(status: int, reason: str) -> httpx.Response:
    return httpx.Response(status, json={"reason": reason})


def test_right_answers_are_no_problem() -> None:
    assert judge(GITHUB, vended(GITHUB.scope)) is None
    assert judge(GITHUB, refused(503, "registry_unavailable")) is None
    assert judge(GITHUB, refused(400, "key_unknown")) is None
    assert judge(EXPIRED, refused(400, "token_expired")) is None


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(vended("repository:web/api:pull"), id="less than asked for"),
        pytest.param(vended(GITHUB.scope + " repository:other:pull"), id="more than asked for"),
        pytest.param(refused(500, "internal_error"), id="an internal error"),
        pytest.param(refused(503, "out_of_coffee"), id="a reason nobody knows"),
        pytest.param(refused(502, "registry_unavailable"), id="a reason with another status"),
        pytest.param(refused(400, "token_replayed"), id="a claim that was not given back"),
        pytest.param(refused(400, "no_matching_rule"), id="a refusal that is wrong"),
        pytest.param(httpx.Response(502, text="<html>"), id="no JSON"),
    ],
)
def test_wrong_answers_are_problems(answer: httpx.Response) -> None:
    assert judge(GITHUB, answer)


def test_grant_that_should_have_been_refused_is_a_problem() -> None:
    assert judge(EXPIRED, vended(EXPIRED.scope))


def samples(memory_mib: list[int], sockets: list[int]) -> list[Sample]:
    return [Sample(memory * 1024, count) for memory, count in zip(memory_mib, sockets, strict=True) for _ in range(10)]


def test_flat_process_is_no_problem() -> None:
    assert growth(samples([60, 90, 92, 93], [10, 80, 200, 70])) == []


def test_growing_memory_is_a_problem() -> None:
    assert len(growth(samples([60, 90, 110, 130], [10, 20, 20, 20]))) == 1


def test_growing_number_of_sockets_is_a_problem() -> None:
    assert len(growth(samples([60, 90, 90, 90], [10, 20, 60, 100]))) == 1


def test_too_few_samples_prove_nothing() -> None:
    assert growth(samples([60, 60, 60, 60], [1, 1, 1, 1])[:3])
