"""How fast the dashboards' panels are on a large store: a year of messages.

    python -m tests.benchmarks.dashboards [--messages 1000000] [--database URL]

Fills a PostgreSQL of its own (or an empty store of yours, SQLite too), and asks every panel's query
as Grafana does, over a year, a month and a day, for the company with most messages. Prints the 50th
and 95th percentile of each query, the slowest first. No model runs: moods are random.
"""

import argparse
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

import numpy as np

from connectors.store import Store
from pipelines.dashboards.building import Span, boards, history
from pipelines.dashboards.checking import Checked, check
from tests.benchmarks.console import fill as fill_with_messages_and_alerts
from tests.servers import postgresql

_GOAL_MS = 200.0
_COMPANIES = 500
_SPANS = {"year": timedelta(days=365), "month": timedelta(days=30), "day": timedelta(days=1)}

Place = tuple[str, str, str, str]
"""How long a time was shown, dashboard, part, letter of the query."""


def fill(url: str, messages: int, alerts: int) -> None:
    """A year of all that the panels read; the database is set up as the docs say."""
    fill_with_messages_and_alerts(url, messages, alerts, _COMPANIES)
    with Store.open(url) as store:
        if store.engine.dialect.name == "postgresql":
            alone = store.engine.execution_options(isolation_level="AUTOCOMMIT")
            with alone.connect() as connection:
                name = store.engine.url.database
                connection.exec_driver_sql(f'ALTER DATABASE "{name}" SET jit = off')


def measure(url: str, rounds: int) -> dict[Place, list[float]]:
    """Milliseconds of each query, `rounds` times."""
    times: dict[Place, list[float]] = defaultdict(list)
    with Store.open(url) as store:
        whole = history(store)
        assert whole is not None
        for name, span in _spans(whole):
            for _ in range(rounds):
                for one in _asked(store, span):
                    times[name, one.dashboard, one.part, one.query].append(one.milliseconds)
    return times


def _spans(whole: Span) -> Iterator[tuple[str, Span]]:
    """Periods up to the end, none of which begins or ends with an hour."""
    end = whole[1] - timedelta(minutes=37)
    for name, length in _SPANS.items():
        yield name, (end - length, end)


def _asked(store: Store, span: Span) -> Iterator[Checked]:
    for board in boards(span, datetime.now(UTC)):
        for one in check(board, store, span):
            assert one.status != "failed", one
            if one.status in ("ok", "empty"):
                yield one


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--alerts", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--database", help="an empty store; default: a PostgreSQL that goes")
    chosen = parser.parse_args(arguments)
    if chosen.database:
        run(chosen.database, chosen)
        return
    programs = postgresql.programs()
    if programs is None:
        parser.error("PostgreSQL is not installed: give --database")
    with postgresql.running(programs) as url:
        run(url, chosen)


def run(url: str, chosen: argparse.Namespace) -> None:
    fill(url, chosen.messages, chosen.alerts)
    times = measure(url, chosen.rounds)
    p95s = {place: float(np.quantile(taken, 0.95)) for place, taken in times.items()}
    print(f"{'p50':>8} {'p95':>8}  ms")
    for place in sorted(p95s, key=lambda place: -p95s[place]):
        print(f"{np.median(times[place]):8.1f} {p95s[place]:8.1f}  {' / '.join(place)}")
    over = sum(p95 > _GOAL_MS for p95 in p95s.values())
    everything = float(np.quantile([one for taken in times.values() for one in taken], 0.95))
    print(f"{len(p95s)} queries, each {chosen.rounds} times: p95 of all {everything:.1f} ms")
    print(f"over {_GOAL_MS:g} ms at p95: {over}")


if __name__ == "__main__":
    main()
