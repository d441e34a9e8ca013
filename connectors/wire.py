"""A `Message` as JSON between programs: what `foreshock produce` writes and a topic may hold."""

from collections.abc import Mapping

import msgspec

from connectors.errors import Rejected
from connectors.message import Message
from connectors.parsing import RECORD_LIMIT, storable
from connectors.times import EARLIEST, LATEST

_SCHEMA = 1
_BEGINNING = b'{"schema":1,'
_decode = msgspec.json.Decoder(Message).decode
_NEEDED = ("id", "source", "published_at", "text")


def encode_message(message: Message) -> bytes:
    """JSON of the schema `message.v1`, without the fields that are empty."""
    fields = msgspec.structs.asdict(message)
    return msgspec.json.encode({name: value for name, value in fields.items() if value is not None})


def read_message(payload: bytes) -> Message | None:
    """The message in JSON as `encode_message` writes it, in one go; None for what needs a closer
    look, whatever it is."""
    # Only an escape can stand for what no store holds: a NUL, half of a surrogate pair.
    if len(payload) > RECORD_LIMIT or not payload.startswith(_BEGINNING) or b"\\u" in payload:
        return None
    try:
        message = _decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    at = message.published_at
    whole = (
        message.schema == _SCHEMA
        and message.id.startswith(f"{message.source}:")
        and message.text.strip()
        and at.tzinfo is not None
        and EARLIEST <= at < LATEST
    )
    return message if whole else None


def is_message(record: Mapping[str, object]) -> bool:
    """Whether `record` follows the schema of `Message`, and is not just any record with an id."""
    if record.get("schema") != _SCHEMA or any(name not in record for name in _NEEDED):
        return False
    return str(record["id"]).startswith(f"{record['source']}:")


def decode_message(record: Mapping[str, object]) -> Message:
    """The message that a record of the schema holds; raises Rejected."""
    try:
        message = msgspec.convert(record, Message)
    except msgspec.ValidationError as error:
        raise Rejected("wrong-schema", f"the record is no message.v1: {error}") from error
    for name in ("id", "source", "title", "text", "url", "language", "author_hash"):
        if (value := getattr(message, name)) is not None:
            storable(value, name)
    for entity in message.entities:
        storable(entity, "entities")
    if not message.text.strip():
        raise Rejected("missing-text", "the record has no text")
    at = message.published_at
    if at.tzinfo is None or not EARLIEST <= at < LATEST:
        raise Rejected("impossible-time", f"'published_at' is no time in UTC since 1970: {at}")
    return message
