from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import BigInteger, select, text

from connectors.dead_letter import dead_letter
from connectors.message import Message
from connectors.store import Store, StoreError, loading, schema

T0 = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    url = f"sqlite:///{tmp_path}/store.db"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgresql_url")
        with pytest.raises(StoreError, match="upgrade them first"):
            Store.open(url)
        Store.upgrade(url)
    with Store.open(url) as store:
        yield store


def message(name: str, **changes: Any) -> dict[str, Any]:
    fields: dict[str, Any] = {"id": name, "source": "feed", "published_at": T0, "text": "a"}
    return msgspec.structs.asdict(Message(**fields | changes))


def window(**changes: Any) -> dict[str, Any]:
    counts = {
        column.name: 1
        for column in schema.window_stats.columns
        if isinstance(column.type, BigInteger)
    }
    row = {
        "key": "overall",
        "start": T0,
        "seconds": 60,
        "configuration": "c",
        "final": False,
        "frontier": T0,
    }
    return counts | row | changes


def spike(**changes: Any) -> dict[str, Any]:
    numbers = dict.fromkeys(
        (
            *("observed", "expected", "dispersion", "log10_tail", "surprise", "threshold"),
            *("negative_share", "expected_negative_share"),
        ),
        1.5,
    )
    row = {
        "id": "s",
        "key": "overall",
        "kind": "volume",
        "phase": "opening",
        "window_start": T0,
        "window_end": T0,
        "scale_seconds": 900,
        "severity": "low",
        "counts": {"negative": 1},
        "message_ids": ("a", "b"),
        "configuration": "c",
        "model": "m",
        "final": False,
        "run_id": "r",
    }
    return numbers | row | changes


def alert(**changes: Any) -> dict[str, Any]:
    row = {
        "id": "a",
        "key": "overall",
        "kind": "volume",
        "state": "open",
        "severity": "low",
        "opened_at": T0,
        "updated_at": T0,
        "resolved_at": None,
        "peak_surprise": 7.0,
        "peak_observed": 9.0,
        "expected_at_peak": 1.0,
        "first_spike_id": "s",
        "peak_spike_id": "s",
        "last_spike_id": "s",
        "spikes": 1,
        "evidence": {"why": ["many"]},
        "configuration": "c",
        "model": "m",
    }
    return row | changes


def ledger_event(sequence: int, **changes: Any) -> dict[str, Any]:
    row = {
        "sequence": sequence,
        "id": f"e{sequence}",
        "alert_id": "a",
        "event": "opened",
        "occurred_at": T0,
        "recorded_at": T0,
        "actor": "pipeline",
        "details": {},
        "previous_hash": "",
        "hash": "h",
    }
    return row | changes


def write(store: Store, table: str, *rows: dict[str, Any]) -> int:
    with store.transaction() as tx:
        return tx.upsert(table, rows)


def stored(store: Store, table: str) -> list[dict[str, Any]]:
    return store.rows(select(schema.metadata.tables[table]))


