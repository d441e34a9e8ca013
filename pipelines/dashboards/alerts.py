"""*Alerts and compliance*: what is open, how fast people answer, what alerts turned out to be."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from pipelines.dashboards import panels, sql
from pipelines.dashboards.panels import Link

UID = "foreshock-alerts"

_FIRST = "FROM alert_events e WHERE e.alert_id = a.id AND e.event = 'opened'"
_RAISED = f"(SELECT min(e.recorded_at) {_FIRST})"
"""When the alert was raised by the clock: of a history that is not when it opened."""

_RAISED_SECONDS = f"(SELECT min(extract(epoch from e.recorded_at)) {_FIRST})"

_OPEN = f"FROM alerts a WHERE {sql.OF_RULES} AND a.state = 'open'"
_SHOWN = f"FROM alerts a WHERE {sql.OF_RULES} AND $__timeFilter(a.opened_at)"
_AGE = f"extract(epoch from now()) - {_RAISED_SECONDS}"
_ANSWERED = f"extract(epoch from a.acknowledged_at) - {_RAISED_SECONDS}"

OPEN = f'SELECT count(*) AS "open" {_OPEN}'

UNANSWERED = f'SELECT count(*) AS "unanswered" {_OPEN} AND a.acknowledged_at IS NULL'

OLDEST = f'SELECT max({_AGE}) AS "age" {_OPEN} AND a.acknowledged_at IS NULL'

ANSWER = f"""
SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY {_ANSWERED}) AS "time"
{_SHOWN} AND a.acknowledged_at IS NOT NULL
"""

FALSE = f"""
SELECT 1.0 * sum(CASE WHEN a.disposition = 'false-alarm' THEN 1 ELSE 0 END)
  / nullif(count(a.disposition), 0) AS "false alarms"
{_SHOWN}
"""

_COUNTED = ",\n  ".join(
    f"sum(CASE WHEN severity = '{severity}' THEN 1 ELSE 0 END) AS \"{severity}\""
    for severity in ("low", "medium", "high", "critical")
)

BY_AGE = f"""
SELECT CASE WHEN age < 3600 THEN '1: up to an hour' WHEN age < 28800 THEN '2: up to 8 hours'
    WHEN age < 86400 THEN '3: up to a day' ELSE '4: over a day' END AS "age",
  {_COUNTED}
FROM (SELECT a.severity AS severity, {_AGE} AS age {_OPEN}
  LIMIT 1000000000  -- else the ledger is looked into again for each line above
) AS aged
GROUP BY 1 ORDER BY 1
"""

OPENED = f"""
SELECT $__timeGroup(opened_at, $__interval, 0) AS "time",
  {_COUNTED}
FROM alerts
WHERE {sql.OF_RULES} AND $__timeFilter(opened_at)
GROUP BY 1 ORDER BY 1
"""

DISPOSITIONS = f"""
SELECT coalesce(a.disposition, 'not yet') AS "disposition", count(*) AS "alerts"
{_SHOWN}
GROUP BY 1 ORDER BY 2 DESC, 1
"""

BY_KIND = f"""
SELECT kind, severity, count(*) AS "alerts", count(acknowledged) AS "acknowledged",
  percentile_cont(0.5) WITHIN GROUP (ORDER BY acknowledged) AS "half within",
  percentile_cont(0.9) WITHIN GROUP (ORDER BY acknowledged) AS "nine tenths within",
  count(disposition) AS "disposed",
  1.0 * sum(CASE WHEN disposition = 'false-alarm' THEN 1 ELSE 0 END)
    / nullif(count(disposition), 0) AS "false alarms"
FROM (SELECT a.kind, a.severity, a.disposition, {_ANSWERED} AS acknowledged {_SHOWN}
  OFFSET 0  -- else PostgreSQL looks into the ledger again for each of the columns above
) AS answered
GROUP BY 1, 2 ORDER BY 1, 2
"""

WORK = f"""
SELECT a.severity, a.opened_at AS "opened",
  {_RAISED} AS "raised",
  CASE WHEN a.key LIKE 'entity:%' THEN substr(a.key, 8) END AS "company",
  CASE WHEN a.key LIKE 'topic:%' THEN substr(a.key, 7) END AS "topic", a.kind,
  a.acknowledged_by AS "acknowledged by", a.assigned_to AS "assigned to",
  a.snoozed_until AS "snoozed until", a.id
{_OPEN}
ORDER BY CASE a.severity WHEN 'critical' THEN 0 WHEN 'high' THEN 1 WHEN 'medium' THEN 2 ELSE 3 END,
  a.opened_at, a.id
