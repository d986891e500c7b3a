"""What a registry's token says is compared with the decision to the letter; anything else is not handed out."""

from __future__ import annotations

import json
from typing import Any

import jwt
import pytest

from devstack.keys import b64url
from vending.acr.access import MAX_TOKEN_CHARACTERS, GrantWider, allowed, check
from vending.acr.scope import CATALOG, Scope, parse, repository
from vending.errors import Reason, Refusal

NOW = 1_800_000_000.0
HOST = "contoso.azurecr.io"
PUSH = (repository("web/api", ["pull", "push"]),)
BOTH = (repository("web/api", ["pull", "push"]), repository("web/ui", ["pull"]))


def entry(name: str, *actions: str, kind: str = "repository") -> dict[str, Any]:
    return {"type": kind, "name": name, "actions": list(actions)}


def token(access: Any = None, **claims: Any) -> str:
    honest = {"jti": "t-1", "aud": HOST, "exp": NOW + 3600, "iat": NOW - 900, "access": access, **claims}
    return jwt.encode({name: value for name, value in honest.items() if value is not ...}, "k" * 32, "HS256")


def refusal(text: str, scopes: tuple[Scope, ...] = PUSH) -> Refusal:
    with pytest.raises(Refusal) as caught:
        check(text, scopes=scopes, audiences=[HOST], now=NOW)
    return caught.value


@pytest.mark.parametrize(
    "access",
    [
        pytest.param([entry("web/api", "pull", "push")], id="as asked"),
        pytest.param([entry("web/api", "push", "pull")], id="another order"),
        pytest.param([entry("web/api", "push"), entry("web/api", "pull")], id="in two entries"),
        pytest.param([entry("web/api", "push", "pull", "pull")], id="an action twice"),
        pytest.param([{"Type": "repository", "Name": "web/api", "Actions": ["pull", "push"]}], id="capital keys"),
        pytest.param([entry("web/api", "pull", "push"), entry("web/x")], id="an entry without actions"),
        pytest.param(
            [entry("web/api", "pull", "push"), {"type": "repository", "name": "x", "actions": None}], id="null actions"
        ),
    ],
)
def test_grant_equal_to_the_decision_is_accepted(access: Any) -> None:
    vended = check(token(access), scopes=PUSH, audiences=["other", HOST], now=NOW)
    assert (vended.token_id, vended.expires_at) == ("t-1", NOW + 3600)


def test_order_of_repositories_does_not_matter() -> None:
    access = [entry("web/ui", "pull"), entry("web/api", "pull", "push")]
    assert check(token(access), scopes=BOTH, audiences=[HOST], now=NOW).token_id == "t-1"


def test_catalog_is_compared_like_the_rest() -> None:
    access = [entry("catalog", "*", kind="registry")]
    assert check(token(access), scopes=(CATALOG,), audiences=[HOST], now=NOW).token_id == "t-1"
    assert refusal(token([]), (CATALOG,)).missing == ("registry:catalog:*",)


@pytest.mark.parametrize(
    ("access", "excess"),
    [
        pytest.param([entry("web/api", "pull", "push", "delete")], ("repository:web/api:delete",), id="an action"),
        pytest.param(
            [entry("web/api", "pull", "push"), entry("web/ui", "pull")], ("repository:web/ui:pull",), id="a repository"
        ),
        pytest.param([entry("*", "pull")], ("repository:*:pull",), id="every repository"),
        pytest.param([entry("web/api", "pull", "push", "*")], ("repository:web/api:*",), id="every action"),
        pytest.param(
            [entry("web/api", "pull", "push"), entry("catalog", "*", kind="registry")],
            ("registry:catalog:*",),
            id="the catalog",
        ),
        pytest.param([entry("web/api", "pull", "delete")], ("repository:web/api:delete",), id="more and less at once"),
        pytest.param(
            [entry("web/API", "pull", "push")], ("repository:web/API:pull", "repository:web/API:push"), id="case"
        ),
        pytest.param(
            [entry("web/api", "pull", "push"), entry("a\nb", "x" * 300)],
            (("repository:a?b:" + "x" * 300)[:128],),
            id="hostile text",
        ),
    ],
)
def test_wider_grant_is_refused_whatever_else_is_in_it(access: Any, excess: tuple[str, ...]) -> None:
    wider = refusal(token(access))
    assert wider.reason is Reason.REGISTRY_GRANT_WIDER
    assert isinstance(wider, GrantWider)
    assert wider.excess == excess
    assert all(text not in wider.description for text in excess)


def test_list_of_what_is_too_much_is_bounded() -> None:
    wider = refusal(token([entry(f"r{number}", "pull") for number in range(1000)]))
    assert isinstance(wider, GrantWider)
    assert len(wider.excess) == 10


