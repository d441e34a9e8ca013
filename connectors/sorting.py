"""Messages in order of event time, and records put aside, however many there are.

The order comes from an external merge sort. What does not fit in memory is spilled to one temporary
file. The file has no name (it is unlinked while open), so that a killed process leaves nothing
behind.
"""

import heapq
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import IO, Generic, Self, TypeVar

import msgspec

from connectors.errors import SpillError
from connectors.message import Message

R = TypeVar("R", bound=msgspec.Struct)

_LENGTH_BYTES = 4
_HELD = 100
_READ_BYTES = 1 << 16
_RECORD_OVERHEAD = 1_000
"""Bytes of a message in memory besides its text, about."""


@contextmanager
def sorted_messages(
    messages: Iterable[Message],
    *,
    directory: str | Path | None = None,
    chunk_messages: int = 50_000,
    chunk_bytes: int = 64 << 20,
) -> Iterator[Iterator[Message]]:
    """The messages by (`published_at`, `id`); copies with one id and time keep their order.

    `messages` is consumed when the block is entered. At most `chunk_messages` or about
    `chunk_bytes` of them are held in memory at once; the rest lies in `directory` (the system's
    place for temporary files where None). Raises SpillError where that is full or not writable.
    """
    chunk: list[Message] = []
    size = 0
    spill: _Spill[Message] | None = None
    try:
        for message in messages:
            chunk.append(message)
            size += sys.getsizeof(message.text) + _RECORD_OVERHEAD
            if len(chunk) >= chunk_messages or size >= chunk_bytes:
                spill = spill or _Spill(Message, directory)
                spill.write(sorted(chunk, key=_order))
                chunk.clear()
                size = 0
        chunk.sort(key=_order)
        runs = [*spill.runs(), iter(chunk)] if spill else [iter(chunk)]
        yield heapq.merge(*runs, key=_order)
    finally:
        if spill:
            spill.close()


def _order(message: Message) -> tuple[datetime, str]:
    return message.published_at, message.id


class Aside(Generic[R]):
    """Records of a struct put aside, few of them in memory; iterate for them in their order, as
    often as wanted. A context manager. Raises SpillError as `sorted_messages` does."""

    def __init__(self, kind: type[R], directory: str | Path | None = None) -> None:
        self._spill = _Spill(kind, directory)
        self._held: list[R] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._spill.close()

    def add(self, record: R) -> None:
        """Puts a record aside."""
        self._held.append(record)
        if len(self._held) >= _HELD:
            self._write()

    def __iter__(self) -> Iterator[R]:
        self._write()
        return chain.from_iterable(self._spill.runs())

    def _write(self) -> None:
        self._spill.write(self._held)
        self._held.clear()


class _Spill(Generic[R]):
    """Runs of records, one after another in a file without a name."""

    def __init__(self, kind: type[R], directory: str | Path | None) -> None:
        self._directory = Path(directory or tempfile.gettempdir())
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder = msgspec.msgpack.Decoder(kind)
        self._ends = [0]
        try:
            # Held open by this object, and gone with it.
            self._file: IO[bytes] = tempfile.TemporaryFile(dir=directory)  # noqa: SIM115
        except OSError as error:
            raise self._failed(error) from error

    def write(self, records: Iterable[R]) -> None:
        """Adds a run."""
        try:
            for record in records:
                data = self._encoder.encode(record)
                self._file.write(len(data).to_bytes(_LENGTH_BYTES, "little") + data)
            self._file.flush()
            self._ends.append(self._file.tell())
        except OSError as error:
            raise self._failed(error) from error

    def runs(self) -> list[Iterator[R]]:
        """The runs in the order of their writing."""
        bounds = zip(self._ends, self._ends[1:], strict=False)
        return [self._read(start, end) for start, end in bounds]

    def close(self) -> None:
        self._file.close()

    def _read(self, position: int, end: int) -> Iterator[R]:
        """One run; reads at its own position, so that all runs share one open file."""
        buffer = b""
        start = 0
        while True:
            body = start + _LENGTH_BYTES
            after = body + int.from_bytes(buffer[start:body], "little")
            if body <= len(buffer) and after <= len(buffer):
                yield self._decoder.decode(buffer[body:after])
                start = after
                continue
            if position == end:
                return
            try:
                more = os.pread(self._file.fileno(), min(_READ_BYTES, end - position), position)
            except OSError as error:
                raise self._failed(error) from error
            position += len(more)
            buffer = buffer[start:] + more
            start = 0

    def _failed(self, error: OSError) -> SpillError:
        return SpillError(
            f"sorting needs room for temporary files in {self._directory}: {error.strerror}; "
            "free some, or point TMPDIR to another folder"
        )
