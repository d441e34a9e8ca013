"""What Prometheus would see, over HTTP, from processes that are killed."""

import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from connectors.dead_letter import dead_letter
from connectors.message import Message
from connectors.store import Store
from models.artifact import load_artifact
from models.entities import Recogniser
from models.tagger import load_tagger
from models.tags import HEADS
from pipelines.configuration import ConfigurationError, load_configuration
from pipelines.metrics import endpoint as endpoint_module
from pipelines.metrics.endpoint import EndpointError, endpoint
from pipelines.metrics.instruments import (
    FOLDER_VARIABLE,
    MOST_SOURCES,
    OTHER,
    Metrics,
    metrics,
)
from pipelines.metrics.settings import MetricsSettings
from pipelines.tagging import tag_messages

NOON = datetime(2014, 3, 1, 12, tzinfo=UTC)

Series = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def scrape(address: str) -> Series:
    """(name, labels) -> value, as Prometheus parses the page."""
    with urllib.request.urlopen(address) as page:
        text = page.read().decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(series: Series, name: str, **labels: str) -> float:
    return series["foreshock_" + name, tuple(sorted(labels.items()))]


@pytest.fixture
def settings(tmp_path: Path) -> MetricsSettings:
    return MetricsSettings(port=0, folder=tmp_path / "metrics")


def tweet(name: str, text: str, source: str = "twitter") -> Message:
    return Message(id=name, source=source, published_at=NOON, text=text)


def test_the_page_shows_what_the_process_counted(settings: MetricsSettings) -> None:
    with endpoint(settings) as address:
        assert address is not None
        counting = metrics()
        counting.read("messages", 2, 100, lag=40)
        counting.read("messages", 2, 30, lag=10)
        counting.watermark(NOON)
        counting.watermark(NOON - timedelta(hours=1))  # may only rise
        counting.dead_letters(
            [dead_letter(source="x", stage="parse", reason="no-text", error="e", payload=b"")]
        )
        counting.minutes(3, final=False)
        counting.ledger(intact=True)
        with counting.storing():
            counting.stored("messages", 7)
        seen = scrape(address)
    assert value(seen, "source_records_total", topic="messages", partition="2") == 130
    assert value(seen, "source_lag_records", topic="messages", partition="2") == 10
    assert value(seen, "watermark_timestamp_seconds") == NOON.timestamp()
    assert value(seen, "watermark_moved_timestamp_seconds") > NOON.timestamp()
    assert value(seen, "dead_letters_total", stage="parse", reason="no-text") == 1
    assert value(seen, "minutes_closed_total", state="provisional") == 3
    assert value(seen, "store_rows_total", table="messages") == 7
    assert value(seen, "store_latency_seconds_count") == 1
    assert value(seen, "ledger_intact") == 1


WORKER = """
import sys
from pipelines.metrics.instruments import metrics
counting = metrics()
for line in sys.stdin:
    counting.read("messages", 0, int(line), lag=int(line))
    print("done", flush=True)
"""


def worker() -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", WORKER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def tell(process: "subprocess.Popen[str]", records: int) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{records}\n")
    process.stdin.flush()
    assert process.stdout.readline() == "done\n"


def test_what_a_killed_worker_counted_stays_and_a_new_one_goes_on(
    settings: MetricsSettings,
) -> None:
    place = {"topic": "messages", "partition": "0"}
    with endpoint(settings) as address:
        assert address is not None
        first, second = worker(), worker()
        tell(first, 1000)
        tell(second, 50)
        os.kill(first.pid, signal.SIGKILL)
        first.communicate()
        after_the_kill = scrape(address)
        third = worker()
        tell(third, 7)
        at_last = scrape(address)
        second.communicate()
        third.communicate()
    assert value(after_the_kill, "source_records_total", **place) == 1050
    assert value(at_last, "source_records_total", **place) == 1057
    assert value(at_last, "source_lag_records", **place) == 7


def test_a_page_that_comes_back_goes_on_with_the_workers_that_outlived_it(
    settings: MetricsSettings,
) -> None:
    place = {"topic": "messages", "partition": "0"}
    with endpoint(settings):
        dead, alive = worker(), worker()
        tell(dead, 1000)
        tell(alive, 50)
        dead.communicate()
    with endpoint(settings) as address:
        assert address is not None
        tell(alive, 7)
        assert value(scrape(address), "source_records_total", **place) == 57
    alive.communicate()


def test_of_a_first_failure_to_deliver_an_increase_is_seen(settings: MetricsSettings) -> None:
    with endpoint(settings) as address:
        assert address is not None
        metrics().pending_deliveries("desk", 1)
        before = scrape(address)
        metrics().delivery("desk", "failed")
        after = scrape(address)
    failed = {"channel": "desk", "outcome": "failed"}
    assert value(before, "deliveries_total", **failed) == 0
    assert value(after, "deliveries_total", **failed) == 1


