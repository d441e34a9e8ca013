"""Dead letters driven again: through parsing and tagging into the store, outside the windows.

Their windows were closed without them, so what gets through is a late message: stored, tagged,
listed in `late_messages`, and in no window. Rows of CSV cannot be read without their header.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import msgspec
from sqlalchemy import func, select

from connectors.errors import Rejected
from connectors.lateness import LateMessage
from connectors.message import Message
from connectors.parsing import MessageParser, decode_json
from connectors.store import Store, Transaction
from connectors.store.schema import tags
from connectors.wire import decode_message, is_message
from models.entities import Recogniser
from models.tagger import Tagger
from pipelines.late import store_late
from pipelines.records import Tagged
from pipelines.sources import Parsing
from pipelines.tagging import tag_messages

LATE_REASON = "retried"
_TOGETHER = 500

Letter = Mapping[str, Any]


class StillDead(msgspec.Struct, frozen=True):
    """A dead letter that did not get through, and why."""

    id: str
    reason: str
    error: str


class RetryResult(msgspec.Struct):
    """tried = stored + duplicates + the number of `failed`."""

    tried: int = 0
    stored: int = 0
    duplicates: int = 0
    failed: list[StillDead] = []


def retry(
    store: Store,
    letters: Iterable[Letter],
    tagger: Tagger,
    parsing: Parsing,
    author_key: bytes | None,
) -> RetryResult:
    """Drives rows of `dead_letters` again; those that get through are marked `retried_at`.

    `parsing` may map fields that had unusual names. Raises StoreError.
    """
    result = RetryResult()
    for part in _parts(letters):
        read: dict[str, Message] = {}
        for letter in part:
            result.tried += 1
            try:
                read[letter["id"]] = _message(letter, parsing, author_key)
            except Rejected as error:
                result.failed.append(StillDead(letter["id"], error.reason, str(error)))
        found = tag_messages(list(read.values()), tagger, Recogniser.default())
        tagged: dict[str, Tagged] = {}
        for letter_id, one in zip(read, found, strict=True):
            if isinstance(one, Tagged):
                tagged[letter_id] = one
            else:
                result.failed.append(StillDead(letter_id, one.reason, one.error))
        with store.transaction() as tx:
            stored = _store(tx, list(tagged.values()))
            tx.mark_retried(tagged, datetime.now(UTC))
        result.stored += stored
        result.duplicates += len(tagged) - stored
    return result


def _message(letter: Letter, parsing: Parsing, author_key: bytes | None) -> Message:
    payload: bytes = letter["payload"]
    if letter["payload_size"] > len(payload):
        raise Rejected(
            "incomplete",
            f"only {len(payload)} of {letter['payload_size']} bytes were kept: mend it at its "
            "source and replay that",
        )
    record = decode_json(payload)
    if is_message(record):
        message = decode_message(record)
    else:
        parser = MessageParser(
            source=parsing.source or letter["source"],
            mapping=parsing.mapping,
            author_key=author_key,
        )
        message = parser.parse(record)
    places = {name: letter[name] for name in ("topic", "partition", "offset")}
    return msgspec.structs.replace(message, **places)


def _store(tx: Transaction, results: Sequence[Tagged]) -> int:
    """Stores what is not there yet; returns how many were new."""
    (end,) = tx.rows(select(func.max(tags.c.published_at).label("frontier")))
    late = [
        (LateMessage(one.message, end["frontier"] or one.message.published_at, LATE_REASON), one)
        for one in results
    ]
    return store_late(tx, late, None, datetime.now(UTC))


def _parts(letters: Iterable[Letter]) -> Iterator[list[Letter]]:
    source = iter(letters)
    while part := list(islice(source, _TOGETHER)):
        yield part
