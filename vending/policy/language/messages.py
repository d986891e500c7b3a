"""Say in one sentence what is wrong with a value of a policy file, and what to write instead. Finds nothing itself."""

from __future__ import annotations

import datetime
import re
from difflib import get_close_matches
from typing import TYPE_CHECKING, Final

from vending.acr.names import explain_action, explain_name
from vending.policy.language.models import GrantModel, RuleModel
from vending.policy.providers.presets import PRESETS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from pydantic_core import ErrorDetails

    from vending.policy.language.problems import Location

_EXPECTED: Final[Mapping[str, str]] = {
    "string_type": "write text here",
    "bool_type": "write true or false here",
    "int_type": "write a whole number here",
    "list_type": "write a list here",
    "dict_type": "write a mapping of keys to values here",
    "model_type": "write a mapping of keys to values here",
    "model_attributes_type": "write a mapping of keys to values here",
    "string_too_long": "the text is too long",
}
_YAML_1_1_BOOLEANS: Final = frozenset({"yes", "no", "on", "off", "y", "n"})
_PLACEHOLDER: Final = re.compile(r"\{[^{}]*\}")
_LISTS_OF_ENTRIES: Final = frozenset({"rules", "deny", "never", "grant", "when_any"})
_CONDITIONS: Final = frozenset({"when", "unless"})
_IN_GRANTS: Final = frozenset(GrantModel.model_fields)
_BESIDE_CONDITIONS: Final = frozenset(RuleModel.model_fields)
_CLAIMS: Final = frozenset().union(*(preset.claims for preset in PRESETS.values())) - {"name", "description"}
_OTHER_WORDS: Final[Mapping[str, str]] = {
    "azurecloud": "public",
    "azurepubliccloud": "public",
    "azureusgovernment": "usgovernment",
    "azurechinacloud": "china",
    "github-actions": "github",
    "azure-pipelines": "azure-devops",
    "ado": "azure-devops",
    "hcp-terraform": "terraform-cloud",
    "aks": "kubernetes",
    "eks": "kubernetes",
    "gke": "kubernetes",
    "azure-ad": "entra",
    "aad": "entra",
    "dry-run": "audit",
    "dryrun": "audit",
    "report": "audit",
}
"""What other programs, and people, call values of this language."""


def message_for(kind: str, path: Location, detail: ErrorDetails) -> str:
    """Explain a value that does not fit its type; `kind` is pydantic's name of the error."""
    value = detail["input"]
    if kind == "literal_error":
        return _unknown_word(path, str(value), detail)
    if kind == "bool_type" and isinstance(value, str) and value.lower() in _YAML_1_1_BOOLEANS:
        return f"{value} is text in YAML 1.2; write true or false"
    if kind in {"greater_than_equal", "less_than_equal", "less_than"}:
        bound = next(iter(detail["ctx"].values()))
        return f"write a whole number that is {'at least' if kind == 'greater_than_equal' else 'at most'} {bound}"
    if kind == "repository" and isinstance(value, str):
        return _repository(value, detail["msg"])
    return _by_place(kind, path, value) or _by_type(kind, value, detail["msg"])


def _by_type(kind: str, value: object, said: str) -> str:
    message = _EXPECTED.get(kind) or said
    if kind in {"string_type", "value", "repository"} and isinstance(value, bool | int | datetime.date):
        message += "; put quotes around a value that is meant as text"
    return message


def _by_place(kind: str, path: Location, value: object) -> str | None:
    """Explain a mistake that shows in the value's position."""
    if _CONDITIONS.intersection(path[:-1]) and isinstance(value, dict | list | datetime.date):
        return _in_conditions(path, value)
    if path[-1:] and path[-1] in _CONDITIONS and isinstance(value, list):
        return (
            f"{path[-1]} is one mapping of claims to values, so its lines begin without a dash; write alternatives "
            "under when_any, and several values of one claim in a list"
        )
    if kind == "list_type":
        return _not_a_list(path, value)
    if kind == "value" and isinstance(value, str):
        return _not_a_name(path, value) or _not_a_host(path, value)
    return None


def misplaced_key(key: str | int, conditions: str | int) -> str | None:
    """Say where a key of the language belongs that is among conditions, where it names a claim; None for any other."""
    if key in _BESIDE_CONDITIONS:
        return f"{key} is inside {conditions}, where it names a claim; indent it like {conditions}"
    if key in _IN_GRANTS:
        return f"{key} is inside {conditions}, where it names a claim; it belongs in an entry of grant"
    return None


