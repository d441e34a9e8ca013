"""The queries of the store's panels, shared by the dashboards that show a key: overall, a topic, a
company.

They are written for Grafana's PostgreSQL data source, with its macros, in SQL that SQLite also
takes after the few replacements of `pipelines.dashboards.asking`.
"""

from models.tags import TOPICS

OF_RULES = "configuration = ${configuration:sqlstring}"

BUCKETS = "seconds = CASE WHEN $__interval_ms >= 3600000 THEN 3600 ELSE 60 END"
"""Hours are enough where a point on the screen is an hour or more."""

WHOLE = """seconds = CASE WHEN $__unixEpochTo() - $__unixEpochFrom() > 172800
    THEN 3600 ELSE 60 END"""
"""For sums over the time shown: hours where it is more than two days."""

BY_DAY = "$__unixEpochTo() - $__unixEpochFrom() > 604800"
"""Sums of many keys are taken from days where it is more than a week."""

_SECOND_DAY = "to_timestamp($__unixEpochFrom() / 86400 * 86400 + 86400)"
_LAST_DAY = "to_timestamp($__unixEpochTo() / 86400 * 86400)"

# One bound at each side: SQLite takes the first that it reads, and not the closest.
_FIRST_DAY_ENDS = "least($__timeTo(), to_timestamp($__unixEpochFrom() / 86400 * 86400 + 82800))"
_LAST_DAY_BEGINS = f"greatest({_SECOND_DAY}, {_LAST_DAY})"

MESSAGE_OF_TAGS = """CROSS JOIN LATERAL (SELECT * FROM messages m
  WHERE m.id = t.message_id AND m.published_at = t.published_at LIMIT 1) AS m"""
"""One by one, each in the partition of its month: the planner would rather read all messages."""

USUAL_DAYS = 28

COMPANIES = "key LIKE 'entity:%'"
ALL_TOPICS = "key IN ({})".format(", ".join(f"'topic:{topic}'" for topic in TOPICS))
"""By name, for which the index has a place each."""

_NAME_AT = {COMPANIES: len("entity:") + 1, ALL_TOPICS: len("topic:") + 1}


def windows(keys: str, columns: str, seconds: str = WHOLE, by_day: str = BY_DAY) -> str:
    """A table of the windows of many keys that begin in the time shown; their length is `seconds`.

    Under `by_day` they are days, and hours in the days that are shown in part: sums come out as if
    all were hours, from a thirtieth of the rows. Of each part that is not asked for, the database
    sees at once that it is empty.
    """

    def part(table: str, *conditions: str) -> str:
        where = " AND ".join((OF_RULES, keys, *conditions))
        return f"SELECT key, start, {columns} FROM {table}\n  WHERE {where}"

    hours = (by_day, "seconds = 3600")
    parts = (
        part("window_stats", f"NOT ({by_day})", seconds, "$__timeFilter(start)"),
        part("window_stats", *hours, f"start BETWEEN $__timeFrom() AND {_FIRST_DAY_ENDS}"),
        part("window_days", by_day, f"start >= {_SECOND_DAY}", f"start < {_LAST_DAY}"),
        part("window_stats", *hours, f"start BETWEEN {_LAST_DAY_BEGINS} AND $__timeTo()"),
    )
    return "({}) AS windows".format("\n  UNION ALL\n  ".join(parts))


def latest(key: str, fits: str, minutes: int = 1000) -> str:
    """Tags `t` of the messages of the latest minutes that counted any for the key; `fits` says
    which of those of a minute.

    So many looks at the index on time, however long the time shown. Lateral and limited, as the
    planner would rather compare every message with every minute.
    """
    return f"""
FROM (
  SELECT start FROM window_stats
  WHERE {OF_RULES} AND key = {key} AND seconds = 60 AND $__timeFilter(start)
  ORDER BY start DESC LIMIT {minutes}
) AS latest
CROSS JOIN LATERAL (SELECT * FROM tags t
  WHERE t.published_at >= latest.start AND t.published_at < latest.start + interval '1 minute'
    AND {fits}
  LIMIT 100000) AS t
"""


def volume(key: str) -> str:
    """Messages by sentiment over time; `key`: an SQL expression."""
    return f"""
SELECT $__timeGroup(start, $__interval, 0) AS "time", sum(negative) AS "negative",
  sum(neutral) AS "neutral", sum(positive) AS "positive", sum(abstained) AS "unsure"
FROM window_stats
WHERE {OF_RULES} AND key = {key} AND {BUCKETS} AND $__timeFilter(start)
GROUP BY 1 ORDER BY 1
"""


def negative_share(key: str) -> str:
    """Share of negative messages among those with a sentiment, over time; NULL where none has."""
    return f"""
SELECT $__timeGroup(start, $__interval, NULL) AS "time",
  1.0 * sum(negative) / nullif(sum(negative + neutral + positive), 0) AS "negative share"
FROM window_stats
WHERE {OF_RULES} AND key = {key} AND {BUCKETS} AND $__timeFilter(start)
GROUP BY 1 ORDER BY 1
"""


