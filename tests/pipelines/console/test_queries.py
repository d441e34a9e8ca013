"""Pages of rows on both kinds of store: in order, each once, and read from an index."""

import itertools
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import event, select

from alerting.spike import SEVERITIES
from connectors.store import Store
from connectors.store.schema import metadata
from pipelines.console import queries
from pipelines.console.queries import Cursor, Order, Queue, Search, Shelf
from pipelines.report.queries import Period
from tests.pipelines.report_rows import CONFIGURATION, START, alert, filled

SHELVES = tuple(Shelf)
ORDERS = tuple(Order)


def some_alerts() -> list[dict[str, Any]]:
    """Of every severity, some at the same moment, open and resolved."""
    return [
        alert(
            id=f"a{number:02}",
            severity=SEVERITIES[number % 4],
            state="open" if number % 3 else "resolved",
            key=f"entity:{'AMZN' if number % 2 else 'AAPL'}",
            opened_at=START + timedelta(hours=number // 5),
            updated_at=START + timedelta(hours=number // 5),
        )
        for number in range(24)
    ]


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    with filled(store_url, alerts=some_alerts()) as opened:
        with opened.transaction() as tx:
            for number in range(0, 24, 5):
                at = datetime(2026, 3, 1, tzinfo=UTC)
                tx.decide(f"a{number:02}", {"acknowledged_at": at, "acknowledged_by": "ann"})
            tx.decide("a07", {"assigned_to": "ann"})
            tx.decide("a08", {"disposition": "duplicate", "assigned_to": "ann"})
        yield opened


def walked(store: Store, wanted: Queue, size: int) -> list[dict[str, Any]]:
    """All pages of a queue, as somebody turns them."""
    rows, after = [], None
    with store.snapshot() as connection:
        while True:
            page, after = queries.queue(connection, wanted, after, size)
            rows += page
            if after is None:
                return rows
            after = Cursor.decode(after.encode())


def test_every_queue_in_every_order_holds_what_belongs_there_once(store: Store) -> None:
    everything = store.alerts()
    belongs = {
        Shelf.TO_DO: lambda row: row["disposition"] is None,
        Shelf.OPEN: lambda row: row["state"] == "open",
        Shelf.UNSEEN: lambda row: row["state"] == "open" and row["acknowledged_at"] is None,
        Shelf.MINE: lambda row: row["assigned_to"] == "ann",
        Shelf.ALL: lambda row: True,
    }
    for shelf, order in itertools.product(SHELVES, ORDERS):
        wanted = Queue(shelf=shelf, order=order, reader="ann")
        rows = walked(store, wanted, 3)
        expected = [row["id"] for row in everything if belongs[shelf](row)]
        assert sorted(row["id"] for row in rows) == sorted(expected), (shelf, order)
        assert rows == walked(store, wanted, 500)
        moments = [row["opened_at"] for row in rows]
        ranks = [SEVERITIES.index(row["severity"]) for row in rows]
        if order is Order.SEVERE:
            assert ranks == sorted(ranks, reverse=True)
        else:
            assert moments == sorted(moments, reverse=order is Order.NEWEST)
        with store.snapshot() as connection:
            assert queries.count(connection, wanted) == len(rows)


def test_a_queue_is_narrowed_by_severity_state_and_key(store: Store) -> None:
    rows = walked(store, Queue(severity="high", state="open", key="entity:AAPL"), 2)
    found = {(row["severity"], row["state"], row["key"]) for row in rows}
    assert found == {("high", "open", "entity:AAPL")}


def test_a_search_that_stops_goes_on_to_the_end(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queries, "SEARCHED_AT_ONCE", 7)
    seen: list[str] = []
    after, pages = None, 0
    with store.snapshot() as connection:
        while pages == 0 or after is not None:
            found = queries.search(connection, Search(words=("AMZN", "MISSES")), after, 4)
            seen += [row["id"] for row in found.rows]
            after, pages = found.next, pages + 1
            assert (found.back_to is None) == (after is None)
    assert len(seen) == len(set(seen)) == 30
    assert pages > 4


def test_a_search_reads_no_partition_beyond_what_it_searches(
    postgresql_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queries, "SEARCHED_AT_ONCE", 7)
    Store.upgrade(postgresql_url)
    asked: list[tuple[str, Any]] = []
    with filled(postgresql_url) as store:
        old = START - timedelta(days=90)
        copies = {"messages": {"id": "old"}, "tags": {"message_id": "old"}}
        for name, renamed in copies.items():
            row = store.rows(select(metadata.tables[name]).limit(1))[0]
            with store.transaction() as tx:
                tx.upsert(name, [{**row, **renamed, "published_at": old}])

        @event.listens_for(store.engine, "before_cursor_execute")
        def _note(_c: Any, _cursor: Any, statement: str, parameters: Any, *_rest: Any) -> None:
            asked.append((statement, parameters))

        with store.snapshot() as connection:
            queries.search(connection, Search(), None, 5)
            statement, parameters = asked[-1]
            plan = connection.exec_driver_sql(f"EXPLAIN {statement}", parameters).scalars().all()
    assert any(f"tags_{START:%Y_%m}" in step for step in plan)
    assert not any(f"_{old:%Y_%m}" in step for step in plan)


def test_a_companys_messages_are_found_by_its_minutes_and_no_others(store: Store) -> None:
    with store.snapshot() as connection:
        whole = queries.messages_of(connection, CONFIGURATION, "entity:AMZN", None, 100)
        first = queries.messages_of(connection, CONFIGURATION, "entity:AMZN", None, 10)
        until = first[-1]["published_at"]
        rest = queries.messages_of(connection, CONFIGURATION, "entity:AMZN", until, 100)
        assert queries.messages_of(connection, CONFIGURATION, "entity:MSFT", None, 100) == []
        assert not queries.known(connection, CONFIGURATION, "entity:MSFT")
    assert [row["id"] for row in [*first, *rest]] == [row["id"] for row in whole]
    assert len(whole) == 30


def test_the_newest_configuration_is_that_of_the_newest_windows(store: Store) -> None:
    with store.snapshot() as connection:
        assert queries.newest_configuration(connection) == CONFIGURATION
        rows = queries.windows(
            connection, CONFIGURATION, "overall", 3600, Period(START, START + timedelta(days=3)), 9
        )
    newer = {**rows[0], "start": START + timedelta(days=9)}
    later = [{**newer, "configuration": name} for name in "01"]
    with store.transaction() as tx:
        tx.upsert("window_stats", later)
    with store.snapshot() as connection:
        assert queries.newest_configuration(connection) == "0"


@given(st.datetimes(timezones=st.just(UTC)), st.text(), st.sampled_from(SEVERITIES))
def test_a_cursor_comes_back_as_it_was(at: datetime, row_id: str, severity: str) -> None:
    cursor = Cursor(at, row_id, severity)
    if "\0" in row_id:
        with pytest.raises(ValueError, match="no cursor"):
            Cursor.decode(cursor.encode())
    else:
        assert Cursor.decode(cursor.encode()) == cursor


@given(st.text())
def test_what_is_no_cursor_is_refused_and_nothing_else_happens(text: str) -> None:
    with suppress(ValueError):  # and no other error
        assert isinstance(Cursor.decode(text), Cursor)


def test_pages_are_read_from_indexes(tmp_path: Path) -> None:
    with filled(tmp_path / "store.db", alerts=some_alerts()) as store:
        asked: list[tuple[str, Any]] = []

        @event.listens_for(store.engine, "before_cursor_execute")
        def _note(_c: Any, _cursor: Any, statement: str, parameters: Any, *_rest: Any) -> None:
            if statement.startswith("SELECT"):
                asked.append((statement, parameters))

        after = Cursor(START + timedelta(hours=2), "a10", "high")
        with store.snapshot() as connection:
            for shelf, order, start in itertools.product(SHELVES, ORDERS, (None, after)):
                queries.queue(connection, Queue(shelf=shelf, order=order, reader="x"), start, 5)
            queries.queue(connection, Queue(key="entity:AMZN"), None, 5)
            queries.search(connection, Search(words=("x",)), after, 5)
            queries.messages_of(connection, CONFIGURATION, "entity:AMZN", None, 5)
            queries.newest_configuration(connection)
            queries.events_of(connection, "a01")
            queries.events_after(connection, 1, 5)
        assert len(asked) > 100
        with store.engine.connect() as connection:
            for statement, parameters in asked:
                plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
                for *_, step in plan:
                    whole = step.startswith("SCAN") and "USING" not in step
                    assert not whole, (step, statement)
                    assert step != "USE TEMP B-TREE FOR ORDER BY", (step, statement)
