"""*Topic*: one topic's news, the companies in it, and the messages."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from models.tags import TOPICS
from pipelines.dashboards import mood, panels, sql
from pipelines.dashboards.panels import Link

UID = "foreshock-topic"
_TOPIC = "${topic:sqlstring}"
_KEY = f"'topic:' || {_TOPIC}"

_COMPANY = Link("company", "foreshock-company", "company")

COMPANIES = f"""
SELECT e.value AS "company", count(*) AS "messages",
  sum(CASE WHEN t.abstained THEN 0 WHEN coalesce(t.by_entity -> e.value ->> 'sentiment',
    t.sentiment) = 'negative' THEN 1 ELSE 0 END) AS "negative"
{sql.latest(_KEY, f"t.topic = {_TOPIC}")}
CROSS JOIN LATERAL json_array_elements_text(t.entities) AS e(value)
WHERE NOT t.listing
GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 25
"""

MESSAGES = f"""
SELECT t.published_at AS "published", t.sentiment AS "sentiment",
  coalesce(m.title || '. ', '') || m.text AS "text", m.source AS "source", m.url AS "address",
  t.repeat AS "repeat"
{sql.latest(_KEY, f"t.topic = {_TOPIC}", 100)} {sql.MESSAGE_OF_TAGS}
ORDER BY t.published_at DESC, m.id LIMIT 100
"""


def build() -> Dashboard:
    return panels.assembled(
        UID,
        "Topic",
        "One topic's news, whether it is more or worse than usual, and the messages themselves.",
        [
            panels.store_variable(),
            panels.configuration_variable(),
            panels.list_variable("topic", "Topic", TOPICS),
        ],
        [
            panels.number(
                "Messages",
                "Messages on the topic in the time shown.",
                sql.total(_KEY, sql.MESSAGES),
                width=8,
            ),
            mood.negative_share("Negative messages among those with a sentiment.", _KEY, width=8),
            mood.balance(
                "Positive less negative messages, over all with a sentiment.", _KEY, width=8
            ),
            mood.new_negative_stories(
                "Each story once, by the hour. Usual: the mean hour of the 28 days before; at "
                "most: two standard deviations above. A plain guide: the detector's own "
                "expectation is shown where it found a spike, both over its window there.",
                _KEY,
            ),
            panels.stacked(
                "Messages by sentiment", "Counts of messages on the topic.", sql.volume(_KEY)
            ),
            mood.negative_share_over_time(_KEY),
            panels.rows(
                "Companies in the topic",
                "Companies that the newest messages in the time shown speak of: those of the "
                "thousand latest minutes that have any; lists of cashtags are left out.",
                COMPANIES,
                links=[_COMPANY],
            ),
            panels.rows(
                "Alerts of the topic",
                "Alerts that opened in the time shown, the newest first.",
                sql.alerts(f" AND key = {_KEY}"),
            ),
            panels.rows(
                "Latest messages",
                "The newest hundred in the time shown. Text is as the source gave it.",
                MESSAGES,
                width=24,
                height=14,
                addresses=["address"],
            ),
        ],
        marked=_KEY,
    )
