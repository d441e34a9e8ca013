"""Beside a live job people hear at once, and in the end the record is a replay's."""

import shutil
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alerting.decisions import Resolve
from alerting.ledger import LedgerRow
from alerting.lifecycle import LifecycleSettings
from alerting.spike import SEVERITIES, Spike
from connectors.errors import StoreError
from connectors.store import Store, Transaction
from connectors.store.sole import Sole, Taken
from pipelines.alerting.following import Follower, Overtaken
from pipelines.alerting.process import POLL_SECONDS, work
from pipelines.alerting.ruling import RulesFile
from pipelines.alerting.superseded import Superseded
from pipelines.audit import prove
from pipelines.recording import record_decision
from tests.alerting.test_lifecycle import NOON, spike
from tests.end_to_end.stores import final_events, standing
from tests.pipelines.commits import (
    MESSAGES,
    Minute,
    committed,
    final_alerts,
    prepared,
    replayed,
    shown,
)
from tests.pipelines.ledgers import CLOCK, RUN

MINUTE = timedelta(minutes=1)


class Killed(Exception):
    """In the middle of a transaction."""


def follower(store: Store) -> Follower:
    return Follower(store, "c", LifecycleSettings(), shown, RUN)


def minute(number: int, *spikes: Spike) -> Minute:
    """The minute of this number after noon, with the spikes found in it."""
    return NOON + number * MINUTE, [*spikes]


def surge(number: int, surprise: float = 5.0, **changes: object) -> Spike:
    at = NOON + (number + 1) * MINUTE
    return spike(at, **{"surprise": surprise, "message_ids": ("m1",), **changes})


def looked(one: Follower) -> list[tuple[str, bool]]:
    """What a look files: event, and whether it is final."""
    rows, _ = one.look(CLOCK)
    return [(row.event, row.final) for row in rows]


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    with Store.open(store_url) as store:
        prepared(store)
        yield store


def test_a_provisional_alert_is_heard_at_once_and_confirmed_once(store: Store) -> None:
    one = follower(store)
    minutes = [minute(0), minute(1, surge(1)), minute(2)]
    committed(store, minutes, final=False)
    assert looked(one) == [("opened", False)]
    assert looked(one) == []
    (row,) = store.alerts()
    assert (row["state"], row["final"]) == ("open", False)
    committed(store, minutes, final=True)
    # The figures are the same; the messages it shows have been repeated since.
    assert looked(one) == [("revised", True)]
    assert [row["final"] for row in store.alerts()] == [True]
    assert looked(one) == []
    assert prove(store).holds


def test_what_is_the_same_to_the_last_message_is_confirmed(store: Store) -> None:
    one = follower(store)
    minutes = [minute(1, surge(1, message_ids=()))]
    committed(store, minutes, final=False)
    assert looked(one) == [("opened", False)]
    committed(store, minutes, final=True)
    assert looked(one) == [("confirmed", True)]
    assert len(final_events(store)) == len(final_alerts(store)) == 1
    assert prove(store).holds


def test_what_the_final_fold_says_otherwise_is_revised(store: Store) -> None:
    one = follower(store)
    committed(store, [minute(1, surge(1))], final=False)
    assert looked(one) == [("opened", False)]
    committed(store, [minute(1, surge(1, 9.0))], final=False)
    assert looked(one) == [("revised", False)]
    committed(store, [minute(1, surge(1, 5.0))], final=True)
    assert looked(one) == [("revised", True)]
    assert [row["peak_surprise"] for row in store.alerts()] == [5.0]
    assert prove(store).holds


def test_what_the_final_fold_passes_by_is_withdrawn(store: Store) -> None:
    one = follower(store)
    committed(store, [minute(1, surge(1)), minute(2)], final=False)
    assert looked(one) == [("opened", False)]
    committed(store, [minute(1)], final=True)
    assert looked(one) == [("withdrawn", False)]
    (row,) = store.alerts()
    assert (row["state"], row["final"]) == ("resolved", False)
    committed(store, [minute(2), minute(3)], final=True)
    assert looked(one) == []
    assert final_alerts(store) == []
    assert prove(store).holds


def test_an_update_that_is_withdrawn_leaves_the_alert_as_it_was_before(store: Store) -> None:
    one = follower(store)
    first = minute(1, surge(1))
    committed(store, [first], final=True)
    committed(store, [minute(5, surge(5, 9.0))], final=False)
    assert looked(one) == [("opened", True), ("updated", False)]
    committed(store, [minute(5), minute(6)], final=True)
    assert looked(one) == [("withdrawn", False)]
    (row,) = store.alerts()
    assert (row["state"], row["final"], row["peak_surprise"]) == ("open", True, 5.0)
    assert prove(store).holds


