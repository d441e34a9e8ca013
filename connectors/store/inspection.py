"""What state a store is in: its schema, its size, and whether it is guarded as it should be."""

from collections.abc import Iterator
from datetime import UTC, datetime

import msgspec
from sqlalchemy import Connection, func, select, text

from connectors.store.partitions import (
    DIVIDED,
    following,
    months_with_partitions,
)
from connectors.store.roles import wrong_privileges
from connectors.store.schema import REVISIONS, messages, metadata
from connectors.store.store import Store


class Finding(msgspec.Struct, frozen=True):
    """Something that was looked at; `detail` says what is wrong, or how it stands."""

    check: str
    ok: bool
    detail: str


class Inspection(msgspec.Struct, frozen=True, kw_only=True):
    """`size`: bytes of the whole database. `rows`: of each table, counted."""

    url: str
    schema: str
    size: int
    rows: dict[str, int]
    findings: list[Finding]

    @property
    def sound(self) -> bool:
        return all(finding.ok for finding in self.findings)


def inspect_store(store: Store) -> Inspection:
    """Looks at an open store, at one consistent moment of it; raises StoreError."""
    with store.snapshot() as connection:
        return Inspection(
            url=store.url,
            schema=REVISIONS[-1],  # or it would not be open
            size=connection.scalar(_SIZE[connection.dialect.name]) or 0,
            rows={
                name: connection.scalar(select(func.count()).select_from(table)) or 0
                for name, table in sorted(metadata.tables.items())
            },
            findings=list(_findings(connection)),
        )


_SIZE = {
    "sqlite": text("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"),
    "postgresql": text("SELECT pg_database_size(current_database())"),
}

_TRIGGERS = {
    "sqlite": text(
        "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'alert_events'"
    ),
    "postgresql": text(
        "SELECT tgname FROM pg_trigger "
        "WHERE tgrelid = 'alert_events'::regclass AND tgenabled IN ('O', 'A') AND NOT tgisinternal"
    ),
}
_GUARDS = {
    "sqlite": {f"alert_events_no_{what}" for what in ("update", "delete", "replace")},
    "postgresql": {f"alert_events_no_{what}" for what in ("change", "truncate")},
}


_LIVING_IDS = text("SELECT (SELECT count(*) FROM message_ids) - (SELECT count(*) FROM pruned_ids)")


def _findings(connection: Connection) -> Iterator[Finding]:
    dialect = connection.dialect.name
    missing = sorted(_GUARDS[dialect] - set(connection.scalars(_TRIGGERS[dialect])))
    yield Finding(
        "ledger",
        not missing,
        f"the trigger {missing[0]} is missing or switched off: prove the ledger (foreshock alerts "
        "verify), and ask who did it"
        if missing
        else "can only be added to",
    )
    if dialect == "postgresql":
        yield _room(connection)
        yield _ids(connection)
        wrong = list(wrong_privileges(connection))
        yield Finding(
            "roles",
            not wrong,
            f"{wrong[0]}: foreshock database upgrade --roles"
            if wrong
            else "may do what is theirs and no more",
        )


def _room(connection: Connection) -> Finding:
    present = datetime.now(UTC).date().replace(day=1)
    for table in DIVIDED:
        months = months_with_partitions(connection, table)
        missing = sorted({present, following(present)} - set(months))
        if missing:
            return Finding(
                "partitions",
                False,
                f"{table} has none for {missing[0]:%Y-%m}: run foreshock database upgrade or prune "
                "once a month",
            )
    return Finding("partitions", True, f"made up to {months[-1]:%Y-%m}")


def _ids(connection: Connection) -> Finding:
    """A message's id is in `message_ids` once; it is in `messages` once where the numbers agree."""
    ids = connection.scalar(_LIVING_IDS) or 0
    rows = connection.scalar(select(func.count()).select_from(messages)) or 0
    return Finding(
        "ids",
        ids == rows,
        "each message is there once"
        if ids == rows
        else f"there are {rows:,} messages and {ids:,} ids of messages: something else than "
        "foreshock wrote one of these tables",
    )
