"""How fast the console answers over a large store: python -m tests.benchmarks.console [options].

Fills a store with a year of messages, their windows, and alerts with a ledger; starts the console
as users do; asks for each page again and again; prints the 50th and 95th percentile of each. A
dashboard is a page and a request for each panel: its line is that of the slowest of them, with
`--panels` there is one for each. First on SQLite, then on PostgreSQL where it is installed. Ends
with 1 where the 95th percentile of any request is above `--most` milliseconds.
"""

import argparse
import itertools
import random
import re
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import (
    JSON,
    BindParameter,
    ColumnElement,
    Connection,
    LargeBinary,
    String,
    Table,
    case,
    func,
    insert,
    literal,
    select,
    true,
    type_coerce,
)

from alerting import ledger
from alerting.alert import Alert
from alerting.decisions import MACHINE
from alerting.ledger import Entry, Point
from alerting.spike import KINDS, SEVERITIES
from connectors.store import Store
from connectors.store.schema import (
    UtcDateTime,
    alerts,
    dead_letters,
    late_messages,
    spikes,
    tags,
    window_stats,
)
from models.entities import Recogniser
from models.tags import SENTIMENTS, TOPICS
from pipelines.console.queries import Queue, Search, queue, search
from tests.pipelines.console.visiting import Visitor, at_work, populate, serving
from tests.servers import postgresql

START = datetime(2025, 1, 1, tzinfo=UTC)
YEAR = timedelta(days=365)
CONFIGURATION = "benchmark"
MODEL = {"name": "m", "version": "1", "checksum": "c" * 64, "numeric_path": "int8"}
WORDS = [
    "shares",
    "profit",
    "lawsuit",
    "earnings",
    "dividend",
    "analyst",
    "recall",
    "merger",
    "strike",
]
BATCH = 20_000


def main() -> None:
    """Fills, asks, prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--alerts", type=int, default=100_000)
    parser.add_argument("--companies", type=int, default=500)
    parser.add_argument("--requests", type=int, default=40, help="of each page")
    parser.add_argument("--panels", action="store_true", help="a line for each panel")
    parser.add_argument("--most", type=float, default=300.0, help="ms that a request may take")
    parser.add_argument("--database", help="An empty store, instead of one of each kind that goes.")
    given = parser.parse_args()
    slow: list[str] = []
    with ExitStack() as stack:
        for name, database in stores(given.database, stack):
            print(f"\n{name}: {given.messages:,} messages, {given.alerts:,} alerts", flush=True)
            begun = time.monotonic()
            fill(database, given.messages, given.alerts, given.companies)
            print(f"filled in {time.monotonic() - begun:.0f} s", flush=True)
            with serving(database, FORESHOCK_CONSOLE__REQUESTS_A_MINUTE="1000000") as url:
                found = ask(url, database, given)
            slow += [
                f"{name}: {one.page}, {one.p95:.0f} ms" for one in found if one.p95 > given.most
            ]
    if slow:
        sys.exit("\nabove {:g} ms at the 95th percentile:\n{}".format(given.most, "\n".join(slow)))


def stores(given: str | None, stack: ExitStack) -> Iterator[tuple[str, str]]:
    """Names and addresses of empty stores; those that were made go with the stack."""
    if given is not None:
        yield "the store given", given
        return
    folder = stack.enter_context(TemporaryDirectory())
    yield "SQLite", f"sqlite:///{Path(folder) / 'console.db'}"
    programs = postgresql.programs()
    if programs is None:
        print("\nPostgreSQL is not installed")
        return
    yield "PostgreSQL", stack.enter_context(postgresql.running(programs))


def fill(database: str, messages: int, alerts: int, companies: int) -> None:
    """All that the pages read."""
    chance = random.Random(6)
    names = sorted(Recogniser.default().table.companies)[:companies]
    if not database.startswith("sqlite"):
        Store.upgrade(database)
    with Store.open(database) as store:
        for rows in batches(message_rows(chance, messages, names)):
            with store.transaction() as tx:
                tx.upsert("messages", [row for row, _ in rows])
                tx.upsert("tags", [row for _, row in rows])
        _windows(store)
        end = Point()
        for found in batches(alert_rows(chance, alerts, names)):
            entries = [entry for one in found for entry in _entries(one)]
            rows = ledger.append(end, entries, START + YEAR, MACHINE)
            end = Point(rows[-1].sequence, rows[-1].hash)
            with store.transaction() as tx:
                tx.upsert_records("alerts", found)
                tx.upsert_records("alert_events", rows)
        _decide(store)
        populate(store)
        at_work(store)
        _deliveries(store, alerts)
        with store.engine.begin() as connection:
            _copy_alerts(connection)
            connection.exec_driver_sql("ANALYZE")
        if store.engine.dialect.name == "postgresql":  # as it does by itself after a while
            alone = store.engine.execution_options(isolation_level="AUTOCOMMIT")
            with alone.connect() as connection:
                connection.exec_driver_sql("VACUUM")


def batches(rows: Iterator[Any]) -> Iterator[list[Any]]:
    """The rows, some at a time."""
    while some := list(itertools.islice(rows, BATCH)):
        yield some


def message_rows(
    chance: random.Random, count: int, names: list[str]
) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Messages and tags through the year; some companies are written of far more than others."""
    weights = [1 / (rank + 5) for rank in range(len(names))]
    for number in range(count):
        at = START + YEAR * (number / count)
        company = chance.choices(names, weights)[0]
        text = f"${company} " + " ".join(chance.choices(WORDS, k=16))
        negative, neutral = chance.random(), chance.random()
        total = negative + neutral + 0.3
        shares = [negative / total, neutral / total, 0.3 / total]
        message = {
            "id": f"bench:{number}",
            "source": "bench",
            "published_at": at,
            "text": text,
            "entities": [company],
        }
        yield (
            message,
            {
                "message_id": message["id"],
                "published_at": at,
                "sentiment": SENTIMENTS[shares.index(max(shares))],
                "topic": chance.choice(TOPICS),
                **dict(zip(SENTIMENTS, shares, strict=True)),
                "topics": [0.05] * len(TOPICS),
                "abstained": max(shares) < 0.4,
                "entities": [company],
                "by_entity": None,
                "listing": False,
                "story": message["id"],
                "repeat": False,
                "model": MODEL,
            },
        )