def test_what_a_person_closed_stays_closed_whatever_becomes_final(store: Store) -> None:
    one = follower(store)
    committed(store, [minute(1, surge(1))], final=False)
    one.look(CLOCK)
    (row,) = store.alerts()
    with store.transaction() as tx:
        record_decision(tx, row["id"], Resolve(), actor="jane", now=CLOCK)
    committed(store, [minute(1, surge(1, 9.0))], final=True)
    assert looked(one) == [("revised", True)]
    (row,) = store.alerts()
    assert (row["state"], row["closed_by"], row["final"]) == ("resolved", "jane", True)
    assert prove(store).holds


def test_a_new_process_goes_on_where_the_old_one_was_killed(store: Store) -> None:
    committed(store, [minute(1, surge(1))], final=False)
    assert looked(follower(store)) == [("opened", False)]
    assert looked(follower(store)) == []
    committed(store, [minute(1), minute(2)], final=True)
    assert looked(follower(store)) == [("withdrawn", False)]


def test_a_long_backlog_is_worked_off_in_pieces(store: Store) -> None:
    one = follower(store)
    minutes = [minute(number) for number in range(600)]
    committed(store, minutes, final=True)
    committed(store, [minute(700, surge(700))], final=False)
    assert one.look(CLOCK) == ([], True)
    rows, more = one.look(CLOCK)
    assert ([row.event for row in rows], more) == (["opened"], False)


def test_of_two_processes_the_slower_one_stops(store: Store) -> None:
    one, other = follower(store), follower(store)
    committed(store, [minute(1)], final=True)
    one.look(CLOCK)
    other.look(CLOCK)
    committed(store, [minute(2)], final=True)
    one.look(CLOCK)
    with pytest.raises(Overtaken, match="another process"):
        other.look(CLOCK)


def test_one_process_holds_the_lock_until_it_ends(store: Store, store_url: str) -> None:
    with Store.open(store_url) as again:
        one, other = Sole(store, "alerts"), Sole(again, "alerts")
        one.hold()
        one.hold()
        with pytest.raises(Taken, match="another process holds the lock 'alerts'"):
            other.hold()
        one.release()
        other.hold()
        with pytest.raises(Taken):
            one.hold()
        other.release()


# Whatever the watch step said provisionally, and wherever the process was killed.

KEYS = ("entity:A", "topic:B")
surges = st.lists(
    st.tuples(
        st.sampled_from(KEYS),
        st.sampled_from([3.0, 5.0, 9.0]),
        st.sampled_from(SEVERITIES),
        st.sampled_from(MESSAGES),
    ),
    max_size=2,
    unique_by=lambda found: found[0],
)
histories = st.lists(
    st.tuples(st.sampled_from([1, 2, 50, 200, 900]), surges, surges), min_size=1, max_size=8
)
plans = st.lists(
    st.tuples(
        st.sampled_from(["provisional", "final", "look", "kill", "restart"]),
        st.integers(1, 4),
    ),
    max_size=14,
)


def built(
    history: Sequence[tuple[int, list[tuple[str, float, str, str]], object]], which: int
) -> list[Minute]:
    """The minutes; `which`: as they are (1), or as they were said provisionally (2)."""
    minutes, at = [], NOON
    for row in history:
        at += row[0] * MINUTE
        minutes.append((at, [_spike(at, *found) for found in row[which]]))  # type: ignore[attr-defined]
    return minutes


def _spike(at: datetime, key: str, surprise: float, severity: str, name: str) -> Spike:
    return spike(at + MINUTE, key=key, surprise=surprise, severity=severity, message_ids=(name,))


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("following") / "empty.db"
    with Store.open(path) as store:
        prepared(store)
        store.flush()
    return path


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(history=histories, plan=plans)
def test_final_alerts_and_events_are_those_of_a_replay(
    empty: Path, tmp_path_factory: pytest.TempPathFactory, history, plan
) -> None:
    folder = tmp_path_factory.mktemp("case")
    final, said = built(history, 1), built(history, 2)
    with Store.open(shutil.copy(empty, folder / "live.db")) as store:
        done, one = 0, follower(store)
        for action, count in plan:
            if action == "provisional":
                committed(store, said[done : done + count], final=False)
            elif action == "final":
                committed(store, final[done : done + count], final=True)
                done += count
            elif action == "look":
                one.look(CLOCK)
            elif action == "kill":
                _kill(one)
            else:
                one = follower(store)
        committed(store, final[done:], final=True)
        one.look(CLOCK)
        with Store.open(shutil.copy(empty, folder / "replay.db")) as other:
            replayed(other, final)
            assert final_events(store) == final_events(other)
            assert final_alerts(store) == final_alerts(other)
        assert prove(store).holds
        for alert in store.alerts():
            assert alert["final"] or alert["state"] == "resolved"
        assert all(
            said.withdrawn or said.alert.final
            for found in standing(store).values()
            for said in found.said.values()
        )


