"""CSV (RFC 4180) for spreadsheets: what one would read as a formula gets an apostrophe before it.

https://owasp.org/www-community/attacks/CSV_Injection
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

_FORMULA: Final = re.compile(r"(^|;)([\s'\"]*)([=+\-@\uff1d\uff0b\uff0d\uff20])")
"""How a formula begins: in a cell, or in one that a spreadsheet makes where it takes semicolons for separators, as many
languages have it; behind blanks and quotes, and in full width too."""


def csv_text(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a heading and rows as CSV; None is an empty cell, and a single dash stays one."""
    return "".join(f"{line}\n" for line in csv_lines(columns, rows))


def csv_lines(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """Yield the lines of `csv_text`, each when its row is read."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="")
    writer.writerow(columns)
    yield out.getvalue()
    for row in rows:
        out.seek(0)
        out.truncate()
        writer.writerow([_cell(value) for value in row])
        yield out.getvalue()


def _cell(value: object) -> str:
    text = "" if value is None else str(value)
    text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
    return text if text == "-" else _FORMULA.sub(r"\1'\2\3", text)
