"""Dead letters that can be read by now are stored as late messages; the others stay."""

import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from connectors.store import Store, schema
from pipelines.configuration import Configuration
from pipelines.replay import replay
from pipelines.retry import LATE_REASON, RetryResult, retry
from pipelines.sources import File, Parsing

GOOD = {"id": "1", "created_at": "2014-01-20T10:00:00Z", "text": "$PFE Pfizer raises its outlook"}
LINES = (
    GOOD,
    {"id": "2", "when": "2014-01-20T10:01:00Z", "text": "$BA Boeing falls"},
    {"id": "1", "when": "2014-01-20T10:00:00Z", "text": "$PFE Pfizer raises its outlook"},
    {"id": "3", "created_at": "never", "text": "$BA Boeing rises"},
)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    source = tmp_path / "feed.jsonl"
    source.write_bytes(b"\n".join([*(json.dumps(line).encode() for line in LINES), b"{broken"]))
    path = tmp_path / "feed.db"
    replay([File(source)], database=f"sqlite:///{path}", configuration=Configuration())
    return path


def drive(store: Path, parsing: Parsing) -> RetryResult:
    tagger = Configuration().tag.tagger()
    with Store.open(store) as opened:
        open_letters = [row for row in opened.dead_letters() if row["retried_at"] is None]
        return retry(opened, open_letters, tagger, parsing, None)


def rows(store: Path, name: str) -> list[dict[str, Any]]:
    with Store.open(store) as opened:
        return opened.rows(select(schema.metadata.tables[name]))


def test_what_a_mapping_makes_readable_is_stored_once_and_marked(store: Path) -> None:
    windows = rows(store, "window_stats")
    result = drive(store, Parsing(mapping={"time": "when"}))
    assert (result.tried, result.stored, result.duplicates) == (4, 1, 1)
    assert {one.reason for one in result.failed} == {"missing-time", "invalid-json"}

    stored = {row["id"]: row for row in rows(store, "messages")}
    assert set(stored) == {"feed:1", "feed:2"}
    (late,) = rows(store, "late_messages")
    assert (late["message_id"], late["reason"]) == ("feed:2", LATE_REASON)
    assert {row["message_id"]: row["entities"] for row in rows(store, "tags")} == {
        "feed:1": ["PFE"],
        "feed:2": ["BA"],
    }
    assert rows(store, "window_stats") == windows
    marked = [row["line"] for row in rows(store, "dead_letters") if row["retried_at"]]
    assert sorted(marked) == [2, 3]
    assert drive(store, Parsing(mapping={"time": "when"})).tried == 2


def test_what_was_cut_is_not_driven_again(tmp_path: Path) -> None:
    source = tmp_path / "huge.jsonl"
    huge = {**GOOD, "id": "2", "text": "x" * 2_000_000}
    source.write_text(f"{json.dumps(GOOD)}\n{json.dumps(huge)}\n")
    path = tmp_path / "huge.db"
    replay([File(source)], database=f"sqlite:///{path}", configuration=Configuration())
    (failed,) = drive(path, Parsing()).failed
    assert failed.reason == "incomplete"
