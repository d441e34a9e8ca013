"""Delivers what lies in the outbox: takes a row under a lease, sends outside of any transaction,
records what came of it. A kill in between leaves the row to be sent again, under the same key.

Each channel is served by a thread of its own, so that one that is down or hangs delays its own
notices only. Within a channel, what one recipient hears of one alert keeps the ledger's order.
"""

import logging
import traceback
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from threading import Event

import msgspec
from sqlalchemy import ColumnElement, Select, and_, exists, func, or_, select

from alerting.channels.channel import Channel, NotDelivered, Refused, Retry
from alerting.decisions import MACHINE
from alerting.delivery import (
    DEAD,
    DELIVERED,
    Delivery,
    DeliverySettings,
    delivered,
    entry,
    failed,
    revived,
    taken,
)
from alerting.notification import PENDING, Notification
from connectors.errors import StoreUnavailable
from connectors.store import Store, Transaction
from connectors.store.schema import alert_events, deliveries
from pipelines.alerting.beside import beside
from pipelines.alerting.notices import notice
from pipelines.metrics.instruments import metrics
from pipelines.recording import record_event
from pipelines.telemetry import journey

POLL_SECONDS = 0.2
_LONGEST_PAUSE = 30.0  # seconds between tries while the store is away

_OUTCOMES = {DELIVERED: "delivered", PENDING: "failed", DEAD: "given_up"}

_log = logging.getLogger(__name__)


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one try. `state`: of the delivery after it; `error`: None where it was taken."""

    delivery_id: str
    alert_id: str
    channel: str
    recipient: str
    state: str
    attempts: int
    error: str | None


@dataclass
class Courier:
    """Delivers from one store by `channels`; `heard` is told of every attempt, from any thread.

    Any number of couriers may work on a store: a row is one's at a time.
    """

    store: Store
    channels: Mapping[str, Channel]
    settings: DeliverySettings = field(default_factory=DeliverySettings)
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    heard: Callable[[Attempt], None] = lambda _attempt: None

    def deliver_due(self) -> list[Attempt]:
        """Tries everything that is due, each row once, and returns what came of it.

        Raises StoreError; what was sent until then is recorded, or will be sent again.
        """
        due = self._due_channels()
        with ThreadPoolExecutor(max_workers=max(len(due), 1)) as threads:
            return [one for found in threads.map(self._drain, due) for one in found]

    def run(self, stop: Event) -> None:
        """Delivers until `stop` is set.

        While the store is away it waits and goes on. Raises other StoreErrors.
        """
        busy: dict[str, Future[list[Attempt]]] = {}
        pause = POLL_SECONDS
        with ThreadPoolExecutor(max_workers=len(self.channels) + 1) as threads:
            while not stop.is_set():
                try:
                    for name in self._serving(busy):
                        busy[name] = threads.submit(self._drain, name, stop)
                    pause = POLL_SECONDS
                except StoreUnavailable as error:
                    pause = min(2 * pause, _LONGEST_PAUSE)
                    _log.warning("%s; deliveries wait %g s", error, pause)
                stop.wait(pause)

    def _serving(self, busy: dict[str, "Future[list[Attempt]]"]) -> list[str]:
        """The channels that have something to do and are not at it."""
        for name in [name for name, work in busy.items() if work.done()]:
            busy.pop(name).result()
        return [name for name in self._due_channels() if name not in busy]

    def _due_channels(self) -> list[str]:
        """The channels that have something to do, by one look at what is pending."""
        columns = deliveries.c
        first = func.min(columns.next_attempt_at, type_=columns.next_attempt_at.type)
        query = (
            select(columns.channel, func.count().label("rows"), first.label("first"))
            .where(columns.state == PENDING)
            .group_by(columns.channel)
        )
        pending = {row["channel"]: row for row in self.store.rows(query)}
        for name in self.channels.keys() | pending.keys():
            metrics().pending_deliveries(name, pending[name]["rows"] if name in pending else 0)
        now = self.clock()
        return sorted(name for name, row in pending.items() if row["first"] and row["first"] <= now)

    def _drain(self, channel: str, stop: Event | None = None) -> list[Attempt]:
        """Tries what is due on one channel, one after the other, none of it twice."""
        begun = self.clock()
        attempts: list[Attempt] = []
        while stop is None or not stop.is_set():
            delivery = self._take(channel, begun)
            if delivery is None:
                break
            sent = journey.now()
            error = self._send(delivery)
            attempt = self._record(delivery, error)
            if attempt is not None:
                journey.delivered(delivery, attempt.state, sent, error)
                self.heard(attempt)
                attempts.append(attempt)
        return attempts

    def _take(self, channel: str, until: datetime) -> Delivery | None:
        """Leases the row of the channel that has been due for longest, and was so at `until`."""
        with self.store.transaction() as tx:
            found = _first(tx, _next(channel, until))
            if found is None:
                return None
            row = taken(found, self.settings, self.clock())
            _write(tx, row)
        return row

    def _send(self, delivery: Delivery) -> NotDelivered | None:
        channel = self.channels.get(delivery.channel)
        if channel is None:
            return Retry(f"no channel {delivery.channel!r} is configured")
        try:
            told = msgspec.convert(delivery.payload, Notification)
            channel.send(notice(self.store.rows, told, self.settings.console))
        except NotDelivered as error:
            return error
        except msgspec.ValidationError as error:
            return Refused("the row's payload is not a notification", str(error))
        except StoreUnavailable:
            raise
        except Exception as error:  # one notice or one library at fault must not stop the others
            return _fault(delivery, error)
        return None

    def _record(self, delivery: Delivery, error: NotDelivered | None) -> Attempt | None:
        """Notes the outcome; None where the lease had run out and the row is another's by now."""
        now = self.clock()
        row = (
            delivered(delivery, now)
            if error is None
            else failed(delivery, error, self.settings, now)
        )
        with self.store.transaction() as tx:
            if row.state != PENDING:
                tx.ledger_end()  # its lock comes before that of any row
            mine = and_(
                deliveries.c.id == delivery.id,
                deliveries.c.state == PENDING,
                deliveries.c.attempts == delivery.attempts,
            )
            if _first(tx, select(deliveries).where(mine).with_for_update()) is None:
                return None
            _write(tx, row)
            if row.state != PENDING:
                event = "delivered" if error is None else "undelivered"
                record_event(tx, entry(row, event, now, error), actor=MACHINE, now=now)
        metrics().delivery(row.channel, _OUTCOMES[row.state])
        return Attempt(
            delivery_id=row.id,
            alert_id=row.alert_id,
            channel=row.channel,
            recipient=row.recipient,
            state=row.state,
            attempts=row.attempts,
            error=row.last_error,
        )


