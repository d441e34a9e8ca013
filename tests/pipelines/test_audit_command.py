"""Proving from a terminal: what is said, its JSON, its exit codes."""

import json
import sqlite3
import sys
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from connectors.store import Store
from pipelines.command.main import run
from pipelines.metrics.endpoint import endpoint
from pipelines.metrics.settings import MetricsSettings
from tests.pipelines.ledgers import changes, stored


@pytest.fixture
def foreshock(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Any:
    """Runs `foreshock alerts …` in a folder with a filled store; gives code, output and errors."""
    monkeypatch.chdir(tmp_path)
    with Store.open("foreshock.db") as store:
        stored(store)

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["foreshock", "alerts", *arguments])
        with pytest.raises(SystemExit) as ended:
            run()
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        return int(ended.value.code or 0), " ".join(said.out.split()), " ".join(said.err.split())

    return call


SIGNED = ("verify", "--head", "head.json", "--public-key", "keys/foreshock-ledger.pub")


def tamper(statement: str) -> None:
    with sqlite3.connect("foreshock.db") as connection:
        for name in ("no_update", "no_delete"):
            connection.execute(f"DROP TRIGGER alert_events_{name}")
        connection.execute(statement)


def test_a_whole_store_holds_and_what_is_unproved_is_said(foreshock: Any) -> None:
    code, out, _ = foreshock("verify")
    assert code == 0
    assert "Holds: 4 events in one chain, 2 alerts as it says" in out
    assert "Unproved: Without a head" in out


def test_a_signed_head_leaves_nothing_unproved_and_finds_a_cut_tail(foreshock: Any) -> None:
    assert foreshock("keygen", "--out", "keys")[0] == 0
    code, out, _ = foreshock("head", "--key", "keys/foreshock-ledger.key", "--out", "head.json")
    assert code == 0
    assert "row 4" in out
    code, out, _ = foreshock(*SIGNED, "--json")
    assert code == 0
    assert json.loads(out)["unproved"] == []
    tamper("DELETE FROM alert_events WHERE sequence = 4")
    code, out, _ = foreshock(*SIGNED)
    assert code == 1
    assert "BROKEN: alert_events" in out
    assert "a head was taken at row 4" in out


def test_a_forged_head_is_found_by_its_signature(foreshock: Any) -> None:
    foreshock("keygen", "--out", "keys")
    foreshock("head", "--out", "head.json")
    code, out, _ = foreshock(*SIGNED)
    assert code == 1
    assert "the head is not signed" in out


def test_a_bad_row_is_named_and_no_head_is_taken(foreshock: Any) -> None:
    tamper("UPDATE alert_events SET actor = 'x' WHERE sequence = 2")
    code, out, _ = foreshock("verify", "--json")
    assert code == 1
    broken = json.loads(out)["broken"]
    assert (broken["sequence"], broken["reason"]) == (2, "its content does not match its hash")
    code, _, error = foreshock("head", "--out", "head.json")
    assert code == 1
    assert "broken at row 2" in error
    assert not Path("head.json").exists()


def test_prometheus_learns_whether_the_ledger_holds(foreshock: Any, tmp_path: Path) -> None:
    with endpoint(MetricsSettings(port=0, folder=tmp_path / "metrics")) as page:
        assert page is not None
        for intact in (1, 0):
            foreshock("verify")
            with urlopen(page) as answer:
                assert f"foreshock_ledger_intact {intact}.0" in answer.read().decode()
            if intact:
                tamper("UPDATE alert_events SET actor = 'nobody' WHERE sequence = 2")


def test_what_cannot_be_used_is_one_sentence(foreshock: Any) -> None:
    assert foreshock("verify", "--public-key", "x")[0] == 2
    code, _, error = foreshock("verify", "--head", "missing.json")
    assert code == 1
    assert "missing.json cannot be read" in error
    foreshock("keygen", "--out", "keys")
    Path("keys/foreshock-ledger.key").chmod(0o644)
    code, out, error = foreshock("head", "--key", "keys/foreshock-ledger.key", "--out", "head.json")
    assert code == 1
    assert "others than you may read the key" in error
    assert "PRIVATE" not in out + error


def test_a_text_is_erased_and_the_ledger_says_by_whom(foreshock: Any) -> None:
    message_id = changes()[0].alert.evidence["message_ids"][0]
    code, out, _ = foreshock("erase", message_id, "--reason", "Article 17", "--as", "jane")
    assert code == 0
    assert "Erased" in out
    code, out, _ = foreshock("verify")
    assert code == 0
    assert "Erased, as the ledger says: 1 messages" in out
    shown = json.loads(foreshock("show", changes()[0].alert_id, "--json")[1])
    assert shown["events"][-1]["event"] == "erased"
    assert shown["events"][-1]["actor"] == "jane"
