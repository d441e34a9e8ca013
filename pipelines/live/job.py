"""A live job as the store knows it: its row in `runs`, made before the job is submitted."""

from datetime import UTC, datetime
from typing import Any

import msgspec

from connectors.kafka.places import Place
from connectors.kafka.topics import describe_topic
from connectors.store import Store
from pipelines.configuration import Configuration
from pipelines.graph import RunContext
from pipelines.live.graph import LiveJob
from pipelines.live.source import Reading
from pipelines.manifest import digest, manifest


def prepare(
    reading: Reading,
    *,
    database: str,
    configuration: Configuration,
    start: Place = "earliest",
    end: Place | None = None,
    publish: bool = False,
) -> LiveJob:
    """The job that reads so, with its row in the store; the same job again has the same row.

    Raises `BrokerError` for a missing topic, `StoreError`, `ArtifactError`.
    """
    topic = describe_topic(reading.settings, reading.topic)
    model = configuration.tag.tagger().identity
    described = manifest(
        sources=[{"name": topic.name, "topic_id": topic.id, "start": start, "end": end}],
        parsing=msgspec.to_builtins(reading.parsing),
        configuration=configuration.meaning(),
        model=model,
    )
    job = LiveJob(
        context=RunContext(configuration, configuration.digest(model), model.checksum),
        reading=reading,
        database=database,
        run_id=digest({"live": described}),
        start=start,
        end=end,
        publish=publish,
    )
    with Store.open(database) as store, store.transaction() as tx:
        known = tx.run(job.run_id) or _row(job.run_id, described)
        tx.save_run({**known, "state": "running", "finished_at": None})
    return job


def _row(run_id: str, described: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": run_id,
        "kind": "live",
        "manifest": msgspec.to_builtins(described),
        "state": "running",
        "started_at": datetime.now(UTC),
        "finished_at": None,
        "counters": {},
        "error": None,
    }
