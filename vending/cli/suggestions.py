"""Hold suggested rules beside a policy: each must pass `check --strict` there, and grant what it was made from."""

from __future__ import annotations

import io
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.scalarstring import DoubleQuotedScalarString

from vending.cli.inputs import policy_environment
from vending.evidence.decisions import Undecidable, decide_again
from vending.policy import PolicyError, load_with_source
from vending.policy.lint import lint

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from vending.evidence.suggest import Suggestion
    from vending.policy import Loaded


def confirmed(loaded: Loaded, made: Iterable[Suggestion], now: float) -> list[Suggestion]:
    """Return the suggestions that are sound beside the policy and grant what was asked for."""
    sound = []
    for suggestion in made:
        data = dict(loaded.document.data)
        data["rules"] = [*data.get("rules", ()), dict(suggestion.rule)]
        data.pop("sources", None)
        data.pop("files", None)
        try:
            beside = _load(data)
        except PolicyError:
            continue
        name = suggestion.rule["name"]
        criticised = [p for p in lint(beside, now) if p.severity == "warning" and name in p.message]
        if not criticised and _grants(beside, suggestion):
            sound.append(suggestion)
    return sound


def _load(data: Mapping[str, Any]) -> Loaded:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "policy.json"
        path.write_text(json.dumps(data))
        return load_with_source(path, policy_environment())


def _grants(beside: Loaded, suggestion: Suggestion) -> bool:
    for event in suggestion.events:
        try:
            if not decide_again(beside.policy, event).allowed:
                return False
        except Undecidable:
            return False
    return True


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