def _windows(store: Store) -> None:
    """Minutes and hours of every key, summed up by the database: the pipeline would take hours."""
    company = tags.c.entities[0].as_string()
    keys = (literal("overall"), "topic:" + tags.c.topic, "entity:" + company)
    for seconds in (60, 3600):
        for key in keys:
            with store.engine.begin() as connection:
                connection.execute(_summed(store, key, seconds))


def _summed(store: Store, key: Any, seconds: int) -> Any:
    start = _truncated(store, seconds)
    one = func.count()
    zero = literal(0)

    def of(sentiment: str) -> ColumnElement[Any]:
        return func.sum(case((tags.c.sentiment == sentiment, 1), else_=0))

    columns = {
        "key": key,
        "start": start,
        "seconds": literal(seconds),
        "configuration": literal(CONFIGURATION),
        "messages": one,
        "negative": of("negative"),
        "neutral": of("neutral"),
        "positive": of("positive"),
        "abstained": zero,
        "new_negative": of("negative"),
        "new_neutral": of("neutral"),
        "new_positive": of("positive"),
        "repeats": zero,
        "repeats_negative": zero,
        "weight_new": one * 1_000_000,
        "weight_new_negative": of("negative") * 1_000_000,
        "weight_repeats": zero,
        "weight_repeats_negative": zero,
        "score_sum": zero,
        "sources": literal(1),
        "final": literal(True),
        "frontier": start,
    }
    selected = [column.label(name) for name, column in columns.items()]
    return insert(window_stats).from_select(
        list(columns), select(*selected).group_by(*_grouped(key), start)
    )


def _grouped(key: Any) -> list[Any]:
    return [] if isinstance(key, BindParameter) else [key]


def _truncated(store: Store, seconds: int) -> Any:
    column = tags.c.published_at
    if store.engine.dialect.name == "postgresql":
        return func.date_trunc("minute" if seconds == 60 else "hour", column, type_=UtcDateTime())
    kept, rest = (16, ":00.000000") if seconds == 60 else (13, ":00:00.000000")
    return func.substr(type_coerce(column, String), 1, kept).op("||")(rest)


def alert_rows(chance: random.Random, count: int, names: list[str]) -> Iterator[Alert]:
    """Alerts through the year; a tenth is open."""
    for number in range(count):
        at = START + YEAR * (number / count)
        is_open = number % 10 == 0
        spike = f"spike{number}"
        ids = [f"bench:{number * 7 + i}" for i in range(5)]
        yield Alert(
            id=f"{number:024x}",
            key=f"entity:{chance.choice(names)}",
            kind=chance.choice(KINDS),
            state="open" if is_open else "resolved",
            severity=chance.choices(SEVERITIES, (60, 25, 12, 3))[0],
            opened_at=at,
            updated_at=at + timedelta(minutes=30),
            resolved_at=None if is_open else at + timedelta(hours=4),
            peak_surprise=chance.uniform(2, 12),
            peak_observed=float(chance.randint(4, 60)),
            expected_at_peak=chance.random(),
            first_spike_id=spike,
            peak_spike_id=spike,
            last_spike_id=spike,
            spikes=1,
            evidence=_evidence(at, ids),
            configuration=CONFIGURATION,
            model="m",
        )


