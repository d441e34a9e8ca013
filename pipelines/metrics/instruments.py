"""The instruments of a process, by what happens to a message on its way.

Names, units and types follow Prometheus: base units, `_total` for what only grows. Counters count
work, not results: what an engine runs twice after a crash is counted twice. Figures that would be
an age are given as the moment they count from, so that they go on ageing when their process hangs.
"""

import os
import time
from collections import Counter as Tally
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import cache
from pathlib import Path

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

from alerting.spike import Spike
from connectors.dead_letter import DeadLetter
from models.artifact import TaggingConfig
from models.drift import observe, reference
from models.tags import HEADS, ModelIdentity
from pipelines.records import Tagged

FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""Where it is set, the processes that find it write their figures into that folder."""

OTHER = "other"
"""Stands for the sources beyond `MOST_SOURCES`: their names come with the messages."""

MOST_SOURCES = 100

OUTCOMES = ("delivered", "failed", "given_up")
"""Of an attempt to deliver; what has `failed` is tried again."""

_MODEL_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_STORE_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60)
_DELAY_SECONDS = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10, 30, 60, 300, 1800)
_BATCH_MESSAGES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096, 16_384)


class Metrics:
    """All instruments on one registry; `metrics()` gives the process's own."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        def counter(name: str, says: str, *labels: str) -> Counter:
            return Counter(f"foreshock_{name}", says, labels, registry=registry)

        def gauge(name: str, says: str, *labels: str) -> Gauge:
            # Of several processes that have set it, the last one knows best, dead or alive.
            return Gauge(
                f"foreshock_{name}",
                says,
                labels,
                registry=registry,
                multiprocess_mode="mostrecent",
            )

        def histogram(name: str, says: str, buckets: Sequence[float], *labels: str) -> Histogram:
            return Histogram(f"foreshock_{name}", says, labels, buckets=buckets, registry=registry)

        place = ("topic", "partition")
        self._read = counter("source_records_total", "Records read from the source.", *place)
        self._lag = gauge("source_lag_records", "Records in the source still unread.", *place)
        self._last_read = gauge(
            "source_read_timestamp_seconds", "When a record was last read, by the clock.", *place
        )
        self._watermark = gauge("watermark_timestamp_seconds", "Event time of the watermark.")
        self._moved = gauge(
            "watermark_moved_timestamp_seconds", "When the watermark last rose, by the clock."
        )
        self._late = counter("late_messages_total", "Messages that came too late.", "reason")
        self._duplicates = counter("duplicate_messages_total", "Copies of messages left out.")
        self._dead = counter(
            "dead_letters_total", "Messages that could not be processed.", "stage", "reason"
        )

        self._tagged = counter("messages_tagged_total", "Messages tagged.", "source")
        self._batch = histogram(
            "tag_batch_messages", "Messages handed to the model at a time.", _BATCH_MESSAGES
        )
        self._model_seconds = histogram(
            "model_latency_seconds", "What the model took for a batch.", _MODEL_SECONDS
        )
        self._delay = histogram(
            "message_delay_seconds",
            "From the record's timestamp in the source to the stage.",
            _DELAY_SECONDS,
            "stage",
        )
        self._model = gauge("model_info", "1 for the models loaded.", "name", "version", "checksum")
        self._predictions = counter(
            "predictions_total", "Texts by the label predicted.", "head", "label"
        )
        self._confidence = counter(
            "prediction_confidence_total", "Sum of the highest probabilities.", "head"
        )
        self._abstained = counter(
            "abstentions_total", "Texts on which the model abstained.", "head"
        )
        self._expected_share = gauge(
            "expected_label_share_ratio",
            "Share of the label in the training data.",
            "head",
            "label",
        )
        self._expected_confidence = gauge(
            "expected_confidence_ratio", "Mean confidence on texts held out.", "head"
        )
        self._expected_abstention = gauge(
            "expected_abstention_ratio", "Share of abstentions on texts held out.", "head"
        )

        self._rows = counter("store_rows_total", "Rows handed to the store.", "table")
        self._store_seconds = histogram(
            "store_latency_seconds", "What a transaction of the store took.", _STORE_SECONDS
        )
        self._retries = counter("store_retries_total", "Transactions tried again.")
        self._minutes = counter("minutes_closed_total", "One-minute buckets closed.", "state")
        self._spikes = counter("spikes_total", "Spikes found.", "kind", "severity")

        self._alerts = counter(
            "alert_events_total", "What happened to alerts.", "event", "severity"
        )
        self._deliveries = counter(
            "deliveries_total", "Attempts to deliver an alert.", "channel", "outcome"
        )
        self._pending = gauge("deliveries_pending", "Deliveries still to be made.", "channel")
        self._ledger = gauge("ledger_intact", "1 where the ledger was last proved, 0 if broken.")
        self._looked = gauge(
            "alerts_looked_timestamp_seconds",
            "When the alert process last looked at the store, by the clock.",
        )
        self._proved = gauge(
            "ledger_verified_timestamp_seconds", "When the ledger was last verified, by the clock."
        )

        self._restarts = counter("restarts_total", "Parts started again.", "part")
        self._checkpoint = gauge(
            "checkpoint_timestamp_seconds", "When the last complete checkpoint was taken."
        )
        self._checkpoint_bytes = gauge("checkpoint_size_bytes", "Size of that checkpoint.")
        self._sources: set[str] = set()
        self._watermark_was: datetime | None = None

    def read(self, topic: str, partition: int, records: int, lag: int) -> None:
        """`records` were read of a partition that has `lag` more."""
        self.lag(topic, partition, lag)
        if records:
            self._read.labels(topic, partition).inc(records)
            self._last_read.labels(topic, partition).set_to_current_time()

    def lag(self, topic: str, partition: int, records: int) -> None:
        """So many records of a partition are unread, as whoever looks after the job sees it: a
        source that hangs does not say so itself."""
        self._lag.labels(topic, partition).set(records)

    def watermark(self, event_time: datetime) -> None:
        """The watermark stands at `event_time`; call it as often as it may have risen."""
        if self._watermark_was is None or event_time > self._watermark_was:
            self._watermark_was = event_time
            self._watermark.set(event_time.timestamp())
            self._moved.set_to_current_time()

    def late(self, reason: str, messages: int = 1) -> None:
        """Messages came too late, by the reason of `connectors.lateness.LateMessage`."""
        self._late.labels(reason).inc(messages)

    def duplicates(self, messages: int) -> None:
        """Copies were left out."""
        self._duplicates.inc(messages)

    def dead_letters(self, letters: Iterable[DeadLetter]) -> None:
        """Messages were put aside."""
        for letter in letters:
            self._dead.labels(letter.stage, letter.reason).inc()

    def model_loaded(self, model: ModelIdentity, config: TaggingConfig) -> None:
        """The process tags with this model, whose `config` says what is normal for it."""
        self._model.labels(model.name, model.version, model.checksum).set(1)
        for head, labels in HEADS.items():
            normal = reference(config, head)
            if normal is None:
                continue
            for label, share in zip(labels, normal.shares, strict=True):
                self._expected_share.labels(head, label).set(share)
            if normal.confidence is not None:
                self._expected_confidence.labels(head).set(normal.confidence)
            if normal.abstention is not None:
                self._expected_abstention.labels(head).set(normal.abstention)

    def tagged(self, batch: Sequence[Tagged | DeadLetter], seconds: float) -> None:
        """The model gave these for one batch, in `seconds`. Its dead letters are not counted here:
        they are where they are put aside."""
        done = [one for one in batch if isinstance(one, Tagged)]
        self._batch.observe(len(batch))
        self._model_seconds.observe(seconds)
        for source, messages in Tally(one.message.source for one in done).items():
            self._tagged.labels(self._source(source)).inc(messages)
        for head, labels in HEADS.items():
            seen = observe(head, (one.tags for one in done))
            for label, texts in zip(labels, seen.counts, strict=True):
                if texts:
                    self._predictions.labels(head, label).inc(texts)
            if seen.confidence is not None:
                self._confidence.labels(head).inc(seen.confidence / 1e6)
            if seen.abstained is not None:
                self._abstained.labels(head).inc(seen.abstained)

    def delay(self, stage: str, seconds: float) -> None:
        """A message has reached `stage` ("tagged", "stored") so long after its record's own
        timestamp; for a history that is played again that is when it was sent."""
        self._delay.labels(stage).observe(max(0.0, seconds))

    def stored(self, table: str, rows: int) -> None:
        """Rows were handed to the store, whether or not it took them."""
        self._rows.labels(table).inc(rows)

    @contextmanager
    def storing(self) -> Iterator[None]:
        """Times a transaction that is committed at the end of the block."""
        started = time.monotonic()
        yield
        self._store_seconds.observe(time.monotonic() - started)

    def store_retried(self) -> None:
        """A transaction failed and is tried again."""
        self._retries.inc()

    def minutes(self, closed: int, *, final: bool) -> None:
        """One-minute buckets are final, or provisional: a correction of one counts again."""
        self._minutes.labels("final" if final else "provisional").inc(closed)

    def spikes(self, found: Iterable[Spike]) -> None:
        """Spikes were found."""
        for spike in found:
            self._spikes.labels(spike.kind, spike.severity).inc()

    def alert_event(self, event: str, severity: str) -> None:
        """An alert was opened, updated, resolved, acknowledged or whatever the ledger calls it."""
        self._alerts.labels(event, severity).inc()

    def delivery(self, channel: str, outcome: str) -> None:
        """One attempt, with one of `OUTCOMES`."""
        self._deliveries.labels(channel, outcome).inc()

    def pending_deliveries(self, channel: str, deliveries: int) -> None:
        """So many deliveries are still to be made."""
        self._pending.labels(channel).set(deliveries)
        for outcome in OUTCOMES:  # from nothing on: of a first count, Prometheus sees no increase
            self._deliveries.labels(channel, outcome)

    def looked(self) -> None:
        """The alert process has looked at the store, and done what there was to do."""
        self._looked.set_to_current_time()

    def ledger(self, *, intact: bool) -> None:
        """The ledger was verified."""
        self._ledger.set(intact)
        self._proved.set_to_current_time()

    def restarted(self, part: str) -> None:
        """The supervisor started a part of the job again: "job", "jobmanager", "worker", …"""
        self._restarts.labels(part).inc()

    def checkpoint(self, completed_at: datetime, size_bytes: int) -> None:
        """The newest complete checkpoint."""
        self._checkpoint.set(completed_at.timestamp())
        self._checkpoint_bytes.set(size_bytes)

    def _source(self, name: str) -> str:
        if name not in self._sources:
            if len(self._sources) >= MOST_SOURCES:
                return OTHER
            self._sources.add(name)
        return name


@cache
def metrics() -> Metrics:
    """The process's instruments: in memory, or in the folder that the environment names."""
    folder = os.environ.get(FOLDER_VARIABLE)
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
    # Its own registry: the page is made from the folder, so that nothing must be registered twice.
    return Metrics(CollectorRegistry())
