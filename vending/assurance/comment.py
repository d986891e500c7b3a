"""Write a difference in access as Markdown: a comment that a tired reviewer understands. Decides nothing.

Names come from whoever wrote the policy or the token; all of them become code spans that nothing can break out of.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from vending.assurance.diff import Change, Difference, Open

MAX_EXAMPLES: Final = 20
"""A comment has at most 65,536 characters on GitHub; the whole list is in `--format json`."""
MAX_ROWS: Final = 100

_RUNS = re.compile(r"`+")


def code(text: str) -> str:
    """Return a code span (CommonMark 6.1) that shows a text as it is, in tables too."""
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
    shown = shown.replace("|", "\\|")
    fence = "`" * (max((len(run) for run in _RUNS.findall(shown)), default=0) + 1)
    pad = " " if not shown or shown.startswith("`") or shown.endswith("`") or shown.strip() == "" else ""
    return f"{fence}{pad}{shown or ' '}{pad}{fence}"


def block(text: str) -> str:
    """Return a fenced block (CommonMark 4.5) that no line of the text can end."""
    fence = "`" * max(3, max((len(run) for run in _RUNS.findall(text)), default=0) + 1)
    return f"{fence}json\n{text}\n{fence}"


def comment(difference: Difference, *, note: str = "") -> str:
    """Return the whole comment; `note` is a line below the heading."""
    parts = [f"### {headline(difference)}"]
    if note:
        parts.append(note)
    for title, changes in (("Gained", difference.grew), ("Lost", difference.shrank)):
        if changes:
            parts += [f"**{title}**", _table(changes)]
    if difference.not_decided:
        parts += ["**Not decided**, so look at it yourself", _open(difference.not_decided)]
    examples = [*difference.grew, *difference.shrank]
    if examples:
        parts.append(_examples(examples))
    return "\n\n".join(parts) + "\n"


def headline(difference: Difference) -> str:
    """Return the one sentence that matters."""
    grew, shrank = _rules(difference.grew), _rules(difference.shrank)
    if grew and shrank:
        return f"Access grows for {grew} and shrinks for {shrank}"
    if grew:
        return f"Access grows for {grew}"
    if shrank:
        return f"Access shrinks for {shrank}, and grows for none"
    return "Access could not be compared in full" if difference.not_decided else "Access does not change"


def _rules(changes: Sequence[Change]) -> str:
    number = len({_who(change) for change in changes})
    return "" if number == 0 else "1 rule" if number == 1 else f"{number} rules"


def _who(change: Change) -> tuple[str, tuple[str, ...]]:
    return change.issuer, change.rules


def _table(changes: Sequence[Change]) -> str:
    grouped: dict[tuple[str, tuple[str, ...], str, tuple[str, ...]], list[str]] = defaultdict(list)
    actions: dict[tuple[str, tuple[str, ...], str, str], list[str]] = defaultdict(list)
    for change in changes:
        actions[change.issuer, change.rules, change.registry, change.repository].append(change.action)
    for (issuer, rules, registry, repository), listed in actions.items():
        grouped[issuer, rules, registry, tuple(listed)].append(repository)
    lines = ["| caller | may | on | in |", "| --- | --- | --- | --- |"]
    for (issuer, rules, registry, may), repositories in list(grouped.items())[:MAX_ROWS]:
        who = f"{', '.join(map(code, rules))} ({code(issuer)})"
        shown = ", ".join(map(code, repositories[:10]))
        more = f" and {len(repositories) - 10} more" if len(repositories) > 10 else ""
        lines.append(f"| {who} | {', '.join(may)} | {shown}{more} | {code(registry)} |")
    if len(grouped) > MAX_ROWS:
        lines.append(f"| … and {len(grouped) - MAX_ROWS} more rows | | | |")
    return "\n".join(lines)


def _open(entries: Iterable[Open]) -> str:
    lines = []
    for entry in entries:
        where = ", ".join(map(code, filter(None, (*entry.rules, entry.repository, entry.registry))))
        lines.append(f"- {code(entry.issuer)}{': ' + where if where else ''}: {_plain(entry.why)}")
    return "\n".join(lines)


def _plain(text: str) -> str:
    """Return prose of ours that may quote a name, without anything that Markdown or HTML would act on."""
    return re.sub(r"([\\`*_{}\[\]<>()#+!|@&])", r"\\\1", text)


def _examples(changes: Sequence[Change]) -> str:
    shown = [
        {"rules": list(change.rules), "registry": change.registry, **change.example.data()}
        for change in changes[:MAX_EXAMPLES]
    ]
    text = json.dumps(shown, indent=1)
    title = "Examples: claims and a scope that one policy grants and the other does not"
    return f"<details>\n<summary>{title}</summary>\n\n{block(text)}\n\n</details>"
