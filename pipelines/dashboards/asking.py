"""What Grafana makes of a panel's query before it asks the store: macros and variables put in; and
of the answer: rows where the store has none.

For PostgreSQL as Grafana's data source does it, so that a query that answers here answers there;
for SQLite with the few replacements that its SQL needs.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

_STEPS = (60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400, 604_800)
_UNITS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
_TIME_GROUP = r"\$__timeGroup\(([^,()]+),([^,()]+)(?:,\s*(0|NULL))?\)"

Rows = list[tuple[Any, ...]]


class QueryError(Exception):
    """A query that Grafana could not ask; the text is one sentence."""


class OnlyPostgresql(QueryError):
    """A query that SQLite cannot answer."""


@dataclass(frozen=True)
class Scope:
    """What a dashboard shows: the time (UTC) and the values of its variables."""

    start: datetime
    end: datetime
    values: Mapping[str, str]

    def interval(self, points: int) -> int:
        """Seconds for each of about so many points, at least a minute."""
        wanted = (self.end - self.start) / timedelta(seconds=1) / points
        return next((step for step in _STEPS if step >= wanted), _STEPS[-1])


def for_postgresql(sql: str, scope: Scope, interval: int = 60) -> str:
    """The query as PostgreSQL gets it. Raises `QueryError` for what Grafana does not know."""

    def moment(when: datetime) -> str:
        return f"'{when.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}'"

    return _filled(sql, scope, interval, moment, "floor(extract(epoch from {0})/{1})*{1}")


def for_sqlite(sql: str, scope: Scope, interval: int = 60) -> str:
    """The query as SQLite takes it. Raises `OnlyPostgresql` where it cannot, `QueryError`."""

    def moment(when: datetime) -> str:
        return f"'{when.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}'"

    filled = _filled(sql, scope, interval, moment, "unixepoch({0})/{1}*{1}")
    if "WITHIN GROUP" in filled:
        raise OnlyPostgresql("SQLite has no WITHIN GROUP")
    for pattern, replacement in _OF_SQLITE:
        filled = re.sub(pattern, replacement, filled, flags=re.DOTALL)
    return filled


def without_holes(sql: str, rows: Rows, scope: Scope, interval: int) -> Rows:
    """The rows with one for each interval of the time shown, where the query's `$__timeGroup` names
    a value for those that the store has not. No rows stay none."""
    group = re.search(_TIME_GROUP, sql)
    if not rows or group is None or group[3] is None:
        return rows
    value = None if group[3] == "NULL" else int(group[3])
    first = int(scope.start.timestamp()) // interval * interval
    times = range(first, int(scope.end.timestamp()) + 1, interval)
    found, hole = {int(row[0]): row for row in rows}, [value] * (len(rows[0]) - 1)
    return [found.get(at, (at, *hole)) for at in times]


_OF_SQLITE = (
    (
        r"CROSS JOIN LATERAL \(SELECT \* FROM (\w+ \w)\s+WHERE (.*?)\s+LIMIT \d+\) AS \w",
        r"JOIN \1 ON \2",
    ),
    (
        r"to_timestamp\(((?:[^()]|\([^()]*\))+)\)",
        r"strftime('%Y-%m-%d %H:%M:%f000', \1, 'unixepoch')",
    ),
    (r"extract\(epoch from now\(\)\)", r"unixepoch()"),
    (r"extract\(epoch from ([\w.]+)\)", r"unixepoch(\1)"),
    (r"([\w.]+) \+ interval '1 minute'", r"strftime('%Y-%m-%d %H:%M:%f000', \1, '+1 minute')"),
    (
        r"CROSS JOIN LATERAL json_array_elements_text\(([\w.]+)\) AS e\(value\)",
        r"JOIN json_each(\1) e",
    ),
    (r"\bleast\(", "min("),
    (r"\bgreatest\(", "max("),
)


def _filled(
    sql: str, scope: Scope, interval: int, moment: Callable[[datetime], str], group: str
) -> str:
    def grouped(found: re.Match[str]) -> str:
        column, wanted = found[1].strip(), found[2].strip().strip("'")
        return group.format(column, interval if wanted == "$__interval" else _seconds(wanted))

    def quoted(found: re.Match[str]) -> str:
        value = scope.values.get(found[1])
        return found[0] if value is None else "'" + value.replace("'", "''") + "'"

    start, end = moment(scope.start), moment(scope.end)
    sql = re.sub(_TIME_GROUP, grouped, sql)
    sql = re.sub(r"\$__timeFilter\(([^()]+)\)", rf"\1 BETWEEN {start} AND {end}", sql)
    for name, value in {
        "$__timeFrom()": start,
        "$__timeTo()": end,
        "$__unixEpochFrom()": str(int(scope.start.timestamp())),
        "$__unixEpochTo()": str(int(scope.end.timestamp())),
        "$__interval_ms": str(interval * 1000),
    }.items():
        sql = sql.replace(name, value)
    # At once: what looks like a variable in a value is text.
    sql = re.sub(r"\$\{(\w+):sqlstring\}", quoted, sql)
    if left := re.search(r"\$(__\w+|\{\w+[^}]*\}|[A-Za-z]\w*)", _without_strings(sql)):
        raise QueryError(f"{left[0]} is no macro or variable that is known here")
    return sql


def _without_strings(sql: str) -> str:
    return re.sub(r"'(?:[^']|'')*'", "''", sql)


def _seconds(interval: str) -> int:
    if not re.fullmatch(r"\d+[dhms]", interval):
        raise QueryError(f"'{interval}' is no interval: write 5m, 1h or 1d")
    return int(interval[:-1]) * _UNITS[interval[-1]]
