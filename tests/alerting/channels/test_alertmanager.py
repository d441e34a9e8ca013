"""Alertmanager's API v2, against Debian's Alertmanager."""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from alerting.channels.alertmanager import Alertmanager
from alerting.channels.channel import Refused, Retry
from alerting.channels.notice import Notice
from alerting.channels.settings import AlertmanagerSettings
from tests.alerting.channels.notices import LINK, notice
from tests.servers import alertmanager as servers
from tests.servers.webhooks import Receiver, answer, receiving

NOW = datetime.now(UTC).replace(microsecond=0)


@pytest.fixture(scope="module")
def received() -> Iterator[Receiver]:
    """What Alertmanager sends on."""
    with receiving() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def server(received: Receiver, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if reason := servers.missing():
        pytest.skip(reason)
    with servers.running(tmp_path_factory.mktemp("alertmanager"), received.url) as url:
        yield url


def channel(url: str, **settings: Any) -> Alertmanager:
    return Alertmanager.opened("desk", AlertmanagerSettings(url=url, **settings))


def told(alert_id: str, event: str = "opened", **alert: Any) -> Notice:
    opened = NOW - timedelta(minutes=5)
    return notice(event=event, alert={"id": alert_id, "opened_at": opened, **alert})


def firing(url: str, alert_id: str) -> list[dict[str, Any]]:
    return [one for one in servers.alerts(url) if one["labels"]["alert_id"] == alert_id]


def test_an_alert_fires_there_with_its_words_and_its_link(server: str) -> None:
    channel(server, labels={"team": "desk"}).send(told("a1"))
    (found,) = firing(server, "a1")
    assert found["labels"]["alertname"] == "ForeshockSpike"
    assert found["labels"]["team"] == "desk"
    assert found["labels"]["kind"] == "negative_surge"
    assert found["annotations"]["severity"] == "medium"
    assert found["generatorURL"] == LINK
    assert "evil.example" not in found["annotations"]["summary"]
    assert datetime.fromisoformat(found["startsAt"]) == NOW - timedelta(minutes=5)


def test_what_is_told_twice_or_grows_is_one_alert_there(server: str) -> None:
    for event, severity in (("opened", "low"), ("opened", "low"), ("updated", "high")):
        channel(server).send(told("a2", event, severity=severity))
    (found,) = firing(server, "a2")
    assert found["annotations"]["severity"] == "high"


def test_a_resolved_alert_stops_firing_and_alertmanager_tells_so(
    server: str, received: Receiver
) -> None:
    channel(server).send(told("a3"))
    until(lambda: ("a3", "firing") in sent(received))
    channel(server).send(told("a3", "resolved", resolved_at=NOW - timedelta(minutes=1)))
    until(lambda: ("a3", "resolved") in sent(received))
    assert firing(server, "a3") == []


def sent(received: Receiver) -> set[tuple[str, str]]:
    return {
        (alert["labels"]["alert_id"], alert["status"])
        for request in list(received.requests)
        for alert in json.loads(request.body)["alerts"]
    }


def until(condition: Any) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_what_alertmanager_will_never_take_is_refused(server: str) -> None:
    resolved = {"resolved_at": NOW - timedelta(days=30)}  # over before it began
    with pytest.raises(Refused, match="400"):
        channel(server).send(told("a4", "resolved", **resolved))


def test_the_password_is_sent_and_never_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORESHOCK_CHANNEL_DESK_PASSWORD", "hunter2hunter2")
    with receiving(answer(401)) as receiver:
        with pytest.raises(Retry, match="401") as retry:
            channel(receiver.url, user="us").send(told("a5"))
        (request,) = receiver.requests
    assert request.headers["authorization"].startswith("Basic ")
    assert request.path == "/hook/api/v2/alerts"
    assert "hunter2" not in str(retry.value)


def test_one_that_is_away_is_tried_again(tmp_path: Path) -> None:
    with receiving() as receiver:
        pass
    with pytest.raises(Retry, match="cannot be reached"):
        channel(receiver.url).send(told("a6"))
