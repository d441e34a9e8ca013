"""The outbox over both databases: what is due is sent, once if all goes well, and recorded."""

from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from threading import Barrier, Event, Thread

import pytest

from alerting.channels.channel import Refused, Retry
from alerting.channels.notice import Notice
from alerting.delivery import DEAD, DELIVERED, DeliverySettings
from alerting.notification import PENDING
from connectors.errors import StoreError, StoreUnavailable
from connectors.store import Store
from pipelines.alerting.delivery import Courier, delivering, revive
from pipelines.audit import prove
from pipelines.erasure import erase
from tests.pipelines.ledgers import CLOCK
from tests.pipelines.outboxes import Clock, Memory, filled, outbox

SETTINGS = DeliverySettings(attempts=3, lease_seconds=60)
EVENTS = 4  # of the two alerts


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    with Store.open(store_url) as opened:
        yield opened


def raising(error: Exception, *ids: str):
    """Fails for these notices, or for all."""

    def fail(notice: Notice) -> None:
        if not ids or notice.id in ids:
            raise error

    return fail


def test_what_is_due_is_sent_once_and_the_ledger_says_to_whom(store: Store) -> None:
    asked = filled(store, "desk", recipients=("jane", "joe"))
    desk = Memory()
    courier = Courier(store, {"desk": desk}, SETTINGS, Clock())
    attempts = courier.deliver_due()
    assert courier.deliver_due() == []
    assert Counter(one.id for one in desk.told) == Counter(one.id for one in asked)
    assert {one.state for one in attempts} == {DELIVERED}
    assert all(row.delivered_at == CLOCK for row in outbox(store).values())
    said = [row for row in store.events() if row["event"] == "delivered"]
    assert {row["details"]["notification"] for row in said} == {one.id for one in asked}
    assert {row["details"]["recipient"] for row in said} == {"jane", "joe"}
    assert prove(store).holds


def test_what_is_not_due_yet_waits(store: Store) -> None:
    filled(store, "desk", wait=timedelta(minutes=5))
    clock, desk = Clock(), Memory()
    courier = Courier(store, {"desk": desk}, SETTINGS, clock)
    assert courier.deliver_due() == []
    clock.pass_(300)
    assert len(courier.deliver_due()) == EVENTS


def test_a_notice_says_what_its_alert_rests_on(store: Store) -> None:
    filled(store, "desk")
    desk = Memory()
    settings = DeliverySettings(console="https://foreshock.example/")
    Courier(store, {"desk": desk}, settings, Clock()).deliver_due()
    told = next(one for one in desk.told if one.alert.key == "entity:B")
    assert told.title == "Negative surge on Barrick Mining"
    assert told.summary == "12 new negative stories in 1 h against 1.5 expected"
    assert told.link == f"https://foreshock.example/alerts/{told.alert.id}"
    assert told.messages[0].text.startswith("Boeing müde <script>")


def test_an_erased_text_is_told_no_more(store: Store) -> None:
    filled(store, "desk")
    with store.transaction() as tx:
        erase(tx, "m1200", reason="by law", actor="jane", now=CLOCK)
    desk = Memory()
    Courier(store, {"desk": desk}, SETTINGS, Clock()).deliver_due()
    texts = {message.id: message.text for told in desk.told for message in told.messages}
    assert texts["m1200"] == "[erased]"


def test_the_order_of_an_alerts_events_is_kept_for_each_recipient(store: Store) -> None:
    asked = filled(store, "desk")
    first = asked[0]
    clock, desk = Clock(), Memory(raising(Retry("down"), first.id))
    courier = Courier(store, {"desk": desk}, SETTINGS, clock)
    courier.deliver_due()
    assert first.alert_id not in {told.alert.id for told in desk.told}
    desk.fails = lambda _notice: None
    clock.pass_(600)
    courier.deliver_due()
    courier.deliver_due()
    told = [one.event for one in desk.told if one.alert.id == first.alert_id]
    assert told == ["opened", "updated"]


