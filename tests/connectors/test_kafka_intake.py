"""An intake gives every record once, from wherever it goes on, and its watermark can be trusted."""

import json
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from kafka.admin import NewPartitions

from connectors.dead_letter import DeadLetter
from connectors.kafka import reader
from connectors.kafka.client import admin, open_producer
from connectors.kafka.intake import Intake, IntakeSettings
from connectors.kafka.progress import (
    Progress,
    ProgressError,
    Stand,
    decode_progress,
    encode_progress,
)
from connectors.kafka.records import RecordParser
from connectors.kafka.settings import KafkaSettings
from connectors.lateness import LATE, PARTITION_IDLE, Item, LateMessage, Lateness, LatenessSettings
from connectors.message import Message
from tests.servers.kafka import write

START = datetime(2014, 1, 30, tzinfo=UTC)
BOUNDS = LatenessSettings(disorder_seconds=10, allowed_seconds=60)
WHOLE = Progress({0: Stand(0), 1: Stand(0), 2: Stand(0)})
DEADLINE = 60.0


class Clock:
    """Time that passes when it is told to."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def at(second: float) -> datetime:
    return START + timedelta(seconds=second)


def value(name: str, second: float) -> bytes:
    row = {"id": name, "created_at": at(second).isoformat(), "text": f"news {name}"}
    return json.dumps(row).encode()


@contextmanager
def opened(
    settings: KafkaSettings,
    topic: str,
    progress: Progress = WHOLE,
    *,
    pace: IntakeSettings | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Intake]:
    intake = Intake(
        settings,
        topic,
        progress,
        parser=RecordParser(topic),
        lateness=BOUNDS,
        pace=pace or IntakeSettings(),
        clock=clock,
    )
    try:
        yield intake
    finally:
        intake.close()


def taken(intake: Intake, until: Callable[[list[Item], Progress], bool]) -> list[Item]:
    """All that comes until the condition holds."""
    items: list[Item] = []
    deadline = time.monotonic() + DEADLINE
    while not until(items, intake.progress):
        assert time.monotonic() < deadline
        items += intake.take(0.2).items
    return items


def read_to(offsets: dict[int, int]) -> Callable[[list[Item], Progress], bool]:
    return lambda _, progress: all(
        progress.partitions[number].offset >= offset for number, offset in offsets.items()
    )


def coordinates(item: Item) -> tuple[int | None, int | None]:
    message = item.message if isinstance(item, LateMessage) else item
    return message.partition, message.offset


def uneven(seed: int) -> dict[int, list[float]]:
    """Seconds of event time in each partition: disordered, some late, one partition empty."""
    generator = random.Random(seed)
    return {
        0: [n * 5 + generator.choice((0, 0, -30, -120)) for n in range(100, 160)],
        1: [],
        2: [n * 40 + generator.choice((0, -65, -75)) for n in range(12, 20)],
    }


def test_from_every_checkpoint_it_goes_on_to_the_same_messages_and_the_same_late_ones(
    kafka_settings: KafkaSettings, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = uneven(1)
    for number, times in seconds.items():
        values = [value(f"{number}-{n}", second) for n, second in enumerate(times)]
        write(kafka_settings, topic, values, partition=number)
    monkeypatch.setattr(reader, "_RECORDS_AT_ONCE", 9)
    ends = {number: len(times) for number, times in seconds.items()}
    checkpoints: list[tuple[int, Progress]] = []
    whole: list[Item] = []
    with opened(kafka_settings, topic) as intake:
        while not read_to(ends)([], intake.progress):
            before = intake.progress.watermark
            items, progress = intake.take(0.2)
            assert progress == intake.progress
            for item in items:  # no window that it belongs to can be final
                if isinstance(item, Message) and before:
                    assert item.published_at >= before - BOUNDS.allowed
            assert not before or (progress.watermark and progress.watermark >= before)
            whole += items
            checkpoints.append((len(whole), progress))
    assert len(checkpoints) > 5
    assert sorted(map(coordinates, whole)) == [
        (number, n) for number, times in seconds.items() for n in range(len(times))
    ]
    for number, times in seconds.items():
        lateness = Lateness(BOUNDS)
        expected = [n for n, second in enumerate(times) if lateness.late(at(second))]
        late = [one for one in whole if isinstance(one, LateMessage)]
        found = [one.message.offset for one in late if one.message.partition == number]
        assert found == expected
        assert {one.reason for one in late} == {LATE}
    for done, progress in checkpoints:
        kept = decode_progress(encode_progress(progress))
        assert kept == progress
        with opened(kafka_settings, topic, kept) as again:
            rest = taken(again, read_to(ends))
        assert sorted(map(repr, whole[:done] + rest)) == sorted(map(repr, whole))


def test_the_slowest_active_partition_holds_the_watermark_and_an_idle_one_does_not(
    kafka_settings: KafkaSettings, topic: str
) -> None:
    clock = Clock()
    with opened(kafka_settings, topic, clock=clock) as intake:
        write(kafka_settings, topic, [value("a", 1000)], partition=0)
        write(kafka_settings, topic, [value("b", 400), value("c", 350)], partition=2)
        taken(intake, read_to({0: 1, 2: 2}))
        assert intake.progress.watermark is None  # partition 1 may still bring anything
        clock.now += 5
        write(kafka_settings, topic, [value("d", 1100)], partition=0)
        taken(intake, read_to({0: 2}))
        clock.now += 5
        intake.take(0)
        progress = intake.progress
        assert {n: one.role for n, one in progress.partitions.items()} == {
            0: "active",
            1: "idle",
            2: "idle",
        }
        assert progress.watermark == at(1100 - 10)
        clock.now += 5
        intake.take(0)
        assert {one.role for one in intake.progress.partitions.values()} == {"idle"}
        assert intake.progress.watermark == at(1090)  # none pushes it

        woken = [value("e", 1035), value("f", 1029), value("g", 1200)]
        write(kafka_settings, topic, woken, partition=2)
        on_time, behind, last = taken(intake, read_to({2: 5}))
        assert isinstance(on_time, Message)
        assert isinstance(last, Message)
        assert isinstance(behind, LateMessage)
        assert (behind.message.id, behind.reason) == (f"{topic}:f", PARTITION_IDLE)
        assert behind.frontier == at(1030)
        assert intake.progress.watermark == at(1190)
        write(kafka_settings, topic, [value("h", 1101)], partition=0)
        (message,) = taken(intake, read_to({0: 3}))
        assert isinstance(message, LateMessage)
        assert message.frontier == at(1130)
        assert intake.progress.watermark == at(1190)  # it never falls


def test_an_idle_partition_that_has_woken_is_not_passed_while_a_backlog_is_read(
    kafka_settings: KafkaSettings, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after an outage: all partitions have gone on, and one poll brings those of one of them."""
    monkeypatch.setattr(reader, "_RECORDS_AT_ONCE", 50)
    idle = Progress(
        {0: Stand(0), 1: Stand(0, role="idle"), 2: Stand(0, role="idle")}, watermark=at(0)
    )
    write(kafka_settings, topic, [value(f"a{n}", 60 * n) for n in range(1, 200)], partition=0)
    write(kafka_settings, topic, [value(f"c{n}", 60 * n) for n in range(1, 200)], partition=2)
    with opened(kafka_settings, topic, idle) as intake:
        items = taken(intake, read_to({0: 199, 2: 199}))
        assert not [one for one in items if isinstance(one, LateMessage)]
        assert intake.progress.watermark == at(60 * 199 - 10)
        assert intake.progress.partitions[1].role == "idle"  # it has nothing


