"""Watching as messages come: in the end the same rows as in order, and early ones on the way."""

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerting.detectors.surge import SurgeSettings
from alerting.windows import WindowStats
from connectors.message import Message
from models.novelty import NoveltySettings
from models.tags import SENTIMENTS, TOPICS, ModelIdentity, Tags
from pipelines.live.watching import BEGINNING, LiveWatcher
from pipelines.records import Tagged
from pipelines.state import Components
from pipelines.watch import END, Outcome, Watcher, minute_of
from tests.pipelines.test_slices import START

MODEL = ModelIdentity("test", "1", "0" * 64, "none")
ALLOWED = timedelta(minutes=5)
TEXTS = (
    "$BA Boeing shares plunge as regulators ground the fleet over safety fears",
    "$BA Boeing cuts its outlook after a loss, analysts slash their targets",
    "Intel opens an office in Boston for {n} engineers",
    "Pension fund {n} sues Boeing over fraud, millions in damages",
)


def watcher() -> Watcher:
    return Watcher(NoveltySettings(), SurgeSettings(), configuration="c", model="m")


def message(number: int, seconds: float, text: int = 0, sentiment: int = 0) -> Tagged:
    chances = tuple(0.8 if n == sentiment else 0.1 for n in range(3))
    return Tagged(
        Message(
            id=f"test:{number}",
            source=f"source-{number % 2}",
            published_at=START + timedelta(seconds=seconds),
            text=TEXTS[text].format(n=number * 7919),
        ),
        Tags(SENTIMENTS[sentiment], TOPICS[number % 3], chances, (0.05,) * 20, False, MODEL),
        entities=("BA",) if text != 2 else ("INTC",),
        listing=False,
    )


def joined(outcomes: list[Outcome | None]) -> Outcome:
    whole = Outcome()
    for outcome in outcomes:
        if outcome is not None:
            whole.watched += outcome.watched
            whole.windows += outcome.windows
            whole.minutes += outcome.minutes
    return whole


def windows(outcome: Outcome) -> dict[tuple[object, ...], WindowStats]:
    return {(one.key, one.start, one.seconds): one for one in outcome.windows}


histories = st.lists(
    st.tuples(
        st.floats(0, 2 * 3600), st.integers(0, len(TEXTS) - 1), st.integers(0, 2), st.floats(0, 1)
    ),
    min_size=1,
    max_size=60,
)


@settings(deadline=None)
@given(histories, st.integers(1, 600), st.data())
def test_final_rows_are_those_of_the_messages_in_order(
    rows: list[tuple[float, int, int, float]], step: int, data: st.DataObject
) -> None:
    """Messages come up to the allowed lateness behind the watermark; the state is taken out and put
    back in between."""
    messages = [message(n, at, text, mood) for n, (at, text, mood, _) in enumerate(rows)]
    delays = [ALLOWED.total_seconds() * delay for *_, delay in rows]
    arriving = sorted(
        zip(messages, delays, strict=True),
        key=lambda pair: pair[0].message.published_at + timedelta(seconds=pair[1]),
    )
    live, found = LiveWatcher(watcher(), ALLOWED, clock=lambda: 0.0), []
    saved: Components = {}
    watermark = START
    for tagged, delay in arriving:
        moment = tagged.message.published_at + timedelta(seconds=delay)
        while (due := live.due()) is not None and due <= moment:
            watermark = due
            found.append(live.advance(watermark).final)
        while watermark < moment - timedelta(seconds=step):
            watermark += timedelta(seconds=step)
            found.append(live.advance(watermark).final)
        assert live.add(tagged)
        if data.draw(st.integers(0, 9)) == 0:
            live = again(live, saved)
    found.append(live.advance(END).final)
    in_order = sorted(messages, key=lambda one: (one.message.published_at, one.message.id))
    expected, whole = watcher().step(in_order, END), joined(found)
    assert whole.watched == expected.watched
    assert whole.minutes == expected.minutes
    assert windows(whole) == windows(expected)
    assert len(whole.windows) == len(expected.windows)
    assert live.due() is None


def again(live: LiveWatcher, saved: Components) -> LiveWatcher:
    """The same after a restart; `saved` is what was kept so far."""
    saved |= live.final.save()
    final = watcher()
    final.load({name: (v, held) for name, (v, held) in saved.items() if held is not None})
    fresh = LiveWatcher(final, ALLOWED, settled=live.settled, clock=lambda: 0.0)
    assert all(fresh.add(tagged) for tagged in live.tail)
    return fresh


def test_a_minute_is_told_when_the_watermark_has_passed_it_and_settled_later() -> None:
    live = LiveWatcher(watcher(), ALLOWED)
    assert live.add(message(1, 20))
    assert live.due() == START + timedelta(minutes=1)
    early = live.advance(START + timedelta(minutes=1))
    assert early.final is None
    assert early.provisional is not None
    assert {one.final for one in early.provisional.windows} == {False}
    assert live.due() == START + timedelta(minutes=1) + ALLOWED
    late = live.advance(START + timedelta(minutes=1) + ALLOWED)
    assert late.provisional is None
    assert late.final is not None
    assert {one.final for one in late.final.windows} == {True}
    assert live.due() is None


def test_a_straggler_changes_what_was_said_of_its_minute_and_nothing_else() -> None:
    live = LiveWatcher(watcher(), ALLOWED, clock=iter(range(1000)).__next__)
    for n, at in enumerate((20, 80, 140)):
        live.add(message(n, at))
    live.advance(START + timedelta(minutes=3))
    live.add(message(9, 85, text=2, sentiment=1))
    waits = live.waits()
    assert waits is not None
    for _ in range(10):  # the clock moves on with each look at it
        told = live.advance(START + timedelta(minutes=3)).provisional
        if told is not None:
            break
    assert told is not None
    assert {one.start for one in told.windows} == {START + timedelta(minutes=1)}
    (overall,) = [one for one in told.windows if one.key == "overall"]
    assert overall.messages == 2


def test_a_message_of_a_minute_that_is_final_is_not_taken() -> None:
    live = LiveWatcher(watcher(), ALLOWED)
    live.add(message(1, 20))
    live.advance(START + timedelta(minutes=10))
    assert not live.add(message(2, 30))
    assert live.add(message(3, 301))


def test_history_is_taken_in_long_steps_and_one_time_far_ahead_stops_nothing() -> None:
    live = LiveWatcher(watcher(), ALLOWED)
    for n in range(100):
        live.add(message(n, 60 * n))
    live.add(message(100, 1e6))
    assert live.due() == START + timedelta(minutes=100)
    outcome = live.advance(START + timedelta(minutes=100)).final
    assert outcome is not None
    assert len(outcome.minutes) == 95


@pytest.mark.parametrize("times", [[0.0], [0.0, 59.9, 60.0]])
def test_the_end_closes_everything(times: list[float]) -> None:
    live = LiveWatcher(watcher(), ALLOWED)
    for n, at in enumerate(times):
        live.add(message(n, at))
    outcome = live.advance(END).final
    assert outcome is not None
    assert {minute for minute, _ in outcome.minutes} == {
        minute_of(START + timedelta(seconds=at)) for at in times
    }
    assert any(one.seconds == 3600 for one in outcome.windows)
    assert live.settled == END
    assert live.settled > BEGINNING
