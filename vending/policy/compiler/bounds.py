"""Hold what each file of a directory says against what `files` lets it say. Grants nothing.

Who writes a map decides what the entries that name it stand for, so these are held to the map's file as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from math import prod
from pathlib import PurePath
from typing import TYPE_CHECKING, Final

from vending.policy.engine.containment import uncovered_name
from vending.policy.engine.globs import compile_glob, is_literal
from vending.policy.engine.repositories import Insertion, RepositoryError, Template, compile_entry, compile_plain
from vending.policy.engine.words import Undecided
from vending.policy.language.fields import as_list
from vending.policy.language.models import DenyModel, FileBoundsModel, GrantModel, PolicyModel
from vending.policy.language.problems import Code, Finding, Location

if TYPE_CHECKING:
    from vending.policy.engine.repositories import Maps
    from vending.policy.language.document import Document

_MAX_NAMES: Final = 1000
"""How many names that maps make are looked at one by one; beyond, a map's value counts as any name."""


@dataclass(slots=True)
class BoundsChecker:
    """Check every rule, deny entry and map of a directory, or of the policy compiled from one."""

    model: PolicyModel
    document: Document
    maps: Maps
    findings: list[Finding] = field(default_factory=list)
    _within: dict[tuple[str, str], str] = field(default_factory=dict)

    def check(self) -> list[Finding]:
        """Return what is wrong with the bounds themselves, and whatever they do not contain."""
        if not self.model.files:
            return []
        for name, bounds in self.model.files.items():
            self._check_references(bounds, ("files", name))
        if self.findings:
            return self.findings
        for name in self.model.maps:
            self._bounds_of(("maps", name), report=True)
        for number, rule in enumerate(self.model.rules):
            path: Location = ("rules", number)
            own = self._bounds_of(path, report=True)
            if own is not None:
                self._check_issuers(as_list(rule.issuer), (*path, "issuer"), *own)
            for position, grant in enumerate(rule.grant):
                self._check_grant(grant, as_list(rule.issuer), (*path, "grant", position), path, own)
        for number, deny in enumerate(self.model.deny):
            self._check_deny(deny, ("deny", number))
        return self.findings

    def _add(self, path: Location, message: str, *, at_key: bool = False, code: Code = Code.OUT_OF_BOUNDS) -> None:
        self.findings.append(Finding(path, code, message, at_key))

    def _check_references(self, bounds: FileBoundsModel, path: Location) -> None:
        named: list[tuple[str, list[str], Iterable[str]]] = [
            ("registries", bounds.registries or [], self.model.registries),
            ("issuers", bounds.issuers or [], self.model.issuers),
        ]
        for key, names, known in named:
            for number, name in enumerate(names):
                if name not in set(known):
                    message = f"unknown {key[:-3]}y {name!r}" if key == "registries" else f"unknown issuer {name!r}"
                    message += f"; expected one of {', '.join(sorted(known)[:20])}"
                    self._add((*path, key, number), message, code=Code.REFERENCE)
        for number, text in enumerate(bounds.repositories or ()):
            try:
                compile_plain(text)
            except RepositoryError as error:
                self._add((*path, "repositories", number), f"{text!r} {error}", code=Code.REPOSITORY)
            except ValueError as error:
                self._add((*path, "repositories", number), f"in {text!r}, {error}", code=Code.PATTERN)

    # --- Which bounds apply -------------------------------------------------------------------------------------------

    def _bounds_of(self, path: Location, *, report: bool = False) -> tuple[str, FileBoundsModel] | None:
        """Return the file of an entry with its bounds; None for the file that has `files`, and for one not listed."""
        file = self._file_of(path)
        if file == self._main():
            return None
        if file is not None and file in self.model.files:
            return file, self.model.files[file]
        if report:
            said = f"{file} is not listed under files" if file else "it is not known which file this comes from"
            self._add(path, f"{said}, so it may say nothing; list it with its bounds", at_key=True)
        return None

    def _file_of(self, path: Location) -> str | None:
        file = self.document.file_of(path)
        return None if file is None else PurePath(file).name

    def _main(self) -> str | None:
        """Return the file that `files` is written in; None for a policy that is a single file."""
        return self._file_of(("files", next(iter(self.model.files))))

    # --- Holding entries against them ---------------------------------------------------------------------------------

    def _check_issuers(self, issuers: Iterable[str], path: Location, file: str, bounds: FileBoundsModel) -> None:
        outside = [name for name in issuers if bounds.issuers is not None and name not in bounds.issuers]
        if outside:
            self._add(path, f"{file} may speak of callers of {', '.join(bounds.issuers or [])}, not of {outside[0]}")

    def _check_deny(self, deny: DenyModel, path: Location) -> None:
        own = self._bounds_of(path, report=True)
        if own is None:
            return
        file, bounds = own
        if not bounds.deny:
            self._add(path, f"{file} may have no deny entries; its bounds would say deny: true")
            return
        for key, given, limit in (
            ("issuer", deny.issuer, bounds.issuers),
            ("registry", deny.registry, bounds.registries),
        ):
            if given is None and limit is not None:
                self._add(path, f"{file} may speak of {', '.join(limit)} only; write {key}")
        if deny.issuer is not None:
            self._check_issuers(as_list(deny.issuer), (*path, "issuer"), file, bounds)
        registries = [] if deny.registry is None else [deny.registry]
        self._check_reach(registries, deny, path, {file: bounds})

    def _check_grant(
        self,
        grant: GrantModel,
        issuers: Sequence[str],
        path: Location,
        rule: Location,
        own: tuple[str, FileBoundsModel] | None,
    ) -> None:
        bounds = {} if own is None else {own[0]: own[1]}
        for name in {name for text in grant.repositories or () for name in _maps_named(text)} & self.maps.keys():
            of_map = self._bounds_of(("maps", name))
            if of_map is not None and of_map[0] not in bounds:
                bounds[of_map[0]] = of_map[1]
                self._check_issuers(issuers, (*rule, "issuer"), *of_map)
        self._check_reach(as_list(grant.registry), grant, path, bounds)

    def _check_reach(
        self,
        registries: Sequence[str],
        grant: GrantModel | DenyModel,
        path: Location,
        all_bounds: Mapping[str, FileBoundsModel],
    ) -> None:
        for file, bounds in all_bounds.items():
            outside = [name for name in registries if bounds.registries is not None and name not in bounds.registries]
            if outside:
                allowed = ", ".join(bounds.registries or [])
                self._add((*path, "registry"), f"{file} may name the registries {allowed}, not {outside[0]}")
            if bounds.repositories is None:
                continue
            if grant.catalog:
                self._add((*path, "catalog"), f"{file} is bound to some repositories, and the catalog tells of all")
            for number, text in enumerate(grant.repositories or ()):
                problem = self._outside(text, bounds.repositories, file)
                if problem:
                    self._add((*path, "repositories", number), problem)

    def _outside(self, text: str, limits: list[str], file: str) -> str:
        """Say what of an entry lies outside the bounds; empty where nothing does."""
        known = self._within.get((file, text))
        if known is None:
            known = self._within[file, text] = self._find_outside(text, limits, file)
        return known

    def _find_outside(self, text: str, limits: list[str], file: str) -> str:
        listed = ", ".join(limits)
        try:
            for pattern in _patterns(text, self.maps):
                name = _uncovered(limits, pattern)
                if name is not None:
                    return f"{text} is not within what {file} may name ({listed}): it covers {name}, for one"
        except (RepositoryError, ValueError):
            return ""  # It is reported where it is compiled.
        except Undecided:
            return f"{text} cannot be shown to lie within what {file} may name ({listed}); write a simpler pattern"
        return ""


