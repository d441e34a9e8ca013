"""The rules for Prometheus, and a real Prometheus that scrapes, records and speaks."""

import json
import re
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry

from connectors.dead_letter import dead_letter
from connectors.message import Message
from connectors.store import Store
from models.drift import Drift
from models.drift import metrics as drift_metrics
from models.entities import Recogniser
from models.tagger import load_tagger
from pipelines.dashboards.building import boards
from pipelines.dashboards.checking import check
from pipelines.metrics.endpoint import endpoint
from pipelines.metrics.instruments import Metrics, metrics
from pipelines.metrics.settings import MetricsSettings
from pipelines.tagging import tag_messages
from tests.servers import prometheus
from tests.servers.prometheus import RULES

INFRA = Path(__file__).parents[2] / "infra" / "prometheus"
TESTS = INFRA / "tests" / "foreshock.yaml"
RUNBOOKS = Path(__file__).parents[2] / "docs" / "runbooks"

NOW = datetime(2014, 3, 1, 12, tzinfo=UTC)


def rules() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load(RULES.read_text())["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


def alerts() -> dict[str, dict[str, Any]]:
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}


@pytest.fixture
def promtool() -> None:
    if not prometheus.programs():
        pytest.skip("Prometheus is not installed")


def run(*arguments: str | Path) -> str:
    done = subprocess.run(
        ["promtool", *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.usefixtures("promtool")
def test_promtool_finds_the_rules_to_speak_when_they_must() -> None:
    assert "SUCCESS" in run("check", "rules", RULES)
    run("test", "rules", TESTS)


@pytest.mark.usefixtures("promtool")
def test_the_configuration_is_one() -> None:
    run("check", "config", INFRA / "prometheus.yml")


def test_every_alert_has_a_runbook_a_severity_and_a_test() -> None:
    tried = {
        one["alertname"]
        for test in yaml.safe_load(TESTS.read_text())["tests"]
        for one in test.get("alert_rule_test", ())
        if one.get("exp_alerts")
    }
    assert tried == set(alerts())
    listed = (RUNBOOKS / "README.md").read_text()
    for name, rule in alerts().items():
        page = RUNBOOKS.parents[1] / rule["annotations"]["runbook"]
        assert page.read_text().startswith(f"# {name}\n")
        assert "**Look at**" in page.read_text()
        assert "**Do**" in page.read_text()
        assert f"| [{name}]({name}.md) | {rule['labels']['severity']} |" in listed
    assert len(list(RUNBOOKS.glob("*.md"))) == len(alerts()) + 1


def test_rules_and_panels_ask_for_metrics_that_there_are() -> None:
    registry = CollectorRegistry()
    Metrics(registry)
    known = set(registry._names_to_collectors)
    drift = Drift("topic", 1, {"x": 1.0}, 0.1, 0.1, *(False, 0.1, 0.1) * 2, False)
    known |= {series.partition("{")[0] for series in drift_metrics(drift)}
    panels = json.dumps([board["panels"] for board in boards(None, NOW)])
    asked = " ".join(
        [str(rule["expr"]) for rule in rules()] + re.findall(r'"expr": "(.*?)"', panels)
    )
    names = set(re.findall(r"(?<!:)\bforeshock_\w+", asked))
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    assert len(names) > 20
    assert names <= known
    assert set(re.findall(r"\w+:foreshock_[\w:]+", asked)) <= recorded


@pytest.mark.usefixtures("promtool")
def test_a_prometheus_draws_every_panel_of_the_jobs_health_and_speaks_up(tmp_path: Path) -> None:
    settings = MetricsSettings(port=0, folder=tmp_path / "metrics")
    with endpoint(settings) as address, Store.open(tmp_path / "empty.db") as store:
        assert address is not None
        with prometheus.running(tmp_path, address.split("/")[2], RULES) as server:
            everything_happens()
            prometheus.wait_for(server, "foreshock_checkpoint_size_bytes")
            everything_happens()  # so that rates have two samples to tell of
            prometheus.wait_for(server, 'rate(foreshock_deliveries_total{channel="email"}[5m]) > 0')
            found = prometheus.wait_for(server, 'ALERTS{alertname="ForeshockLedgerBroken"}')
            prometheus.wait_for(server, "job:foreshock_source_lag_records:sum == 12")
            health = boards(None, NOW)[-1]
            done = list(check(health, store, None, prometheus=server))
    assert [one["metric"]["alertstate"] for one in found] == ["firing"]
    assert not [one for one in done if one.status in ("failed", "skipped")]
    empty = {(one.part, one.query) for one in done if one.status == "empty"}
    assert empty - IN_THE_ARTIFACT == {
        ("variable configuration", ""),
        ("annotation Alerts", "Alerts"),
        ("Messages in windows", "A"),
        ("Dead letters in the store", "A"),
        ("Late messages in the store", "A"),
        ("Runs", "A"),
    }


IN_THE_ARTIFACT = {("Confidence and abstention", "B"), ("Confidence and abstention", "D")}
"""What is normal, where the model's artifact says so."""


def everything_happens() -> None:
    """Once each of what can be counted."""
    counting, tagger = metrics(), load_tagger()
    texts = [
        Message(id=str(n), source="twitter", published_at=NOW, text=f"Up {n}") for n in range(9)
    ]
    letter = dead_letter(source="x", stage="parse", reason="no-text", error="e", payload=b"")
    counting.read("messages", 0, 100, lag=12)
    counting.watermark(NOW)
    counting.late("late")
    counting.duplicates(1)
    counting.dead_letters([letter])
    counting.model_loaded(tagger.identity, tagger.config)
    counting.tagged(tag_messages(texts, tagger, Recogniser.default()), 0.02)
    counting.delay("tagged", 0.2)
    counting.delay("stored", 0.4)
    with counting.storing():
        counting.stored("messages", 9)
    counting.store_retried()
    counting.minutes(1, final=True)
    counting.alert_event("opened", "high")
    counting.delivery("email", "failed")
    counting.pending_deliveries("email", 1)
    counting.looked()
    counting.ledger(intact=False)
    counting.restarted("worker")
    counting.checkpoint(datetime.now(UTC) - timedelta(seconds=5), 1000)
