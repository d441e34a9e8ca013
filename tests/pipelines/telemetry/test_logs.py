"""What comes out at standard error, whoever logged it."""

import json
import logging
import subprocess
import sys
import unicodedata
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connectors.errors import StoreError
from pipelines.configuration import load_configuration
from pipelines.telemetry.logs import HIDDEN, configure
from pipelines.telemetry.settings import LogSettings

TWEET = "Boeing shares plunge as regulators ground the fleet"


def entry(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    (line,) = capsys.readouterr().err.splitlines()
    found: dict[str, Any] = json.loads(line)
    return found


def test_an_entry_is_one_object_with_time_level_place_and_facts(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORESHOCK_PART", "worker")
    configure(LogSettings(format="json"))
    logging.getLogger("pipelines.x").info("read %d", 3, extra={"message_id": "a:1", "late": False})
    found = entry(capsys)
    assert found.pop("timestamp").endswith("Z")
    assert found.pop("process")
    assert found == {
        "event": "read 3",
        "level": "info",
        "logger": "pipelines.x",
        "message_id": "a:1",
        "late": False,
        "part": "worker",
    }


def test_people_read_the_same_as_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    configure(LogSettings())
    logging.getLogger("a_library").warning("away", extra={"seconds": 2.5})
    logging.getLogger("a_library").info("a library's affair")
    logging.getLogger("pipelines.x").debug("not asked for")
    (line,) = capsys.readouterr().err.splitlines()
    assert "[warning" in line
    assert "away" in line
    assert "seconds=2.5" in line


@pytest.mark.parametrize(
    "said",
    [
        "connecting to postgresql://mood:pa55word-x@db/mood",
        "password=pa55word-x",
        'headers {"Authorization": "Bearer pa55word-x"}',
        "api_key: pa55word-x, done",
        "X-Token = 'pa55word-x'",
        "it said that pa55word-x is wrong",
    ],
)
def test_secrets_are_hidden_wherever_they_stand(
    said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORESHOCK_CHANNEL_DESK_SECRET", "pa55word-x")
    configure(LogSettings(format="json"))
    logging.getLogger("any").warning(said, extra={"client_secret": "other", "hints": [said]})
    text = capsys.readouterr().err
    assert "pa55word-x" not in text
    assert "other" not in text
    assert HIDDEN in text


def test_where_a_store_is_may_be_told(capsys: pytest.CaptureFixture[str]) -> None:
    configure(LogSettings(format="json"))
    where = "postgresql://mood@/mood?host=/run"
    logging.getLogger("any").warning(where)
    assert entry(capsys)["event"] == where


def test_texts_of_messages_are_hidden(capsys: pytest.CaptureFixture[str]) -> None:
    configure(LogSettings(format="json"))
    logging.getLogger("any").warning("seen", extra={"text": TWEET, "payload": TWEET.encode()})
    assert "Boeing" not in capsys.readouterr().err


@pytest.mark.parametrize("form", ["console", "json"])
def test_of_an_error_that_is_not_ours_kind_and_place_are_told(
    form: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    configure(LogSettings(format=form))
    try:
        try:
            raise KeyError(TWEET)
        except KeyError as error:
            said = f"the store is read-only: give the role its rights DETAIL: Row is ({TWEET})"
            raise StoreError(said) from error
    except StoreError as error:
        # As Beam does, which logs an error as a text, too.
        logging.getLogger("any").exception("%s [while running 'Store']", error.__cause__)
    text = capsys.readouterr().err
    assert "Boeing" not in text
    assert "KeyError" in text
    assert "test_logs.py" in text
    assert "StoreError: the store is read-only: give the role its rights" in text


def test_of_a_trace_within_a_text_the_words_are_left_out(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """As Beam logs what a step raised."""
    configure(LogSettings(format="json"))
    trace = (
        "Error processing instruction 7. Original traceback is\n"
        "Traceback (most recent call last):\n"
        '  File "/x/store.py", line 3, in write\n'
        f"    insert({TWEET!r})\n"
        f"psycopg.errors.UniqueViolation: {TWEET}\n"
        f"{TWEET}\nBoeing: {TWEET}\n"
        "RuntimeError: again [while running 'Store']\n"
    )
    logging.getLogger("apache_beam").error("%s", trace)
    said = entry(capsys)["event"]
    assert "Boeing" not in said
    for kept in ("instruction 7", "store.py", "psycopg.errors.UniqueViolation", "RuntimeError"):
        assert kept in said


@pytest.mark.parametrize("form", ["console", "json"])
@given(text=st.text(max_size=40))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
def test_nothing_drives_a_terminal_or_makes_a_line_of_its_own(
    form: Any, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    configure(LogSettings(format=form))
    capsys.readouterr()
    hostile = f"\x1b[2J{text}\r\n2026-01-01T00:00:00Z [info] all is well\u202e"
    logging.getLogger("any").warning("%s", hostile, extra={"message_id": hostile})
    out = capsys.readouterr().err
    assert out.count("\n") == 1
    assert not [c for c in out[:-1] if unicodedata.category(c) in ("Cc", "Cf", "Cs")]


def test_a_process_that_is_started_logs_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORESHOCK_LOGS__FORMAT", "json")
    monkeypatch.setenv("FORESHOCK_LOGS__LEVEL", "debug")
    configure(load_configuration().logs)
    program = (
        "import logging; from pipelines.telemetry.logs import configure_as_started as start; "
        "start(); logging.getLogger('pipelines.x').debug('here')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stderr)["event"] == "here"


def test_how_is_logged_changes_no_row(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = load_configuration().meaning()
    monkeypatch.setenv("FORESHOCK_LOGS__LEVEL", "debug")
    assert load_configuration().meaning() == plain