def test_token_that_fits_into_no_header_is_not_handed_out() -> None:
    access = [entry("web/api", "pull", "push")]
    short = len(token(access, jti=""))
    longest = max(n for n in range(6000) if short + n * 4 // 3 < 6002 and len(token(access, jti="j" * n)) <= 6000)
    fits, too_long = token(access, jti="j" * longest), token(access, jti="j" * (longest + 1))
    assert 5997 < len(fits) <= MAX_TOKEN_CHARACTERS < len(too_long)
    assert check(fits, scopes=PUSH, audiences=[HOST], now=NOW).secret == fits
    refused = refusal(too_long)
    assert refused.reason is Reason.TOO_MANY_SCOPES
    assert str(len(too_long)) in refused.description


def test_excess_is_told_before_the_length() -> None:
    wider = [entry(f"r{number}" + "x" * 200, "pull") for number in range(40)]
    assert refusal(token(wider)).reason is Reason.REGISTRY_GRANT_WIDER


@pytest.mark.parametrize("access", [None, [], ..., [entry("web/api")]], ids=["null", "empty", "absent", "no actions"])
def test_nothing_granted_is_narrower(access: Any) -> None:
    narrower = refusal(token(access), BOTH)
    assert narrower.reason is Reason.REGISTRY_GRANT_NARROWER
    assert narrower.missing == ("repository:web/api:pull,push", "repository:web/ui:pull")


@pytest.mark.parametrize(
    ("asked", "granted", "named", "role"),
    [
        ("repository:a:pull,push", [entry("a", "pull")], "push", "AcrPush"),
        ("repository:a:pull,push,delete", [entry("a", "pull", "push")], "delete", "AcrDelete"),
        ("repository:a:pull,delete", [], "pull, delete", "AcrPull and AcrDelete"),
        ("repository:a:pull,metadata_read", [entry("a", "pull")], "metadata_read", "AcrPull"),
        ("registry:catalog:*", [], "the catalog", "AcrPull"),
    ],
)
def test_narrower_grant_names_what_is_lacking_and_the_role_that_grants_it(
    asked: str, granted: Any, named: str, role: str
) -> None:
    narrower = refusal(token(granted), parse(asked))
    assert narrower.reason is Reason.REGISTRY_GRANT_NARROWER
    assert f"did not allow {named};" in narrower.description
    assert f"the role {role} (or Container Registry Repository" in narrower.description


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="nothing"),
        pytest.param("opaque", id="opaque"),
        pytest.param("a.b.c", id="three parts"),
        pytest.param("." * 100_000, id="dots"),
        pytest.param(jwt.encode({"x": 1}, "k" * 32, "HS256") + "é", id="not ASCII"),
        *(
            pytest.param(token([entry("web/api", "pull", "push")], exp=exp), id=f"exp {exp!r}")
            for exp in (NOW, NOW - 1, ..., None, True, "soon", str(NOW + 60), NOW + 11 * 86_400, float("inf"))
        ),
        *(
            pytest.param(token([entry("web/api", "pull", "push")], aud=aud), id=f"aud {aud!r}")
            for aud in (..., None, 1, [HOST], "", "other.azurecr.io", HOST.upper(), HOST + ".evil.example")
        ),
        *(
            pytest.param(token([entry("web/api", "pull", "push")], jti=jti), id=f"jti {jti!r}")
            for jti in (..., None, "", 5)
        ),
        *(
            pytest.param(token(access), id=f"access {access!r}")
            for access in (
                "repository:web/api:pull",
                {"type": "repository"},
                5,
                True,
                ["pull"],
                [["repository", "web/api", "pull"]],
                [{"name": "web/api", "actions": ["pull"]}],
                [{"type": "repository", "actions": ["pull"]}],
                [{"type": "repository", "name": 1, "actions": ["pull"]}],
                [{"type": "repository", "name": "web/api", "actions": "pull"}],
                [{"type": "repository", "name": "web/api", "actions": False}],
                [{"type": "repository", "name": "web/api", "actions": {"pull": 1}}],
                [{"type": "repository", "name": "web/api", "actions": ["pull", 1]}],
                [{"type": "repository", "name": "web/api", "Name": "*", "actions": ["pull"]}],
            )
        ),
    ],
)
def test_token_that_cannot_be_read_is_refused(text: str) -> None:
    assert refusal(text).reason is Reason.REGISTRY_RESPONSE_INVALID


def _parts(header: bytes = b'{"alg":"RS256"}', claims: bytes | None = None, signature: bytes = b"s" * 32) -> str:
    good = json.dumps({"jti": "t-1", "aud": HOST, "exp": NOW + 3600, "access": [_PUSHED]}).encode()
    return ".".join(b64url(part) for part in (header, good if claims is None else claims, signature))


_PUSHED = {"type": "repository", "name": "web/api", "actions": ["pull", "push"]}
_TWICE = f'{{"jti":"t-1","aud":"{HOST}","exp":{NOW + 3600:.0f},"access":[],"access":[{json.dumps(_PUSHED)}]}}'.encode()


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(_parts() + ".", id="four parts"),
        pytest.param(_parts().rpartition(".")[0], id="two parts"),
        pytest.param(_parts(header=b"[]"), id="header that is no object"),
        pytest.param(_parts(header=b"x"), id="header that is no JSON"),
        pytest.param(_parts(claims=_TWICE), id="access twice, the wider one last"),
        pytest.param(_parts(claims=b"[]"), id="claims that are no object"),
        pytest.param(_parts() + "=", id="padding"),
        pytest.param(_parts() + "!", id="a character of no alphabet"),
        pytest.param(_parts() + "\N{KELVIN SIGN}", id="a character beyond ASCII"),
        pytest.param(_parts() + "\ud800", id="half a surrogate pair"),
    ],
)
def test_what_is_no_jwt_in_its_one_form_is_refused(text: str) -> None:
    assert check(_parts(), scopes=PUSH, audiences=[HOST], now=NOW).token_id == "t-1"
    assert refusal(text).reason is Reason.REGISTRY_RESPONSE_INVALID


def test_signature_is_the_registrys_own_matter() -> None:
    text = _parts().rpartition(".")[0]
    assert check(f"{text}.xyz", scopes=PUSH, audiences=[HOST], now=NOW).token_id == "t-1"


def test_absent_key_in_an_entry_is_not_read_as_nothing() -> None:
    with pytest.raises(Refusal):
        allowed([{"type": "repository"}])


def test_vended_token_keeps_its_secret_out_of_its_repr() -> None:
    text = token([entry("web/api", "pull", "push")])
    assert text not in repr(check(text, scopes=PUSH, audiences=[HOST], now=NOW))
