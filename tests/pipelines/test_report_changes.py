"""What changed of each key is the same from sums of days and hours as from every hour."""

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime, timedelta

import pytest

from connectors.store import Store
from pipelines.report.queries import HOUR, Period, changes
from tests.pipelines.commits import window

START = datetime(2026, 3, 1, tzinfo=UTC)
NAMES = ("messages", "abstained", "negative", "new_negative")
AT = timedelta(hours=1)


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    with Store.open(store_url) as store:
        yield store


def filled(store: Store) -> list[dict]:
    chance = random.Random(3)
    rows = [
        {
            **window(START + number * AT, True),
            "key": key,
            "seconds": HOUR,
            **{name: chance.randint(0, 9) for name in NAMES},
        }
        for number in range(20 * 24)
        for key in ("entity:A", "entity:B", "topic:T")
        if chance.random() < 0.4
    ]
    with store.transaction() as tx:
        tx.upsert("window_stats", rows)
    return rows


@pytest.mark.parametrize(
    ("start", "moment", "end"),
    [
        (START, START + 14 * 24 * AT, START + 15 * 24 * AT),
        (START + 5 * AT, START + 200 * AT, START + 240 * AT),
        (START + AT, START + 24 * AT, START + 30 * AT),
        (START + 30 * AT, START + 31 * AT, START + 33 * AT),
        (START - 48 * AT, START - 24 * AT, START + 2 * AT),
    ],
)
def test_whole_days_and_hours_add_up(
    store: Store, start: datetime, moment: datetime, end: datetime
) -> None:
    rows = filled(store)
    expected: dict[str, Counter[str]] = {}
    for row in rows:
        if start <= row["start"] < end and row["key"].startswith("entity:"):
            part = "before" if row["start"] < moment else "since"
            counts = expected.setdefault(row["key"], Counter())
            counts.update({f"{name}_{part}": row[name] for name in NAMES})
    with store.snapshot() as connection:
        found = changes(connection, "c", "entity:", moment, Period(start, end))
    assert {one.key for one in found} == expected.keys()
    for one in found:
        plain = asdict(one)
        key = plain.pop("key")
        assert plain == {name: expected[key][name] for name in plain}
