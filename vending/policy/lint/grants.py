"""Criticise what is granted: nothing after all, too little to be of use, or everything."""

from __future__ import annotations

from itertools import product
from math import prod
from typing import TYPE_CHECKING, Final

from vending.acr.names import is_registry_host
from vending.policy.engine.containment import contains
from vending.policy.engine.globs import compile_glob, has_substance, is_literal
from vending.policy.engine.policy import ALWAYS
from vending.policy.engine.repositories import Insertion, compile_template
from vending.policy.language.fields import as_list
from vending.policy.lint.codes import Findings, Lint, finding
from vending.policy.lint.implication import excludes, implies

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from vending.policy.engine.policy import Deny, Grant, Rule
    from vending.policy.language.models import GrantModel
    from vending.policy.language.problems import Location
    from vending.policy.lint.view import RuleEntry, View

_MAX_NAMES: Final = 200
"""How many names that maps make are looked at one by one."""


# --- Nothing after all ------------------------------------------------------------------------------------------------


def denied_grant(rule: RuleEntry, view: View, now: float) -> Findings:
    """Find grants that deny entries take away from everybody whom the rule matches."""
    if not rule.model.enabled:
        return
    denies = [[deny for deny in view.denies_of[c.issuer] if _surely_holds(deny, c)] for c in rule.compiled]
    if not all(denies):
        return
    for number, grant in enumerate(rule.model.grant):
        path: Location = (*rule.path, "grant", number)
        # What is taken away is taken from every issuer's callers, in every registry that the grant names.
        covering = [
            [deny.covers for deny in of_issuer if deny.covers.registry in {None, registry}]
            for of_issuer in denies
            for registry in as_list(grant.registry)
        ]
        if grant.catalog and all(any(covers.catalog for covers in some) for some in covering):
            yield finding(
                Lint.DENIED_GRANT, (*path, "catalog"), "a deny entry takes the catalog away; remove one of the two"
            )
        at_risk = [a for a in grant.actions or () if all(any(a in c.actions for c in some) for some in covering)]
        taken = {
            (text, str(action))
            for action in at_risk
            for text in grant.repositories or ()
            if all(_takes(some, _patterns(text, view), action) for some in covering)
        }
        yield from _denied(grant, path, taken)


def _denied(grant: GrantModel, path: Location, taken: set[tuple[str, str]]) -> Findings:
    """Report what is taken away as a whole: the grant, or else its single entries and actions."""
    entries, actions = grant.repositories or [], grant.actions or []
    if not taken:
        return
    message = "a deny entry takes away {}; remove it here, or narrow the deny entry"
    if len(taken) == len(set(entries)) * len(set(actions)):
        yield finding(Lint.DENIED_GRANT, path, message.format("all that is granted here"))
        return
    for number, text in enumerate(entries):
        if all((text, action) in taken for action in actions):
            yield finding(Lint.DENIED_GRANT, (*path, "repositories", number), message.format(repr(text)))
    for number, action in enumerate(actions):
        if all((text, action) in taken for text in entries):
            yield finding(Lint.DENIED_GRANT, (*path, "actions", number), message.format(action))


def _surely_holds(deny: Deny, rule: Rule) -> bool:
    """Return whether a deny entry holds for every caller that a rule matches, and at all times."""
    if deny.span != ALWAYS:
        return False
    for condition in deny.when:
        if not any(implies(known, condition) for known in rule.when):
            return False
    return not deny.unless or any(excludes(known, condition) for condition in deny.unless for known in rule.when)


def _takes(covering: Sequence[Grant], patterns: list[str], action: str) -> bool:
    able = [covers for covers in covering if action in covers.actions]
    return all(any(_covers(grant, pattern) for grant in able) for pattern in patterns)


def _covers(grant: Grant, pattern: str) -> bool:
    return pattern in grant.names or any(contains(glob.text, pattern) for glob in grant.globs)


def _patterns(text: str, view: View) -> list[str]:
    """Return patterns that together match every name which an entry can stand for."""
    if "{" not in text:
        return [text]
    template = compile_template(text, view.maps)
    choices = [_choices(part) for part in template.parts]
    if prod(map(len, choices)) > _MAX_NAMES:
        return [template.widest]
    tail = [] if template.tail is None else [template.tail.text]
    return ["/".join([*parts, *tail]) for parts in product(*choices)]


def _choices(part: str | Insertion) -> list[str]:
    if isinstance(part, str):
        return [part]
    if part.lists is not None:
        return sorted(
            {text for reach in part.lists.values() for text in (*reach.names, *(g.text for g in reach.globs))}
        )
    return [part.widest] if part.table is None else sorted(set(part.table.values()))


