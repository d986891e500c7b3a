"""Hold suggested rules beside a policy: each must pass `check --strict` there, and grant what it was made from."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.scalarstring import DoubleQuotedScalarString

from vending.cli.inputs import policy_environment
from vending.evidence.decisions import Undecidable, decide_again
from vending.policy import PolicyError, load_bytes_with_source
from vending.policy.language.dates import written
from vending.policy.lint import lint

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from vending.evidence.suggest import Suggestion
    from vending.policy import Loaded


Warnings: TypeAlias = "frozenset[tuple[str, str]]"


def confirmed(loaded: Loaded, path: Path, made: Sequence[Suggestion], now: float) -> list[Suggestion]:
    """Return the suggestions that pass `check --strict` beside the policy at `path`, each granting what was asked.

    Where one asks for too much, for what a deny takes away for example, what else its caller asked for is kept.
    """
    if not made:
        return []
    base = _Base.of(loaded, path, now)
    known = base.warnings([])
    alone = (_sound_alone(base, suggestion, known) for suggestion in made)
    sound = [suggestion for suggestion in alone if suggestion is not None]
    return _sound(base, [], sound, base.warnings(base.rules)) if sound else []


@dataclass(frozen=True, slots=True)
class _Base:
    """A policy as data, into which other rules can be put. `directory` is where the files that it names lie."""

    frame: Mapping[str, Any]
    rules: Sequence[Any]
    directory: Path
    now: float

    @classmethod
    def of(cls, loaded: Loaded, path: Path, now: float) -> _Base:
        left = {"rules", "sources", "files"}
        frame = {key: value for key, value in loaded.document.data.items() if key not in left}
        directory = path if path.is_dir() else path.parent
        return cls(frame, list(loaded.document.data.get("rules", ())), directory, now)

    def load(self, rules: Sequence[Any]) -> Loaded:
        """Load the policy with these rules alone. Raises `PolicyError`."""
        data = json.dumps({**self.frame, "rules": rules}, default=written).encode()
        return load_bytes_with_source(
            data, name="policy.json", environment=policy_environment(), directory=self.directory
        )

    def warnings(self, rules: Sequence[Any]) -> Warnings:
        """Return the warnings about the policy with these rules alone. Raises `PolicyError`."""
        return _warnings(self.load(rules), self.now)


def _warnings(loaded: Loaded, now: float) -> Warnings:
    return frozenset((p.code, p.message) for p in lint(loaded, now) if p.severity == "warning")


def _sound_alone(base: _Base, suggestion: Suggestion, known: Warnings) -> Suggestion | None:
    """Return a suggestion, or the part of it that is clean and grants what that part was made from."""
    if _is_sound_alone(base, suggestion, known):
        return suggestion
    kept = [one for one in suggestion.requests if _is_sound_alone(base, suggestion.of([one]), known)]
    part = suggestion.of(kept)
    return part if kept and _is_sound_alone(base, part, known) else None


def _is_sound_alone(base: _Base, suggestion: Suggestion, known: Warnings) -> bool:
    """Return whether a suggestion is clean, and grants every request that it was made from without any other rule."""
    try:
        alone = base.load([dict(suggestion.rule)])
        return _warnings(alone, base.now) <= known and all(
            decide_again(alone.policy, event).allowed for event in suggestion.events
        )
    except (PolicyError, Undecidable):
        return False


def _sound(base: _Base, accepted: list[Suggestion], made: list[Suggestion], known: Warnings) -> list[Suggestion]:
    """Return what can be added to `accepted` so that there is no warning that was not there before."""
    if not made:
        return []
    try:
        more = [dict(suggestion.rule) for suggestion in (*accepted, *made)]
        if base.warnings([*base.rules, *more]) <= known:
            return made
    except PolicyError:
        pass
    if len(made) == 1:
        return []
    half = len(made) // 2
    first = _sound(base, accepted, made[:half], known)
    return [*first, *_sound(base, [*accepted, *first], made[half:], known)]


def rendered(rules: Iterable[Mapping[str, Any]]) -> str:
    """Return rules as YAML, the way people write them: short lists on one line, every claim's value quoted."""
    yaml = YAML()
    yaml.width = 110
    yaml.indent(mapping=2, sequence=4, offset=2)
    out = io.StringIO()
    yaml.dump({"rules": [_styled(rule) for rule in rules]}, out)
    return out.getvalue()


def _styled(rule: Mapping[str, Any]) -> CommentedMap:
    styled = CommentedMap(rule)
    styled["when"] = CommentedMap({key: _quoted(value) for key, value in rule["when"].items()})
    grants = []
    for grant in rule["grant"]:
        flow = CommentedMap({key: _flow(value) for key, value in grant.items()})
        flow.fa.set_flow_style()
        grants.append(flow)
    styled["grant"] = grants
    return styled


def _quoted(value: Any) -> Any:
    if isinstance(value, list):
        return _flow([_quoted(one) for one in value])
    return DoubleQuotedScalarString(value) if isinstance(value, str) else value


def _flow(value: Any) -> Any:
    if not isinstance(value, list):
        return value
    listed = CommentedSeq(value)
    listed.fa.set_flow_style()
    return listed
