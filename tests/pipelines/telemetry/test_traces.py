"""Spans of processes that know nothing of each other, in one trace."""

import sys
from collections.abc import Iterator

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from pipelines.telemetry import traces
from pipelines.telemetry.traces import Spans, trace_of
from tests.servers.webhooks import receiving


@pytest.fixture(autouse=True)
def _as_if_nothing_was_asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_SDK_DISABLED", "OTEL_TRACES_EXPORTER"):
        monkeypatch.delenv(name, raising=False)
    traces.spans.cache_clear()
    yield
    traces.spans.cache_clear()


def test_two_processes_give_spans_to_one_trace_without_passing_anything_on() -> None:
    found = InMemorySpanExporter()
    worker, alerts = (Spans(SimpleSpanProcessor(found)) for _ in range(2))
    worker.begin("read", "x:1", 10, 20, {"offset": 7})
    alerts.add("deliver", "x:1", 30, 40, {}, others=["x:2"], failed="the desk answered 500")
    read, told = found.get_finished_spans()
    assert read.context is not None
    assert told.context is not None
    assert told.parent is not None
    assert read.context.trace_id == told.context.trace_id == trace_of("x:1")
    assert told.parent.span_id == read.context.span_id != told.context.span_id
    assert [link.context.trace_id for link in told.links] == [trace_of("x:2")]
    assert (read.start_time, read.end_time) == (10, 20)
    assert dict(read.attributes or {}) == {"foreshock.message_id": "x:1", "foreshock.offset": 7}
    assert told.status.status_code is StatusCode.ERROR
    assert read.resource.attributes["service.name"] == "foreshock"


def test_a_sampler_takes_or_leaves_a_message_in_all_processes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0.3")
    seen = [InMemorySpanExporter(), InMemorySpanExporter()]
    worker, alerts = (Spans(SimpleSpanProcessor(one)) for one in seen)
    for number in range(100):
        worker.begin("read", f"x:{number}", 1, 2, {})
        alerts.add("alert", f"x:{number}", 3, 4, {})
    first, second = (
        [span.context.trace_id for span in one.get_finished_spans() if span.context] for one in seen
    )
    assert first == second
    assert 10 < len(first) < 60


def test_off_by_default_and_by_the_usual_switches(monkeypatch: pytest.MonkeyPatch) -> None:
    assert traces.spans() is None
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4318")
    for name, value in (("OTEL_SDK_DISABLED", "true"), ("OTEL_TRACES_EXPORTER", "none")):
        with monkeypatch.context() as patch:
            patch.setenv(name, value)
            traces.spans.cache_clear()
            assert traces.spans() is None


def test_without_the_extra_it_is_said_and_nothing_breaks(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4318")
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    assert traces.spans() is None
    assert "install foreshock[traces]" in caplog.text


def test_a_collector_gets_them_over_http(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiving() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url.removesuffix("/hook"))
        monkeypatch.setenv("OTEL_SERVICE_NAME", "the desk's")
        spans = traces.spans()
        assert spans is not None
        spans.begin("read", "x:1", 1, 2, {})
        spans.add("tag", "x:1", 3, 4, {"tag_sentiment": "negative"})
        traces.flush()
        (request,) = collector.requests
    assert request.path == "/v1/traces"
    sent = ExportTraceServiceRequest.FromString(request.body).resource_spans[0]
    names = {one.key: one.value.string_value for one in sent.resource.attributes}
    assert names["service.name"] == "the desk's"
    found = sent.scope_spans[0].spans
    assert [span.name for span in found] == ["read", "tag"]
    assert {int.from_bytes(span.trace_id, "big") for span in found} == {trace_of("x:1")}
