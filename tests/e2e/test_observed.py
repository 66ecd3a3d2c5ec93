"""One call of a whole service, as Prometheus, a trace collector and the log see it."""

from __future__ import annotations

import asyncio
import json
import math
import os
import re
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from aiohttp import web

from caller.server import free_port, running
from e2e.agents.e2e_agents import STORY
from e2e.aiortc_caller import AiortcCaller
from e2e.patience import until
from e2e.spoken import remark
from fakes.promql import ALERTS, Query, alert_queries, dashboard_queries

WORDS = "marmalade xylophone"
GREETING = "Periwinkle"
_WINDOW = "1m"
_COMPARED = re.compile(r"(==|>=|<=|(?<![=])>|<(?!=))(?= )")

EMPTY = {
    "Circuit breakers A": "no engine has failed",
    "Failures that cost a reply A": "no reply was lost",
    "Attempts that failed A": "no engine has failed",
    "Taken over by another A": "no engine has failed",
    "Taken over by another B": "no connection was lost",
    "Steps of the overload level A": "the level is not looked at here (--overload off)",
    "VoicecoreRepliesFail": "no reply was lost",
    **dict.fromkeys(
        (
            "All instances, as the directory tells A",
            "All instances, as the directory tells B",
            "Directory A",
            "Directory: waiting for a place, p95 A",
            "Admitted or refused without the directory A",
            "VoicecoreDirectoryDown",
        ),
        "it is alone: there is no directory",
    ),
    **dict.fromkeys(
        (
            "Workers started again A",
            "Workers that did not answer the scrape A",
            "VoicecoreWorkersRestart",
        ),
        "it is one process",
    ),
    "TURN servers A": "it has none",
    "VoicecoreTurnDown": "it has no TURN servers",
    "VoicecoreDeepCheckFails": "nobody asked for a deep check",
    "Versions B": "the VAD of this call is not Silero",
}
"""Expressions without a result, and why that is right."""

UNDEFINED = {
    "Engines: asked to first of the answer, p95 A": "its series begin with the engine's first use",
    "Recognisers: end of utterance to final text, p95 A": "likewise",
}
"""Those that may be "not a number" although there was a call."""


@dataclass
class Observed:
    """What is known of the call from outside."""

    caller: AiortcCaller
    log: str = ""
    exported: list[Any] = field(default_factory=list)
    queries: dict[str, Any] | None = None
    """By place: a result of Prometheus. None: it isn't installed."""
    rules: list[dict[str, Any]] = field(default_factory=list)


@pytest.fixture(scope="module")
def observed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Observed]:
    with asyncio.Runner() as runner:
        yield runner.run(observe(tmp_path_factory.mktemp("observed")))


async def observe(folder: Path) -> Observed:
    exported: list[Any] = []
    port = free_port()
    (folder / "recordings").mkdir()
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as http:
        async with (
            collector(exported) as endpoint,
            prometheus(http, port, folder) as ask,
            running(
                "--stt", "stub", "--stub-stt-text", WORDS, "--vad", "energy",
                "--tts", "stub", "--stub-tts-seconds", "1.2", "--agent", "e2e_agents:storyteller",
                "--greeting", GREETING, "--overload", "off", "--log-level", "debug",
                "--log-format", "json", "--otel-endpoint", endpoint,
                "--record-dir", str(folder / "recordings"), "--record-consent", "a test",
                log=folder / "service.log", port=port,
            ) as server,
        ):  # fmt: skip
            if ask is not None:
                # What the call counts must have begun at 0 before.
                await until(lambda: ask.holds("up > 0"), "Prometheus has scraped the service")
            seen = Observed(await call(http, server.url), exported=exported)
            if ask is not None:
                twice = "count_over_time(voicecore_calls_ended_total[1m]) > 1"
                await until(lambda: ask.holds(twice), "the end was scraped twice")
                seen.queries = {
                    query.place: await ask(query) for query in dashboard_queries() + alert_queries()
                }
                seen.rules = await ask.rules()
        # Stopped: what was not yet sent was sent on the way out.
        seen.log = (folder / "service.log").read_text()
    return seen


async def call(http: aiohttp.ClientSession, url: str) -> AiortcCaller:
    """A greeting, a turn, an interruption, a turn."""
    caller = AiortcCaller(http, url)
    await caller.call()
    try:
        await caller.event("agent_done")
        caller.say(remark())
        await caller.event("latency")
        await asyncio.sleep(0.2)
        mark = len(caller.events)
        caller.say(remark())
        await caller.event("barge_in", after=mark)
        await caller.event("latency", after=mark)
        await asyncio.sleep(0.3)
    finally:
        await caller.hang_up()
    return caller


