"""A replay accounts for every message, gives the same rows however it went, and finds the surge."""

import gzip
import json
from pathlib import Path

import msgspec
import pytest

from connectors.errors import SourceError
from connectors.store import Store
from pipelines.configuration import Configuration, ReplaySettings
from pipelines.replay import ReplayResult, replay
from pipelines.sources import File, Parsing
from tests.conftest import MESSAGES, TWICE
from tests.end_to_end.stores import contents


def run(source: Path, store: Path, slice_messages: int = 20_000) -> ReplayResult:
    configuration = Configuration(replay=ReplaySettings(slice_messages=slice_messages))
    return replay([File(source)], database=f"sqlite:///{store}", configuration=configuration)


@pytest.fixture(scope="module")
def replayed(history: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ReplayResult]:
    store = tmp_path_factory.mktemp("replayed") / "whole.db"
    return store, run(history, store)


def test_every_message_is_accounted_for(replayed: tuple[Path, ReplayResult]) -> None:
    store, result = replayed
    assert (result.read, result.stored, result.duplicates) == (MESSAGES + TWICE, MESSAGES, TWICE)
    assert result.read == result.stored + result.duplicates + result.dead_letters
    tables = contents(store)
    assert len(tables["messages"]) == len(tables["tags"]) == MESSAGES
    overall = [row for row in tables["window_stats"] if row["key"] == "overall"]
    for seconds in (60, 3600):
        counted = [row["messages"] for row in overall if row["seconds"] == seconds]
        assert sum(counted) == MESSAGES


def test_where_the_slices_are_cut_changes_no_row(
    history: Path, replayed: tuple[Path, ReplayResult], tmp_path: Path
) -> None:
    result = run(history, tmp_path / "slices.db", slice_messages=137)
    assert result.run == replayed[1].run
    assert contents(tmp_path / "slices.db") == contents(replayed[0])


def test_a_second_replay_into_the_same_store_changes_nothing(
    history: Path, replayed: tuple[Path, ReplayResult]
) -> None:
    store, first = replayed
    before = contents(store)
    again = run(history, store)
    assert again.already_complete
    assert (again.read, again.stored) == (first.read, first.stored)
    assert contents(store) == before


def test_the_same_messages_from_another_file_are_duplicates_in_the_same_store(
    history: Path, replayed: tuple[Path, ReplayResult], tmp_path: Path
) -> None:
    lines = history.read_text(encoding="utf-8").splitlines(keepends=True)
    other = tmp_path / "history.jsonl"
    other.write_text("".join(sorted(lines[:MESSAGES])), encoding="utf-8")
    before = contents(replayed[0])
    result = run(other, replayed[0])
    assert (result.stored, result.duplicates) == (0, MESSAGES)
    assert contents(replayed[0]) == before


def test_bad_messages_are_dead_letters_and_the_rest_goes_on(tmp_path: Path) -> None:
    good = {"id": "1", "created_at": "2014-01-20T10:00:00Z", "text": "Pfizer raises its outlook"}
    lines = [
        json.dumps(good).encode(),
        b"{not json",
        b'{"id": "2", "created_at": "2014-01-20T10:01:00Z"}',
        b'{"id": "3", "created_at": "2014-02-31T10:00:00Z", "text": "an impossible day"}',
        b'{"id": "4", "created_at": "2014-01-20T10:02:00Z", "text": "caf\xe9"}',
        b'{"id": "5", "created_at": "2014-01-20T10:03:00Z", "text": "' + b"x" * 2_000_000 + b'"}',
        json.dumps({**good, "id": "6"}).encode(),
    ]
    source = tmp_path / "mixed.jsonl"
    source.write_bytes(b"\n".join(lines))
    result = run(source, tmp_path / "mixed.db")
    assert (result.read, result.stored, result.dead_letters) == (7, 2, 5)
    with Store.open(tmp_path / "mixed.db") as store:
        letters = store.dead_letters()
    assert [letter["line"] for letter in letters] == [2, 3, 4, 5, 6]
    assert all(letter["reason"] and letter["error"] for letter in letters)


@pytest.mark.parametrize("make", ["missing", "folder", "empty"])
def test_a_source_that_cannot_be_used_leaves_no_run(make: str, tmp_path: Path) -> None:
    source = tmp_path / "source.jsonl"
    if make == "folder":
        source.mkdir()
    elif make == "empty":
        source.touch()
    with pytest.raises(SourceError):
        run(source, tmp_path / "none.db")


def test_what_can_be_read_of_a_truncated_file_stays(history: Path, tmp_path: Path) -> None:
    source = tmp_path / "cut.jsonl.gz"
    source.write_bytes(gzip.compress(history.read_bytes())[:40_000])
    result = run(source, tmp_path / "cut.db")
    assert result.truncated
    assert result.stored > 100
    assert result.read == result.stored + result.duplicates + result.dead_letters


def test_a_surge_opens_one_alert_on_its_company_with_its_evidence(
    surge: Path, tmp_path: Path
) -> None:
    result = run(surge, tmp_path / "surge.db")
    with Store.open(tmp_path / "surge.db") as store:
        alerts = store.alerts(key="entity:BA")
        events = store.events()
    surges = [alert for alert in alerts if alert["kind"] == "negative_surge"]
    assert len(surges) == 1
    (alert,) = surges
    assert result.alerts >= 1
    assert f"{alert['opened_at']:%Y-%m-%d %H}" == "2014-04-05 15"
    shown = alert["evidence"]["messages"]
    assert len(shown) >= 3
    assert all("Boeing" in message["text"] or "$BA" in message["text"] for message in shown)
    assert all(message["words"] for message in shown[:3])
    assert [event["event"] for event in events if event["alert_id"] == alert["id"]][
        -1
    ] == "resolved"


def test_times_without_a_zone_are_said_once(tmp_path: Path) -> None:
    class Heard:
        remarks: list[str] = []  # noqa: RUF012

        def reading(self, name: str, done: int, size: int) -> None: ...

        def replaying(self, done: int, total: int) -> None: ...

        def remark(self, text: str) -> None:
            self.remarks.append(text)

    source = tmp_path / "naive.csv"
    source.write_text("date,headline\n2014-01-20 10:00,Oil falls\n2014-01-20 11:00,Oil rises\n")
    replay(
        [File(source)],
        database=f"sqlite:///{tmp_path / 'naive.db'}",
        configuration=Configuration(),
        parsing=Parsing(),
        watching=Heard(),
    )
    assert len(Heard.remarks) == 1
    assert "UTC" in Heard.remarks[0]


def test_the_result_is_json(replayed: tuple[Path, ReplayResult]) -> None:
    names = {"read", "stored", "duplicates", "dead_letters", "late", "spikes", "alerts", "seconds"}
    assert names <= set(msgspec.to_builtins(replayed[1]))
