"""Annotations through grafana-client, against a server that keeps Grafana's contract."""

from datetime import timedelta

import pytest

from alerting.channels.channel import Refused, Retry
from alerting.channels.grafana import Grafana
from alerting.channels.settings import GrafanaSettings
from tests.alerting.channels.notices import notice
from tests.alerting.test_lifecycle import NOON
from tests.servers import grafana as servers
from tests.servers.webhooks import Behaviour, answer, close, hang, nonsense, receiving


@pytest.fixture(autouse=True)
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORESHOCK_CHANNEL_DESK_TOKEN", servers.TOKEN)


def channel(url: str) -> Grafana:
    settings = GrafanaSettings(url=url, dashboard="mood", panel=4, timeout_seconds=0.5)
    return Grafana.opened("desk", settings)


def test_an_alert_is_one_annotation_that_ends_with_it() -> None:
    end = NOON + timedelta(hours=4)
    with servers.running() as server:
        desk = channel(server.receiver.url)
        desk.send(notice())
        desk.send(notice())
        desk.send(notice(event="resolved", alert={"resolved_at": end}))
    (found,) = server.annotations.values()
    assert found["time"] == NOON.timestamp() * 1000
    assert found["timeEnd"] == end.timestamp() * 1000
    assert found["dashboardUID"] == "mood"
    assert found["panelId"] == 4
    assert {"foreshock", "negative_surge", "medium"} <= set(found["tags"])
    assert "Resolved" in found["text"]


def test_hostile_texts_are_escaped() -> None:
    with servers.running() as server:
        channel(server.receiver.url).send(notice())
    (found,) = server.annotations.values()
    assert "<" not in found["text"].replace("<br>", "")
    assert "://" not in found["text"]


def test_a_wrong_token_is_tried_again_and_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORESHOCK_CHANNEL_DESK_TOKEN", "glsa_hunter2")
    with servers.running() as server, pytest.raises(Retry, match="401") as retry:
        channel(server.receiver.url).send(notice())
    assert "hunter2" not in str(retry.value)


def test_what_grafana_will_never_take_is_refused() -> None:
    with (
        receiving(answer(400, b'{"message": "bad"}', Content_Type="application/json")) as receiver,
        pytest.raises(Refused, match="400"),
    ):
        channel(receiver.url).send(notice())


@pytest.mark.parametrize(
    "behaviour",
    [close, hang, nonsense, answer(200, b"<html>"), answer(302, Location="http://127.0.0.1:9/")],
)
def test_no_bad_server_holds_us(behaviour: Behaviour) -> None:
    with receiving(behaviour) as receiver, pytest.raises(Retry):
        channel(receiver.url).send(notice())