def test_a_channel_that_is_down_delays_its_own_notices_only(store: Store) -> None:
    filled(store, "up", "down")
    up, down = Memory(), Memory(raising(Retry("not reached", "by far")))
    attempts = Courier(store, {"up": up, "down": down}, SETTINGS, Clock()).deliver_due()
    assert len(up.told) == EVENTS
    waiting = [row for row in outbox(store).values() if row.channel == "down"]
    assert {row.state for row in waiting} == {PENDING}
    assert {one.error for one in attempts if one.channel == "down"} == {"not reached (by far)"}
    assert all(
        row.next_attempt_at and row.next_attempt_at > CLOCK for row in waiting if row.attempts
    )


def test_a_channel_that_hangs_delays_its_own_notices_only(store: Store) -> None:
    filled(store, "up", "hanging")
    over, stop, got = Event(), Event(), Event()
    hanging = Memory(lambda _notice: over.wait(30) and None)
    up = Memory()
    courier = Courier(
        store,
        {"up": up, "hanging": hanging},
        SETTINGS,
        Clock(),
        heard=lambda _: got.set() if len(up.told) == EVENTS else None,
    )
    thread = Thread(target=courier.run, args=(stop,))
    thread.start()
    assert got.wait(30)
    assert hanging.told == []
    stop.set()
    over.set()
    thread.join()


def test_a_poisoned_notice_dies_and_the_others_live(store: Store) -> None:
    asked = filled(store, "desk")
    poisoned = asked[-1]
    desk = Memory(raising(Refused("answered 400", "bad"), poisoned.id))
    Courier(store, {"desk": desk}, SETTINGS, Clock()).deliver_due()
    rows = outbox(store)
    assert rows[poisoned.id].state == DEAD
    assert rows[poisoned.id].last_error == "answered 400 (bad)"
    assert Counter(row.state for row in rows.values())[DELIVERED] == EVENTS - 1
    (said,) = [row for row in store.events() if row["event"] == "undelivered"]
    assert said["details"]["reason"] == "answered 400"
    assert prove(store).holds


def test_an_error_that_nobody_foresaw_stops_one_notice_and_tells_no_secret(store: Store) -> None:
    filled(store, "odd", "desk")
    odd, desk = Memory(raising(KeyError("S3CRET"))), Memory()
    clock = Clock()
    courier = Courier(store, {"odd": odd, "desk": desk}, SETTINGS, clock)
    for _ in range(20):
        courier.deliver_due()
        clock.pass_(1000)
    assert len(desk.told) == EVENTS
    dead = [row for row in outbox(store).values() if row.channel == "odd"]
    assert {row.state for row in dead} == {DEAD}
    assert {row.attempts for row in dead} == {SETTINGS.attempts}
    assert all("KeyError" in str(row.last_error) for row in dead)
    assert "S3CRET" not in repr(dead)


def test_a_channel_that_is_not_configured_is_said_so(store: Store) -> None:
    filled(store, "desk")
    Courier(store, {}, SETTINGS, Clock()).deliver_due()
    assert any("no channel 'desk'" in str(row.last_error) for row in outbox(store).values())


def test_a_payload_that_cannot_be_read_is_refused(store: Store) -> None:
    asked = filled(store, "desk")
    with store.transaction() as tx:
        tx.upsert("deliveries", [{**_row(store, asked[0].id), "payload": {"id": 1}}])
    Courier(store, {"desk": Memory()}, SETTINGS, Clock()).deliver_due()
    assert outbox(store)[asked[0].id].state == DEAD


def _row(store: Store, delivery_id: str) -> dict:
    found = outbox(store)[delivery_id]
    return {name: getattr(found, name) for name in found.__struct_fields__}


def test_after_a_kill_the_row_is_sent_again_when_its_lease_is_over(store: Store) -> None:
    asked = filled(store, "desk")
    clock = Clock()
    killed = Courier(store, {"desk": Memory(raising(SystemExit(9)))}, SETTINGS, clock)
    with pytest.raises(SystemExit):
        killed.deliver_due()
    desk = Memory()
    courier = Courier(store, {"desk": desk}, SETTINGS, clock)
    courier.deliver_due()
    assert len(desk.told) < EVENTS
    clock.pass_(SETTINGS.lease_seconds)
    courier.deliver_due()
    assert {one.id for one in desk.told} == {one.id for one in asked}
    assert max(Counter(row.attempts for row in outbox(store).values())) == 2


