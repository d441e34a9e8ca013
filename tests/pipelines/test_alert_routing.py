"""Rules at work on a store: what is told lies in the outbox with the event, or not at all."""

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from typer.testing import CliRunner

from alerting.decisions import Acknowledge
from alerting.errors import ConfigurationError
from alerting.ledger import LedgerRow
from alerting.lifecycle import LifecycleSettings
from alerting.notification import Notification
from alerting.rules import parse
from connectors.store import Store, Transaction
from connectors.store.schema import deliveries, incident_members, rule_versions
from pipelines.alerting.following import Follower
from pipelines.alerting.routing import Routing
from pipelines.alerting.ruling import RulesFile, doubts, read_rules
from pipelines.alerting.silencing import approve, ask_for
from pipelines.audit import prove
from pipelines.command.main import app
from pipelines.recording import record_decision
from tests.pipelines.commits import committed, prepared, shown
from tests.pipelines.ledgers import CLOCK, RUN
from tests.pipelines.test_following import Killed, minute, surge

MINUTE = timedelta(minutes=1)
EMAIL = """
[channels.email]
kind = "email"
host = "localhost"
sender = "alerts@example.org"
security = "none"
"""
RULES = """
[people.jane]
email = "jane@example.org"
[people.bob]
email = "bob@example.org"

[routes.desk]
to = ["jane"]
escalate = [{minutes = 15, to = ["bob"]}]

[[rules]]
name = "companies"
entities = ["A"]
route = "desk"
"""


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    with Store.open(store_url) as store:
        prepared(store)
        yield store


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "rules.toml"
    path.write_text(RULES, encoding="utf-8")
    return path


def following(store: Store, path: Path) -> tuple[Follower, Routing]:
    routing = Routing(RulesFile(path, ["email"]))
    routing.file.refresh(store, CLOCK)
    return Follower(store, "c", LifecycleSettings(), shown, RUN, routing.tell), routing


def outbox(store: Store) -> list[dict[str, Any]]:
    return store.rows(select(deliveries).order_by(deliveries.c.recorded_at, deliveries.c.id))


def test_an_event_and_its_notices_are_committed_together(store: Store, path: Path) -> None:
    follower, _ = following(store, path)
    committed(store, [minute(1, surge(1), surge(1, key="entity:B"))], final=False)
    rows, _ = follower.look(CLOCK)
    assert [row.event for row in rows] == ["opened", "opened"]
    (row,) = outbox(store)
    notification = Notification(**row["payload"])
    assert (row["state"], row["recipient"]) == ("pending", "jane@example.org")
    assert (row["id"], row["event_id"]) == (notification.id, rows[0].id)
    assert notification.rules == parse(RULES.encode())[1]
    assert "messages" not in row["payload"]["alert"]["evidence"]
    routed = [one for one in store.events() if one["event"] == "routed"]
    assert [len(one["details"]["told"]) for one in routed] == [1, 0]
    assert "example.org" not in repr(store.events())
    follower.look(CLOCK)
    assert len(outbox(store)) == 1
    assert prove(store).holds


def test_what_was_rolled_back_was_told_to_nobody(store: Store, path: Path) -> None:
    follower, routing = following(store, path)

    def fail(tx: Transaction, rows: Sequence[LedgerRow], now: Any) -> None:
        routing.tell(tx, rows, now)
        raise Killed

    follower.tell = fail
    committed(store, [minute(1, surge(1))], final=True)
    with pytest.raises(Killed):
        follower.look(CLOCK)
    assert outbox(store) == []
    follower.tell = routing.tell
    follower.look(CLOCK)
    assert len(outbox(store)) == 1


def test_a_withdrawn_alert_is_told_to_those_who_heard_of_it(store: Store, path: Path) -> None:
    follower, _ = following(store, path)
    committed(store, [minute(1, surge(1))], final=False)
    follower.look(CLOCK)
    committed(store, [minute(1)], final=True)
    follower.look(CLOCK + MINUTE)
    assert [row["payload"]["event"] for row in outbox(store)] == ["opened", "withdrawn"]


def test_the_next_one_is_told_unless_somebody_has_acknowledged(store: Store, path: Path) -> None:
    follower, routing = following(store, path)
    committed(store, [minute(1, surge(1)), minute(300, surge(300, kind="volume"))], final=True)
    follower.look(CLOCK)
    ids = {row["kind"]: row["id"] for row in store.alerts()}
    with store.transaction() as tx:
        record_decision(tx, ids["volume"], Acknowledge(), actor="jane", now=CLOCK)
    routing.tick(store, CLOCK + 14 * MINUTE)
    assert len(outbox(store)) == 3
    committed(store, [minute(301, surge(301, kind="amplification"))], final=True)
    follower.look(CLOCK + 10 * MINUTE)
    routing.tick(store, CLOCK + 15 * MINUTE)
    routing.tick(store, CLOCK + 25 * MINUTE)
    told = [(row["payload"]["event"], row["recipient"]) for row in outbox(store)]
    assert told[-1] == ("escalated", "bob@example.org")
    assert sum(event == "escalated" for event, _ in told) == 1
    assert prove(store).holds


