"""Find a token and a repository that one way of being granted admits and others do not, templates included.

`vending.assurance.prover` takes claims and repository as independent. Two things tie them: a template makes the
repository from a claim, and a provider may guarantee how claims hang together. Both are resolved here before it is
asked. A claim that a template inserts is replaced by values, one or more of each class of values that nothing in the
question tells apart; a relation between claims splits the question into cases in which it is settled.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING, Final, TypeAlias

from vending.assurance.prover import REPOSITORY, Conjunction, Literal, Prover, Variable, Witness
from vending.assurance.values import MISSING, Missing, Wish, judge, text_constraints, texts
from vending.oidc.claim_path import parse_key
from vending.policy.engine.conditions import Condition, State, compile_condition
from vending.policy.engine.repositories import Insertion, Template
from vending.policy.engine.words import (
    Automaton,
    Constraint,
    RepositoryName,
    Undecided,
    alphabet,
    enumerate_classes,
    union,
)
from vending.policy.providers.preset import BeginsWith, Follows, Relation

if TYPE_CHECKING:
    from vending.oidc.claim_path import ClaimPath
    from vending.oidc.types import JsonValue

MAX_CLASSES: Final = 4_000
"""Values of inserted claims that one question may try."""


_NOTHING: Final[Conjunction] = frozenset()


@dataclass(frozen=True, slots=True)
class Cover:
    """One way of being granted, or of being denied: conditions, and the repositories they lead to.

    The repository must match one of `patterns`, or what one of `templates` makes of the claims; with neither, there is
    no repository to match (the catalog).
    """

    conditions: Conjunction
    patterns: tuple[str, ...] = ()
    templates: tuple[Template, ...] = ()


Fixed: TypeAlias = "Mapping[ClaimPath, JsonValue | Missing]"


@dataclass(frozen=True, slots=True)
class _Question:
    """What is left to be found out: a case inside `box` and outside of all `covers`."""

    box: Cover
    covers: tuple[Cover, ...]
    fixed: Fixed = field(default_factory=dict)
    related: frozenset[Relation] = frozenset()
    """The relations that are settled."""
    unfilled: frozenset[ClaimPath] = frozenset()
    """Claims that are no text, so that their templates grant nothing."""


class Space:
    """Answer questions about the tokens of one issuer, with what is known about its claims."""

    def __init__(self, prover: Prover, relations: Sequence[Relation] = ()) -> None:
        self.prover = prover
        self._relations = tuple(relations)
        self._left = 0

    def find(self, box: Cover, covers: Iterable[Cover] = ()) -> Witness | None:
        """Return a witness inside `box` and outside of every cover; None is a proof that there is none.

        Raises `Undecided`.
        """
        self._left = MAX_CLASSES
        return self._solve(_Question(box, tuple(covers)))

    def _solve(self, question: _Question) -> Witness | None:
        simplified = self._simplify(question)
        if simplified is None:
            return None
        relation = self._open_relation(simplified)
        if relation is not None:
            return self._first(self._split(simplified, relation))
        path = next(_all_inserted(simplified), None)
        if path is not None:
            return self._first(self._substitute(simplified, path))
        return self._ask(simplified)

    def _first(self, questions: Iterable[_Question]) -> Witness | None:
        undecided: Undecided | None = None
        for question in questions:
            try:
                found = self._solve(question)
            except Undecided as error:
                undecided = error
                continue
            if found is not None:
                return found
        if undecided is not None:
            raise undecided
        return None

    # --- Settling what is known ---------------------------------------------------------------------------------------

    def _simplify(self, question: _Question) -> _Question | None:
        """Judge the literals on fixed claims, and fill the templates whose claims are all known."""
        box = self._simplified(question.box, question)
        if box is None or (question.box.templates and not box.templates and not box.patterns):
            return None
        known = self.prover.group(box.conditions)
        if any(self.prover.value(variable, literals) is None for variable, literals in known.items()):
            return None
        covers = []
        for cover in question.covers:
            left = self._simplified(cover, question)
            if left is None or ((cover.patterns or cover.templates) and not (left.patterns or left.templates)):
                continue
            if not self._disjoint(known, left):
                covers.append(left)
        return replace(question, box=box, covers=tuple(covers))

    def _simplified(self, cover: Cover, question: _Question) -> Cover | None:
        left: set[Literal] = set()
        for literal in cover.conditions:
            variable = self.prover.variable(literal)
            if variable not in question.fixed:
                left.add(literal)
                continue
            wish = self.prover.wish(literal)
            if wish is not None and not wish.grants(question.fixed[variable]):
                return None
        patterns, templates = list(cover.patterns), []
        for template in cover.templates:
            paths = _paths(template)
            if not question.unfilled.isdisjoint(paths):
                continue
            if all(path in question.fixed for path in paths):
                patterns += _filled(template, question.fixed)
            else:
                templates.append(template)
        return Cover(frozenset(left), tuple(patterns), tuple(templates))

    def _disjoint(self, known: Mapping[Variable, Conjunction], cover: Cover) -> bool:
        """Return whether one claim alone keeps a token of which this is known out of a cover."""
        for literal in cover.conditions:
            variable = self.prover.variable(literal)
            literals = known.get(variable, _NOTHING)
            if literal not in literals and self.prover.value(variable, literals | {literal}) is None:
                return True
        return False

    def _ask(self, question: _Question) -> Witness | None:
        found = self.prover.satisfy(
            frozenset(self._literals(question.box)), [frozenset(self._literals(cover)) for cover in question.covers]
        )
        if found is None:
            return None
        claims = {**question.fixed, **found.claims}
        for relation in question.related:
            first, second = _sides(relation)
            whole = claims.get(first)
            if isinstance(relation, BeginsWith) and isinstance(whole, str) and second not in claims:
                claims[second] = whole.partition(relation.separator)[0]
        return Witness(claims, found.repository)

    def _literals(self, cover: Cover) -> Iterator[Literal]:
        yield from cover.conditions
        if cover.patterns:
            yield self.prover.covered(cover.patterns)

    # --- Relations between claims -------------------------------------------------------------------------------------

    def _open_relation(self, question: _Question) -> Relation | None:
        """Return a relation between two claims that matter; values that templates insert are chosen before."""
        variables = _mentioned(question, self.prover)
        inserted = set(_all_inserted(question))
        for relation in self._relations:
            sides = set(_sides(relation))
            if relation not in question.related and sides <= variables and sides.isdisjoint(inserted):
                return relation
        return None

    def _split(self, question: _Question, relation: Relation) -> Iterator[_Question]:
        settled = replace(question, related=question.related | {relation})
        first, second = _sides(relation)
        if isinstance(relation, Follows):
            yield from self._split_follows(settled, relation, first, second)
        else:
            yield from self._split_begins(settled, relation, first, second)

    def _split_follows(
        self, question: _Question, relation: Follows, claim: ClaimPath, then: ClaimPath
    ) -> Iterator[_Question]:
        pattern = compile_condition(relation.claim, claim, [relation.pattern], folds=False)
        holds = self.prover.condition(pattern, State.HOLDS)
        if claim in question.fixed:
            if judge(pattern, question.fixed[claim]) is State.HOLDS:
                yield from self._given(question, then, relation.value)
            else:
                yield question
            return
        yield self._with(question, -holds)
        inside = self._with(question, holds)
        yield from self._given(inside, then, relation.value)

    def _given(self, question: _Question, path: ClaimPath, value: str) -> Iterator[_Question]:
        """Yield what is left where a claim has a value."""
        if path not in question.fixed:
            yield replace(question, fixed={**question.fixed, path: value})
        elif question.fixed[path] == value:
            yield question

    def _split_begins(
        self, question: _Question, relation: BeginsWith, claim: ClaimPath, other: ClaimPath
    ) -> Iterator[_Question]:
        fixed = question.fixed
        if other in fixed or claim in fixed:
            yield from self._begin_with_known(question, relation, claim, other)
            return
        inside = self._with(question, self.prover.condition(_within(relation, claim), State.HOLDS))
        yield self._translated(inside, relation, claim, other)
        yield from self._without_text(question, claim)

    def _begin_with_known(
        self, question: _Question, relation: BeginsWith, claim: ClaimPath, other: ClaimPath
    ) -> Iterator[_Question]:
        fixed, separator = question.fixed, relation.separator
        whole, start = fixed.get(claim), fixed.get(other)
        if claim in fixed and other in fixed:
            if not isinstance(whole, str) or (isinstance(start, str) and whole.startswith(f"{start}{separator}")):
                yield question
        elif claim in fixed:
            if not isinstance(whole, str):
                yield question
            elif separator in whole:
                yield from self._given(question, other, whole.partition(separator)[0])
        elif not isinstance(start, str):
            yield from self._without_text(question, claim)
        else:
            begins = compile_condition(relation.claim, claim, [f"{start}{separator}**"], folds=False)
            yield self._with(question, self.prover.condition(begins, State.HOLDS))
            yield from self._without_text(question, claim)

    def _without_text(self, question: _Question, path: ClaimPath) -> Iterator[_Question]:
        """Yield the question for tokens in which a claim is missing or no text; what its templates grant falls away."""
        if path in question.fixed:
            if not isinstance(question.fixed[path], str):
                yield question
            return
        narrowed = self._with(question, self.prover.no_text(path))
        yield replace(narrowed, unfilled=question.unfilled | {path})

    def _with(self, question: _Question, literal: Literal) -> _Question:
        box = replace(question.box, conditions=question.box.conditions | {literal})
        return replace(question, box=box)

    def _translated(self, question: _Question, relation: BeginsWith, claim: ClaimPath, other: ClaimPath) -> _Question:
        """Say what literals ask of the beginning as something that they ask of the whole claim; both are texts."""
        box = self._translate(question.box, relation, claim, other)
        covers = [self._translate(cover, relation, claim, other) for cover in question.covers]
        impossible = Cover(frozenset({self._never(claim)}))
        return replace(question, box=box or impossible, covers=tuple(cover for cover in covers if cover is not None))

    def _never(self, claim: ClaimPath) -> Literal:
        everything = compile_condition("", claim, ["**"], folds=False)
        return self.prover.condition(everything)

    def _translate(self, cover: Cover, relation: BeginsWith, claim: ClaimPath, other: ClaimPath) -> Cover | None:
        left: set[Literal] = set()
        for literal in cover.conditions:
            wish = self.prover.wish(literal)
            if wish is None or self.prover.variable(literal) != other:
                left.add(literal)
                continue
            whole = _beginning(wish.condition, relation, claim)
            if whole is not None:
                left.add(self.prover.condition(whole, *wish.states))
            elif not wish.grants("x"):
                return None
        return replace(cover, conditions=frozenset(left))

    # --- Claims that templates insert ---------------------------------------------------------------------------------

    def _substitute(self, question: _Question, path: ClaimPath) -> Iterator[_Question]:
        """Yield the question for each class of values of a claim that templates insert."""
        if not any(path in _paths(template) for template in question.box.templates):
            yield from self._without_text(question, path)
        for value in self._values(question, path):
            self._left -= 1
            if self._left < 0:
                raise Undecided("templates insert claims with too many kinds of values")
            yield replace(question, fixed={**question.fixed, path: value})

    def _values(self, question: _Question, path: ClaimPath) -> Iterator[str]:
        """Yield texts for a claim, of each class that conditions, templates and patterns tell apart."""
        mine = [n for n in question.box.conditions if self.prover.variable(n) == path]
        if any(self.prover.is_no_text(literal) for literal in mine):
            return
        wishes = [wish for wish in map(self.prover.wish, mine) if wish is not None]
        constraints = text_constraints(wishes)
        if constraints is None or not self.prover.may_be_text(path):
            return
        pinned = [c for c, wanted in constraints if wanted and not c.globs]
        if pinned:
            fewest = min(pinned, key=lambda condition: len(condition.literals))
            candidates = sorted(fewest.literals)
            if fewest.folds:
                candidates += [text.upper() for text in candidates if text.upper() != text]
            yield from (text for text in candidates if all(wish.grants(text) for wish in wishes))
            return
        watched, characters, uses = self._watch(question, path)
        given = [Constraint(union(texts(c), folds=c.folds), wanted) for c, wanted in constraints]
        folds = any(c.folds for c, _ in constraints)
        letters = alphabet([*characters, *(p for c, _ in constraints for p in texts(c))], folds=folds)
        yield from islice(enumerate_classes(given, letters, watched, each=min(uses + 1, 4)), self._left + 1)

    def _watch(self, question: _Question, path: ClaimPath) -> tuple[list[Automaton], list[str], int]:
        """Return what tells values of a claim apart, the texts that this mentions, and in how many templates it is."""
        watched: list[Automaton] = []
        mentioned: list[str] = []
        for condition in self._conditions_on(question, path):
            watched.append(union(texts(condition), folds=condition.folds))
            mentioned += texts(condition)
        sets = [patterns for cover in (question.box, *question.covers) for patterns in self._pattern_sets(cover)]
        uses = 0
        for template in {t.text: t for cover in (question.box, *question.covers) for t in cover.templates}.values():
            for insertion in template.insertions:
                if insertion.path != path:
                    continue
                uses += 1
                keys = tuple(sorted(insertion.table or insertion.lists or ()))
                watched += [union(keys, folds=insertion.lower)] if keys else [_grammar(insertion)]
                mentioned += keys
                watched += [_shifted(patterns, template, insertion, question.fixed) for patterns in sets]
        mentioned += [pattern for patterns in sets for pattern in patterns]
        return watched, mentioned, uses

    def _pattern_sets(self, cover: Cover) -> Iterator[tuple[str, ...]]:
        if cover.patterns:
            yield cover.patterns
        yield from filter(None, map(self.prover.patterns, cover.conditions))

    def _conditions_on(self, question: _Question, path: ClaimPath) -> Iterator[Condition]:
        """Yield what the question asks of a claim, directly or by a relation to another claim."""
        for cover in (question.box, *question.covers):
            for literal in cover.conditions:
                wish = self.prover.wish(literal)
                if wish is None or not texts(wish.condition):
                    continue
                variable = self.prover.variable(literal)
                if variable == path:
                    yield wish.condition
                for relation in self._relations:
                    first, second = _sides(relation)
                    if isinstance(relation, Follows):
                        continue
                    if (first, second) == (path, variable):
                        whole = _beginning(wish.condition, relation, path)
                        if whole is not None:
                            yield whole
                    elif (first, second) == (variable, path):
                        yield wish.condition
        for relation in self._relations:
            if isinstance(relation, Follows) and parse_key(relation.claim) == path:
                yield compile_condition(relation.claim, path, [relation.pattern], folds=False)


# --- Templates --------------------------------------------------------------------------------------------------------


def _paths(template: Template) -> list[ClaimPath]:
    return [insertion.path for insertion in template.insertions]


def _filled(template: Template, fixed: Fixed) -> list[str]:
    """Return the names and patterns that a template makes of known claims."""
    claims: dict[str, JsonValue] = {}
    for path in _paths(template):
        value = fixed[path]
        if value is MISSING:
            return []
        put(claims, path, value)  # type: ignore[arg-type]
    reach = template.reach(claims)
    return [*reach.names, *(glob.text for glob in reach.globs)]


def put(claims: dict[str, JsonValue], path: ClaimPath, value: JsonValue) -> None:
    """Set a claim, making the objects that a pointer to it passes through."""
    for part in path[:-1]:
        inner = claims.setdefault(part, {})
        if not isinstance(inner, dict):
            raise Undecided("conditions look at a claim and inside of it")
        claims = inner
    claims[path[-1]] = value


def _all_inserted(question: _Question) -> Iterator[ClaimPath]:
    """Yield the claims that templates need and that have no value yet: the box's own first."""
    for cover in (question.box, *question.covers):
        for template in cover.templates:
            yield from (path for path in _paths(template) if path not in question.fixed)


