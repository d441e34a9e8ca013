"""The life of a delivery, pure: due, tried, tried again later, delivered or dead. Time is injected.

A row that is being tried is due again after its lease: whoever tried it may have died. `attempts`
counts what was begun, so a notice that kills the process that tells it ends as dead as well, and
the number tells an outcome that comes after the lease from one that counts.
"""

import hashlib
from datetime import datetime, timedelta
from typing import Any, Literal

import msgspec

from alerting.channels.channel import NotDelivered, Refused, Retry
from alerting.channels.settings import checked_url
from alerting.errors import ConfigurationError
from alerting.ledger import Entry
from alerting.notification import PENDING
from alerting.spike import identity

DELIVERED, DEAD = "delivered", "dead"
State = Literal["pending", "delivered", "dead"]

UNDER_WAY = "being sent, or the process ended while it was"
"""`last_error` of a row that is being tried."""

_LONGEST_ERROR = 500


class DeliverySettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """After a failure a notice waits `first_seconds`, then twice as long each time, up to
    `longest_seconds`; each wait is drawn between half of it and all of it. After `attempts` it is
    given up: 300 are about 18 hours.

    `lease_seconds`: so long a notice waits after the process that told it was killed; no sending
    may take longer. `console`: the console's address, for links.
    """

    first_seconds: float = 1.0
    longest_seconds: float = 300.0
    attempts: int = 300
    lease_seconds: float = 90.0
    console: str | None = None

    def __post_init__(self) -> None:
        if not 0 < self.first_seconds <= self.longest_seconds:
            raise ConfigurationError(
                f"first_seconds is {self.first_seconds:g} and longest_seconds "
                f"{self.longest_seconds:g}: give more than 0, and no less for the longest"
            )
        if self.attempts < 1:
            raise ConfigurationError(f"attempts is {self.attempts}: give 1 or more")
        if self.lease_seconds <= 0:
            raise ConfigurationError(f"lease_seconds is {self.lease_seconds:g}: give more than 0")
        if self.console is not None:
            checked_url(self.console, "console")


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """A row of `deliveries`. Times are of the clock, UTC; `next_attempt_at` is None at the end."""

    id: str
    alert_id: str
    event_id: str
    channel: str
    recipient: str
    payload: dict[str, Any]
    state: State
    attempts: int
    next_attempt_at: datetime | None
    last_error: str | None
    recorded_at: datetime
    delivered_at: datetime | None


def is_due(delivery: Delivery, now: datetime) -> bool:
    """Whether it is to be tried at `now`."""
    when = delivery.next_attempt_at
    return delivery.state == PENDING and when is not None and when <= now


def taken(delivery: Delivery, settings: DeliverySettings, now: datetime) -> Delivery:
    """The row while it is tried."""
    return msgspec.structs.replace(
        delivery,
        attempts=delivery.attempts + 1,
        next_attempt_at=now + timedelta(seconds=settings.lease_seconds),
        last_error=UNDER_WAY,
    )


def delivered(delivery: Delivery, now: datetime) -> Delivery:
    """The row after the other side has taken the notice."""
    return msgspec.structs.replace(
        delivery, state=DELIVERED, next_attempt_at=None, last_error=None, delivered_at=now
    )


def failed(
    delivery: Delivery, error: NotDelivered, settings: DeliverySettings, now: datetime
) -> Delivery:
    """The row after a try that failed: it waits, or is dead."""
    row = msgspec.structs.replace(delivery, last_error=str(error)[:_LONGEST_ERROR])
    if isinstance(error, Refused) or delivery.attempts >= settings.attempts:
        return msgspec.structs.replace(row, state=DEAD, next_attempt_at=None)
    wait = back_off(delivery.id, delivery.attempts, settings)
    if isinstance(error, Retry) and error.after is not None:
        wait = max(wait, error.after)
    return msgspec.structs.replace(row, next_attempt_at=now + wait)


def revived(delivery: Delivery, now: datetime) -> Delivery:
    """A dead one, to be tried anew under the same id."""
    return msgspec.structs.replace(
        delivery, state=PENDING, attempts=0, next_attempt_at=now, last_error=None
    )


def back_off(delivery_id: str, attempts: int, settings: DeliverySettings) -> timedelta:
    """How long to wait after the given number of attempts: the same whenever it is asked, and
    spread, so that what failed together does not come back together."""
    seed = hashlib.sha256(f"{delivery_id} {attempts}".encode()).digest()
    share = 0.5 + int.from_bytes(seed[:8], "big") / 2**65
    doubled = settings.first_seconds * 2.0 ** min(attempts - 1, 64)
    return timedelta(seconds=share * min(doubled, settings.longest_seconds))


def entry(
    delivery: Delivery, event: str, now: datetime, error: NotDelivered | None = None
) -> Entry:
    """What the ledger says: who was told what (`delivered`), or was not, and why (`undelivered`),
    or that somebody wants it tried again (`requeued`)."""
    return Entry(
        event_id=identity("delivery", delivery.id, event, now.isoformat()),
        alert_id=delivery.alert_id,
        event=event,
        occurred_at=now,
        details={
            "notification": delivery.id,
            "notified": delivery.event_id,
            "channel": delivery.channel,
            "recipient": delivery.recipient,
            "attempts": delivery.attempts,
            **({"reason": error.reason} if error else {}),
        },
    )