def stories(key: str) -> str:
    """New and repeated messages over time."""
    return f"""
SELECT $__timeGroup(start, $__interval, 0) AS "time",
  sum(messages - repeats) AS "new stories", sum(repeats) AS "repeats"
FROM window_stats
WHERE {OF_RULES} AND key = {key} AND {BUCKETS} AND $__timeFilter(start)
GROUP BY 1 ORDER BY 1
"""


def total(key: str, sums: str) -> str:
    """Sums over the time shown."""
    return f"""
SELECT {sums}
FROM window_stats
WHERE {OF_RULES} AND key = {key} AND {WHOLE} AND $__timeFilter(start)
"""


MESSAGES = 'sum(messages) AS "messages"'
NEGATIVE_SHARE = """1.0 * sum(negative) / nullif(sum(negative + neutral + positive), 0)
  AS "negative share\""""
BALANCE = """1.0 * (sum(positive) - sum(negative))
  / nullif(sum(negative + neutral + positive), 0) AS "balance\""""


def usual(key: str) -> str:
    """New negative stories by the hour, and what was usual in the four weeks before.

    An hour without a message of the key has no row: it is 0, from the key's first hour to the last
    that counted any message.
    """
    hour = "CAST(extract(epoch from start) AS bigint)"
    hours_of = f"FROM window_stats WHERE {OF_RULES} AND seconds = 3600 AND key ="
    return f"""
WITH RECURSIVE held AS (
  SELECT oldest.began, newest.ended FROM
    (SELECT {hour} AS began {hours_of} {key}
     ORDER BY start LIMIT 1) AS oldest CROSS JOIN
    (SELECT {hour} AS ended {hours_of} 'overall' AND start <= $__timeTo()
     ORDER BY start DESC LIMIT 1) AS newest
), shown(hour) AS (
  SELECT greatest(began, ($__unixEpochFrom() + 3599) / 3600 * 3600) FROM held
  UNION ALL
  SELECT hour + 3600 FROM shown CROSS JOIN held WHERE hour < ended
), hours AS (
  SELECT "time", sum(weight) / 1000000.0 AS stories FROM (
    SELECT {hour} AS "time", weight_new_negative AS weight
    {hours_of} {key} AND start <= $__timeTo()
      AND start >= to_timestamp($__unixEpochFrom() - {USUAL_DAYS * 86400})
    UNION ALL
    SELECT hour, 0 FROM shown CROSS JOIN held WHERE hour <= ended
  ) AS counted GROUP BY 1
), sums AS (
  SELECT "time", stories, coalesce(sum(stories) OVER before, 0) AS total,
    coalesce(sum(stories * stories) OVER before, 0) AS squares,
    greatest(1, least({USUAL_DAYS * 24}, ("time" - began) / 3600)) AS hours
  FROM hours CROSS JOIN held
  WINDOW before AS (ORDER BY "time" RANGE BETWEEN {USUAL_DAYS * 86400} PRECEDING
    AND 3600 PRECEDING)
)
SELECT "time", stories AS "new negative stories", total / hours AS "usual",
  total / hours + 2 * sqrt(greatest(0, squares / hours - (total / hours) * (total / hours)))
    AS "usual at most"
FROM sums WHERE "time" >= $__unixEpochFrom() ORDER BY 1
"""


def spike_points(key: str) -> str:
    """What the detector saw and expected where it found a surge of new negative stories."""
    return f"""
SELECT extract(epoch from window_end) AS "time", max(observed) AS "seen at a spike",
  max(expected) AS "expected by the detector"
FROM spikes
WHERE {OF_RULES} AND key = {key} AND kind IN ('negative_surge', 'slow_drift')
  AND $__timeFilter(window_end)
GROUP BY window_end ORDER BY 1
"""


def movers(keys: str, name: str) -> str:
    """Keys with most new negative stories; the change is that from the first half of the time.

    `keys`: COMPANIES or ALL_TOPICS; `name`: the column of their names. Where days are summed, the
    halves part at a midnight.
    """
    middle = "0.5 * $__unixEpochFrom() + 0.5 * $__unixEpochTo()"
    half = f"""start >= CASE WHEN {BY_DAY}
    THEN to_timestamp(CAST({middle} AS bigint) / 86400 * 86400) ELSE to_timestamp({middle}) END"""
    counts = "messages, negative, neutral, positive, new_negative"
    return f"""
SELECT substr(key, {_NAME_AT[keys]}) AS "{name}", sum(new_negative) AS "new negative stories",
  sum(CASE WHEN {half} THEN new_negative ELSE -new_negative END) AS "change",
  sum(messages) AS "messages", {NEGATIVE_SHARE}
FROM {windows(keys, counts)}
GROUP BY key ORDER BY 2 DESC, 4 DESC, 1 LIMIT 25
"""


def alerts(where: str = "") -> str:
    """Alerts opened in the time shown, the newest first."""
    return f"""
SELECT opened_at AS "opened", severity, kind, state,
  CASE WHEN key LIKE 'entity:%' THEN substr(key, 8) END AS "company",
  CASE WHEN key LIKE 'topic:%' THEN substr(key, 7) END AS "topic",
  peak_observed AS "seen", expected_at_peak AS "expected", disposition, id
FROM alerts
WHERE {OF_RULES} AND $__timeFilter(opened_at){where}
ORDER BY opened_at DESC, id LIMIT 100
"""
