"""What the report asks of the store: selects over one configuration, summed up by the database.

Every function takes an open connection, so that one report is one view of the store. Times are
aware and UTC; a period is a pair (start, end), its end excluded.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Select,
    and_,
    case,
    cast,
    extract,
    func,
    select,
)

from connectors.store import schema

HOUR = 3600
MINUTE = 60
_MONDAY = 3 * 86400
"""Seconds from the start of a week to 1970-01-01, a Thursday: buckets of a week begin on Monday."""

_IDS_AT_ONCE = 400
"""SQLite takes a limited number of parameters in one statement."""

_stats, _days = schema.window_stats.c, schema.window_days.c

_CHANGING = ("messages", "abstained", "negative", "new_negative")
"""What `Change` has of a key before and since."""


class Period(NamedTuple):
    """From `start` to `end`, the end excluded."""

    start: datetime
    end: datetime

    @property
    def seconds(self) -> int:
        """How long it is."""
        return int((self.end - self.start).total_seconds())


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """Counts of one key over one bucket that begins at `start`."""

    key: str
    start: datetime
    messages: int
    negative: int
    neutral: int
    positive: int
    abstained: int
    stories: int
    new_negative: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Counts of one key before and since a moment."""

    key: str
    messages_before: int
    messages_since: int
    abstained_before: int
    abstained_since: int
    negative_before: int
    negative_since: int
    new_negative_before: int
    new_negative_since: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """A message with its tags; `copies` counts the further messages of the same story.

    `words`: (start, end, weight) of words in `text`; None where nobody has weighed them yet.
    """

    id: str
    source: str
    published_at: datetime
    title: str | None
    text: str
    url: str | None
    sentiment: str
    negative: float
    neutral: float
    positive: float
    abstained: bool
    repeat: bool
    copies: int
    words: Sequence[tuple[int, int, float]] | None = None


_MILLIONTHS = 1_000_000

_WEIGHTS = {
    "negative_surge": _stats.weight_new_negative,
    "slow_drift": _stats.weight_new_negative,
    "amplification": _stats.weight_repeats_negative,
    "volume": _stats.weight_new,
}
"""What each kind of alert counts: in millionths, a story on n companies as 1/n for each."""

_SUMS = {
    "messages": _stats.messages,
    "negative": _stats.negative,
    "neutral": _stats.neutral,
    "positive": _stats.positive,
    "abstained": _stats.abstained,
    "stories": _stats.messages - _stats.repeats,
    "new_negative": _stats.new_negative,
}


def period(connection: Connection, configuration: str) -> Period | None:
    """The time that the configuration's hourly rows cover; None where there is none."""
    # One by one: SQLite finds an end of an index by itself, both ends only by reading all of it.
    first, last = (
        connection.scalar(select(end(_stats.start)).where(*_of(configuration, HOUR)))
        for end in (func.min, func.max)
    )
    return Period(first, last + timedelta(seconds=HOUR)) if first else None


