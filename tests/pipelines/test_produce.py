"""History is played at its speed, and waits for no message longer than its turn."""

from datetime import UTC, datetime, timedelta

import pytest

from connectors.message import Message
from pipelines.produce import paced

START = datetime(2014, 1, 20, tzinfo=UTC)


class Clock:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.naps: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.naps.append(seconds)
        self.now += seconds


def history(*minutes: int) -> list[Message]:
    return [
        Message(
            id=f"a:{minute}", source="a", published_at=START + timedelta(minutes=minute), text="x"
        )
        for minute in minutes
    ]


@pytest.mark.parametrize(("speed", "seconds"), [(60.0, [0, 1, 1, 5]), (600.0, [0, 0.1, 0.1, 0.5])])
def test_each_message_comes_when_its_turn_is(speed: float, seconds: list[float]) -> None:
    clock = Clock()
    told = []
    messages = history(0, 1, 1, 5)
    came = [
        clock.now - 1000
        for _ in paced(
            messages, speed, waiting=lambda: told.append(clock.now), clock=clock, sleep=clock.sleep
        )
    ]
    assert came == pytest.approx(seconds)
    assert len(told) == 2  # before each wait, so that nothing is held back in a buffer
    assert max(clock.naps) <= 0.2


def test_speed_zero_never_waits() -> None:
    clock = Clock()
    assert list(paced(history(0, 500), 0, clock=clock, sleep=clock.sleep)) == history(0, 500)
    assert clock.naps == []


def test_what_is_late_is_sent_at_once_and_catches_up() -> None:
    clock = Clock()
    came = []
    for message in paced(history(0, 1, 2, 10), 60, clock=clock, sleep=clock.sleep):
        came.append(clock.now - 1000)
        if message.id == "a:0":
            clock.now += 3  # the broker was slow
    assert came == pytest.approx([0, 3, 3, 10])
