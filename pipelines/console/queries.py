"""What the console asks of the store, a page at a time, each in the order of an index.

Every function takes an open connection. Times are aware and UTC. Pages continue after a `Cursor`
instead of counting rows to skip, so that the thousandth page costs what the first one does.
"""

import base64
import binascii
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import ColumnElement, Connection, Select, Text, and_, cast, func, or_, select

from alerting.delivery import DEAD
from alerting.spike import SEVERITIES
from connectors.store.schema import (
    alert_events,
    alerts,
    corrections,
    deliveries,
    incident_members,
    messages,
    silences,
    tags,
    window_stats,
)
from pipelines.report.queries import HOUR, MINUTE, Period

Row = dict[str, Any]

MOST_COUNTED = 1_000
"""No queue is counted beyond this: nobody works through more."""

SEARCHED_AT_ONCE = 10_000
"""Messages that one search reads; it goes on where it stopped when asked to."""

_MINUTES_AT_ONCE = 60


class Cursor(NamedTuple):
    """The last row of a page: its place in the order, and its id. `severity` in a queue."""

    at: datetime
    id: str
    severity: str = SEVERITIES[-1]

    def encode(self) -> str:
        """As it stands in an address; not meant to be read."""
        text = json.dumps([self.at.isoformat(), self.id, self.severity])
        return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")

    @classmethod
    def decode(cls, text: str) -> "Cursor":
        """The cursor again. Raises ValueError for what `encode` never gave."""
        try:
            padded = text.encode("ascii") + b"=" * (-len(text) % 4)
            at, row_id, severity = json.loads(base64.urlsafe_b64decode(padded))
            moment = msgspec.convert(at, datetime, strict=True)
        except (binascii.Error, TypeError, ValueError) as error:
            raise ValueError("that is no cursor that a page gave: begin without") from error
        known = isinstance(row_id, str) and "\0" not in row_id and severity in SEVERITIES
        if not known or moment.tzinfo is None:
            raise ValueError("that is no cursor that a page gave: begin without")
        return cls(moment, row_id, severity)


class Shelf(StrEnum):
    """Which alerts a queue holds."""

    TO_DO = "to-do"
    OPEN = "open"
    UNSEEN = "unacknowledged"
    MINE = "mine"
    ALL = "all"


class Order(StrEnum):
    """Which come first."""

    SEVERE = "severe"
    NEWEST = "newest"
    OLDEST = "oldest"


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """`reader`: whose alerts are his own; `state`, `severity` and `key` narrow it further."""

    shelf: Shelf = Shelf.ALL
    order: Order = Order.NEWEST
    reader: str = ""
    state: str | None = None
    severity: str | None = None
    key: str | None = None


def queue(
    connection: Connection, wanted: Queue, after: Cursor | None, limit: int
) -> tuple[list[Row], Cursor | None]:
    """Rows of `alerts`, and where the next page goes on, None at the end.

    Of the evidence they hold `scale_seconds` alone: its texts are long, and no queue shows them.
    """
    severities = [wanted.severity] if wanted.severity else list(reversed(SEVERITIES))
    if wanted.order is Order.SEVERE:
        found = _most_severe(connection, wanted, severities, after, limit + 1)
    else:
        found = [
            row
            for severity in severities
            for row in _page(connection, wanted, severity, after, limit + 1)
        ]
        found.sort(key=lambda row: row["id"])
        found.sort(key=lambda row: row["opened_at"], reverse=wanted.order is Order.NEWEST)
    places = found[:limit]
    rows = _without_texts(connection, [place["id"] for place in places]) if places else []
    if len(found) <= limit:
        return rows, None
    last = places[-1]
    return rows, Cursor(last["opened_at"], last["id"], last["severity"])


def count(connection: Connection, wanted: Queue) -> int:
    """How many alerts the queue holds, at most `MOST_COUNTED`."""
    some = select(1).select_from(alerts).where(*_narrowed(wanted)).limit(MOST_COUNTED).subquery()
    return int(connection.scalar(select(func.count()).select_from(some)) or 0)


def alert(connection: Connection, alert_id: str) -> Row | None:
    """One alert, None where there is none."""
    return _first(connection, select(alerts).where(alerts.c.id == alert_id))


def events_of(connection: Connection, alert_id: str) -> list[Row]:
    """The ledger's rows on one alert, in their order."""
    wanted = select(alert_events).where(alert_events.c.alert_id == alert_id)
    return _rows(connection, wanted.order_by(alert_events.c.sequence))