# -- who looks on -----------------------------------------------------------------------


@asynccontextmanager
async def collector(exported: list[Any]) -> AsyncIterator[str]:
    """A collector of traces, OTLP over HTTP; the requests that came go to ``exported``."""
    service = pytest.importorskip("opentelemetry.proto.collector.trace.v1.trace_service_pb2")

    async def take(request: web.Request) -> web.Response:
        assert request.content_type == "application/x-protobuf"
        exported.append(service.ExportTraceServiceRequest.FromString(await request.read()))
        return web.Response(
            body=service.ExportTraceServiceResponse().SerializeToString(),
            content_type="application/x-protobuf",
        )

    app = web.Application()
    app.router.add_post("/v1/traces", take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


class Prometheus:
    """A running one."""

    def __init__(self, http: aiohttp.ClientSession, url: str) -> None:
        self._http = http
        self._url = f"{url}/api/v1"

    async def __call__(self, query: Query) -> Any:
        """The result of what stands in the dashboard or the alerts."""
        expr = query.expr.replace("$__rate_interval", _WINDOW).replace("$instance", ".*")
        # An alert that has no reason to fire has no result: what it compares must have one.
        return await self._ask(_COMPARED.sub(r"\1 bool", expr))

    async def holds(self, expr: str) -> bool:
        """Whether ``expr`` has a result."""
        return bool((await self._ask(expr)).get("result"))

    async def rules(self) -> list[dict[str, Any]]:
        async def evaluated() -> list[dict[str, Any]]:
            async with self._http.get(f"{self._url}/rules") as reply:
                groups = (await reply.json())["data"]["groups"]
            rules = [rule for group in groups for rule in group["rules"]]
            return [] if any(rule["health"] == "unknown" for rule in rules) else rules

        return await until(evaluated, "the alerts are evaluated")

    async def _ask(self, expr: str) -> Any:
        try:
            async with self._http.post(f"{self._url}/query", data={"query": expr}) as reply:
                if reply.status == 503:
                    return {}  # it begins
                answer = await reply.json()
        except aiohttp.ClientConnectorError:
            return {}
        return answer.get("data") or {"error": answer.get("error"), "expr": expr}


@asynccontextmanager
async def prometheus(
    http: aiohttp.ClientSession, scraped: int, folder: Path
) -> AsyncIterator[Prometheus | None]:
    """Prometheus, scraping the service at port ``scraped``; None where it isn't installed."""
    command = shutil.which("prometheus")
    if command is None:
        yield None
        return
    config = {
        "global": {"scrape_interval": "500ms", "evaluation_interval": "1s"},
        "rule_files": [str(ALERTS)],
        "scrape_configs": [
            {
                "job_name": "voicecore",
                "static_configs": [{"targets": [f"127.0.0.1:{scraped}"]}],
            }
        ],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        command, f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'tsdb'}", f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=error",
    )  # fmt: skip
    try:
        yield Prometheus(http, f"http://127.0.0.1:{port}")
    finally:
        process.terminate()
        await process.wait()


# -- what they saw ----------------------------------------------------------------------


def test_every_query_of_the_dashboard_and_the_alerts_has_a_result(observed: Observed) -> None:
    if observed.queries is None:
        pytest.skip("there is no prometheus (apt-get install prometheus)")
    assert len(observed.queries) == len(dashboard_queries() + alert_queries())
    assert not {place: q for place, q in observed.queries.items() if "error" in q}
    empty = {place for place, query in observed.queries.items() if not query["result"]}
    assert empty <= EMPTY.keys(), empty - EMPTY.keys()
    undefined = {
        place
        for place, query in observed.queries.items()
        if query["result"] and all(math.isnan(float(s["value"][1])) for s in query["result"])
    }
    assert undefined <= UNDEFINED.keys(), undefined - UNDEFINED.keys()


def test_the_alerts_are_evaluated_without_an_error(observed: Observed) -> None:
    if observed.queries is None:
        pytest.skip("there is no prometheus (apt-get install prometheus)")
    assert {rule["name"] for rule in observed.rules} == {q.place for q in alert_queries()}
    assert {rule["name"]: rule["health"] for rule in observed.rules if rule["health"] != "ok"} == {}
    # A busy machine may well be late; nothing else is wrong with this service.
    wrong = {rule["name"] for rule in observed.rules if rule["alerts"]}
    assert wrong <= {"VoicecoreLoopLate", "VoicecorePacketsLate", "VoicecoreSlowAnswers"}


