"""Traces by OpenTelemetry's SDK, sent by OTLP over HTTP; the only file that imports it.

Spans are made when they are over, from monotonic times that were taken anyway. They wait in
a queue of :data:`QUEUE_SPANS`; a thread of the SDK sends them, several times if it must. When the
queue is full the oldest are dropped, which the SDK logs; a collector that is away or slow
touches no call. The SDK's own variables hold here too (``OTEL_EXPORTER_OTLP_HEADERS``,
``OTEL_TRACES_SAMPLER``, ``OTEL_SERVICE_NAME``, ``OTEL_RESOURCE_ATTRIBUTES``).
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, Status, StatusCode

from voicecore.core import actions as act
from voicecore.core import events as ev
from voicecore.service.tracing import Value
from voicecore.service.turn_spans import Note, Span, TurnSpans
from voicecore.service.version import version
from voicecore.service.workers.place import WORKER

QUEUE_SPANS = 4096
"""Some 700 turns; a minute of 50 calls while the collector restarts."""

_BATCH_SPANS = 512
_PERIOD_MS = 2000
_EXPORT_TIMEOUT_S = 5.0
CLOSE_S = 1.0
"""Of the time that a process has to end."""


class Seldom(logging.Filter):
    """Lets one record pass in ``every_s``: a collector that is away has several for each batch."""

    def __init__(self, every_s: float = 60.0, now: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._every_s = every_s
        self._now = now
        self._next_s = float("-inf")

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether it is time for another."""
        now_s = self._now()
        if now_s < self._next_s:
            return False
        self._next_s = now_s + self._every_s
        return True


_SELDOM = Seldom()


def exporting_to(endpoint: str) -> SpanProcessor:
    """Sends to the collector at ``endpoint``, a base URL or that of its ``/v1/traces``."""
    url = endpoint.rstrip("/")
    logging.getLogger(OTLPSpanExporter.__module__).addFilter(_SELDOM)
    exporter = OTLPSpanExporter(
        url if url.endswith("/v1/traces") else f"{url}/v1/traces", timeout=_EXPORT_TIMEOUT_S
    )
    return BatchSpanProcessor(
        exporter,
        max_queue_size=QUEUE_SPANS,
        schedule_delay_millis=_PERIOD_MS,
        max_export_batch_size=_BATCH_SPANS,
    )


class OtelTracer:
    """A :class:`~voicecore.service.tracing.Tracer`; owns ``processor``.

    Belongs to the event loop. ``instance`` names this process among its like. ``wall`` and
    ``monotonic`` are clocks in ns: a call's monotonic times are turned into wall time by
    what lay between the two when it was opened, so that a clock that is set tears no trace.
    """

    def __init__(
        self,
        processor: SpanProcessor,
        *,
        instance: str = "",
        wall: Callable[[], int] = time.time_ns,
        monotonic: Callable[[], int] = time.monotonic_ns,
        close_s: float = CLOSE_S,
    ) -> None:
        resource = {
            "service.name": os.environ.get("OTEL_SERVICE_NAME", "voicecore"),
            "service.version": version(),
            "service.instance.id": instance or socket.gethostname(),
        }
        if worker := os.environ.get(WORKER):
            resource["voicecore.worker"] = worker
        # Its own end at the interpreter's exit would wait for a collector that is away.
        self._provider = TracerProvider(resource=Resource.create(resource), shutdown_on_exit=False)
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("voicecore", version())
        self._wall = wall
        self._monotonic = monotonic
        self._close_s = close_s
        self._closed = False

    def call(self, session_id: str, engines: Mapping[str, str], now_ns: int) -> OtelCallTrace:
        """See :class:`~voicecore.service.tracing.Tracer`."""
        offset_ns = self._wall() - self._monotonic()
        return OtelCallTrace(self._tracer, session_id, engines, now_ns, offset_ns, self._monotonic)

    async def close(self) -> None:
        """See :class:`~voicecore.service.tracing.Tracer`."""
        if self._closed:
            return
        self._closed = True
        loop, done = asyncio.get_running_loop(), asyncio.Event()

        def shut_down() -> None:
            try:
                self._provider.shutdown()
            finally:
                # The loop is gone if that took longer than anybody waited.
                if not loop.is_closed():
                    loop.call_soon_threadsafe(done.set)

        # A daemon, unlike the threads of an executor: the process doesn't wait for it.
        threading.Thread(target=shut_down, name="traces-end", daemon=True).start()
        try:
            async with asyncio.timeout(self._close_s):
                await done.wait()
        except TimeoutError:
            pass


class OtelCallTrace:
    """A :class:`~voicecore.service.tracing.CallTrace`."""

    def __init__(
        self,
        tracer: trace.Tracer,
        session_id: str,
        engines: Mapping[str, str],
        now_ns: int,
        offset_ns: int,
        monotonic: Callable[[], int],
    ) -> None:
        self._tracer = tracer
        self._monotonic = monotonic
        self._id = {"voicecore.session_id": session_id}
        self._offset_ns = offset_ns
        names = {f"voicecore.engine.{stage}": name for stage, name in engines.items()}
        self._span = tracer.start_span(
            "call",
            context=trace.set_span_in_context(trace.INVALID_SPAN),
            kind=SpanKind.SERVER,
            attributes={**self._id, **names},
            start_time=now_ns + offset_ns,
        )
        self._turns = TurnSpans(engines, lambda span: self._send(span, self._span))
        self._over = False

    def connected(self, stages_ns: Mapping[str, tuple[int, int]], kinds: Mapping[str, str]) -> None:
        """See :class:`~voicecore.service.tracing.CallTrace`."""
        for name, value in kinds.items():
            self._span.set_attribute(f"voicecore.{name}", value)
        for stage, (start_ns, end_ns) in stages_ns.items():
            self._send(Span(stage, start_ns, end_ns, {}), self._span)

    def step(self, event: ev.Event, now_ns: int, actions: Sequence[act.Action]) -> None:
        """See :class:`~voicecore.service.tracing.CallTrace`."""
        self._turns.step(event, now_ns, actions)

    def note(self, stage: str, what: str, attributes: Mapping[str, Value]) -> None:
        """See :class:`~voicecore.service.tracing.CallTrace`."""
        self._turns.note(Note(stage, what, self._monotonic(), attributes))

    def end(self, now_ns: int, attributes: Mapping[str, Value | None]) -> None:
        """See :class:`~voicecore.service.tracing.CallTrace`."""
        if self._over:
            return
        self._over = True
        self._turns.end(now_ns)
        for name, value in attributes.items():
            if value is not None:
                self._span.set_attribute(f"voicecore.{name}", value)
        self._span.end(now_ns + self._offset_ns)

    def _send(self, span: Span, parent: trace.Span) -> None:
        made = self._tracer.start_span(
            span.name,
            context=trace.set_span_in_context(parent),
            attributes={**self._id, **span.attributes},
            start_time=span.start_ns + self._offset_ns,
        )
        if span.failed:
            made.set_status(Status(StatusCode.ERROR, span.failed))
        for note in span.notes:
            made.add_event(note.what, dict(note.attributes), note.at_ns + self._offset_ns)
        for child in span.children:
            self._send(child, made)
        made.end(span.end_ns + self._offset_ns)
