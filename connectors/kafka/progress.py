"""How far the reading of a topic is: all that is needed to go on from there."""

from datetime import datetime
from typing import Literal

import msgspec

from connectors.errors import ConnectorError

_VERSION = 1

Role = Literal["active", "idle", "joining"]
"""`active`: the watermark waits for it. `idle`: read to its end, and silent. `joining`: found while
running, and not yet as far as the watermark. The last two follow the active ones."""


class ProgressError(ConnectorError):
    """Stored progress that this release cannot go on from."""


class Stand(msgspec.Struct, frozen=True, array_like=True):
    """One partition. `offset`: the next to read; `end`: the first not to read, None: for ever;
    `maximum`: the latest event time (UTC) of the messages below `offset`."""

    offset: int
    end: int | None = None
    maximum: datetime | None = None
    role: Role = "active"

    @property
    def done(self) -> bool:
        return self.end is not None and self.offset >= self.end


class Progress(msgspec.Struct, frozen=True, array_like=True):
    """Partition -> Stand; the `watermark` reached (UTC); whether nothing more is to be read; how
    many records were `read`."""

    partitions: dict[int, Stand]
    watermark: datetime | None = None
    finished: bool = False
    read: int = 0

    @property
    def bounded(self) -> bool:
        """Whether every partition has an end."""
        return all(stand.end is not None for stand in self.partitions.values())

    @property
    def left(self) -> int:
        """Offsets still to be read where there is an end."""
        stands = () if self.finished else self.partitions.values()
        return sum(max(0, stand.end - stand.offset) for stand in stands if stand.end is not None)


def encode_progress(progress: Progress) -> bytes:
    """One byte of version, then msgpack; equal progress is equal bytes."""
    in_order = dict(sorted(progress.partitions.items()))
    ordered = msgspec.structs.replace(progress, partitions=in_order)
    return bytes([_VERSION]) + _encoder.encode(ordered)


def decode_progress(payload: bytes) -> Progress:
    """Raises ProgressError for what another release has written."""
    if payload[:1] != bytes([_VERSION]):
        raise ProgressError(
            f"The stored progress of a topic has version {payload[:1].hex() or 'none'}; this "
            f"release reads {_VERSION:02x}. Start anew, or use the release that wrote it."
        )
    return _decoder.decode(payload[1:])


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Progress)
