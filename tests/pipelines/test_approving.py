"""A changed rules file holds when somebody else than who proposed it has approved that version."""

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select
from typer.testing import CliRunner

from alerting.errors import ConfigurationError, DecisionRefused, LedgerError
from alerting.rules import version_of
from connectors.store import Store
from connectors.store.schema import rule_versions
from pipelines.alerting.approving import approve_rules, propose_rules, refuse_rules, versions
from pipelines.alerting.ruling import RulesFile
from pipelines.audit import prove
from pipelines.command.main import app
from tests.pipelines.ledgers import CLOCK
from tests.pipelines.test_alert_routing import EMAIL, RULES

FIRST = RULES + "[approvals]\nrules = true\n"
CHANGED = FIRST.replace('to = ["jane"]', 'to = ["bob"]')
LATER = CLOCK + timedelta(minutes=1)


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    with Store.open(store_url) as store:
        yield store


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "rules.toml"
    path.write_text(FIRST, encoding="utf-8")
    return path


def opened(store: Store, path: Path) -> RulesFile:
    file = RulesFile(path, ["email"])
    file.refresh(store, CLOCK)
    return file


def write(path: Path, text: str) -> str:
    """Returns the hash of the version that the file then is."""
    path.unlink()  # so that the file is another one, however fast the clock
    path.write_text(text, encoding="utf-8")
    return version_of(text.encode())


def proposed(store: Store, text: str, actor: str = "jane") -> None:
    with store.transaction() as tx:
        propose_rules(tx, text.encode(), actor=actor, reason="Bob is on duty", now=CLOCK)


def approved(store: Store, version: str, actor: str = "bob") -> None:
    with store.transaction() as tx:
        approve_rules(tx, version, actor=actor, now=CLOCK)


def said(store: Store) -> list[tuple[str, str]]:
    return [(row["event"], row["actor"]) for row in store.events()]


def test_a_changed_file_waits_until_another_person_has_approved_that_version(
    store: Store, path: Path
) -> None:
    file = opened(store, path)
    first = file.router.version
    changed = write(path, CHANGED)
    assert file.refresh(store, CLOCK)
    assert (file.router.version, file.waits) == (first, changed)
    assert not file.refresh(store, CLOCK)
    with pytest.raises(DecisionRefused, match="nobody has proposed"):
        approved(store, changed)
    proposed(store, CHANGED)
    with pytest.raises(DecisionRefused, match="somebody else has to approve it"):
        approved(store, changed, "jane")
    assert not file.refresh(store, CLOCK)
    assert file.router.version == first
    approved(store, changed)
    assert file.refresh(store, LATER)
    assert (file.router.version, file.waits) == (changed, None)
    assert not file.refresh(store, LATER)
    assert said(store) == [
        ("rules-in-force", "foreshock"),
        ("rules-seen", "foreshock"),
        ("rules-proposed", "jane"),
        ("rules-approved", "bob"),
        ("rules-in-force", "foreshock"),
    ]
    assert {row["id"] for row in store.rows(select(rule_versions))} == {first, changed}
    assert prove(store).holds


def test_another_text_than_the_approved_one_goes_on_waiting(store: Store, path: Path) -> None:
    file = opened(store, path)
    proposed(store, CHANGED)
    approved(store, version_of(CHANGED.encode()))
    other = write(path, CHANGED + "# and this\n")
    assert file.refresh(store, CLOCK)
    assert (file.router.version, file.waits) == (version_of(FIRST.encode()), other)


def test_an_approval_in_advance_counts_when_the_file_is_that_and_once_only(
    store: Store, path: Path
) -> None:
    file = opened(store, path)
    proposed(store, CHANGED)
    approved(store, version_of(CHANGED.encode()))
    assert not file.refresh(store, CLOCK)
    write(path, CHANGED)
    assert file.refresh(store, CLOCK)
    assert file.waits is None
    first = write(path, FIRST)
    assert file.refresh(store, CLOCK)
    assert file.waits == first
    write(path, CHANGED)
    assert file.refresh(store, CLOCK)
    assert (file.router.version, file.waits) == (version_of(CHANGED.encode()), None)