# --- Too little to be of use ------------------------------------------------------------------------------------------


def push_without_pull(rule: RuleEntry, view: View, now: float) -> Findings:
    """Find what may be pushed and not pulled."""
    for path, names in _lacking(rule, "push", "pull"):
        message = f"clients that push also read what is there, and {names} cannot be read; add pull"
        yield finding(Lint.PUSH_WITHOUT_PULL, path, message)


def pull_without_metadata_read(rule: RuleEntry, view: View, now: float) -> Findings:
    """Find what may be pulled, and whose tags cannot be listed."""
    for path, names in _lacking(rule, "pull", "metadata_read"):
        message = f"the tags of {names} cannot be listed with pull alone; add metadata_read where that is needed"
        yield finding(Lint.PULL_WITHOUT_METADATA_READ, path, message)


def _lacking(rule: RuleEntry, has: str, lacks: str) -> Iterator[tuple[Location, str]]:
    """Find grants that give one action without another that no grant of the rule gives for the same repositories."""
    given = {
        (registry, text)
        for _, grant, text in rule.entries()
        if lacks in (grant.actions or ())
        for registry in as_list(grant.registry)
    }
    patterns = [(registry, text) for registry, text in given if not is_literal(text)]
    for number, grant in enumerate(rule.model.grant):
        actions = grant.actions or []
        if has not in actions or lacks in actions:
            continue
        names = [
            text
            for text in grant.repositories or ()
            if not all(_is_given(registry, text, given, patterns) for registry in as_list(grant.registry))
        ]
        if names:
            yield (*rule.path, "grant", number, "actions"), ", ".join(names)


def _is_given(registry: str, text: str, given: set[tuple[str, str]], patterns: list[tuple[str, str]]) -> bool:
    """Return whether other grants of the rule give an entry in a registry, as it is written or by a wider pattern."""
    return (registry, text) in given or any(
        registry == other and contains(pattern, text) for other, pattern in patterns
    )


# --- Everything -------------------------------------------------------------------------------------------------------


def grant_everything(rule: RuleEntry, view: View, now: float) -> Findings:
    """Find patterns that cover every repository."""
    for path, grant, text in rule.entries():
        if not has_substance(text):
            yield finding(
                Lint.GRANT_EVERYTHING,
                path,
                f"{text} covers whatever is in {', '.join(as_list(grant.registry))}, now and later; name repositories, "
                "or a prefix as in web/**",
            )


_STARTS: Final = "abcdefghijklmnopqrstuvwxyz0123456789"
_HALF: Final = len(_STARTS) // 2


def grant_nearly_everything(rule: RuleEntry, view: View, now: float) -> Findings:
    """Find patterns that together cover names of any beginning that nobody has thought of yet."""
    for number, grant in enumerate(rule.model.grant):
        patterns = [text for text in grant.repositories or () if _is_pattern(text) and has_substance(text)]
        if len(patterns) < _HALF and not any(pattern.startswith("*") for pattern in patterns):
            continue  # Each covers names of one beginning.
        new = _unthought_of(patterns)
        globs = [compile_glob(pattern) for pattern in patterns]
        covered = [start for start in _STARTS if any(glob.matches(f"{start}{new}") for glob in globs)]
        if len(covered) >= _HALF:
            yield finding(
                Lint.GRANT_NEARLY_EVERYTHING,
                (*rule.path, "grant", number, "repositories"),
                f"these patterns together cover most names that a repository can have, {covered[0]}{new} for "
                "one; name repositories, or one prefix as in web/**",
                at_key=True,
            )


def _is_pattern(text: str) -> bool:
    return "*" in text and "{" not in text


def _unthought_of(patterns: Sequence[str]) -> str:
    """Return how a name may go on that none of the patterns was written for: by a letter that none of them has."""
    letter = next((letter for letter in reversed(_STARTS) if not any(letter in text for text in patterns)), "q")
    return f"{letter}{letter}/{letter}"


def image_reference(rule: RuleEntry, view: View, now: float) -> Findings:
    """Find entries that begin with a registry's host, as an image reference does and a repository does not."""
    hosts = {host for registry in view.loaded.policy.registries.values() for host in registry.all_hosts}
    for location, _, text in rule.entries():
        first = text.partition("/")[0]
        if first in hosts or is_registry_host(first):
            rest = text.partition("/")[2] or "web/api"
            yield finding(
                Lint.IMAGE_REFERENCE,
                location,
                f"{text!r} begins with a registry's host, and no repository has such a name; write {rest!r}",
            )
