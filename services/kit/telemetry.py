"""Spans and logs: one place for their names, and the one place where either is made.

A message's creator lends it a `traceparent`; whoever handles the message opens a span under it, so that a request's
hops hang together. Attributes are ids, names, counts and codes; an exception is recorded by its class alone, since
texts of drivers quote rows (FACTS F2).
"""

import json
import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

__all__ = ["SpanKind", "Telemetry", "log", "start_logging"]

Operation = Literal[
    "send",  # the relay hands messages to the broker
    "process",  # a message is handled
    "discover",  # a connector's call of that name; likewise the next three
    "erase",
    "export",
    "check",
]
Attribute = str | int | float | bool

_PROPAGATOR = TraceContextTextMapPropagator()
_LOG = logging.getLogger("letheia")


class Telemetry:
    """A service's tracer. Without a file it makes no spans."""

    def __init__(self, service: str, spans: Path | None) -> None:
        self._provider = TracerProvider(resource=Resource.create({"service.name": service}))
        if spans is not None:
            self._provider.add_span_processor(BatchSpanProcessor(_FileExporter(spans), schedule_delay_millis=500))
        self._tracer = self._provider.get_tracer("letheia")

    @contextmanager
    def span(
        self,
        operation: Operation,
        destination: str,
        *,
        traceparent: str | None = None,
        kind: SpanKind = SpanKind.CONSUMER,
        attributes: Mapping[str, Attribute] | None = None,
    ) -> Iterator[str]:
        """A span named by the messaging conventions, `{operation} {destination}`; yields its own traceparent.

        Parented on `traceparent` where there is one: each message is handled alone here, for which the conventions
        allow a parent instead of a link.
        """
        parent = _PROPAGATOR.extract({"traceparent": traceparent}) if traceparent else None
        with self._tracer.start_as_current_span(
            f"{operation} {destination}",
            context=parent,
            kind=kind,
            attributes=dict(attributes or {}),
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            carrier: dict[str, str] = {}
            _PROPAGATOR.inject(carrier)
            try:
                yield carrier.get("traceparent", traceparent or "")
            except Exception as error:
                span.set_attribute("error.type", type(error).__name__)
                span.set_status(StatusCode.ERROR)
                raise

    def close(self) -> None:
        """Write what is left."""
        self._provider.shutdown()


class _FileExporter(SpanExporter):
    """Appends spans to a file, one JSON document a line."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        with self._path.open("a") as file:
            file.writelines((span.to_json(indent=None) or "") + "\n" for span in spans)
        return SpanExportResult.SUCCESS


class _JsonLines(logging.Formatter):
    """One event a line. Of an exception only its class and where it was raised: its text may quote a row."""

    def format(self, record: logging.LogRecord) -> str:
        event: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.msg if record.name == "letheia" else str(record.msg),
        }
        event |= getattr(record, "fields", {})
        if record.exc_info and record.exc_info[0]:
            event["error"] = record.exc_info[0].__name__
            frame = record.exc_info[2]
            while frame and frame.tb_next:
                frame = frame.tb_next
            event["where"] = f"{frame.tb_frame.f_code.co_filename}:{frame.tb_lineno}" if frame else ""
        return json.dumps(event)


def start_logging(level: str = "INFO") -> None:
    """JSON lines on standard output. Foreign loggers show their message's template alone, never its arguments."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(_JsonLines())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    _LOG.setLevel(level)


def log(event: str, *, error: BaseException | None = None, **fields: Attribute | None) -> None:
    """One event with typed fields: ids, names, counts, codes. With `error` it is a warning."""
    exc_info = (type(error), error, error.__traceback__) if error is not None else None
    _LOG.log(logging.WARNING if error else logging.INFO, event, exc_info=exc_info, extra={"fields": fields})
