"""Spans for OpenTelemetry, where the usual OTEL_* variables name a collector; else nothing.

A message's trace has an id that is a function of the message's id, and so has the span that begins
it: each process finds the trace by itself, and nothing has to travel through Kafka, Flink's state
and the store. A sampler that goes by the trace's id decides the same everywhere.
"""

import hashlib
import logging
import os
import threading
from collections.abc import Iterable, Mapping
from functools import cache
from typing import TYPE_CHECKING

from opentelemetry.context import Context
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import SpanProcessor

Fact = str | int | float | bool

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_MOST_LINKS = 20
_LAST_WORDS_MS = 2_000

_log = logging.getLogger(__name__)


def trace_of(message_id: str) -> int:
    """The id of a message's trace: 128 bits."""
    return int.from_bytes(_digest(message_id)[:16], "big")


def _first_span_of(message_id: str) -> int:
    return int.from_bytes(_digest(message_id)[16:24], "big")


def _digest(message_id: str) -> bytes:
    return hashlib.sha256(message_id.encode("utf-8", "surrogatepass")).digest()


class Spans:
    """Gives spans to `processor`; needs the extra `traces`."""

    def __init__(self, processor: "SpanProcessor") -> None:
        from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

        given = threading.local()

        class Ids(RandomIdGenerator):
            """Those that are given, for a span that begins a trace."""

            def generate_trace_id(self) -> int:
                return getattr(given, "trace", 0) or super().generate_trace_id()

            def generate_span_id(self) -> int:
                return getattr(given, "span", 0) or super().generate_span_id()

        named = Resource({SERVICE_NAME: "foreshock"}).merge(OTELResourceDetector().detect())
        self._given = given
        self._provider = TracerProvider(id_generator=Ids(), resource=named)
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("foreshock")

    def begin(
        self, name: str, message_id: str, began: int, ended: int, facts: Mapping[str, Fact]
    ) -> None:
        """The span that begins the trace of a message. Times: nanoseconds since 1970."""
        self._given.trace, self._given.span = trace_of(message_id), _first_span_of(message_id)
        try:
            self._tracer.start_span(
                name, Context(), attributes=_attributes(message_id, facts), start_time=began
            ).end(ended)
        finally:
            self._given.trace = self._given.span = 0

    def add(
        self,
        name: str,
        message_id: str,
        began: int,
        ended: int,
        facts: Mapping[str, Fact],
        *,
        others: Iterable[str] = (),
        failed: str | None = None,
    ) -> None:
        """A further span of it. `others`: messages that it rests on as well."""
        span = self._tracer.start_span(
            name,
            set_span_in_context(NonRecordingSpan(self._context(message_id, name)), Context()),
            attributes=_attributes(message_id, facts),
            links=[Link(self._context(one, name)) for one in list(others)[:_MOST_LINKS]],
            start_time=began,
        )
        if failed is not None:
            span.set_status(Status(StatusCode.ERROR, failed))
        span.end(ended)

    def flush(self) -> None:
        """Hands over what waits to be sent; gives up after two seconds."""
        self._provider.force_flush(_LAST_WORDS_MS)

    def _context(self, message_id: str, name: str) -> SpanContext:
        from opentelemetry.sdk.trace.sampling import Decision

        trace = trace_of(message_id)
        decision = self._provider.sampler.should_sample(None, trace, name).decision
        sampled = decision is Decision.RECORD_AND_SAMPLE
        flags = TraceFlags(TraceFlags.SAMPLED if sampled else TraceFlags.DEFAULT)
        return SpanContext(trace, _first_span_of(message_id), is_remote=True, trace_flags=flags)


def _attributes(message_id: str, facts: Mapping[str, Fact]) -> dict[str, Fact]:
    named = {f"foreshock.{name}": value for name, value in facts.items()}
    return {"foreshock.message_id": message_id, **named}


@cache
def spans() -> Spans | None:
    """The process's own; None where nobody collects them."""
    environment = os.environ
    if (
        not any(environment.get(name) for name in _ENDPOINTS)
        or environment.get("OTEL_SDK_DISABLED", "").lower() == "true"
        or environment.get("OTEL_TRACES_EXPORTER", "otlp") != "otlp"
    ):
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        _log.warning(
            "OTEL_EXPORTER_OTLP_ENDPOINT is set, and no spans are sent: install foreshock[traces]"
        )
        return None
    return Spans(BatchSpanProcessor(OTLPSpanExporter()))


def flush() -> None:
    """Before a process ends without further ado."""
    if spans.cache_info().currsize and (found := spans()):
        found.flush()
