"""Turn the bytes of a policy file into a document, strictly: its encoding and size, then YAML or JSON by its name."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from vending.policy.language.document import START, Lines, Place, failure
from vending.policy.language.json_reader import read_json
from vending.policy.language.problems import Code
from vending.policy.language.yaml_reader import read_yaml

if TYPE_CHECKING:
    from vending.policy.language.document import Document

MAX_YAML_BYTES: Final = 1 << 20
"""A hand-written file of a thousand rules has a fifth of this; the parser needs seconds for more."""

MAX_JSON_BYTES: Final = 32 << 20
"""A compiled policy of 100,000 rules has about this size."""

_UNSAFE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufffe\uffff]")
# Control characters; line ends of YAML 1.1 that 1.2 does not have; and characters that hide in an editor or reverse
# text (https://trojansource.codes/).


def read(data: bytes, name: str) -> Document:
    """Read a file: JSON if its name ends in `.json`, else YAML.

    Raises `PolicyError` where nothing can be made of it; the document holds lesser problems.
    """
    is_json = name.endswith(".json")
    limit = MAX_JSON_BYTES if is_json else MAX_YAML_BYTES
    if len(data) > limit:
        hint = "" if is_json else "; compile larger policies to JSON"
        raise failure(name, START, Code.TOO_LARGE, f"the file has more than {limit >> 20} MiB{hint}")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise failure(name, Place(line, 1), Code.ENCODING, "the file is not UTF-8; save it as UTF-8") from None
    unsafe = _UNSAFE.search(text)
    if unsafe:
        # Beyond the first one, the rest of the file may not mean what it seems to.
        place = Lines(text).place(unsafe.start())
        raise failure(
            name, place, Code.CHARACTER, f"the character U+{ord(unsafe[0]):04X} is invisible or a control; remove it"
        )
    return read_json(text, name) if is_json else read_yaml(text, name)
