"""Slices: every message in exactly one, in order, whatever the limits."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from connectors.message import Message
from pipelines.slices import cut

START = datetime(2014, 1, 30, tzinfo=UTC)


def messages(count: int) -> list[Message]:
    return [
        Message(
            id=f"test:{number}",
            source="test",
            published_at=START + timedelta(seconds=number),
            text="x" * (number % 7),
        )
        for number in range(count)
    ]


@given(count=st.integers(0, 50), most=st.integers(1, 20), characters=st.integers(1, 40))
def test_every_message_is_in_one_slice_and_only_the_last_says_so(
    count: int, most: int, characters: int
) -> None:
    whole = messages(count)
    parts = list(cut(whole, most_messages=most, most_characters=characters))
    assert [message for part in parts for message in part.messages] == whole
    assert [part.last for part in parts] == [False] * (len(parts) - 1) + [True] * bool(parts)
    assert all(len(part.messages) <= most for part in parts)
    assert [part.number for part in parts] == list(range(len(parts)))
    assert all(whole[part.position] == part.messages[0] for part in parts)


def test_a_resumed_run_numbers_its_slices_on() -> None:
    (part,) = cut(messages(3), most_messages=9, most_characters=99, number=4, position=40)
    assert (part.number, part.position, part.last) == (4, 40, True)
