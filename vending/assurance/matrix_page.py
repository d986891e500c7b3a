"""Write the access matrix as one page that opens from a file: no network, no dependency. Knows no policy.

Everything that a policy's author wrote reaches the page as JSON and is inserted as text, never as markup; the page's
own policy (Content-Security-Policy) admits exactly its one script and its one style sheet, by their hashes.
"""

from __future__ import annotations

import base64
import hashlib
import json
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_ESCAPES: Final = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
"""What could end the element that the data lies in, written so that JSON reads it all the same."""


def render_page(entries: Sequence[Mapping[str, Any]], denies: Sequence[Mapping[str, Any]], about: str) -> str:
    """Return the page as HTML.

    `entries` are rows of the matrix with `caller` (the identity claims, as text) and optionally `description`,
    `accepted` (a list), `change` (`grew` or `shrank`), `used` (a count) and `last`; `denies` are rows with `name`,
    `kind`, `issuer`, `when`, `registry`, `repositories`, `actions`, `not_before`, `expires`, `where`.
    """
    folder = files("vending.assurance") / "page"
    style, script = ((folder / name).read_text("utf-8") for name in ("matrix.css", "matrix.js"))
    data = json.dumps({"entries": list(entries), "denies": list(denies), "about": about}, ensure_ascii=False)
    for character, escape in _ESCAPES.items():
        data = data.replace(character, escape)
    parts = {
        "style_hash": _hash(style),
        "script_hash": _hash(script),
        "style": style,
        "script": script,
        "data": data,
    }
    page = (folder / "matrix.html").read_text("utf-8")
    pieces = page.split("{{")
    filled = [pieces[0]]
    for piece in pieces[1:]:
        name, _, rest = piece.partition("}}")
        filled += [parts[name], rest]
    return "".join(filled)


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
