"""Silences in the store: asked for, approved, ended; each step is recorded with who took it."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import select

from alerting.silence import Silence
from alerting.spike import identity
from connectors.store import Transaction
from connectors.store.schema import silences


def record(tx: Transaction, event: str, silence: Silence, *, actor: str, now: datetime) -> None:
    """Writes the silence as it is after `event` (silenced, silence-approved, silence-ended)."""
    known = tx.rows(select(silences.c.recorded_at).where(silences.c.id == silence.id))
    recorded_at = known[0]["recorded_at"] if known else now
    tx.upsert("silences", [{**msgspec.structs.asdict(silence), "recorded_at": recorded_at}])
    tx.upsert(
        "account_events",
        [
            {
                "id": identity(event, silence.id, actor, now.isoformat()),
                "recorded_at": now,
                "event": event,
                "actor": actor,
                "subject": silence.id,
                "details": msgspec.to_builtins(silence),
            }
        ],
    )


def holding(tx: Transaction, now: datetime) -> list[Silence]:
    """The silences whose time it is at `now` (UTC), the oldest first."""
    query = select(silences).where(silences.c.starts_at <= now, silences.c.ends_at > now)
    found = tx.rows(query.order_by(silences.c.starts_at, silences.c.id))
    return [silence_of(row) for row in found]


def silence_of(row: Mapping[str, Any]) -> Silence:
    """A row of `silences` as the record."""
    whole = {name: row[name] for name in Silence.__struct_fields__}
    return Silence(**{**whole, "keys": tuple(row["keys"]), "kinds": tuple(row["kinds"])})
