"""Tell what one condition says about another. Errs on the side of no: what is called certain is certain."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeGuard

from vending.oidc.claim_path import ClaimPath, fold
from vending.policy.engine.conditions import Condition, Scalar, State
from vending.policy.engine.containment import contains
from vending.policy.engine.globs import is_literal

if TYPE_CHECKING:
    from vending.oidc.types import Claims, JsonValue


def claims_with(path: ClaimPath, value: Scalar) -> Claims:
    """Make claims that have one value at a path, and nothing else."""
    inner: JsonValue = value
    for part in reversed(path[1:]):
        inner = {part: inner}
    return {path[0]: inner}


def implies(known: Condition, other: Condition) -> bool:
    """Return whether `other` holds wherever `known` does."""
    if known.path != other.path or known.absent != other.absent:
        return False
    texts = [text for text in other.values if isinstance(text, str)]
    return all(
        any(contains(_folded(text, other), _folded(value, other)) for text in texts)
        if _is_pattern(value)
        else other.test(claims_with(other.path, value)) is State.HOLDS
        for value in known.values
    )


def excludes(known: Condition, other: Condition) -> bool:
    """Return whether `other` fails wherever `known` holds, for claims that are no lists."""
    if known.path != other.path:
        return False
    if known.absent or other.absent:
        return known.absent != other.absent
    return all(
        not _is_pattern(value) and other.test(claims_with(other.path, value)) is not State.HOLDS
        for value in known.values
    )


def _is_pattern(value: Scalar) -> TypeGuard[str]:
    return isinstance(value, str) and not is_literal(value)


def _folded(text: str, condition: Condition) -> str:
    return fold(text) if condition.folds else text