def events_after(connection: Connection, sequence: int, limit: int) -> list[Row]:
    """The ledger's rows on alerts after that one, in their order, without what the alert was."""
    columns = [
        alert_events.c[name]
        for name in ("sequence", "id", "alert_id", "event", "occurred_at", "recorded_at", "actor")
    ]
    later = (alert_events.c.sequence > sequence, alert_events.c.alert_id.is_not(None))
    wanted = select(*columns).where(*later)
    return _rows(connection, wanted.order_by(alert_events.c.sequence).limit(limit))


def newest_events(connection: Connection, limit: int) -> list[Row]:
    """The ledger's newest rows, the last one first, without what they say."""
    names = ("sequence", "alert_id", "subject", "event", "recorded_at", "actor")
    wanted = select(*(alert_events.c[name] for name in names))
    return _rows(connection, wanted.order_by(alert_events.c.sequence.desc()).limit(limit))


def last_sequence(connection: Connection) -> int:
    """The ledger's last row, 0 where it is empty."""
    return int(connection.scalar(select(func.max(alert_events.c.sequence))) or 0)


def deliveries_of(connection: Connection, alert_id: str) -> list[Row]:
    """Who was told of the alert, in the order of recording."""
    wanted = select(deliveries).where(deliveries.c.alert_id == alert_id)
    return _rows(connection, wanted.order_by(deliveries.c.recorded_at, deliveries.c.id))


def dead_deliveries(
    connection: Connection, after: Cursor | None, limit: int
) -> tuple[list[Row], Cursor | None]:
    """Deliveries that were given up or refused, the newest first, without what they told; and where
    the next page goes on, None at the end."""
    table = deliveries.c
    columns = [column for column in table if column.name != "payload"]
    wanted = [table.state == DEAD, *_before(table.recorded_at, table.id, after)]
    query = select(*columns).where(*wanted).order_by(table.recorded_at.desc(), table.id)
    found = _rows(connection, query.limit(limit + 1))
    rows, last = found[:limit], found[limit - 1] if len(found) > limit else None
    return rows, Cursor(last["recorded_at"], last["id"]) if last else None


def all_silences(connection: Connection, limit: int) -> list[Row]:
    """Silences, the newest first."""
    order = (silences.c.recorded_at.desc(), silences.c.id)
    return _rows(connection, select(silences).order_by(*order).limit(limit))


def same_story(connection: Connection, alert_id: str, limit: int) -> list[Row]:
    """The other alerts of its incident, by time of opening."""
    members = incident_members.c
    incident = select(members.incident_id).where(members.alert_id == alert_id).scalar_subquery()
    wanted = (
        select(alerts)
        .join(incident_members, members.alert_id == alerts.c.id)
        .where(members.incident_id == incident, members.alert_id != alert_id)
        .order_by(members.opened_at, members.alert_id)
    )
    return _rows(connection, wanted.limit(limit))


def opened(connection: Connection, span: Period, key: str | None, limit: int) -> list[Row]:
    """What charts mark: alerts that opened within `span`, on `key`; else the severe ones of all."""
    columns = [alerts.c[name] for name in ("id", "key", "kind", "severity", "opened_at")]
    within = (alerts.c.opened_at >= span.start, alerts.c.opened_at < span.end)
    which = alerts.c.key == key if key else alerts.c.severity.in_(SEVERITIES[-2:])
    order = (alerts.c.opened_at.desc(), alerts.c.id)
    return _rows(connection, select(*columns).where(*within, which).order_by(*order).limit(limit))


def opened_within(connection: Connection, span: Period, limit: int) -> list[str]:
    """The ids of the alerts that opened within `span`, the oldest first."""
    within = (alerts.c.opened_at >= span.start, alerts.c.opened_at < span.end)
    wanted = select(alerts.c.id).where(*within).order_by(alerts.c.opened_at, alerts.c.id)
    return list(connection.scalars(wanted.limit(limit)))


def newest_configuration(connection: Connection) -> str | None:
    """The configuration under which there are the newest windows, of several the first by name as
    on the dashboards; None where there are none."""
    stats, newest = window_stats.c, None
    name = connection.scalar(select(func.min(stats.configuration)))
    while name is not None:
        last = connection.scalar(
            select(func.max(stats.start)).where(
                stats.configuration == name, stats.key == "overall", stats.seconds == HOUR
            )
        )
        if last is not None and (newest is None or last > newest[0]):
            newest = (last, name)
        # The next one by a step in the index: a DISTINCT would read all rows.
        name = connection.scalar(
            select(func.min(stats.configuration)).where(stats.configuration > name)
        )
    return newest[1] if newest else None


