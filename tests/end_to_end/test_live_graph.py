"""The graph of the live job over a bounded range, in this process: the rows of a replay."""

from datetime import timedelta
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from connectors.kafka.places import Offsets, Place
from connectors.kafka.settings import KafkaSettings
from connectors.kafka.topics import create_topic
from connectors.store import Store
from pipelines.configuration import Configuration
from pipelines.live import source
from pipelines.live.graph import build
from pipelines.live.job import LiveResult, prepare, reconciled
from pipelines.live.source import Reading
from pipelines.runs import finish_run
from tests.end_to_end.stores import contents
from tests.end_to_end.test_replay_kafka import replayed
from tests.faults.stream import PARTITIONS, disturbed, of_the_sample, send
from tests.pipelines.test_slices import START

WATCHED = ("messages", "tags", "window_stats", "spikes", "dead_letters", "late_messages")


def run_live(settings: KafkaSettings, topic: str, store: Path) -> LiveResult:
    configuration = Configuration(kafka=settings)
    job = prepare(
        Reading(settings, topic, configuration.lateness),
        database=f"sqlite:///{store}",
        configuration=configuration,
        end="latest",
    )
    with beam.Pipeline(runner=FnApiRunner(), options=PipelineOptions([])) as pipeline:
        build(pipeline, job)
    return reconciled(job)


def test_a_live_job_over_a_range_leaves_the_rows_of_a_replay(
    kafka_settings: KafkaSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Real tweets on a bad day: out of order, twice, too late, unreadable."""
    # In one call: this runner lets the end of time come before what a source has put off.
    monkeypatch.setattr(source, "_AT_A_TIME", 120.0)
    name = "live-graph"
    create_topic(kafka_settings, name, PARTITIONS)
    sent = disturbed(of_the_sample(1500), seed=7)
    assert list(send(kafka_settings, name, sent))[-1] == len(sent)
    found = run_live(kafka_settings, name, tmp_path / "live.db")
    expected = replayed(kafka_settings, name, tmp_path / "replay.db")
    live, replay = contents(tmp_path / "live.db"), contents(tmp_path / "replay.db")
    for table in WATCHED:
        assert live[table] == replay[table], table
    assert all(replay[table] for table in WATCHED)
    assert (found.read, found.stored, found.duplicates) == (
        len(sent),
        expected.stored,
        expected.duplicates,
    )
    assert (found.late, found.dead_letters) == (expected.late, expected.dead_letters)
    assert found.finished


def test_a_job_may_start_at_a_time(kafka_settings: KafkaSettings, tmp_path: Path) -> None:
    name = "live-from-a-time"
    create_topic(kafka_settings, name, PARTITIONS)
    configuration = Configuration(kafka=kafka_settings)
    reading = Reading(kafka_settings, name, configuration.lateness)
    database = f"sqlite:///{tmp_path}/live.db"
    first, again, other = (
        prepare(reading, database=database, configuration=configuration, start=start).run_id
        for start in (START, START, START + timedelta(days=1))
    )
    assert first == again != other


def test_a_job_that_has_not_ended_begins_where_it_began(
    kafka_settings: KafkaSettings, tmp_path: Path
) -> None:
    """Killed before its first checkpoint it would lose what came meanwhile."""
    name = "live-from-the-end"
    create_topic(kafka_settings, name, PARTITIONS)
    database, configuration = f"sqlite:///{tmp_path}/live.db", Configuration(kafka=kafka_settings)
    reading = Reading(kafka_settings, name, configuration.lateness)

    def begun(*, anew: bool = False) -> tuple[str, Place]:
        job = prepare(
            reading, database=database, configuration=configuration, start="latest", anew=anew
        )
        return job.run_id, job.start

    run_id, first = begun()
    sent = disturbed(of_the_sample(40), seed=7)
    assert list(send(kafka_settings, name, sent))[-1] == len(sent)
    assert begun() == (run_id, first) == (run_id, Offsets(dict.fromkeys(range(PARTITIONS), 0)))
    _, anew = begun(anew=True)
    assert isinstance(anew, Offsets)
    assert sum(anew.of.values()) == len(sent)
    with Store.open(database) as store, store.transaction() as tx:
        finish_run(tx, run_id, START)
    list(send(kafka_settings, name, sent[:1]))
    _, after_the_end = begun()
    assert isinstance(after_the_end, Offsets)
    assert sum(after_the_end.of.values()) == len(sent) + 1
