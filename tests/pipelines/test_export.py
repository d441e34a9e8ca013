"""The export: the same bytes for the same store, and enough to check an alert without the store."""

import hmac
import io
import json
import re
import sys
from collections.abc import Iterator
from datetime import datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import ColumnElement

from alerting.decisions import Comment
from connectors.store import Store
from pipelines.command.main import run
from pipelines.export.dossier import gathered, one, opened, write_jsonl
from pipelines.export.page import render
from pipelines.recording import record_decision
from tests.alerting.test_lifecycle import HOUR, NOON
from tests.pipelines.ledgers import CLOCK, MANIFEST, RUN, changes, stored

AUDIT = Path(__file__).parents[2] / "docs/audit.md"
HOSTILE = "</script><img src=x onerror=alert(2)>\u202e"


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    with Store.open(store_url) as store:
        fill(store)
        yield store


def fill(store: Store) -> None:
    stored(store)
    with store.transaction() as tx:
        action = Comment(HOSTILE)
        record_decision(tx, changes()[0].alert_id, action, actor="jane", now=CLOCK)


def jsonl(store: Store, wanted: ColumnElement[bool]) -> str:
    text = io.StringIO()
    with gathered(store, wanted) as dossier:
        write_jsonl(dossier, text)
    return text.getvalue()


def page(store: Store) -> str:
    with gathered(store, opened(None, None)) as dossier:
        return render(dossier)


def opening(store: Store, start: datetime | None, end: datetime | None) -> list[datetime]:
    with gathered(store, opened(start, end)) as dossier:
        return [row["opened_at"] for row in dossier.alerts]


def records(text: str) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for line in text.splitlines():
        record = json.loads(line)
        found.setdefault(record.pop("record"), []).append(record)
    return found


def test_one_alert_comes_with_all_that_it_rests_on(store: Store) -> None:
    alert_id = changes()[0].alert_id
    found = records(jsonl(store, one(alert_id)))
    (alert,) = found["alert"]
    assert alert["id"] == alert_id
    assert [event["event"] for event in found["event"]] == ["opened", "updated", "commented"]
    assert len(found["spike"]) == 2
    assert {message["id"] for message in found["message"]} == set(alert["evidence"]["message_ids"])
    assert all(message["tags"]["model"]["checksum"] for message in found["message"])
    assert [(row["id"], row["manifest"]) for row in found["run"]] == [(RUN, MANIFEST)]
    assert len(found["link"]) == 2


def test_whoever_has_only_the_export_can_follow_the_chain_to_its_head(
    store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """By the program in docs/audit.md, which has nothing of ours."""
    text = jsonl(store, one(changes()[0].alert_id))
    found = records(text)
    program = re.search(r"```python\n(.*?)```", AUDIT.read_text(encoding="utf-8"), re.DOTALL)
    assert program is not None
    monkeypatch.chdir(tmp_path)
    Path("alert.jsonl").write_text(text, encoding="utf-8")
    exec(program[1], {})
    Path("alert.jsonl").write_text(text.replace("commented", "Commented"), "utf-8")
    with pytest.raises(AssertionError):
        exec(program[1], {})
    salts = {message["id"]: message["salt"] for message in found["message"]}
    seals = dict(found["event"][1]["seals"])
    for shown in found["alert"][0]["evidence"]["messages"]:
        text = json.dumps(shown, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        salt = bytes.fromhex(salts[shown["id"]])
        assert hmac.new(salt, text.encode(), "sha256").hexdigest() == seals[shown["id"]]


def test_the_same_store_gives_the_same_bytes(store: Store) -> None:
    assert jsonl(store, opened(None, None)) == jsonl(store, opened(None, None))
    assert page(store) == page(store)


def test_a_time_chooses_by_when_alerts_opened(store: Store) -> None:
    assert opening(store, None, None) == [NOON, NOON + HOUR]
    assert opening(store, None, NOON + HOUR) == [NOON]
    assert opening(store, NOON + HOUR, None) == [NOON + HOUR]
    assert opening(store, NOON + 2 * HOUR, None) == []


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.scripts = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.scripts += tag == "script"
        assert not any(name.startswith("on") for name, _ in attrs)
        assert not any(name in ("src", "srcdoc") for name, _ in attrs)


def test_hostile_text_is_inert_in_the_page(store: Store) -> None:
    text = page(store)
    parser = Tags()
    parser.feed(text)
    assert not parser.names & {"img", "iframe", "object", "link", "form"}
    assert parser.scripts == 1
    assert "alert(1)" in text
    assert "<script>alert(1)" not in text
    assert "\u202e" not in text
    assert "⟦U+202E⟧" in text
    assert not re.search(r'href="(?!#)', text)


def test_the_command_writes_files_and_says_what_is_in_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    with Store.open("foreshock.db") as store:
        fill(store)

    def export(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["foreshock", "alerts", "export", *arguments])
        with pytest.raises(SystemExit) as ended:
            run()
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        return int(ended.value.code or 0), " ".join((said.out + said.err).split())

    code, said = export(changes()[0].alert_id[:8], "--out", "one.jsonl")
    assert (code, "1 alerts, 3 events, 2 messages" in said) == (0, True)
    assert json.loads(Path("one.jsonl").read_text(encoding="utf-8").splitlines()[0])["schema"] == 1
    code, said = export("--format", "html", "--from", "2024-01-01", "--out", "all.html")
    assert code == 0
    assert Path("all.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    code, said = export("--from", "2030-01-01", "--out", "none.jsonl")
    assert (code, "no alert" in said) == (1, True)
    code, said = export("--out", "missing/all.jsonl")
    assert (code, "cannot be written" in said) == (1, True)
    assert export("abc", "--from", "2024-01-01", "--out", "x")[0] == 2
