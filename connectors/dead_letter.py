"""`DeadLetter`: what could not be processed, with its original bytes and the reason."""

import hashlib

import msgspec

PAYLOAD_LIMIT = 1 << 20
"""Bytes of the original that a dead letter keeps; `payload_size` tells the full size."""


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """One message put aside.

    `reason` is a short class such as `invalid-json`, `error` a sentence for people, `stage` the
    step that gave up. `line` counts from 1 in a file; `topic`, `partition` and `offset` are the
    coordinates in Kafka.
    """

    schema: int = 1
    id: str
    source: str
    stage: str
    reason: str
    error: str
    payload: bytes
    payload_size: int
    line: int | None = None
    topic: str | None = None
    partition: int | None = None
    offset: int | None = None


def dead_letter(
    *,
    source: str,
    stage: str,
    reason: str,
    error: str,
    payload: bytes,
    payload_size: int | None = None,
    line: int | None = None,
    topic: str | None = None,
    partition: int | None = None,
    offset: int | None = None,
) -> DeadLetter:
    """A dead letter whose id is a function of source, coordinates and payload alone.

    `payload_size` is the full size where `payload` is already cut.
    """
    kept = payload[:PAYLOAD_LIMIT]
    coordinates = msgspec.json.encode((source, line, topic, partition, offset))
    return DeadLetter(
        id=hashlib.sha256(coordinates + kept).hexdigest()[:32],
        source=source,
        stage=stage,
        reason=reason,
        error=error,
        payload=kept,
        payload_size=len(payload) if payload_size is None else payload_size,
        line=line,
        topic=topic,
        partition=partition,
        offset=offset,
    )
