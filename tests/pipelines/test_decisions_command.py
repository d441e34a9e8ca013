"""What people decide from a terminal, and what a pipeline that goes on afterwards makes of it."""

import getpass
import json
import sys
from typing import Any

import msgspec
import pytest

from alerting.alert import Alert, AlertChange
from connectors.store import Store
from pipelines.command.main import run
from pipelines.recording import record_changes
from tests.pipelines.ledgers import CLOCK, changes, message, stored


@pytest.fixture
def database(store_url: str) -> str:
    with Store.open(store_url) as store:
        stored(store)
    return store_url


@pytest.fixture
def foreshock(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], database: str
) -> Any:
    """Runs `foreshock alerts …` on the database; gives exit code, JSON or text, and errors."""

    def call(*arguments: str) -> tuple[int, Any, str]:
        monkeypatch.setattr(
            sys, "argv", ["foreshock", "alerts", *arguments, "--database", database]
        )
        with pytest.raises(SystemExit) as ended:
            run()
        said = capsys.readouterr()
        out = json.loads(said.out) if "--json" in arguments and said.out else said.out
        return int(ended.value.code or 0), out, said.err

    return call


def first(store: Store) -> str:
    return changes()[0].alert_id


def test_a_day_of_work_stands_in_the_row_and_in_the_ledger(foreshock: Any, database: str) -> None:
    alert = changes()[0].alert_id
    jane = ("--as", "Jane Roe", "--json")
    steps = [
        ("ack", alert[:8], *jane),
        ("assign", alert[:8], "--to", "bob", *jane),
        ("comment", alert[:8], "--text", "looked at\x1b[2J it", *jane),
        ("snooze", alert[:8], "--until", "2099-01-01", *jane),
        ("resolve", alert[:8], *jane),
        ("dispose", alert[:8], "--reason", "false-alarm", "--rationale", "old news", *jane),
    ]
    for step in steps:
        code, row, error = foreshock(*step)
        assert code == 0, error
    assert (row["acknowledged_by"], row["assigned_to"], row["closed_by"]) == (
        "Jane Roe",
        "bob",
        "Jane Roe",
    )
    assert (row["disposition"], row["disposition_reason"]) == ("false-alarm", "old news")
    assert row["snoozed_until"].startswith("2099-01-01")
    assert row["state"] == "resolved"
    code, shown, _ = foreshock("show", alert[:8], "--json")
    assert [event["event"] for event in shown["events"]][-6:] == [
        "acknowledged", "assigned", "commented", "snoozed", "closed", "disposed",
    ]  # fmt: skip
    code, shown, _ = foreshock("show", alert[:8])
    assert "commented by Jane Roe: looked at" in shown
    assert "\x1b" not in shown


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("ack", "nonsense"), 1, "0 alerts have an id that begins with 'nonsense'"),
        (("snooze", "ALERT", "--until", "2001-01-01"), 1, "2001-01-01 00:00 UTC is past"),
        (("snooze", "ALERT", "--until", "soon"), 2, "soon"),
        (("dispose", "ALERT", "--reason", "boredom", "--rationale", "x"), 1, "not a reason"),
        (("ack", "ALERT", "--as", "foreshock"), 1, "give your name"),
    ],
)
def test_what_makes_no_sense_is_one_sentence_and_leaves_no_event(
    foreshock: Any, database: str, arguments: tuple[str, ...], code: int, said: str
) -> None:
    arguments = tuple(changes()[0].alert_id if one == "ALERT" else one for one in arguments)
    with Store.open(database) as store:
        before = store.events()
        answer = foreshock(*arguments)
        assert store.events() == before
    assert answer[0] == code
    assert said in " ".join(answer[2].split())
    assert "Traceback" not in answer[2]


def test_who_decides_is_the_systems_user_where_nobody_is_named(foreshock: Any) -> None:
    code, out, _ = foreshock("ack", changes()[0].alert_id)
    assert code == 0
    assert f"by {getpass.getuser()}" in out
    code, _, error = foreshock("ack", changes()[0].alert_id)
    assert code == 1
    assert "was acknowledged by" in error


def again(store: Store, found: list[AlertChange], observed: float | None = None) -> None:
    """Another run finds these changes, perhaps with another figure."""
    pairs: list[tuple[AlertChange, Alert]] = []
    for change in found:
        alert = change.alert
        if observed is not None:
            alert = msgspec.structs.replace(alert, peak_observed=observed)
            details = {**change.details, "alert": msgspec.to_builtins(alert)}
            change = msgspec.structs.replace(change, alert=alert, details=details)
        shown = [message(name) for name in alert.evidence["message_ids"]]
        alert = msgspec.structs.replace(alert, evidence={**alert.evidence, "messages": shown})
        pairs.append((change, alert))
    with store.transaction() as tx:
        record_changes(tx, pairs, "another run", CLOCK)


def test_what_the_ledger_says_already_is_not_filed_again(database: str) -> None:
    with Store.open(database) as store:
        before = store.events(), store.alerts()
        again(store, changes())
        assert (store.events(), store.alerts()) == before


def test_another_finding_at_the_same_place_is_filed_as_revised_once(database: str) -> None:
    with Store.open(database) as store:
        known = len(store.events())
        again(store, changes()[:2], observed=99.0)
        again(store, changes()[:2], observed=99.0)
        added = store.events()[known:]
        alert = store.alert(changes()[0].alert_id)
    assert [event["event"] for event in added] == ["revised", "revised"]
    assert [event["details"]["revises"] for event in added] == [
        change.event_id for change in changes()[:2]
    ]
    assert {event["run_id"] for event in added} == {"another run"}
    assert alert is not None
    assert alert["peak_observed"] == 99.0


@pytest.mark.parametrize(
    "decision",
    [
        ("resolve",),
        ("dispose", "--reason", "duplicate", "--rationale", "of another"),
    ],
)
def test_a_pipeline_that_goes_on_opens_nothing_again_and_says_what_it_found(
    foreshock: Any, database: str, decision: tuple[str, ...]
) -> None:
    alert_id = changes()[0].alert_id
    code, before, error = foreshock(decision[0], alert_id, *decision[1:], "--as", "jane", "--json")
    assert code == 0, error
    with Store.open(database) as store:
        again(store, changes()[:2], observed=99.0)
        alert, events = store.alert(alert_id), store.events(alert_id)
    assert alert is not None
    assert (alert["state"], alert["closed_by"]) == ("resolved", "jane")
    assert alert["disposition"] == before["disposition"]
    assert alert["peak_observed"] == 99.0
    assert events[-1]["event"] == "revised"
    assert events[-1]["details"]["kept"]["closed_by"] == "jane"