def test_an_idle_partition_stays_idle_where_it_goes_on_from_a_checkpoint(
    kafka_settings: KafkaSettings, topic: str
) -> None:
    idle = Progress({0: Stand(0), 1: Stand(0, role="idle"), 2: Stand(0, role="idle")})
    write(kafka_settings, topic, [value("a", 1000)], partition=0)
    with opened(kafka_settings, topic, idle) as intake:
        taken(intake, read_to({0: 1}))
        assert intake.progress.watermark == at(990)


def test_a_partition_added_while_it_runs_is_read_whole_and_does_not_hold_the_watermark(
    kafka_settings: KafkaSettings, topic: str
) -> None:
    pace = IntakeSettings(look_seconds=0.2)
    start = Progress({0: Stand(0), 1: Stand(0, role="idle"), 2: Stand(0, role="idle")})
    with opened(kafka_settings, topic, start, pace=pace) as intake:
        write(kafka_settings, topic, [value("a", 1000)], partition=0)
        taken(intake, read_to({0: 1}))
        with admin(kafka_settings) as client:
            client.create_partitions({topic: NewPartitions(4)})
            client.wait_for_topics([topic])
        write(kafka_settings, topic, [value("new", 950), b"{", value("old", 10)], partition=3)
        found = taken(intake, lambda items, _: len(items) == 3)
        write(kafka_settings, topic, [value("b", 2000)], partition=0)
        taken(intake, read_to({0: 2}))
        assert intake.progress.partitions[3].role == "joining"
        assert intake.progress.watermark == at(1990)
        new, broken, old = found
        assert isinstance(new, Message)
        assert isinstance(broken, DeadLetter)
        assert isinstance(old, LateMessage)
        write(kafka_settings, topic, [value("up to it", 2001)], partition=3)
        taken(intake, read_to({3: 4}))
        assert intake.progress.partitions[3].role == "active"


def test_silence_ends_it_behind_marks_of_transactions_and_not_before_all_is_read(
    kafka_settings: KafkaSettings, topic: str
) -> None:
    producer = open_producer(kafka_settings, transactional_id="test-intake")
    producer.init_transactions()
    for name, commit in (("kept", True), ("taken back", False)):
        producer.begin_transaction()
        producer.send(topic, value(name, 1), partition=0).get(timeout=30)
        (producer.commit_transaction if commit else producer.abort_transaction)()
    producer.close()
    clock = Clock()
    with opened(kafka_settings, topic, pace=IntakeSettings(until_idle=60), clock=clock) as intake:
        clock.now += 61
        first = intake.take(0)
        assert not first.progress.finished  # nothing came yet, but something is there
        (message,) = first.items + taken(intake, read_to({0: 4}))
        assert coordinates(message) == (0, 0)
        assert not intake.progress.finished
        clock.now += 61
        assert intake.take(0).progress.finished


def test_with_ends_it_is_over_when_all_is_read(kafka_settings: KafkaSettings, topic: str) -> None:
    write(kafka_settings, topic, [value(str(n), n) for n in range(30)], partition=0)
    part = Progress({0: Stand(10, 25), 1: Stand(0, 0)})
    with opened(kafka_settings, topic, part) as intake:
        items = taken(intake, lambda _, progress: progress.finished)
    assert [coordinates(item) for item in items] == [(0, n) for n in range(10, 25)]


def test_progress_of_another_release_is_refused() -> None:
    payload = encode_progress(WHOLE)
    assert payload == encode_progress(Progress(dict(reversed(WHOLE.partitions.items()))))
    with pytest.raises(ProgressError, match="version 63; this release reads 01"):
        decode_progress(b"c" + payload[1:])