def buckets(
    connection: Connection,
    configuration: str,
    keys: Iterable[str],
    seconds: int,
    span: Period | None = None,
) -> dict[str, list[Bucket]]:
    """The keys' hourly rows within `span`, summed over buckets of `seconds` (whole hours).

    Buckets without a message are left out; a key without any has an empty list.
    """
    answer: dict[str, list[Bucket]] = {key: [] for key in keys}
    number = ((_epoch(_stats.start) + _MONDAY) // seconds).label("number")
    sums = [func.sum(column).label(name) for name, column in _SUMS.items()]
    for some in _batches(list(answer)):
        query = (
            select(_stats.key, number, *sums)
            .where(*_of(configuration, HOUR), _stats.key.in_(some), *_during(span))
            .group_by(_stats.key, number)
            .order_by(_stats.key, number)
        )
        for key, index, *counts in connection.execute(query):
            start = datetime.fromtimestamp(int(index) * seconds - _MONDAY, UTC)
            answer[key].append(
                Bucket(key=key, start=start, **dict(zip(_SUMS, map(int, counts), strict=True)))
            )
    return answer


def minutes(
    connection: Connection, configuration: str, key: str, kind: str, span: Period
) -> list[tuple[datetime, float]]:
    """(start of the minute, what alerts of `kind` count in it) by time; empty minutes left out."""
    weight = _WEIGHTS[kind]
    query = (
        select(_stats.start, weight)
        .where(*_within(configuration, key, span), weight > 0)
        .order_by(_stats.start)
    )
    return [(start, value / _MILLIONTHS) for start, value in connection.execute(query)]


def total(connection: Connection, configuration: str, key: str, kind: str, span: Period) -> float:
    """What alerts of `kind` count, summed over the minutes of the span."""
    query = select(func.sum(_WEIGHTS[kind])).where(*_within(configuration, key, span))
    return int(connection.scalar(query) or 0) / _MILLIONTHS


def keys(connection: Connection, configuration: str, prefix: str) -> list[str]:
    """The keys that begin with `prefix`, those with most messages first."""
    query = (
        select(_stats.key)
        .where(*_of(configuration, HOUR), _stats.key.startswith(prefix, autoescape=True))
        .group_by(_stats.key)
        .order_by(func.sum(_stats.messages).desc(), _stats.key)
    )
    return list(connection.scalars(query))


def changes(
    connection: Connection, configuration: str, prefix: str, moment: datetime, span: Period
) -> list[Change]:
    """Counts before and since `moment`, within `span`, of each key that begins with `prefix`.

    Whole days before the moment come from the sums of days, the rest from the hours.
    """
    days = Period(_midnight(span.start + timedelta(days=1, microseconds=-1)), _midnight(moment))
    edges = [Period(span.start, days.start), Period(days.end, span.end)]
    found: defaultdict[str, Counter[str]] = defaultdict(Counter)
    if days.end > days.start:
        for row in connection.execute(_before(configuration, prefix, days)).mappings():
            found[row["key"]].update({f"{name}_before": int(row[name]) for name in _CHANGING})
    else:
        edges = [span]
    columns = {
        f"{name}_{part}": func.sum(case((inside, _SUMS[name]), else_=0))
        for name in _CHANGING
        for part, inside in (("before", _stats.start < moment), ("since", _stats.start >= moment))
    }
    hours = (
        select(_stats.key, *(column.label(name) for name, column in columns.items()))
        .where(*_of(configuration, HOUR), _stats.key.startswith(prefix, autoescape=True))
        .group_by(_stats.key)
    )
    for edge in edges:  # one by one: SQLite would read all between them
        for row in connection.execute(hours.where(*_during(edge))).mappings():
            found[row["key"]].update({name: int(row[name]) for name in columns})
    return [
        Change(key=key, **{name: counts[name] for name in columns}) for key, counts in found.items()
    ]


def _before(configuration: str, prefix: str, days: Period) -> Select[Any]:
    """The sums over whole days of each key."""
    sums = (func.sum(_days[name]).label(name) for name in _CHANGING)
    return (
        select(_days.key, *sums)
        .where(_days.configuration == configuration)
        .where(_days.start >= days.start, _days.start < days.end)
        .where(_days.key.startswith(prefix, autoescape=True))
        .group_by(_days.key)
    )


def _midnight(moment: datetime) -> datetime:
    return moment.replace(hour=0, minute=0, second=0, microsecond=0)


def worst_hours(
    connection: Connection, configuration: str, prefix: str, limit: int
) -> list[tuple[str, datetime, int, int]]:
    """Each key's hour with most new negative stories, the worst first.

    Rows are (key, start, new negative stories, messages in that hour).
    """
    rank = func.row_number().over(
        partition_by=_stats.key, order_by=(_stats.new_negative.desc(), _stats.start)
    )
    ranked = (
        select(_stats.key, _stats.start, _stats.new_negative, _stats.messages, rank.label("rank"))
        .where(*_of(configuration, HOUR), _stats.key.startswith(prefix, autoescape=True))
        .where(_stats.new_negative > 0)
        .subquery()
    ).c
    query = (
        select(ranked.key, ranked.start, ranked.new_negative, ranked.messages)
        .where(ranked.rank == 1)
        .order_by(ranked.new_negative.desc(), ranked.start, ranked.key)
        .limit(limit)
    )
    return [tuple(row) for row in connection.execute(query)]


def provisional_hours(connection: Connection, configuration: str) -> int:
    """How many of the overall hours may still change."""
    query = (
        select(func.count())
        .select_from(schema.window_stats)
        .where(*_of(configuration, HOUR), _stats.key == "overall", _stats.final.is_(False))
    )
    return int(connection.scalar(query) or 0)


def sources(connection: Connection, span: Period) -> list[tuple[str, int]]:
    """The sources of the messages published in the period and their counts, the largest first."""
    messages = schema.messages.c
    count = func.count()
    query = (
        select(messages.source, count)
        .where(messages.published_at >= span.start, messages.published_at < span.end)
        .group_by(messages.source)
        .order_by(count.desc(), messages.source)
    )
    return [(source, int(number)) for source, number in connection.execute(query)]


def alerts(connection: Connection, configuration: str) -> list[dict[str, Any]]:
    """The alerts of the configuration, by time of opening."""
    table = schema.alerts
    query = (
        select(table)
        .where(table.c.configuration == configuration)
        .order_by(table.c.opened_at, table.c.id)
    )
    return _rows(connection, query)


def spikes(
    connection: Connection, configuration: str, alert: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """The spikes that an alert's life is made of, by the end of their windows."""
    table = schema.spikes
    query = (
        select(table)
        .where(table.c.configuration == configuration, table.c.key == alert["key"])
        .where(table.c.kind == alert["kind"])
        .where(table.c.window_end.between(alert["opened_at"], alert["updated_at"]))
        .order_by(table.c.window_end, table.c.id)
    )
    return _rows(connection, query)


def evidence(connection: Connection, ids: Sequence[str]) -> list[Evidence]:
    """The stored messages of `ids`, in that order; an id that is not stored is left out."""
    messages, tags = schema.messages.c, schema.tags.c
    same = and_(tags.message_id == messages.id, tags.published_at == messages.published_at)
    query = select(
        messages.id,
        messages.source,
        messages.published_at,
        messages.title,
        messages.text,
        messages.url,
        tags.sentiment,
        tags.negative,
        tags.neutral,
        tags.positive,
        tags.abstained,
        tags.repeat,
        tags.story,
    ).join(schema.tags, same)
    found = {
        row["id"]: row
        for some in _batches(ids)
        for row in _rows(connection, query.where(messages.id.in_(some)))
    }
    told = _story_sizes(connection, sorted({row["story"] or "" for row in found.values()}))
    return [
        Evidence(copies=max(0, told.get(row.pop("story"), 0) - 1), **row)
        for row in (dict(found[name]) for name in ids if name in found)
    ]


def _story_sizes(connection: Connection, stories: Sequence[str]) -> dict[str, int]:
    tags = schema.tags.c
    sizes: dict[str, int] = {}
    for some in _batches(stories):
        query = select(tags.story, func.count()).where(tags.story.in_(some)).group_by(tags.story)
        sizes |= {story: int(count) for story, count in connection.execute(query)}
    return sizes


def _of(configuration: str, seconds: int) -> tuple[ColumnElement[bool], ...]:
    return (_stats.configuration == configuration, _stats.seconds == seconds)


def _during(span: Period | None) -> tuple[ColumnElement[bool], ...]:
    return (_stats.start >= span.start, _stats.start < span.end) if span else ()


def _within(configuration: str, key: str, span: Period) -> tuple[ColumnElement[bool], ...]:
    inside = (_stats.key == key, _stats.start >= span.start, _stats.start < span.end)
    return (*_of(configuration, MINUTE), *inside)


def _epoch(column: ColumnElement[datetime]) -> ColumnElement[int]:
    return cast(extract("epoch", column), BigInteger)


def _rows(connection: Connection, query: Select[Any]) -> list[dict[str, Any]]:
    return [dict(row) for row in connection.execute(query).mappings()]


def _batches(ids: Sequence[str]) -> Iterable[Sequence[str]]:
    return (ids[at : at + _IDS_AT_ONCE] for at in range(0, len(ids), _IDS_AT_ONCE))
