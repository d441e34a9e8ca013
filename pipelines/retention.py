"""How long messages and windows are kept. Alerts, their ledger and the messages that they show stay
for good, and so do messages whose labels people corrected.
"""

from collections.abc import Iterator
from datetime import UTC, datetime

import msgspec
from sqlalchemy import select

from connectors.store import Store, Transaction, schema

_WAIT_SECONDS, _LEDGER_SECONDS = 10.0, 0.5
"""For those who use the tables just now; for those who write the ledger."""


class RetentionSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whole months of event time before the present one that are kept; None: all of them.

    `messages_months`: messages, their tags, and the list of those that came late.
    `windows_months`: counts by minute, hour and day.
    """

    messages_months: int | None = None
    windows_months: int | None = None

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            months = getattr(self, name)
            if months is not None and months < 1:
                raise ValueError(f"{name} is {months}: at least 1 month is kept")


class Pruned(msgspec.Struct, kw_only=True):
    """How many rows went; `…_before`: of what was published before, None where all is kept."""

    messages: int = 0
    windows: int = 0
    messages_before: datetime | None = None
    windows_before: datetime | None = None


def prune(store: Store, settings: RetentionSettings, now: datetime) -> Pruned:
    """Removes what is older than `settings` say, month by month, each in its own transaction.

    Interrupted, it has removed whole months, and goes on from there. Raises StoreError.
    """
    pruned = Pruned(
        messages_before=_first_kept(settings.messages_months, now),
        windows_before=_first_kept(settings.windows_months, now),
    )
    if pruned.messages_before is not None:
        for before in _steps(store, pruned.messages_before):
            with store.transaction() as tx:
                tx.wait_at_most(_WAIT_SECONDS)
                tx.hold_messages()
                # No alert comes meanwhile to show one of them; and who files one and waits for the
                # messages is not waited for as long as it takes the server to call it a deadlock.
                tx.wait_at_most(_LEDGER_SECONDS)
                tx.ledger_end()
                pruned.messages += tx.prune_messages(before, _kept(tx))
            with store.transaction() as tx:
                tx.forget_pruned()
    if pruned.windows_before is not None:
        for before in _steps(store, pruned.windows_before):
            with store.transaction() as tx:
                tx.wait_at_most(_WAIT_SECONDS)
                pruned.windows += tx.prune_windows(before)
    return pruned


def _first_kept(months: int | None, now: datetime) -> datetime | None:
    if months is None:
        return None
    number = 12 * now.year + now.month - 1 - months
    return datetime(number // 12, number % 12 + 1, 1, tzinfo=UTC)


def _steps(store: Store, end: datetime) -> Iterator[datetime]:
    with store.transaction() as tx:
        ends = tx.months_before(end)
    yield from ends
    if end not in ends:
        yield end


def _kept(tx: Transaction) -> set[str]:
    shown = tx.rows(select(schema.alerts.c.evidence))
    corrected = tx.rows(select(schema.corrections.c.message_id).distinct())
    return {row["message_id"] for row in corrected} | {
        message["id"] for row in shown for message in row["evidence"]["messages"]
    }
