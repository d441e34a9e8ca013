"""The store as its administrator sees it: upgraded, checked, cleaned."""

import json
import re
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import select, text

from connectors.parsing import author_hash
from connectors.store import Store, schema
from connectors.store.partitions import months_ahead
from pipelines.audit import prove
from pipelines.command.main import run
from tests.pipelines.ledgers import changes, message_row, stored

Foreshock = Callable[..., tuple[int, str, str]]


@pytest.fixture
def foreshock(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Foreshock:
    """Runs `foreshock database …`; gives code, output and errors."""

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["foreshock", "database", *arguments])
        with pytest.raises(SystemExit) as ended:
            run()
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        return int(ended.value.code or 0), " ".join(said.out.split()), " ".join(said.err.split())

    return call


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a store that nobody has made yet."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/store.db"
    url: str = request.getfixturevalue("postgresql_url")
    return url


def test_an_upgrade_says_from_where_to_where_and_changes_nothing_twice(
    foreshock: Foreshock, empty_url: str
) -> None:
    newest = schema.REVISIONS[-1]
    code, out, _ = foreshock("upgrade", "--database", empty_url)
    assert (code, out) == (0, f"Schema (none) -> {newest}.")
    with Store.open(empty_url) as store:
        stored(store)
    code, out, _ = foreshock("upgrade", "--database", empty_url)
    assert (code, out) == (0, f"The schema is {newest} already.")
    code, out, _ = foreshock("upgrade", "--database", empty_url, "--json")
    assert json.loads(out) == {"before": newest, "after": newest}
    with Store.open(empty_url) as store:
        assert prove(store).holds


@pytest.mark.parametrize("verb", ["upgrade", "check"])
def test_a_store_of_a_newer_version_is_refused(
    foreshock: Foreshock, store_url: str, verb: str
) -> None:
    with Store.open(store_url) as store, store.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    code, _, said = foreshock(verb, "--database", store_url)
    assert code == 1
    assert re.search(r"newer version \(schema 9999, this one knows \d+\): install the newer", said)


def test_a_database_without_tables_is_to_be_upgraded_first(
    foreshock: Foreshock, postgresql_url: str
) -> None:
    code, _, said = foreshock("check", "--database", postgresql_url)
    assert code == 1
    assert "upgrade them first (foreshock database upgrade)" in said


def test_a_sound_store_is_counted_and_found_sound(foreshock: Foreshock, empty_url: str) -> None:
    roles = ["--roles"] if empty_url.startswith("postgresql") else []
    foreshock("upgrade", "--database", empty_url, *roles)
    with Store.open(empty_url) as store:
        stored(store)
    code, out, _ = foreshock("check", "--database", empty_url, "--json")
    found = json.loads(out)
    assert code == 0, found["findings"]
    assert found["ok"]
    assert found["schema"] == schema.REVISIONS[-1]
    assert found["size"] > 50_000
    assert found["rows"]["alerts"] == 2
    assert found["rows"]["alert_events"] == 4
    assert "can only be added to" in foreshock("check", "--database", empty_url)[1]