def test_the_alert_process_has_a_page_of_its_own_and_says_when_it_looked(tmp_path: Path) -> None:
    Store.open(tmp_path / "store.db").close()
    told = ["alerts", "run", "--database", f"sqlite:///{tmp_path}/store.db", "--metrics-port", "0"]
    process = subprocess.Popen(
        [sys.executable, "-m", "pipelines", *told], stderr=subprocess.PIPE, text=True, cwd=tmp_path
    )
    assert process.stderr is not None
    (address,) = re.findall(r"http://\S+/metrics", process.stderr.readline())
    try:
        deadline = time.monotonic() + 60
        while not (
            looked := scrape(address).get(("foreshock_alerts_looked_timestamp_seconds", ()))
        ):
            assert time.monotonic() < deadline
            time.sleep(0.1)
    finally:
        process.terminate()
        process.communicate()
    assert looked > NOON.timestamp()
    assert process.returncode == 0


def test_a_worker_killed_as_it_makes_its_file_does_not_stop_the_page(
    settings: MetricsSettings,
) -> None:
    with endpoint(settings) as address:
        assert address is not None
        (settings.folder / "counter_1.db").touch()
        metrics().duplicates(3)
        assert value(scrape(address), "duplicate_messages_total") == 3


def test_tagging_shows_batches_labels_and_drift(
    settings: MetricsSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    monkeypatch.setattr(endpoint_module.time, "monotonic", lambda: clock[0])
    tagger = load_tagger()
    texts = [f"Profit warning {n}, shares plunge" for n in range(40)]
    results = tag_messages(
        [tweet(str(n), text) for n, text in enumerate(texts)], tagger, Recogniser.default()
    )
    with endpoint(settings) as address:
        assert address is not None
        metrics().model_loaded(tagger.identity, tagger.config)
        metrics().tagged(results, 0.25)
        seen = scrape(address)
        clock[0] = endpoint_module.DRIFT_SECONDS + 1.0
        scrape(address)
        clock[0] += endpoint_module.DRIFT_SECONDS + 1.0
        an_hour_later = scrape(address)
    assert value(seen, "messages_tagged_total", source="twitter") == 40
    assert value(seen, "tag_batch_messages_sum") == 40
    assert value(seen, "model_latency_seconds_bucket", le="0.25") == 1
    assert value(seen, "predictions_total", head="sentiment", label="negative") == 40
    assert value(seen, "drift_messages", head="sentiment") == 40
    assert value(seen, "drift_moved", head="sentiment", what="labels") == 1
    shares = load_artifact().config.label_shares["topic"]
    for label in HEADS["topic"]:
        found = value(seen, "expected_label_share_ratio", head="topic", label=label)
        assert found == pytest.approx(shares[label])
    assert ("foreshock_drift_moved", (("head", "sentiment"), ("what", "labels"))) not in (
        an_hour_later
    )


def test_sources_beyond_the_most_are_counted_together() -> None:
    registry = CollectorRegistry()
    tagger = load_tagger()
    few = [tweet(str(n), "Up", source=f"feed-{n}") for n in range(MOST_SOURCES + 5)]
    Metrics(registry).tagged(tag_messages(few, tagger, Recogniser.default()), 0.1)
    name = "foreshock_messages_tagged_total"
    assert registry.get_sample_value(name, {"source": OTHER}) == 5
    assert registry.get_sample_value(name, {"source": "feed-0"}) == 1


def test_without_a_port_nothing_is_opened_or_written(tmp_path: Path) -> None:
    with endpoint(MetricsSettings(folder=tmp_path / "metrics")) as address:
        assert address is None
        assert FOLDER_VARIABLE not in os.environ
    assert not (tmp_path / "metrics").exists()


def test_the_page_goes_with_its_block(settings: MetricsSettings) -> None:
    with endpoint(settings) as address:
        assert address is not None
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(address)
    assert FOLDER_VARIABLE not in os.environ


def test_a_port_that_is_taken_is_named(settings: MetricsSettings, tmp_path: Path) -> None:
    with endpoint(settings) as address:
        assert address is not None
        port = int(address.split(":")[2].split("/")[0])
        taken = MetricsSettings(port=port, folder=tmp_path / "other")
        with pytest.raises(EndpointError, match=rf"127\.0\.0\.1:{port}"), endpoint(taken):
            pass


def test_a_port_that_is_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "foreshock.toml"
    path.write_text("[metrics]\nport = 70000\n")
    with pytest.raises(ConfigurationError, match="70000"):
        load_configuration(path)


def test_where_metrics_are_scraped_changes_no_row(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = load_configuration().meaning()
    monkeypatch.setenv("FORESHOCK_METRICS__PORT", "9108")
    assert load_configuration().metrics.port == 9108
    assert load_configuration().meaning() == plain
