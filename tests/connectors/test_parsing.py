import json
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.errors import MappingError, Rejected
from connectors.message import Message
from connectors.parsing import RECORD_LIMIT, MessageParser, decode_json, mapping_of

AT = datetime(2020, 1, 2, 3, 4, 5, tzinfo=UTC)


def parsed(record: dict[str, object], **options: object) -> Message:
    parser = MessageParser(source="feed", **options)  # type: ignore[arg-type]
    return parser.parse({"created_at": "2020-01-02T03:04:05Z"} | record)


def rejection(record: dict[str, object]) -> Rejected:
    with pytest.raises(Rejected) as caught:
        MessageParser(source="feed").parse(record)
    return caught.value


@pytest.mark.parametrize(
    "column",
    ["created_at", "published_at", "timestamp", "date", "published", "time", "created_utc", "Date"],
)
def test_the_usual_columns_of_time_are_understood(column: str) -> None:
    message = MessageParser(source="feed").parse({column: "2020-01-02T03:04:05Z", "text": "a"})
    assert message.published_at == AT


@pytest.mark.parametrize(
    "column", ["text", "body", "content", "tweet", "message", "sentence", "title", "headline"]
)
def test_the_usual_columns_of_text_are_understood_and_a_title_alone_is_the_text(
    column: str,
) -> None:
    message = parsed({column: " Profits fall "})
    assert (message.title, message.text) == (None, "Profits fall")


def test_all_fields_of_a_record() -> None:
    message = parsed(
        {
            "id": 7,
            "title": "Apple falls",
            "body": "Shares of Apple fell.",
            "symbols": ["$aapl", "MSFT", "AAPL"],
            "link": "https://example.org/7",
            "lang": "en",
            "source": "wire",
            "author": "jane",
            "other": {"kept": False},
        },
        author_key=b"key",
    )
    assert message == Message(
        id="wire:7",
        source="wire",
        published_at=AT,
        title="Apple falls",
        text="Shares of Apple fell.",
        url="https://example.org/7",
        language="en",
        entities=("AAPL", "MSFT"),
        author_hash=message.author_hash,
    )
    assert message.author_hash
    assert "jane" not in message.author_hash


@pytest.mark.parametrize(
    "value",
    [
        "AAPL, MSFT",
        "$AAPL $MSFT",
        "aapl;msft",
        "['AAPL', 'MSFT']",
        ["AAPL", "MSFT"],
        [{"symbol": "AAPL"}, {"symbol": "MSFT"}],
        {"symbols": [{"text": "aapl"}, {"text": "msft"}]},
    ],
)
def test_tickers_are_understood_however_they_are_listed(value: object) -> None:
    assert parsed({"text": "a", "entities": value}).entities == ("AAPL", "MSFT")


def test_an_author_without_a_key_is_dropped_and_another_key_gives_another_hash() -> None:
    record: dict[str, object] = {"text": "a", "user": {"id_str": "12", "screen_name": "jane"}}
    assert parsed(record).author_hash is None
    one, two = (parsed(record, author_key=key).author_hash for key in (b"one", b"two"))
    assert one != two


def test_a_mapping_replaces_the_names_understood_by_default() -> None:
    record: dict[str, object] = {"text": "processed", "original": "Original", "Key": "9"}
    message = parsed(record, mapping={"text": "original", "id": "Key"})
    assert (message.text, message.id) == ("Original", "feed:9")


