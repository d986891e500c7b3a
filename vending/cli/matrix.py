"""`matrix`: who may do what, as one page, or as rows for other programs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vending.assurance.diff import compare
from vending.assurance.matrix import Row, place_of, rows, when_text
from vending.assurance.matrix_page import render_page
from vending.cli.csv_text import csv_text
from vending.cli.frame import add_command, add_moment, moment
from vending.cli.inputs import existing, load_policy, places, read_events
from vending.cli.progress import Progress
from vending.cli.report import FINE, Report, UsageError, count, line

if TYPE_CHECKING:
    import argparse

    from vending.cli.frame import Commands
    from vending.policy import Loaded, Policy

COLUMNS = (
    "rule",
    "issuer",
    "registry",
    "repository",
    "actions",
    "when",
    "mode",
    "not_before",
    "expires",
    "denied_by",
    "file",
    "line",
)


def register(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "matrix",
        run,
        formats=("html", "json", "csv", "text"),
        description="Write who may do what as one page that opens from a file and needs no network; --diff colours\n"
        "what changed since OLD. --format json or csv writes one row for each rule, issuer, registry and entry.",
    )
    parser.add_argument("policy", metavar="POLICY", type=Path, help="a policy file or directory")
    parser.add_argument("-o", "--output", metavar="FILE", type=Path, help="where to write (needed for the page)")
    parser.add_argument("--diff", metavar="OLD", type=Path, help="mark what changed since this policy")
    parser.add_argument("--events", metavar="FILE", nargs="+", help="mark what these audit events never used")
    add_moment(parser)


def run(arguments: argparse.Namespace) -> Report:
    """Collect the rows and write them."""
    now = moment(arguments)
    loaded = load_policy(existing(arguments.policy))
    progress = Progress("rules read")
    found = list(rows(loaded.policy, now, progress))
    progress.close()
    if arguments.format == "html":
        if arguments.output is None:
            raise UsageError("-o FILE: the page needs a file to be written to")
        old = None if arguments.diff is None else load_policy(existing(arguments.diff))
        text = _page(arguments, loaded, found, old, now)
    elif arguments.format == "csv":
        text = _csv(found, places(loaded))
    elif arguments.format == "json":
        text = json.dumps(_data(loaded, found), indent=2) + "\n"
    else:
        text = "".join(f"{one}\n" for one in _lines(found))
    if arguments.output is None:
        return Report(
            FINE,
            data=_data(loaded, found),
            body=tuple(line(one) for one in text.rstrip("\n").split("\n")) if found else (),
        )
    try:
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{arguments.output}: {error.strerror or type(error).__name__}") from None
    return Report(
        FINE,
        data={"file": str(arguments.output), "rows": len(found)},
        summary=(line(f"{arguments.output}: {count(len(found), 'entry', 'entries')}"),),
    )


def _lines(found: list[Row]) -> list[str]:
    return [
        f"{row.issuer} {row.rule.name}: {' '.join(row.actions)} {row.repository} in {row.registry}" for row in found
    ]


def _data(loaded: Loaded, found: list[Row]) -> list[dict[str, Any]]:
    where = places(loaded)
    return [row.data(where) for row in found]


def _csv(found: list[Row], where: dict[str, str]) -> str:
    cells = []
    for row in found:
        data = row.data(where)
        data |= {
            "actions": " ".join(row.actions),
            "when": when_text(data["when"]),
            "denied_by": " ".join(row.denied_by),
        }
        cells.append([data[name] for name in COLUMNS])
    return csv_text(COLUMNS, cells)


def _page(arguments: argparse.Namespace, loaded: Loaded, found: list[Row], old: Loaded | None, now: float) -> str:
    notes = {rule.name: rule for rule in loaded.model.rules}
    where = places(loaded)
    entries = [_entry(row.data(where), row, notes[row.rule.name]) for row in found]
    about = f"{arguments.policy}, sha256 {loaded.policy.sha256}"
    if arguments.events:
        about += _mark_use(entries, loaded.policy, arguments.events, now)
    if old is not None:
        entries = _changed(entries, old, loaded.policy, now)
        about += f", compared with {old.policy.sha256}"
    return render_page(entries, _denies(loaded.policy), about)


def _entry(data: dict[str, Any], row: Row, model: Any) -> dict[str, Any]:
    who = {c.key for group in (row.rule.identity, *(a.identity for g in row.rule.when_any for a in g)) for c in group}
    identity = {key: value for key, value in data["when"].items() if key in who}
    return data | {
        "when": when_text(data["when"]),
        "caller": when_text(identity) or when_text(data["when"]),
        "description": model.description or "",
        "accepted": [f"{code}: {reason}" for code, reason in model.accept.items()],
    }


def _changed(entries: list[dict[str, Any]], old: Loaded, new: Policy, now: float) -> list[dict[str, Any]]:
    progress = Progress("rules compared")
    difference = compare(old.policy, new, now, progress)
    progress.close()
    grew = {(c.issuer, rule, c.registry, c.repository) for c in difference.grew for rule in c.rules}
    marked = [
        entry | {"change": "grew"}
        if (entry["issuer"], entry["rule"], entry["registry"], entry["repository"]) in grew
        else entry
        for entry in entries
    ]
    lost: dict[tuple[str, ...], list[str]] = {}
    for change in difference.shrank:
        for rule in change.rules:
            lost.setdefault((change.issuer, rule, change.registry, change.repository), []).append(change.action)
    where = places(old)
    for row in rows(old.policy, now):
        actions = lost.get((row.issuer, row.rule.name, row.registry, row.repository))
        if actions:
            data = row.data(where)
            when = when_text(data["when"])
            marked.append(
                data | {"actions": actions, "when": when, "caller": when, "change": "shrank", "description": ""}
            )
    return marked


def _mark_use(entries: list[dict[str, Any]], policy: Policy, files: list[str], now: float) -> str:
    """Count the use of each entry, and return what the reader must know about the events."""
    from vending.evidence.events import Tally
    from vending.evidence.usage import usage

    tally = Tally()
    counted = usage(policy, read_events(files, tally), since=None, now=now)
    used: dict[tuple[str, ...], tuple[int, str]] = {}
    for row in counted:
        key = (row.key.issuer, row.key.rule, row.key.registry, row.key.repository)
        count_, last = used.get(key, (0, ""))
        used[key] = (count_ + row.used, max(last, row.last or ""))
    for entry in entries:
        found = used.get((entry["issuer"], entry["rule"], entry["registry"], entry["repository"]))
        if found is not None:
            entry["used"], entry["last"] = found
    return f"; use as recorded in {'. '.join(tally.lines())}"


def _denies(policy: Policy) -> list[dict[str, Any]]:
    listed: dict[tuple[str, str], dict[str, Any]] = {}
    for issuer in policy.issuers.values():
        for deny in policy.rules[issuer.name].denies:
            if not deny.enabled:
                continue
            file, number = place_of(deny.origin)
            covers = deny.covers
            when = {condition.key: list(condition.values) for condition in deny.when}
            unless = {condition.key: list(condition.values) for condition in deny.unless}
            entry = listed.setdefault(
                (deny.section, deny.name),
                {
                    "name": deny.name,
                    "kind": deny.section,
                    "issuer": [],
                    "when": when_text({**when, **({"unless": unless} if unless else {})}),
                    "registry": covers.registry or "all",
                    "repositories": [*sorted(covers.names), *(glob.text for glob in covers.globs)],
                    "actions": [*covers.actions, *(["catalog"] if covers.catalog else [])],
                    "not_before": deny.span.not_before,
                    "expires": deny.span.expires,
                    "where": f"{file}:{number}",
                },
            )
            entry["issuer"].append(issuer.name)
    return list(listed.values())
