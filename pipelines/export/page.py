"""The dossier as one HTML page that a person reads, and a machine may: its data is in it too."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import msgspec

from alerting.ledger import LedgerRow
from connectors.store.schema import PEOPLE_COLUMNS
from pipelines.export.dossier import Dossier, Row
from pipelines.naming import headline
from pipelines.report import document, inert, wording
from pipelines.report.content import Table

_FIGURES = (
    "kind",
    "severity",
    "state",
    "opened_at",
    "updated_at",
    "resolved_at",
    "final",
    "peak_observed",
    "expected_at_peak",
    "peak_surprise",
    "spikes",
    "configuration",
    "model",
    *PEOPLE_COLUMNS,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertPart:
    """What the page shows of one alert."""

    id: str
    title: str
    figures: Table
    evidence: Table
    spikes: Table
    messages: Sequence[tuple[str, str, Table]]
    events: Table


def render(dossier: Dossier) -> str:
    """The page as HTML: no script of its own, nothing to load, hostile text inert."""
    template = files(__package__).joinpath("page.html").read_text(encoding="utf-8")
    return document.document(
        template,
        {},
        alerts=[_alert(dossier, row, dossier.events[row["id"]]) for row in dossier.alerts],
        runs=[(row["id"], _pretty(row["manifest"])) for row in dossier.runs],
        end=dossier.end,
    )


def _alert(dossier: Dossier, row: Row, events: Sequence[LedgerRow]) -> AlertPart:
    named = set(row["evidence"]["message_ids"])
    found = {event.details.get("spike_id") for event in events}
    figures = {name: value for name, value in row["evidence"].items() if name != "messages"}
    return AlertPart(
        id=row["id"],
        title=inert.visible(headline(row)),
        figures=_pairs({name: row[name] for name in _FIGURES if row[name] is not None}),
        evidence=_pairs(figures),
        spikes=_table([one for one in dossier.spikes if one["id"] in found], _SPIKE),
        messages=[_message(one) for one in dossier.messages if one["id"] in named],
        events=Table(
            columns=("Row", "Recorded", "Happened", "Event", "By", "Says", "Hash"),
            rows=[_event(event) for event in events],
        ),
    )


_SPIKE = ("id", "window_start", "window_end", "observed", "expected", "surprise", "run_id")


def _event(event: LedgerRow) -> tuple[str, ...]:
    says = {name: value for name, value in event.details.items() if name != "alert"}
    return (
        str(event.sequence),
        _plain(event.recorded_at),
        _plain(event.occurred_at),
        event.event if event.final else f"{event.event} (provisional)",
        inert.visible(event.actor),
        _plain(says),
        event.hash,
    )


def _message(row: Row) -> tuple[str, str, Table]:
    """Its heading, its text, and what is known of it."""
    heading = f"{row['id']}, {row['source']}, {wording.time(row['published_at'])}"
    text = "\n".join(part for part in (row["title"], row["text"]) if part)
    tags = row["tags"] or {}
    names = ("sentiment", "negative", "neutral", "positive", "topic", "abstained", "by_entity")
    known = {name: tags.get(name) for name in names} | {
        "story": tags.get("story"),
        "repeat": tags.get("repeat"),
        "model": tags.get("model"),
        "salt": row["salt"],
    }
    return inert.visible(heading), inert.visible(text), _pairs(known)


def _pairs(values: Row) -> Table:
    return Table(
        columns=("What", "Value"), rows=[(name, _plain(value)) for name, value in values.items()]
    )


def _table(rows: Sequence[Row], columns: Sequence[str]) -> Table:
    return Table(columns=columns, rows=[[_plain(row[name]) for name in columns] for row in rows])


def _plain(value: Any) -> str:
    text = value if isinstance(value, str) else msgspec.to_builtins(value)
    return inert.visible(text if isinstance(text, str) else _line(text))


def _line(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def _pretty(value: Any) -> str:
    return inert.visible(json.dumps(value, ensure_ascii=False, sort_keys=True, indent=2))
