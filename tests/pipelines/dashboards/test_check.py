"""`foreshock dashboards check`: every query is asked, and what fails is named."""

import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from connectors.store import Store
from pipelines.command.main import run
from pipelines.configuration import Configuration
from pipelines.dashboards.asking import QueryError, Scope, for_postgresql
from pipelines.dashboards.building import Span, boards
from pipelines.dashboards.checking import check
from pipelines.replay import replay
from pipelines.sources import File

NOON = datetime(2014, 3, 1, 12, tzinfo=UTC)
POSTGRESQL_ONLY = {"Time to acknowledge", "Answers by kind"}

Foreshock = Callable[..., tuple[int, str, str]]


@pytest.fixture
def foreshock(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Foreshock:
    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["foreshock", "dashboards", *arguments])
        with pytest.raises(SystemExit) as ended:
            run()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return call


def test_every_panel_answers_from_postgresql(filled: Store, shown: Span) -> None:
    given = {"company": "BA", "topic": "Legal | Regulation"}
    done = [
        one for board in boards(shown, NOON) for one in check(board, filled, shown, given=given)
    ]
    empty = {(one.dashboard, one.part, one.query) for one in done if one.status == "empty"}
    assert empty == set()
    assert not [one for one in done if one.status == "failed"]
    skipped = [one for one in done if one.status == "skipped"]
    assert {one.detail for one in skipped} == {"no Prometheus given"}
    assert {one.dashboard for one in skipped} == {"Pipeline health"}
    assert all(one.rows and one.milliseconds for one in done if one.status == "ok")


def test_an_empty_panel_is_said_to_be_empty_and_does_not_fail(
    foreshock: Foreshock, tmp_path: Path
) -> None:
    Store.open(tmp_path / "empty.db").close()
    code, out, _ = foreshock("check", "--database", f"sqlite:///{tmp_path}/empty.db", "--json")
    assert code == 0
    assert {one["status"] for one in json.loads(out)} == {"ok", "empty", "skipped"}


def test_sqlite_answers_what_it_can(surge: Path, foreshock: Foreshock, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/surge.db"
    replay([File(surge)], database=url, configuration=Configuration())
    code, out, _ = foreshock("check", "--database", url, "--json", "--variable", "company=BA")
    done: list[dict[str, Any]] = json.loads(out)
    assert code == 0
    skipped = {one["part"] for one in done if one["detail"].startswith("SQLite has no")}
    assert skipped == POSTGRESQL_ONLY
    answered = {one["part"] for one in done if one["status"] == "ok"}
    assert {"Companies that move", "Latest messages", "Messages by sentiment"} <= answered


def test_a_query_that_fails_is_named_and_ends_with_1(
    foreshock: Foreshock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    Store.open(tmp_path / "empty.db").close()
    monkeypatch.setattr("pipelines.dashboards.health.RUNS", "SELECT 1 FROM nowhere")
    code, out, _ = foreshock("check", "--database", f"sqlite:///{tmp_path}/empty.db", "--json")
    (failed,) = [one for one in json.loads(out) if one["status"] == "failed"]
    assert code == 1
    assert failed["part"] == "Runs"
    assert "nowhere" in failed["detail"]


def test_a_variable_that_no_dashboard_has_is_refused(foreshock: Foreshock, tmp_path: Path) -> None:
    Store.open(tmp_path / "empty.db").close()
    database = f"sqlite:///{tmp_path}/empty.db"
    code, _, err = foreshock("check", "--database", database, "--variable", "ticker=BA")
    assert code == 2
    assert "company, configuration, topic" in " ".join(err.split())


def test_a_prometheus_that_is_not_there_is_a_failure(filled: Store, shown: Span) -> None:
    health = boards(shown, NOON)[-1]
    done = list(check(health, filled, shown, prometheus="http://127.0.0.1:9"))
    assert {one.status for one in done if one.part == "Unread"} == {"failed"}


@pytest.mark.parametrize(
    ("sql", "left"),
    [
        ("SELECT $__timeFrom", "$__timeFrom"),
        ("SELECT ${country:sqlstring}", "${country:sqlstring}"),
        ("SELECT $company", "$company"),
    ],
)
def test_what_grafana_would_not_fill_in_is_refused(sql: str, left: str) -> None:
    with pytest.raises(QueryError, match=left.replace("$", r"\$").split(":")[0].split("{")[0]):
        for_postgresql(sql, Scope(NOON, NOON, {"company": "BA"}))
