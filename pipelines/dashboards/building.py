"""All dashboards, and the folder from which Grafana provisions itself with them."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard
from sqlalchemy import func, select

from connectors.store import Store, schema
from pipelines.dashboards import alerts, company, health, market_mood, provisioning, topic

BOARDS: dict[str, Callable[[], Dashboard]] = {
    market_mood.UID: market_mood.build,
    company.UID: company.build,
    topic.UID: topic.build,
    alerts.UID: alerts.build,
    health.UID: health.build,
}

STREAM = timedelta(hours=24)
"""A store whose newest message is younger is that of a stream, of which so much is shown."""

Span = tuple[datetime, datetime]
Board = dict[str, Any]


def history(store: Store) -> Span | None:
    """The event time that the store holds, in whole hours, None where it holds nothing."""
    at = schema.tags.c.published_at
    # One by one: SQLite finds an end of an index by itself, both ends only by reading all of it.
    first, last = (select(end(at)).scalar_subquery() for end in (func.min, func.max))
    (found,) = store.rows(select(first.label("first"), last.label("last")))
    if found["first"] is None:
        return None
    hour = {"minute": 0, "second": 0, "microsecond": 0}  # buckets are shown by their start
    return found["first"].replace(**hour), found["last"].replace(**hour) + timedelta(hours=1)


def is_history(held: Span, now: datetime) -> bool:
    """Whether that is the time of a store that no stream fills any more."""
    return now - held[1] > STREAM


def boards(shown: Span | None, now: datetime) -> list[Board]:
    """Every dashboard as Grafana's JSON, by default over `shown` where that is history."""
    found = []
    for build in BOARDS.values():
        board = as_json(build())
        if shown is not None and is_history(shown, now):
            board["time"] = {name: _iso(at) for name, at in zip(("from", "to"), shown, strict=True)}
            board["refresh"] = ""
        found.append(board)
    return found


def variables() -> list[str]:
    """The names of what can be chosen on the dashboards; data sources are not meant."""
    lists = (as_json(build())["templating"]["list"] for build in BOARDS.values())
    return sorted({one["name"] for held in lists for one in held if one["type"] != "datasource"})


def as_json(board: Dashboard) -> Board:
    """The dashboard as plain values."""
    plain: Board = json.loads(json.dumps(board, cls=JSONEncoder))
    return plain


def write(folder: Path, shown: Span | None, *, seen_at: str | None = None) -> list[Path]:
    """Writes the tree that Grafana provisions itself from; returns the files.

    `seen_at`: where Grafana will find the folder, if elsewhere than it is now.
    """
    files = {
        f"dashboards/{board['uid']}.json": json.dumps(board, indent=2, ensure_ascii=False) + "\n"
        for board in boards(shown, datetime.now(UTC))
    }
    home = f"{seen_at or folder.resolve()}/dashboards"
    for name, content in provisioning.documents(home).items():
        text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=100)
        files[f"provisioning/{name}.yaml"] = text
    written = []
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        written.append(path)
    return written


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
