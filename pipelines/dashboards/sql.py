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

USUAL_DAYS = 28

COMPANIES = "key LIKE 'entity:%'"
ALL_TOPICS = "key IN ({})".format(", ".join(f"'topic:{topic}'" for topic in TOPICS))
"""By name, for which the index has a place each."""

_NAME_AT = {COMPANIES: len("entity:") + 1, ALL_TOPICS: len("topic:") + 1}


def volume(key: str) -> str:
    """Messages by sentiment over time; `key`: an SQL expression."""
    return f"""
SELECT $__timeGroup(start, $__interval) AS "time", sum(negative) AS "negative",
  sum(neutral) AS "neutral", sum(positive) AS "positive", sum(abstained) AS "unsure"
FROM window_stats
WHERE {OF_RULES} AND key = {key} AND {BUCKETS} AND $__timeFilter(start)
GROUP BY 1 ORDER BY 1
"""


def negative_share(key: str) -> str:
    """Share of negative messages among those with a sentiment, over time."""
    return f"""
SELECT $__timeGroup(start, $__interval) AS "time",
  1.0 * sum(negative) / nullif(sum(negative + neutral + positive), 0) AS "negative share"
FROM window_stats
WHERE {OF_RULES} AND key = {key} AND {BUCKETS} AND $__timeFilter(start)
GROUP BY 1 ORDER BY 1
"""


def stories(key: str) -> str:
    """New and repeated messages over time."""
    return f"""
SELECT $__timeGroup(start, $__interval) AS "time",
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
    """New negative stories by the hour, and what was usual in the four weeks before."""
    return f"""
WITH hours AS (
  SELECT extract(epoch from start) AS "time", weight_new_negative / 1000000.0 AS stories
  FROM window_stats
  WHERE {OF_RULES} AND key = {key} AND seconds = 3600 AND start <= $__timeTo()
), sums AS (
  SELECT "time", stories, coalesce(sum(stories) OVER before, 0) AS total,
    coalesce(sum(stories * stories) OVER before, 0) AS squares,
    greatest(1, least({USUAL_DAYS * 24}, ("time" - min("time") OVER ()) / 3600)) AS hours
  FROM hours
  WINDOW before AS (ORDER BY "time" RANGE BETWEEN {USUAL_DAYS * 86400} PRECEDING
    AND 3600 PRECEDING)
)
SELECT "time", stories AS "new negative stories", total / hours AS "usual",
  total / hours + 2 * sqrt(greatest(0, squares / hours - (total / hours) * (total / hours)))
    AS "usual at most"
FROM sums WHERE "time" >= $__unixEpochFrom() ORDER BY 1
"""


def spike_points(key: str) -> str:
    """What the detector saw and expected where it found a surge."""
    return f"""
SELECT extract(epoch from window_end) AS "time", max(observed) AS "seen at a spike",
  max(expected) AS "expected by the detector"
FROM spikes
WHERE {OF_RULES} AND key = {key} AND $__timeFilter(window_end)
GROUP BY window_end ORDER BY 1
"""


def movers(keys: str, name: str) -> str:
    """Keys with most new negative stories; the change is that from the first half of the time.

    `keys`: COMPANIES or ALL_TOPICS; `name`: the column of their names.
    """
    half = "extract(epoch from start) >= 0.5 * $__unixEpochFrom() + 0.5 * $__unixEpochTo()"
    return f"""
SELECT substr(key, {_NAME_AT[keys]}) AS "{name}", sum(new_negative) AS "new negative stories",
  sum(CASE WHEN {half} THEN new_negative ELSE -new_negative END) AS "change",
  sum(messages) AS "messages", {NEGATIVE_SHARE}
FROM window_stats
WHERE {OF_RULES} AND {keys} AND {WHOLE} AND $__timeFilter(start)
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