def _grammar(insertion: Insertion) -> Automaton:
    return RepositoryName(components=insertion.many, folds=insertion.lower)


class _Shifted:
    """Read an inserted value the way a union of patterns does behind the text that precedes it."""

    def __init__(self, automaton: Automaton, start: int, *, lower: bool) -> None:
        self._automaton = automaton
        self._lower = lower
        self.start = start

    def step(self, state: int, character: str) -> int:
        """Read one character."""
        return self._automaton.step(state, character.lower() if self._lower and character.isascii() else character)

    def accepts(self, state: int) -> bool:
        """Return whether the patterns match so far."""
        return self._automaton.accepts(state)

    def is_dead(self, state: int) -> bool:
        """Return whether the patterns cannot match any more."""
        return self._automaton.is_dead(state)


def _shifted(patterns: tuple[str, ...], template: Template, insertion: Insertion, fixed: Fixed) -> Automaton:
    automaton = union(tuple(sorted(set(patterns))))
    before: list[str] = []
    for part in template.parts:
        if part is insertion:
            break
        if isinstance(part, Insertion):
            if part.path not in fixed:
                raise Undecided("a template inserts several claims that are not pinned")
            claims: dict[str, JsonValue] = {}
            value = fixed[part.path]
            if value is not MISSING:
                put(claims, part.path, value)  # type: ignore[arg-type]
            before.append(part.fill(claims) or "")
        else:
            before.append(part)
    state = automaton.start
    for character in "".join(f"{part}/" for part in before):
        state = automaton.step(state, character)
    return _Shifted(automaton, state, lower=insertion.lower)