def test_an_empty_value_gives_way_to_the_next_column() -> None:
    assert parsed({"text": "  ", "body": None, "content": "Content"}).text == "Content"


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({"date": 1}, "missing-text"),
        ({"date": 1, "text": "", "title": None}, "missing-text"),
        ({"text": "a"}, "missing-time"),
        ({"text": "a", "date": None}, "missing-time"),
        ({"text": "a", "date": "2021-02-30"}, "impossible-time"),
        ({"text": "a", "date": []}, "impossible-time"),
        ({"text": "a\0b", "date": 1}, "nul"),
        ({"text": "a", "id": "a\0b", "date": 1}, "nul"),
        ({"text": "half \ud83d", "date": 1}, "wrong-encoding"),
        ({"text": 5, "date": 1}, "wrong-type"),
        ({"text": ["a"], "date": 1}, "wrong-type"),
        ({"text": "a", "id": 1.5, "date": 1}, "wrong-type"),
        ({"text": "a", "id": True, "date": 1}, "wrong-type"),
        ({"text": "a", "symbols": 5, "date": 1}, "wrong-type"),
        ({"text": "a", "symbols": [None], "date": 1}, "wrong-type"),
        ({"text": "a", "url": {}, "date": 1}, "wrong-type"),
    ],
)
def test_a_bad_record_is_rejected_with_its_reason(record: dict[str, object], reason: str) -> None:
    assert rejection(record).reason == reason


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "invalid-json"),
        (b"{", "invalid-json"),
        (b'{"a": NaN}', "invalid-json"),
        (b'{"a": 1} {"b": 2}', "invalid-json"),
        (b'{"a": "\\ud800"}', "invalid-json"),
        (b'{"a": ' + b"[" * 100_000, "invalid-json"),
        (b'{"a": ' + b"9" * 6_000 + b"}", "invalid-json"),
        (b'{"a": "\xff"}', "wrong-encoding"),
        (b"[1]", "not-an-object"),
        (b"null", "not-an-object"),
        (b'"' + b"a" * RECORD_LIMIT + b'"', "too-large"),
    ],
)
def test_what_is_no_json_object_is_rejected_with_its_reason(payload: bytes, reason: str) -> None:
    with pytest.raises(Rejected) as caught:
        decode_json(payload)
    assert caught.value.reason == reason


def test_mappings_as_written_on_the_command_line() -> None:
    assert mapping_of(["text=original", "time = when"]) == {"text": "original", "time": "when"}
    for pairs in (["text"], ["=a"], ["text="], ["text=a", "text=b"]):
        with pytest.raises(MappingError):
            mapping_of(pairs)
    with pytest.raises(MappingError, match=r"no field 'txt'.*text"):
        MessageParser(source="feed", mapping={"txt": "a"})


def test_times_without_a_zone_are_counted() -> None:
    parser = MessageParser(source="feed")
    for at in ("2020-01-01", "2020-01-01 10:00", "2020-01-01T10:00Z", 1577836800):
        parser.parse({"date": at, "text": "a"})
    assert parser.naive_times == 2


def test_records_with_ever_new_columns_do_not_fill_the_memory() -> None:
    parser = MessageParser(source="feed")
    for number in range(3_000):
        parser.parse({"date": 1, "text": "a", f"extra{number}": 1})
    assert len(parser._layouts) <= 1_000


def test_the_id_is_native_where_there_is_one_and_else_follows_the_content() -> None:
    assert parsed({"text": "a", "id_str": "9007199254740993"}).id == "feed:9007199254740993"
    assert parsed({"text": "a", "id": 12.0}).id == "feed:12"
    assert len(parsed({"text": "a", "guid": "https://example.org/" + "x" * 999}).id) < 60
    same = {parsed({"text": text}).id for text in ("Café opens", " Cafe\u0301  opens\n")}
    assert len(same) == 1
    first = parsed({"text": "a", "ticker": "X"})
    for other in ({"text": "b", "ticker": "X"}, {"text": "a", "ticker": "Y"}):
        assert parsed({**other}).id != first.id
    assert parsed({"text": "a", "ticker": "X", "created_at": "2020-01-02"}).id != first.id


def test_ids_do_not_change_between_versions() -> None:
    assert parsed({"text": "Profits fall"}).id == "feed:8a1275545d757e693756de6af8378963"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
columns = st.sampled_from(
    ["text", "title", "date", "created_at", "id", "symbols", "entities", "source", "url", "user"]
)


@given(st.dictionaries(columns, json_values | st.just("2020-01-01")))
def test_any_record_becomes_a_message_that_can_be_stored_or_is_rejected(
    record: dict[str, object],
) -> None:
    try:
        message = MessageParser(source="feed", author_key=b"key").parse(record)
    except Rejected:
        return
    assert message.text
    assert "\0" not in message.text + message.id + message.source + "".join(message.entities)
    assert msgspec.json.decode(msgspec.json.encode(message), type=Message) == message


@given(st.binary() | json_values.map(lambda value: json.dumps(value).encode()))
def test_any_payload_is_an_object_or_is_rejected(payload: bytes) -> None:
    try:
        assert isinstance(decode_json(payload), dict)
    except Rejected as error:
        reason = error.reason
    else:
        reason = "none"
    assert reason in {"none", "invalid-json", "wrong-encoding", "not-an-object"}
