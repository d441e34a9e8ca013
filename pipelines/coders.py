"""How records travel between workers: msgpack of their fields, never pickle."""

from typing import Any

import msgspec
from apache_beam import coders
from apache_beam.coders.typecoders import registry

from alerting.spike import Spike
from connectors.dead_letter import DeadLetter
from connectors.lateness import LateMessage
from connectors.message import Message
from pipelines.records import Arrival, Tagged


class StructCoder(coders.Coder):
    """A msgspec struct as msgpack. The same record is the same bytes."""

    def __init__(self, kind: type[msgspec.Struct]) -> None:
        self._kind = kind
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder = msgspec.msgpack.Decoder(kind)

    def __reduce__(self) -> tuple[Any, ...]:
        return StructCoder, (self._kind,)

    def encode(self, value: msgspec.Struct) -> bytes:
        return self._encoder.encode(value)

    def decode(self, encoded: bytes) -> Any:
        return self._decoder.decode(encoded)

    def is_deterministic(self) -> bool:
        return True

    def to_type_hint(self) -> type[msgspec.Struct]:
        return self._kind

    @classmethod
    def from_type_hint(cls, typehint: Any, _registry: Any) -> Any:
        return cls(typehint)


for _kind in (Message, Arrival, LateMessage, DeadLetter, Tagged, Spike):
    registry.register_coder(_kind, StructCoder)
