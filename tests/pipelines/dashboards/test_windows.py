"""Days with the hours at both ends are as good as hours, whatever time is shown."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.store import Store
from pipelines.dashboards import sql
from pipelines.dashboards.asking import Scope
from pipelines.dashboards.checking import answer
from tests.connectors.test_store import T0, window

HOURS = 6 * 24
ALWAYS, NEVER = "1 = 1", "1 = 0"
moments = st.integers(-3600, (HOURS + 1) * 3600).map(lambda s: T0 + timedelta(seconds=s))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    rows = [
        window(
            key=key,
            start=T0 + timedelta(hours=hour),
            seconds=3600,
            **dict.fromkeys(("messages", "new_negative"), 2**hour if hour < 40 else hour),
        )
        for key in ("entity:BA", "entity:INTC", "overall")
        for hour in range(HOURS)
        if hour % 5
    ]
    path: Path = tmp_path_factory.mktemp("windows") / "store.db"
    with Store.open(path) as store:
        with store.transaction() as tx:
            tx.upsert("window_stats", rows)
        yield store


@given(start=moments, end=moments)
def test_days_sum_up_to_what_hours_do(store: Store, start: datetime, end: datetime) -> None:
    scope = Scope(*sorted((start, end)), {"configuration": "c"})
    by_day, by_hour = (
        answer(
            "SELECT key, sum(messages), sum(new_negative) FROM "
            + sql.windows(sql.COMPANIES, "messages, new_negative", "seconds = 3600", by_day)
            + " GROUP BY key ORDER BY key",
            store,
            scope,
        ).rows
        for by_day in (ALWAYS, NEVER)
    )
    assert by_day == by_hour
