"""From the commit of a spike to its webhook: `python -m tests.benchmarks.delivery [N]`.

The alert process as `foreshock alerts run` runs it (life of the alert, rules, ledger, outbox,
courier), beside one who commits minutes with a spike of a new company each, at random moments. The
route gathers nothing; the receiver is on this machine.
"""

import random
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from threading import Event, Thread

import numpy as np

from alerting.channels.settings import WebhookSettings
from alerting.delivery import DeliverySettings
from connectors.kafka.settings import KafkaSettings
from connectors.store import Store
from connectors.store.sole import Sole
from pipelines.alerting.channels import open_channels
from pipelines.alerting.delivery import Courier, delivering
from pipelines.alerting.process import LOCK, work
from pipelines.alerting.routing import Routing
from pipelines.alerting.ruling import RulesFile
from tests.alerting.test_lifecycle import NOON, spike
from tests.pipelines.commits import committed, prepared
from tests.pipelines.test_following import Remarks, follower
from tests.servers.webhooks import Receiver, receiving

RULES = """
people.desk = {hook = "desk"}
routes.all = {to = ["desk"]}
rules = [{name = "all", route = "all"}]
"""


def main(count: int) -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        receiving() as receiver,
        Store.open(f"sqlite:///{folder}/alerts.db") as store,
    ):
        prepared(store)
        sent, arrived = _measure(store, receiver, Path(folder), count)
    seconds = [arrived[key] - sent[key] for key in sent]
    p50, p95, p99 = np.percentile(seconds, [50, 95, 99])
    print(f"{count} spikes: p50 {p50:.3f} s, p95 {p95:.3f} s, p99 {p99:.3f} s to the webhook")


def _measure(
    store: Store, receiver: Receiver, folder: Path, count: int
) -> tuple[dict[str, float], dict[str, float]]:
    """When each key's spike was committed, and when its notice came in."""
    (folder / "rules.toml").write_text(RULES)
    (folder / "secret").write_text("a key that nobody guesses")
    hook = {"hook": WebhookSettings(url=receiver.url, secret_file=folder / "secret")}
    courier = Courier(store, open_channels(hook, DeliverySettings(), KafkaSettings()))
    arrived, accept = {}, receiver.behaviour

    def behaviour(handler):
        arrived[handler.request_.notice["alert"]["key"]] = time.perf_counter()
        accept(handler)

    receiver.behaviour = behaviour
    stop = Event()
    thread = Thread(target=_alert, args=(store, folder / "rules.toml", stop))
    with delivering(courier, stop):
        thread.start()
        sent = _spike(store, count)
        while len(arrived) < count:
            time.sleep(0.05)
        stop.set()
        thread.join()
    return sent, arrived


def _alert(store: Store, rules: Path, stop: Event) -> None:
    routing = Routing(RulesFile(rules, ["hook"]))
    one = follower(store)
    one.tell = routing.tell
    work(one, Sole(store, LOCK), pause=stop.wait, watching=Remarks(), routing=routing)


def _spike(store: Store, count: int) -> dict[str, float]:
    rng, sent = random.Random(1), {}
    for number in range(count):
        time.sleep(rng.uniform(0.2, 0.8))
        at, key = NOON + timedelta(minutes=number), f"entity:X{number}"
        found = spike(at + timedelta(minutes=1), key=key, message_ids=("m1",))
        committed(store, [(at, [found])], final=False)
        sent[key] = time.perf_counter()
    return sent


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100)
