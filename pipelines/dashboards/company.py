"""*Company*: one company's news, whether it is more or worse than usual, and the messages."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from pipelines.dashboards import mood, panels, sql

UID = "foreshock-company"
_TICKER = "${company:sqlstring}"
_KEY = f"'entity:' || {_TICKER}"

COMPANIES = f"""
SELECT substr(key, 8) FROM {sql.windows(sql.COMPANIES, "messages")}
GROUP BY key ORDER BY sum(messages) DESC, key LIMIT 2000
"""

_SPOKEN_OF = f"""NOT t.listing AND CAST(t.entities AS TEXT) LIKE '%"' || {_TICKER} || '"%'"""

MESSAGES = f"""
SELECT t.published_at AS "published",
  coalesce(t.by_entity -> {_TICKER} ->> 'sentiment', t.sentiment) AS "sentiment",
  t.topic AS "topic", coalesce(m.title || '. ', '') || m.text AS "text", m.source AS "source",
  m.url AS "address", t.repeat AS "repeat"
{sql.latest(_KEY, _SPOKEN_OF, 100)} {sql.MESSAGE_OF_TAGS}
ORDER BY t.published_at DESC, m.id LIMIT 100
"""

TOPICS = f"""
SELECT t.topic AS "topic", count(*) AS "messages"
{sql.latest(_KEY, _SPOKEN_OF)}
GROUP BY t.topic ORDER BY 2 DESC, 1 LIMIT 20
"""

SOURCES = f"""
SELECT m.source AS "source", count(*) AS "messages"
{sql.latest(_KEY, _SPOKEN_OF)} {sql.MESSAGE_OF_TAGS}
GROUP BY m.source ORDER BY 2 DESC, 1 LIMIT 20
"""

ALERTS = f"""
SELECT count(*) AS "alerts" FROM alerts
WHERE {sql.OF_RULES} AND key = {_KEY} AND $__timeFilter(opened_at)
"""


def build() -> Dashboard:
    company = panels.query_variable(
        "company",
        "Company",
        "By ticker; those with most messages in the time shown come first.",
        COMPANIES,
    )
    return panels.assembled(
        UID,
        "Company",
        "One company's news, whether it is more or worse than usual, and the messages themselves.",
        [panels.store_variable(), panels.configuration_variable(), company],
        [
            panels.number(
                "Messages",
                "Messages that speak of the company in the time shown; lists of cashtags are left "
                "out.",
                sql.total(_KEY, sql.MESSAGES),
            ),
            mood.negative_share(
                "Negative messages among those with a sentiment towards the company.", _KEY
            ),
            mood.balance("Positive less negative messages, over all with a sentiment.", _KEY),
            panels.number(
                "Alerts",
                "Alerts of the company that opened in the time shown.",
                ALERTS,
                steps=((None, panels.GREEN), (1, panels.ORANGE)),
            ),
            mood.new_negative_stories(
                "Each story once, one on n companies as 1/n, by the hour. Usual: the mean hour of "
                "the 28 days before; at most: two standard deviations above. A plain guide: the "
                "detector's own expectation is shown where it found a spike, both over its window "
                "there.",
                _KEY,
            ),
            panels.stacked(
                "Messages by sentiment",
                "Counts of messages by their sentiment towards the company.",
                sql.volume(_KEY),
            ),
            mood.negative_share_over_time(_KEY),
            panels.bars(
                "Topics",
                "What the newest messages in the time shown are about: those of the thousand "
                "latest minutes that have any.",
                TOPICS,
            ),
            panels.bars("Sources", "Where these messages come from.", SOURCES),
            panels.rows(
                "Alerts of the company",
                "Alerts that opened in the time shown, the newest first.",
                sql.alerts(f" AND key = {_KEY}"),
                width=24,
                height=7,
            ),
            panels.rows(
                "Latest messages",
                "The newest hundred in the time shown, with the sentiment towards the company "
                "where a message speaks of several. Text is as the source gave it.",
                MESSAGES,
                width=24,
                height=14,
                addresses=["address"],
            ),
        ],
        marked=_KEY,
    )
