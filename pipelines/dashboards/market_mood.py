"""*Market mood*: how much is said, in what mood, about what, and what moves."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from pipelines.dashboards import mood, panels, sql
from pipelines.dashboards.panels import Link

UID = "foreshock-mood"
_ALL = "'overall'"

_COMPANY = Link("company", "foreshock-company", "company")
_TOPIC = Link("topic", "foreshock-topic", "topic")

_TOPICS = sql.windows(
    sql.ALL_TOPICS, "new_negative", sql.BUCKETS, by_day="$__interval_ms >= 86400000"
)
TOPICS = f"""
SELECT $__timeGroup(start, $__interval) AS "time", substr(key, 7) AS "metric",
  sum(new_negative) AS "value"
FROM {_TOPICS}
GROUP BY 1, 2 ORDER BY 1, 2
"""

OPEN = f"""
SELECT count(*) AS "open" FROM alerts WHERE {sql.OF_RULES} AND state = 'open'
"""


def build() -> Dashboard:
    return panels.assembled(
        UID,
        "Market mood",
        "How much is said, in what mood, about what, and what moves.",
        [panels.store_variable(), panels.configuration_variable()],
        [
            panels.number(
                "Messages",
                "Messages in the time shown, copies and lists of cashtags included.",
                sql.total(_ALL, sql.MESSAGES),
            ),
            mood.negative_share(
                "Negative messages among those with a sentiment; where the model was too unsure, a "
                "message has none.",
                _ALL,
                orange=0.25,
                red=0.4,
            ),
            mood.balance(
                "Positive less negative messages, over all with a sentiment: 1 is all positive, "
                "-1 all negative.",
                _ALL,
            ),
            panels.number(
                "Open alerts",
                "Alerts that are open now, whatever time is shown.",
                OPEN,
                steps=((None, panels.GREEN), (1, panels.ORANGE), (10, panels.RED)),
            ),
            panels.stacked(
                "Messages by sentiment",
                "Counts of messages. Unsure: the model's best guess was below its threshold.",
                sql.volume(_ALL),
            ),
            mood.negative_share_over_time(_ALL),
            mood.new_negative_stories(
                "Each story once, by the hour. Usual: the mean hour of the 28 days before; at "
                "most: two standard deviations above. A plain guide: the detector's own "
                "expectation knows the hour of the week, and is shown where it found a spike, both "
                "over its window there.",
                _ALL,
                width=12,
            ),
            panels.stacked(
                "New stories and repeats",
                "A repeat is a message that says what an earlier one said.",
                sql.stories(_ALL),
            ),
            panels.heat(
                "New negative stories by topic",
                "The stronger the colour, the more new negative stories on the topic.",
                TOPICS,
            ),
            panels.rows(
                "Companies that move",
                "Companies with most new negative stories in the time shown. Change: those of its "
                "second half less those of its first; over more than a week the halves part at a "
                "midnight. Click one to see it.",
                sql.movers(sql.COMPANIES, "company"),
                links=[_COMPANY],
                units=[("negative share", "percentunit")],
            ),
            panels.rows(
                "Topics that move",
                "Topics with most new negative stories, in the same columns. Click one to see it.",
                sql.movers(sql.ALL_TOPICS, "topic"),
                links=[_TOPIC],
                units=[("negative share", "percentunit")],
            ),
            panels.rows(
                "Alerts",
                "Alerts that opened in the time shown, the newest first, with what was seen and "
                "expected at the peak.",
                sql.alerts(),
                width=24,
                links=[_COMPANY, _TOPIC],
            ),
        ],
    )
