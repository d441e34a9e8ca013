"""What is produced into Kafka and replayed from there is what a replay of the file gives."""

import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import select

from connectors.errors import BrokerError
from connectors.kafka.places import locate
from connectors.kafka.settings import KafkaSettings
from connectors.store import Store
from connectors.store.schema import runs
from pipelines.configuration import Configuration, ReplaySettings
from pipelines.replay import ReplayResult, replay
from pipelines.sources import File
from pipelines.topic_range import TopicRange
from tests.conftest import MESSAGES, TWICE
from tests.end_to_end.stores import contents
from tests.servers.kafka import read, write

COORDINATES = {"topic", "partition", "offset"}
DEADLINE = 120.0


def foreshock(*arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "pipelines", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "NO_COLOR": "1"},
        # A shell that runs the tests in the background has its children ignore the signal.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def done(*arguments: str) -> dict[str, Any]:
    process = foreshock(*arguments, "--json")
    said, error = process.communicate(timeout=DEADLINE)
    assert process.returncode == 0, error
    result: dict[str, Any] = json.loads(said)
    return result


def produce(source: Path, settings: KafkaSettings, topic: str, *more: str) -> dict[str, Any]:
    where = ("--brokers", settings.brokers, "--topic", topic)
    return done("produce", str(source), *where, *more)


def replayed(settings: KafkaSettings, topic: str, store: Path) -> ReplayResult:
    found = locate(settings, topic, "earliest", "latest")
    return replay(
        [TopicRange(settings, found)], database=f"sqlite:///{store}", configuration=Configuration()
    )


def without_coordinates(path: Path) -> dict[str, list[dict[str, Any]]]:
    return {
        name: [
            {column: value for column, value in row.items() if column not in COORDINATES}
            for row in rows
        ]
        for name, rows in contents(path).items()
    }


def test_produce_then_replay_equals_a_replay_of_the_file(
    history: Path, kafka_settings: KafkaSettings, tmp_path: Path
) -> None:
    name = "news-as-the-file"
    sent = produce(history, kafka_settings, name, "--create-topic", "--partitions", "3")
    assert (sent["messages"], sent["dead_letters"]) == (MESSAGES + TWICE, 0)
    records = read(kafka_settings, name)
    assert len(records) == MESSAGES + TWICE
    assert all(record.key for record in records)
    assert all(record.timestamp and record.timestamp.year > 2020 for record in records)

    store = tmp_path / "topic.db"
    address = f"kafka://{kafka_settings.brokers}/{name}"
    result = done("replay", address, "--database", f"sqlite:///{store}")
    assert (result["read"], result["stored"]) == (MESSAGES + TWICE, MESSAGES)
    assert result["duplicates"] == TWICE
    replay([File(history)], database=f"sqlite:///{tmp_path}/file.db", configuration=Configuration())
    assert without_coordinates(store) == without_coordinates(tmp_path / "file.db")

    rows = contents(store)["messages"]
    where = {(row["partition"], row["offset"]): row["id"] for row in rows}
    assert {row["topic"] for row in rows} == {name}
    assert len(where) == MESSAGES
    held = {(one.partition, one.offset): (one.key or b"").decode() for one in records}
    assert where.items() <= held.items()


def test_the_same_offsets_are_the_same_run_and_a_longer_topic_doubles_no_row(
    kafka_settings: KafkaSettings, topic: str, tmp_path: Path
) -> None:
    store = tmp_path / "store.db"
    write(kafka_settings, topic, [message(number) for number in range(20)], partition=0)
    write(kafka_settings, topic, [b"{broken", None, message(3)], partition=2, key=b"key")
    first = replayed(kafka_settings, topic, store)
    assert (first.read, first.stored, first.duplicates, first.dead_letters) == (23, 20, 1, 2)
    before = contents(store)
    again = replayed(kafka_settings, topic, store)
    assert again.already_complete
    assert again.run == first.run

    write(kafka_settings, topic, [message(99)], partition=1)
    longer = replayed(kafka_settings, topic, store)
    assert longer.run != first.run
    assert (longer.read, longer.stored, longer.duplicates, longer.dead_letters) == (24, 1, 21, 2)
    after = contents(store)
    assert len(after["messages"]) == 21
    assert after["dead_letters"] == before["dead_letters"]
    assert {(one["partition"], one["offset"]) for one in after["dead_letters"]} == {(2, 0), (2, 1)}
    with Store.open(store) as opened:
        (row,) = opened.rows(select(runs).where(runs.c.id == first.run))
    (described,) = row["manifest"]["sources"]
    assert described["name"] == topic
    assert described["offsets"] == {"0": [0, 20], "1": [0, 0], "2": [0, 3]}