# --- Relations --------------------------------------------------------------------------------------------------------


def _sides(relation: Relation) -> tuple[ClaimPath, ClaimPath]:
    if isinstance(relation, Follows):
        return parse_key(relation.claim), parse_key(relation.then)
    return parse_key(relation.claim), parse_key(relation.other)


def _mentioned(question: _Question, prover: Prover) -> set[Variable]:
    covers = (question.box, *question.covers)
    variables = {prover.variable(literal) for cover in covers for literal in cover.conditions}
    variables |= {path for cover in covers for template in cover.templates for path in _paths(template)}
    return (variables | set(question.fixed)) - {REPOSITORY}


def _within(relation: BeginsWith, claim: ClaimPath) -> Condition:
    return compile_condition(relation.claim, claim, [f"*{relation.separator}**"], folds=False)


def _beginning(condition: Condition, relation: BeginsWith, claim: ClaimPath) -> Condition | None:
    """Return the condition on the whole claim that says what a condition says on its beginning; None for no texts."""
    patterns = texts(condition)
    if not patterns:
        return None
    # The beginning has no separator, so both wildcards match the same there.
    whole = [f"{pattern.replace('**', '*')}{relation.separator}**" for pattern in patterns]
    usable = [text for pattern, text in zip(patterns, whole, strict=True) if relation.separator not in pattern]
    nothing = [f"{relation.separator}{relation.separator}{relation.separator}"]
    return compile_condition(relation.claim, claim, usable or nothing, folds=condition.folds)


__all__ = ["Cover", "Space", "Wish", "put"]