def known(connection: Connection, configuration: str, key: str) -> bool:
    """Whether anything was ever counted for the key."""
    stats = window_stats.c
    wanted = (stats.configuration == configuration, stats.key == key, stats.seconds == HOUR)
    return connection.execute(select(1).where(*wanted).limit(1)).first() is not None


def windows(
    connection: Connection,
    configuration: str,
    key: str,
    seconds: int,
    span: Period,
    limit: int,
) -> list[Row]:
    """The key's windows of that length that begin within `span`, by time."""
    stats = window_stats.c
    wanted = select(window_stats).where(
        stats.configuration == configuration,
        stats.key == key,
        stats.seconds == seconds,
        stats.start >= span.start,
        stats.start < span.end,
    )
    return _rows(connection, wanted.order_by(stats.start).limit(limit))


def message(connection: Connection, message_id: str) -> Row | None:
    """One message with its tags, None where there is none."""
    return _first(connection, _tagged().where(messages.c.id == message_id))


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """Messages that hold all `words`, whatever their case, published before `until`."""

    words: Sequence[str] = ()
    sentiment: str | None = None
    topic: str | None = None
    company: str | None = None
    until: datetime | None = None


class Found(NamedTuple):
    """Messages, newest first; `next`: where a further search goes on, None at the end."""

    rows: list[Row]
    next: Cursor | None
    back_to: datetime | None


def search(connection: Connection, wanted: Search, after: Cursor | None, limit: int) -> Found:
    """The newest messages that fit, among the `SEARCHED_AT_ONCE` that follow `after`."""
    before = _before(messages.c.published_at, messages.c.id, after)
    if wanted.until is not None:
        before.append(messages.c.published_at < wanted.until)
    newest = (messages.c.published_at.desc(), messages.c.id)
    last = _first(
        connection,
        select(messages.c.published_at, messages.c.id)
        .where(*before)
        .order_by(*newest)
        .offset(SEARCHED_AT_ONCE - 1)
        .limit(1),
    )
    # Said of both tables, so that PostgreSQL reads the partitions of neither beyond it.
    times = (messages.c.published_at, tags.c.published_at)
    read_to = [time >= last["published_at"] for time in times] if last else []
    fits = _tagged().where(*before, *read_to, *_fitting(wanted)).order_by(*newest)
    rows = _rows(connection, fits.limit(limit + 1))
    if len(rows) > limit:
        rows = rows[:limit]
        end = Cursor(rows[-1]["published_at"], rows[-1]["id"])
        return Found(rows, end, end.at)
    if last is None:
        return Found(rows, None, None)
    return Found(rows, Cursor(last["published_at"], last["id"]), last["published_at"])


def messages_of(
    connection: Connection, configuration: str, key: str, before: datetime | None, limit: int
) -> list[Row]:
    """The newest messages that counted for a company or topic, published before `before`.

    The windows tell in which minutes there are any, so that nothing else is read.
    """
    stats, (kind, _, name) = window_stats.c, key.partition(":")
    minutes = select(stats.start).where(
        stats.configuration == configuration, stats.key == key, stats.seconds == MINUTE
    )
    if before is not None:
        minutes = minutes.where(stats.start < before)
    minutes = minutes.order_by(stats.start.desc()).limit(_MINUTES_AT_ONCE)
    fits = _of_company(name) if kind == "entity" else tags.c.topic == name
    rows: list[Row] = []
    for start in connection.scalars(minutes).all():
        end = start + timedelta(seconds=MINUTE)
        end = min(end, before) if before else end
        times = (tags.c.published_at, messages.c.published_at)
        within = [and_(time >= start, time < end) for time in times]
        query = (
            _tagged().where(fits, *within).order_by(tags.c.published_at.desc(), tags.c.message_id)
        )
        rows += _rows(connection, query)
        if len(rows) >= limit:
            break
    return rows[:limit]


def corrections_of(connection: Connection, message_id: str) -> list[Row]:
    """What people said that a message's labels should have been, in their order."""
    wanted = select(corrections).where(corrections.c.message_id == message_id)
    return _rows(connection, wanted.order_by(corrections.c.corrected_at, corrections.c.id))


def all_corrections(connection: Connection) -> list[Row]:
    """All that people corrected, in the order in which they did: the last word comes last."""
    order = (corrections.c.corrected_at, corrections.c.id)
    return _rows(connection, select(corrections).order_by(*order))


