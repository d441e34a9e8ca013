"""A message is late by what lies at lower offsets of its partition, and by nothing else."""

from datetime import UTC, datetime, timedelta
from itertools import accumulate

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.errors import ConnectorError
from connectors.lateness import Lateness, LatenessSettings

START = datetime(2014, 1, 30, tzinfo=UTC)
SETTINGS = st.builds(LatenessSettings, st.integers(0, 90), st.integers(0, 900))
TIMES = st.lists(
    st.integers(0, 3_600_000_000).map(lambda micros: START + timedelta(microseconds=micros)),
    max_size=60,
)


def judged(lateness: Lateness, times: list[datetime]) -> list[bool]:
    return [lateness.late(at) for at in times]


@given(SETTINGS, TIMES)
def test_late_is_what_lies_below_the_maximum_before_it_minus_both_bounds(
    settings: LatenessSettings, times: list[datetime]
) -> None:
    maxima = accumulate(times, max)
    expected = [
        before is not None and at < before - settings.disorder - settings.allowed
        for at, before in zip(times, (None, *maxima), strict=False)
    ]
    assert judged(Lateness(settings), times) == expected


@given(SETTINGS, TIMES, st.integers(0, 60))
def test_the_maximum_alone_carries_the_judgement_on(
    settings: LatenessSettings, times: list[datetime], cut: int
) -> None:
    first = Lateness(settings)
    begun = judged(first, times[:cut])
    kept = msgspec.msgpack.decode(
        msgspec.msgpack.encode(first.maximum), type=datetime | None, strict=True
    )
    second = Lateness(settings, kept)
    assert second.frontier == first.frontier
    assert begun + judged(second, times[cut:]) == judged(Lateness(settings), times)


@given(SETTINGS, TIMES)
def test_late_once_is_late_for_good_and_leaves_the_rest_as_it_was(
    settings: LatenessSettings, times: list[datetime]
) -> None:
    lateness = Lateness(settings)
    late = [at for at in times if lateness.late(at)]
    assert all(lateness.late(at) for at in late)
    on_time = [at for at in times if not Lateness(settings, lateness.maximum).late(at)]
    assert not any(judged(Lateness(settings), sorted(on_time)))


def test_at_the_frontier_a_message_is_on_time() -> None:
    lateness = Lateness(LatenessSettings(disorder_seconds=10, allowed_seconds=600), START)
    assert lateness.frontier == START - timedelta(seconds=610)
    assert not lateness.late(START - timedelta(seconds=610))
    assert lateness.late(START - timedelta(seconds=610, microseconds=1))


@pytest.mark.parametrize("seconds", [-1, 8 * 86_400, float("nan")])
def test_bounds_that_make_no_sense_are_refused(seconds: float) -> None:
    with pytest.raises(ConnectorError, match="allowed_seconds is"):
        LatenessSettings(allowed_seconds=seconds)
