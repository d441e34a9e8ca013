"""How a live job is, put together from Flink, Kafka and the store, and left beside its state for
whoever asks."""

import time
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec

from connectors.errors import ConnectorError
from connectors.kafka.places import locate
from connectors.store import Store
from pipelines.live.graph import LiveJob
from pipelines.live.job import source_progress
from pipelines.live.supervisor import JobFolder, Status
from pipelines.metrics.instruments import metrics

_FILE = "status.json"
_BETWEEN_LOOKS = 3.0


class LiveStatus(msgspec.Struct, frozen=True):
    """`restarts`: by Flink, since the job was `handed_over`; `watermark`: event time; `read`:
    records, and `rate` of them a second; `lag`: offsets that a partition still holds. None where it
    could not be asked. Times are UTC."""

    name: str
    flink: str
    run: str
    at: datetime
    job: str
    state: str
    handed_over: int
    restarts: int
    watermark: datetime | None
    checkpoint_at: datetime | None
    checkpoint_bytes: int | None
    read: int | None
    rate: float | None
    lag: dict[int, int] | None

    @property
    def behind(self) -> int | None:
        """Offsets that all partitions still hold."""
        return None if self.lag is None else sum(self.lag.values())


def read_status(folder: JobFolder) -> LiveStatus | None:
    """What was noted last; None where nothing was."""
    try:
        return msgspec.json.decode((folder.path / _FILE).read_bytes(), type=LiveStatus)
    except FileNotFoundError:
        return None


def write_status(folder: JobFolder, status: LiveStatus) -> None:
    """Leaves it for whoever asks."""
    partial = folder.path / f"{_FILE}.partial"
    partial.write_bytes(msgspec.json.format(msgspec.json.encode(status)))
    partial.replace(folder.path / _FILE)


class _Source(NamedTuple):
    read: int | None
    lag: dict[int, int] | None


class Observer:
    """Completes what Flink says of a job with what its store and its topic say."""

    def __init__(self, job: LiveJob, name: str, flink: str) -> None:
        self._job = job
        self._name = name
        self._flink = flink
        self._looked: float | None = None
        self._source = _Source(None, None)
        self._rate: float | None = None

    def complete(self, status: Status, handed_over: int) -> LiveStatus:
        """The whole; asks store and topic every few seconds only."""
        now = time.monotonic()
        if self._looked is None or now - self._looked >= _BETWEEN_LOOKS:
            self._look(now)
        watermark = None if status.complete else status.watermark
        checkpoint = status.checkpoint
        return LiveStatus(
            name=self._name,
            flink=self._flink,
            run=self._job.run_id,
            at=datetime.now(UTC),
            job=status.job,
            state="COMPLETE" if status.complete else status.state,
            handed_over=handed_over,
            restarts=status.restarts,
            watermark=_moment(watermark),
            checkpoint_at=_moment(checkpoint.at) if checkpoint else None,
            checkpoint_bytes=checkpoint.size if checkpoint else None,
            read=self._source.read,
            rate=self._rate,
            lag=self._source.lag,
        )

    def _look(self, now: float) -> None:
        before, self._source = self._source.read, _source(self._job)
        after = self._source.read
        if before is not None and after is not None and self._looked is not None:
            self._rate = max(0.0, (after - before) / (now - self._looked))
        self._looked = now
        for partition, lag in (self._source.lag or {}).items():
            metrics().lag(self._job.reading.topic, partition, lag)


def _source(job: LiveJob) -> _Source:
    """A store or a broker that is away is not asked again at once: it is no reason to end."""
    try:
        with Store.existing(job.database) as store, store.snapshot() as connection:
            progress = source_progress(connection, job.run_id)
        ends = locate(job.reading.settings, job.reading.topic, "earliest", "latest").spans
    except ConnectorError:
        return _Source(None, None)
    if progress is None:
        return _Source(0, None)
    stands = progress.partitions
    lag = {
        number: max(0, (span.end or 0) - (stands[number].offset if number in stands else 0))
        for number, span in ends.items()
    }
    return _Source(progress.read, lag)


def _moment(milliseconds: int | None) -> datetime | None:
    """None too for what is before any calendar: no message has come."""
    if milliseconds is None or milliseconds < 0:
        return None
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
