"""Stores with notifications in the outbox, and channels that do as they are told."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from threading import Lock

import msgspec
from sqlalchemy import select

from alerting.alert import Alert
from alerting.channels.notice import Notice
from alerting.delivery import Delivery
from alerting.notification import Notification, delivery, notification_id
from connectors.store import Store
from connectors.store.schema import deliveries
from tests.pipelines.ledgers import CLOCK, stored


def filled(
    store: Store,
    *channels: str,
    recipients: tuple[str, ...] = ("desk",),
    wait: timedelta = timedelta(0),
) -> list[Notification]:
    """Two alerts in the store, and each of their events to be told to everybody on `channels`."""
    stored(store)
    found = [
        _notification(row, channel, recipient, CLOCK + wait)
        for row in store.events()
        if "alert" in row["details"]
        for channel in channels
        for recipient in recipients
    ]
    with store.transaction() as tx:
        tx.upsert("deliveries", [delivery(one, CLOCK) for one in found])
    return found


def _notification(row: dict, channel: str, recipient: str, due: datetime) -> Notification:
    return Notification(
        id=notification_id(row["id"], channel, recipient),
        alert_id=row["alert_id"],
        event_id=row["id"],
        channel=channel,
        recipient=recipient,
        not_before=due,
        event=row["event"],
        occurred_at=row["occurred_at"],
        alert=msgspec.convert(row["details"]["alert"], Alert),
        route="everything",
        rules="r1",
    )


def outbox(store: Store) -> dict[str, Delivery]:
    """The rows of `deliveries` by their ids."""
    return {row["id"]: Delivery(**row) for row in store.rows(select(deliveries))}


@dataclass
class Clock:
    """A clock that is moved by hand."""

    now: datetime = CLOCK

    def __call__(self) -> datetime:
        return self.now

    def pass_(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@dataclass
class Memory:
    """A channel that remembers; `fails` may raise instead."""

    fails: Callable[[Notice], None] = lambda _notice: None
    told: list[Notice] = field(default_factory=list)
    lock: Lock = field(default_factory=Lock)

    def send(self, notice: Notice) -> None:
        self.fails(notice)
        with self.lock:
            self.told.append(notice)
