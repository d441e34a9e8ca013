import errno
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.errors import SpillError
from connectors.message import Message
from connectors.sorting import Aside, sorted_messages

START = datetime(2020, 1, 1, tzinfo=UTC)


def message(microseconds: int, name: str, text: str = "a") -> Message:
    at = START + timedelta(microseconds=microseconds)
    return Message(id=name, source="feed", published_at=at, text=text, entities=("AAPL",))


places = st.tuples(st.integers(0, 3), st.sampled_from("abc"))


@given(st.lists(places, max_size=40), st.integers(1, 50))
def test_spilled_or_not_the_order_is_that_of_a_stable_sort(
    places: list[tuple[int, str]], chunk: int
) -> None:
    # The text tells copies of one id apart: the first in the file must stay the first.
    messages = [message(at, name, f"{index} ü") for index, (at, name) in enumerate(places)]
    with sorted_messages(iter(messages), chunk_messages=chunk) as ordered:
        assert list(ordered) == sorted(messages, key=lambda m: (m.published_at, m.id))


def test_long_texts_are_spilled_by_their_size(tmp_path: Path) -> None:
    messages = [message(9 - number, "a", "x" * 200_000) for number in range(10)]
    with sorted_messages(messages, directory=tmp_path, chunk_bytes=500_000) as ordered:
        assert list(ordered) == messages[::-1]


@given(st.lists(st.text(max_size=9), max_size=25), st.integers(1, 9))
def test_what_is_put_aside_comes_back_in_its_order_as_often_as_wanted(
    names: list[str], held: int
) -> None:
    records = [message(0, name) for name in names]
    with mock.patch("connectors.sorting._HELD", held), Aside(Message) as aside:
        for record in records:
            aside.add(record)
        assert list(aside) == list(aside) == records


def test_the_spill_has_no_name_that_could_stay_behind(tmp_path: Path) -> None:
    messages = [message(9 - number, "a") for number in range(10)]
    with sorted_messages(messages, directory=tmp_path, chunk_messages=2) as ordered:
        next(ordered)
        assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_said() -> None:
    with (
        pytest.raises(SpillError, match="temporary files in /proc"),
        sorted_messages([message(0, "a")], directory="/proc", chunk_messages=1),
    ):
        pass


def test_a_full_disk_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        def write(self, _: bytes) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

        def close(self) -> None:
            pass

    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: Full())
    with (
        pytest.raises(SpillError, match=r"No space left on device.*TMPDIR"),
        sorted_messages([message(0, "a")], directory=tmp_path, chunk_messages=1),
    ):
        pass


def test_an_error_of_the_source_passes_through() -> None:
    def source() -> Iterator[Message]:
        yield message(0, "a")
        raise ValueError("from the source")

    with pytest.raises(ValueError, match="from the source"), sorted_messages(source()):
        pass


MEMORY_SCRIPT = """
import resource, sys
from datetime import UTC, datetime, timedelta
from connectors.message import Message
from connectors.sorting import sorted_messages
start = datetime(2020, 1, 1, tzinfo=UTC)
def messages(count):
    for n in range(count):
        at = start + timedelta(seconds=(n * 7919) % count)
        yield Message(id=str(n), source="feed", published_at=at, text="text " * 40 + str(n))
with sorted_messages(messages(int(sys.argv[1])), chunk_messages=2_000) as ordered:
    assert sum(1 for _ in ordered) == int(sys.argv[1])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def peak_kilobytes(count: int) -> int:
    command = [sys.executable, "-c", MEMORY_SCRIPT, str(count)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def test_memory_does_not_grow_with_the_number_of_messages() -> None:
    assert peak_kilobytes(60_000) < peak_kilobytes(4_000) + 10_000
