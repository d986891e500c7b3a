"""The shape of a request: every parameter's bad input has its documented refusal."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest

from vending.errors import Reason, Refusal
from vending.request import GRANT_TYPE, MAX_BODY_BYTES, MEDIA_TYPE, TokenRequest, parse

TOKEN = "aaa.bbb.ccc"
MINIMAL = {"grant_type": GRANT_TYPE, "subject_token": TOKEN}


def ask(
    parameters: dict[str, str] | list[tuple[str, str]] | bytes,
    *,
    query: str = "",
    content_type: str | None = MEDIA_TYPE,
    authorization: str | None = None,
) -> TokenRequest:
    body = parameters if isinstance(parameters, bytes) else urlencode(parameters).encode()
    return parse(query=query, content_type=content_type, body=body, authorization=authorization)


def pairs(*extra: tuple[str, str], without: str = "") -> list[tuple[str, str]]:
    return [(name, value) for name, value in MINIMAL.items() if name != without] + list(extra)


REFUSED: list[tuple[str, list[tuple[str, str]], Reason]] = [
    ("no grant_type", pairs(without="grant_type"), Reason.MISSING_PARAMETER),
    ("an empty grant_type is none", pairs(("grant_type", ""), without="grant_type"), Reason.MISSING_PARAMETER),
    (
        "another grant_type",
        pairs(("grant_type", "client_credentials"), without="grant_type"),
        Reason.UNSUPPORTED_GRANT_TYPE,
    ),
    ("no subject_token", pairs(without="subject_token"), Reason.MISSING_PARAMETER),
    ("an empty subject_token is none", pairs(("subject_token", ""), without="subject_token"), Reason.MISSING_PARAMETER),
    ("grant_type twice", pairs(("grant_type", GRANT_TYPE)), Reason.DUPLICATE_PARAMETER),
    ("subject_token twice", pairs(("subject_token", TOKEN)), Reason.DUPLICATE_PARAMETER),
    ("scope twice", pairs(("scope", "a"), ("scope", "a")), Reason.DUPLICATE_PARAMETER),
    ("an unknown parameter twice", pairs(("x", "1"), ("x", "1")), Reason.DUPLICATE_PARAMETER),
    ("a parameter twice, once empty", pairs(("scope", ""), ("scope", "")), Reason.DUPLICATE_PARAMETER),
    ("audience twice", pairs(("audience", "prod"), ("audience", "prod")), Reason.MULTIPLE_REGISTRIES),
    ("resource twice", pairs(("resource", "https://a"), ("resource", "https://b")), Reason.MULTIPLE_REGISTRIES),
    ("an actor_token", pairs(("actor_token", TOKEN)), Reason.MALFORMED_REQUEST),
    ("an actor_token_type alone", pairs(("actor_token_type", "urn:x")), Reason.MALFORMED_REQUEST),
    (
        "a SAML subject_token_type",
        pairs(("subject_token_type", "urn:ietf:params:oauth:token-type:saml2")),
        Reason.UNSUPPORTED_TOKEN_TYPE,
    ),
    (
        "an access token as subject",
        pairs(("subject_token_type", "urn:ietf:params:oauth:token-type:access_token")),
        Reason.UNSUPPORTED_TOKEN_TYPE,
    ),
    (
        "a refresh token requested",
        pairs(("requested_token_type", "urn:ietf:params:oauth:token-type:refresh_token")),
        Reason.UNSUPPORTED_TOKEN_TYPE,
    ),
    ("too many parameters", pairs(*((f"p{n}", "1") for n in range(200))), Reason.MALFORMED_REQUEST),
    ("129 scopes", pairs(("scope", " ".join(["repository:a:pull"] * 129))), Reason.TOO_MANY_SCOPES),
    ("a scope that is a word", pairs(("scope", "push")), Reason.MALFORMED_SCOPE),
    ("a scope without actions", pairs(("scope", "repository:web/api")), Reason.MALFORMED_SCOPE),
    ("a scope with an empty action list", pairs(("scope", "repository:web/api:")), Reason.MALFORMED_SCOPE),
    ("a trailing comma", pairs(("scope", "repository:web/api:pull,")), Reason.MALFORMED_SCOPE),
    ("an unknown action", pairs(("scope", "repository:web/api:read")), Reason.MALFORMED_SCOPE),
    ("an action in capitals", pairs(("scope", "repository:web/api:PULL")), Reason.MALFORMED_SCOPE),
    ("a repository in capitals", pairs(("scope", "repository:Web/api:pull")), Reason.MALFORMED_SCOPE),
    ("a leading slash", pairs(("scope", "repository:/web:pull")), Reason.MALFORMED_SCOPE),
    ("a doubled slash", pairs(("scope", "repository:web//api:pull")), Reason.MALFORMED_SCOPE),
    ("a parent folder", pairs(("scope", "repository:web/../api:pull")), Reason.MALFORMED_SCOPE),
    ("a repository of 256 characters", pairs(("scope", f"repository:{'a' * 256}:pull")), Reason.MALFORMED_SCOPE),
    ("a digest", pairs(("scope", "repository:web@sha256:pull")), Reason.MALFORMED_SCOPE),
    ("a fourth part", pairs(("scope", "repository:web:pull:push")), Reason.MALFORMED_SCOPE),
    ("a doubled space", pairs(("scope", "repository:a:pull  repository:b:pull")), Reason.MALFORMED_SCOPE),
    ("a newline between scopes", pairs(("scope", "repository:a:pull\nrepository:b:pull")), Reason.MALFORMED_SCOPE),
    ("a newline at the end", pairs(("scope", "repository:a:pull\n")), Reason.MALFORMED_SCOPE),
    ("look-alike letters", pairs(("scope", "repository:wеb:pull")), Reason.MALFORMED_SCOPE),
    ("full-width digits", pairs(("scope", "repository:web１:pull")), Reason.MALFORMED_SCOPE),
    ("the legacy Helm type", pairs(("scope", "artifact-repository:web:pull")), Reason.MALFORMED_SCOPE),
    ("a repository class", pairs(("scope", "repository(plugin):web:pull")), Reason.MALFORMED_SCOPE),
    ("another registry resource", pairs(("scope", "registry:catalog:pull")), Reason.MALFORMED_SCOPE),
    ("every action", pairs(("scope", "repository:web:*")), Reason.WILDCARD_SCOPE),
    ("every repository", pairs(("scope", "repository:*:pull")), Reason.WILDCARD_SCOPE),
    ("a prefix", pairs(("scope", "repository:web/*:pull")), Reason.WILDCARD_SCOPE),
    ("one action and every action", pairs(("scope", "repository:web:pull,*")), Reason.WILDCARD_SCOPE),
    ("every registry resource", pairs(("scope", "registry:*:*")), Reason.WILDCARD_SCOPE),
    ("a star alone", pairs(("scope", "*")), Reason.WILDCARD_SCOPE),
]


@pytest.mark.parametrize(("parameters", "reason"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_a_bad_parameter_is_refused(parameters: list[tuple[str, str]], reason: Reason) -> None:
    with pytest.raises(Refusal) as refused:
        ask(parameters)
    assert refused.value.reason is reason


@pytest.mark.parametrize(
    "content_type",
    [None, "", "application/json", "multipart/form-data; boundary=x", "text/plain", f"{MEDIA_TYPE}; charset=utf-16"],
)
def test_anything_but_a_form_is_refused(content_type: str | None) -> None:
    with pytest.raises(Refusal) as refused:
        ask(MINIMAL, content_type=content_type)
    assert refused.value.reason is Reason.UNSUPPORTED_MEDIA_TYPE


@pytest.mark.parametrize(
    "content_type", [MEDIA_TYPE, f"{MEDIA_TYPE}; charset=UTF-8", f"{MEDIA_TYPE};charset=utf-8", MEDIA_TYPE.upper()]
)
def test_a_form_may_name_its_charset(content_type: str) -> None:
    assert ask(MINIMAL, content_type=content_type).subject_token == TOKEN


def test_a_body_is_accepted_up_to_its_limit_and_not_beyond() -> None:
    head = urlencode(MINIMAL).encode() + b"&padding="
    assert ask(head + b"x" * (MAX_BODY_BYTES - len(head))).subject_token == TOKEN
    with pytest.raises(Refusal) as refused:
        ask(head + b"x" * (MAX_BODY_BYTES - len(head) + 1))
    assert refused.value.reason is Reason.BODY_TOO_LARGE


@pytest.mark.parametrize(
    "body",
    [b"grant_type=%zz", b"grant_type=%", b"grant_type=%f", b"scope=%ff", b"%80=1", b"scope=\xff\xfe"],
)
def test_a_form_that_cannot_be_decoded_is_refused(body: bytes) -> None:
    with pytest.raises(Refusal) as refused:
        ask(body)
    assert refused.value.reason is Reason.MALFORMED_REQUEST


def test_a_query_string_is_refused_because_urls_are_logged() -> None:
    with pytest.raises(Refusal) as refused:
        ask(MINIMAL, query="subject_token=aaa.bbb.ccc")
    assert refused.value.reason is Reason.MALFORMED_REQUEST
    assert TOKEN not in str(refused.value)


def test_the_header_may_carry_the_token_instead() -> None:
    asked = ask({"grant_type": GRANT_TYPE}, authorization=f"bearer {TOKEN}")
    assert (asked.subject_token, asked.token_in_header) == (TOKEN, True)


def test_the_same_token_twice_is_no_conflict_and_counts_as_the_body() -> None:
    assert ask(MINIMAL, authorization=f"Bearer {TOKEN}").token_in_header is False


def test_two_different_tokens_conflict() -> None:
    with pytest.raises(Refusal) as refused:
        ask(MINIMAL, authorization="Bearer ddd.eee.fff")
    assert refused.value.reason is Reason.CONFLICTING_TOKENS


@pytest.mark.parametrize("behind", ["\n", "\r\n", " ", "\t\n", "\n\n", " \r\n \n"])
def test_what_a_file_has_behind_a_token_is_removed(behind: str) -> None:
    asked = ask({**MINIMAL, "subject_token": TOKEN + behind}, authorization=f"Bearer {TOKEN}")
    assert (asked.subject_token, asked.token_in_header) == (TOKEN, False)


@pytest.mark.parametrize(
    "token", ["\naaa.bbb.ccc", " aaa.bbb.ccc", "aaa.bbb\n.ccc", "aaa.bbb.ccc\x0b", "aaa.bbb.ccc\x00"]
)
def test_nothing_else_is_removed_from_a_token(token: str) -> None:
    assert ask({**MINIMAL, "subject_token": token}).subject_token == token


@pytest.mark.parametrize("blank", [" ", "\n", "\r\n\t ", "\x0b", "\u2003"])
def test_token_of_white_space_alone_is_none(blank: str) -> None:
    with pytest.raises(Refusal) as refused:
        ask({**MINIMAL, "subject_token": blank})
    assert refused.value.reason is Reason.MISSING_PARAMETER
    assert ask({**MINIMAL, "subject_token": blank}, authorization=f"Bearer {TOKEN}").token_in_header


@pytest.mark.parametrize("authorization", ["Basic dTpw", "Bearer", "Bearer ", ""])
def test_a_header_without_a_bearer_token_brings_none(authorization: str) -> None:
    with pytest.raises(Refusal) as refused:
        ask({"grant_type": GRANT_TYPE}, authorization=authorization)
    assert refused.value.reason is Reason.MISSING_PARAMETER


def test_an_empty_body_is_told_of_the_length_that_it_may_lack() -> None:
    with pytest.raises(Refusal) as refused:
        ask(b"")
    assert refused.value.reason is Reason.MISSING_PARAMETER
    assert "Content-Length" in refused.value.description
    with pytest.raises(Refusal) as refused:
        ask(b"&")
    assert "Content-Length" not in refused.value.description


def test_scopes_of_one_repository_are_merged_in_order() -> None:
    asked = ask(
        {**MINIMAL, "scope": "repository:b:push repository:a:metadata_read,pull repository:b:pull registry:catalog:*"}
    )
    assert [str(scope) for scope in asked.scopes or ()] == [
        "repository:b:pull,push",
        "repository:a:pull,metadata_read",
        "registry:catalog:*",
    ]
    assert asked.scope_count == 4


def test_empty_and_unknown_parameters_count_as_absent() -> None:
    asked = ask({**MINIMAL, "scope": "", "audience": "", "resource": "", "actor_token": "", "unknown": "x"})
    assert (asked.scopes, asked.audience, asked.resource, asked.scope_count) == (None, None, None, 0)


def test_a_repr_holds_no_token() -> None:
    assert TOKEN not in repr(ask(MINIMAL))
