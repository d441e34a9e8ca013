"""From the commit of an alert's event to its webhook: `python -m tests.benchmarks.delivery [N]`.

Alerts open one after the other, at random moments of the courier's pauses; the receiver is on this
machine. The courier only looks into the outbox: nobody wakes it.
"""

import random
import sys
import tempfile
import time
from pathlib import Path
from threading import Event, Thread

import msgspec
import numpy as np

from alerting.alert import Alert
from alerting.channels.settings import WebhookSettings
from alerting.delivery import DeliverySettings
from alerting.notification import Notification, delivery, notification_id
from connectors.kafka.settings import KafkaSettings
from connectors.store import Store
from pipelines.alerting.channels import open_channels
from pipelines.alerting.delivery import Courier
from pipelines.recording import record_changes
from tests.alerting.test_lifecycle import NOON, run, spike
from tests.pipelines.ledgers import CLOCK, RUN, stored
from tests.servers.webhooks import Handler, answer, receiving


def main(count: int) -> None:
    arrived: dict[str, float] = {}
    accept = answer(200)

    def behaviour(handler: Handler) -> None:
        arrived[handler.request_.key] = time.perf_counter()
        accept(handler)

    with tempfile.TemporaryDirectory() as folder, receiving(behaviour) as receiver:
        secret = Path(folder) / "secret"
        secret.write_text("a key that nobody guesses")
        settings = {"hook": WebhookSettings(url=receiver.url, secret_file=secret)}
        channels = open_channels(settings, DeliverySettings(), KafkaSettings())
        with Store.open(f"sqlite:///{folder}/outbox.db") as store:
            stored(store)
            stop = Event()
            thread = Thread(target=Courier(store, channels).run, args=(stop,))
            thread.start()
            committed = _open_alerts(store, count)
            while len(arrived) < count:
                time.sleep(0.05)
            stop.set()
            thread.join()
    seconds = [arrived[name] - committed[name] for name in committed]
    p50, p95, p99 = np.percentile(seconds, [50, 95, 99])
    print(f"{count} alerts: p50 {p50:.3f} s, p95 {p95:.3f} s, p99 {p99:.3f} s to the webhook")


def _open_alerts(store: Store, count: int) -> dict[str, float]:
    """Commits alerts with a notification each; returns when, by the notification's id."""
    rng, committed = random.Random(1), {}
    for number in range(count):
        time.sleep(rng.uniform(0.0, 0.4))
        change = run([spike(NOON, key=f"entity:X{number}")])[1][0]
        alert = msgspec.structs.replace(change.alert, evidence=_shown(change.alert))
        with store.transaction() as tx:
            (row,) = record_changes(tx, [(change, alert)], RUN, CLOCK)
            notification = _notification(row.id, change.alert)
            tx.upsert("deliveries", [delivery(notification, CLOCK)])
        committed[notification.id] = time.perf_counter()
    return committed


def _shown(alert: Alert) -> dict[str, object]:
    return {**alert.evidence, "messages": []}


def _notification(event_id: str, alert: Alert) -> Notification:
    return Notification(
        id=notification_id(event_id, "hook", "desk"),
        alert_id=alert.id,
        event_id=event_id,
        channel="hook",
        recipient="desk",
        not_before=CLOCK,
        event="opened",
        occurred_at=alert.opened_at,
        alert=alert,
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100)