def _evidence(at: datetime, ids: list[str]) -> dict[str, Any]:
    shown = {
        "source": "bench",
        "title": None,
        "text": "$AMZN shares plunge after the regulator opens a probe into " + "its business " * 9,
        "url": None,
        "published_at": at.isoformat(),
        "sentiment": "negative",
        "negative": 0.9,
        "neutral": 0.1,
        "positive": 0.0,
        "abstained": False,
        "topic": "Earnings",
        "repeat": False,
        "repeats": 1,
        "words": [(6, 12, 0.2), (13, 19, 0.4)],
    }
    return {
        "window_end": at.isoformat(),
        "scale_seconds": 3600,
        "log10_tail": -6.5,
        "negative_share": 0.8,
        "expected_negative_share": 0.1,
        "counts": {"negative": 6, "repeats": 1, "repeats_negative": 1},
        "sources": 1,
        "stories": 5,
        "message_ids": ids,
        "messages": [{"id": one, **shown} for one in ids],
    }


def _entries(alert: Alert) -> Iterator[Entry]:
    plain = msgspec.to_builtins(alert)
    plain["evidence"] = {k: v for k, v in plain["evidence"].items() if k != "messages"}
    for event in ("opened", "updated") if alert.state == "open" else ("opened", "resolved"):
        yield Entry(
            event_id=f"{alert.id}{event}",
            alert_id=alert.id,
            event=event,
            occurred_at=alert.opened_at,
            details={"spike_id": alert.first_spike_id, "alert": plain},
        )


def _deliveries(store: Store, alerts: int) -> None:
    """One for each alert; a fiftieth is dead."""
    rows = (
        {
            "id": f"delivery{number}",
            "alert_id": f"{number:024x}",
            "event_id": f"{number:024x}opened",
            "channel": "desk",
            "recipient": "jane@example.org",
            "payload": {"text": "words " * 100},
            "state": "dead" if number % 50 == 0 else "delivered",
            "attempts": 1,
            "last_error": "x.example answered 500",
            "recorded_at": START + YEAR * (number / alerts),
        }
        for number in range(alerts)
    )
    for some in batches(rows):
        with store.transaction() as tx:
            tx.upsert("deliveries", some)


def _copy_alerts(connection: Connection) -> None:
    """For each alert a spike; for each that is open a late message and a dead letter."""
    alert = alerts.c
    numbers = ("observed", "expected", "dispersion", "log10_tail", "surprise", "threshold")
    _copy(
        connection,
        spikes,
        true(),
        id=alert.id,
        key=alert.key,
        kind=alert.kind,
        phase=literal("opening"),
        window_start=alert.opened_at,
        window_end=alert.opened_at,
        scale_seconds=literal(3600),
        **dict.fromkeys((*numbers, "negative_share", "expected_negative_share"), literal(1.5)),
        severity=alert.severity,
        counts=literal({}, JSON),
        message_ids=literal([], JSON),
        configuration=alert.configuration,
        model=alert.model,
        final=true(),
    )
    _copy(
        connection,
        late_messages,
        alert.state == "open",
        message_id=alert.id,
        published_at=alert.opened_at,
        frontier=alert.opened_at,
        reason=alert.severity,
    )
    _copy(
        connection,
        dead_letters,
        alert.state == "open",
        id=alert.id,
        source=alert.model,
        stage=alert.severity,
        reason=alert.kind,
        error=alert.kind,
        payload=literal(b"{" * 300, LargeBinary),
        payload_size=literal(300),
        recorded_at=alert.opened_at,
    )


def _copy(connection: Connection, table: Table, which: ColumnElement[bool], **columns: Any) -> None:
    values = (value.label(name) for name, value in columns.items())
    connection.execute(insert(table).from_select(list(columns), select(*values).where(which)))


def _decide(store: Store) -> None:
    """People have dealt with nine tenths of what is resolved; the queue is long all the same."""
    table = "UPDATE alerts SET acknowledged_at = updated_at, acknowledged_by = 'carl'"
    with store.engine.begin() as connection:
        connection.exec_driver_sql(
            f"{table}, disposition = 'false-alarm', disposition_reason = 'x', assigned_to = 'carl'"
            " WHERE state = 'resolved' AND substr(id, 24) <> '7'"
        )
        connection.exec_driver_sql(f"{table} WHERE state = 'open' AND substr(id, 24) = '0'")


Address = Callable[[], str]
"""Of a page: another alert, company or word each time."""


