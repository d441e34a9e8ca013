"""No query of the dashboards or the console reads all messages or all windows of a large store."""

import itertools
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from sqlalchemy import event

from connectors.store import Store
from pipelines.console import queries, views
from pipelines.console.queries import Cursor, Order, Queue, Search, Shelf
from pipelines.dashboards import alerts
from pipelines.dashboards.asking import Scope, for_sqlite
from pipelines.dashboards.building import Span, boards, history
from pipelines.dashboards.checking import check
from pipelines.report.queries import HOUR, MINUTE, Period
from tests.benchmarks.console import CONFIGURATION
from tests.benchmarks.dashboards import fill

MESSAGES, ALERTS = 40_000, 1_000

_READS_ALL = {  # of a partition without a row nothing is read
    "postgresql": re.compile(r"Seq Scan on (?:messages|window_stats).*cost=0\.00\.\.(?!0\.0)"),
    "sqlite": re.compile(r"^SCAN (?:messages|window_stats|m|w)\b"),
}

Asked = list[tuple[str, Any]]
"""Statements and their parameters."""


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def large(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Store]:
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('large') / 'store.db'}"
    else:
        server: str = request.getfixturevalue("postgresql_server")
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute("DROP DATABASE IF EXISTS large")
            connection.execute("CREATE DATABASE large")
        url = f"{server.rpartition('/')[0]}/large"
    fill(url, MESSAGES, ALERTS)
    with Store.open(url) as store:
        yield store


@pytest.fixture(scope="module")
def year(large: Store) -> Span:
    found = history(large)
    assert found is not None
    return found


@pytest.mark.parametrize("days", [366, 30, 1])
def test_a_dashboard_finds_what_it_draws_by_indexes(large: Store, year: Span, days: int) -> None:
    end = year[1] - timedelta(minutes=37)
    shown = end - timedelta(days=days), end
    with asked_of(large) as asked:
        done = [
            one for board in boards(shown, datetime.now(UTC)) for one in check(board, large, shown)
        ]
    assert not [one for one in done if one.status == "failed"]
    assert len(asked) > 40
    assert reading_all(large, asked) == []


def test_the_console_finds_what_it_shows_by_indexes(
    large: Store, year: Span, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queries, "SEARCHED_AT_ONCE", MESSAGES // 100)  # as of a million
    middle = year[0] + (year[1] - year[0]) / 2
    span = Period(*year)
    after = Cursor(middle, "0" * 24, "high")
    with asked_of(large) as asked, large.snapshot() as connection:
        for shelf, order, start in itertools.product(Shelf, Order, (None, after)):
            queries.queue(connection, Queue(shelf=shelf, order=order, reader="carl"), start, 50)
        rows, _ = queries.queue(connection, Queue(), None, 1)
        key, company = rows[0]["key"], rows[0]["key"].partition(":")[2]
        queries.queue(connection, Queue(key=key), None, 50)
        queries.newest_configuration(connection)
        queries.known(connection, CONFIGURATION, key)
        for seconds in (MINUTE, HOUR):
            queries.windows(connection, CONFIGURATION, key, seconds, span, 500)
        for wanted in (Search(), Search(words=("lawsuit",)), Search(company=company, until=middle)):
            queries.search(connection, wanted, after, 50)
        for subject in (key, "topic:Earnings"):
            for days in (1, 28, 366):
                views.subject(connection, CONFIGURATION, subject, days)
            queries.messages_of(connection, CONFIGURATION, subject, middle, 50)
        for days in (1, 28, 366):
            views.market(connection, CONFIGURATION, days)
        found = queries.alert(connection, rows[0]["id"])
        assert found is not None
        views.alert_in_full(connection, found)
        queries.same_story(connection, found["id"], 50)
        queries.message(connection, "bench:7")
    assert len(asked) > 60
    assert reading_all(large, asked) == []


def test_alerts_are_counted_without_their_texts(large: Store, year: Span) -> None:
    if large.engine.dialect.name != "sqlite":
        pytest.skip("PostgreSQL keeps long texts apart from their rows")
    scope = Scope(*year, {"configuration": CONFIGURATION})
    counted = (alerts.OPEN, alerts.UNANSWERED, alerts.OPENED, alerts.FALSE, alerts.DISPOSITIONS)
    with large.engine.connect() as connection:
        for sql in (*counted, alerts.DELIVERIES, alerts.LEDGER):
            explained = f"EXPLAIN QUERY PLAN {for_sqlite(sql, scope)}"
            plan = [str(step) for *_, step in connection.exec_driver_sql(explained)]
            assert not [step for step in plan if "BLOOM FILTER" in step], plan
            assert sql == alerts.LEDGER or "COVERING INDEX ix_alerts_" in plan[0], plan


@contextmanager
def asked_of(store: Store) -> Iterator[Asked]:
    """What the store is asked meanwhile."""
    asked: Asked = []

    def note(_c: Any, _cursor: Any, statement: str, parameters: Any, *_rest: Any) -> None:
        if statement.lstrip().startswith(("SELECT", "WITH")):
            asked.append((statement, parameters))

    event.listen(store.engine, "before_cursor_execute", note)
    try:
        yield asked
    finally:
        event.remove(store.engine, "before_cursor_execute", note)


def reading_all(store: Store, asked: Asked) -> list[tuple[str, str]]:
    """Steps of the database's plans that read a whole table, each with its statement."""
    dialect = store.engine.dialect.name
    explain = "EXPLAIN QUERY PLAN" if dialect == "sqlite" else "EXPLAIN"
    with store.engine.connect() as connection:
        return [
            (str(step), statement)
            for statement, parameters in asked
            for *_, step in connection.exec_driver_sql(f"{explain} {statement}", parameters)
            if _READS_ALL[dialect].search(step)
        ]
