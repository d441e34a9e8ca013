"""A webhook against receivers that are honest, fail, hang and lie."""

import json
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import jsonschema
import pytest

from alerting.channels.bounded import Bounded
from alerting.channels.channel import Refused, Retry
from alerting.channels.settings import WebhookSettings
from alerting.channels.signature import SignatureError, check, key_of, signed
from alerting.channels.webhook import Webhook
from alerting.errors import ConfigurationError
from tests.alerting.channels.notices import HOSTILE, notice
from tests.servers.certificates import certificate
from tests.servers.webhooks import (
    Behaviour,
    Receiver,
    answer,
    close,
    drip,
    flood,
    hang,
    nonsense,
    promise_more,
    receiving,
)

SECRET = "a key that nobody guesses"
SCHEMAS = Path(__file__).parents[3] / "docs" / "schemas"


@pytest.fixture(autouse=True)
def secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORESHOCK_CHANNEL_DESK_SECRET", SECRET)


def webhook(receiver: Receiver, **settings: object) -> Webhook:
    given = {"url": receiver.url, "timeout_seconds": 0.5, **settings}
    return Webhook.opened("desk", WebhookSettings(**given))


def test_the_request_is_signed_keyed_and_of_the_published_schema() -> None:
    with receiving() as receiver:
        webhook(receiver).send(notice())
    (request,) = receiver.requests
    assert request.key == notice().id
    check(key_of(SECRET), request.headers, request.body, datetime.now(UTC))
    found = json.loads(request.body)
    jsonschema.validate(found, json.loads((SCHEMAS / "notice.v1.json").read_text()))
    assert found["schema"] == 1
    assert found["messages"][0]["text"] == HOSTILE


def test_it_is_the_same_at_every_attempt_but_for_the_time_and_its_signature() -> None:
    with receiving() as receiver:
        webhook(receiver).send(notice())
        webhook(receiver).send(notice())
    first, second = receiver.requests
    assert (first.body, first.key) == (second.body, second.key)


@pytest.mark.parametrize("changed", ["body", "webhook-id", "webhook-timestamp"])
def test_a_receiver_finds_a_changed_request(changed: str) -> None:
    with receiving() as receiver:
        webhook(receiver).send(notice())
    (request,) = receiver.requests
    headers, body = dict(request.headers), request.body
    if changed == "body":
        body += b" "
    else:
        headers[changed] = str(int(headers[changed][:8], 16) + 1)
    with pytest.raises(SignatureError):
        check(key_of(SECRET), headers, body, datetime.now(UTC))


def test_a_receiver_finds_a_request_that_is_sent_again_later() -> None:
    with receiving() as receiver:
        webhook(receiver).send(notice())
    (request,) = receiver.requests
    with pytest.raises(SignatureError, match="too old"):
        check(
            key_of(SECRET), request.headers, request.body, datetime.now(UTC) + timedelta(minutes=6)
        )


