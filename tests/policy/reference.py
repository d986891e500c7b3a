"""The language once more, as plainly as it can be said: over the file's data, without index, compiling or cleverness.

Slow and simple on purpose; the property tests hold the evaluator against it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

FOLDED = {"github": {"environment", "repository", "repository_owner", "actor"}}
REFUSED = {"github": [("event_name", "pull_request_target"), ("event_name", "workflow_run")]}
ASCII_LOWER = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz")


def matches_pattern(pattern: str, value: str) -> bool:
    """Match one character at a time, trying every way."""

    @lru_cache(None)
    def match(p: int, v: int) -> bool:
        if p == len(pattern):
            return v == len(value)
        if pattern.startswith("**", p):
            return match(p + 2, v) or (v < len(value) and match(p, v + 1))
        if pattern[p] == "*":
            return match(p + 1, v) or (v < len(value) and value[v] not in "/:" and match(p, v + 1))
        return v < len(value) and pattern[p] == value[v] and match(p + 1, v + 1)

    return match(0, 0)


def claim_at(claims: Any, key: str) -> Any:
    if not key.startswith("/"):
        return claims.get(key)
    value = claims
    for part in key[1:].split("/"):
        part = part.replace("~1", "/").replace("~0", "~")
        if isinstance(value, dict):
            value = value.get(part)
        elif isinstance(value, list) and part in [str(number) for number in range(len(value))]:
            value = value[int(part)]
        else:
            return None
    return value


def state(key: str, accepted: Any, claims: Any, folded: set[str]) -> str:
    """Say `holds`, `fails`, `missing` or `other type`."""
    actual = claim_at(claims, key)
    if actual is None or actual == []:
        return "missing"
    elements = actual if isinstance(actual, list) else [actual]
    wanted = accepted if isinstance(accepted, list) else [accepted]
    same_type = False
    for element in elements:
        for value in wanted:
            if type(element) is not type(value) or type(element) not in (str, bool, int):
                continue
            same_type = True
            if isinstance(value, str):
                left, right = (
                    (value.translate(ASCII_LOWER), element.translate(ASCII_LOWER))
                    if key in folded
                    else (value, element)
                )
                if matches_pattern(left, right):
                    return "holds"
            elif element == value:
                return "holds"
    return "fails" if same_type else "other type"


def rule_matches(rule: Any, issuer: str, claims: Any, now: float) -> bool:
    """Tell whether a rule counts and matches, apart from its mode."""
    if issuer not in ([rule["issuer"]] if isinstance(rule["issuer"], str) else rule["issuer"]):
        return False
    if rule.get("enabled") is False:
        return False
    if "expires" in rule and datetime.fromtimestamp(now, UTC).date().isoformat() > rule["expires"]:
        return False
    folded = FOLDED.get(issuer, set())
    for key, accepted in rule["when"].items():
        if state(key, accepted, claims, folded) != "holds":
            return False
    for key, accepted in rule.get("unless", {}).items():
        if state(key, accepted, claims, folded) != "fails":
            return False
    for key, value in REFUSED.get(issuer, []):
        if state(key, value, claims, folded) in ("holds", "other type"):
            named = rule["when"].get(key, [])
            if value not in ([named] if isinstance(named, str) else named):
                return False
    return True


def fill(template: str, claims: Any, maps: Any) -> str | None:
    name = []
    for part in template.split("/"):
        if not part.startswith("{"):
            name.append(part)
            continue
        claim, *filters = part[1:-1].split("|")
        value = claims.get(claim)
        if not isinstance(value, str) or not value.isascii():
            return None
        if "lower" in filters:
            value = value.lower()
        rest = [word for word in filters if word != "lower"]
        if rest and rest[0] != "path":
            value = maps[rest[0]].get(value)
            if value is None:
                return None
        elif not value or any(c not in "abcdefghijklmnopqrstuvwxyz0123456789" for c in value.replace("/", "")):
            return None  # The random values have no other separators.
        elif "" in value.split("/") or ("/" in value and not rest):
            return None
        name.append(value)
    return "/".join(name)


def grant_covers(grant: Any, repository: str, action: str, claims: Any, maps: Any) -> bool:
    if action not in grant.get("actions", []):
        return False
    return any(
        fill(entry, claims, maps) == repository if "{" in entry else matches_pattern(entry, repository)
        for entry in grant.get("repositories", [])
    )


def deny_covers(entry: Any, issuer: str, claims: Any, registry: str, repository: str, action: str) -> bool:
    if entry.get("enabled") is False or entry.get("registry", registry) != registry:
        return False
    if "issuer" in entry:
        if issuer not in ([entry["issuer"]] if isinstance(entry["issuer"], str) else entry["issuer"]):
            return False
        folded = FOLDED.get(issuer, set())
        if any(state(k, v, claims, folded) in ("fails", "missing") for k, v in entry.get("when", {}).items()):
            return False
        unless = entry.get("unless", {})
        if unless and all(state(k, v, claims, folded) == "holds" for k, v in unless.items()):
            return False
    return action in entry.get("actions", []) and any(
        matches_pattern(pattern, repository) for pattern in entry.get("repositories", [])
    )


def granted(policy: Any, issuer: str, claims: Any, registry: str, repository: str, action: str, now: float) -> bool:
    """Tell whether a caller may do one thing to one repository."""
    allowed = any(
        grant_covers(grant, repository, action, claims, policy.get("maps", {}))
        for rule in policy.get("rules", [])
        if rule.get("mode") != "audit" and rule_matches(rule, issuer, claims, now)
        for grant in rule["grant"]
        if grant["registry"] == registry
    )
    return allowed and not any(
        deny_covers(entry, issuer, claims, registry, repository, action) for entry in policy.get("deny", [])
    )
