"""Where a replay reads from: the protocol, and files. `topic_range.py` has Kafka."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from connectors.dead_letter import DeadLetter
from connectors.files import fingerprint, read_messages
from connectors.message import Message


class Stream(Protocol):
    """Messages and dead letters, with how far it has come: `done` of `size`, in its own unit.

    `source`: its name; `naive_times`: times so far that gave no zone and were taken as UTC.
    """

    def __iter__(self) -> Iterator[Message | DeadLetter]: ...

    @property
    def source(self) -> str: ...

    @property
    def done(self) -> int: ...

    @property
    def size(self) -> int: ...

    @property
    def naive_times(self) -> int: ...


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

    def stream(self, parsing: Parsing, author_key: bytes | None) -> Stream:
        """Its messages from the beginning."""


@dataclass(frozen=True)
class File:
    """A file of JSON Lines or CSV, plain or gzip."""

    path: Path

    def describe(self) -> dict[str, Any]:
        of_bytes = fingerprint(self.path)
        return {"name": self.path.name, "sha256": of_bytes.sha256, "bytes": of_bytes.size}

    def stream(self, parsing: Parsing, author_key: bytes | None) -> Stream:
        return read_messages(
            self.path, mapping=parsing.mapping, source=parsing.source, author_key=author_key
        )
