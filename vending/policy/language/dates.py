"""Write days and times as the language does, and say why one that is written right does not exist."""

from __future__ import annotations

import calendar
import datetime


def not_a_day(text: str) -> str:
    """Say why `text`, written YYYY-MM-DD, is not a day of the calendar."""
    year, month, _ = (int(part) for part in text.split("-"))
    if year < datetime.MINYEAR:
        return f"{text} is not a date: there is no year 0"
    if not 1 <= month <= len(calendar.month_name) - 1:
        return f"{text} is not a date: there is no month {month}"
    return f"{text} is not a date: that month has {calendar.monthrange(year, month)[1]} days"


def not_a_moment(text: str) -> str:
    """Say why `text`, written YYYY-MM-DD or YYYY-MM-DDTHH:MMZ, is not a day or a minute."""
    day, _, time = text.partition("T")
    try:
        datetime.date.fromisoformat(day)
    except ValueError:
        return not_a_day(day)
    return f"{text} is not a time: hours go from 00 to 23, minutes from 00 to 59" if time else not_a_day(day)


def written(value: datetime.date) -> str:
    """Write a day, or a time in UTC to the minute, as the language does."""
    return f"{value:%Y-%m-%dT%H:%MZ}" if isinstance(value, datetime.datetime) else value.isoformat()