def test_late_messages_are_stored_and_listed_and_enter_no_window(
    kafka_settings: KafkaSettings, topic: str, tmp_path: Path
) -> None:
    on_time = [message(number) for number in range(20)]
    late = [message(number) for number in (40, 41, 41)]
    write(kafka_settings, topic, on_time, partition=0)
    write(kafka_settings, topic, [at_hour(12, 50), *late, on_time[3], b"{broken"], partition=1)
    result = replayed(kafka_settings, topic, tmp_path / "topic.db")
    assert (result.read, result.stored, result.late) == (26, 23, 2)
    assert (result.duplicates, result.dead_letters) == (2, 1)
    tables = contents(tmp_path / "topic.db")
    listed = {row["message_id"]: row for row in tables["late_messages"]}
    assert set(listed) == {f"{topic}:40", f"{topic}:41"}
    (frontier,) = {row["frontier"] for row in listed.values()}
    assert frontier == datetime(2014, 1, 20, 12, 50, tzinfo=UTC) - timedelta(seconds=610)
    assert {row["reason"] for row in listed.values()} == {"late"}
    tagged = {row["message_id"] for row in tables["tags"]}
    assert tagged == {row["id"] for row in tables["messages"]} > set(listed)

    source = tmp_path / f"{topic}.jsonl"
    source.write_bytes(b"\n".join([*on_time, at_hour(12, 50)]))
    replay([File(source)], database=f"sqlite:///{tmp_path}/file.db", configuration=Configuration())
    assert tables["window_stats"] == contents(tmp_path / "file.db")["window_stats"]

    small = Configuration(replay=ReplaySettings(slice_messages=3))
    found = locate(kafka_settings, topic, "earliest", "latest")
    replay(
        [TopicRange(kafka_settings, found)],
        database=f"sqlite:///{tmp_path}/small.db",
        configuration=small,
    )
    assert contents(tmp_path / "small.db") == tables


def test_a_part_of_a_topic_is_replayed(
    kafka_settings: KafkaSettings, topic: str, tmp_path: Path
) -> None:
    write(kafka_settings, topic, [message(number) for number in range(20)], partition=0)
    address = f"kafka://{kafka_settings.brokers}/{topic}"
    database = f"sqlite:///{tmp_path}/part.db"
    report = tmp_path / "part.html"
    part = ("--start", "0:5", "--end", "0:12", "--report", str(report))
    result = done("replay", address, "--database", database, *part)
    assert result["stored"] == 7
    assert topic in report.read_text(encoding="utf-8")


def test_what_cannot_be_read_goes_to_the_topic_of_dead_letters(
    kafka_settings: KafkaSettings, tmp_path: Path
) -> None:
    source = tmp_path / "mixed.jsonl"
    source.write_bytes(b"\n".join([message(1), b"{broken \xff", message(2)]))
    sent = produce(source, kafka_settings, "news-mixed", "--create-topic")
    assert (sent["messages"], sent["dead_letters"]) == (2, 1)
    (letter,) = read(kafka_settings, "news-mixed.dlq")
    assert letter.value == b"{broken \xff"
    assert ("line", b"2") in letter.headers


def test_without_create_topic_a_missing_topic_is_an_error(
    history: Path, kafka_settings: KafkaSettings
) -> None:
    where = ("--brokers", kafka_settings.brokers, "--topic", "nowhere")
    process = foreshock("produce", str(history), *where)
    _, said = process.communicate(timeout=DEADLINE)
    assert process.returncode == 1
    assert "has no topic 'nowhere'" in " ".join(said.split())


def test_ctrl_c_says_how_far_it_came_and_that_much_is_there(
    history: Path, kafka_settings: KafkaSettings
) -> None:
    name = "news-interrupted"
    where = ("--brokers", kafka_settings.brokers, "--topic", name)
    process = foreshock("produce", str(history), *where, "--create-topic", "--speed", "60")
    deadline = time.monotonic() + DEADLINE
    while not _holds_some(kafka_settings, name):
        assert process.poll() is None
        assert time.monotonic() < deadline
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=DEADLINE)
    assert process.returncode == 130
    there = len(read(kafka_settings, name))
    assert f"Stopped: sent {there} of {MESSAGES + TWICE:,} messages" in said


def _holds_some(settings: KafkaSettings, topic: str) -> bool:
    try:
        return any(
            span.end for span in locate(settings, topic, "earliest", "latest").spans.values()
        )
    except BrokerError:
        return False  # the topic is being made


def message(number: int) -> bytes:
    return at_hour(10, number)


def at_hour(hour: int, number: int) -> bytes:
    return json.dumps(
        {
            "id": str(number),
            "created_at": f"2014-01-20T{hour}:{number % 60:02d}:00Z",
            "text": f"Pfizer raises its outlook for product {number}",
        }
    ).encode()
