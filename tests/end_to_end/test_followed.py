"""One message from Kafka to a webhook: the same id in every log entry, one trace, and no text."""

import json
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from alerting.channels.settings import WebhookSettings
from alerting.delivery import DeliverySettings
from connectors.kafka.settings import KafkaSettings
from connectors.store import Store
from connectors.store.sole import Sole
from pipelines.alerting.channels import open_channels
from pipelines.alerting.delivery import Courier
from pipelines.alerting.following import Follower
from pipelines.alerting.process import LOCK, begin, work
from pipelines.alerting.routing import Routing
from pipelines.alerting.ruling import RulesFile
from pipelines.configuration import Configuration
from pipelines.evidence import AddEvidence
from pipelines.live import source
from pipelines.telemetry import traces
from pipelines.telemetry.logs import configure
from pipelines.telemetry.settings import LogSettings
from pipelines.telemetry.traces import Spans, trace_of
from tests.end_to_end.test_live_graph import run_live
from tests.pipelines.telemetry.conftest import _logging_as_before  # noqa: F401
from tests.pipelines.test_following import Remarks
from tests.servers.kafka import write
from tests.servers.webhooks import receiving

STEPS = ["read", "tag", "store", "spike", "alert", "deliver"]
RULES = """
people.jane = {hook = "jane"}
routes.all = {to = ["jane"]}
rules = [{name = "all", route = "all"}]
"""
SECRET = "a key that nobody guesses"


def test_a_message_is_followed_from_its_source_to_who_is_told(
    surge: Path,
    kafka_settings: KafkaSettings,
    topic: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    # In one call: this runner lets the end of time come before what a source has put off.
    monkeypatch.setattr(source, "_AT_A_TIME", 120.0)
    found = InMemorySpanExporter()
    mine = Spans(SimpleSpanProcessor(found))
    monkeypatch.setattr(traces, "spans", lambda: mine)
    configure(LogSettings(format="json", level="debug"))
    rows = surge.read_bytes().splitlines()
    write(kafka_settings, topic, [*rows, b"{broken"])
    run_live(kafka_settings, topic, tmp_path / "live.db")
    told(tmp_path, kafka_settings)

    entries = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    logged: dict[str, list[str]] = defaultdict(list)
    for one in entries:
        logged[one.get("message_id", "")].append(one["event"])
    spans: dict[int, list[str]] = defaultdict(list)
    for span in found.get_finished_spans():
        assert span.context is not None
        spans[span.context.trace_id].append(span.name)
    delivered = {one["message_id"] for one in entries if one["event"] == "deliver"}
    assert delivered
    for name in delivered:
        assert list(dict.fromkeys(logged[name])) == STEPS
        assert list(dict.fromkeys(spans[trace_of(name)])) == STEPS
        named = {one["trace"] for one in entries if one.get("message_id") == name}
        assert named == {f"{trace_of(name):032x}"}
    assert sum(steps[:3] == STEPS[:3] for steps in logged.values()) == len(rows)
    (letter,) = [one for one in entries if one["event"] == "put aside"]
    assert (letter["reason"], letter["offset"]) == ("invalid-json", len(rows))
    whole = json.dumps(entries)
    for row in rows:
        text: str = json.loads(row)["text"]
        assert text not in whole
    assert SECRET not in whole


def told(folder: Path, kafka: KafkaSettings) -> None:
    """The alert process finds what the job left, and tells a webhook of it."""
    configuration = Configuration(kafka=kafka)
    (folder / "rules.toml").write_text(RULES)
    (folder / "secret").write_text(SECRET)
    with receiving() as desk, Store.open(folder / "live.db") as store:
        hook = WebhookSettings(url=desk.url, secret_file=folder / "secret")
        channels = open_channels({"hook": hook}, DeliverySettings(), kafka)
        run_id = begin(store, configuration, datetime.now(UTC))
        routing = Routing(RulesFile(folder / "rules.toml", list(channels)))
        follower = Follower(
            store,
            configuration.digest(configuration.tag.tagger().identity),
            configuration.alerts,
            AddEvidence(configuration.tag),
            run_id,
            routing.tell,
        )
        sole = Sole(store, LOCK)
        work(follower, sole, pause=lambda _: False, watching=Remarks(), routing=routing, once=True)
        sole.release()
        attempts: list[Any] = Courier(store, channels).deliver_due()
    assert attempts
    assert not any(one.error for one in attempts)
