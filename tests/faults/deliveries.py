"""Kills the alert process with -9, at random moments, while its channels fail half of the time, and
holds its record against that of an unbroken run, and what receivers saw against what was asked.

`python -m tests.faults.deliveries [KILLS] [SEED]` does it 50 times; the tests do it a few times.
"""

import multiprocessing
import random
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Event as Signal
from pathlib import Path
from threading import Event

from alerting.channels.settings import MailSettings, WebhookSettings
from alerting.delivery import DELIVERED, UNDER_WAY, Delivery, DeliverySettings
from connectors.kafka.settings import KafkaSettings
from connectors.store import Store
from connectors.store.sole import Sole
from pipelines.alerting.channels import open_channels
from pipelines.alerting.delivery import Courier, delivering
from pipelines.alerting.process import LOCK, work
from pipelines.alerting.routing import Routing
from pipelines.alerting.ruling import RulesFile
from pipelines.audit import prove
from tests.end_to_end.stores import final_events
from tests.faults.test_killed_alerts import history, told
from tests.pipelines.commits import committed, final_alerts, prepared, replayed
from tests.pipelines.outboxes import outbox
from tests.pipelines.test_following import Remarks, follower
from tests.servers import mail, webhooks
from tests.servers.webhooks import Behaviour, Handler, Request, answer

RULES = """
people.jane = {hook = "jane@bank.example", mail = "jane@bank.example"}
routes.all = {to = ["jane"]}
rules = [{name = "all", route = "all"}]
"""
SETTINGS = DeliverySettings(
    first_seconds=0.02, longest_seconds=0.2, attempts=1_000, lease_seconds=1.0
)
_A_KILL = 2  # minutes of event time that are new at each
_DEADLINE = 600.0
_SILENCE = 3.0  # seconds after which nothing more is to be told
_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload([__name__])


@dataclass
class Seen:
    """What the receivers saw, and how much went on meanwhile."""

    bodies: dict[str, set[bytes]] = field(default_factory=lambda: defaultdict(set))
    requests: int = 0
    mails: list[str] = field(default_factory=list)
    kills: int = 0
    midway: int = 0
    events: int = 0

    def __str__(self) -> str:
        return (
            f"{self.kills} kills, after {self.midway} a notice was on its way; "
            f"{self.events} events of the ledger; "
            f"webhook: {self.requests} requests, {len(self.bodies)} keys taken; "
            f"e-mail: {len(self.mails)} taken, {len(set(self.mails))} Message-IDs"
        )


@dataclass(frozen=True)
class Place:
    """Where a process works: its store, its files and its receivers."""

    url: str
    folder: Path
    hook: str
    mail_port: int


def storm(url: str, folder: Path, kills: int, seed: int) -> Seen:
    """Has alerts found, kills who finds and tells them, and lets the last one end its work.

    Raises AssertionError where a promise is broken.
    """
    chance, seen = random.Random(seed), Seen()
    final, said = (minutes[: _A_KILL * kills] for minutes in history(chance))
    (folder / "rules.toml").write_text(RULES)
    (folder / "secret").write_text("a key that nobody guesses")
    with Store.open(url) as store, Store.open(folder / "unbroken.db") as unbroken:
        prepared(store)
        prepared(unbroken)
        replayed(unbroken, final)
        with webhooks.receiving(_half(chance, seen)) as hook, mail.receiving() as box:
            box.chance = chance.random
            place = Place(url, folder, hook.url, box.port)
            for start in range(0, len(final), _A_KILL):
                minutes = slice(start, start + _A_KILL)
                process = _started(place)
                committed(store, said[minutes], final=False)
                process.join(chance.uniform(0.0, 0.2))
                committed(store, final[minutes], final=True)
                if chance.random() < 0.7:  # in the middle of telling, if there is something to tell
                    _until_more(hook.requests, process)
                _kill(process, chance)
                seen.kills += 1
                seen.midway += any(row.last_error == UNDER_WAY for row in _pending(store))
            _finish(place, store, unbroken)
            seen.requests = len(hook.requests)
            seen.mails = [str(one["Message-ID"]) for one in box.mails]
        seen.events = len(store.events())
        _check(store, unbroken, seen)
    return seen


