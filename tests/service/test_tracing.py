"""Traces by OpenTelemetry: what is sent, when, and what a collector's absence costs."""

from __future__ import annotations

import asyncio
import logging
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import Any

import pytest

from fakes.recorded_call import RecordedCall, conversation
from fakes.virtual_loop import virtually
from voicecore.engines.meter import NoMeter
from voicecore.engines.resilience.breaker import CircuitBreaker
from voicecore.engines.resilience.provider import Provider
from voicecore.engines.stt.stub import SttStub
from voicecore.errors import EngineError
from voicecore.service.call_scope import CallScope, current, within
from voicecore.service.config import Settings
from voicecore.service.config_load import ConfigError
from voicecore.service.metrics import Metrics
from voicecore.service.traced_meter import TracedMeter
from voicecore.service.tracing import NO_TRACES, make_tracer

pytest.importorskip("opentelemetry.sdk", reason="pip install 'voicecore[otel]'")

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import (
    BatchSpanProcessor,
    SimpleSpanProcessor,
    SpanExporter,
    SpanExportResult,
)
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from voicecore.service.otel_tracing import OtelTracer, Seldom, exporting_to

ENGINES = {"stt": "ears", "llm": "mind", "tts": "mouth"}
WALL_NS = 1_700_000_000 * 10**9
MONOTONIC_NS = 5 * 10**9


def tracer_to(exporter: SpanExporter) -> OtelTracer:
    return OtelTracer(
        SimpleSpanProcessor(exporter),
        instance="here",
        wall=lambda: WALL_NS,
        monotonic=lambda: MONOTONIC_NS,
    )


def tell(trace: Any, call: RecordedCall) -> None:
    for step in call.steps:
        if step.actions is not None:
            trace.step(step.event, step.now_ns, step.actions)


def test_a_call_is_one_trace_whose_turns_leave_before_it_ends() -> None:
    exporter = InMemorySpanExporter()
    trace = tracer_to(exporter).call("id-1", ENGINES, 0)
    trace.connected({"ice": (0, 3_000_000)}, {"ice.local": "host", "codec": "opus"})
    call = conversation()
    tell(trace, call)
    before = [span.name for span in exporter.get_finished_spans()]
    assert before.count("turn") >= 1
    assert "call" not in before, "it isn't over"
    trace.end(10 * 10**9, {"end_reason": "hung_up", "turns": 2, "mos_in": None})
    trace.end(11 * 10**9, {"end_reason": "twice"})
    spans = exporter.get_finished_spans()
    (root,) = [span for span in spans if span.name == "call"]
    assert root.parent is None
    assert {span.context.trace_id for span in spans} == {root.context.trace_id}
    ids = {span.context.span_id: span.name for span in spans}
    parents = {(span.name, ids[span.parent.span_id]) for span in spans if span.parent}
    assert ("turn", "call") in parents
    assert ("ice", "call") in parents
    assert {("endpoint", "turn"), ("stt", "turn"), ("llm", "turn"), ("playout", "turn")} <= parents
    assert {span.attributes["voicecore.session_id"] for span in spans} == {"id-1"}
    assert root.attributes["voicecore.end_reason"] == "hung_up"
    assert "voicecore.mos_in" not in root.attributes
    assert root.resource.attributes["service.instance.id"] == "here"


def test_monotonic_times_become_wall_time() -> None:
    exporter = InMemorySpanExporter()
    trace = tracer_to(exporter).call("id-1", ENGINES, MONOTONIC_NS)
    trace.end(MONOTONIC_NS + 2 * 10**9, {})
    (root,) = exporter.get_finished_spans()
    assert (root.start_time, root.end_time) == (WALL_NS, WALL_NS + 2 * 10**9)


class Stuck(SpanExporter):
    """A collector that takes for ever, until :attr:`free` is set."""

    def __init__(self) -> None:
        self.free = threading.Event()
        self.entered = threading.Event()
        self.left = threading.Event()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.entered.set()
        self.free.wait(60)
        self.left.set()
        return SpanExportResult.FAILURE

    def shutdown(self) -> None:
        pass


async def test_a_stuck_collector_holds_up_neither_calls_nor_the_end() -> None:
    stuck = Stuck()
    tracer = OtelTracer(
        BatchSpanProcessor(
            stuck, max_queue_size=64, max_export_batch_size=8, schedule_delay_millis=60_000
        ),
        close_s=0.05,
    )
    trace = tracer.call("id-1", ENGINES, 0)
    for _ in range(10):
        tell(trace, conversation())
    assert await asyncio.to_thread(stuck.entered.wait, 30), "nothing was sent"
    for _ in range(10):
        tell(trace, conversation())
    trace.end(1, {})
    await tracer.close()
    await tracer.close()
    assert not stuck.left.is_set(), "somebody waited for the collector"
    stuck.free.set()
    assert await asyncio.to_thread(stuck.left.wait, 30)