def _in_conditions(path: Location, value: object) -> str | None:
    inside = next(number for number, step in enumerate(path) if step in _CONDITIONS)
    misplaced = misplaced_key(path[inside + 1], path[inside])
    if misplaced:
        return misplaced
    if isinstance(value, datetime.date):
        return None
    return (
        f"the claim {path[inside + 1]} has a mapping or a list of lists; write a value, a list of values, "
        "{in: <list>} or {absent: true}, and a claim inside another as a JSON Pointer, /outer/inner"
    )


def _not_a_list(path: Location, value: object) -> str | None:
    if path[-1:] and path[-1] in _LISTS_OF_ENTRIES and isinstance(value, dict):
        return f"{path[-1]} is a list; begin each of its entries with a dash (-)"
    return f"write a list: [{value}]" if isinstance(value, str) else None


def _not_a_name(path: Location, value: str) -> str | None:
    key = next((step for step in reversed(path) if isinstance(step, str)), "")
    if key == "registry" and ("." in value or "/" in value):
        return "write the registry's name in this policy, a key of registries, not its host"
    if key == "issuer" and "://" in value and path[:1] != ("issuers",):
        return "write the issuer's name in this policy, a key of issuers, not its URL"
    return None


def _not_a_host(path: Location, value: str) -> str | None:
    if not {"login_server", "service", "hosts", "authority_host"}.intersection(path):
        return None
    bare = value.strip().lower().partition("://")[2] or value.strip().lower()
    return f"write a host in lower case, without https:// and path: {bare.partition('/')[0]}"


def _repository(value: str, said: str) -> str:
    """Explain an entry of `repositories`, or a name in a map; templates have passed the form of their braces."""
    if "{" in value and "templates are for rules" in said and "$" not in value:
        return f"{value[:128]!r} is a template, and only a rule's grant has templates; write a name or a pattern"
    filled = _PLACEHOLDER.sub("x", value) if "$" not in value and "{{" not in value else value
    if "{" in filled and "$" not in filled and "{{" not in filled:
        return f"{value[:128]!r} has a brace that nothing closes or opens; write a template as in ci/{{repository_id}}"
    return f"{value[:128]!r} {explain_name(filled, patterns='pattern' in said)}"


def _unknown_word(path: Location, value: str, detail: ErrorDetails) -> str:
    if "actions" in path:
        return explain_action(value[:64])
    choices = [choice.strip("' ") for choice in str(detail["ctx"]["expected"]).replace(" or ", ",").split(",")]
    return none_of(value, choices)


def none_of(value: str, choices: list[str]) -> str:
    """Suggest what may replace an unknown value."""
    other = _OTHER_WORDS.get(value.lower())
    hint = f"; did you mean {other}?" if other in choices else _suggestion(value, choices)
    return f"unknown value {value[:64]!r}; expected one of {', '.join(choices)}{hint}"


def unknown_key(key: str, path: Location, known: Iterable[str]) -> str:
    """Say which keys there are beside an unknown one."""
    choices = list(known)
    if key == "tests" and len(path) == 1:
        return "tests are a file of their own, which lies outside the policy's directory; move them there"
    misplaced = _misplaced(key, path)
    if misplaced:
        return f"unknown key {key[:64]!r}; {misplaced}"
    hint = _suggestion(key, choices) or f"; expected one of {', '.join(choices)}"
    return f"unknown key {key[:64]!r}{hint}"


def _misplaced(key: str, path: Location) -> str | None:
    """Say where a key belongs that is one elsewhere in the same entry."""
    in_rule, in_grant = path[:1] == ("rules",) and len(path) == 3, path[:1] == ("rules",) and len(path) == 5
    if in_rule and key in _IN_GRANTS:
        return "it belongs in an entry of grant"
    if in_grant and path[2] == "grant" and key in _BESIDE_CONDITIONS:
        return "indent it like grant, which it is inside of"
    if (in_rule or (path[:1] in {("deny",), ("never",)} and len(path) == 3)) and key in _CLAIMS:
        return "a claim belongs inside when or unless"
    return None


def _suggestion(value: str, choices: Collection[str]) -> str:
    close = get_close_matches(value.lower(), choices, n=1)
    return f"; did you mean {close[0]}?" if close else ""
