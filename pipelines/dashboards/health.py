"""*Pipeline health*: does the job keep up, is anything put aside, has the model drifted?"""

from grafana_foundation_sdk.models.dashboard import Dashboard

from pipelines.dashboards import panels, sql

UID = "foreshock-health"

DEAD_LETTERS = """
SELECT stage, reason, count(*) AS "messages", count(retried_at) AS "tried again",
  max(recorded_at) AS "last"
FROM dead_letters
GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2
"""

RUNS = """
SELECT started_at AS "started", finished_at AS "finished", kind, state, error, id
FROM runs ORDER BY started_at DESC, id LIMIT 25
"""

LATE = """
SELECT reason, count(*) AS "messages", max(published_at) AS "newest event time"
FROM late_messages
GROUP BY 1 ORDER BY 2 DESC, 1
"""

STORED = f"""
SELECT $__timeGroup(start, $__interval, 0) AS "time",
  sum(CASE WHEN final THEN messages ELSE 0 END) AS "final",
  sum(CASE WHEN final THEN 0 ELSE messages END) AS "provisional"
FROM window_stats
WHERE {sql.OF_RULES} AND key = 'overall' AND {sql.BUCKETS} AND $__timeFilter(start)
GROUP BY 1 ORDER BY 1
"""

_EVERY = "[$__rate_interval]"


def _quantile(q: str, metric: str, by: str = "") -> str:
    return f"histogram_quantile({q}, sum by (le{by}) (rate(foreshock_{metric}_bucket{_EVERY})))"