def _most_severe(
    connection: Connection,
    wanted: Queue,
    severities: Sequence[str],
    after: Cursor | None,
    limit: int,
) -> list[Row]:
    found: list[Row] = []
    reached = after is None
    for severity in severities:
        begins_here = after is not None and severity == after.severity
        if begins_here or reached:
            start = after if begins_here else None
            found += _page(connection, wanted, severity, start, limit - len(found))
            reached = True
        if len(found) >= limit:
            break
    return found


def _page(
    connection: Connection, wanted: Queue, severity: str, after: Cursor | None, limit: int
) -> list[Row]:
    opened, oldest = alerts.c.opened_at, wanted.order is Order.OLDEST
    conditions = [*_narrowed(wanted), alerts.c.severity == severity]
    conditions += _before(opened, alerts.c.id, after, backwards=oldest)
    # PostgreSQL reads an index in its order past "IS NULL" only if the order names the column.
    direction = [
        column if oldest else column.desc() for column in (*_leading(wanted.shelf), opened)
    ]
    place = select(alerts.c.id, opened, alerts.c.severity).where(*conditions)
    return _rows(connection, place.order_by(*direction, alerts.c.id).limit(limit))


def _without_texts(connection: Connection, ids: Sequence[str]) -> list[Row]:
    columns = [column for column in alerts.c if column.name != "evidence"]
    scale = alerts.c.evidence["scale_seconds"].as_integer().label("scale")
    found = {}
    for row in _rows(connection, select(*columns, scale).where(alerts.c.id.in_(ids))):
        found[row["id"]] = row
        row["evidence"] = {"scale_seconds": row.pop("scale")}
    return [found[alert_id] for alert_id in ids]


def _narrowed(wanted: Queue) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    match wanted.shelf:
        case Shelf.TO_DO:
            conditions.append(alerts.c.disposition.is_(None))
        case Shelf.OPEN:
            conditions.append(alerts.c.state == "open")
        case Shelf.UNSEEN:
            conditions += [alerts.c.state == "open", alerts.c.acknowledged_at.is_(None)]
        case Shelf.MINE:
            conditions.append(alerts.c.assigned_to == wanted.reader)
    for name in ("state", "severity", "key"):
        value = getattr(wanted, name)
        if value is not None:
            conditions.append(alerts.c[name] == value)
    return conditions


def _leading(shelf: Shelf) -> Iterable[ColumnElement[Any]]:
    columns = {Shelf.TO_DO: alerts.c.disposition, Shelf.UNSEEN: alerts.c.acknowledged_at}
    return [columns[shelf]] if shelf in columns else []


def _before(
    moment: ColumnElement[datetime],
    row_id: ColumnElement[str],
    after: Cursor | None,
    *,
    backwards: bool = False,
) -> list[ColumnElement[bool]]:
    if after is None:
        return []
    beyond = moment > after.at if backwards else moment < after.at
    at_most = moment >= after.at if backwards else moment <= after.at
    return [at_most, or_(beyond, and_(moment == after.at, row_id > after.id))]


def _fitting(wanted: Search) -> list[ColumnElement[bool]]:
    text = func.coalesce(messages.c.title, "") + "\n" + messages.c.text
    conditions = [text.icontains(word, autoescape=True) for word in wanted.words]
    if wanted.sentiment is not None:
        conditions.append(tags.c.sentiment == wanted.sentiment)
    if wanted.topic is not None:
        conditions.append(tags.c.topic == wanted.topic)
    if wanted.company is not None:
        conditions.append(_of_company(wanted.company))
    return conditions


def _of_company(name: str) -> ColumnElement[bool]:
    return cast(tags.c.entities, Text).contains(json.dumps(name), autoescape=True)


def _tagged() -> Select[Any]:
    columns = [
        messages.c[name]
        for name in ("id", "source", "published_at", "title", "text", "url", "language")
    ]
    columns += [
        tags.c[name]
        for name in (
            "sentiment",
            "topic",
            "negative",
            "neutral",
            "positive",
            "topics",
            "abstained",
            "entities",
            "by_entity",
            "story",
            "repeat",
            "model",
        )
    ]
    same = and_(tags.c.message_id == messages.c.id, tags.c.published_at == messages.c.published_at)
    return select(*columns).join(tags, same)


def _rows(connection: Connection, query: Select[Any]) -> list[Row]:
    return [dict(row) for row in connection.execute(query).mappings()]


def _first(connection: Connection, query: Select[Any]) -> Row | None:
    found = _rows(connection, query)
    return found[0] if found else None