def test_messages_come_back_as_they_went_in(store: Store) -> None:
    zone = timezone(timedelta(hours=-7))
    row = message(
        "m",
        published_at=datetime(2020, 1, 2, 3, 4, 5, 678901, tzinfo=zone),
        received_at=T0,
        title="Größe 🎉",
        entities=("AAPL", "MSFT"),
        offset=2**40,
    )
    with store.transaction() as tx:
        assert tx.upsert("messages", [row]) == 1
    (found,) = stored(store, "messages")
    del row["schema"]
    assert found == row | {"entities": ["AAPL", "MSFT"]}
    assert found["published_at"].tzinfo is UTC


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40))
@example("\\N")
@example("\\.\n\t\r\\\\ \v\x01\u2028")
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@pytest.mark.parametrize("few", [0, 200])
def test_any_text_comes_back_as_it_went_in(
    store: Store, few: int, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    monkeypatch.setattr(loading, "_FEW", few)  # by COPY, and without
    with store.engine.begin() as connection:
        connection.execute(schema.messages.delete())
    name = f"m{uuid4()}"
    write(store, "messages", message(name, title=words, text=words, entities=(words, "a")))
    (found,) = stored(store, "messages")
    assert (found["title"], found["text"], found["entities"]) == (words, words, [words, "a"])


def test_the_first_copy_of_a_message_wins(store: Store) -> None:
    first, second = message("m", text="first"), message("m", text="second")
    with store.transaction() as tx:
        assert tx.upsert("messages", [first, second, message("n")]) == 2
        assert tx.upsert("messages", [second]) == 0
        assert tx.upsert("messages", []) == 0
    assert [row["text"] for row in stored(store, "messages")] == ["first", "a"]


LATER = T0 + timedelta(minutes=1)


@pytest.mark.parametrize(
    ("old", "new", "taken"),
    [
        ({}, {}, True),
        ({}, {"frontier": LATER}, True),
        ({"frontier": LATER}, {}, False),
        ({"frontier": LATER}, {"final": True}, True),
        ({"final": True}, {"frontier": LATER}, False),
        ({"final": True}, {"final": True, "frontier": LATER}, True),
    ],
)
def test_a_window_is_not_turned_back(
    store: Store, old: dict[str, Any], new: dict[str, Any], taken: bool
) -> None:
    assert write(store, "window_stats", window(messages=1, **old)) == 1
    assert write(store, "window_stats", window(messages=2, **new)) == taken
    assert [row["messages"] for row in stored(store, "window_stats")] == [1 + taken]


def test_a_final_spike_is_not_turned_back(store: Store) -> None:
    for final, observed in ((False, 1.0), (False, 2.0), (True, 3.0), (False, 4.0), (True, 5.0)):
        write(store, "spikes", spike(final=final, observed=observed))
    (found,) = stored(store, "spikes")
    assert (found["observed"], found["message_ids"]) == (5.0, ["a", "b"])
    assert write(store, "spikes", spike(final=False)) == 0


def test_a_pipeline_updates_its_columns_of_an_alert_and_leaves_those_of_people(
    store: Store,
) -> None:
    write(store, "alerts", alert())
    with store.transaction() as tx:
        tx.decide("a", {"acknowledged_by": "jane", "acknowledged_at": LATER})
    assert write(store, "alerts", alert(state="resolved", updated_at=LATER)) == 1
    assert write(store, "alerts", alert(updated_at=T0)) == 0
    found = store.alert("a")
    assert found is not None
    assert (found["state"], found["acknowledged_by"]) == ("resolved", "jane")
    assert (found["acknowledged_at"], found["evidence"]) == (LATER, {"why": ["many"]})
    with pytest.raises(StoreError, match="no column 'disposition' to write"):
        write(store, "alerts", alert(disposition="noise"))


def test_people_decide_on_their_columns_of_an_alert_that_exists(store: Store) -> None:
    with store.transaction() as tx:
        with pytest.raises(StoreError, match="no alert 'x'"):
            tx.decide("x", {"disposition": "noise"})
        with pytest.raises(StoreError, match="'state' is not"):
            tx.decide("x", {"state": "open"})


def test_alerts_are_listed_by_state_and_key_newest_first(store: Store) -> None:
    write(
        store,
        "alerts",
        alert(id="old"),
        alert(id="new", opened_at=LATER),
        alert(id="gone", state="resolved", key="topic:Macro"),
    )
    assert [row["id"] for row in store.alerts(state="open")] == ["new", "old"]
    assert [row["id"] for row in store.alerts(key="topic:Macro")] == ["gone"]
    assert [row["id"] for row in store.alerts(limit=1)] == ["new"]
    assert store.alert("none") is None
    with store.transaction() as tx:
        assert [row["id"] for row in tx.open_alerts()] == ["old", "new"]


def test_the_ledger_can_only_be_added_to(store: Store) -> None:
    write(store, "alert_events", ledger_event(1), ledger_event(2))
    statements = [
        "UPDATE alert_events SET actor = 'x'",
        "DELETE FROM alert_events",
        "DELETE FROM alert_events WHERE sequence = 2",
    ]
    if store.engine.dialect.name == "sqlite":
        columns = ", ".join(schema.alert_events.columns.keys())
        statements.append(f"INSERT OR REPLACE INTO alert_events SELECT {columns} FROM alert_events")
    for statement in statements:
        with pytest.raises(Exception, match="append-only"), store.engine.begin() as connection:
            connection.execute(text(statement))
    with pytest.raises(StoreError):
        write(store, "alert_events", ledger_event(2))
    with store.transaction() as tx:
        last = tx.ledger_end()
    assert last is not None
    assert last["sequence"] == 2
    assert [row["id"] for row in store.events("a")] == ["e1", "e2"]
    assert store.events("b") == []


def test_dead_letters_are_kept_once_and_marked_when_retried(store: Store) -> None:
    rows = [
        msgspec.structs.asdict(
            dead_letter(
                source="f", stage=stage, reason="nul", error="e", payload=b"\0\xff", line=line
            )
        )
        for line, stage in ((10, "parse"), (9, "read"))
    ]
    assert write(store, "dead_letters", *rows, *rows) == 2
    found = store.dead_letters()
    assert [row["line"] for row in found] == [9, 10]
    assert found[0]["payload"] == b"\0\xff"
    assert [row["line"] for row in store.dead_letters(stage="parse", reason="nul")] == [10]
    with store.transaction() as tx:
        tx.mark_retried([rows[0]["id"]], LATER)
    one = store.dead_letter(rows[0]["id"])
    assert one is not None
    assert one["retried_at"] == LATER
    assert store.dead_letter("none") is None


def test_runs_and_their_state_are_replaced(store: Store) -> None:
    run = {
        "id": "r",
        "kind": "replay",
        "manifest": {"a": 1},
        "state": "running",
        "started_at": T0,
        "finished_at": None,
        "counters": None,
        "error": None,
    }
    with store.transaction() as tx:
        assert tx.run("r") is None
        assert tx.state("r") == {}
        tx.save_run(run)
        tx.save_state("r", 1, {"watch": (1, b"one"), "novelty": (3, b"\0")})
        tx.save_state("r", 2, {"watch": (2, b"two")})
        tx.save_run(run | {"state": "finished", "counters": {"read": 2}})
        assert tx.run("r") == run | {"state": "finished", "counters": {"read": 2}}
        assert tx.state("r") == {"watch": (2, b"two"), "novelty": (3, b"\0")}


def test_what_does_not_fit_a_table_is_an_error_that_names_it(store: Store) -> None:
    with store.transaction() as tx:
        with pytest.raises(StoreError, match="no table 'nothing'"):
            tx.upsert("nothing", [{"id": 1}])
        with pytest.raises(StoreError, match="'messages' has no column 'txt'"):
            tx.upsert("messages", [message("m") | {"txt": "a"}])
        with pytest.raises(StoreError, match="lacks the column 'source'"):
            tx.upsert("messages", [message("m"), {"id": "n"}])
        with pytest.raises(StoreError, match="has no zone"):
            tx.upsert("messages", [message("m", published_at=datetime(2020, 1, 1))])  # noqa: DTZ001


@pytest.mark.parametrize(
    ("rows", "error"),
    [
        ([window(final=None)], StoreError),
        ([window(start="now")], StoreError),
        ([window(start=None)], StoreError),
        (map(int, ["x", "y"]), ValueError),
    ],
)
def test_an_exception_undoes_the_whole_transaction(
    store: Store, rows: Any, error: type[Exception]
) -> None:
    def slice_of_work() -> None:
        with store.transaction() as tx:
            tx.upsert("messages", [message("m")])
            tx.upsert("window_stats", rows)

    with pytest.raises(error):
        slice_of_work()
    assert stored(store, "messages") == []


def test_rows_of_more_than_one_batch_are_all_written(store: Store) -> None:
    rows = [message(str(number)) for number in range(12_001)]
    with store.transaction() as tx:
        assert tx.upsert("messages", iter(rows)) == 12_001
    assert len(stored(store, "messages")) == 12_001