def build() -> Dashboard:
    good, warn, bad = panels.GREEN, panels.ORANGE, panels.RED
    return panels.assembled(
        UID,
        "Pipeline health",
        "Is the job alive, does it keep up, is anything put aside, has the model drifted?",
        [
            panels.store_variable(),
            panels.configuration_variable(),
            panels.metrics_variable(),
        ],
        [
            panels.metric_number(
                "Unread",
                "Records in the source that are still to be read, over all partitions.",
                "sum(max by (topic, partition) (foreshock_source_lag_records))",
                width=4,
                steps=((None, good), (10_000, warn), (100_000, bad)),
            ),
            panels.metric_number(
                "Since the watermark rose",
                "How long event time has stood still, by the clock. A source that is silent stands "
                "still as well.",
                "time() - max(foreshock_watermark_moved_timestamp_seconds)",
                unit="s",
                width=4,
                steps=((None, good), (300, warn), (900, bad)),
            ),
            panels.metric_number(
                "Watermark",
                "The event time that the job has reached.",
                "max(foreshock_watermark_timestamp_seconds) * 1000",
                unit="dateTimeAsIso",
                width=5,
            ),
            panels.metric_number(
                "Since the last checkpoint",
                "What would be done again if the job died now, by the clock.",
                "time() - max(foreshock_checkpoint_timestamp_seconds)",
                unit="s",
                width=4,
                steps=((None, good), (120, warn), (600, bad)),
            ),
            panels.metric_number(
                "Ledger",
                "1: the ledger of alerts held when it was last verified; 0: it is broken.",
                "min(foreshock_ledger_intact)",
                width=3,
                steps=((None, bad), (1, good)),
            ),
            panels.metric_number(
                "Restarts in a day",
                "Parts of the job that were started again.",
                "sum(increase(foreshock_restarts_total[1d]))",
                width=4,
                steps=((None, good), (1, warn), (10, bad)),
            ),
            panels.rates(
                "Records read a second",
                "By partition of the source.",
                [
                    (
                        f"sum by (topic, partition) (rate(foreshock_source_records_total{_EVERY}))",
                        "{{topic}} {{partition}}",
                    )
                ],
                unit="cps",
            ),
            panels.rates(
                "Unread records",
                "Lag by partition: it should return to nothing after a burst.",
                [
                    (
                        "max by (topic, partition) (foreshock_source_lag_records)",
                        "{{topic}} {{partition}}",
                    )
                ],
            ),
            panels.rates(
                "Messages tagged a second",
                "By source; of very many sources, the rest is called other.",
                [
                    (
                        f"sum by (source) (rate(foreshock_messages_tagged_total{_EVERY}))",
                        "{{source}}",
                    )
                ],
                unit="cps",
            ),
            panels.rates(
                "Delay of messages",
                "From the record's own timestamp in the source to the stage: median and the "
                "slowest hundredth.",
                [
                    (_quantile("0.5", "message_delay_seconds", ", stage"), "{{stage}} p50"),
                    (_quantile("0.99", "message_delay_seconds", ", stage"), "{{stage}} p99"),
                ],
                unit="s",
                steps=((None, good), (2, bad)),
            ),
            panels.rates(
                "Model",
                "What the model takes for a batch: median and the slowest hundredth.",
                [
                    (_quantile("0.5", "model_latency_seconds"), "p50"),
                    (_quantile("0.99", "model_latency_seconds"), "p99"),
                ],
                unit="s",
            ),
            panels.rates(
                "Batches",
                "Messages handed to the model at a time, on average: small ones at rest, large "
                "ones under load.",
                [
                    (
                        f"sum(rate(foreshock_tag_batch_messages_sum{_EVERY})) "
                        f"/ sum(rate(foreshock_tag_batch_messages_count{_EVERY}))",
                        "messages",
                    )
                ],
            ),
            panels.rates(
                "Store",
                "What a transaction of the store takes, and how many are tried again a second.",
                [
                    (_quantile("0.5", "store_latency_seconds"), "p50"),
                    (_quantile("0.99", "store_latency_seconds"), "p99"),
                    (f"sum(rate(foreshock_store_retries_total{_EVERY}))", "retries a second"),
                ],
                unit="s",
            ),
            panels.rates(
                "Put aside",
                "Dead letters a second by stage and reason, and messages that came too late.",
                [
                    (
                        f"sum by (stage, reason) (rate(foreshock_dead_letters_total{_EVERY}))",
                        "{{stage}}: {{reason}}",
                    ),
                    (
                        f"sum by (reason) (rate(foreshock_late_messages_total{_EVERY}))",
                        "late: {{reason}}",
                    ),
                ],
                unit="cps",
            ),
            panels.rates(
                "Buckets closed a second",
                "One-minute buckets that became provisional and final.",
                [(f"sum by (state) (rate(foreshock_minutes_closed_total{_EVERY}))", "{{state}}")],
                unit="cps",
            ),
            panels.rates(
                "Drift of labels",
                "Population stability index of the labels predicted in the last hour against the "
                "training data; from 0.25 the mix is another one.",
                [("max by (head) (foreshock_drift_label_psi)", "{{head}}")],
                steps=((None, good), (0.25, bad)),
            ),
            panels.rates(
                "Confidence and abstention",
                "Means of the last hour, and what was normal on texts held out in training.",
                [
                    ("avg by (head) (foreshock_mean_confidence_ratio)", "{{head}} confidence"),
                    ("avg by (head) (foreshock_expected_confidence_ratio)", "{{head}} normal"),
                    ("avg by (head) (foreshock_abstention_ratio)", "abstention"),
                    ("avg by (head) (foreshock_expected_abstention_ratio)", "normal abstention"),
                ],
                unit="percentunit",
            ),
            panels.rates(
                "Deliveries",
                "Attempts a second to deliver alerts, by channel and outcome, and what is pending.",
                [
                    (
                        f"sum by (channel, outcome) (rate(foreshock_deliveries_total{_EVERY}))",
                        "{{channel}} {{outcome}}",
                    ),
                    ("sum by (channel) (foreshock_deliveries_pending)", "{{channel}} pending"),
                ],
            ),
            panels.stacked(
                "Messages in windows",
                "Messages that windows count, by event time: in final buckets, and in those that "
                "may still change.",
                STORED,
                width=24,
            ),
            panels.rows(
                "Dead letters in the store",
                "What could not be processed, since ever. foreshock dead-letters show tells why, "
                "retry drives them again.",
                DEAD_LETTERS,
            ),
            panels.rows(
                "Late messages in the store",
                "Messages that came too late for their windows, since ever; they are stored and "
                "tagged all the same.",
                LATE,
            ),
            panels.rows("Runs", "Replays and live jobs, the newest first.", RUNS, width=24),
        ],
    )