def test_a_key_is_changed_while_both_are_good(monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = "whsec_" + "b2xkb2xkb2xkb2xkb2xkb2xk", "whsec_" + "bmV3bmV3bmV3bmV3bmV3bmV3"
    monkeypatch.setenv("FORESHOCK_CHANNEL_DESK_SECRET", f"{new}\n{old}\n")
    with receiving() as receiver:
        webhook(receiver).send(notice())
    (request,) = receiver.requests
    for key in (old, new):
        check(key_of(key), request.headers, request.body, datetime.now(UTC))


@pytest.mark.parametrize("status", [400, 413, 422])
def test_what_the_receiver_will_never_take_is_refused(status: int) -> None:
    with (
        receiving(answer(status, b"bad \x1b[31m\r\nSet-Cookie: x")) as receiver,
        pytest.raises(Refused, match=str(status)) as refused,
    ):
        webhook(receiver).send(notice())
    assert "⟦U+001B⟧[31m Set-Cookie" in str(refused.value)
    assert "Set-Cookie" not in refused.value.reason


@pytest.mark.parametrize("status", [401, 403, 404, 408, 429, 500, 502, 503, 599])
def test_other_errors_are_tried_again(status: int) -> None:
    with receiving(answer(status)) as receiver, pytest.raises(Retry, match=str(status)):
        webhook(receiver).send(notice())


@pytest.mark.parametrize(
    ("said", "seconds"), [("7", 7), ("99999999", 3600), ("Mon, 01 Jan 2001 00:00:00 GMT", 0)]
)
def test_the_receiver_says_how_long_to_wait(said: str, seconds: int) -> None:
    with receiving(answer(503, Retry_After=said)) as receiver, pytest.raises(Retry) as retry:
        webhook(receiver).send(notice())
    assert retry.value.after == timedelta(seconds=seconds)


def test_no_redirect_is_followed() -> None:
    with receiving() as elsewhere:
        with (
            receiving(answer(302, Location=elsewhere.url)) as receiver,
            pytest.raises(Retry, match="redirect"),
        ):
            webhook(receiver).send(notice())
        assert elsewhere.requests == []


def test_a_good_status_counts_even_if_the_body_that_it_promises_never_comes() -> None:
    with receiving(promise_more) as receiver:
        webhook(receiver).send(notice())


@pytest.mark.parametrize("behaviour", [close, hang, nonsense, flood])
def test_no_bad_receiver_holds_or_harms_us(behaviour: Behaviour) -> None:
    with receiving(behaviour) as receiver, pytest.raises(Retry) as retry:
        webhook(receiver).send(notice())
    assert len(str(retry.value)) < 400
    assert "\x1b" not in str(retry.value)


def test_a_receiver_that_drips_holds_nobody_for_longer_than_allowed() -> None:
    with receiving(drip) as receiver:
        channel = Bounded(webhook(receiver, timeout_seconds=5.0).send, 0.3)
        before = threading.active_count()
        for _ in range(4):
            with pytest.raises(Retry, match="did not end within"):
                channel.send(notice())
        with pytest.raises(Retry, match="not ended yet"):
            channel.send(notice())
        assert threading.active_count() <= before + 2 * 4


def test_nothing_is_told_of_an_address_but_its_host(tmp_path: Path) -> None:
    with receiving(answer(500)) as receiver:
        hidden = tmp_path / "url"
        hidden.write_text(receiver.url + "/T0KEN?key=S3CRET\n")
        with pytest.raises(Retry) as told:
            webhook(receiver, url=None, url_file=hidden).send(notice())
    with pytest.raises(Retry) as gone:
        webhook(receiver, url=None, url_file=hidden).send(notice())
    for retry in (told, gone):
        assert "127.0.0.1" in str(retry.value)
        assert not {"T0KEN", "S3CRET"} & set(str(retry.value).replace("/", " ").split())


def test_tls_is_checked_against_the_authority(tmp_path: Path) -> None:
    tls = certificate(tmp_path)
    with receiving(tls=tls) as receiver:
        webhook(receiver, ca_file=tls[0]).send(notice())
        with pytest.raises(Retry, match="certificate"):
            webhook(receiver).send(notice())
    assert sum(receiver.accepted.values()) == 1


def test_a_password_in_netrc_is_not_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password mine\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with receiving() as receiver:
        webhook(receiver).send(notice())
    assert "authorization" not in receiver.requests[0].headers


@pytest.mark.parametrize(
    "url", ["ftp://x/", "https://", "https://user:pw@x/", "https://x/\r\nA: b", "x", "http://["]
)
def test_a_bad_address_is_found_at_the_start_and_not_repeated(url: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        WebhookSettings(url=url)
    assert "pw" not in str(error.value)


def test_a_missing_secret_is_found_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FORESHOCK_CHANNEL_DESK_SECRET")
    with pytest.raises(ConfigurationError, match="FORESHOCK_CHANNEL_DESK_SECRET"):
        Webhook.opened("desk", WebhookSettings(url="https://x/"))


def test_a_short_secret_is_refused_without_being_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORESHOCK_CHANNEL_DESK_SECRET", "hunter2")
    with pytest.raises(ConfigurationError) as error:
        Webhook.opened("desk", WebhookSettings(url="https://x/"))
    assert "hunter2" not in str(error.value)


def test_the_signature_is_that_of_standard_webhooks() -> None:
    key = key_of("whsec_plJ3nmyCDGBKInavdOK15jsl")
    headers = signed(
        [key],
        "msg_loFOjxBNrRLzqYUf",
        b'{"event_type":"ping","data":{"success":true}}',
        datetime.fromtimestamp(1731705121, UTC),
    )
    assert headers["webhook-signature"] == "v1,rAvfW3dJ/X/qxhsaXPOyyCGmRKsaKWcsNccKXlIktD0="