LIMIT 200
"""

# Of the newest entries one by one: joined, SQLite first looks through all alerts.
_ABOUT = f"FROM alerts a WHERE a.id = e.alert_id AND a.{sql.OF_RULES}"

LEDGER = f"""
SELECT e.sequence, e.recorded_at AS "recorded", e.occurred_at AS "occurred", e.event, e.actor,
  (SELECT a.key {_ABOUT}) AS "about", e.alert_id AS "alert"
FROM alert_events e
WHERE $__timeFilter(e.occurred_at) AND EXISTS (SELECT 1 {_ABOUT})
ORDER BY e.sequence DESC LIMIT 100
"""

DELIVERIES = f"""
SELECT d.channel, d.state, count(*) AS "deliveries", sum(d.attempts) AS "attempts"
FROM deliveries d JOIN alerts a ON a.id = d.alert_id
WHERE a.{sql.OF_RULES} AND $__timeFilter(a.opened_at)
GROUP BY 1, 2 ORDER BY 1, 2
"""

_COMPANY = Link("company", "foreshock-company", "company")
_TOPIC = Link("topic", "foreshock-topic", "topic")


def build() -> Dashboard:
    return panels.assembled(
        UID,
        "Alerts and compliance",
        "What is open, how fast people answer, and what alerts turned out to be.",
        [panels.store_variable(), panels.configuration_variable()],
        [
            panels.number(
                "Open",
                "Alerts that are open now, whatever time is shown.",
                OPEN,
                width=5,
                steps=((None, panels.GREEN), (1, panels.ORANGE), (10, panels.RED)),
            ),
            panels.number(
                "Not acknowledged",
                "Open alerts that nobody has acknowledged.",
                UNANSWERED,
                width=5,
                steps=((None, panels.GREEN), (1, panels.ORANGE), (5, panels.RED)),
            ),
            panels.number(
                "Oldest not acknowledged",
                "How long ago the oldest of these was raised, by the clock.",
                OLDEST,
                unit="s",
                width=5,
                steps=((None, panels.GREEN), (1800, panels.ORANGE), (7200, panels.RED)),
            ),
            panels.number(
                "Time to acknowledge",
                "From raising to acknowledgement by the clock; half of the alerts that opened in "
                "the time shown took less.",
                ANSWER,
                unit="s",
                width=5,
                steps=((None, panels.GREEN), (1800, panels.ORANGE), (7200, panels.RED)),
            ),
            panels.number(
                "False alarms",
                "Alerts disposed of as false-alarm, among all that were disposed of.",
                FALSE,
                unit="percentunit",
                decimals=1,
                width=4,
                steps=((None, panels.GREEN), (0.2, panels.ORANGE), (0.5, panels.RED)),
            ),
            panels.bars(
                "Open by age and severity",
                "Alerts that are open now, by how long ago they were raised.",
                BY_AGE,
            ),
            panels.stacked(
                "Opened by severity",
                "Alerts by the event time at which they opened.",
                OPENED,
            ),
            panels.rows(
                "To do",
                "Alerts that are open now, the most severe first. Acknowledge, assign and dispose "
                "of them with foreshock alerts.",
                WORK,
                width=24,
                links=[_COMPANY, _TOPIC],
            ),
            panels.shares(
                "Dispositions",
                "What the alerts that opened in the time shown turned out to be.",
                DISPOSITIONS,
            ),
            panels.rows(
                "Answers by kind",
                "How fast people acknowledged, and how many were false alarms, by kind and "
                "severity.",
                BY_KIND,
                width=16,
                height=8,
                units=[
                    ("half within", "s"),
                    ("nine tenths within", "s"),
                    ("false alarms", "percentunit"),
                ],
            ),
            panels.rows(
                "Ledger",
                "The newest entries about the time shown: what the pipeline found and what people "
                "decided. foreshock alerts verify proves that none was changed.",
                LEDGER,
                width=16,
            ),
            panels.rows(
                "Deliveries",
                "Who was told, by channel: deliveries and attempts for the alerts that opened in "
                "the time shown.",
                DELIVERIES,
                width=8,
            ),
        ],
    )
