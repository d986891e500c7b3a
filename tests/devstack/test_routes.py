"""Route templates are read as ASP.NET Core reads them."""

import pytest

from devstack.host.kestrel import decode_path
from devstack.host.routes import Template

MATCHES = [
    ("token", "/token", {}),
    ("token", "/TOKEN", {}),
    ("token", "/token/", {}),
    ("token", "/token/x", None),
    ("token", "/toke", None),
    ("", "/", {}),
    ("", "/x", None),
    (".well-known/oauth-authorization-server", "/.well-known/oauth-authorization-server", {}),
    ("a/{name}", "/a/b", {"name": "b"}),
    ("a/{name}", "/a/B%2Fc", {"name": "B%2Fc"}),
    ("a/{name}", "/a", None),
    ("a/{name}", "/a//", None),
    ("a/{name}", "/a/b/c", None),
    ("a/{name?}", "/a", {}),
    ("a/{name?}", "/a/b", {"name": "b"}),
    ("a/{name=x}", "/a", {"name": "x"}),
    ("{*path}", "/", {}),
    ("{*path}", "/a/b/", {"path": "a/b/"}),
    ("{**path}", "/a/b", {"path": "a/b"}),
    ("{*path}", "//a", None),
    ("{*path}", "//", None),
    ("{*path}", "/a//b", {"path": "a//b"}),
    ("files/{*path}", "/files//a", None),
    ("files/{*path}", "/files", {}),
    ("files/{*path}", "/other", None),
    ("n/{id:int}", "/n/-12", {"id": "-12"}),
    ("n/{id:int}", "/n/1x", None),
    ("n/{id:int}", "/n/99999999999", None),
    ("n/{id:int:min(3)}", "/n/2", None),
    ("n/{id:int:min(3)}", "/n/3", {"id": "3"}),
    ("n/{id:guid}", "/n/72f988bf-86f1-41af-91ab-2d7cd0110001", {"id": "72f988bf-86f1-41af-91ab-2d7cd0110001"}),
    ("n/{id:guid}", "/n/7", None),
    ("n/{id:alpha?}", "/n", {}),
    ("n/{id:alpha?}", "/n/a1", None),
]


@pytest.mark.parametrize(("template", "path", "values"), MATCHES, ids=[f"{t or '(empty)'} {p}" for t, p, _ in MATCHES])
def test_template_matches_a_path_as_aspnet_does(template: str, path: str, values: dict[str, str] | None) -> None:
    assert Template.parse(template).match(path) == values


@pytest.mark.parametrize("template", ["{*all}/x", "a-{b}", "{x:regex(a)}", "{a}{b}", "{x:min(a)}"])
def test_template_that_the_host_does_not_understand_is_refused(template: str) -> None:
    with pytest.raises(ValueError, match=r"not supported|must come last"):
        Template.parse(template)


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        (b"/a/b", "/a/b"),
        (b"/a%20b", "/a b"),
        (b"/a%2Fb%2fc", "/a%2Fb%2fc"),
        (b"/a/../b", "/b"),
        (b"/a/./b/..", "/a/"),
        (b"/%2e%2e/a", "/a"),
        (b"/../../a", "/a"),
        ("/ü".encode(), "/ü"),
        (b"http://vend.contoso.example/a%20b", "/a b"),
        (b"http://vend.contoso.example", "/"),
        (b"*", ""),
        (b"vend.contoso.example:443", ""),
        (b"/%ff", None),
        (b"/%00", None),
    ],
    ids=str,
)
def test_path_is_decoded_as_kestrel_does(raw: bytes, path: str | None) -> None:
    assert decode_path(raw) == path