def test_an_outcome_that_comes_after_the_lease_is_not_noted_twice(store: Store) -> None:
    filled(store, "desk")
    clock, late = Clock(), Memory()
    other = Courier(store, {"desk": Memory()}, SETTINGS, clock)

    def too_slow(_notice: Notice) -> None:
        late.fails = lambda _: None
        clock.pass_(SETTINGS.lease_seconds)
        other.deliver_due()

    late.fails = too_slow
    Courier(store, {"desk": late}, SETTINGS, clock).deliver_due()
    said = Counter(
        row["details"]["notification"] for row in store.events() if row["event"] == "delivered"
    )
    assert set(said.values()) == {1}
    assert len(said) == EVENTS
    assert prove(store).holds


def test_couriers_side_by_side_send_nothing_twice(store_url: str) -> None:
    with Store.open(store_url) as store:
        asked = filled(store, "desk", recipients=tuple(f"r{n}" for n in range(10)))
    desk, barrier = Memory(), Barrier(3)

    def work() -> None:
        with Store.open(store_url) as own:
            courier = Courier(own, {"desk": desk}, SETTINGS, Clock())
            barrier.wait()
            while courier.deliver_due():
                pass

    threads = [Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counter(one.id for one in desk.told) == Counter(one.id for one in asked)


def test_a_dead_one_is_tried_again_on_request_under_the_same_key(store: Store) -> None:
    asked = filled(store, "desk")
    poisoned, clock = asked[-1], Clock()
    desk = Memory(raising(Refused("no"), poisoned.id))
    courier = Courier(store, {"desk": desk}, SETTINGS, clock)
    courier.deliver_due()
    clock.pass_(60)
    with store.transaction() as tx:
        assert revive(tx, poisoned.id, actor="jane", now=clock.now)
        assert not revive(tx, asked[0].id, actor="jane", now=clock.now)
    courier.deliver_due()  # dies again: two rows in the ledger
    clock.pass_(60)
    with store.transaction() as tx:
        revive(tx, poisoned.id, actor="jane", now=clock.now)
    desk.fails = lambda _: None
    courier.deliver_due()
    assert desk.told[-1].id == poisoned.id
    said = [(r["event"], r["actor"]) for r in store.events() if "notification" in r["details"]]
    assert Counter(said) == {
        ("delivered", "foreshock"): EVENTS,
        ("undelivered", "foreshock"): 2,
        ("requeued", "jane"): 2,
    }
    assert prove(store).holds


def test_beside_another_work_it_sends_what_comes(store: Store) -> None:
    stop, all_told = Event(), Event()
    desk = Memory()
    courier = Courier(
        store,
        {"desk": desk},
        SETTINGS,
        Clock(),
        heard=lambda _: all_told.set() if len(desk.told) == EVENTS else None,
    )
    with delivering(courier, stop):
        filled(store, "desk")
        assert all_told.wait(30)
    assert not stop.is_set()


def test_a_store_that_cannot_be_used_stops_the_work_beside_it(store: Store) -> None:
    def broken() -> datetime:
        raise StoreError("it is broken")

    stop = Event()
    with (
        pytest.raises(StoreError, match="broken"),
        delivering(Courier(store, {}, clock=broken), stop),
    ):
        assert stop.wait(30)


def test_a_store_that_is_away_is_waited_for(store: Store) -> None:
    filled(store, "desk")
    stop, all_told, clock, away = Event(), Event(), Clock(), [True]
    desk = Memory()

    def sometimes() -> datetime:
        if away:
            away.pop()
            raise StoreUnavailable("it is away")
        return clock()

    courier = Courier(store, {"desk": desk}, SETTINGS, sometimes)
    courier.heard = lambda _: all_told.set() if len(desk.told) == EVENTS else None
    with delivering(courier, stop):
        assert all_told.wait(30)
    assert not stop.is_set()
