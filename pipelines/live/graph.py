"""The graph of the live job: read -> deduplicate -> tag -> store -> watch.

Labels and state are what a checkpoint is restored by: a change of them, or of what a step's state
holds, is a change of VERSION, and a checkpoint of another version is refused.
"""

from typing import Any

import apache_beam as beam
import msgspec
from sqlalchemy import make_url

from connectors.kafka.places import Place
from connectors.lateness import LateMessage
from connectors.message import Message
from pipelines.configuration import ConfigurationError
from pipelines.graph import RunContext
from pipelines.live.careful import CarefulTagging
from pipelines.live.deduplicating import FRESH, LATE, DeduplicateArrivals, keyed
from pipelines.live.source import ARRIVALS, DEAD_LETTERS, PROGRESS, Reading, ReadTopic
from pipelines.live.storing import StoreDeadLetters, StoreLate, StoreProgress, StoreTagged
from pipelines.live.watch import WatchLive
from pipelines.outgoing import Publisher
from pipelines.records import Arrival, Tagged
from pipelines.tag import DEAD_LETTERS as FAILED
from pipelines.tag import TAGGED, Tag

VERSION = 1


class LiveJob(msgspec.Struct, frozen=True, kw_only=True):
    """What a live job does. `end` bounds the reading, as a replay's is; `publish`: the results go
    to Kafka too. `run_id` names the job in the store."""

    context: RunContext
    reading: Reading
    database: str
    run_id: str
    start: Place = "earliest"
    end: Place | None = None
    publish: bool = False

    def __post_init__(self) -> None:
        if "://" in self.database and make_url(self.database).password:
            raise ConfigurationError(
                "The address of the store holds a password, and Flink shows what it is given: put "
                "the password into PGPASSWORD or ~/.pgpass where the workers run."
            )


def build(pipeline: beam.Pipeline, job: LiveJob) -> None:
    """Adds the graph of `job` to `pipeline`."""
    settings = job.context.configuration
    publisher = Publisher(job.reading.settings if job.publish else None)
    read = pipeline | "Topic" >> ReadTopic(job.reading, job.start, job.end)
    _ = read[PROGRESS] | "Progress" >> beam.ParDo(StoreProgress(job.database, job.run_id))
    first = (
        read[ARRIVALS]
        | "By id" >> beam.Map(keyed).with_output_types(tuple[int, Arrival])
        | "Deduplicate"
        >> beam.ParDo(DeduplicateArrivals(job.run_id, settings.deduplicate.horizon_hours))
        .with_output_types(Message, **{LATE: LateMessage})
        .with_outputs(LATE, main=FRESH)
    )
    tagged, failed = _tagged(job, "", first[FRESH], publisher)
    late = first[LATE] | "List late" >> beam.ParDo(
        StoreLate(job.database, job.run_id)
    ).with_output_types(Message)
    _, failed_late = _tagged(job, " late", late, publisher)
    _ = (
        (read[DEAD_LETTERS], failed, failed_late)
        | "Letters" >> beam.Flatten()
        | "Put aside" >> beam.ParDo(StoreDeadLetters(job.database, job.run_id, publisher))
    )
    _ = (
        tagged
        | "Together" >> beam.WithKeys(b"").with_output_types(tuple[bytes, Tagged])
        | "Watch" >> beam.ParDo(WatchLive(job.context, job.database, job.run_id, publisher))
    )


def _tagged(job: LiveJob, which: str, messages: Any, publisher: Publisher) -> tuple[Any, Any]:
    """Tagged messages, when they are in the store, and those that the model failed on."""
    results = messages | f"Tag{which}" >> Tag(
        job.context.configuration.tag, CarefulTagging(job.run_id)
    )
    stored = results[TAGGED] | f"Store{which}" >> beam.ParDo(
        StoreTagged(job.database, job.run_id, publisher)
    ).with_output_types(Tagged)
    return stored, results[FAILED]
