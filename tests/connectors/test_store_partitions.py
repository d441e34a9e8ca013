"""PostgreSQL's partitions: room for every month, each id once, and what goes when it is pruned."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, create_engine, select, text

from connectors.store import Store, StoreError, loading, migration, schema
from connectors.store.inspection import inspect_store
from connectors.store.partitions import (
    DIVIDED,
    following,
    message_ids,
    months_ahead,
    months_of,
    months_with_partitions,
)
from tests.connectors.test_store import message, stored, window, write
from tests.pipelines.ledgers import tag_row

JANUARY = datetime(2020, 1, 15, tzinfo=UTC)
FEBRUARY, MARCH = datetime(2020, 2, 15, tzinfo=UTC), datetime(2020, 3, 15, tzinfo=UTC)


@pytest.fixture
def store(postgresql_url: str) -> Iterator[Store]:
    Store.upgrade(postgresql_url)
    with Store.open(postgresql_url) as store:
        yield store


def tag(name: str, at: datetime, **changes: Any) -> dict[str, Any]:
    return {**tag_row(name), "published_at": at, **changes}


def told(store: Store, name: str, at: datetime) -> None:
    """A message and its tags."""
    with store.transaction() as tx:
        tx.upsert("messages", [message(name, published_at=at)])
        tx.upsert("tags", [tag(name, at)])


def places(store: Store, table: str) -> dict[str, int]:
    """Partition -> its rows, where there are any."""
    with store.snapshot() as connection:
        query = f"SELECT tableoid::regclass::text, count(*) FROM {table} GROUP BY 1"
        return {name: rows for name, rows in connection.execute(text(query)).all()}  # noqa: C416


def months(store: Store, table: str) -> list[date]:
    with store.snapshot() as connection:
        return months_with_partitions(connection, table)


@given(st.dates(date(1900, 1, 1), date(2200, 1, 1)))
def test_the_month_that_follows_is_the_next_one(day: date) -> None:
    month = day.replace(day=1)
    assert following(month) == (month + timedelta(days=31)).replace(day=1)


def test_a_time_belongs_to_its_month_in_utc() -> None:
    at = datetime.fromisoformat("2020-01-31T23:30:00-02:00")
    assert months_of([at, JANUARY, JANUARY]) == {date(2020, 1, 1), date(2020, 2, 1)}


def test_an_upgrade_makes_room_for_a_year(store: Store) -> None:
    for table in DIVIDED:
        assert months(store, table) == months_ahead(datetime.now(UTC))


def test_rows_find_or_get_the_partition_of_their_month(store: Store) -> None:
    edge = datetime(2020, 1, 31, 23, 59, 59, 999999, tzinfo=UTC)
    told(store, "a", edge)
    told(store, "b", edge + timedelta(microseconds=1))
    write(store, "window_stats", window(start=JANUARY), window(start=JANUARY, key="topic:Macro"))
    two = {"messages_2020_01": 1, "messages_2020_02": 1}
    assert places(store, "messages") == two
    assert places(store, "tags") == {name.replace("messages", "tags"): 1 for name in two}
    assert places(store, "window_stats") == {"window_stats_2020_01": 2}


@pytest.mark.parametrize("year", [1970, 1999, 2100, 9999])
def test_odd_dates_go_into_the_default_partition(store: Store, year: int) -> None:
    told(store, "odd", datetime(year, 1, 1, tzinfo=UTC))
    assert places(store, "messages") == {"messages_default": 1}
    assert places(store, "tags") == {"tags_default": 1}


def test_a_sparse_history_makes_some_partitions_at_a_time(store: Store) -> None:
    times = [
        datetime(year, month, 2, tzinfo=UTC) for year in (2001, 2002) for month in range(1, 13)
    ]
    rows = [message(str(at), published_at=at) for at in times]
    before = len(months(store, "messages"))
    write(store, "messages", *rows)
    assert len(months(store, "messages")) - before == 20
    assert places(store, "messages")["messages_default"] == 4
    write(store, "messages", *rows)
    assert places(store, "messages") == {f"messages_{at:%Y_%m}": 1 for at in times}


def test_an_id_is_there_once_whatever_its_times(store: Store) -> None:
    rows = [message("m", published_at=at, text=str(at)) for at in (FEBRUARY, JANUARY, MARCH)]
    with store.transaction() as tx:
        assert tx.upsert("messages", rows[:2]) == 1
        assert tx.upsert("messages", rows[1:]) == 0
    (found,) = stored(store, "messages")
    assert found["text"] == str(FEBRUARY)


def test_tags_follow_the_time_under_which_their_message_is_stored(store: Store) -> None:
    told(store, "m", FEBRUARY)
    with store.transaction() as tx:
        again = [tag("m", MARCH, sentiment="neutral"), tag("m", JANUARY, sentiment="positive")]
        assert tx.upsert("tags", again) == 2
    (found,) = stored(store, "tags")
    assert (found["published_at"], found["sentiment"]) == (FEBRUARY, "positive")
    with store.transaction() as tx:
        tx.set_stories([("m", "first")])
    assert [(row["story"], row["repeat"]) for row in stored(store, "tags")] == [("first", True)]


def test_tags_without_their_message_are_refused(store: Store) -> None:
    with pytest.raises(StoreError, match="fk_tags_message_id"):
        write(store, "tags", tag("nobody", JANUARY))


def test_a_row_that_comes_twice_in_one_call_is_weighed_twice(store: Store) -> None:
    first = window(messages=1, final=True)
    rows = [first, window(messages=2, final=False), window(messages=3, final=True)]
    assert write(store, "window_stats", *rows) == 2
    assert [row["messages"] for row in stored(store, "window_stats")] == [3]


def test_a_reader_holds_up_nobody_and_the_month_is_made_later(store: Store) -> None:
    told(store, "first", JANUARY)
    with store.snapshot() as reader:
        assert reader.scalar(select(schema.messages.c.id)) == "first"
        told(store, "a", FEBRUARY)
        assert places(store, "messages")["messages_default"] == 1
    told(store, "b", FEBRUARY)
    assert places(store, "messages") == {"messages_2020_01": 1, "messages_2020_02": 2}
    assert places(store, "tags") == {"tags_2020_01": 1, "tags_2020_02": 2}


def test_a_writer_without_rights_to_make_tables_gets_his_partitions(
    store: Store, postgresql_url: str
) -> None:
    store.make_roles()
    with store.engine.begin() as owner:
        owner.exec_driver_sql("DROP ROLE IF EXISTS loader")
        owner.exec_driver_sql("CREATE ROLE loader LOGIN IN ROLE foreshock_writer")
    with Store.open(postgresql_url.replace("tester@", "loader@")) as writer:
        told(writer, "m", JANUARY)
        assert places(writer, "messages") == {"messages_2020_01": 1}
        for statement in ("DROP TABLE messages_2020_01", "DELETE FROM message_ids"):
            with (
                pytest.raises(Exception, match=r"permission denied|must be owner"),
                writer.engine.begin() as connection,
            ):
                connection.execute(text(statement))


_DAYS = st.dates(date(2019, 12, 1), date(2020, 3, 31)).map(
    lambda day: datetime(day.year, day.month, day.day, tzinfo=UTC)
)
_ROWS = st.lists(st.tuples(st.sampled_from("abcdef"), _DAYS, st.text("xyz")), max_size=12)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(_ROWS, max_size=3))
@pytest.mark.parametrize("few", [0, 200])
def test_the_first_row_of_each_id_is_what_is_stored(
    store: Store,
    few: int,
    monkeypatch: pytest.MonkeyPatch,
    calls: list[list[tuple[str, datetime, str]]],
) -> None:
    monkeypatch.setattr(loading, "_FEW", few)  # by COPY, and without
    with store.engine.begin() as connection:
        for table in (schema.tags, schema.messages, message_ids):
            connection.execute(table.delete())
    expected: dict[str, tuple[datetime, str]] = {}
    for call in calls:
        for name, at, words in call:
            expected.setdefault(name, (at, words))
        with store.transaction() as tx:
            tx.upsert("messages", [message(n, published_at=at, text=w) for n, at, w in call])
    found = {row["id"]: (row["published_at"], row["text"]) for row in stored(store, "messages")}
    assert found == expected


# Pruning.


def prune(store: Store, before: datetime, *kept: str) -> int:
    with store.transaction() as tx:
        gone = tx.prune_messages(before, kept)
    with store.transaction() as tx:
        tx.forget_pruned()
    return gone


@pytest.fixture
def either(store_url: str) -> Iterator[Store]:
    with Store.open(store_url) as store:
        yield store


def test_pruned_messages_go_with_their_tags_and_those_to_keep_stay(either: Store) -> None:
    odd = datetime(1980, 1, 1, tzinfo=UTC)
    for name, at in (("odd", odd), ("a", JANUARY), ("b", JANUARY), ("c", FEBRUARY)):
        told(either, name, at)
    before = datetime(2020, 2, 1, tzinfo=UTC)
    assert prune(either, before, "b", "unknown") == 2
    assert sorted(row["id"] for row in stored(either, "messages")) == ["b", "c"]
    assert sorted(row["message_id"] for row in stored(either, "tags")) == ["b", "c"]
    assert prune(either, before, "b") == 0
    told(either, "b", FEBRUARY)  # kept: its id is known as before
    told(either, "a", JANUARY)  # gone: it may come again
    assert sorted(row["id"] for row in stored(either, "messages")) == ["a", "b", "c"]
    assert prune(either, before) == 2


def test_a_pruned_month_is_dropped_and_made_again_with_what_was_kept(store: Store) -> None:
    told(store, "a", JANUARY)
    told(store, "b", JANUARY)
    prune(store, datetime(2020, 2, 1, tzinfo=UTC), "b")
    assert date(2020, 1, 1) not in months(store, "messages") + months(store, "tags")
    assert date(2020, 1, 1) in months(store, "window_stats")
    assert places(store, "messages") == {"messages_default": 1}
    told(store, "c", JANUARY)
    assert places(store, "messages") == {"messages_2020_01": 2}
    assert places(store, "tags") == {"tags_2020_01": 2}


def test_a_pruning_that_was_interrupted_is_ended_by_the_next(store: Store) -> None:
    told(store, "a", JANUARY)
    with store.transaction() as tx:
        assert tx.prune_messages(FEBRUARY.replace(day=1), ()) == 1
    with store.transaction() as tx:
        assert tx.upsert("messages", [message("a", published_at=JANUARY)]) == 0
    assert all(finding.ok for finding in inspect_store(store).findings if finding.check == "ids")
    assert prune(store, FEBRUARY.replace(day=1)) == 0
    told(store, "a", JANUARY)
    assert places(store, "messages") == {"messages_2020_01": 1}


def test_who_reads_for_long_is_not_waited_for(store: Store) -> None:
    def prune_soon() -> None:
        with store.transaction() as tx:
            tx.wait_at_most(0.1)
            tx.prune_messages(FEBRUARY.replace(day=1), ())

    told(store, "a", JANUARY)
    with store.snapshot() as reader:
        reader.execute(select(schema.messages))
        with pytest.raises(StoreError, match="somebody reads for long"):
            prune_soon()
    assert places(store, "messages") == {"messages_2020_01": 1}


def test_pruned_windows_go_with_their_days(either: Store) -> None:
    rows = [window(start=at, seconds=s) for at in (JANUARY, FEBRUARY) for s in (60, 3600)]
    write(either, "window_stats", *rows)
    with either.transaction() as tx:
        assert tx.prune_windows(datetime(2020, 2, 1, tzinfo=UTC)) == 2
    assert {row["start"] for row in stored(either, "window_stats")} == {FEBRUARY}
    days = {row["start"] for row in stored(either, "window_days")}
    assert days == {FEBRUARY.replace(hour=0)}


# The migration.


def test_an_undivided_store_is_divided_with_its_rows(postgresql_url: str) -> None:
    engine = create_engine(postgresql_url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.begin() as connection:
        _upgrade(connection, "0001")
        _fill_undivided(connection)
    engine.dispose()
    assert Store.upgrade(postgresql_url).before == "0001"
    with Store.open(postgresql_url) as store:
        assert places(store, "messages") == {"messages_2020_01": 1, "messages_default": 1}
        assert [row["published_at"] for row in stored(store, "tags")] == [JANUARY]
        assert places(store, "window_stats") == {"window_stats_2020_01": 1}
        assert [row["messages"] for row in stored(store, "window_days")] == [5]
        hour = window(start=JANUARY, seconds=3600, messages=7, final=True)
        write(store, "window_stats", hour)  # the triggers came along
        assert [row["messages"] for row in stored(store, "window_days")] == [7]


def _upgrade(connection: Connection, revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(migration._SCRIPTS))
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def _fill_undivided(connection: Connection) -> None:
    messages = [message("m", published_at=JANUARY), message("odd", published_at=JANUARY)]
    messages[1]["published_at"] = datetime(1980, 1, 1, tzinfo=UTC)
    for row in messages:
        del row["schema"]
    connection.execute(schema.messages.insert(), messages)
    connection.execute(schema.tags.insert(), [tag("m", MARCH)])  # a copy's time, as it was once
    hour = window(start=JANUARY, seconds=3600, messages=5)
    connection.execute(schema.window_stats.insert(), [hour])


def test_the_divided_schema_is_the_schema(store: Store) -> None:
    def is_ours(_object: Any, name: str | None, kind: str, _there: bool, _other: Any) -> bool:
        own_of_partitions = ("fk_tags_message_id", "fk_corrections_message_id")
        return not (
            (kind == "table" and (name or "").startswith((*_PARTS, "message_ids", "pruned_ids")))
            or name in own_of_partitions
        )

    with store.engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "include_object": is_ours}
        )
        assert compare_metadata(context, schema.metadata) == []


_PARTS = tuple(f"{table}_{what}" for table in DIVIDED for what in ("default", "20"))