def _half(chance: random.Random, seen: Seen) -> Behaviour:
    """Half of the requests are taken and answered, a fifth taken only, the others refused."""

    def behaviour(handler: Handler) -> None:
        drawn = chance.random()
        if drawn < 0.7:
            seen.bodies[handler.request_.key].add(handler.request_.body)
        if drawn < 0.5:
            answer(200)(handler)
        elif drawn < 0.7:
            webhooks.close(handler)
        else:
            answer(chance.choice((500, 429, 503, 302)))(handler)

    return behaviour


def run(place: Place, at_work: Signal) -> None:
    """The process that is killed; it says when it has begun."""
    hook = WebhookSettings(url=place.hook, secret_file=place.folder / "secret", timeout_seconds=0.4)
    post = MailSettings(
        host="127.0.0.1", port=place.mail_port, sender="us@x.example", security="none"
    )
    channels = open_channels({"hook": hook, "mail": post}, SETTINGS, KafkaSettings())
    routing = Routing(RulesFile(place.folder / "rules.toml", list(channels)))
    stop = Event()
    with Store.open(place.url) as store:
        one = follower(store)
        one.tell = routing.tell
        with delivering(Courier(store, channels, SETTINGS), stop):
            at_work.set()
            work(one, Sole(store, LOCK), pause=stop.wait, watching=Remarks(), routing=routing)


def _until_more(requests: list[Request], process: BaseProcess) -> None:
    before, deadline = len(requests), time.monotonic() + _SILENCE
    while len(requests) == before and time.monotonic() < deadline:
        process.join(0.002)


def _kill(process: BaseProcess, chance: random.Random) -> None:
    process.join(chance.uniform(0.0, 0.2))
    assert process.is_alive(), "it ended by itself"
    process.kill()
    process.join()


def _started(place: Place) -> BaseProcess:
    at_work = _processes.Event()
    process = _processes.Process(target=run, args=(place, at_work))
    process.start()
    assert at_work.wait(_DEADLINE)
    return process


def _finish(place: Place, store: Store, unbroken: Store) -> None:
    process = _started(place)
    wanted, deadline = final_events(unbroken), time.monotonic() + _DEADLINE
    try:
        while _pending(store) or final_events(store) != wanted:
            assert process.is_alive(), "it ended by itself"
            assert time.monotonic() < deadline, f"{len(_pending(store))} were never delivered"
            process.join(0.1)
    finally:
        process.kill()
        process.join()


def _pending(store: Store) -> list[Delivery]:
    return [row for row in outbox(store).values() if row.state != DELIVERED]


def _check(store: Store, unbroken: Store, seen: Seen) -> None:
    rows = outbox(store)
    assert final_alerts(store) == final_alerts(unbroken)
    assert sorted(row.event_id for row in rows.values()) == told(store)
    hook = {row.id for row in rows.values() if row.channel == "hook"}
    assert set(seen.bodies) == hook, "each notice at the webhook, and nothing else"
    assert {len(bodies) for bodies in seen.bodies.values()} == {1}, "one key, one body"
    assert {one[1:25] for one in seen.mails} == set(rows) - hook, "each notice by e-mail"
    said = [r["details"]["notification"] for r in store.events() if r["event"] == "delivered"]
    assert sorted(said) == sorted(rows), "the ledger says of each once that it was delivered"
    proof = prove(store)
    assert proof.holds, proof.broken


if __name__ == "__main__":
    count, start = [int(value) for value in (*sys.argv[1:], *("50", "1")[len(sys.argv) - 1 :])]
    with tempfile.TemporaryDirectory() as name:
        print(storm(f"sqlite:///{name}/alerts.db", Path(name), count, start))
