"""`Message`: one news item or post as it came in, and the rules of its `id`."""

import hashlib
import unicodedata
from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec

NATIVE_ID_LIMIT = 256
"""Longer native ids (some feeds use whole URLs) are hashed: ids are keys of every table."""


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """One message. Times are aware UTC with microseconds.

    `published_at` is the event time. `entities` are tickers given by the source, upper case,
    without `$`. `topic`, `partition` and `offset` are Kafka coordinates, None for files.
    """

    schema: int = 1
    id: str
    source: str
    published_at: datetime
    received_at: datetime | None = None
    title: str | None = None
    text: str
    url: str | None = None
    language: str | None = None
    entities: tuple[str, ...] = ()
    author_hash: str | None = None
    topic: str | None = None
    partition: int | None = None
    offset: int | None = None


def native_id(source: str, native: str) -> str:
    """The id of a message that its source has named: `source:native`."""
    if len(native) > NATIVE_ID_LIMIT:
        native = hashlib.sha256(native.encode()).hexdigest()[:32]
    return f"{source}:{native}"


def content_id(
    source: str,
    published_at: datetime,
    title: str | None,
    text: str,
    url: str | None,
    entities: Sequence[str],
) -> str:
    """The id of a message without a name of its own: `source:` + 128 bits of SHA-256.

    Time, title, text, link and tickers count; white space and Unicode composition do not. So the
    same item has the same id however often it is fetched, while one headline listed once for each
    of its tickers stays as many messages and loses none of them.
    """
    content = (
        published_at.astimezone(UTC),
        _normalised(title or ""),
        _normalised(text),
        url or "",
        sorted(entities),
    )
    digest = hashlib.sha256(msgspec.json.encode(content)).hexdigest()
    return f"{source}:{digest[:32]}"


def _normalised(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).split())