class Measured(NamedTuple):
    """What the requests of a page took, in ms."""

    page: str
    p50: float
    p95: float
    most: float

    def show(self) -> None:
        """A line of the table."""
        print(f"{self.page:<64}{self.p50:>8.0f}{self.p95:>8.0f}{self.most:>8.0f}", flush=True)


def ask(url: str, database: str, given: argparse.Namespace) -> list[Measured]:
    """Each page, and each panel of the dashboards, `--requests` times."""
    chance = random.Random(7)
    carl = Visitor(url, "carl")
    with Store.open(database) as store, store.snapshot() as connection:
        rows, _ = queue(connection, Queue(), None, 500)
        deep = queue(connection, Queue(), None, given.alerts // 20)[1]
        far = search(connection, Search(), None, 500).next
    keys = [row["key"].partition(":")[2] for row in rows]
    pages: dict[str, Address] = {
        "queue, to do": lambda: "/alerts",
        "queue, open, newest": lambda: "/alerts?shelf=open&order=newest",
        "queue, mine": lambda: "/alerts?shelf=mine",
        "queue, all, deep": lambda: f"/alerts?shelf=all&order=newest&after={deep.encode()}",
        "alert": lambda: f"/alerts/{chance.choice(rows)['id']}",
        "mood, 7 days": lambda: "/mood?days=7",
        "mood, 28 days": lambda: "/mood?days=28",
        "mood, 13 weeks": lambda: "/mood?days=91",
        "company": lambda: f"/companies/{chance.choice(keys)}",
        "topic": lambda: "/topics/Earnings",
        "messages, newest": lambda: "/messages",
        "messages, a word": lambda: f"/messages?q={chance.choice(WORDS)}",
        "messages, no hit": lambda: f"/messages?q=nowhere{chance.random()}",
        "messages, deep": lambda: f"/messages?q=nowhere&after={far.encode()}",
        "message": lambda: f"/messages/bench:{chance.randrange(1000)}",
        "silences": lambda: "/silences",
        "rules": lambda: "/rules",
        "deliveries": lambda: "/deliveries",
        "ledger": lambda: "/ledger",
        "account": lambda: "/account",
        "api, alerts": lambda: "/api/v1/alerts",
        "api, messages": lambda: "/api/v1/messages?q=lawsuit",
        "api, windows": lambda: (
            f"/api/v1/windows?key=entity:{chance.choice(keys)}"
            "&start=2025-06-01T00:00:00Z&end=2026-01-01T00:00:00Z"
        ),
    }
    print(f"{'page':<64}{'p50':>8}{'p95':>8}{'most':>8}   ms")
    found = []
    for name, address in pages.items():
        found.append(_measured(carl, name, address, given.requests))
        found[-1].show()
    for dashboard in _dashboards(carl, lambda: chance.choice(keys)):
        parts = [_measured(carl, *part, given.requests) for part in dashboard.items()]
        slowest = max(parts, key=lambda part: part.p95)
        for one in parts if given.panels else [slowest]:
            one.show()
        found += parts
    return found


def _dashboards(carl: Visitor, company: Callable[[], str]) -> Iterator[dict[str, Address]]:
    """Of each dashboard, over each period that it offers: its page, and its panels."""
    for board in ("mood", "company", "topic", "alerts", "health"):
        page = carl.get(f"/dashboards/{board}").text
        panels = re.findall(r'panel=(\d+)">Show<span class="unseen"> ([^<]+)<', page)
        assert panels, board
        # Without a name the page looks for the company with most messages; its panels have one.
        of, named = f"/dashboards/{board}", company if board == "company" else None
        for days in re.findall(r'\?days=(\d+)"', page):
            what = f"{board}, {days} days"
            yield {what: _address(f"{of}?days={days}")} | {
                f"{what}: {title}": _address(of, named, f"?days={days}&panel={number}")
                for number, title in panels
            }


def _address(of: str, name: Callable[[], str] | None = None, shown: str = "") -> Address:
    return lambda: f"{of}/{name()}{shown}" if name else f"{of}{shown}"


def _measured(visitor: Visitor, page: str, address: Address, requests: int) -> Measured:
    _timed(visitor, address())
    took = sorted(_timed(visitor, address()) for _ in range(requests))
    p95 = statistics.quantiles(took, n=20, method="inclusive")[-1]
    return Measured(page, statistics.median(took), p95, took[-1])


def _timed(visitor: Visitor, path: str) -> float:
    begun = time.perf_counter()
    answer = visitor.get(path)
    took = (time.perf_counter() - begun) * 1000
    assert answer.status_code == 200, (path, answer.status_code)
    return took


if __name__ == "__main__":
    main()
