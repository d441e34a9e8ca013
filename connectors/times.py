"""Any sane way of writing a time -> an aware UTC datetime with microseconds."""

import math
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from email.utils import parsedate_to_datetime
from typing import NamedTuple

EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
LATEST = datetime(2262, 1, 1, tzinfo=UTC)
"""Event times lie in [EARLIEST, LATEST): beyond it, 64-bit nanoseconds overflow."""


class TimeError(ValueError):
    """A value is not a time, or one that cannot be; the message names the value."""


class ParsedTime(NamedTuple):
    """`at` is aware UTC; `naive` tells that no zone was given and UTC was assumed."""

    at: datetime
    naive: bool


def parse_time(value: object) -> ParsedTime:
    """The time that `value` means.

    Understood: ISO 8601, `YYYY-MM-DD HH:MM:SS`, RFC 2822, Twitter's `Wed Aug 27 13:08:45 +0000
    2008`, `d-m-yyyy hh:mm`, `Jul 18 2020`, `18-Jul-2020`, a date alone (midnight), and Unix time
    in seconds, milliseconds, microseconds or nanoseconds as a number or as text (the unit follows
    from the magnitude). A time without a zone is taken as UTC.

    Raises TimeError where the value is none of these, is an impossible date, or lies outside
    [EARLIEST, LATEST).
    """
    try:
        at = _read(value)
        naive = at.tzinfo is None
        at = at.replace(tzinfo=UTC) if naive else at.astimezone(UTC)
    except (ValueError, OverflowError, ArithmeticError) as error:
        if isinstance(error, TimeError):
            raise
        raise TimeError(f"{_shown(value)} is not a possible time: {error}") from error
    if not EARLIEST <= at < LATEST:
        raise TimeError(
            f"the time {_shown(value)} lies outside the years {EARLIEST.year} to {LATEST.year - 1}"
        )
    return ParsedTime(at, naive)


def _read(value: object) -> datetime:
    if isinstance(value, str):
        # Nearly every source writes ISO 8601. The separator is checked because `fromisoformat`
        # takes any character there, and so would read some Unix times as dates.
        if value[4:5] == "-" and value[10:11] in _SEPARATORS:
            try:
                return datetime.fromisoformat(value)
            except ValueError:
                pass  # one of the looser forms below, or an error that they word better
        return _read_text(value.strip())
    if isinstance(value, datetime):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TimeError(f"{_shown(value)} is not a time but of the type {type(value).__name__}")
    return _from_unix(value)


_SEPARATORS = ("", "T", "t", " ")

# Not strptime: the names of months that it knows depend on the machine's language.
_MONTH_NAMES = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTHS = {name: number for number, name in enumerate(_MONTH_NAMES, start=1)}
_CLOCK = (
    r"(?:[T ,]\s*(?P<hour>\d{1,2}):(?P<minute>\d\d)(?::(?P<second>\d\d)(?:[.,](?P<fraction>\d+))?)?"
    r"\s*(?P<zone>Z|UTC|GMT|[+-]\d\d:?\d\d)?)?"
)
_MONTH_NAME = r"(?P<month_name>[A-Za-z]{3})[a-z]*\.?"
_WEEKDAY = r"(?:[A-Za-z]{3,9},?\s+)?"
_FORMS = tuple(
    re.compile(form, re.ASCII | re.IGNORECASE)
    for form in (
        r"(?P<year>\d{4})([-/.])(?P<month>\d{1,2})\2(?P<day>\d{1,2})" + _CLOCK,
        r"(?P<day>\d{1,2})([-.])(?P<month>\d{1,2})\2(?P<year>\d{4})" + _CLOCK,
        _WEEKDAY + _MONTH_NAME + r"\s+(?P<day>\d{1,2}),?\s+(?P<year>\d{4})" + _CLOCK,
        _WEEKDAY + r"(?P<day>\d{1,2})[- ]" + _MONTH_NAME + r"[- ](?P<year>\d{4})" + _CLOCK,
        _WEEKDAY
        + _MONTH_NAME
        + r"\s+(?P<day>\d{1,2})\s+(?P<hour>\d\d):(?P<minute>\d\d):(?P<second>\d\d)"
        + r"(?:\s+(?P<zone>[+-]\d{4}|UTC|GMT))?\s+(?P<year>\d{4})",
    )
)
_NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?(?:[eE][+-]?\d{1,2})?", re.ASCII)
_COMPACT_LENGTHS = (len("YYYYMMDD"), len("YYYYMMDDhhmmss"))
"""Digits alone that are a date: as Unix times they would lie before 1974 or after 2286."""


def _read_text(text: str) -> datetime:
    if not text:
        raise TimeError("the time is empty")
    if _NUMBER.fullmatch(text):
        if len(text) in _COMPACT_LENGTHS and text.isdigit():
            return datetime.fromisoformat(f"{text[:8]}T{text[8:] or '00'}")
        return _from_unix(Decimal(text))
    for form in _FORMS:
        if match := form.fullmatch(text):
            return _from_parts(match.groupdict())
    if (text[4:5] == "-" and text[10:11] in _SEPARATORS) or text[8:9] == "T":
        return datetime.fromisoformat(text)
    if "/" in text:
        raise TimeError(
            f"{_shown(text)} does not say whether day or month comes first: write YYYY-MM-DD"
        )
    try:
        return parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError) as error:
        raise TimeError(f"{_shown(text)} is not a time that is understood") from error


def _from_parts(parts: dict[str, str | None]) -> datetime:
    name = parts.get("month_name")
    month = _MONTHS.get(name.lower()) if name else int(parts["month"] or 0)
    if month is None:
        raise TimeError(f"{name!r} is not a month")
    at = datetime(  # noqa: DTZ001 (a zone is put on below where one was given)
        int(parts["year"] or 0),
        month,
        int(parts["day"] or 0),
        int(parts["hour"] or 0),
        int(parts["minute"] or 0),
        int(parts["second"] or 0),
        int(f"{parts.get('fraction') or '':0<6.6}"),
    )
    zone = parts["zone"]
    if zone is None:
        return at
    if zone[0] not in "+-":
        return at.replace(tzinfo=UTC)
    offset = timedelta(hours=int(zone[1:3]), minutes=int(zone[-2:]))
    return at.replace(tzinfo=UTC) + (offset if zone[0] == "-" else -offset)


def _from_unix(number: int | float | Decimal) -> datetime:
    if not math.isfinite(number):
        raise TimeError(f"{_shown(number)} is not a time")
    # A float is taken at its shortest decimal form: what its writer meant.
    exact = number if isinstance(number, Decimal) else Decimal(str(number))
    magnitude = abs(exact)
    if magnitude < 10**11:
        scale = Decimal(10**6)  # seconds up to the year 5138
    elif magnitude < 10**14:
        scale = Decimal(10**3)  # milliseconds since 1973
    elif magnitude < 10**17:
        scale = Decimal(1)
    else:
        scale = Decimal("0.001")
    return EARLIEST + timedelta(microseconds=int(exact * scale))


def _shown(value: object) -> str:
    try:
        shown = repr(value)
    except ValueError:  # Python prints no integers of thousands of digits
        return "a huge number"
    return shown if len(shown) <= 60 else shown[:57] + "..."
