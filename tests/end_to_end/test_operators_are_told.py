"""From a fault in Foreshock to whoever is on duty: a real page of metrics, Prometheus with our
rules (a second for each of their minutes), Alertmanager, and its webhook."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from alerting.channels.settings import WebhookSettings
from alerting.delivery import DeliverySettings
from connectors.kafka.progress import Progress, Stand
from connectors.kafka.settings import KafkaSettings
from connectors.store import Store
from pipelines.alerting.channels import open_channels
from pipelines.alerting.delivery import Courier, delivering
from pipelines.configuration import Configuration
from pipelines.live.job import prepare
from pipelines.live.source import Reading, ReadRange
from pipelines.live.status import Observer
from pipelines.live.storing import StoreProgress
from pipelines.live.supervisor import Status
from pipelines.metrics.endpoint import endpoint
from pipelines.metrics.settings import MetricsSettings
from tests.pipelines.live.test_source import LATENESS, called, started, value
from tests.pipelines.outboxes import filled
from tests.servers import alertmanager, prometheus, webhooks
from tests.servers.kafka import write
from tests.servers.webhooks import Receiver

_DEADLINE = 50.0
_QUICKLY = DeliverySettings(first_seconds=0.5, longest_seconds=1.0, attempts=1000)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    if reason := alertmanager.missing():
        pytest.skip(reason)
    if not prometheus.programs():
        pytest.skip("Prometheus is not installed")
    return tmp_path


@contextmanager
def watched(folder: Path, page: str) -> Iterator[Receiver]:
    """Prometheus and Alertmanager watch a page; gives what the operators hear."""
    homes = [folder / name for name in ("prometheus", "alertmanager")]
    for home in homes:
        home.mkdir()
    rules = prometheus.in_fast_motion(folder)
    with (
        webhooks.receiving() as operators,
        alertmanager.running(homes[1], operators.url) as tells,
        prometheus.running(
            homes[0], page.split("/")[2], rules, alertmanagers=[tells.removeprefix("http://")]
        ),
    ):
        yield operators


def hear(operators: Receiver, name: str, status: str) -> dict[str, Any]:
    """The alert of this name and status, as soon as the operators have heard of it."""
    deadline = time.monotonic() + _DEADLINE
    while True:
        for request in operators.requests.copy():
            for alert in request.notice["alerts"]:
                if (alert["labels"]["alertname"], alert["status"]) == (name, status):
                    found: dict[str, Any] = alert
                    return found
        assert time.monotonic() < deadline, f"nobody heard that {name} is {status}"
        time.sleep(0.05)


def test_operators_hear_of_a_channel_that_fails_and_of_its_recovery(folder: Path) -> None:
    (folder / "secret").write_text("a key that nobody guesses")
    with (
        endpoint(MetricsSettings(port=0, folder=folder / "metrics")) as page,
        webhooks.receiving(webhooks.answer(500)) as desk,
        Store.open(folder / "store.db") as store,
    ):
        assert page
        hook = WebhookSettings(url=desk.url, secret_file=folder / "secret")
        channels = open_channels({"desk": hook}, _QUICKLY, KafkaSettings())
        filled(store, "desk")
        with (
            watched(folder, page) as operators,
            delivering(Courier(store, channels, _QUICKLY), Event()),
        ):
            alert = hear(operators, "ForeshockDeliveryFailing", "firing")
            desk.behaviour = webhooks.answer(200)
            hear(operators, "ForeshockDeliveryFailing", "resolved")
    expected = {"job": "foreshock", "channel": "desk", "severity": "critical"}
    assert alert["labels"].items() >= expected.items()
    assert (Path(__file__).parents[2] / alert["annotations"]["runbook"]).is_file()


def test_operators_hear_of_a_source_that_hangs_and_of_a_job_that_is_gone(
    folder: Path, kafka_settings: KafkaSettings, topic: str
) -> None:
    write(kafka_settings, topic, [value(f"a{n}", n) for n in range(60)])
    job = prepare(
        Reading(kafka_settings, topic, LATENESS),
        database=str(folder / "store.db"),
        configuration=Configuration(),
    )
    with ExitStack() as serving:
        settings = MetricsSettings(port=0, folder=folder / "metrics")
        page = serving.enter_context(endpoint(settings))
        assert page
        step = started(job.reading)
        progress = read(step, Progress({0: Stand(0)}), 60)
        StoreProgress(job.database, job.run_id).process(progress)
        write(kafka_settings, topic, [value(f"b{n}", n) for n in range(9)])
        # The step is not called any more; whoever looks after the job sees what it leaves lying.
        seen = Observer(job, "job", "").complete(Status("job", "RUNNING", 0, None, None), 1)
        assert seen.behind == 9
        with watched(folder, page) as operators:
            stalled = hear(operators, "ForeshockPipelineStalled", "firing")
            read(step, progress, 69)
            hear(operators, "ForeshockPipelineStalled", "resolved")
            step.teardown()
            serving.close()
            hear(operators, "ForeshockDown", "firing")
    assert stalled["annotations"]["description"].startswith("9 records are unread")


def read(step: ReadRange, progress: Progress, until: int) -> Progress:
    """Calls the step, as a worker does, until it has read so many records."""
    left: Progress | None = progress
    state = 0
    while left is not None and left.read < until:
        _, left, state = called(step, left, state)
    assert left is not None
    return left
