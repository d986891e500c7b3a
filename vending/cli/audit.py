"""`audit`: questions over exported audit events. Each of its commands only reads, calls and prints."""

from __future__ import annotations

import datetime
import io
import re
import sys
import time
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from vending.cli.csv_text import csv_lines
from vending.cli.frame import FORMATS, add_command
from vending.cli.inputs import existing, load_policy, now, places, read_events
from vending.cli.report import FINDINGS, FINE, Cell, Report, Table, UsageError, count, line
from vending.evidence.events import Tally
from vending.evidence.replay import comment, replay
from vending.evidence.report import QUESTIONS

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator

    from vending.cli.frame import Commands
    from vending.cli.report import Block, Line
    from vending.evidence.events import Event
    from vending.evidence.replay import Entries

_GROUPS_SHOWN: Final = 50
_PERIOD = re.compile(r"([1-9][0-9]{0,3})d")
_DAY: Final = 86_400.0
_GRACE_DAYS: Final = 14
"""How long a rule that was never used goes on, so that its team can object."""


def register(commands: Commands) -> None:
    """Add the group."""
    from vending.cli.commands import COMMANDS

    group = commands.add_parser(
        "audit",
        help=COMMANDS["audit"].summary,
        description="Answer questions from recorded audit events: files or standard input, as JSON lines (bare or\n"
        "behind a log prefix) or rows of Application Insights or Log Analytics as JSON or CSV, gzipped too.",
        epilog="Exit status: that of the command.",
    )
    inner = group.add_subparsers(
        dest="audit_command", metavar="COMMAND", required=True, title="commands", help="what to answer"
    )
    _register_report(inner)
    _register_replay(inner)
    _register_usage(inner)
    _register_suggest(inner)


def _add_events(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--events", metavar="FILE", nargs="+", default=[], help="exported events (default: standard input)"
    )


def _events(arguments: argparse.Namespace, tally: Tally) -> Iterator[Event]:
    """Yield the events that are asked about. A file that is not there is noticed before anything is printed."""
    if not arguments.events and sys.stdin.isatty():
        raise UsageError("name files with --events, or write exported events to standard input")
    for name in arguments.events:
        if name != "-":
            existing(Path(name))
    return read_events(arguments.events, tally)


def _notes(tally: Tally, more: Iterable[str] = ()) -> Iterator[Line]:
    """Say what was read, once it was."""
    yield from (line(text) for text in chain(more, tally.lines()))


# --- report -----------------------------------------------------------------------------------------------------------


def _register_report(inner: Commands) -> None:
    parser = add_command(
        inner,
        "report",
        _report,
        formats=("text", "json", "csv"),
        summary="grants, denials, a token's run, a repository's or a caller's history, security events",
        description="Answer one question: grants, denials, token ID, repository NAME, caller NAME=VALUE…, security.",
        exit_status="Exit status: 0 answered, 1 no event answers it, 2 the command cannot run as it was called.",
    )
    parser.add_argument("question", choices=list(QUESTIONS), help="what to answer")
    parser.add_argument("arguments", nargs="*", metavar="ARGUMENT", help="what the question needs")
    parser.add_argument("--day", metavar="YYYY-MM-DD", help="only this day, UTC")
    _add_events(parser)


def _report(arguments: argparse.Namespace) -> Report:
    question = QUESTIONS[arguments.question]
    given = len(arguments.arguments)
    if (given != 1 and question.argument and not question.many) or (question.many and not given):
        raise UsageError(f"{arguments.question} needs {question.argument}{'…' if question.many else ''}")
    if given and not question.argument:
        raise UsageError(f"{arguments.question} takes no argument; name files with --events")
    day = _day(arguments.day)
    tally = Tally()
    events = (event for event in _events(arguments, tally) if day is None or event["time"].startswith(day))
    answer = question.answer(events, arguments.arguments)
    rows = iter(answer.rows)
    first = next(rows, None)
    status = FINDINGS if first is None else FINE
    rows = rows if first is None else chain([first], rows)
    if arguments.format == "csv":
        body: Iterable[Block] = (line(text) for text in csv_lines(answer.columns, rows))
        return Report(status, data=[], body=body, aside=_notes(tally, answer.notes))
    if first is None:
        return Report(status, data=[], summary=_notes(tally, answer.notes), aside=_notes(tally, answer.notes))
    return Report(
        status,
        data=(dict(zip(answer.columns, row, strict=True)) for row in rows),
        body=[Table(answer.columns, (tuple(map(Cell, row)) for row in rows))],
        summary=_notes(tally, answer.notes),
        aside=_notes(tally, answer.notes),
    )


def _day(text: str | None) -> str | None:
    if text is None:
        return None
    try:
        return datetime.date.fromisoformat(text).isoformat()
    except ValueError:
        raise UsageError(f"--day: {text!r} is not a day; write YYYY-MM-DD") from None


