"""Kills the process that delivers, with -9 and at random moments, while its channels fail half of
the time, and holds what receivers saw against what was asked.

`python -m tests.faults.deliveries [KILLS] [SEED]` does it 50 times; the tests do it a few times.
"""

import multiprocessing
import random
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event

from alerting.channels.settings import MailSettings, WebhookSettings
from alerting.delivery import DELIVERED, DeliverySettings
from connectors.kafka.settings import KafkaSettings
from connectors.store import Store
from pipelines.alerting.channels import open_channels
from pipelines.alerting.delivery import Courier
from pipelines.audit import prove
from tests.pipelines.outboxes import filled, outbox
from tests.servers import mail, webhooks
from tests.servers.webhooks import Behaviour, Handler, answer

SETTINGS = DeliverySettings(
    first_seconds=0.02, longest_seconds=0.2, attempts=1_000, lease_seconds=1.0
)
_DEADLINE = 600.0
_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload([__name__])


@dataclass
class Seen:
    """What the receivers saw, and how much went on meanwhile."""

    asked: set[str] = field(default_factory=set)
    bodies: dict[str, set[bytes]] = field(default_factory=lambda: defaultdict(set))
    requests: int = 0
    mails: list[str] = field(default_factory=list)
    kills: int = 0
    at_work: int = 0

    def __str__(self) -> str:
        return (
            f"{self.kills} kills, {self.at_work} of them with something left to send; "
            f"{len(self.asked)} notices asked for; webhook: {self.requests} requests, "
            f"{len(self.bodies)} keys taken; e-mail: {len(self.mails)} taken, "
            f"{len(set(self.mails))} Message-IDs"
        )


def storm(url: str, kills: int, seed: int) -> Seen:
    """Asks for notices, kills who delivers them, and lets the last one end its work.

    Raises AssertionError where a promise is broken.
    """
    rng, seen = random.Random(seed), Seen()
    with webhooks.receiving() as hook, mail.receiving() as box:
        hook.behaviour = _half(rng, seen)
        box.chance = rng.random
        ports = (hook.url, box.port)
        for turn in range(kills):
            with Store.open(url) as store:
                to = (f"r{turn}@bank.example",)
                seen.asked |= {one.id for one in filled(store, "hook", "mail", recipients=to)}
            _kill(url, ports, rng.uniform(0.0, 0.5), seen)
        _finish(url, ports)
        seen.requests = len(hook.requests)
        seen.mails = [str(one["Message-ID"]) for one in box.mails]
    _check(url, seen)
    return seen


def _half(rng: random.Random, seen: Seen) -> Behaviour:
    """Half of the requests are taken and answered, a fifth taken only, the others refused."""

    def behaviour(handler: Handler) -> None:
        chance = rng.random()
        if chance < 0.7:
            seen.bodies[handler.request_.key].add(handler.request_.body)
        if chance < 0.5:
            answer(200)(handler)
        elif chance < 0.7:
            webhooks.close(handler)
        else:
            answer(rng.choice((500, 429, 503, 302)))(handler)

    return behaviour


def work(url: str, hook: str, mail_port: int) -> None:
    """The process that is killed."""
    channels = open_channels(
        {
            "hook": WebhookSettings(url=hook, secret_file=_secret(), timeout_seconds=0.4),
            "mail": MailSettings(
                host="127.0.0.1", port=mail_port, sender="us@x.example", security="none"
            ),
        },
        SETTINGS,
        KafkaSettings(),
    )
    with Store.open(url) as store:
        Courier(store, channels, SETTINGS).run(Event())


def _secret() -> Path:
    path = Path(tempfile.gettempdir()) / "foreshock-test-secret"
    path.write_text("a key that nobody guesses")
    return path


def _kill(url: str, ports: tuple[str, int], after: float, seen: Seen) -> None:
    process = _processes.Process(target=work, args=(url, *ports))
    process.start()
    process.join(after)
    assert process.is_alive(), "it ended by itself"
    seen.at_work += _pending(url) > 0
    process.kill()
    process.join()
    seen.kills += 1


def _finish(url: str, ports: tuple[str, int]) -> None:
    process = _processes.Process(target=work, args=(url, *ports))
    process.start()
    deadline = time.monotonic() + _DEADLINE
    try:
        while _pending(url):
            assert process.is_alive(), "it ended by itself"
            assert time.monotonic() < deadline, f"{_pending(url)} notices were never delivered"
            process.join(0.05)
    finally:
        process.kill()
        process.join()


def _pending(url: str) -> int:
    with Store.open(url) as store:
        return sum(row.state != DELIVERED for row in outbox(store).values())


def _check(url: str, seen: Seen) -> None:
    with Store.open(url) as store:
        rows = outbox(store)
        said = [r["details"]["notification"] for r in store.events() if r["event"] == "delivered"]
        proof = prove(store)
    hook = {row.id for row in rows.values() if row.channel == "hook"}
    assert set(rows) == seen.asked
    assert set(seen.bodies) == hook, "each notice at the webhook, and nothing else"
    assert {len(bodies) for bodies in seen.bodies.values()} == {1}, "one key, one body"
    assert {one[1:25] for one in seen.mails} == seen.asked - hook, "each notice by e-mail"
    assert sorted(said) == sorted(seen.asked), "the ledger says of each once that it was delivered"
    assert proof.holds, proof.broken


if __name__ == "__main__":
    count, start = [int(value) for value in (*sys.argv[1:], *("50", "1")[len(sys.argv) - 1 :])]
    with tempfile.TemporaryDirectory() as folder:
        print(storm(f"sqlite:///{folder}/outbox.db", count, start))
