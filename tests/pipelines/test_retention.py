"""What is kept for how long, and what stays for good."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import select

from connectors.store import Store, schema
from pipelines.audit import prove
from pipelines.configuration import Configuration, ConfigurationError, load_configuration
from pipelines.retention import RetentionSettings, prune
from tests.pipelines.commits import window
from tests.pipelines.ledgers import changes, message_row, stored, tag_row

SHOWN = set(changes()[0].alert.evidence["message_ids"])
NOW = datetime(2026, 3, 10, tzinfo=UTC)
OLD, KEPT = datetime(2026, 1, 31, 23, 59, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)


def filled(url: str) -> Store:
    """Alerts with the messages that they show, and others."""
    store = Store.open(url)
    stored(store)
    with store.transaction() as tx:
        for name, at in (("old", OLD), ("new", KEPT)):
            tx.upsert("messages", [message_row(name) | {"published_at": at}])
            tx.upsert("tags", [tag_row(name) | {"published_at": at}])
            tx.upsert("window_stats", [window(at, True, name)])
        late = {"message_id": "old", "published_at": OLD, "frontier": KEPT, "reason": "late"}
        tx.upsert("late_messages", [late])
    return store


def names(store: Store, table: str, column: str) -> set[str]:
    return {row[column] for row in store.rows(select(schema.metadata.tables[table].c[column]))}


def test_what_is_older_goes_and_what_alerts_show_stays(store_url: str) -> None:
    settings = RetentionSettings(messages_months=1, windows_months=1)
    with filled(store_url) as store:
        others = names(store, "messages", "id") - {"old"}
        done = prune(store, settings, NOW)
        assert (done.messages, done.windows) == (1, 1)
        assert done.messages_before == done.windows_before == KEPT
        assert others >= SHOWN
        assert names(store, "messages", "id") == others
        assert names(store, "tags", "message_id") == others
        assert names(store, "window_stats", "configuration") == {"new"}
        assert names(store, "late_messages", "message_id") == set()
        assert len(store.alerts()) == 2
        proof = prove(store)
        assert proof.holds, proof.broken
        again = prune(store, settings, NOW)
        assert (again.messages, again.windows) == (0, 0)


def test_a_message_whose_label_somebody_corrected_stays(store_url: str) -> None:
    correction = {
        "id": "c",
        "message_id": "old",
        "head": "topic",
        "label": "Macro",
        "found": "Earnings",
        "corrected_by": "jane",
        "corrected_at": NOW,
    }
    with filled(store_url) as store:
        with store.transaction() as tx:
            tx.upsert("corrections", [correction])
        assert prune(store, RetentionSettings(messages_months=1), NOW).messages == 0
        assert "old" in names(store, "tags", "message_id")


def test_each_kind_of_rows_has_its_own_time(store_url: str) -> None:
    with filled(store_url) as store:
        before = names(store, "messages", "id")
        done = prune(store, RetentionSettings(windows_months=1), NOW)
        assert (done.messages, done.messages_before, done.windows) == (0, None, 1)
        assert names(store, "messages", "id") == before
        done = prune(store, RetentionSettings(messages_months=2), NOW)
        assert (done.messages, done.windows) == (0, 0)
        assert done.messages_before == datetime(2026, 1, 1, tzinfo=UTC)


def test_nothing_goes_where_nothing_is_configured(store_url: str) -> None:
    with filled(store_url) as store:
        before = names(store, "messages", "id")
        done = prune(store, Configuration().retention, NOW)
        assert (done.messages, done.windows) == (0, 0)
        assert names(store, "messages", "id") == before


def test_how_long_rows_are_kept_changes_no_result(tmp_path: Path) -> None:
    path = tmp_path / "foreshock.toml"
    path.write_text("[retention]\nmessages_months = 24\n")
    found = load_configuration(path)
    assert found.retention == RetentionSettings(messages_months=24)
    assert found.meaning() == Configuration().meaning()
    path.write_text("[retention]\nwindows_months = 0\n")
    with pytest.raises(ConfigurationError, match="windows_months is 0: at least 1 month"):
        load_configuration(path)