async def test_a_collector_that_is_away_costs_a_line_and_no_call(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        tracer = OtelTracer(exporting_to(endpoint), close_s=0.3)
        trace = tracer.call("id-1", ENGINES, 0)
        tell(trace, conversation())
        trace.end(1, {})
        await tracer.close()
    assert len([r for r in caplog.records if r.name.startswith("opentelemetry")]) <= 1


def test_the_same_trouble_is_told_once_a_minute() -> None:
    at_s = [0.0]
    seldom = Seldom(60, lambda: at_s[0])
    record = logging.LogRecord("x", logging.WARNING, "", 0, "away", (), None)
    passed = []
    for at_s[0] in (0, 1, 59, 60, 61, 200):
        passed.append(seldom.filter(record))
    assert passed == [True, False, False, True, False, True]


async def test_what_is_left_is_sent_at_the_end() -> None:
    exporter = InMemorySpanExporter()
    tracer = OtelTracer(BatchSpanProcessor(exporter, schedule_delay_millis=60_000))
    tracer.call("id-1", ENGINES, 0).end(5, {})
    assert exporter.get_finished_spans() == ()
    await tracer.close()
    assert [span.name for span in exporter.get_finished_spans()] == ["call"]


def test_without_a_collector_nobody_traces() -> None:
    assert make_tracer(Settings()) is NO_TRACES


def test_without_the_package_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "voicecore.service.otel_tracing", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(ConfigError, match=r"pip install 'voicecore\[otel\]'"):
        make_tracer(Settings(otel_endpoint="http://127.0.0.1:4318"))


@pytest.mark.slow
def test_the_service_imports_none_of_it_when_it_is_off() -> None:
    code = (
        "import sys, voicecore.service.server, voicecore.service.calls;"
        "print([m for m in sys.modules if m.startswith('opentelemetry')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_what_an_engine_goes_through_is_told_to_the_call_it_works_for() -> None:
    exporter = InMemorySpanExporter()
    tracer = tracer_to(exporter)
    mine, other = tracer.call("id-1", ENGINES, 0), tracer.call("id-2", ENGINES, 0)
    metrics = Metrics()
    meter = TracedMeter(metrics.engines)
    with within(CallScope("id-1", mine)):
        meter.failed("llm", "near", "llm_timeout")
        meter.fell_back("llm", "near", "far", "failed")
        meter.first_byte("llm", "far", 0.25)
        meter.reconnected("elsewhere", "near")
    meter.failed("llm", "near", "llm_timeout")
    tell(mine, conversation())
    tell(other, conversation())
    mine.end(10**11, {})
    other.end(10**11, {})
    read = metrics.registry.get_sample_value
    labels = {"stage": "llm", "engine": "near", "code": "llm_timeout"}
    assert read("voicecore_engine_attempts_failed_total", labels) == 2
    noted = {
        (span.name, event.name, event.attributes["voicecore.engine"])
        for span in exporter.get_finished_spans()
        for event in span.events
        if span.attributes["voicecore.session_id"] == "id-1"
    }
    assert noted == {
        ("llm", "attempt failed", "near"),
        ("llm", "another engine", "near"),
        ("llm", "answers", "far"),
        ("turn", "another connection", "near"),
    }
    assert len([event for span in exporter.get_finished_spans() for event in span.events]) == 4


def test_a_prober_speaks_for_no_call() -> None:
    heard: list[str] = []

    async def main() -> None:
        asked = asyncio.Event()

        async def probe(engine: SttStub) -> None:
            heard.append(current().session_id)
            asked.set()

        provider = Provider("stt", SttStub(), CircuitBreaker(), NoMeter(), probe)
        await provider.start()
        with within(CallScope("id-1")):
            provider.failed(EngineError("gone", engine="stub", permanent=True))
        await asked.wait()
        await provider.close()

    virtually(main())
    assert heard == [""]


@pytest.mark.slow
def test_the_process_says_so_and_ends_with_2() -> None:
    code = (
        "import sys; sys.modules['opentelemetry'] = None\n"
        "from voicecore.service.__main__ import main\n"
        "stubs = '--port 0 --stt stub --llm stub --tts stub --vad energy'.split()\n"
        "sys.exit(main([*stubs, '--otel-endpoint', 'http://127.0.0.1:4318']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert "pip install 'voicecore[otel]'" in done.stderr
    assert "Traceback" not in done.stderr
