"""What the live job writes into the store, patiently: a store that is away holds the job up, and
ends nothing. Rows that are written twice are the same rows.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any, TypeVar

import apache_beam as beam
from apache_beam.utils.windowed_value import WindowedValue

from connectors.dead_letter import DeadLetter
from connectors.errors import StoreUnavailable
from connectors.kafka.progress import Progress, encode_progress
from connectors.lateness import LateMessage
from connectors.message import Message
from connectors.store import Store, Transaction
from pipelines.late import is_copy, list_late
from pipelines.metrics.instruments import metrics
from pipelines.outgoing import Publisher, dead_letter_records, tagged_records
from pipelines.records import Tagged
from pipelines.rows import bury, tag_rows
from pipelines.telemetry import journey

T = TypeVar("T")

SOURCE = "source"
SOURCE_VERSION = 1
"""The component of the run's state that says how far the source is."""

_FIRST_WAIT, _LONGEST_WAIT = 0.2, 10.0
_MOST = 1000
"""Messages in one transaction."""

_log = logging.getLogger(__name__)


class LiveStore:
    """The store as the steps of the job see it."""

    def __init__(self, url: str, sleep: Callable[[float], object] = time.sleep) -> None:
        self._url = url
        self._sleep = sleep

    def write(self, work: Callable[[Transaction], T]) -> T:
        """Does `work` in a transaction, again and again until the store is there for it.

        Raises StoreError for what waiting does not mend.
        """
        wait = _FIRST_WAIT
        while True:
            try:
                with metrics().storing(), _opened(self._url).transaction() as tx:
                    return work(tx)
            except StoreUnavailable as error:
                metrics().store_retried()
                _log.warning("The store is away, trying again in %.1f s: %s", wait, error)
                self._sleep(wait)
                wait = min(2 * wait, _LONGEST_WAIT)


_opening = threading.Lock()


@cache
def _open(url: str) -> Store:
    return Store.open(url)


def _opened(url: str) -> Store:
    """The process's own store."""
    with _opening:
        return _open(url)


class StoreTagged(beam.DoFn):
    """`Tagged` -> the same, when it is in the store; and on its topic, where that is asked for."""

    def __init__(self, database: str, run_id: str, publisher: Publisher) -> None:
        self._store = LiveStore(database)
        self._run_id = run_id
        self._publisher = publisher

    def start_bundle(self) -> None:
        self._batch: list[WindowedValue] = []

    def process(
        self,
        tagged: Tagged,
        timestamp: Any = beam.DoFn.TimestampParam,
        window: Any = beam.DoFn.WindowParam,
    ) -> Iterable[Any]:
        self._batch.append(WindowedValue(tagged, timestamp, (window,)))
        return self._written() if len(self._batch) >= _MOST else ()

    def finish_bundle(self) -> Iterable[Any]:
        return self._written()

    def _written(self) -> Iterator[Any]:
        batch, self._batch = self._batch, []
        found: list[Tagged] = [held.value for held in batch]
        if found:
            began = journey.now()
            self._store.write(lambda tx: write_tagged(tx, found, datetime.now(UTC)))
            journey.stored((one.message for one in found), began)
            refused = self._publisher.publish(lambda topics: tagged_records(topics, found))
            put_aside(self._store, refused, self._run_id)
            _count(found)
        yield from batch


def write_tagged(tx: Transaction, found: Sequence[Tagged], now: datetime) -> None:
    """Messages and tags, without what only watching finds."""
    messages = [one.message for one in found]
    received = [one.received_at or now for one in messages]
    tx.upsert_records("messages", messages, received_at=received)
    tx.upsert("tags", tag_rows(found, now))


def _count(found: Sequence[Tagged]) -> None:
    metrics().stored("messages", len(found))
    metrics().stored("tags", len(found))
    for one in found:
        if one.message.received_at is not None:
            age = datetime.now(UTC) - one.message.received_at
            metrics().delay("stored", age.total_seconds())


class StoreLate(beam.DoFn):
    """`LateMessage` -> its `Message`, when it is listed."""

    def __init__(self, database: str, run_id: str) -> None:
        self._store = LiveStore(database)
        self._run_id = run_id

    def process(self, late: LateMessage) -> Iterator[Message]:
        began = journey.now()
        if not self._store.write(lambda tx: self._listed(tx, late)):
            metrics().duplicates(1)
            return
        journey.stored([late.message], began, late=late.reason)
        yield late.message

    def _listed(self, tx: Transaction, late: LateMessage) -> bool:
        """False for a copy of a message that was on time, from beyond what is deduplicated."""
        if is_copy(tx, late):
            return False
        list_late(tx, [late], self._run_id)
        return True


class StoreDeadLetters(beam.DoFn):
    """`DeadLetter` into the store, and onto its topic where that is asked for."""

    def __init__(self, database: str, run_id: str, publisher: Publisher) -> None:
        self._store = LiveStore(database)
        self._run_id = run_id
        self._publisher = publisher

    def start_bundle(self) -> None:
        self._batch: list[DeadLetter] = []

    def process(self, letter: DeadLetter) -> None:
        self._batch.append(letter)

    def finish_bundle(self) -> None:
        batch = self._batch
        put_aside(self._store, batch, self._run_id)
        self._publisher.publish(lambda topics: dead_letter_records(topics, batch))


class StoreProgress(beam.DoFn):
    """`Progress` of the source into the state of the run, for those who ask how far it is."""

    def __init__(self, database: str, run_id: str) -> None:
        self._store = LiveStore(database)
        self._run_id = run_id

    def process(self, progress: Progress) -> None:
        state = {SOURCE: (SOURCE_VERSION, encode_progress(progress))}
        self._store.write(lambda tx: tx.save_state(self._run_id, 0, state))


def put_aside(store: LiveStore, letters: Sequence[DeadLetter], run_id: str) -> None:
    """Stores dead letters."""
    if letters:
        store.write(lambda tx: bury(tx, letters, run_id, datetime.now(UTC)))
        metrics().dead_letters(letters)
        journey.put_aside(letters)
