"""The catalogue of refusals and its page for people say the same."""

import re
from http import HTTPStatus
from pathlib import Path

import pytest

from vending.errors import CATALOGUE, Reason, Refusal, printable, quote

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "errors.md").read_text()
SECTIONS = dict(re.findall(r"^### `([^\n]*)`\n(.*?)(?=^##|\Z)", PAGE, flags=re.MULTILINE | re.DOTALL))

OAUTH_CODES = {
    "invalid_request",  # RFC 6749 section 5.2
    "unsupported_grant_type",
    "invalid_scope",
    "invalid_target",  # RFC 8707 section 2
    "server_error",  # RFC 6749 section 4.1.2.1
    "temporarily_unavailable",
}

NOT_REASONS = {
    "issuer_near_miss",
    "identity_failed",  # events of the operations log
    "policy_reload_failed",
    "issuer_trouble",
    "key_unusable",  # what is wrong with an issuer, in issuer_trouble
    "key_not_in_policy",
    "issuer_recovered",
    "issuer_mismatch",
    "registry_unreachable",
    "replay_store_failed",
    "replay_store_refused",
    "request_id",  # members of an error's body, parameters
    "requested_token_type",
    "token_id",
    "no_keys",  # failures of an issuer's keys
    "no_usable_key",
    "too_large",
}


def test_each_reason_has_one_section_in_the_order_of_the_catalogue() -> None:
    headings = re.findall(r"^### `([^\n]*)`$", PAGE, flags=re.MULTILINE)
    assert headings == [reason.value for reason in Reason]
    assert list(CATALOGUE) == list(Reason)


@pytest.mark.parametrize("reason", Reason)
def test_section_states_status_and_code(reason: Reason) -> None:
    entry = CATALOGUE[reason]
    status = f"{entry.status} (401)" if entry.about_token else str(entry.status)
    assert SECTIONS[reason].strip().splitlines()[0] == f"{status} `{entry.error}`"


@pytest.mark.parametrize("reason", Reason)
def test_section_says_what_it_means_and_what_each_side_does(reason: Reason) -> None:
    assert re.findall(r"^- \*\*(\w+)\*\*: \S", SECTIONS[reason], flags=re.MULTILINE) == ["Means", "Caller", "Operator"]


def test_page_mentions_no_reason_that_does_not_exist() -> None:
    words = set(re.findall(r"`([a-z]+(?:_[a-z]+)+)`", PAGE))
    looks_like_one = {word for word in words if word.split("_")[0] in {reason.value.split("_")[0] for reason in Reason}}
    known = {reason.value for reason in Reason} | {*OAUTH_CODES, *NOT_REASONS}
    assert looks_like_one <= known


@pytest.mark.parametrize("reason", Reason)
def test_entry_is_well_formed(reason: Reason) -> None:
    entry = CATALOGUE[reason]
    assert HTTPStatus(entry.status)
    assert entry.error in OAUTH_CODES
    assert entry.advice == printable(entry.advice), "RFC 6749 section 5.2"
    assert entry.advice.endswith(".")
    assert not entry.about_token or (entry.status, entry.error) == (400, "invalid_request")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ('with "quotes" and \\', "with ?quotes? and ?"),
        ("line\r\nbreak\ttab\0nul", "line??break?tab?nul"),
        ("é\u200b\ud800", "???"),
        ("\x7f", "?"),
        (" !#[]~", " !#[]~"),
    ],
)
def test_description_keeps_to_the_characters_of_oauth(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert Refusal(Reason.MALFORMED_REQUEST, text).description == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [("x" * 129, "x" * 128), (7, "7"), (None, "None"), (["a"], "['a']"), ('"' * 200, "?" * 128)],
)
def test_quoted_value_is_cut_and_printable(value: object, shown: str) -> None:
    assert quote(value) == shown


def test_refusal_says_the_advice_where_nothing_better_is_known() -> None:
    refusal = Refusal(Reason.TOKEN_EXPIRED)
    assert refusal.description == CATALOGUE[Reason.TOKEN_EXPIRED].advice
    assert refusal.missing is None
    assert refusal.retry_after is None