# --- replay -----------------------------------------------------------------------------------------------------------


def _register_replay(inner: Commands) -> None:
    parser = add_command(
        inner,
        "replay",
        _replay,
        formats=(*FORMATS[:2], "markdown"),
        summary="decide recorded requests again by this policy",
        description="Decide every recorded request again by POLICY, at the event's time: who would be refused now,\n"
        "who would be granted, and what cannot be decided, because the event lacks a claim that POLICY reads.",
        exit_status="Exit status: 0 fine, 1 what --fail-on names is not empty, 2 the command cannot run as called.",
    )
    parser.add_argument("policy", metavar="POLICY", type=Path, help="a policy file or directory")
    _add_events(parser)
    parser.add_argument(
        "--fail-on", choices=("lost", "gained", "any"), help="exit with 1 where there are such requests"
    )
    parser.add_argument("--explain", action="store_true", help="decide the requests of /explain too")


def _replay(arguments: argparse.Namespace) -> Report:
    policy = load_policy(existing(arguments.policy)).policy
    tally = Tally()
    found = replay(policy, _events(arguments, tally), explain=arguments.explain)
    kinds = {"lost": (found.lost,), "gained": (found.gained,), None: ()}
    failing = any(kinds.get(arguments.fail_on, (found.lost, found.gained, found.changed, found.undecidable)))
    status = FINDINGS if failing else FINE
    body: list[Block] = []
    if arguments.format == "markdown":
        body = [line(text) for text in comment(found, tally.lines()).rstrip("\n").split("\n")]
        return Report(status, data=found.data(), body=body)
    for name, title in (("lost", "refused now"), ("gained", "granted now"), ("changed", "refused for another reason")):
        body += _groups(title, getattr(found, name))
    body += _groups("not decidable", found.undecidable)
    told = f"{count(found.decided, 'request')} decided again: {found.unchanged} unchanged, {len(found.lost)} lost, "
    told += f"{len(found.gained)} gained, {len(found.changed)} changed, {len(found.undecidable)} undecidable"
    return Report(status, data=found.data(), body=body, summary=_notes(tally, [told]), aside=_notes(tally))


def _groups(title: str, entries: Entries) -> list[Block]:
    if not entries:
        return []
    blocks: list[Block] = [line(f"{count(len(entries), 'request')} {title}:")]
    listed = entries.groups()
    for group, number in listed[:_GROUPS_SHOWN]:
        what = f"{group.scope}: {group.was}, now {group.now}"
        blocks.append(line(f"{number} of {group.issuer} {group.caller}: {what}", indent=2))
        if group.why:
            blocks.append(line(group.why, indent=4))
    more = sum(number for _, number in listed[_GROUPS_SHOWN:]) + entries.left_out
    if more:
        blocks.append(line(f"{more} of more callers; --format json has each request", indent=2))
    return blocks


# --- usage ------------------------------------------------------------------------------------------------------------


def _register_usage(inner: Commands) -> None:
    parser = add_command(
        inner,
        "usage",
        _usage,
        formats=(*FORMATS[:2], "markdown"),
        summary="how often and when last each right was used",
        description="Count the uses of each rule, entry and action; rights that were never used come first, with the\n"
        "narrower text to write instead. --patch writes that text as a patch for git apply.",
        exit_status="Exit status: 0 fine, 1 what --fail-on names, 2 the command cannot run as called.",
    )
    parser.add_argument("policy", metavar="POLICY", type=Path, help="a policy file or directory")
    _add_events(parser)
    parser.add_argument("--since", metavar="90d", default="90d", help="the period to look at (default: 90d)")
    parser.add_argument("--patch", metavar="FILE", type=Path, help="write the narrower policy as a patch")
    parser.add_argument(
        "--fail-on",
        choices=("incomplete",),
        help="exit with 1, and write no patch, where there are no events or an export was cut",
    )


def _usage(arguments: argparse.Namespace) -> Report:
    from vending.evidence.usage import comment, usage

    period = _PERIOD.fullmatch(arguments.since)
    if period is None:
        raise UsageError(f"--since: write days, as in 90d, not {arguments.since!r}")
    moment = now()
    since = moment - int(period[1]) * _DAY
    loaded = load_policy(existing(arguments.policy))
    tally = Tally()
    rows = usage(loaded.policy, _events(arguments, tally), since=since, now=moment)
    where = places(loaded)
    notes = [*tally.lines(), *_coverage(tally, since)]
    if arguments.fail_on and not (tally.events and tally.is_whole):
        return _incomplete(notes)
    if arguments.format == "markdown":
        _patch(arguments, rows, where, moment)
        written = comment(rows, notes, int(period[1])).rstrip("\n").split("\n")
        return Report(FINE, data=[], body=[line(text) for text in written])
    if arguments.patch is not None:
        notes.append(_patch(arguments, rows, where, moment))
    table = Table(
        ("used", "last", "rule", "issuer", "registry", "action", "repository", "where", "instead"),
        tuple(
            tuple(
                map(
                    Cell,
                    (
                        str(row.used),
                        row.last or "never",
                        row.key.rule,
                        row.key.issuer,
                        row.key.registry,
                        row.key.action,
                        row.key.repository,
                        where[row.key.rule].rsplit(":", 1)[0],
                        row.instead or "-",
                    ),
                )
            )
            for row in rows
        ),
    )
    data = [row.data(where) for row in rows]
    said = tuple(map(line, notes))
    return Report(FINE, data=data, body=(table,) if rows else (), summary=said, aside=said)


