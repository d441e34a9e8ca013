"""The graph of the live job over a bounded range, in this process: the rows of a replay."""

from datetime import timedelta
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from connectors.kafka.settings import KafkaSettings
from connectors.kafka.topics import create_topic
from pipelines.configuration import Configuration
from pipelines.live import source
from pipelines.live.graph import build
from pipelines.live.job import LiveResult, prepare, reconciled
from pipelines.live.source import Reading
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
