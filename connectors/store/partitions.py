"""PostgreSQL's partitions: `messages`, `tags` and `window_stats` lie in one a month of event time.

Each has a default partition for what has no month of its own: dates before 2000 or more than a year
ahead, what came while a month could not be made (a slice of a sparse history makes only some), and
what is kept of months that were pruned.
`message_ids` holds each message's id once, over all partitions, with its time.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime

from sqlalchemy import Column, Connection, DateTime, MetaData, Table, Text, text

DIVIDED = {"messages": "published_at", "tags": "published_at", "window_stats": "start"}
"""Table -> the time that it is divided by."""

AHEAD = 12
"""Months that an upgrade makes beyond the present one."""

message_ids = Table(
    "message_ids",
    MetaData(),
    Column("id", Text, primary_key=True),
    Column("published_at", DateTime(timezone=True), nullable=False),
)


def following(month: date) -> date:
    """The first day of the month after it."""
    return date(month.year + month.month // 12, month.month % 12 + 1, 1)


def months_ahead(now: datetime) -> list[date]:
    """The present month (UTC) and those after it for which room is made ahead."""
    months = [now.astimezone(UTC).date().replace(day=1)]
    while len(months) <= AHEAD:
        months.append(following(months[-1]))
    return months


def make_partitions(connection: Connection, months: Iterable[date]) -> None:
    """Makes the partitions of these months, where they are missing and may be made now."""
    connection.execute(_MAKE, {"months": sorted(months)})


def months_of(times: Iterable[datetime]) -> set[date]:
    """The months (UTC) of the times."""
    return {date(year, month, 1) for year, month in {(t.year, t.month) for t in _in_utc(times)}}


def _in_utc(times: Iterable[datetime]) -> Iterable[datetime]:
    return (time if time.tzinfo is UTC else time.astimezone(UTC) for time in set(times))


def months_with_partitions(connection: Connection, table: str) -> list[date]:
    """The months of which `table` has a partition of its own, oldest first."""
    found = connection.scalars(_PARTITIONS, {"table": table})
    return [date(int(name[-7:-3]), int(name[-2:]), 1) for name in found]


def drop_windows(connection: Connection, month: date) -> int:
    """Drops the windows of a month; returns how many there were."""
    part = _part("window_stats", month)
    rows = connection.scalar(text(f"SELECT count(*) FROM {part}")) or 0
    connection.exec_driver_sql(f"DROP TABLE {part}")
    return rows


def drop_messages(connection: Connection, month: date) -> int:
    """Drops the messages of a month and their tags, except those whose ids are in the table `kept`.

    What is kept moves to the default partitions. Returns how many messages went; their ids wait
    for `forget_ids`, which takes longer and locks no table.
    """
    messages, tags = _part("messages", month), _part("tags", month)
    for statement in (
        f"ALTER TABLE tags DETACH PARTITION {tags}",
        f"ALTER TABLE messages DETACH PARTITION {messages}",
        f"INSERT INTO messages SELECT * FROM {messages} WHERE id IN (SELECT id FROM kept)",
        f"INSERT INTO tags SELECT * FROM {tags} WHERE message_id IN (SELECT id FROM kept)",
        f"DROP TABLE {tags}",
    ):
        connection.exec_driver_sql(statement)
    gone = connection.exec_driver_sql(
        f"INSERT INTO pruned_ids SELECT id FROM {messages} WHERE id NOT IN (SELECT id FROM kept)"
    )
    connection.exec_driver_sql(f"DROP TABLE {messages}")
    return gone.rowcount


def set_stories(connection: Connection, stories: Sequence[tuple[str, str]]) -> None:
    """(message id, id of its story's first message) into `tags`, each in its own partition only."""
    told = dict(stories)
    connection.execute(_TELL, {"of": list(told), "first": list(told.values())})


def note_pruned(connection: Connection, before: datetime) -> None:
    """Notes the ids of the messages of before `before` that will go, wherever they lie."""
    connection.execute(_NOTE, {"before": before})


def forget_ids(connection: Connection) -> None:
    """Removes the ids of messages that went: they may come again."""
    connection.exec_driver_sql(
        "DELETE FROM message_ids USING pruned_ids WHERE message_ids.id = pruned_ids.id"
    )
    connection.exec_driver_sql("DELETE FROM pruned_ids")


def _part(table: str, month: date) -> str:
    return f"{table}_{month:%Y_%m}"


_NOTE = text(
    "INSERT INTO pruned_ids SELECT id FROM messages "
    "WHERE published_at < :before AND id NOT IN (SELECT id FROM kept)"
)
_TELL = text(
    "UPDATE tags SET story = told.story, repeat = told.id <> told.story "
    "FROM unnest(CAST(:of AS text[]), CAST(:first AS text[])) AS told (id, story) "
    "JOIN message_ids ON message_ids.id = told.id "
    "WHERE tags.message_id = told.id AND tags.published_at = message_ids.published_at"
)
_MAKE = text("SELECT foreshock_partition(CAST(:months AS date[]))")
_PARTITIONS = text(
    "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid "
    "WHERE i.inhparent = CAST(:table AS regclass) AND c.relname ~ '_[0-9]{4}_[0-9]{2}$' "
    "ORDER BY c.relname"
)