def test_a_changed_file_holds_from_then_on_and_every_version_is_kept(
    store: Store, path: Path
) -> None:
    follower, routing = following(store, path)
    first = routing.file.router.version
    path.write_text("[[rules", encoding="utf-8")
    assert routing.file.refresh(store, CLOCK)
    assert "cannot be used" in str(routing.file.refused)
    assert routing.file.router.version == first
    path.write_text(RULES.replace('to = ["jane"]', 'to = ["bob"]'), encoding="utf-8")
    assert routing.file.refresh(store, CLOCK)
    assert not routing.file.refresh(store, CLOCK)
    assert routing.file.refused is None
    committed(store, [minute(1, surge(1))], final=True)
    follower.look(CLOCK)
    assert [row["recipient"] for row in outbox(store)] == ["bob@example.org"]
    kept = {row["id"]: row["text"] for row in store.rows(select(rule_versions))}
    assert kept == {first: RULES, routing.file.router.version: path.read_text(encoding="utf-8")}
    (routed,) = [one for one in store.events() if one["event"] == "routed"]
    assert parse(kept[routed["details"]["rules"]].encode())[1] == routed["details"]["rules"]


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE rule_versions SET text = 'rules = []'", "its text does not match its id"),
        ("DELETE FROM rule_versions", "is missing; the ledger names it"),
    ],
)
def test_the_rules_that_the_record_names_are_proved(
    store: Store, path: Path, statement: str, said: str
) -> None:
    follower, _ = following(store, path)
    committed(store, [minute(1, surge(1))], final=True)
    follower.look(CLOCK)
    assert prove(store).holds
    with store.engine.begin() as connection:
        connection.exec_driver_sql(statement)
    broken = prove(store).broken
    assert broken is not None
    assert (broken.table, broken.reason) == ("rule_versions", said)


def test_a_channel_that_is_not_configured_is_refused(path: Path) -> None:
    with pytest.raises(ConfigurationError, match="name the channel 'email'; configured are: hook"):
        read_rules(path, ["hook"])
    with pytest.raises(ConfigurationError, match=r"cannot be read: No such file"):
        read_rules(path.with_name("none.toml"), ["email"])


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ('topics = ["Legal"]', "name the topic 'Legal' in rule 'companies'; there are: Analyst"),
        ('sectors = ["Banks"]', "name the sector 'Banks' in rule 'companies'; there are: Comm"),
    ],
)
def test_a_name_that_no_alert_ever_has_is_refused(path: Path, named: str, said: str) -> None:
    path.write_text(RULES.replace('entities = ["A"]', named), encoding="utf-8")
    with pytest.raises(ConfigurationError, match=said):
        read_rules(path, ["email"])


@pytest.mark.parametrize(
    ("named", "nearest"),
    [
        ("AMZNN", "; nearest: AMZN"),
        ("amzn", "; nearest: AMZN"),
        ("Amazon", "; nearest: AMZN"),
        ("0-nobody-0", ". It is right only where messages bring it themselves."),
    ],
)
def test_an_entity_that_no_company_has_is_used_with_a_remark(
    path: Path, named: str, nearest: str
) -> None:
    path.write_text(RULES.replace('["A"]', f'["A", "{named}"]'), encoding="utf-8")
    rules, _, _ = read_rules(path, ["email"])
    (doubt,) = doubts(rules)
    assert doubt.startswith(f"Rule 'companies' names the entity '{named}', which no company of")
    assert nearest in doubt


