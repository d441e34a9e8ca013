"""Rows of the store as the templates show them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

import msgspec
from sqlalchemy import Connection

from alerting import ledger
from alerting.decisions import MACHINE
from alerting.errors import LedgerError
from alerting.ledger import LedgerRow
from connectors.store.schema import PEOPLE_COLUMNS
from models.tags import TOPICS
from pipelines.console.queries import Row, opened
from pipelines.naming import display_name
from pipelines.report import content, figures, inert, queries, wording
from pipelines.report.content import AlertView, Chart, CompanyView, MessageView, Reader
from pipelines.report.queries import HOUR, Evidence, Period

_MOST_BARS = 190
_MARKED = 100
_COMPANIES_WITHIN = timedelta(days=14)
"""All companies are compared over no longer than this: their hours are many."""

_QUIET = {"alert", "spike_id", "set"}
"""Details of an event that the page shows elsewhere, or as what it sets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One alert in a queue."""

    id: str
    title: str
    subject: str
    href: str
    sentence: str
    severity: str
    state: str
    marks: Sequence[str]
    opened_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One row of an alert's history. `says`: (what, value)."""

    sequence: int
    event: str
    actor: str
    by_machine: bool
    recorded_at: datetime
    occurred_at: datetime
    says: Sequence[tuple[str, str]]
    hash: str
    whole: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Mood:
    """Mood and volume of one key, and of its parts where it is the whole market."""

    period: str
    mood: Chart
    totals: Sequence[tuple[str, str]]
    topics: Chart | None = None
    companies: Sequence[CompanyView] = ()
    companies_since: str = ""


def line(row: Row, now: datetime) -> Line:
    """An alert's row in a queue."""
    return Line(
        id=row["id"],
        title=inert.visible(wording.title(row, display_name(row["key"]))),
        subject=inert.visible(display_name(row["key"])),
        href=f"/alerts/{row['id']}",
        sentence=wording.against(row, row["evidence"].get("scale_seconds")),
        severity=row["severity"],
        state=row["state"],
        marks=[inert.visible(mark) for mark in _marks(row, now)],
        opened_at=row["opened_at"],
    )


def _marks(row: Row, now: datetime) -> list[str]:
    marks = [] if row["final"] else ["provisional"]
    if row["acknowledged_by"]:
        marks.append(f"seen by {row['acknowledged_by']}")
    if row["assigned_to"]:
        marks.append(f"for {row['assigned_to']}")
    if row["snoozed_until"] and row["snoozed_until"] > now and row["state"] == "open":
        marks.append(f"snoozed until {wording.time(row['snoozed_until'])}")
    if row["disposition"]:
        marks.append(row["disposition"])
    return marks


def alert_in_full(connection: Connection, row: Row) -> AlertView:
    """The evidence of an alert, with the report's charts."""
    span = queries.period(connection, row["configuration"]) or Period(
        row["opened_at"] - timedelta(days=1), row["updated_at"] + timedelta(days=1)
    )
    return content.alert_in_full(_reader(connection, row["configuration"], span), 1, row)


def history(rows: Sequence[Row]) -> list[Event]:
    """The ledger's rows on an alert; `whole` where a row's hash is that of what it says."""
    return [_event(LedgerRow(**row)) for row in rows]


def _event(row: LedgerRow) -> Event:
    says = {name: value for name, value in row.details.items() if name not in _QUIET}
    says |= row.details.get("set") or {}
    if "alert" in row.details:
        found = row.details["alert"]
        says = {"severity": found["severity"], "observed": found["peak_observed"]} | says
    return Event(
        sequence=row.sequence,
        event=row.event,
        actor=inert.visible(row.actor),
        by_machine=row.actor == MACHINE,
        recorded_at=row.recorded_at,
        occurred_at=row.occurred_at,
        says=[(name.replace("_", " "), _plain(name, value)) for name, value in says.items()],
        hash=row.hash,
        whole=_whole(row),
    )


def _whole(row: LedgerRow) -> bool:
    try:
        return ledger.link(row.previous_hash, ledger.content_digest(row)) == row.hash
    except (LedgerError, ValueError):
        return False


def _plain(name: str, value: Any) -> str:
    if name in PEOPLE_COLUMNS and name.endswith(("_at", "_until")) and isinstance(value, str):
        return wording.time(datetime.fromisoformat(value))
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return inert.visible(text)


def market(connection: Connection, configuration: str, days: int) -> Mood | None:
    """The whole market in the last `days` of which there is anything."""
    span = _last(connection, configuration, days)
    if span is None:
        return None
    reader = _reader(connection, configuration, span)
    step = figures.bucket_seconds(span, _MOST_BARS)
    recent = Period(max(span.start, span.end - _COMPANIES_WITHIN), span.end)
    since, companies = content.companies_by_change(replace(reader, span=recent), step)
    mood = _mood(reader, "overall", step)
    return replace(
        mood,
        topics=content.topics_chart(reader, [f"topic:{topic}" for topic in TOPICS]),
        companies=companies,
        companies_since=since,
    )


def subject(connection: Connection, configuration: str, key: str, days: int) -> Mood | None:
    """One company or topic in the last `days` of which there is anything."""
    span = _last(connection, configuration, days)
    if span is None:
        return None
    reader = _reader(connection, configuration, span)
    return _mood(reader, key, figures.bucket_seconds(span, _MOST_BARS))


def message(row: Row, entity: str | None = None) -> MessageView:
    """A message with its tags; with `entity`, as the model judged it for that company."""
    row = {**row, **((row["by_entity"] or {}).get(entity, {}) if entity else {})}
    names = ("id", "source", "published_at", "title", "text", "url", "sentiment")
    shares = ("negative", "neutral", "positive", "abstained", "repeat")
    found = Evidence(**{name: row[name] for name in (*names, *shares)}, copies=0, words=())
    return content.message_view(found)


def subject_path(key: str) -> str | None:
    """The page of a key; None for the whole market."""
    kind, _, name = key.partition(":")
    folder = {"entity": "companies", "topic": "topics"}.get(kind)
    return f"/{folder}/{quote(name, safe='')}" if folder else None


def dashboard_path(key: str) -> str:
    """The dashboard of a company or a topic."""
    kind, _, name = key.partition(":")
    return f"/dashboards/{'company' if kind == 'entity' else kind}/{quote(name, safe='')}"


def _last(connection: Connection, configuration: str, days: int) -> Period | None:
    whole = queries.period(connection, configuration)
    if whole is None:
        return None
    return Period(max(whole.start, whole.end - timedelta(days=days)), whole.end)


def _reader(connection: Connection, configuration: str, span: Period) -> Reader:
    return Reader(
        connection=connection,
        configuration=configuration,
        explain=None,
        display_name=display_name,
        span=span,
    )


def _mood(reader: Reader, key: str, step: int) -> Mood:
    found = queries.buckets(reader.connection, reader.configuration, [key], step, reader.span)
    buckets = found[key]
    alerts = opened(reader.connection, reader.span, None if key == "overall" else key, _MARKED)
    negative = sum(bucket.negative for bucket in buckets)
    sure = sum(bucket.messages - bucket.abstained for bucket in buckets)
    last = reader.span.end - timedelta(seconds=HOUR)
    return Mood(
        period=f"{wording.day(reader.span.start)} – {wording.day(last)}",
        mood=content.mood_chart(reader, buckets, step, alerts),
        totals=[
            ("Messages", wording.number(sum(bucket.messages for bucket in buckets))),
            ("Distinct stories", wording.number(sum(bucket.stories for bucket in buckets))),
            ("Negative share", wording.percent(negative / sure if sure else None)),
        ],
    )
