from __future__ import annotations

from contextlib import suppress

import pytest
from attrs import evolve
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from ocpi_gireve.journal import Exchanged
from ocpi_gireve.telemetry import NoTelemetry, OpenTelemetry

SPANS = InMemorySpanExporter()
METRICS = InMemoryMetricReader()
EXCHANGED = Exchanged(
    direction="in",
    partner="gireve",
    operation="LocationsSender.list_locations",
    module="locations",
    http_status=200,
    seconds=0.25,
    request_id="r-1",
    correlation_id="c-1",
)


@pytest.fixture(scope="module")
def telemetry() -> OpenTelemetry:
    """Telemetry that an SDK collects in memory; a process can have one SDK only."""
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(SPANS))
    trace.set_tracer_provider(provider)
    metrics.set_meter_provider(MeterProvider([METRICS]))
    return OpenTelemetry()


@pytest.fixture(autouse=True)
def _empty() -> None:
    SPANS.clear()


def test_span_of_an_exchange(telemetry: OpenTelemetry) -> None:
    """A span names the operation, the partner and how it ended."""
    with telemetry.exchange("in") as ended:
        ended(EXCHANGED)
    (span,) = SPANS.get_finished_spans()
    assert span.name == "OCPI LocationsSender.list_locations"
    assert span.kind is trace.SpanKind.SERVER
    assert span.status.status_code is trace.StatusCode.UNSET
    assert span.attributes is not None
    assert span.attributes["ocpi.partner"] == "gireve"
    assert span.attributes["http.response.status_code"] == 200
    assert span.attributes["ocpi.correlation_id"] == "c-1"


def test_failed_exchange(telemetry: OpenTelemetry) -> None:
    """An error ends the span as one, by its type and without its text."""
    with suppress(OSError), telemetry.exchange("out") as ended:
        ended(evolve(EXCHANGED, direction="out", http_status=None, error="NoAnswer", operation=""))
        raise OSError("secret of a partner")
    (span,) = SPANS.get_finished_spans()
    assert (span.name, span.kind) == ("OCPI unknown", trace.SpanKind.CLIENT)
    assert span.status.status_code is trace.StatusCode.ERROR
    assert span.attributes is not None
    assert span.attributes["error.type"] == "NoAnswer"
    assert "secret" not in span.to_json()


def test_spans_of_a_handler_are_children(telemetry: OpenTelemetry) -> None:
    """What a handler traces belongs to the exchange it serves."""
    with telemetry.exchange("in") as ended:
        with trace.get_tracer("host").start_as_current_span("query"):
            pass
        ended(EXCHANGED)
    query, exchange = SPANS.get_finished_spans()
    assert query.parent is not None
    assert exchange.context is not None
    assert query.parent.span_id == exchange.context.span_id


def test_metrics(telemetry: OpenTelemetry) -> None:
    """Durations are a histogram in seconds, and errors are counted."""
    with telemetry.exchange("in") as ended:
        ended(evolve(EXCHANGED, error="UnknownObject", http_status=404))
    data = METRICS.get_metrics_data()
    assert data is not None
    found = {
        metric.name: metric
        for one in data.resource_metrics
        for scope in one.scope_metrics
        for metric in scope.metrics
    }
    assert set(found) == {"ocpi.exchange.duration", "ocpi.exchange.errors"}
    assert found["ocpi.exchange.duration"].unit == "s"


def test_without_telemetry() -> None:
    """Without telemetry, nothing happens, as often as it is asked."""
    silent = NoTelemetry()
    for _ in range(2):
        with silent.exchange("in") as outer, silent.exchange("out") as ended:
            ended(EXCHANGED)
            outer(EXCHANGED)