def test_the_command_says_so_too(
    path: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = tmp_path / "foreshock.toml"
    config.write_text(EMAIL, encoding="utf-8")
    path.write_text(RULES.replace('["A"]', '["AMZNN"]'), encoding="utf-8")
    command = ["alerts", "test-route", "--rules", str(path), "--config", str(config)]
    with caplog.at_level("WARNING"):
        found = CliRunner().invoke(app, [*command, "--key", "entity:AMZNN"])
    assert found.exit_code == 0, found.output
    assert "nearest: AMZN" in caplog.text


def test_the_documentations_example_can_be_used(path: Path) -> None:
    docs = Path(__file__).parents[2] / "docs" / "alerts.md"
    _, _, example = docs.read_text(encoding="utf-8").partition("```toml\n")
    path.write_text(example.partition("```")[0], encoding="utf-8")
    rules, _, _ = read_rules(path, ["email", "pager"])
    assert [one.person for one in rules.targets(rules.routes["desk"], ("desk",))] == ["jane", "bob"]


def test_the_command_says_what_would_happen(path: Path, tmp_path: Path) -> None:
    config = tmp_path / "foreshock.toml"
    config.write_text(EMAIL, encoding="utf-8")
    run = CliRunner().invoke
    command = ["alerts", "test-route", "--rules", str(path), "--config", str(config)]
    found = run(app, [*command, "--key", "entity:A", "--at", "2026-03-02T12:00Z"])
    assert found.exit_code == 0, found.output
    words = " ".join(found.output.split())
    assert "jane │ email │ desk │ at once" in words
    assert "bob │ email │ desk │ 2026-03-02 12:15 UTC unless acknowledged" in words
    found = run(app, [*command, "--key", "topic:Legal"])
    assert "No rule of version" in found.output


def test_what_is_silenced_is_filed_with_who_silenced_it(store: Store, path: Path) -> None:
    path.write_text(RULES + "[approvals]\nsilences = true\n", encoding="utf-8")
    follower, _ = following(store, path)
    with store.transaction() as tx:
        silence = ask_for(
            tx,
            owner="jane",
            reason="planned",
            starts_at=CLOCK,
            ends_at=CLOCK + MINUTE,
            keys=("entity:A",),
            kinds=(),
            now=CLOCK,
        )
        assert silence.approved_at is None
        approve(tx, silence.id, actor="bob", now=CLOCK)
    committed(store, [minute(1, surge(1))], final=True)
    follower.look(CLOCK)
    assert outbox(store) == []
    (routed,) = [one for one in store.events() if one["event"] == "routed"]
    (held,) = routed["details"]["held"]
    assert (held["silence"], held["owner"], held["approved_by"]) == (silence.id, "jane", "bob")
    steps = [row for row in store.events() if row["subject"] == f"silence:{silence.id}"]
    assert [(row["event"], row["actor"], row["alert_id"]) for row in steps] == [
        ("silenced", "jane", None),
        ("silence-approved", "bob", None),
    ]
    assert prove(store).holds


def test_the_command_asks_for_a_second_person_where_the_rules_want_one(
    tmp_path: Path, path: Path
) -> None:
    database = f"sqlite:///{tmp_path}/store.db"
    path.write_text(RULES + "[approvals]\nsilences = true\n", encoding="utf-8")
    with Store.open(database) as store:
        RulesFile(path, ["email"]).refresh(store, CLOCK)

    def run(*words: str) -> str:
        command = ["alerts", "silence", *words, "--database", database]
        return " ".join(CliRunner().invoke(app, command).output.split())

    tomorrow = f"{datetime.now(UTC) + timedelta(days=1):%Y-%m-%dT%H:%M}"
    what = ("--key", "entity:A", "--until", tomorrow, "--reason", "planned", "--as", "jane")
    assert "of jane: waits for approval." in run("add", *what)
    (row,) = json.loads(run("list", "--json"))
    assert "of jane: holds." in run("approve", row["id"][:8], "--as", "bob")
    assert "holds" in run("list")
    assert "of jane: ended." in run("end", row["id"][:8], "--as", "bob")
    run("add", *what)
    other = next(one["id"] for one in json.loads(run("list", "--json")) if one["id"] != row["id"])
    assert "of jane: refused." in run("end", other[:8], "--as", "bob")
    with Store.open(database) as store:
        assert [(one["event"], one["actor"]) for one in store.events()] == [
            ("rules-in-force", "foreshock"),
            ("silenced", "jane"),
            ("silence-approved", "bob"),
            ("silence-ended", "bob"),
            ("silenced", "jane"),
            ("silence-refused", "bob"),
        ]


def test_alerts_on_the_same_stories_are_one_incident_and_told_as_one(
    store: Store, path: Path
) -> None:
    path.write_text(
        RULES.replace('to = ["jane"]', 'to = ["jane"]\nwait_seconds = 30').replace(
            'entities = ["A"]', 'entities = ["A", "B"]'
        ),
        encoding="utf-8",
    )
    follower, routing = following(store, path)
    other = surge(2, key="entity:C", message_ids=("m2",))
    committed(store, [minute(1, surge(1)), minute(2, surge(2, key="entity:B"), other)], final=True)
    follower.look(CLOCK)
    members = store.rows(select(incident_members))
    incident = {row["alert_id"]: row["incident_id"] for row in members}
    by_key = {row["key"]: incident[row["id"]] for row in store.alerts()}
    assert by_key["entity:A"] == by_key["entity:B"] != by_key["entity:C"]
    assert [row["event"] for row in store.events()].count("grouped") == 1
    url = store.engine.url.render_as_string(hide_password=False)
    listed = CliRunner().invoke(app, ["alerts", "incidents", "--database", url, "--json"])
    assert [len(one["alerts"]) for one in json.loads(listed.output)] == [2]
    routing.tick(store, CLOCK + MINUTE)
    (row,) = outbox(store)
    assert row["payload"]["incident"] == by_key["entity:A"]
    assert len(row["payload"]["held"]) == 2
    assert prove(store).holds
