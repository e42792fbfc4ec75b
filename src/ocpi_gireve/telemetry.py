"""Spans and metrics of the exchanges with partners, by OpenTelemetry's API; without it, nothing is measured.

The host chooses the SDK and where the data goes. Attributes name operation, partner and status, never an
object, a driver or a token.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Literal, Protocol, TypeAlias

from .journal import Exchanged

Ended: TypeAlias = Callable[[Exchanged], None]
"""Called with what came of the exchange, before it leaves the context."""


class Telemetry(Protocol):
    """What is told of each exchange while it lasts."""

    def exchange(self, direction: Literal["in", "out"]) -> AbstractContextManager[Ended]:
        """Accompany one exchange, from its first step to its last."""
        ...


def _ignore(exchanged: Exchanged) -> None:
    """Take note of nothing."""


_SILENT = nullcontext(_ignore)


class NoTelemetry:
    """Tells nobody."""

    def exchange(self, direction: Literal["in", "out"]) -> AbstractContextManager[Ended]:
        """Accompany nothing."""
        return _SILENT


class OpenTelemetry:
    """A span and two metrics for each exchange: ``Platform(telemetry=OpenTelemetry())``.

    - span ``OCPI {operation}``: kind CLIENT where we asked, SERVER where the partner asked; an error ends it
      with the status ERROR. Spans that a handler makes are its children.
    - histogram ``ocpi.exchange.duration``, in seconds, and counter ``ocpi.exchange.errors``.

    Attributes of all of them: ``ocpi.direction``, ``ocpi.partner``, ``ocpi.operation``, ``ocpi.module``,
    ``http.response.status_code``, ``error.type``; the spans also have ``ocpi.request_id`` and
    ``ocpi.correlation_id``.

    Raises:
        ImportError: ``opentelemetry-api`` is not installed; the extra ``ocpi-gireve[telemetry]`` brings it.
    """

    def __init__(self) -> None:
        from opentelemetry import metrics, trace  # noqa: PLC0415 - an extra, loaded by those that use it

        self._tracer = trace.get_tracer("ocpi_gireve")
        self._kinds = {"in": trace.SpanKind.SERVER, "out": trace.SpanKind.CLIENT}
        self._failed = trace.Status(trace.StatusCode.ERROR)
        meter = metrics.get_meter("ocpi_gireve")
        self._duration = meter.create_histogram(
            "ocpi.exchange.duration", unit="s", description="Duration of an exchange with a partner."
        )
        self._errors = meter.create_counter(
            "ocpi.exchange.errors", unit="{exchange}", description="Exchanges that ended with an error."
        )

    @contextmanager
    def exchange(self, direction: Literal["in", "out"]) -> Generator[Ended]:
        """Accompany one exchange by a span."""
        # What is raised in the middle is not recorded by the span itself: its text may hold what was sent.
        with self._tracer.start_as_current_span(
            "OCPI",
            kind=self._kinds[direction],
            record_exception=False,
            set_status_on_exception=False,
        ) as span:

            def ended(exchanged: Exchanged) -> None:
                attributes: dict[str, str | int] = {
                    "ocpi.direction": exchanged.direction,
                    "ocpi.partner": exchanged.partner,
                    "ocpi.operation": exchanged.operation,
                    "ocpi.module": exchanged.module,
                }
                if exchanged.http_status is not None:
                    attributes["http.response.status_code"] = exchanged.http_status
                if exchanged.error:
                    attributes["error.type"] = exchanged.error
                    self._errors.add(1, attributes)
                    span.set_status(self._failed)
                self._duration.record(exchanged.seconds, attributes)
                span.update_name(f"OCPI {exchanged.operation or 'unknown'}")
                span.set_attributes(attributes)
                span.set_attribute("ocpi.request_id", exchanged.request_id)
                span.set_attribute("ocpi.correlation_id", exchanged.correlation_id)

            yield ended
