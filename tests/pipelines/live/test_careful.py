"""A text that kills the worker costs that text; a worker killed at random costs none."""

import json
import multiprocessing
import os
import signal
from collections.abc import Sequence
from pathlib import Path

import pytest

from connectors.dead_letter import DeadLetter
from connectors.message import Message
from models.entities import Recogniser
from models.tagger import Tagger
from pipelines.configuration import TagSettings
from pipelines.live.careful import CarefulTagging
from pipelines.records import Tagged
from pipelines.tagging import Result, tag_messages
from tests.pipelines.test_tag import message

POISON = "the text that kills"


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FORESHOCK_CACHE", str(tmp_path))
    return tmp_path


def kills(messages: Sequence[Message], tagger: Tagger, recogniser: Recogniser) -> list[Result]:
    if any(POISON in one.text for one in messages):
        os.kill(os.getpid(), signal.SIGKILL)
    return tag_messages(messages, tagger, recogniser)


def work(messages: list[Message], results: Path) -> None:
    tagger = TagSettings(cache=0, threads=1).tagger()
    found = CarefulTagging("run", kills)(messages, tagger, Recogniser.default())
    names = [one.message.id if isinstance(one, Tagged) else one.reason for one in found]
    results.write_text(json.dumps(names))


def test_a_text_that_kills_its_worker_three_times_is_put_aside(tmp_path: Path) -> None:
    messages = [message(n, text) for n, text in enumerate(("Oil rises", POISON, "Oil falls"))]
    results = tmp_path / "results.json"
    codes = []
    for _ in range(4):
        worker = multiprocessing.get_context("spawn").Process(target=work, args=(messages, results))
        worker.start()
        worker.join(60)
        codes.append(worker.exitcode)
    assert codes == [-signal.SIGKILL] * 3 + [0]
    assert json.loads(results.read_text()) == ["test:0", "model-failed", "test:2"]


def test_an_error_is_no_crash(tmp_path: Path) -> None:
    def fails(_: Sequence[Message], __: Tagger, ___: Recogniser) -> list[Result]:
        raise RuntimeError("no")

    tagging = CarefulTagging("run", fails)
    tagger, recogniser = TagSettings(cache=0, threads=1).tagger(), Recogniser.default()
    for _ in range(4):
        with pytest.raises(RuntimeError):
            tagging([message(1, "Oil rises")], tagger, recogniser)
    (result,) = CarefulTagging("run")([message(1, "Oil rises")], tagger, recogniser)
    assert isinstance(result, Tagged)


def test_what_a_living_worker_has_under_way_counts_for_nothing(tmp_path: Path) -> None:
    tagger, recogniser = TagSettings(cache=0, threads=1).tagger(), Recogniser.default()

    def looks(messages: Sequence[Message], tagger: Tagger, recogniser: Recogniser) -> list[Result]:
        for _ in range(4):
            (other,) = CarefulTagging("run")(messages, tagger, recogniser)
            assert not isinstance(other, DeadLetter)
        return tag_messages(messages, tagger, recogniser)

    (result,) = CarefulTagging("run", looks)([message(1, "Oil rises")], tagger, recogniser)
    assert isinstance(result, Tagged)
