"""A PostgreSQL filled by a replay of a part of the sample, with decisions and things put aside."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import select

from connectors.dead_letter import dead_letter
from connectors.store import Store, schema
from pipelines.commit import bury
from pipelines.configuration import Configuration
from pipelines.dashboards import building
from pipelines.replay import replay
from pipelines.sources import File


@pytest.fixture(scope="session")
def filled(
    postgresql_server: str,
    history: Path,
    surge: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Store]:
    """The surge is the end of it, so that its alerts are still open."""
    with psycopg.connect(postgresql_server, autocommit=True) as connection:
        connection.execute("DROP DATABASE IF EXISTS dashboards")
        connection.execute("CREATE DATABASE dashboards")
    url = f"{postgresql_server.rpartition('/')[0]}/dashboards"
    Store.upgrade(url)
    *rows, _ = surge.read_text(encoding="utf-8").splitlines(keepends=True)
    under_way = tmp_path_factory.mktemp("under_way") / "surge.jsonl"
    under_way.write_text("".join(rows), encoding="utf-8")
    replay([File(history), File(under_way)], database=url, configuration=Configuration())
    with Store.open(url) as store:
        _decide(store)
        _put_aside(store)
        yield store


@pytest.fixture(scope="session")
def shown(filled: Store) -> building.Span:
    found = building.history(filled)
    assert found is not None
    return found


def _decide(store: Store) -> None:
    """Two alerts are acknowledged 10 and 40 minutes after they were raised, and disposed of."""
    raised = {
        row["alert_id"]: row["recorded_at"]
        for row in store.rows(
            select(schema.alert_events).where(schema.alert_events.c.event == "opened")
        )
    }
    first, second = sorted(raised)[:2]
    with store.transaction() as tx:
        for alert, minutes, disposition in ((first, 10, "actionable"), (second, 40, "false-alarm")):
            tx.decide(
                alert,
                {
                    "acknowledged_at": raised[alert] + timedelta(minutes=minutes),
                    "acknowledged_by": "jane",
                    "disposition": disposition,
                },
            )


def _put_aside(store: Store) -> None:
    messages = store.rows(select(schema.messages).order_by(schema.messages.c.id).limit(3))
    with store.transaction() as tx:
        letters = [
            dead_letter(source="s", stage=stage, reason="no-text", error="e", payload=payload)
            for stage, payload in (("parse", b"1"), ("parse", b"2"), ("tag", b"3"))
        ]
        bury(tx, letters, "run", messages[0]["received_at"])
        tx.upsert(
            "late_messages",
            [
                {
                    "message_id": row["id"],
                    "published_at": row["published_at"],
                    "frontier": row["published_at"] + timedelta(hours=1),
                    "reason": "late",
                }
                for row in messages
            ],
        )
        alert = store.alerts(limit=1)[0]
        tx.upsert(
            "deliveries",
            [
                {
                    "id": "d1",
                    "alert_id": alert["id"],
                    "event_id": "e",
                    "channel": "email",
                    "recipient": "desk",
                    "payload": {},
                    "state": "delivered",
                    "attempts": 2,
                    "recorded_at": messages[0]["received_at"],
                }
            ],
        )
