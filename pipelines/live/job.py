"""A live job as the store knows it: its row in `runs`, made before the job is submitted."""

from datetime import UTC, datetime

import msgspec
from sqlalchemy import ColumnElement, Connection, Table, func, select

from connectors.kafka.places import Offsets, Place, locate
from connectors.kafka.progress import Progress, decode_progress
from connectors.kafka.topics import describe_topic
from connectors.store import Store, Transaction
from connectors.store.schema import (
    alerts,
    dead_letters,
    late_messages,
    messages,
    run_state,
    runs,
    spikes,
)
from pipelines.configuration import Configuration
from pipelines.graph import RunContext
from pipelines.live.graph import LiveJob
from pipelines.live.source import Reading
from pipelines.live.storing import SOURCE
from pipelines.manifest import digest, manifest
from pipelines.runs import begin_run
from pipelines.topic_range import record_parser

_START, _START_VERSION = "start", 1


def prepare(
    reading: Reading,
    *,
    database: str,
    configuration: Configuration,
    start: Place = "earliest",
    end: Place | None = None,
    publish: bool = False,
    anew: bool = False,
) -> LiveJob:
    """The job that reads so, with its row in the store; the same job again has the same row.

    Where `start` lies is found once: a job that is killed before its first checkpoint begins where
    it began, though the end of the topic be elsewhere by then. `anew`: it is found again.

    Raises `BrokerError` for a missing topic, `StoreError`, `ArtifactError`.
    """
    topic = describe_topic(reading.settings, reading.topic)
    model = configuration.tag.tagger().identity
    places = msgspec.to_builtins({"start": start, "end": end})  # a place may be a time
    described = manifest(
        sources=[{"name": topic.name, "topic_id": topic.id, **places}],
        parsing=msgspec.to_builtins(reading.parsing),
        configuration=configuration.meaning(),
        model=model,
    )
    run_id = digest({"live": described})
    with Store.open(database) as store, store.transaction() as tx:
        begun = None if anew else _begun(tx, run_id)
        begin_run(tx, run_id, "live", described, datetime.now(UTC))
    if begun is None:
        begun = _offsets(reading, start)
        state = {_START: (_START_VERSION, msgspec.json.encode(begun.of))}
        with Store.open(database) as store, store.transaction() as tx:
            tx.save_state(run_id, 0, state)
    return LiveJob(
        context=RunContext(configuration, configuration.digest(model), model.checksum),
        reading=reading,
        database=database,
        run_id=run_id,
        start=begun,
        end=end,
        publish=publish,
    )


def _begun(tx: Transaction, run_id: str) -> Offsets | None:
    """Where a job began that has not ended yet."""
    run, state = tx.run(run_id), tx.state(run_id)
    if run is None or run["state"] == "finished" or _START not in state:
        return None
    return Offsets(msgspec.json.decode(state[_START][1], type=dict[int, int]))


def _offsets(reading: Reading, start: Place) -> Offsets:
    """What `start` means now."""
    parser = record_parser(reading.topic, reading.parsing, None)
    spans = locate(reading.settings, reading.topic, start, "latest", parser).spans
    return Offsets({number: span.start for number, span in spans.items()})


def source_progress(connection: Connection, run_id: str) -> Progress | None:
    """How far the source of a job is; None where it has not told yet."""
    query = select(run_state.c.payload).where(
        run_state.c.run_id == run_id, run_state.c.component == SOURCE
    )
    found = connection.execute(query).scalar_one_or_none()
    return None if found is None else decode_progress(found)


class LiveResult(msgspec.Struct, frozen=True):
    """The reconciliation of a job: read = stored + duplicates + dead_letters.

    `late` are among those stored. `finished`: the input has ended, and all windows are closed.
    """

    run: str
    configuration: str
    read: int
    stored: int
    duplicates: int
    dead_letters: int
    late: int
    spikes: int
    alerts: int
    finished: bool


def reconciled(job: LiveJob) -> LiveResult:
    """What the store holds of the job now; raises StoreError."""
    topic, run_id = job.reading.topic, job.run_id
    with Store.open(job.database) as store, store.snapshot() as connection:

        def count(table: Table, *where: ColumnElement[bool]) -> int:
            query = select(func.count()).select_from(table).where(*where)
            return connection.execute(query).scalar_one()

        progress = source_progress(connection, run_id)
        state = connection.execute(select(runs.c.state).where(runs.c.id == run_id)).scalar_one()
        read = 0 if progress is None else progress.read
        stored = count(messages, messages.c.topic == topic)
        put_aside = count(dead_letters, dead_letters.c.topic == topic)
        return LiveResult(
            run=run_id,
            configuration=job.context.configuration_hash,
            read=read,
            stored=stored,
            duplicates=read - stored - put_aside,
            dead_letters=put_aside,
            late=count(late_messages, late_messages.c.run_id == run_id),
            spikes=count(spikes, spikes.c.run_id == run_id, spikes.c.final),
            alerts=count(alerts, alerts.c.final),
            finished=state == "finished",
        )
