"""Find a value of one claim that conditions judge as wanted, or prove that there is none. Knows no other claims.

A claim may be missing, or hold a text, a boolean, a number, or a list of these; what a provider is known to send
narrows it. Every value returned has been judged by the conditions themselves, so an answer is never wrong; the search
tries one value of each kind that they tell apart, so finding none is a proof.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Final

from vending.policy.engine.conditions import Condition, State
from vending.policy.engine.words import Constraint, Undecided, alphabet, literals_only, shortest, union

if TYPE_CHECKING:
    from vending.oidc.types import JsonValue

MAX_COMBINATIONS: Final = 4_096
"""Ways in which the elements of a list may be judged, of which each is tried."""

_OTHER: Final[JsonValue] = 0.5
"""A number with a fraction: no condition can name it, and it stands for objects too."""


class Missing:
    """Stand for a claim that is not there; its only value is `MISSING`."""

    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = Missing()


@dataclass(frozen=True, slots=True)
class Domain:
    """Say what a claim may hold. `types` are the Python types of its scalars (`str`, `bool`, `int`, `float`)."""

    types: frozenset[type] = frozenset({str, bool, int, float})
    scalars: bool = True
    lists: bool = True
    missing: bool = True
    bare_text: bool = True
    """Whether the claim may be a text itself, and not only a list with texts."""
    only: str | None = None
    """The one text that the claim may hold, where that is fixed."""


@dataclass(frozen=True, slots=True)
class Wish:
    """Want a condition to say one of some things about a claim."""

    condition: Condition
    states: frozenset[State]

    def negated(self) -> Wish:
        """Return the opposite wish."""
        return Wish(self.condition, _ALL - self.states)

    def grants(self, value: JsonValue | Missing) -> bool:
        """Return whether a value of the claim fulfils the wish."""
        return judge(self.condition, value) in self.states


_ALL: Final = frozenset(State)


def judge(condition: Condition, value: JsonValue | Missing) -> State:
    """Ask a condition about a value of its claim, wherever in a token the claim lies."""
    claims: JsonValue = None if value is MISSING else value  # type: ignore[assignment]
    for part in reversed(condition.path):
        claims = {part: claims}
    return condition.test(claims)  # type: ignore[arg-type]


def find_value(wishes: Sequence[Wish], domain: Domain) -> JsonValue | Missing | None:
    """Return a value that fulfils all wishes; None is a proof that there is none. Raises `Undecided`."""
    for value in _candidates(wishes, domain):
        if all(wish.grants(value) for wish in wishes):
            return value
    return None


def _candidates(wishes: Sequence[Wish], domain: Domain) -> Iterator[JsonValue | Missing]:
    """Yield values of every kind that the conditions tell apart, the plainest first."""
    wishes = [wish for wish in wishes if not wish.condition.absent]  # They only tell what is missing from the rest.
    if domain.missing:
        yield MISSING
    if domain.scalars:
        yield from _scalars(wishes, domain)
    if domain.lists:
        yield []
        yield from _lists(wishes, domain)


def _scalars(wishes: Sequence[Wish], domain: Domain) -> Iterator[JsonValue]:
    if domain.only is not None:
        yield domain.only
        return
    if domain.bare_text and str in domain.types:
        text = find_text(wishes)
        if text is not None:
            yield text
    if bool in domain.types:
        yield from (True, False)
    if int in domain.types:
        named = {number for wish in wishes for number in wish.condition.integers}
        yield from sorted(named)
        yield max(named, default=0) + 1
    if float in domain.types:
        yield _OTHER


def text_constraints(wishes: Iterable[Wish]) -> list[tuple[Condition, bool]] | None:
    """Return which conditions a text must match or not match; None where no text fulfils the wishes."""
    constraints: list[tuple[Condition, bool]] = []
    for wish in wishes:
        condition, states = wish.condition, wish.states
        if condition.absent:
            if State.FAILS not in states:
                return None
            continue
        otherwise = State.FAILS if has_texts(condition) else State.OTHER_TYPE
        matching, not_matching = State.HOLDS in states, otherwise in states
        if not matching and not not_matching:
            return None
        if not has_texts(condition):
            if not not_matching:
                return None
        elif matching is not not_matching:
            constraints.append((condition, matching))
    return constraints


def find_text(wishes: Sequence[Wish]) -> str | None:
    """Return a text that fulfils all wishes; None is a proof that there is none."""
    constraints = text_constraints(wishes)
    if constraints is None:
        return None
    exact = [c for c, wanted in constraints if wanted and literals_only(texts(c))]
    if exact:
        fewest = min(exact, key=lambda condition: len(condition.literals))
        return next((t for t in sorted(fewest.literals) if all(wish.grants(t) for wish in wishes)), None)
    return shortest(
        [Constraint(union(texts(c), folds=c.folds), wanted) for c, wanted in constraints],
        alphabet((pattern for c, _ in constraints for pattern in texts(c)), folds=any(c.folds for c, _ in constraints)),
    )


def texts(condition: Condition) -> tuple[str, ...]:
    """Return the patterns and literals of a condition, folded where it folds."""
    return (*sorted(condition.literals), *(glob.text for glob in condition.globs))


def has_texts(condition: Condition) -> bool:
    """Return whether a condition names any text, and so tells texts apart."""
    return bool(condition.literals or condition.globs)


def _types(condition: Condition) -> frozenset[type]:
    named = ((str, has_texts(condition)), (bool, condition.booleans), (int, condition.integers))
    return frozenset(kind for kind, values in named if values)


def _lists(wishes: Sequence[Wish], domain: Domain) -> Iterator[JsonValue]:
    """Yield one list for each way in which its wishes can be fulfilled.

    A list holds where one element does, fails where none does and one has the condition's type. So each wish that
    must hold gets an element of its own, each that must fail one of its type, and no element may disturb another wish.
    """
    open_states = [
        [state for state in (State.HOLDS, State.FAILS, State.OTHER_TYPE) if state in wish.states] for wish in wishes
    ]
    ways = 1
    for states in open_states:
        ways *= len(states)
    if ways > MAX_COMBINATIONS:
        raise Undecided("the conditions on one claim allow too many combinations")
    for chosen in product(*open_states):
        elements = _elements(wishes, chosen, domain)
        if elements:
            yield elements


def _elements(wishes: Sequence[Wish], chosen: Sequence[State], domain: Domain) -> list[JsonValue] | None:
    judged = list(zip((wish.condition for wish in wishes), chosen, strict=True))
    forbidden = frozenset(kind for c, state in judged if state is State.OTHER_TYPE for kind in _types(c))
    scalar = Domain(types=domain.types - forbidden, lists=False, missing=False)
    background = [Wish(c, _ALL - {State.HOLDS}) for c, state in judged if state is not State.HOLDS]
    elements: list[JsonValue] = []
    for condition, state in judged:
        if state is State.OTHER_TYPE:
            continue
        element = find_value([Wish(condition, frozenset({state})), *background], scalar)
        if element is None or isinstance(element, Missing):
            return None
        if not any(type(element) is type(other) and element == other for other in elements):
            elements.append(element)
    if not elements:
        filler = find_value(background, scalar)
        return None if filler is None or isinstance(filler, Missing) else [filler]
    return elements
