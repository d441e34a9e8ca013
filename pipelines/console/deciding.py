"""What people do with alerts by the console, on pages and in the API: into the ledger, by name."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO

import msgspec

from alerting.decisions import Action
from alerting.ledger import Entry
from alerting.spike import identity
from models.tags import HEADS
from pipelines import corrections
from pipelines.console import queries
from pipelines.console.access import Caller, Refused
from pipelines.console.context import Console
from pipelines.console.queries import Row
from pipelines.console.rights import Permission
from pipelines.export import dossier
from pipelines.export.writing import Form, write
from pipelines.recording import record_decision, record_event


def alert(here: Console, alert_id: str) -> Row:
    """The alert's row. Raises `Refused` where there is none."""
    with here.store.snapshot() as connection:
        found = queries.alert(connection, alert_id)
    if found is None:
        raise Refused(404, "There is no such alert.")
    return found


def decide(here: Console, caller: Caller, alert_id: str, action: Action) -> None:
    """Files what the caller decides. Raises `Refused`, or `DecisionRefused` with the reason."""
    alert(here, alert_id)
    check_plain(*map(str, msgspec.structs.astuple(action)))
    with here.store.transaction() as tx:
        record_decision(
            tx,
            alert_id,
            action,
            actor=caller.user.name,
            now=here.now(),
            reasons=here.reasons,
        )


def check_plain(*texts: str) -> None:
    """Raises `Refused` for what no store keeps."""
    if any("\0" in text for text in texts):
        raise Refused(422, "It holds a NUL character, which no store keeps.")


def assignees(here: Console) -> Sequence[str]:
    """Who may be given an alert."""
    return [
        user.name
        for user in here.accounts.users()
        if Permission.TRIAGE in user.permissions and not user.disabled
    ]


def export(here: Console, caller: Caller, alert_id: str, form: Form) -> IO[bytes]:
    """The alert with all that it rests on; that it was taken out is in the ledger, and in it.

    The file has no name any more: it goes when it is closed.
    """
    alert(here, alert_id)
    now = here.now()
    entry = Entry(
        event_id=identity("exported", alert_id, caller.user.name, now.isoformat()),
        alert_id=alert_id,
        event="exported",
        occurred_at=now,
        details={"form": form},
    )
    with here.store.transaction() as tx:
        record_event(tx, entry, actor=caller.user.name, now=now)
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"alert.{form}"
        with dossier.gathered(here.store, dossier.one(alert_id)) as found:
            write(found, form, path)
        return path.open("rb")


def correct(here: Console, caller: Caller, message_id: str, head: str, label: str) -> None:
    """Keeps what a head should have said of a message. Raises `Refused`."""
    if head not in HEADS or label not in HEADS[head]:
        raise Refused(422, "A correction is a label of sentiment or of topic.")
    with here.store.snapshot() as connection:
        found = queries.message(connection, message_id)
    if found is None:
        raise Refused(404, "There is no such message.")
    with here.store.transaction() as tx:
        corrections.record(
            tx,
            message_id,
            head=head,
            label=label,
            found=found[head],
            actor=caller.user.name,
            now=here.now(),
        )


def corrections_csv(rows: Sequence[Row]) -> str:
    """As `foreshock train --corrections` takes them; no cell is a formula to a spreadsheet."""
    lines = ["message_id,label,head"]
    lines += [",".join(map(_cell, (row["message_id"], row["label"], row["head"]))) for row in rows]
    return "\r\n".join(lines) + "\r\n"


def _cell(text: str) -> str:
    safe = f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text
    return '"' + safe.replace('"', '""') + '"'
