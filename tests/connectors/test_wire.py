"""A message goes through JSON unchanged; what only looks like one is told apart."""

import json
from datetime import datetime, timedelta, timezone

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.errors import Rejected
from connectors.message import Message
from connectors.parsing import decode_json
from connectors.times import EARLIEST
from connectors.wire import decode_message, encode_message, is_message, read_message

TEXTS = st.text(
    st.characters(exclude_categories=("Cs",), exclude_characters="\0"), min_size=1
).filter(str.strip)
TIMES = st.integers(0, 2**53).map(lambda micros: EARLIEST + timedelta(microseconds=micros))


@given(text=TEXTS, title=st.none() | TEXTS, at=TIMES, entities=st.lists(st.sampled_from("ABC")))
def test_a_message_comes_back_as_it_was(
    text: str, title: str | None, at: datetime, entities: list[str]
) -> None:
    message = Message(
        id="feed:1",
        source="feed",
        published_at=at,
        title=title,
        text=text,
        entities=tuple(entities),
    )
    record = msgspec.json.decode(encode_message(message))
    assert is_message(record)
    assert decode_message(record) == message


ODD_TEXTS = st.sampled_from(
    ["Boeing", "", " ", "a\0b", "\ud83d", "\x07", "né 股票 🚀", '"\\u0041"', "feed:1", "feed"]
)
ODD = st.fixed_dictionaries(
    {
        "schema": st.sampled_from([1, 1, 1, 2, "1", True]),
        "id": st.just("feed:1") | ODD_TEXTS,
        "source": st.just("feed") | ODD_TEXTS,
        "published_at": st.sampled_from(
            ["2024-01-02T03:04:05Z", "2024-01-02T03:04:05+02:00", "2024-01-02T03:04:05", "1969", 5]
        ),
        "text": ODD_TEXTS,
    },
    optional={
        "title": ODD_TEXTS | st.none(),
        "entities": st.lists(ODD_TEXTS, max_size=2) | st.just("BA"),
        "offset": st.sampled_from([3, None, "3"]),
        "other": st.just({}),
    },
)


@given(ODD, st.booleans(), st.booleans())
def test_read_in_one_go_or_looked_at_closely_it_is_the_same(
    fields: dict[str, object], ascii_only: bool, cut: bool
) -> None:
    separators = (",", ":")
    text = json.dumps(fields, ensure_ascii=ascii_only, separators=separators)
    payload = text.encode("utf-8", "surrogatepass")[: -1 if cut else None]
    message = read_message(payload)
    if message is not None:
        closely = decode_json(payload)
        assert is_message(closely)
        assert decode_message(closely) == message


def test_what_is_written_here_is_read_in_one_go() -> None:
    message = Message(id="a:1", source="a", published_at=EARLIEST, text="né 股票 🚀 \n")
    assert read_message(encode_message(message)) == message


def record(**changed: object) -> dict[str, object]:
    fields: dict[str, object] = {
        "schema": 1,
        "id": "feed:1",
        "source": "feed",
        "published_at": "2024-01-02T03:04:05Z",
        "text": "Boeing falls",
    }
    return {**fields, **changed}


@pytest.mark.parametrize(
    "other",
    [record(schema=2), record(id="1"), record(source="else"), {"id": "feed:1", "text": "x"}],
)
def test_records_with_fields_of_their_own_are_no_messages(other: dict[str, object]) -> None:
    assert not is_message(other)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"text": "a\0b"}, "nul"),
        ({"text": " "}, "missing-text"),
        ({"text": 5}, "wrong-schema"),
        ({"published_at": "soon"}, "wrong-schema"),
        ({"published_at": "2024-01-02T03:04:05"}, "impossible-time"),
        ({"published_at": "1900-01-02T03:04:05Z"}, "impossible-time"),
        ({"entities": ["A\0"]}, "nul"),
    ],
)
def test_a_message_that_cannot_be_stored_is_rejected(
    changed: dict[str, object], reason: str
) -> None:
    with pytest.raises(Rejected) as raised:
        decode_message(record(**changed))
    assert raised.value.reason == reason


def test_another_zone_is_the_same_time() -> None:
    at = datetime(2024, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=2)))
    assert decode_message(record(published_at=at.isoformat())).published_at == at
