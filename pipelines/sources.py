"""Where a replay reads from: the protocol, and files. `topic_range.py` has Kafka."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from connectors.errors import SourceTruncated
from connectors.files import fingerprint, read_messages
from connectors.lateness import Item, LatenessSettings

_TOGETHER = 1000  # records between two looks at the progress


class Stream(Protocol):
    """Messages, late ones and dead letters, with how far it has come: `done` of `size`, in its own
    unit.

    `source`: its name; `naive_times`: times so far that gave no zone and were taken as UTC.
    """

    def __iter__(self) -> Iterator[Item]: ...

    @property
    def source(self) -> str: ...

    @property
    def done(self) -> int: ...

    @property
    def size(self) -> int: ...

    @property
    def naive_times(self) -> int: ...


class WatchingReading(Protocol):
    """Who wants to know how far the reading is."""

    def reading(self, name: str, done: int, size: int) -> None: ...

    def remark(self, text: str) -> None: ...


class Reading:
    """The records of several streams, one stream after the other, telling how far it is.

    A stream that is cut short is read as far as it goes; `truncated` then says how.
    """

    def __init__(self, streams: Iterable[Stream], watching: WatchingReading) -> None:
        self.truncated: str | None = None
        self._streams = streams
        self._watching = watching

    def __iter__(self) -> Iterator[Item]:
        for stream in self._streams:
            for count, record in enumerate(self._whole(stream)):
                yield record
                if count % _TOGETHER == 0:
                    self._watching.reading(stream.source, stream.done, stream.size)
            if stream.naive_times:
                self._watching.remark(
                    f"{stream.source}: {stream.naive_times:,} times without a time zone were "
                    "taken as UTC."
                )

    def _whole(self, stream: Stream) -> Iterator[Item]:
        try:
            yield from stream
        except SourceTruncated as error:
            self.truncated = str(error)


@dataclass(frozen=True)
class Parsing:
    """How records become messages. `source` names those that name none; None: the file's name
    without extensions, or the topic's."""

    mapping: dict[str, str] = field(default_factory=dict)
    source: str | None = None


class Source(Protocol):
    """A bounded input that can be read again. Both raise a ConnectorError where it cannot be."""

    def describe(self) -> dict[str, Any]:
        """What it holds, for the manifest: the same description, the same records."""

    def stream(
        self, parsing: Parsing, author_key: bytes | None, lateness: LatenessSettings
    ) -> Stream:
        """Its messages from the beginning, marked where they came too late."""


@dataclass(frozen=True)
class File:
    """A file of JSON Lines or CSV, plain or gzip. It is taken by event time: nothing is late."""

    path: Path

    def describe(self) -> dict[str, Any]:
        of_bytes = fingerprint(self.path)
        return {"name": self.path.name, "sha256": of_bytes.sha256, "bytes": of_bytes.size}

    def stream(
        self, parsing: Parsing, author_key: bytes | None, lateness: LatenessSettings
    ) -> Stream:
        return read_messages(
            self.path, mapping=parsing.mapping, source=parsing.source, author_key=author_key
        )