@contextmanager
def delivering(courier: Courier, stop: Event) -> Iterator[None]:
    """Runs the courier for the length of the block, as `beside` does."""
    with beside(courier.run, stop, "deliveries"):
        yield


def revive(tx: Transaction, delivery_id: str, *, actor: str, now: datetime) -> bool:
    """Has a dead delivery tried again from `now` on, because `actor` says so; False where it is
    not dead."""
    tx.ledger_end()
    dead = and_(deliveries.c.id == delivery_id, deliveries.c.state == DEAD)
    found = _first(tx, select(deliveries).where(dead).with_for_update())
    if found is None:
        return False
    row = revived(found, now)
    _write(tx, row)
    record_event(tx, entry(row, "requeued", now), actor=actor, now=now)
    return True


def _due(now: datetime) -> ColumnElement[bool]:
    return and_(deliveries.c.state == PENDING, deliveries.c.next_attempt_at <= now)


def _next(channel: str, until: datetime) -> Select[tuple[object, ...]]:
    """The row to try next, without those before which another one must be told."""
    before, event, events_before = deliveries.alias(), alert_events.alias(), alert_events.alias()
    first = exists().where(
        before.c.alert_id == deliveries.c.alert_id,
        before.c.channel == channel,
        before.c.recipient == deliveries.c.recipient,
        before.c.state == PENDING,
        or_(before.c.attempts > 0, before.c.next_attempt_at <= until),
        events_before.c.id == before.c.event_id,
        event.c.id == deliveries.c.event_id,
        events_before.c.sequence < event.c.sequence,
    )
    return (
        select(deliveries)
        .where(deliveries.c.channel == channel, _due(until), ~first)
        .order_by(deliveries.c.next_attempt_at, deliveries.c.id)
        .limit(1)
        .with_for_update(of=deliveries, skip_locked=True)  # SQLite has one writer anyway
    )


def _first(tx: Transaction, query: Select[tuple[object, ...]]) -> Delivery | None:
    rows = tx.rows(query)
    return Delivery(**rows[0]) if rows else None


def _write(tx: Transaction, row: Delivery) -> None:
    tx.upsert_records("deliveries", [row])


def _fault(delivery: Delivery, error: Exception) -> Retry:
    """An error that nobody foresaw. Its text may hold a secret, and is not told."""
    places = "".join(traceback.format_tb(error.__traceback__))
    _log.error("%s at %s:\n%s", type(error).__name__, delivery.channel, places)
    return Retry(f"the channel failed by a fault of its own: {type(error).__name__}")
