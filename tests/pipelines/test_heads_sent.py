"""Signed heads of the ledger reach who keeps them, at intervals and at the end of a run."""

import json
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from alerting.channels.settings import KafkaTopicSettings, WebhookSettings
from alerting.channels.signature import check as check_request
from alerting.channels.signature import key_of
from alerting.decisions import Comment
from alerting.errors import LedgerError
from alerting.heads import Head, HeadSettings, check, generate, load_public, read_heads
from connectors.kafka.settings import KafkaSettings
from connectors.store import Store
from pipelines.alerting.beside import beside
from pipelines.alerting.heads import HeadNotSent, HeadSender
from pipelines.audit import prove
from pipelines.command.main import run
from pipelines.configuration import Configuration, ConfigurationError, load_configuration
from pipelines.recording import record_decision
from tests.pipelines.ledgers import CLOCK, changes, stored
from tests.servers.kafka import read
from tests.servers.webhooks import answer, receiving

SECRET = "a secret of the desk"


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    with Store.open(store_url) as store:
        stored(store)
        yield store


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    return generate(tmp_path / "keys")


def sender(store: Store, **sections: Any) -> HeadSender:
    found = HeadSender.configured(store, Configuration(**sections))
    assert found is not None
    return found


def comment(store: Store) -> None:
    with store.transaction() as tx:
        record_decision(tx, changes()[0].alert_id, Comment("hm"), actor="jane", now=CLOCK)


def test_a_file_holds_every_head_and_the_chain_must_run_through_all(
    store: Store, keys: tuple[Path, Path], tmp_path: Path
) -> None:
    file = tmp_path / "heads.jsonl"
    one = sender(store, heads=HeadSettings(key_file=keys[0], file=file))
    one.send()
    comment(store)
    one.send()
    heads = read_heads(file)
    assert [head.sequence for head in heads] == [4, 5]
    assert [check(head, load_public(keys[1])) for head in heads] == [None, None]
    assert prove(store, heads, signed=True).unproved == []


def test_a_webhook_gets_the_head_signed_twice(
    store: Store, keys: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORESHOCK_CHANNEL_KEEPER_SECRET", SECRET)
    with receiving() as receiver:
        one = sender(
            store,
            channels={"keeper": WebhookSettings(url=receiver.url)},
            heads=HeadSettings(key_file=keys[0], channels=("keeper",)),
        )
        head = one.send()
        (request,) = receiver.requests
    check_request(key_of(SECRET), request.headers, request.body, datetime.now(UTC))
    assert msgspec.json.decode(request.body, type=Head) == head
    assert request.key == head.id
    assert check(head, load_public(keys[1])) is None


def test_a_topic_gets_the_head(
    store: Store, keys: tuple[Path, Path], kafka_settings: KafkaSettings, topic: str
) -> None:
    one = sender(
        store,
        kafka=kafka_settings,
        channels={"keeper": KafkaTopicSettings(topic=topic)},
        heads=HeadSettings(key_file=keys[0], channels=("keeper",)),
    )
    head = one.send()
    (record,) = read(kafka_settings, topic)
    assert msgspec.json.decode(record.value or b"", type=Head) == head
    assert dict(record.headers)["schema"] == b"head.v1"


def test_whom_a_head_did_not_reach_is_named_and_the_others_have_it(
    store: Store, keys: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORESHOCK_CHANNEL_KEEPER_SECRET", SECRET)
    with receiving(answer(500)) as receiver:
        one = sender(
            store,
            channels={"keeper": WebhookSettings(url=receiver.url)},
            heads=HeadSettings(key_file=keys[0], file=tmp_path / "heads", channels=("keeper",)),
        )
        with pytest.raises(HeadNotSent, match=r"did not reach keeper: 127\.0\.0\.1:\d+ answered"):
            one.send()
    assert len(read_heads(tmp_path / "heads")) == 1


def test_heads_go_out_at_intervals_and_again_to_whom_one_did_not_reach(
    store: Store, keys: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORESHOCK_CHANNEL_KEEPER_SECRET", SECRET)
    taken, stop = threading.Event(), threading.Event()

    def behaviour(handler: Any) -> None:
        count = len(handler.receiver.requests)
        if count == 2:
            comment(store)
        if count == 4:
            taken.set()
        answer(500 if count == 1 else 200)(handler)

    with receiving(behaviour) as receiver:
        one = sender(
            store,
            channels={"keeper": WebhookSettings(url=receiver.url)},
            heads=HeadSettings(key_file=keys[0], minutes=0.001, channels=("keeper",)),
        )
        with beside(one.run, stop, "heads"):
            assert taken.wait(60)
        sequences = [request.notice["sequence"] for request in receiver.requests]
    assert sequences[:4] == [4, 4, 5, 5]
    assert not stop.is_set()


def test_no_head_goes_out_of_a_broken_chain(
    keys: tuple[Path, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Store.open(tmp_path / "store.db") as store:
        stored(store)
        with store.engine.begin() as connection:
            connection.exec_driver_sql("DROP TRIGGER alert_events_no_update")
            connection.exec_driver_sql("UPDATE alert_events SET actor = 'x' WHERE sequence = 2")
        one = sender(store, heads=HeadSettings(key_file=keys[0], file=tmp_path / "heads"))
        with pytest.raises(LedgerError, match="broken at row 2"):
            one.send()
        ended = threading.Event()
        monitored = threading.Thread(target=one.run, args=(ended,))
        monitored.start()
        deadline = time.monotonic() + 60
        while "broken at row 2" not in caplog.text:
            assert monitored.is_alive()
            assert time.monotonic() < deadline
            ended.wait(0.01)
        ended.set()
        monitored.join()
    assert not (tmp_path / "heads").exists()


@pytest.mark.parametrize("verb", ["alerts run --once", "replay few.jsonl"])
def test_a_run_ends_with_a_head_of_all_it_wrote(
    verb: str,
    keys: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    row = {"id": "1", "created_at": "2014-01-01T09:00:00Z", "text": "Profit falls"}
    Path("few.jsonl").write_text(f"{json.dumps(row)}\n", encoding="utf-8")
    database, file = f"sqlite:///{tmp_path}/store.db", tmp_path / "heads.jsonl"
    with Store.open(database) as store:
        stored(store)
    config = tmp_path / "foreshock.toml"
    config.write_text(f'[heads]\nkey_file = "{keys[0]}"\nfile = "{file}"\n', encoding="utf-8")
    words = (*verb.split(), "--database", database, "--config", str(config))
    monkeypatch.setattr(sys, "argv", ["foreshock", *words])
    with pytest.raises(SystemExit) as ended:
        run()
    assert not ended.value.code, capsys.readouterr().err
    with Store.open(database) as store:
        proof = prove(store, read_heads(file), signed=True)
        assert (proof.holds, proof.unproved) == (True, [])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('file = "heads"', "heads.key_file is not set"),
        ('key_file = "k"\nminutes = 0', "heads.minutes is 0"),
        ('key_file = "k"\nchannels = ["nobody"]', "heads.channels names 'nobody'"),
        ('key_file = "k"\nchannels = ["mail"]', "of the kind webhook or kafka"),
    ],
)
def test_what_cannot_be_is_refused_at_the_start(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "foreshock.toml"
    mail = '[channels.mail]\nkind = "email"\nhost = "h"\nsender = "a@example.org"\n'
    path.write_text(f"{mail}[heads]\n{text}\n", encoding="utf-8")
    with pytest.raises(ConfigurationError, match=said):
        load_configuration(path)
