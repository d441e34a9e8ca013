"""The graph of the live job over a bounded range, in this process: the rows of a replay."""

from pathlib import Path

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from connectors.kafka.settings import KafkaSettings
from pipelines.configuration import Configuration
from pipelines.live.graph import build
from pipelines.live.job import prepare
from pipelines.live.source import Reading
from tests.end_to_end.stores import contents
from tests.end_to_end.test_replay_kafka import produce, replayed

WATCHED = ("messages", "tags", "window_stats", "spikes", "dead_letters", "late_messages")


def run_live(settings: KafkaSettings, topic: str, store: Path) -> None:
    configuration = Configuration(kafka=settings)
    job = prepare(
        Reading(settings, topic, configuration.lateness),
        database=f"sqlite:///{store}",
        configuration=configuration,
        end="latest",
    )
    with beam.Pipeline(runner=FnApiRunner(), options=PipelineOptions([])) as pipeline:
        build(pipeline, job)


def test_a_live_job_over_a_range_leaves_the_rows_of_a_replay(
    surge: Path, kafka_settings: KafkaSettings, tmp_path: Path
) -> None:
    name = "live-graph"
    produce(surge, kafka_settings, name, "--create-topic", "--partitions", "3")
    run_live(kafka_settings, name, tmp_path / "live.db")
    replayed(kafka_settings, name, tmp_path / "replay.db")
    live, replay = contents(tmp_path / "live.db"), contents(tmp_path / "replay.db")
    assert live["spikes"]
    for table in WATCHED:
        final = [row for row in live[table] if row.get("final", True)]
        assert final == replay[table], table