def test_a_ledger_without_its_guard_is_found(foreshock: Foreshock, empty_url: str) -> None:
    foreshock("upgrade", "--database", empty_url)
    change = {
        "sqlite": "DROP TRIGGER alert_events_no_update",
        "postgresql": "ALTER TABLE alert_events DISABLE TRIGGER alert_events_no_change",
    }
    with Store.open(empty_url) as store, store.engine.begin() as connection:
        connection.execute(text(change[store.engine.dialect.name]))
    code, out, _ = foreshock("check", "--database", empty_url)
    assert code == 1
    assert re.search("FAILED ledger .* is missing or switched off", out)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            "DROP TABLE tags_{following:%Y_%m}",
            "FAILED partitions tags has none for {following:%Y-%m}",
        ),
        (
            "DELETE FROM message_ids WHERE id = 'unshown'",
            "FAILED ids there are 1 messages and 0 ids",
        ),
    ],
)
def test_a_month_without_room_or_a_message_without_its_id_is_found(
    foreshock: Foreshock, postgresql_url: str, change: str, said: str
) -> None:
    following = months_ahead(datetime.now(UTC))[1]
    foreshock("upgrade", "--database", postgresql_url, "--roles")
    with Store.open(postgresql_url) as store:
        with store.transaction() as tx:
            tx.upsert("messages", [message_row("unshown")])
        with store.engine.begin() as connection:
            connection.execute(text(change.format(following=following)))
    code, out, _ = foreshock("check", "--database", postgresql_url)
    assert code == 1
    assert said.format(following=following) in out


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("GRANT DELETE ON alert_events TO foreshock_writer", "may DELETE on alert_events and"),
        ("REVOKE INSERT ON spikes FROM foreshock_writer", "may not INSERT on spikes and should"),
        ("GRANT SELECT ON users TO PUBLIC", "foreshock_reader may SELECT on users and should not"),
    ],
)
def test_a_role_with_more_or_less_than_its_own_is_found_and_mended(
    foreshock: Foreshock, postgresql_url: str, change: str, said: str
) -> None:
    foreshock("upgrade", "--database", postgresql_url, "--roles")
    with Store.open(postgresql_url) as store, store.engine.begin() as connection:
        connection.execute(text(change))
    code, out, _ = foreshock("check", "--database", postgresql_url)
    assert code == 1
    assert said in out
    assert foreshock("upgrade", "--database", postgresql_url, "--roles")[0] == 0
    assert foreshock("check", "--database", postgresql_url)[0] == 0


def test_a_file_has_no_roles(foreshock: Foreshock, tmp_path: Path) -> None:
    code, _, said = foreshock("upgrade", "--database", f"{tmp_path}/store.db", "--roles")
    assert code == 1
    assert "is a file and has no roles" in said


def test_pruning_says_what_went_and_what_is_kept_for_ever(
    foreshock: Foreshock, store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Store.open(store_url) as store, store.transaction() as tx:
        tx.upsert("messages", [message_row("old")])
    monkeypatch.setenv("FORESHOCK_RETENTION__MESSAGES_MONTHS", "1")
    code, out, _ = foreshock("prune", "--database", store_url)
    assert code == 0
    assert re.search(r"Removed 1 messages of before \d{4}-\d\d\.", out)
    assert "All windows are kept: [retention] sets no windows_months." in out
    code, out, _ = foreshock("prune", "--database", store_url, "--json")
    assert json.loads(out)["messages"] == 0


AUTHOR, KEY = "Jane Roe", "a key of thirty-two bytes or more"


def test_all_that_an_author_wrote_is_erased_and_everything_still_holds(
    foreshock: Foreshock, store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = changes()[0].alert.evidence["message_ids"][0]
    hashed = author_hash(AUTHOR, KEY.encode())
    with Store.open(store_url) as store:
        with store.transaction() as tx:
            his = {"author_hash": hashed}
            tx.upsert("messages", [message_row(name) | his for name in (shown, "unshown")])
            tx.upsert("messages", [message_row("another's") | {"author_hash": "else"}])
        stored(store)
    verb = ("erase-author", "--reason", "Article 17", "--as", "dpo", "--database", store_url)
    code, _, said = foreshock(*verb, AUTHOR)
    assert code == 1
    assert "set FORESHOCK_AUTHOR_KEY" in said
    monkeypatch.setenv("FORESHOCK_AUTHOR_KEY", KEY)
    code, out, _ = foreshock(*verb, AUTHOR)
    assert code == 0
    assert "Erased 2 messages; 1 times an alert showed" in out
    with Store.open(store_url) as store:
        everything = repr([store.rows(select(table)) for table in schema.metadata.tables.values()])
        assert not re.search(rf"of ({shown}|unshown)\b|{hashed}", everything)
        assert "of another's" in everything
        proof = prove(store)
        assert proof.holds, proof.broken
        assert proof.erased == [shown, "unshown"]
        erasures = [row for row in store.events() if row["event"] == "erased"]
        assert [row["actor"] for row in erasures] == ["dpo", "dpo"]
    code, _, said = foreshock(*verb, hashed, "--hash")
    assert code == 1
    assert "holds no message of this author" in said
