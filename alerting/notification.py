"""A notification: one person or team to be told of one event of an alert by one channel.

It is written to the outbox (`deliveries`) in the transaction that files the event, and carries what
does not change any more. The texts of messages are not in it, so that one can be erased by law: who
delivers takes them from the alert's evidence as it stands then.
"""

from datetime import datetime
from typing import Any

import msgspec

from alerting.alert import Alert
from alerting.spike import identity

PENDING = "pending"
"""The state of a delivery that was not tried yet."""


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """What was held back from a recipient, and why: `quiet-hours`, `rate-limit` or `grouping`."""

    alert_id: str
    event_id: str
    event: str
    key: str
    kind: str
    severity: str
    occurred_at: datetime
    why: str


class Notification(msgspec.Struct, frozen=True, kw_only=True):
    """Times are UTC; `not_before` is of the clock, `occurred_at` of the events.

    `id` is the idempotency key: one event, one channel, one recipient. `event` is that of the
    ledger (opened, updated, revised, withdrawn, resolved, escalated, digest). `alert`: as it was
    after the event, without texts; `final`: no later message can change what it says. `step`: 0 for
    the first who are told, then one more for each escalation. `route`: its name in the rules,
    `rules`: their hash. `held`: in a digest, what it makes up for.
    """

    schema: int = 1
    id: str
    alert_id: str
    event_id: str
    channel: str
    recipient: str
    not_before: datetime
    event: str
    occurred_at: datetime
    alert: Alert
    incident: str | None = None
    route: str = ""
    step: int = 0
    rules: str = ""
    held: tuple[Held, ...] = ()


def notification_id(event_id: str, channel: str, recipient: str) -> str:
    """The same however often it is made."""
    return identity("notification", event_id, channel, recipient)


def delivery(notification: Notification, now: datetime) -> dict[str, Any]:
    """The row of `deliveries` that asks for it, written at `now` (UTC)."""
    return {
        "id": notification.id,
        "alert_id": notification.alert_id,
        "event_id": notification.event_id,
        "channel": notification.channel,
        "recipient": notification.recipient,
        "payload": msgspec.to_builtins(notification),
        "state": PENDING,
        "attempts": 0,
        "next_attempt_at": notification.not_before,
        "last_error": None,
        "recorded_at": now,
        "delivered_at": None,
    }