def test_the_figures_are_those_of_the_call(observed: Observed) -> None:
    if observed.queries is None:
        pytest.skip("there is no prometheus (apt-get install prometheus)")
    told = {place: query["result"] for place, query in observed.queries.items()}
    used = [s["metric"] for s in told["Chosen pairs A"] if float(s["value"][1])]
    assert len(used) == 1, used
    assert float(told["ICE success A"][0]["value"][1]) == 1
    worst = {s["metric"]["direction"]: float(s["value"][1]) for s in told["MOS, estimated B"]}
    assert all(1 < score < 4.5 for score in worst.values()), worst
    assert 0.2 < float(told["First answer, p95 A"][0]["value"][1]) <= 5


def spans(observed: Observed) -> list[Any]:
    return [
        span
        for request in observed.exported
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def attributes(span: Any) -> dict[str, Any]:
    return {
        pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in span.attributes
    }


def test_a_collector_gets_a_trace_of_the_call_with_a_tree_for_each_turn(
    observed: Observed,
) -> None:
    found = spans(observed)
    assert len({span.trace_id for span in found}) == 1
    (root,) = [span for span in found if not span.parent_span_id]
    assert root.name == "call"
    told = attributes(root)
    assert told["voicecore.session_id"] == observed.caller.session_id
    assert told["voicecore.end_reason"] == "hung_up"
    assert (told["voicecore.turns"], told["voicecore.barge_ins"]) == (2, 1)
    below: dict[bytes, list[Any]] = {}
    for span in found:
        below.setdefault(span.parent_span_id, []).append(span)
    assert {span.name for span in below[root.span_id]} == {"signalling", "ice", "dtls", "turn"}
    turns = [span for span in below[root.span_id] if span.name == "turn"]
    trees = [[child.name for child in below[turn.span_id]] for turn in turns]
    answer = ["endpoint", "stt", "llm", "tts", "playout"]
    assert trees == [["tts", "playout"], answer, answer]
    assert [attributes(turn)["voicecore.interrupted"] for turn in turns[:2]] == [False, True]
    for turn in turns:
        assert root.start_time_unix_nano < turn.start_time_unix_nano
        assert turn.end_time_unix_nano <= root.end_time_unix_nano
        for child in below[turn.span_id]:
            assert turn.start_time_unix_nano <= child.start_time_unix_nano
            assert child.start_time_unix_nano <= child.end_time_unix_nano
            assert child.end_time_unix_nano <= turn.end_time_unix_nano


def test_the_log_tells_the_call_in_three_lines_that_name_it(observed: Observed) -> None:
    entries = [json.loads(line) for line in observed.log.splitlines() if line.startswith("{")]
    mine = [e for e in entries if e.get("call") == observed.caller.session_id]
    told = {e["message"]: e for e in mine}
    assert {"call opened", "call connected", "call ended"} <= told.keys()
    assert told["call connected"]["local"] in ("host", "prflx")
    assert told["call connected"]["ice_ms"] > 0
    ended = told["call ended"]
    assert (ended["reason"], ended["turns"], ended["barge_ins"]) == ("hung_up", 2, 1)
    assert 1 < ended["mos_in"] < 4.5
    assert 1 < ended["mos_out"] < 4.5


def test_neither_words_nor_keys_nor_addresses_get_into_log_or_traces(observed: Observed) -> None:
    said = [e for e in observed.caller.events if e["type"] in ("transcript", "agent")]
    assert WORDS in json.dumps(said)
    assert STORY.split()[0] in json.dumps(said)
    traced = " ".join(str(request) for request in observed.exported)
    token = observed.caller.auth["Authorization"].partition(" ")[2]
    addresses = set(re.findall(r"c=IN IP4 (\S+)", observed.caller.server_sdp))
    addresses |= set(re.findall(r"candidate:.*? udp \d+ (\S+) ", observed.caller.server_sdp))
    addresses -= {"127.0.0.1", "0.0.0.0"}
    assert token
    for seen in (observed.log, traced):
        assert observed.caller.session_id in seen
        for secret in (*WORDS.split(), *STORY.split(), GREETING, token, *addresses):
            assert secret not in seen, f"{secret!r} was told"
    assert os.environ.get("PYTHONASYNCIODEBUG") is None
