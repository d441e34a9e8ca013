"""How fast the dashboards' panels are on a large store: a year of messages in PostgreSQL.

    python -m tests.benchmarks.dashboards --messages 1000000

The rows are drawn by the database itself: no model runs, so moods are random; their number, their
spread over companies, topics and time, and the windows that follow from them are what counts here.
"""

import argparse
from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np
from sqlalchemy import text

from connectors.store import Store
from models.tags import TOPICS
from pipelines.dashboards.building import boards, history
from pipelines.dashboards.checking import Checked, check
from tests.servers import postgresql

_GOAL_MS = 200.0
_COMPANIES = 500

_MESSAGES = """
INSERT INTO messages (id, source, published_at, text, entities)
SELECT 'm' || n, 'wire-' || n % 7, timestamptz '2025-01-01 00:00Z' + random() * interval '365 days',
  repeat('some words of news ', 6), '[]'
FROM generate_series(1, :messages) AS n
"""
_TAGS = """
INSERT INTO tags (message_id, published_at, sentiment, topic, negative, neutral, positive, topics,
  abstained, entities, listing, story, repeat, model)
SELECT id, published_at, (ARRAY['negative', 'neutral', 'positive'])[1 + floor(random() * 3)::int],
  (:topics ::text[])[1 + floor(random() * 20)::int], 0.3, 0.3, 0.4, '[]', random() < 0.1,
  json_build_array('C' || floor(:companies * random() ^ 3)::int), false, id, random() < 0.2, '{}'
FROM messages
"""
_WINDOWS = """
INSERT INTO window_stats
SELECT key, start, :seconds, 'rules', count(*), sum(negative), sum(neutral), sum(positive),
  sum(abstained), sum(CASE WHEN repeat THEN 0 ELSE negative END),
  sum(CASE WHEN repeat THEN 0 ELSE neutral END), sum(CASE WHEN repeat THEN 0 ELSE positive END),
  sum(repeat::int), sum(CASE WHEN repeat THEN negative ELSE 0 END),
  1000000 * sum((NOT repeat)::int), sum(CASE WHEN repeat THEN 0 ELSE 1000000 * negative END),
  1000000 * sum(repeat::int), sum(CASE WHEN repeat THEN 1000000 * negative ELSE 0 END), 0, 1,
  true, start
FROM (
  SELECT date_trunc(:unit, published_at) AS start, repeat,
    (NOT abstained AND sentiment = 'negative')::int AS negative,
    (NOT abstained AND sentiment = 'neutral')::int AS neutral,
    (NOT abstained AND sentiment = 'positive')::int AS positive, abstained::int AS abstained,
    unnest(ARRAY['overall', 'topic:' || topic, 'entity:' || (entities ->> 0)]) AS key
  FROM tags
) AS counted
GROUP BY key, start
"""


def fill(url: str, messages: int) -> None:
    """A year of messages, their tags, and the windows of both lengths; set up as the docs say."""
    Store.upgrade(url)
    with Store.open(url) as store:
        with store.engine.begin() as connection:
            connection.execute(text("SELECT setseed(0.5)"))
            connection.execute(text(_MESSAGES), {"messages": messages})
            connection.execute(text(_TAGS), {"topics": list(TOPICS), "companies": _COMPANIES})
            for seconds, unit in ((60, "minute"), (3600, "hour")):
                connection.execute(text(_WINDOWS), {"seconds": seconds, "unit": unit})
        with store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM ANALYZE"))
            connection.execute(text(f'ALTER DATABASE "{store.engine.url.database}" SET jit = off'))


def measure(url: str, rounds: int) -> dict[tuple[str, str, str], float]:
    """Median milliseconds of each query over the whole year."""
    with Store.open(url) as store:
        shown = history(store)
        asked = [
            one
            for _ in range(rounds)
            for board in boards(shown, datetime.now(UTC))
            for one in check(board, store, shown)
            if one.status in ("ok", "empty")
        ]
    times: dict[tuple[str, str, str], list[float]] = {}
    for one in asked:
        times.setdefault(_place(one), []).append(one.milliseconds)
    return {place: float(np.median(taken)) for place, taken in times.items()}


def _place(one: Checked) -> tuple[str, str, str]:
    return one.dashboard, one.part, one.query


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--database", help="an empty PostgreSQL; default: one of its own")
    chosen = parser.parse_args(arguments)
    programs = postgresql.programs()
    if chosen.database:
        times = _filled(chosen.database, chosen.messages, chosen.rounds)
    elif programs is None:
        parser.error("PostgreSQL is not installed: give --database")
    else:
        with postgresql.running(programs) as url:
            times = _filled(url, chosen.messages, chosen.rounds)
    for place, taken in sorted(times.items(), key=lambda item: -item[1]):
        print(f"{taken:8.1f} ms  {' / '.join(place)}")
    p95 = float(np.quantile(list(times.values()), 0.95))
    print(f"{len(times)} queries: p50 {np.median(list(times.values())):.1f} ms, p95 {p95:.1f} ms")
    print(f"goal p95 {_GOAL_MS:g} ms: {'reached' if p95 <= _GOAL_MS else 'missed'}")


def _filled(url: str, messages: int, rounds: int) -> dict[tuple[str, str, str], float]:
    fill(url, messages)
    return measure(url, rounds)


if __name__ == "__main__":
    main()
