"""What people say that a label of a message should have been: kept, and in the ledger by name."""

import secrets
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from alerting.ledger import LedgerRow
from connectors.store import Transaction
from pipelines.recording import record_fact

SUBJECT = "correction:"
"""How the subject of a correction's event begins; its id follows."""

CORRECTED = "corrected"

_SAID = ("message_id", "head", "label", "found")


def record(
    tx: Transaction,
    message_id: str,
    *,
    head: str,
    label: str,
    found: str,
    actor: str,
    now: datetime,
) -> None:
    """Files that a head should have said `label`, and not what it `found`."""
    said = {"message_id": message_id, "head": head, "label": label, "found": found}
    name = secrets.token_hex(16)
    record_fact(tx, CORRECTED, f"{SUBJECT}{name}", actor=actor, now=now, **said)
    tx.upsert("corrections", [{"id": name, **said, "corrected_by": actor, "corrected_at": now}])


def agrees(row: Mapping[str, Any], event: LedgerRow) -> bool:
    """Whether a row of `corrections` is what the event on it says."""
    said = {name: row[name] for name in _SAID}
    by = (row["corrected_by"], row["corrected_at"])
    return said == event.details and by == (event.actor, event.recorded_at)
