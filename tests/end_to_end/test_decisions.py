"""What a person closed stays closed when a longer history is replayed into the same store."""

from datetime import UTC, datetime
from pathlib import Path

from alerting.decisions import Resolve
from connectors.store import Store
from pipelines.audit import prove
from pipelines.configuration import Configuration
from pipelines.recording import record_decision
from pipelines.replay import replay
from pipelines.sources import File

AFTER_THE_LAST_SPIKE = 20
"""Lines of the surge that the first history lacks: its alert is still growing where it ends."""


def test_a_longer_replay_opens_nothing_again_and_files_what_it_found(
    surge: Path, tmp_path: Path
) -> None:
    lines = surge.read_text(encoding="utf-8").splitlines(keepends=True)
    begun, path = tmp_path / "begun.jsonl", tmp_path / "store.db"
    begun.write_text("".join(lines[:-AFTER_THE_LAST_SPIKE]), encoding="utf-8")
    database, configuration = f"sqlite:///{path}", Configuration()
    replay([File(begun)], database=database, configuration=configuration)
    with Store.open(path) as store:
        (alert,) = [
            row
            for row in store.alerts(state="open", key="entity:BA")
            if row["kind"] == "negative_surge"
        ]
        with store.transaction() as tx:
            now = datetime.now(UTC)
            record_decision(tx, alert["id"], Resolve(), actor="jane", now=now)
        before = store.events()
    replay([File(surge)], database=database, configuration=configuration)
    with Store.open(path) as store:
        after = store.alert(alert["id"])
        events = store.events(alert["id"])
        assert store.events()[: len(before)] == before
        proof = prove(store)
    assert after is not None
    assert (after["state"], after["closed_by"]) == ("resolved", "jane")
    later = [event for event in events if event["sequence"] > len(before)]
    assert later
    assert all(event["details"]["kept"]["closed_by"] == "jane" for event in later)
    assert proof.holds, proof.broken
