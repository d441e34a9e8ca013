"""`foreshock alerts deliver` and `deliveries`, with the configuration as a user writes it."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from alerting.channels.settings import MailSettings, WebhookSettings
from connectors.store import Store
from pipelines.alerting.channels import open_channels
from pipelines.command.main import run
from pipelines.configuration import Configuration, ConfigurationError, load_configuration
from tests.pipelines.outboxes import filled, outbox
from tests.servers.webhooks import Receiver, answer, receiving

SECRET = "a key that nobody guesses"


@pytest.fixture
def database(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path}/outbox.db"
    with Store.open(url) as store:
        filled(store, "desk")
    return url


@pytest.fixture
def foreshock(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], database: str
) -> Any:
    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(
            sys, "argv", ["foreshock", "alerts", *arguments, "--database", database]
        )
        with pytest.raises(SystemExit) as ended:
            run()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return call


def configured(tmp_path: Path, receiver: Receiver) -> str:
    (tmp_path / "secret").write_text(SECRET)
    path = tmp_path / "foreshock.toml"
    path.write_text(
        f"""
        [channels.desk]
        kind = "webhook"
        url = "{receiver.url}"
        secret_file = "{tmp_path}/secret"
        """
    )
    return str(path)


def test_what_is_due_is_delivered_once(foreshock: Any, tmp_path: Path, database: str) -> None:
    with receiving() as receiver:
        config = configured(tmp_path, receiver)
        code, said, _ = foreshock("deliver", "--once", "--json", "--config", config)
        again = foreshock("deliver", "--once", "--json", "--config", config)
    assert code == 0
    with Store.open(database) as store:
        asked = set(outbox(store))
    assert {json.loads(line)["delivery_id"] for line in said.splitlines()} == asked
    assert set(receiver.accepted) == asked
    assert set(receiver.accepted.values()) == {1}
    assert again[:2] == (0, "")


def test_the_alert_process_delivers_too(foreshock: Any, tmp_path: Path, database: str) -> None:
    with receiving() as receiver:
        config = configured(tmp_path, receiver)
        code, _, error = foreshock("run", "--once", "--config", config)
    assert code == 0, error
    with Store.open(database) as store:
        assert set(receiver.accepted) == set(outbox(store))


def test_a_failure_is_said_and_listed_and_tried_again(foreshock: Any, tmp_path: Path) -> None:
    with receiving(answer(422, b"\x1b[31mno")) as receiver:
        config = configured(tmp_path, receiver)
        code, said, _ = foreshock("deliver", "--once", "--config", config)
        assert code == 1
        assert "422" in said
        assert "\x1b[31mno" not in said
        listed = json.loads(foreshock("deliveries", "--dead", "--json")[1])
        assert "422" in foreshock("deliveries", "--dead")[1]
        receiver.behaviour = answer(200)
        code, said, _ = foreshock("deliveries", "--retry", listed[0]["id"][:12])
        assert code == 0
        assert foreshock("deliver", "--once", "--config", config)[0] == 0
        code, _, error = foreshock("deliveries", "--retry", listed[0]["id"])
        assert code == 1
        assert "delivered, not dead" in error
    assert listed[0]["id"] in receiver.accepted


def test_a_missing_secret_is_one_sentence(foreshock: Any, tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text('[channels.desk]\nkind = "webhook"\nurl = "https://x.example/"\n')
    code, _, error = foreshock("deliver", "--once", "--config", str(path))
    assert code == 1
    assert "FORESHOCK_CHANNEL_DESK_SECRET" in error
    assert "Traceback" not in error


def test_channels_come_from_the_file_and_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "c.toml"
    path.write_text(
        """
        [delivery]
        attempts = 7
        console = "https://foreshock.example"

        [channels.desk]
        kind = "webhook"
        url = "https://x.example/"

        [channels.mail]
        kind = "email"
        host = "smtp.example"
        sender = "alerts@x.example"
        """
    )
    monkeypatch.setenv("FORESHOCK_CHANNELS__DESK__TIMEOUT_SECONDS", "3")
    found = load_configuration(path)
    assert found.channels == {
        "desk": WebhookSettings(url="https://x.example/", timeout_seconds=3.0),
        "mail": MailSettings(host="smtp.example", sender="alerts@x.example"),
    }
    assert found.delivery.attempts == 7
    assert found.meaning() == Configuration().meaning()


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ('[channels.a]\nkind = "pigeon"', "pigeon"),
        ('[channels.a]\nkind = "kafka"\ntopic = "x"\nfoo = 1', "foo"),
        ('[channels."A b"]\nkind = "apprise"', "name of a channel"),
        ('[channels.a]\nkind = "webhook"\nurl = "nonsense"', "url"),
        ('[channels.a]\nkind = "alertmanager"\nurl = "http://x"\nlabels = {"a b" = "c"}', "a b"),
        ("[delivery]\nattempts = 0", "attempts"),
    ],
)
def test_what_cannot_be_is_found_when_the_file_is_read(
    toml: str, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "c.toml"
    path.write_text(toml)
    with pytest.raises(ConfigurationError, match=said):
        load_configuration(path)


def test_every_kind_of_channel_opens_without_a_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORESHOCK_CHANNEL_A_SECRET", SECRET)
    monkeypatch.setenv("FORESHOCK_CHANNEL_C_URL", "json://127.0.0.1:9/x")
    monkeypatch.setenv("FORESHOCK_CHANNEL_E_TOKEN", "token")
    path = tmp_path / "c.toml"
    path.write_text(
        """
        channels.a = {kind = "webhook", url = "https://x.example/"}
        channels.b = {kind = "email", host = "smtp.example", sender = "alerts@x.example"}
        channels.c = {kind = "apprise"}
        channels.d = {kind = "alertmanager", url = "http://x.example:9093"}
        channels.e = {kind = "grafana", url = "http://x.example:3000/grafana"}
        channels.f = {kind = "kafka", topic = "alerts"}
        """
    )
    found = load_configuration(path)
    assert sorted(open_channels(found.channels, found.delivery, found.kafka)) == list("abcdef")
