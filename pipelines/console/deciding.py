"""What people do with alerts by the console, on pages and in the API: into the ledger, by name."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
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
from pipelines.export import dossier, pdf
from pipelines.export.writing import Form, write
from pipelines.recording import record_decision, record_event
from pipelines.report.queries import Period

MOST_EXPORTED = 200
"""Alerts at once: a browser prints them while somebody waits."""


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
    return _exported(here, caller, [alert_id], form)


def export_range(here: Console, caller: Caller, first: date, last: date, form: Form) -> IO[bytes]:
    """As `export` all alerts that opened from the `first` day to the `last`, both whole (UTC).
    Raises `Refused`, also for none and for more than `MOST_EXPORTED`."""
    if not first <= last < date.max:
        raise Refused(422, f"The last day, {last}, lies before the first, {first}.")
    end = last + timedelta(days=1)
    span = Period(*(datetime.combine(day, time(0), UTC) for day in (first, end)))
    with here.store.snapshot() as connection:
        ids = queries.opened_within(connection, span, MOST_EXPORTED + 1)
    if not ids:
        raise Refused(422, "No alert opened in that time.")
    if len(ids) > MOST_EXPORTED:
        raise Refused(
            422,
            f"More than {MOST_EXPORTED} alerts opened in that time, and the console exports no "
            f"more at once: take a shorter time, or a terminal: foreshock alerts export --from "
            f"{first} --to {end} --format {form} --out alerts.{form}",
        )
    return _exported(here, caller, ids, form)


def _exported(here: Console, caller: Caller, ids: Sequence[str], form: Form) -> IO[bytes]:
    if form == "pdf" and pdf.browser() is None:
        raise Refused(
            422, "Nothing here can print a PDF: export HTML, and print it from your browser."
        )
    name, now = caller.user.name, here.now()
    with here.store.transaction() as tx:
        for alert_id in ids:
            entry = Entry(
                event_id=identity("exported", alert_id, name, now.isoformat()),
                alert_id=alert_id,
                event="exported",
                occurred_at=now,
                details={"form": form},
            )
            record_event(tx, entry, actor=name, now=now)
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"alerts.{form}"
        with dossier.gathered(here.store, dossier.these(ids)) as found:
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
