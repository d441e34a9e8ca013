"""The days that follow the hours of windows: always their sum, whatever is written, and by whom."""

from collections import Counter
from datetime import timedelta
from threading import Thread
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, delete, select

from connectors.store import Store
from connectors.store.schema import DRAWN, window_days, window_stats
from tests.connectors.test_store import T0, window

writes = st.builds(
    lambda hour, minutes, key, rules, final, known, counts: window(
        start=T0 + timedelta(hours=hour),
        seconds=60 if minutes else 3600,
        key=key,
        configuration=rules,
        final=final,
        frontier=T0 + timedelta(days=known),
        **dict(zip(DRAWN, counts, strict=True)),
    ),
    st.sampled_from((0, 1, 23, 24, 47)),
    st.booleans(),
    st.sampled_from(("overall", "entity:BA")),
    st.sampled_from(("c", "d")),
    st.booleans(),
    st.integers(0, 3),
    st.tuples(*[st.integers(1, 2**33)] * len(DRAWN)),
)
removals = st.sampled_from(("overall", "entity:BA"))


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(done=st.lists(st.lists(writes, min_size=1) | removals, min_size=1, max_size=6))
def test_a_day_is_the_sum_of_its_hours(store_url: str, done: list[Any]) -> None:
    with Store.open(store_url) as store:
        for one in done:
            if isinstance(one, str):
                with store.engine.begin() as connection:
                    connection.execute(delete(window_stats).where(window_stats.c.key == one))
            else:
                with store.transaction() as tx:
                    tx.upsert("window_stats", one)
            with store.snapshot() as connection:
                assert _days(connection) == _summed(connection)


def test_two_who_write_hours_of_one_day_at_a_time_are_both_counted(store_url: str) -> None:
    hours = [window(seconds=3600, start=T0 + timedelta(hours=hour)) for hour in range(2)]
    with Store.open(store_url) as one, Store.open(store_url) as other:

        def write() -> None:
            with other.transaction() as tx:
                tx.upsert("window_stats", hours[1:])

        with one.transaction() as tx:
            tx.upsert("window_stats", hours[:1])
            thread = Thread(target=write)
            thread.start()  # it waits for this one, at the day's row or, in SQLite, before
        thread.join()
        (day,) = one.rows(select(window_days))
    assert day["messages"] == 2


def _days(connection: Connection) -> dict[Any, tuple[int, ...]]:
    return {
        (row["configuration"], row["start"], row["key"]): tuple(row[name] for name in DRAWN)
        for row in connection.execute(select(window_days)).mappings()
    }


def _summed(connection: Connection) -> dict[Any, tuple[int, ...]]:
    sums: dict[Any, Counter[str]] = {}
    query = select(window_stats).where(window_stats.c.seconds == 3600)
    for row in connection.execute(query).mappings():
        day = row["start"].replace(hour=0)
        held = sums.setdefault((row["configuration"], day, row["key"]), Counter())
        held.update({name: row[name] for name in DRAWN})
    return {place: tuple(held[name] for name in DRAWN) for place, held in sums.items()}