def _maps_named(text: str) -> list[str]:
    """Return the maps, if any, that a template names; other filters are among them."""
    inside = [part.partition("}")[0] for part in text.split("{")[1:]]
    return [word for part in inside for word in part.split("|")[1:]]


def _patterns(text: str, maps: Maps) -> Iterator[str]:
    """Yield names and patterns that together cover whatever an entry can stand for."""
    entry = compile_entry(text, maps)
    if not isinstance(entry, Template):
        yield text
        return
    first = entry.parts[0]
    if isinstance(first, Insertion) and first.lists is not None:
        for reach in first.lists.values():
            yield from (*reach.names, *(glob.text for glob in reach.globs))
        return
    choices = [_choices(part) for part in entry.parts]
    if prod(map(len, choices)) > _MAX_NAMES:
        choices = [choice if len(choice) == 1 else ["**"] for choice in choices]
    tail = "" if entry.tail is None else f"/{entry.tail.text}"
    for parts in product(*choices):
        yield "/".join(parts) + tail


def _choices(part: str | Insertion) -> list[str]:
    if isinstance(part, str):
        return [part]
    return [part.widest] if part.table is None else sorted(set(part.table.values()))


def _uncovered(limits: Sequence[str], pattern: str) -> str | None:
    """Return a name that a pattern covers and no limit does; None where there is none. Raises `Undecided`."""
    if pattern in limits or any(_is_below(limit, pattern) for limit in limits):
        return None
    if is_literal(pattern):
        globs = (compile_glob(limit) for limit in limits if not is_literal(limit))
        return None if any(glob.matches(pattern) for glob in globs) else pattern
    return uncovered_name(limits, pattern)


def _is_below(limit: str, pattern: str) -> bool:
    """Return whether a limit such as `web/**` plainly contains a pattern; what is false may still be contained."""
    return limit.endswith("/**") and is_literal(limit[:-3]) and pattern.startswith(limit[:-2])
