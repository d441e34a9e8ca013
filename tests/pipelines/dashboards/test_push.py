"""`foreshock dashboards push` against the API that Grafana documents."""

import copy
import json
import sys
from collections.abc import Callable, Iterator

import pytest

from connectors.store import Store
from pipelines.command.main import run
from pipelines.dashboards.building import BOARDS
from tests.pipelines.dashboards.grafana_server import EDITOR, VIEWER, Grafana, running

Foreshock = Callable[..., tuple[int, str, str]]


@pytest.fixture
def grafana() -> Iterator[Grafana]:
    with running() as server:
        yield server


@pytest.fixture
def push(
    grafana: Grafana, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Foreshock:
    """Runs `foreshock dashboards push`; gives exit code, output and errors."""
    monkeypatch.setenv("FORESHOCK_GRAFANA_TOKEN", EDITOR)

    def call(*arguments: str) -> tuple[int, str, str]:
        command = ["foreshock", "dashboards", "push", "--grafana", grafana.url, *arguments]
        monkeypatch.setattr(sys, "argv", command)
        with pytest.raises(SystemExit) as ended:
            run()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return call


def states(out: str) -> set[str]:
    return {one["status"] for one in json.loads(out)["dashboards"]}


def test_dashboards_are_created_in_their_folder(grafana: Grafana, push: Foreshock) -> None:
    code, out, _ = push("--json")
    assert code == 0
    assert states(out) == {"created"}
    assert grafana.folders == {"foreshock": "Foreshock"}
    assert set(grafana.boards) == set(BOARDS)


def test_a_second_push_changes_nothing(grafana: Grafana, push: Foreshock) -> None:
    push()
    before = copy.deepcopy(grafana.boards)
    grafana.changes.clear()
    code, out, _ = push("--json")
    assert (code, states(out)) == (0, {"unchanged"})
    assert grafana.changes == []
    assert grafana.boards == before


def test_only_what_differs_is_replaced(grafana: Grafana, push: Foreshock) -> None:
    push()
    grafana.boards["foreshock-topic"]["title"] = "My topic"
    _, out, _ = push("--json")
    done = {one["uid"]: one["status"] for one in json.loads(out)["dashboards"]}
    assert done.pop("foreshock-topic") == "updated"
    assert set(done.values()) == {"unchanged"}
    assert grafana.boards["foreshock-topic"]["title"] == "Topic"
    assert grafana.boards["foreshock-topic"]["version"] == 2


def test_a_dry_run_shows_the_difference_and_changes_nothing(
    grafana: Grafana, push: Foreshock
) -> None:
    _, out, _ = push("--dry-run")
    assert out.count("would be created") == len(BOARDS)
    assert (grafana.boards, grafana.folders) == ({}, {})
    push()
    grafana.boards["foreshock-topic"]["title"] = "My topic"
    grafana.changes.clear()
    code, out, _ = push("--dry-run")
    assert code == 0
    assert '- "title": "My topic"' in out
    assert '+ "title": "Topic"' in out
    assert grafana.changes == []


def test_a_dashboard_that_somebody_saves_meanwhile_is_not_overwritten(
    grafana: Grafana, push: Foreshock
) -> None:
    push()
    theirs = grafana.boards["foreshock-topic"]
    theirs["title"] = "My topic"

    def saves() -> None:
        theirs["version"] = 7

    grafana.before_saving = saves
    code, _, error = push()
    assert code == 1
    assert "somebody has saved it meanwhile" in error
    assert grafana.boards["foreshock-topic"]["title"] == "My topic"


def test_a_folder_of_that_name_with_another_uid_is_said(grafana: Grafana, push: Foreshock) -> None:
    grafana.folders["theirs"] = "Foreshock"
    code, _, error = push()
    assert code == 1
    assert "another folder named Foreshock" in error


@pytest.mark.parametrize(
    ("token", "said"), [("nobodys", "does not know the token"), (VIEWER, "role Editor")]
)
def test_a_token_that_may_not_is_explained_and_not_shown(
    push: Foreshock, monkeypatch: pytest.MonkeyPatch, token: str, said: str
) -> None:
    monkeypatch.setenv("FORESHOCK_GRAFANA_TOKEN", token)
    code, out, error = push()
    assert code == 1
    assert said in error
    assert token not in out + error


def test_a_grafana_that_is_not_there_is_said(
    push: Foreshock, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, _, error = push("--grafana", "http://127.0.0.1:9")
    assert code == 1
    assert "http://127.0.0.1:9 does not answer" in error


def test_each_alert_is_marked_once(
    grafana: Grafana, push: Foreshock, filled: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = filled.engine.url.render_as_string(hide_password=False)
    alerts = filled.alerts()
    for marked in (len(alerts), 0):
        _, out, _ = push("--annotations", "--database", database, "--json")
        assert json.loads(out)["annotations"] == marked
    first = min(alerts, key=lambda row: row["opened_at"])
    found = [mark for mark in grafana.annotations if f"alert:{first['id']}" in mark["tags"]]
    assert [mark["time"] for mark in found] == [first["opened_at"].timestamp() * 1000]
    assert len(grafana.annotations) == len(alerts)
    # A store of history: that is what the dashboards show at first.
    assert grafana.boards["foreshock-mood"]["time"]["from"].startswith("2014-")


def test_an_address_without_http_is_refused(push: Foreshock) -> None:
    code, _, err = push("--grafana", "grafana.example.org")
    assert code == 1
    assert "write https://HOST" in " ".join(err.split())
