"""Two roles of least privilege on PostgreSQL, and whether they have what is theirs and no more.

`foreshock_writer`: pipelines and people who decide. It adds to the ledger and can neither change
nor remove a row of it, nor erase a text: that is the owner's.
`foreshock_reader`: dashboards, the export and whoever verifies.
"""

from collections.abc import Iterator

from sqlalchemy import Connection, text

from connectors.store.partitions import message_ids
from connectors.store.schema import metadata

WRITER, READER = "foreshock_writer", "foreshock_reader"

_ADDED = frozenset(
    {
        "alert_events",
        "corrections",
        "incident_members",
        "message_ids",
        "rule_versions",
    }
)
"""The writer adds to these, and changes nothing in them."""

_REPLACED = frozenset({"run_state", "sessions", "window_days"})
"""Of these he removes rows, too."""

_SECRET = frozenset({"api_keys", "sessions", "users"})
"""Passwords and keys lie there as hashes only, and still are none of a reader's."""

_PRIVILEGES = ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER")


def make_roles(connection: Connection) -> None:
    """Creates the roles where they are missing, and sets what they may do.

    The connection's user owns the tables, and may create roles unless both are there.
    """
    for role in (WRITER, READER):
        if not _exists(connection, role):
            connection.exec_driver_sql(f"CREATE ROLE {role} NOLOGIN")
    everybody = f"PUBLIC, {WRITER}, {READER}"
    connection.exec_driver_sql(f"REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {everybody}")
    connection.exec_driver_sql(f"GRANT USAGE ON SCHEMA public TO {WRITER}, {READER}")
    for role in (WRITER, READER):
        for table in _tables():
            if granted := ", ".join(sorted(_granted(role, table))):
                connection.exec_driver_sql(f"GRANT {granted} ON {table} TO {role}")
    connection.exec_driver_sql(f"GRANT EXECUTE ON FUNCTION foreshock_partition TO {WRITER}")


def wrong_privileges(connection: Connection) -> Iterator[str]:
    """One sentence for each role that is not there, or may do more or less than it should."""
    for role in (WRITER, READER):
        if not _exists(connection, role):
            yield f"the role {role} is missing"
            continue
        for table in _tables():
            held = {
                privilege
                for privilege in _PRIVILEGES
                if connection.scalar(_HAS, {"role": role, "table": table, "privilege": privilege})
            }
            expected = _granted(role, table)
            if more := ", ".join(sorted(held - expected)):
                yield f"{role} may {more} on {table} and should not"
            if less := ", ".join(sorted(expected - held)):
                yield f"{role} may not {less} on {table} and should"


_HAS = text("SELECT has_table_privilege(:role, :table, :privilege)")


def _exists(connection: Connection, role: str) -> bool:
    found = connection.scalar(text("SELECT 1 FROM pg_roles WHERE rolname = :role"), {"role": role})
    return found is not None


def _tables() -> list[str]:
    return ["alembic_version", message_ids.name, *metadata.tables]


def _granted(role: str, table: str) -> frozenset[str]:
    if role == READER:
        return frozenset() if table in _SECRET else frozenset({"SELECT"})
    granted = {"SELECT"}
    if table != "alembic_version":
        granted.add("INSERT")
        if table not in _ADDED:
            granted.add("UPDATE")
        if table in _REPLACED:
            granted.add("DELETE")
    return frozenset(granted)
