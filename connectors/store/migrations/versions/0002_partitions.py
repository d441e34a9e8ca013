"""PostgreSQL: messages, tags and windows lie in one partition a month of event time.

A partitioned table can keep a key unique only together with the time that it is divided by. So
`message_ids` holds each message's id once, with its time, and what refers to a message refers to
that; `pruned_ids` holds ids that are still to go from it. SQLite stays undivided.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy import Connection

from connectors.store.partitions import make_partitions

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

DIVIDED = {"messages": "published_at", "tags": "published_at", "window_stats": "start"}
KEYS = {
    "messages": "id, published_at",
    "tags": "message_id, published_at",
    "window_stats": "configuration, key, seconds, start",
}

MOST = 60
"""Partitions that are made at a time: a transaction can lock some thousand tables and indexes."""

# With its owner's rights, because whoever writes may not make tables. It waits for nobody for long:
# what has no partition goes into the default one, and is moved when its month is made.
MAKE_PARTITIONS = """
    CREATE FUNCTION foreshock_partition(months date[]) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = {schema}, pg_temp SET lock_timeout = '500ms' AS $$
    DECLARE
        month date;
        low timestamptz;
        high timestamptz;
        parent text;
        part text;
        divided_by text;
        made integer := 0;
    BEGIN
        FOREACH month IN ARRAY months LOOP
            CONTINUE WHEN month < '2000-01-01' OR month > now() + interval '13 months';
            low := month::timestamp AT TIME ZONE 'UTC';
            high := (month + interval '1 month') AT TIME ZONE 'UTC';
            FOR parent, divided_by IN VALUES {divided} LOOP
                part := parent || to_char(month, '_YYYY_MM');
                CONTINUE WHEN to_regclass(part) IS NOT NULL;
                -- All that is locked below, in one order, so that no two wait for each other.
                LOCK TABLE message_ids IN SHARE ROW EXCLUSIVE MODE;
                LOCK TABLE messages_default, tags_default, window_stats_default
                    IN ACCESS EXCLUSIVE MODE;
                CONTINUE WHEN to_regclass(part) IS NOT NULL;
                EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING ALL)', part, parent);
                -- What only moves makes no difference to the sums that triggers keep.
                EXECUTE format('ALTER TABLE %I DISABLE TRIGGER USER', parent || '_default');
                EXECUTE format(
                    'WITH moved AS (DELETE FROM %I WHERE %I >= %L AND %I < %L RETURNING *) '
                    'INSERT INTO %I SELECT * FROM moved',
                    parent || '_default', divided_by, low, divided_by, high, part
                );
                EXECUTE format('ALTER TABLE %I ENABLE TRIGGER USER', parent || '_default');
                EXECUTE format(
                    'ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
                    parent, part, low, high
                );
                made := made + 1;
            END LOOP;
            EXIT WHEN made >= {most};
        END LOOP;
    EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
        RETURN;
    END $$
"""


def upgrade() -> None:
    connection = op.get_bind()
    # A message that came again with another time had left that on its tags.
    connection.exec_driver_sql(
        "UPDATE tags SET published_at = m.published_at FROM messages m "
        "WHERE m.id = tags.message_id AND m.published_at <> tags.published_at"
    )
    if connection.dialect.name == "sqlite":
        return
    _keep_ids(connection)
    for table, column in DIVIDED.items():
        _divide(connection, table, column)
    connection.exec_driver_sql(
        "ALTER TABLE tags ADD CONSTRAINT fk_tags_message_id "
        "FOREIGN KEY (message_id) REFERENCES message_ids (id)"
    )
    divided = ", ".join(f"('{table}', '{column}')" for table, column in DIVIDED.items())
    schema = connection.scalar(sa.text("SELECT quote_ident(current_schema())"))
    connection.exec_driver_sql(
        MAKE_PARTITIONS.format(schema=schema, divided=divided, most=MOST).replace("%", "%%")
    )
    connection.exec_driver_sql("REVOKE EXECUTE ON FUNCTION foreshock_partition(date[]) FROM PUBLIC")
    for table, column in DIVIDED.items():
        months = connection.exec_driver_sql(
            f"SELECT DISTINCT ({column} AT TIME ZONE 'UTC')::date FROM {table}"
        )
        make_partitions(connection, {day.replace(day=1) for (day,) in months.all()})


def _keep_ids(connection: Connection) -> None:
    for statement in (
        "CREATE TABLE message_ids "
        "(id text CONSTRAINT pk_message_ids PRIMARY KEY, published_at timestamptz NOT NULL)",
        "INSERT INTO message_ids SELECT id, published_at FROM messages",
        "CREATE TABLE pruned_ids (id text CONSTRAINT pk_pruned_ids PRIMARY KEY)",
        "ALTER TABLE tags DROP CONSTRAINT fk_tags_message_id",
        "ALTER TABLE corrections DROP CONSTRAINT fk_corrections_message_id",
        "ALTER TABLE corrections ADD CONSTRAINT fk_corrections_message_id "
        "FOREIGN KEY (message_id) REFERENCES message_ids (id)",
    ):
        connection.exec_driver_sql(statement)


def _divide(connection: Connection, table: str, column: str) -> None:
    """Makes the table anew, with its rows, indexes and triggers."""
    indexes = list(connection.scalars(_INDEXES, {"table": table}))
    triggers = list(connection.scalars(_TRIGGERS, {"table": table}))
    for statement in (
        f"ALTER TABLE {table} RENAME TO undivided",
        f"CREATE TABLE {table} (LIKE undivided INCLUDING DEFAULTS) PARTITION BY RANGE ({column})",
        f"CREATE TABLE {table}_default PARTITION OF {table} DEFAULT",
        f"INSERT INTO {table} SELECT * FROM undivided",
        "DROP TABLE undivided",
        f"ALTER TABLE {table} ADD CONSTRAINT pk_{table} PRIMARY KEY ({KEYS[table]})",
        *indexes,
        *triggers,
    ):
        connection.exec_driver_sql(statement.replace("%", "%%"))


_INDEXES = sa.text(
    "SELECT pg_get_indexdef(indexrelid) FROM pg_index "
    "WHERE indrelid = CAST(:table AS regclass) AND NOT indisprimary ORDER BY 1"
)
_TRIGGERS = sa.text(
    "SELECT pg_get_triggerdef(oid) FROM pg_trigger "
    "WHERE tgrelid = CAST(:table AS regclass) AND NOT tgisinternal ORDER BY 1"
)