def _kill(one: Follower) -> None:
    def fail(_tx: Transaction, _rows: Sequence[LedgerRow], _now: datetime) -> None:
        raise Killed

    tell, one.tell = one.tell, fail
    try:
        one.look(CLOCK)
    except Killed:
        pass
    finally:
        one.tell = tell


class Remarks:
    """What the process says."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.pauses: list[float] = []

    def filed(self, rows: Sequence[LedgerRow]) -> None:
        self.events += [row.event for row in rows]

    def away(self, _error: StoreError, seconds: float) -> None:
        self.pauses.append(seconds)

    def ruled(self, _rules: RulesFile) -> None: ...


def test_what_another_configuration_left_open_ends_by_the_time_that_is_followed(
    store: Store,
) -> None:
    replayed(store, [minute(1, surge(1, configuration="old"), surge(1, kind="slow_drift"))])
    replayed(store, [minute(2, surge(2, configuration="old", kind="slow_drift", key="entity:B"))])
    told: list[str] = []
    one = follower(store)
    one.tell = lambda _tx, rows, _now: told.extend(row.event for row in rows)
    left = Superseded(one)
    assert left.resolve(CLOCK) == []
    committed(store, [minute(241)], final=True)
    one.look(CLOCK)
    assert left.resolve(CLOCK) == []
    committed(store, [minute(242)], final=True)
    one.look(CLOCK)
    (row,) = left.resolve(CLOCK)
    assert left.resolve(CLOCK) == []
    assert told == ["resolved"]
    assert row.occurred_at == NOON + 242 * MINUTE
    assert row.details["reason"] == "its configuration old is no longer followed, but c"
    states = {(a["configuration"], a["kind"]): a["state"] for a in store.alerts()}
    assert states == {
        ("old", "negative_surge"): "resolved",
        ("old", "slow_drift"): "open",
        ("c", "slow_drift"): "open",
    }
    assert prove(store).holds


def test_a_configuration_that_is_followed_again_takes_its_alert_up_again(store: Store) -> None:
    replayed(store, [minute(1, surge(1, configuration="old"))])
    one = follower(store)
    committed(store, [minute(300)], final=True)
    one.look(CLOCK)
    assert [row.event for row in Superseded(one).resolve(CLOCK)] == ["resolved"]
    replayed(
        store,
        [minute(1, surge(1, configuration="old")), minute(60, surge(60, configuration="old"))],
    )
    (alert,) = store.alerts()
    assert (alert["state"], alert["resolved_at"]) == ("open", None)
    assert prove(store).holds


def test_while_the_server_is_away_it_waits_longer_and_longer_and_goes_on(
    postgresql_url: str, postgresql_server: str
) -> None:
    Store.upgrade(postgresql_url)
    name = postgresql_url.rpartition("/")[2]
    remarks = Remarks()

    def let_in(wanted: bool) -> None:
        with psycopg.connect(postgresql_server, autocommit=True) as admin:
            admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS {wanted}")
            if not wanted:
                everybody = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                admin.execute(f"{everybody} WHERE datname = '{name}'")

    def pause(seconds: float) -> bool:
        if remarks.events:
            return True
        if seconds == POLL_SECONDS:
            let_in(False)
        elif len(remarks.pauses) == 2:
            let_in(True)
            with Store.open(postgresql_url) as store:
                committed(store, [minute(1, surge(1))], final=True)
        return False

    with Store.open(postgresql_url) as store:
        prepared(store)
        sole = Sole(store, "alerts")
        work(follower(store), sole, pause=pause, watching=remarks, clock=lambda: CLOCK)
        sole.release()
    assert remarks.pauses == [0.5, 1.0]
    assert remarks.events == ["opened"]