def _incomplete(notes: list[str]) -> Report:
    """Say what is missing instead of what was never used."""
    told = "Events are missing, so nothing is said of what was never used. Export the days again, in shorter pieces."
    said = tuple(map(line, [*notes, told]))
    return Report(FINDINGS, data=[], summary=said, aside=said)


def _coverage(tally: Tally, since: float) -> list[str]:
    """Say where the events do not cover the period."""
    if not tally.events:
        return ["There are no events: nothing can be said about the use of any right."]
    first = datetime.datetime.fromisoformat(tally.first).timestamp()
    if first <= since + _DAY:
        return []
    days = (first - since) / _DAY
    return [f"The events begin {days:.0f} days after the period does: what was used before them is not known."]


def _patch(arguments: argparse.Namespace, rows: list[Any], where: dict[str, str], moment: float) -> str:
    """Write the patch where one is wanted, and say so."""
    if arguments.patch is None:
        return ""
    from vending.evidence.patch import narrowed, unified

    expires = datetime.datetime.fromtimestamp(moment + _GRACE_DAYS * _DAY, datetime.UTC).date().isoformat()
    by_file: dict[str, list[Any]] = {}
    for row in rows:
        by_file.setdefault(where[row.key.rule].rsplit(":", 2)[0], []).append(row)
    patches = io.StringIO()
    for name, listed in sorted(by_file.items()):
        path = Path(name)
        if path.suffix not in {".yaml", ".yml"}:
            continue
        text = path.read_text(encoding="utf-8")
        patches.write(unified(_relative(path), text, narrowed(text, listed, expires)))
    try:
        arguments.patch.write_text(patches.getvalue(), encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{arguments.patch}: {error.strerror or type(error).__name__}") from None
    if not patches.getvalue():
        return f"{arguments.patch}: empty, since there is nothing to narrow in a YAML file"
    return f"{arguments.patch}: apply it with git apply, and compare with acr-vending diff"


def _relative(path: Path) -> str:
    here = Path.cwd()
    absolute = path.resolve()
    return absolute.relative_to(here).as_posix() if absolute.is_relative_to(here) else path.as_posix().lstrip("/")


# --- suggest ----------------------------------------------------------------------------------------------------------


def _register_suggest(inner: Commands) -> None:
    parser = add_command(
        inner,
        "suggest",
        _suggest,
        formats=("text", "json"),
        summary="rules as narrow as what was refused, explained or matched in audit mode",
        description="Suggest one rule for each caller, as narrow as what was seen. A refused request may have been an\n"
        "attack: read every suggestion before you adopt it. Nothing is written into a policy.",
    )
    parser.add_argument(
        "policy", metavar="POLICY", type=Path, nargs="?", help="the policy that they must be sound with"
    )
    _add_events(parser)
    parser.add_argument(
        "--all",
        action="store_true",
        dest="everyone",
        help="include pull requests, and unknown callers that came only once",
    )


def _suggest(arguments: argparse.Namespace) -> Report:
    from vending.cli.suggestions import confirmed, rendered
    from vending.evidence.suggest import suggest

    loaded = None if arguments.policy is None else load_policy(existing(arguments.policy))
    tally = Tally()
    found = suggest(None if loaded is None else loaded.policy, _events(arguments, tally), everyone=arguments.everyone)
    made = list(found.suggestions)
    sound = made if loaded is None else confirmed(loaded, arguments.policy, made, time.time())
    dropped = len(made) - len(sound)
    text = rendered([suggestion.rule for suggestion in sound]) if sound else ""
    said = ["A refused request may have been an attack. Read every rule before you adopt it."] if sound else []
    if sound and loaded is None:
        said.append("Without POLICY nothing was checked: name it, and each rule is tried beside it.")
    if dropped:
        said.append(f"{count(dropped, 'suggestion')} left out: not clean beside POLICY, or not what would be granted.")
    if found.left_out:
        said.append(f"{count(found.left_out, 'request')} left out: more than can be kept, of callers that came rarely.")
    return Report(
        FINE,
        data={"rules": [dict(suggestion.rule) for suggestion in sound], "left_out": dropped},
        body=[line(one) for one in text.rstrip("\n").split("\n")] if text else (),
        summary=_notes(tally, said),
        aside=_notes(tally, said),
    )
