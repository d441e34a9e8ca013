"""E-mail against a real server, with TLS, and against hostile texts."""

import re
from datetime import UTC
from email import message_from_bytes
from email.policy import default
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerting.channels.bounded import Bounded
from alerting.channels.channel import Refused, Retry
from alerting.channels.mail import Mail, compose
from alerting.channels.settings import MailSettings
from alerting.errors import ConfigurationError
from tests.alerting.channels.notices import LINK, notice
from tests.alerting.test_lifecycle import NOON
from tests.servers import mail as servers
from tests.servers.certificates import certificate
from tests.servers.mail import PASSWORD, USER, Mailbox

SENDER = "Foreshock <alerts@foreshock.example>"


@pytest.fixture
def tls(tmp_path: Path) -> tuple[Path, Path]:
    return certificate(tmp_path)


def channel(box: Mailbox, **settings: Any) -> Mail:
    given = {"host": "127.0.0.1", "port": box.port, "sender": SENDER, "timeout_seconds": 2.0}
    if "ca_file" not in settings:
        given["security"] = "none"
    return Mail.opened("desk", MailSettings(**given | settings))


@pytest.mark.filterwarnings("ignore:Requiring AUTH:UserWarning")  # TLS comes before its time
@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_it_is_sent_encrypted_and_with_a_password(
    security: str, tls: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORESHOCK_CHANNEL_DESK_PASSWORD", PASSWORD)
    with servers.receiving(tls, implicit=security == "tls") as box:
        channel(box, security=security, ca_file=tls[0], user=USER).send(notice())
    (mail,) = box.mails
    assert box.envelopes[0].rcpt_tos == ["compliance@bank.example"]
    assert box.envelopes[0].mail_from == "alerts@foreshock.example"
    assert mail["Message-ID"] == f"<{notice().id}@foreshock.example>"
    assert mail["Date"].datetime.astimezone(UTC) == NOON
    assert [part.get_content_type() for part in mail.iter_parts()] == ["text/plain", "text/html"]


def test_it_is_the_same_at_every_attempt() -> None:
    with servers.receiving() as box:
        channel(box).send(notice())
        channel(box).send(notice())
    assert len({mail["Message-ID"] for mail in box.mails}) == 1


def test_a_server_whose_certificate_is_unknown_gets_nothing(tls: tuple[Path, Path]) -> None:
    other = tls[0].with_name("other")
    other.mkdir()
    with (
        servers.receiving(tls) as box,
        pytest.raises(Retry, match="certificate"),
    ):
        channel(box, security="starttls", ca_file=certificate(other)[0]).send(notice())
    assert box.mails == []


def test_a_server_without_starttls_gets_nothing(tls: tuple[Path, Path]) -> None:
    with servers.receiving() as box, pytest.raises(Retry, match="STARTTLS"):
        channel(box, security="starttls", ca_file=tls[0]).send(notice())
    assert box.mails == []


def test_a_wrong_password_is_tried_again_and_not_told(
    tls: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORESHOCK_CHANNEL_DESK_PASSWORD", "hunter2hunter2")
    with servers.receiving(tls) as box, pytest.raises(Retry, match="535") as retry:
        channel(box, ca_file=tls[0], user=USER).send(notice())
    assert "hunter2" not in str(retry.value)


@pytest.mark.parametrize(
    ("answers", "outcome"),
    [
        ({"recipient": "550 no such \x1b[31m mailbox"}, Refused),
        ({"recipient": "450 grey-listed"}, Retry),
        ({"data": "554 spam"}, Refused),
        ({"data": "451 later"}, Retry),
        ({"recipient": "550 5.7.1 relaying denied"}, Retry),
        ({"silent": True}, Retry),
    ],
)
def test_a_servers_refusal_is_for_now_or_for_good(
    answers: dict[str, Any], outcome: type[Exception]
) -> None:
    with servers.receiving() as box:
        for name, value in answers.items():
            setattr(box, name, value)
        with pytest.raises(outcome) as said:
            channel(box, timeout_seconds=0.3).send(notice())
    assert "\x1b" not in str(said.value)


def test_a_server_that_is_away_is_tried_again() -> None:
    with servers.receiving() as box:
        pass
    with pytest.raises(Retry, match=r"127\.0\.0\.1 cannot be reached"):
        channel(box).send(notice())


def test_a_silent_server_holds_nobody_for_longer_than_allowed() -> None:
    with servers.receiving() as box:
        box.silent = True
        with pytest.raises(Retry, match="did not end within"):
            Bounded(channel(box, timeout_seconds=30.0).send, 0.3).send(notice())


@pytest.mark.parametrize(
    "recipient",
    [
        "desk",
        "a@b, c@d",
        "a@b\r\nBcc: c@d",
        "<a@b>",
        "a@b>\r\nDATA",
        '"a"@b',
        "ä@b.example",
        "",
        "-oQ/tmp@",
    ],
)
def test_a_recipient_that_is_not_one_address_is_refused(recipient: str) -> None:
    with pytest.raises(Refused, match="not an e-mail address"):
        compose(notice(recipient=recipient), MailSettings(host="h", sender=SENDER))


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs


def _holds_nothing_hostile(content: bytes) -> None:
    mail = message_from_bytes(content, policy=default)
    assert set(mail.keys()) == {
        "From",
        "To",
        "Subject",
        "Date",
        "Message-ID",
        "References",
        "Auto-Submitted",
        "X-Auto-Response-Suppress",
        "MIME-Version",
        "Content-Type",
    }
    assert "\x1b" not in mail["Subject"]
    text, page = (part.get_content() for part in mail.iter_parts())
    assert not re.search(r"[\x00-\x08\x0b-\x1f\u202a-\u202e]", text.replace("\r\n", "\n"))
    assert re.findall(r"\w+://\S+", text) == [LINK]
    found = _Page()
    found.feed(page)
    assert not {"script", "img", "b"} & set(found.tags)
    assert {name for name, _ in found.attributes} <= {"style", "lang", "charset", "href"}
    assert [value for name, value in found.attributes if name == "href"] == [LINK]


def test_hostile_texts_do_nothing() -> None:
    _holds_nothing_hostile(compose(notice(), MailSettings(host="h", sender=SENDER)).as_bytes())


@given(st.text(st.characters(exclude_categories=[])))
def test_no_text_at_all_does_anything(text: str) -> None:
    found = notice(title=text, summary=text, route=text)
    _holds_nothing_hostile(compose(found, MailSettings(host="h", sender=SENDER)).as_bytes())


@pytest.mark.parametrize(
    "settings",
    [
        {"sender": "nobody"},
        {"sender": "a@b\r\nBcc: c@d"},
        {"security": "none", "user": "me"},
        {"timeout_seconds": 0.0},
    ],
)
def test_settings_that_cannot_be_are_found_at_the_start(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        MailSettings(**{"host": "h", "sender": SENDER} | settings)
