"""The language once more, as plainly as it can be said: over the file's data, without index, compiling or cleverness.

Slow and simple on purpose; the property tests hold the evaluator against it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

LISTED = {"pull", "push", "metadata_read"}
FOLDED = {"github": {"environment", "repository", "repository_owner", "actor"}}
TRIGGERS = ["pull_request_target", "workflow_run", "issue_comment", "issues", "discussion", "discussion_comment"]
TRIGGERS += ["watch", "fork", "gollum"]
REFUSED = {"github": [("event_name", trigger) for trigger in TRIGGERS]}
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


def several(value: Any) -> Any:
    return value if isinstance(value, list) else [value]


def state(key: str, accepted: Any, claims: Any, folded: set[str], policy: Any) -> str:
    """Say `holds`, `fails`, `missing` or `other type`."""
    actual = claim_at(claims, key)
    if isinstance(accepted, dict) and "absent" in accepted:
        return "holds" if actual is None else "fails"
    if isinstance(accepted, dict):
        accepted = policy["lists"][accepted["in"]]
    if actual is None or actual == []:
        return "missing"
    same_type = False
    for element in several(actual):
        for value in several(accepted):
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


def names_literally(accepted: Any, value: Any, policy: Any) -> bool:
    if isinstance(accepted, dict):
        accepted = policy["lists"][accepted["in"]] if "in" in accepted else []
    return value in several(accepted)


def used(entry: Any, policy: Any) -> Any:
    return [policy["conditions"][name] for name in several(entry.get("use", []))]


def ways(rule: Any, policy: Any) -> Any:
    """Write a rule without `use` and `when_any`, one for each choice of alternatives: their `when` as pairs."""
    whens = [list(part.get("when", {}).items()) for part in (rule, *used(rule, policy))]
    made = [[pair for when in whens for pair in when]]
    for part in (rule, *used(rule, policy)):
        if part.get("when_any"):
            made = [[*pairs, *alternative.items()] for pairs in made for alternative in part["when_any"]]
    return made


def is_in_time(entry: Any, now: float) -> bool:
    """Compare as text: a day with the day, a minute with the minute."""
    moment = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%MZ")
    if "not_before" in entry and moment[: len(entry["not_before"])] < entry["not_before"]:
        return False
    if "expires" not in entry:
        return True
    expires = str(entry["expires"])
    return moment < expires if "T" in expires else moment[:10] <= expires


def rule_matches(rule: Any, issuer: str, claims: Any, now: float, policy: Any) -> bool:
    """Return whether a rule counts and matches, apart from its mode."""
    if issuer not in several(rule["issuer"]) or rule.get("enabled") is False or not is_in_time(rule, now):
        return False
    folded = FOLDED.get(issuer, set())
    for part in (rule, *used(rule, policy)):
        for key, accepted in part.get("unless", {}).items():
            if state(key, accepted, claims, folded, policy) != "fails":
                return False
    return any(way_matches(way, issuer, claims, policy) for way in ways(rule, policy))


def way_matches(when: Any, issuer: str, claims: Any, policy: Any) -> bool:
    folded = FOLDED.get(issuer, set())
    if any(state(key, accepted, claims, folded, policy) != "holds" for key, accepted in when):
        return False
    for key, value in REFUSED.get(issuer, []):
        is_named = any(name == key and names_literally(accepted, value, policy) for name, accepted in when)
        if not is_named and state(key, value, claims, folded, policy) in ("holds", "other type"):
            return False
    return True


def fill(template: str, claims: Any, maps: Any) -> Any:
    """Return the names and patterns that a template stands for."""
    name: list[str] = []
    for part in template.split("/"):
        if not part.startswith("{"):
            name.append(part)
            continue
        claim, *filters = part[1:-1].split("|")
        value = claims.get(claim)
        if not isinstance(value, str) or not value.isascii():
            return []
        if "lower" in filters:
            value = value.lower()
        rest = [word for word in filters if word != "lower"]
        if rest and rest[0] != "path":
            value = maps[rest[0]].get(value)
            if value is None:
                return []
            if isinstance(value, list) or any(isinstance(other, list) for other in maps[rest[0]].values()):
                return several(value)
        elif not value or any(c not in "abcdefghijklmnopqrstuvwxyz0123456789" for c in value.replace("/", "")):
            return []  # The random values have no other separators.
        elif "" in value.split("/") or ("/" in value and not rest):
            return []
        name.append(value)
    return ["/".join(name)]


def stands_for(entry: str, claims: Any, maps: Any) -> Any:
    return fill(entry, claims, maps) if "{" in entry else [entry]


def grant_covers(grant: Any, registry: str, repository: str, action: str, claims: Any, maps: Any) -> bool:
    return (
        registry in several(grant["registry"])
        and action in grant.get("actions", [])
        and any(
            matches_pattern(pattern, repository)
            for entry in grant.get("repositories", [])
            for pattern in stands_for(entry, claims, maps)
        )
    )


def deny_covers(
    entry: Any, issuer: str, claims: Any, registry: str, repository: str, action: str, now: float, policy: Any
) -> bool:
    if entry.get("enabled") is False or entry.get("registry", registry) != registry or not is_in_time(entry, now):
        return False
    if "issuer" in entry:
        if issuer not in several(entry["issuer"]):
            return False
        folded = FOLDED.get(issuer, set())
        parts = [entry, *used(entry, policy)]
        when = [pair for part in parts for pair in part.get("when", {}).items()]
        if any(state(key, value, claims, folded, policy) in ("fails", "missing") for key, value in when):
            return False
        unless = [pair for part in parts for pair in part.get("unless", {}).items()]
        if unless and all(state(key, value, claims, folded, policy) == "holds" for key, value in unless):
            return False
    return action in entry.get("actions", []) and any(
        matches_pattern(pattern, repository) for pattern in entry.get("repositories", [])
    )


def denied(policy: Any, issuer: str, claims: Any, registry: str, repository: str, action: str, now: float) -> bool:
    return any(
        deny_covers(entry, issuer, claims, registry, repository, action, now, policy)
        for entry in (*policy.get("deny", []), *policy.get("never", []))
    )


def matching(policy: Any, issuer: str, claims: Any, now: float) -> Any:
    return [
        rule
        for rule in policy.get("rules", [])
        if rule.get("mode") != "audit" and rule_matches(rule, issuer, claims, now, policy)
    ]


def granted(policy: Any, issuer: str, claims: Any, registry: str, repository: str, action: str, now: float) -> bool:
    """Return whether a caller may do one thing to one repository."""
    maps = policy.get("maps", {})
    allowed = any(
        grant_covers(grant, registry, repository, action, claims, maps)
        for rule in matching(policy, issuer, claims, now)
        for grant in rule["grant"]
    )
    return allowed and not denied(policy, issuer, claims, registry, repository, action, now)


def listed(policy: Any, issuer: str, claims: Any, registry: str, now: float) -> set[tuple[str, str]]:
    """Return what a request without a scope asks for and gets."""
    return {
        (name, action)
        for rule in matching(policy, issuer, claims, now)
        for grant in rule["grant"]
        if registry in several(grant["registry"])
        for action in LISTED.intersection(grant.get("actions", []))
        for entry in grant.get("repositories", [])
        for name in stands_for(entry, claims, policy.get("maps", {}))
        if "*" not in name and not denied(policy, issuer, claims, registry, name, action, now)
    }
