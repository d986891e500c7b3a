"""Find a token and a repository inside one case and outside of others, or prove that there are none.

A case is a conjunction of literals: each says what one condition makes of one claim, or that some patterns cover the
repository. Claims are independent of one another and of the repository, so a conjunction is satisfiable exactly when
the literals on each of them are; what remains is a search over which literal of each excluded case fails (as in a SAT
solver, with `vending.assurance.values` as its theory). Literals are numbers; the negation of `n` is `-n`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, TypeAlias

from vending.assurance.values import MISSING, Domain, Missing, Wish, find_value
from vending.oidc.claim_path import fold
from vending.policy.engine.conditions import Condition, State
from vending.policy.engine.words import (
    Constraint,
    RepositoryName,
    Undecided,
    alphabet,
    compatible,
    literals_only,
    matches,
    shortest,
    union,
)

if TYPE_CHECKING:
    from vending.oidc.claim_path import ClaimPath
    from vending.oidc.types import JsonValue

MAX_STEPS: Final = 20_000
"""Cases that one search may look at before it gives up."""

Literal: TypeAlias = int
Variable: TypeAlias = "ClaimPath"
REPOSITORY: Final[Variable] = ()
"""The variable for the repository that is asked for; no claim has an empty path."""

Conjunction: TypeAlias = "frozenset[Literal]"


@dataclass(frozen=True, slots=True)
class Witness:
    """Hold a value for each claim that matters, and a repository."""

    claims: Mapping[Variable, JsonValue | Missing]
    repository: str


class Prover:
    """Hold the literals of one comparison, and remember every question about one variable that was answered."""

    def __init__(self, domains: Mapping[Variable, Domain] | None = None) -> None:
        """Begin with what is known about claims; of others anything is possible."""
        self._domains = dict(domains or {})
        self._numbers: dict[object, Literal] = {}
        self._wishes: list[Wish | tuple[str, ...]] = [()]
        self._variables: list[Variable] = [REPOSITORY]
        self._answers: dict[tuple[Variable, Conjunction], JsonValue | Missing | None] = {}
        self._no_texts: set[Literal] = set()
        self._steps = 0

    # --- Literals -----------------------------------------------------------------------------------------------------

    def condition(self, condition: Condition, *states: State) -> Literal:
        """Return the literal that a condition says one of `states` of its claim."""
        wanted = frozenset(states)
        key = (canonical(condition), wanted)
        if key not in self._numbers:
            self._numbers[key] = self._add(condition.path, Wish(condition, wanted))
            self._numbers[key[0], frozenset(State) - wanted] = -self._numbers[key]
        return self._numbers[key]

    def no_text(self, path: ClaimPath) -> Literal:
        """Return the literal that a claim is no text, and so fills no template. It must not be negated."""
        key = ("no text", path)
        if key not in self._numbers:
            self._numbers[key] = self._add(path, ())
            self._no_texts.add(self._numbers[key])
        return self._numbers[key]

    def is_no_text(self, literal: Literal) -> bool:
        """Return whether a literal is one of `no_text`."""
        return literal in self._no_texts

    def may_be_text(self, path: ClaimPath) -> bool:
        """Return whether a claim may be a text."""
        domain = self._domains.get(path, Domain())
        return domain.scalars and domain.bare_text and str in domain.types

    def covered(self, patterns: Iterable[str]) -> Literal:
        """Return the literal that one of some names and patterns matches the repository."""
        key = tuple(sorted(set(patterns)))
        if key not in self._numbers:
            self._numbers[key] = self._add(REPOSITORY, key)
        return self._numbers[key]

    def variable(self, literal: Literal) -> Variable:
        """Return what a literal is about."""
        return self._variables[abs(literal)]

    def wish(self, literal: Literal) -> Wish | None:
        """Return what a literal asks of its claim; None where it is about the repository."""
        wish = self._wishes[abs(literal)]
        if isinstance(wish, tuple):
            return None
        return wish if literal > 0 else wish.negated()

    def patterns(self, literal: Literal) -> tuple[str, ...]:
        """Return the names and patterns of a literal about the repository; none for another one."""
        wish = self._wishes[abs(literal)]
        return wish if isinstance(wish, tuple) else ()

    def pin(self, literal: Literal) -> frozenset[str] | None:
        """Return the few texts to which a literal holds its claim, where the claim can be no list; else None."""
        if literal < 0:
            return None
        wish = self._wishes[literal]
        if isinstance(wish, tuple) or wish.states != {State.HOLDS}:
            return None
        condition = wish.condition
        usable = condition.literals and not (condition.globs or condition.integers or condition.booleans)
        if not usable or self._domains.get(condition.path, Domain()).lists:
            return None
        return frozenset(map(fold, condition.literals))

    def _add(self, variable: Variable, wish: Wish | tuple[str, ...]) -> Literal:
        self._variables.append(variable)
        self._wishes.append(wish)
        return len(self._wishes) - 1

    # --- One variable -------------------------------------------------------------------------------------------------

    def value(self, variable: Variable, literals: Conjunction) -> JsonValue | Missing | None:
        """Return a value that satisfies all literals on one variable; None is a proof that there is none."""
        key = (variable, literals)
        if key not in self._answers:
            self._answers[key] = self._find(variable, literals)
        return self._answers[key]

    def _find(self, variable: Variable, literals: Conjunction) -> JsonValue | Missing | None:
        if variable == REPOSITORY:
            return self._find_repository(literals)
        wishes = [wish for wish in map(self.wish, sorted(literals)) if wish is not None]
        domain = self._domains.get(variable, Domain())
        if not self._no_texts.isdisjoint(literals):
            domain = replace(domain, bare_text=False)
        return find_value(wishes, domain)

    def _find_repository(self, literals: Conjunction) -> str | None:
        judged = [(wish, n > 0) for n in literals if isinstance(wish := self._wishes[abs(n)], tuple)]
        exact = [patterns for patterns, wanted in judged if wanted and literals_only(patterns)]
        if exact:
            names = min(exact, key=len)
            return next((n for n in names if all(matches(patterns, n) is wanted for patterns, wanted in judged)), None)
        inside = compatible([patterns for patterns, wanted in judged if wanted])
        if inside is None:
            return None
        outside = [compatible([*inside, patterns]) for patterns, wanted in judged if not wanted]
        constraints = [Constraint(union(patterns), wanted=True) for patterns in inside]
        others = [sets[-1] for sets in outside if sets is not None]
        constraints += [Constraint(union(patterns), wanted=False) for patterns in others]
        characters = alphabet(pattern for patterns in (*inside, *others) for pattern in patterns)
        return shortest([Constraint(RepositoryName(), wanted=True), *constraints], characters)

    # --- The search ---------------------------------------------------------------------------------------------------

    def satisfy(self, case: Conjunction, excluded: Sequence[Conjunction] = ()) -> Witness | None:
        """Return a witness inside `case` and outside of every excluded case; None is a proof that there is none.

        Raises `Undecided` where the search takes more than `MAX_STEPS` steps.
        """
        self._steps = 0
        known = self.group(case)
        if any(self.value(variable, literals) is None for variable, literals in known.items()):
            return None
        return self._search(known, excluded)

    def group(self, case: Iterable[Literal]) -> dict[Variable, Conjunction]:
        """Sort literals by what they are about."""
        grouped: dict[Variable, set[Literal]] = {}
        for literal in case:
            grouped.setdefault(self.variable(literal), set()).add(literal)
        return {variable: frozenset(literals) for variable, literals in grouped.items()}

    def _search(self, known: dict[Variable, Conjunction], excluded: Sequence[Conjunction]) -> Witness | None:
        self._steps += 1
        if self._steps > MAX_STEPS:
            raise Undecided("the rules overlap in too many ways")
        relevant: list[list[Literal]] = []
        for case in excluded:
            open_literals = self._open_literals(known, case)
            if open_literals is None:
                continue
            if not open_literals:
                return None
            relevant.append(open_literals)
        if not relevant:
            return self._witness(known)
        relevant.sort(key=len)
        first, *others = relevant
        rest = [frozenset(case) for case in others]
        for literal in first:
            found = self._search_if_possible(known, -literal, rest)
            if found is not None:
                return found
            known = self._with(known, literal)
            if self.value(self.variable(literal), known[self.variable(literal)]) is None:
                return None
        return None

    def _search_if_possible(
        self, known: dict[Variable, Conjunction], literal: Literal, excluded: Sequence[Conjunction]
    ) -> Witness | None:
        """Search with one more literal, unless nothing satisfies it together with what is known of its variable."""
        narrowed = self._with(known, literal)
        if self.value(self.variable(literal), narrowed[self.variable(literal)]) is None:
            return None
        return self._search(narrowed, excluded)

    def _open_literals(self, known: dict[Variable, Conjunction], case: Conjunction) -> list[Literal] | None:
        """Return the literals of an excluded case that are not settled yet; None where one of them cannot hold."""
        open_literals = []
        for literal in case:
            variable = self.variable(literal)
            literals = known.get(variable, frozenset())
            if literal in literals:
                continue
            if -literal in literals or self.value(variable, literals | {literal}) is None:
                return None
            if self.value(variable, literals | {-literal}) is not None:
                open_literals.append(literal)
        return open_literals

    def _with(self, known: dict[Variable, Conjunction], literal: Literal) -> dict[Variable, Conjunction]:
        variable = self.variable(literal)
        return {**known, variable: known.get(variable, frozenset()) | {literal}}

    def _witness(self, known: Mapping[Variable, Conjunction]) -> Witness:
        claims = {v: self.value(v, literals) for v, literals in known.items() if v != REPOSITORY}
        repository = self.value(REPOSITORY, known.get(REPOSITORY, frozenset()))
        return Witness({v: MISSING if value is None else value for v, value in claims.items()}, str(repository))


def canonical(condition: Condition) -> tuple[object, ...]:
    """Return what tells two conditions apart, whatever the order in which their values were written."""
    return (
        condition.path,
        condition.folds,
        frozenset(condition.literals),
        frozenset(glob.text for glob in condition.globs),
        frozenset(condition.integers),
        frozenset(condition.booleans),
        condition.absent,
    )
