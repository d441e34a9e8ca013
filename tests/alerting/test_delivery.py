"""The life of a delivery, without a store and without a clock."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerting import delivery as life
from alerting.channels.channel import Refused, Retry
from alerting.delivery import DEAD, DELIVERED, Delivery, DeliverySettings
from alerting.errors import ConfigurationError
from alerting.notification import PENDING

NOW = datetime(2026, 3, 1, 9, tzinfo=UTC)
SETTINGS = DeliverySettings(attempts=5)


def row(**changes: Any) -> Delivery:
    base = Delivery(
        id="d",
        alert_id="a",
        event_id="e",
        channel="desk",
        recipient="jane",
        payload={},
        state=PENDING,
        attempts=0,
        next_attempt_at=NOW,
        last_error=None,
        recorded_at=NOW,
        delivered_at=None,
    )
    return msgspec.structs.replace(base, **changes)


def test_a_row_that_is_tried_is_due_again_after_its_lease() -> None:
    found = life.taken(row(), SETTINGS, NOW)
    assert (found.state, found.attempts) == (PENDING, 1)
    assert found.next_attempt_at == NOW + timedelta(seconds=SETTINGS.lease_seconds)


def test_what_was_taken_by_the_other_side_is_over() -> None:
    found = life.delivered(life.taken(row(), SETTINGS, NOW), NOW)
    assert (found.state, found.next_attempt_at, found.last_error) == (DELIVERED, None, None)
    assert found.delivered_at == NOW


def test_a_refusal_is_the_end_at_once() -> None:
    found = life.failed(row(attempts=1), Refused("no", "because"), SETTINGS, NOW)
    assert (found.state, found.next_attempt_at, found.last_error) == (DEAD, None, "no (because)")


def test_it_is_tried_as_often_as_the_settings_say_and_then_given_up() -> None:
    found, now, tries = row(), NOW, 0
    while found.state == PENDING:
        assert found.next_attempt_at is not None
        now = found.next_attempt_at
        found = life.failed(life.taken(found, SETTINGS, now), Retry("down"), SETTINGS, now)
        tries += 1
    assert (found.state, tries) == (DEAD, SETTINGS.attempts)


def test_300_attempts_are_about_18_hours() -> None:
    settings = DeliverySettings()
    waits = [life.back_off("d", n, settings) for n in range(1, settings.attempts)]
    assert 17 < sum(waits, timedelta()) / timedelta(hours=1) < 20


@given(st.text(), st.integers(1, 10_000))
def test_a_wait_is_within_its_bounds_and_always_the_same(name: str, attempts: int) -> None:
    wait = life.back_off(name, attempts, SETTINGS)
    assert wait == life.back_off(name, attempts, SETTINGS)
    doubled = min(SETTINGS.first_seconds * 2.0 ** min(attempts - 1, 60), SETTINGS.longest_seconds)
    assert doubled / 2 <= wait.total_seconds() <= doubled


def test_what_failed_together_does_not_come_back_together() -> None:
    waits = {life.back_off(f"d{n}", 8, SETTINGS) for n in range(100)}
    assert len(waits) == 100


def test_the_other_side_may_ask_for_a_longer_wait_and_not_for_a_shorter_one() -> None:
    asked = [
        life.failed(row(attempts=1), Retry("x", after=timedelta(seconds=s)), SETTINGS, NOW)
        for s in (0, 600)
    ]
    waits = [one.next_attempt_at - NOW for one in asked if one.next_attempt_at]
    assert waits == [life.back_off("d", 1, SETTINGS), timedelta(seconds=600)]


def test_a_dead_one_is_revived_under_its_id() -> None:
    dead = life.failed(row(attempts=1), Refused("no"), SETTINGS, NOW)
    found = life.revived(dead, NOW)
    assert found == row(recorded_at=found.recorded_at)


def test_the_ledger_hears_of_an_end_without_the_servers_words() -> None:
    error = Refused("answered 400", "what the server repeats of the text")
    dead = life.failed(row(attempts=1), error, SETTINGS, NOW)
    entry = life.entry(dead, "undelivered", NOW, error)
    assert (entry.event, entry.alert_id, entry.occurred_at) == ("undelivered", "a", NOW)
    assert entry.details == {
        "notification": "d",
        "notified": "e",
        "channel": "desk",
        "recipient": "jane",
        "attempts": 1,
        "reason": "answered 400",
    }


@pytest.mark.parametrize(
    "settings",
    [
        {"first_seconds": 0.0},
        {"first_seconds": 10.0, "longest_seconds": 5.0},
        {"attempts": 0},
        {"lease_seconds": 0.0},
        {"console": "foreshock.example"},
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        DeliverySettings(**settings)
