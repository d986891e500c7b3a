"""Questions about every token at once: a comparison, proofs, the access page in a browser, and recorded requests."""

from __future__ import annotations

import copy
import json
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from bench.report import Effort, Report, Row, most
from tests.assurance.browser import open_page
from tests.evidence.recording import record
from tests.policy.language import NOW, compose, deny, grant, load_data, rule
from vending.acr.scope import repository
from vending.assurance.diff import compare
from vending.assurance.matrix_page import render_page
from vending.assurance.never import Verdict, prove
from vending.evidence.replay import replay
from vending.policy import Policy

_RULES: Final = 1_000
_REPOSITORIES: Final = 500
_NEVER: Final = 100
_EVENTS: Final = 10_000
_FIRST_PAINT: Final = """
const done = arguments[0];
new PerformanceObserver((list) => {
  const paint = list.getEntriesByName('first-contentful-paint')[0];
  if (paint) done(paint.startTime);
}).observe({type: 'paint', buffered: true});
"""
"""The browser may enter it after the page has loaded, so it is waited for."""
_FILTER: Final = """
const done = arguments[0], field = document.getElementById('repository'), start = performance.now();
field.value = 'team-3/app-3';
field.dispatchEvent(new Event('input', {bubbles: true}));
requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now() - start)));
"""


def run(effort: Effort) -> Report:
    """Measure each question once on policies of the size that the goals name."""
    data = _policy(1)
    changed = copy.deepcopy(data)
    changed["rules"][500]["grant"][0]["repositories"].append("new/thing")
    old, new, other = load_data(data), load_data(changed), load_data(_policy(2))
    entries = [_never(number) for number in range(_NEVER)]
    proving = load_data({**data, "never": entries})
    if any(judged.verdict is not Verdict.PROVED for judged in prove(proving, NOW)):
        raise AssertionError("the entries are written so that each can be proved")
    rows = [
        Row("diff, 1,000 rules, one changed", _seconds(lambda: compare(old, new, NOW)), "s CPU", most(3)),
        Row("prove 100 never entries", _seconds(lambda: prove(proving, NOW)), "s CPU", most(10)),
    ]
    if not effort.quick:
        unrelated = _seconds(lambda: compare(old, other, NOW))
        rows.append(Row("diff, 1,000 rules, unrelated", unrelated, "s CPU", most(30)))
    events = [_event(old, number) for number in range(_EVENTS)]
    took = _seconds(lambda: replay(old, map(json.loads, events)))
    rows.append(Row("replay 100,000 events (from 10,000)", [took[0] * 10], "s CPU", most(20)))
    return Report([*rows, *_page()])


def _seconds(call: Callable[[], object]) -> list[float]:
    start = time.process_time()
    call()
    return [time.process_time() - start]


def _policy(seed: int) -> dict[str, Any]:
    rng = random.Random(seed)
    rules = [
        rule(
            f"r{number}",
            grant(f"t{number % 20}/app-{number}", f"t{number % 20}/cache-{number}/**"),
            when={
                "repository_id": str(10_000 + number),
                "repository_owner_id": str(rng.randint(1, 5)),
                "ref": ["refs/heads/main", "refs/tags/v*"],
            },
        )
        for number in range(_RULES)
    ]
    pull_request: dict[str, Any] = {"issuer": "github", "when": {"event_name": "pull_request"}}
    return compose(rules=rules, deny=[deny(f"d{number}", f"t{number}/**", **pull_request) for number in range(20)])


def _never(number: int) -> dict[str, Any]:
    return deny(f"n{number}", "**", issuer="github", when={"ref": f"refs/pull/{number}/**"})


def _event(policy: Policy, number: int) -> str:
    """Write the event of a request that is unlike any other; a fifth of them are granted."""
    rule_number = number % _RULES
    claims = {"repository_id": str(10_000 + rule_number), "repository_owner_id": "1", "ref": f"refs/tags/v{number}"}
    scopes = (repository(f"t{rule_number % 20}/app-{rule_number}", ("pull",)),)
    event, _ = record(policy, claims, scopes, NOW, issuer="github")
    return json.dumps(event)


def _page() -> list[Row]:
    rng = random.Random(1)
    entries = [
        {
            "rule": f"rule-{number}",
            "issuer": "github",
            "caller": f'repository_id: "{number}"',
            "registry": "prod",
            "repository": f"team-{app % 20}/app-{app}",
            "actions": ["pull", "push"],
            "when": f'repository_id: "{number}"',
            "mode": "enforce",
            "not_before": None,
            "expires": None,
            "denied_by": [],
            "file": "policy.yaml",
            "line": number,
        }
        for number in range(_RULES)
        for app in rng.sample(range(_REPOSITORIES), 3)
    ]
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "access.html"
        page.write_text(render_page(entries, [], "a benchmark"))
        with open_page(page, Path(folder) / "profile") as driver:
            painted = float(driver.execute_async_script(_FIRST_PAINT))
            filtered = [float(driver.execute_async_script(_FILTER)) for _ in range(5)]
    return [
        Row("access page, first paint", [painted], "ms", most(1000)),
        Row("access page, filter", filtered, "ms", most(100)),
    ]
