"""What the alert process makes of a watch step's commits is what a replay makes of the messages."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

from sqlalchemy import select

from connectors.store import Store, schema
from pipelines.alerting.following import Follower
from pipelines.alerting.process import begin
from pipelines.audit import prove
from pipelines.configuration import Configuration
from pipelines.evidence import AddEvidence
from pipelines.replay import replay
from pipelines.sources import File
from tests.end_to_end.stores import final_events

CLOCK = datetime(2026, 3, 1, 9, tzinfo=UTC)
MINUTE = timedelta(minutes=1)

Rows = dict[str, list[dict[str, Any]]]


def commit(store: Store, rows: Rows, start: datetime, end: datetime, *, final: bool) -> None:
    """What a watch step commits of the minutes from `start` to `end`, the end excluded."""
    windows = [row for row in rows["window_stats"] if start <= row["start"] < end]
    spikes = [row for row in rows["spikes"] if start <= row["window_end"] - MINUTE < end]
    with store.transaction() as tx:
        tx.upsert("window_stats", [{**row, "final": final} for row in windows])
        tx.upsert("spikes", [{**row, "final": final} for row in spikes])


def test_live_alerts_and_their_record_are_those_of_a_replay(
    surge: Path, store_url: str, tmp_path: Path
) -> None:
    configuration = Configuration()
    result = replay([File(surge)], database=str(tmp_path / "whole.db"), configuration=configuration)
    with Store.open(tmp_path / "whole.db") as whole, Store.open(store_url) as store:
        tables = ("messages", "tags", "window_stats", "spikes")
        rows: Rows = {n: whole.rows(select(schema.metadata.tables[n])) for n in tables}
        with store.transaction() as tx:
            for name in ("messages", "tags"):
                tx.upsert(name, rows[name])
        run_id = begin(store, configuration, CLOCK)
        enrich = AddEvidence(configuration.tag)
        process = Follower(store, result.configuration, configuration.alerts, enrich, run_id)
        cuts = _cuts(rows)
        for (start, end), later in zip(pairwise(cuts), [*cuts[2:], cuts[-1]], strict=True):
            commit(store, rows, end, later, final=False)
            process.look(CLOCK)
            commit(store, rows, start, end, final=True)
            while process.look(CLOCK)[1]:
                pass
        assert result.alerts > 0
        assert final_events(store) == final_events(whole)
        assert [row for row in store.alerts() if row["final"]] == whole.alerts()
        assert any(row["event"] == "confirmed" for row in store.events())
        assert prove(store).holds


def _cuts(rows: Rows) -> list[datetime]:
    """Somewhere among the spikes, so that each piece has news; and the beginning and the end."""
    ends = sorted(row["window_end"] for row in rows["spikes"])
    inner = [ends[len(ends) * part // 4] for part in (1, 2, 3)]
    return [ends[0] - timedelta(days=99), *inner, ends[-1] + timedelta(days=99)]
