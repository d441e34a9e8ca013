"""Apprise: an address is all of a service; it is a secret, and texts call nobody."""

import json
import logging
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import pytest

from alerting.channels.channel import Retry
from alerting.channels.chat import Chat
from alerting.channels.settings import ChatSettings
from alerting.errors import ConfigurationError
from tests.alerting.channels.notices import notice
from tests.servers.webhooks import answer, close, hang, receiving

SECRET = "T0KENT0KEN"


def channel(address: str, folder: Path) -> Chat:
    (folder / "url").write_text(f"{address}\n")
    return Chat.opened("desk", ChatSettings(url_file=folder / "url", timeout_seconds=1.0))


def json_address(url: str) -> str:
    return url.replace("http://", f"json://me:{SECRET}@") + f"?cto=0.5&rto=0.5&-key={SECRET}"


def test_a_notice_is_told_in_words_that_call_nobody(tmp_path: Path) -> None:
    with receiving() as receiver:
        channel(json_address(receiver.url), tmp_path).send(notice())
    found = json.loads(receiver.requests[0].body)
    said = found["title"] + found["message"]
    assert found["title"].startswith("[medium] Negative surge on Boeing")
    assert found["type"] == "warning"
    for hostile in ("<!channel>", "@everyone", "https://evil", "<script>", "\x1b", "\u202e"):
        assert hostile not in said


def test_a_slack_address_reaches_slacks_own_format(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from apprise.plugins.slack import NotifySlack

    with receiving(answer(200, b"ok")) as receiver:
        monkeypatch.setattr(NotifySlack, "webhook_url", receiver.url)
        address = "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ"
        channel(address, tmp_path).send(notice())
    found = json.loads(receiver.requests[0].body)
    assert "Negative surge on Boeing" in json.dumps(found)
    assert "<!channel>" not in json.dumps(found)
    assert "@everyone" not in json.dumps(found)


@pytest.mark.parametrize("behaviour", [answer(500), answer(403), close, hang])
def test_a_failure_is_tried_again_and_tells_no_secret(
    behaviour, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with receiving(behaviour) as receiver, pytest.raises(Retry) as retry:
        channel(json_address(receiver.url), tmp_path).send(notice())
    printed = "".join(capfd.readouterr())
    assert SECRET not in str(retry.value) + printed


def test_no_redirect_is_followed(tmp_path: Path) -> None:
    with receiving() as elsewhere:
        with (
            receiving(answer(302, Location=elsewhere.url)) as receiver,
            pytest.raises(Retry),
        ):
            channel(json_address(receiver.url), tmp_path).send(notice())
        assert elsewhere.requests == []


@pytest.fixture
def logged() -> Iterator[StringIO]:
    """All that reaches the root's handlers, which `caplog` sees of more loggers than these do."""
    handler = logging.StreamHandler(StringIO())
    logging.getLogger().addHandler(handler)
    yield handler.stream
    logging.getLogger().removeHandler(handler)


@pytest.mark.parametrize(
    "address", [f"nothing://{SECRET}", SECRET, f"json://a/{SECRET} json://b/{SECRET}"]
)
def test_a_bad_address_is_found_at_the_start_and_not_repeated(
    address: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], logged: StringIO
) -> None:
    with pytest.raises(ConfigurationError) as error:
        channel(address, tmp_path)
    assert SECRET not in str(error.value) + "".join(capfd.readouterr()) + logged.getvalue()