def test_a_process_that_starts_with_a_changed_file_takes_the_version_in_force(
    store: Store, path: Path
) -> None:
    opened(store, path)
    changed = write(path, CHANGED)
    file = opened(store, path)
    assert (file.router.version, file.waits) == (version_of(FIRST.encode()), changed)
    assert opened(store, path).waits == changed
    assert said(store).count(("rules-seen", "foreshock")) == 1


def test_whoever_takes_approvals_out_of_the_file_needs_one_for_that(
    store: Store, path: Path
) -> None:
    file = opened(store, path)
    without = write(path, RULES)
    file.refresh(store, CLOCK)
    assert file.waits == without
    proposed(store, RULES)
    approved(store, without)
    file.refresh(store, CLOCK)
    write(path, CHANGED)
    file.refresh(store, CLOCK)
    assert (file.router.version, file.waits) == (version_of(CHANGED.encode()), None)


def test_a_refused_version_never_holds(store: Store, path: Path) -> None:
    file = opened(store, path)
    changed = write(path, CHANGED)
    proposed(store, CHANGED)
    with store.transaction() as tx:
        found = refuse_rules(tx, changed, actor="bob", reason="not me", now=CLOCK)
    assert (found.state, found.refusal) == ("refused", "not me")
    file.refresh(store, CLOCK)
    assert file.waits == changed
    with pytest.raises(DecisionRefused, match="was refused by bob"):
        approved(store, changed)


def test_a_file_that_becomes_wrong_while_it_waits_takes_the_approval_of_nothing(
    store: Store, path: Path
) -> None:
    file = opened(store, path)
    changed = write(path, CHANGED)
    file.refresh(store, CLOCK)
    write(path, "[[rules")
    assert file.refresh(store, CLOCK)
    proposed(store, CHANGED)
    approved(store, changed)
    assert not file.refresh(store, CLOCK)
    assert file.router.version == version_of(FIRST.encode())


def test_a_stored_version_that_was_changed_is_never_put_in_force(store: Store, path: Path) -> None:
    opened(store, path)
    write(path, CHANGED)
    with store.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE rule_versions SET text = 'people = {}'")
    with pytest.raises(LedgerError, match="not in the store as it was written"):
        opened(store, path)


def test_the_version_in_force_must_find_its_channels(store: Store, path: Path) -> None:
    opened(store, path)
    write(path, CHANGED.replace("email", "hook"))
    with pytest.raises(ConfigurationError, match="The rules in force name the channel 'email'"):
        RulesFile(path, ["hook"]).refresh(store, CLOCK)


def test_the_terminal_proposes_shows_approves_and_refuses(tmp_path: Path, path: Path) -> None:
    database = f"sqlite:///{tmp_path}/store.db"
    config = tmp_path / "foreshock.toml"
    config.write_text(EMAIL, encoding="utf-8")
    with Store.open(database) as store:
        opened(store, path)

    def run(*words: str) -> tuple[int, str]:
        found = CliRunner().invoke(app, ["alerts", "rules", *words, "--database", database])
        return found.exit_code, found.output or str(found.exception)

    changed = write(path, CHANGED)
    by_jane = ("--as", "jane", "--config", str(config))
    assert (
        f"Version {changed} of the rules: proposed by jane."
        in run("propose", str(path), "--reason", "Bob is on duty", *by_jane)[1]
    )
    shown = run("show", changed[:6])[1]
    assert '-to = ["jane"]' in shown
    assert '+to = ["bob"]' in shown
    assert run("show", changed[:6], "--whole")[1].strip() == CHANGED.strip()
    code, error = run("approve", changed[:6], "--as", "jane")
    assert (code, "somebody else has to approve it" in error) == (1, True)
    assert "refused by bob" in run("refuse", changed, "--as", "bob", "--reason", "no")[1]
    run("propose", str(path), "--reason", "Please", *by_jane)
    assert "approved by bob" in run("approve", changed, "--as", "bob")[1]
    rows = json.loads(run("list", "--json")[1])
    assert [(row["id"], row["state"]) for row in rows] == [
        (changed, "approved"),
        (version_of(FIRST.encode()), "in force"),
    ]
    assert "0 versions of the rules begin with 'ff" in run("show", "ffff")[1]
    with Store.open(database) as store:
        assert versions(store.rows)[changed].reason == "Please"
