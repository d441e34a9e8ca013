"""What happens to a message on its way, told to the log and to OpenTelemetry under one id.

Every step names the message by its id and by the trace that follows from it. An alert rests on
several messages: it is told in the trace of the weightiest, and names the others. Texts are told
nowhere.
"""

import logging
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from alerting.channels.channel import NotDelivered
from alerting.delivery import Delivery
from alerting.ledger import LedgerRow
from alerting.spike import Spike
from connectors.dead_letter import DeadLetter
from connectors.lateness import Item
from connectors.message import Message
from pipelines.records import Tagged
from pipelines.telemetry import traces
from pipelines.telemetry.traces import Fact

now = time.time_ns
"""Nanoseconds since 1970: when a step began."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

_log = logging.getLogger(__name__)


def read(items: Iterable[Item]) -> None:
    """Messages were read from the source; their way begins with the record's own time."""
    if not _followed():
        return
    done = now()
    for item in items:
        if isinstance(item, DeadLetter):
            continue
        message = item if isinstance(item, Message) else item.message
        facts = _places(message) | {"source": message.source, "late": item is not message}
        began = done if message.received_at is None else _nanoseconds(message.received_at)
        _log_step("read", message.id, facts)
        if found := traces.spans():
            found.begin("read", message.id, min(began, done), done, facts)


def tagged(found: Iterable[Tagged | DeadLetter], began: int) -> None:
    """The model has spoken of them."""
    if not _followed():
        return
    for one in found:
        if isinstance(one, Tagged):
            tags = one.tags
            facts: dict[str, Fact] = {"tag_sentiment": tags.sentiment, "tag_topic": tags.topic}
            _step("tag", one.message.id, began, facts)


def stored(messages: Iterable[Message], began: int, *, late: str | None = None) -> None:
    """They are in the store; `late`: listed there as late, for this reason."""
    if not _followed():
        return
    facts: dict[str, Fact] = {} if late is None else {"reason": late}
    for message in messages:
        _step("store" if late is None else "list late", message.id, began, facts)


def put_aside(letters: Iterable[DeadLetter]) -> None:
    """They could not be processed. Whether they are messages is not known: no trace has them."""
    for letter in letters:
        facts = _places(letter)
        facts |= {"letter": letter.id, "stage": letter.stage, "reason": letter.reason}
        _log.warning("put aside", extra=facts)


def spiked(spikes: Iterable[Spike], began: int, *, final: bool) -> None:
    """The detector found these."""
    for spike in spikes:
        facts: dict[str, Fact] = {
            "spike": spike.id,
            "key": spike.key,
            "kind": spike.kind,
            "severity": spike.severity,
            "final": final,
        }
        _step("spike", spike.message_ids, began, facts, level=logging.INFO)


def filed(rows: Iterable[LedgerRow], began: int) -> None:
    """The ledger has these events of alerts."""
    for row in rows:
        alert = row.details.get("alert", {})
        known = {name: alert[name] for name in ("key", "severity") if name in alert}
        facts: dict[str, Fact] = {"alert": row.alert_id or "", "what": row.event, **known}
        facts["final"] = row.final
        _step("alert", _rests_on(alert), began, facts, level=logging.INFO)


def delivered(delivery: Delivery, state: str, began: int, error: NotDelivered | None) -> None:
    """A try to tell of an alert is over; `state`: of the delivery behind it."""
    facts: dict[str, Fact] = {
        "alert": delivery.alert_id,
        "delivery": delivery.id,
        "channel": delivery.channel,
        "attempts": delivery.attempts,
        "state": state,
    }
    level = logging.INFO if error is None else logging.WARNING
    reason = None if error is None else error.reason
    rests_on = _rests_on(delivery.payload.get("alert", {}))
    # What the other side said may repeat a text.
    _step("deliver", rests_on, began, facts, level=level, failed=reason)


def _rests_on(alert: dict[str, Any]) -> Sequence[str]:
    found: Sequence[str] = alert.get("evidence", {}).get("message_ids", ())
    return found


def _followed() -> bool:
    """Whether anybody wants to know of every single message."""
    return _log.isEnabledFor(logging.DEBUG) or traces.spans() is not None


def _step(
    name: str,
    messages: str | Sequence[str],
    began: int,
    facts: dict[str, Fact],
    *,
    level: int = logging.DEBUG,
    failed: str | None = None,
) -> None:
    """One step of a message, or of what rests on several, the weightiest first."""
    first, *others = (messages,) if isinstance(messages, str) else messages or ("",)
    told = facts | ({} if failed is None else {"failed": failed})
    _log_step(name, first, told, level, others)
    if first and (found := traces.spans()):
        found.add(name, first, began, now(), facts, others=others, failed=failed)


def _log_step(
    name: str,
    message: str,
    facts: dict[str, Fact],
    level: int = logging.DEBUG,
    others: Sequence[str] = (),
) -> None:
    if not _log.isEnabledFor(level):
        return
    whose: dict[str, object] = {}
    if message:
        whose = {"message_id": message, "trace": f"{traces.trace_of(message):032x}"}
    if others:
        whose["others"] = list(others)
    _log.log(level, name, extra=whose | facts)


def _places(one: Message | DeadLetter) -> dict[str, Fact]:
    found = {"topic": one.topic, "partition": one.partition, "offset": one.offset}
    return {name: value for name, value in found.items() if value is not None}


def _nanoseconds(time: datetime) -> int:
    return (time - _EPOCH) // _MICROSECOND * 1000
