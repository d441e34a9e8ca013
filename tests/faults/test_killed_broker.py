"""A broker killed with -9 while history is produced, and started again: nothing is lost."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from connectors.errors import BrokerError
from connectors.kafka.places import locate
from connectors.kafka.settings import KafkaSettings
from infra.kafka.broker import Broker
from tests.servers.kafka import read

MESSAGES = 30_000
TOPIC = "news-killed"
DEADLINE = 120.0


def held(settings: KafkaSettings) -> int:
    try:
        spans = locate(settings, TOPIC, "earliest", "latest").spans
    except BrokerError:
        return 0  # the topic is being made
    return sum(span.end or 0 for span in spans.values())


def test_all_that_was_produced_is_there_once(
    kafka_broker: Broker, kafka_settings: KafkaSettings, tmp_path: Path
) -> None:
    source = tmp_path / "long.jsonl"
    with source.open("w", encoding="utf-8") as file:
        for number in range(MESSAGES):
            row = {"id": str(number), "created_at": 1_400_000_000 + number, "text": "x" * 300}
            file.write(json.dumps(row) + "\n")
    command = [sys.executable, "-m", "pipelines", "produce", str(source), "--json"]
    where = ["--brokers", kafka_settings.brokers, "--topic", TOPIC]
    process = subprocess.Popen(
        [*command, *where, "--create-topic", "--partitions", "3", "--speed", "10000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ},
    )
    deadline = time.monotonic() + DEADLINE
    while held(kafka_settings) < 2_000:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
    kafka_broker.kill()
    assert process.poll() is None, "it had ended before the broker was killed"
    kafka_broker.start()
    said, error = process.communicate(timeout=DEADLINE)
    assert process.returncode == 0, error.decode()
    assert json.loads(said)["messages"] == MESSAGES
    keys = [record.key for record in read(kafka_settings, TOPIC)]
    assert set(keys) == {f"long:{number}".encode() for number in range(MESSAGES)}
    assert len(keys) == MESSAGES  # the producer is idempotent: its retries write no second copy
