"""Probes and the scrape."""

from __future__ import annotations

import asyncio

import pytest
from prometheus_client.parser import text_string_to_metric_families

from fakes.site import MakeSite, Site
from voicecore.engines.resilience.provider import ProviderHealth
from voicecore.errors import MisuseError
from voicecore.service.loop_lag import measure_loop_lag
from voicecore.service.metrics import Metrics
from voicecore.service.secret_text import masked
from voicecore.transport.server_notes import ServerFault, TurnState


def samples(metrics: Metrics) -> dict[tuple[str, tuple[str, ...]], float]:
    """Value by sample name and sorted label values."""
    text = metrics.render()[0].decode()
    return {
        (sample.name, tuple(sorted(sample.labels.values()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def test_alive_whatever_happens(site: Site) -> None:
    site.ready.wait_for("engines", "the engines are loading")
    site.manager.draining = True
    assert (await site.client.get("/healthz")).status == 200


async def test_ready_says_why_not(make_site: MakeSite) -> None:
    site = await make_site(limit=1)
    site.ready.wait_for("engines", "the engines are loading")
    reply = await site.client.get("/readyz")
    assert reply.status == 503
    assert reply.headers["Retry-After"]
    error = (await reply.json())["error"]
    assert (error["code"], error["message"]) == ("not_ready", "the engines are loading")
    site.ready.done("engines")
    assert (await site.client.get("/readyz")).status == 200
    await site.open()
    site.manager.draining = True
    error = (await (await site.client.get("/readyz")).json())["error"]
    assert error["code"] == "draining"
    assert error["message"].startswith("the server is draining: ")
    assert error["message"].endswith("; all 1 places are taken")


async def test_ready_says_which_engine_is_down_and_why(site: Site) -> None:
    up, down = ProviderHealth("near", "up"), ProviderHealth("far", "down", "far: no answer")
    health = {"stt": [down, up], "llm": [ProviderHealth("stub", "unknown")]}
    site.ready.watch_engines(lambda: health)
    reply = await site.client.get("/readyz")
    assert reply.status == 200
    assert (await reply.json())["engines"] == {
        "stt": {"far": {"state": "down", "reason": "far: no answer"}, "near": {"state": "up"}},
        "llm": {"stub": {"state": "unknown"}},
    }
    health["tts"] = [down, ProviderHealth("other", "down", "no key")]
    reply = await site.client.get("/readyz")
    assert reply.status == 503
    message = (await reply.json())["error"]["message"]
    assert message == "tts: far is down (far: no answer); other is down (no key)"
    assert (await site.open())["session_id"], "a caller is told by the apology"


async def test_ready_repeats_no_key(site: Site) -> None:
    masked.add(["readyz-canary"])
    down = ProviderHealth("far", "down", "refused readyz-canary")
    health = {"stt": [down]}
    site.ready.watch_engines(lambda: health)
    assert "readyz-canary" not in await (await site.client.get("/readyz")).text()
    health["stt"].append(ProviderHealth("near", "up"))
    assert "readyz-canary" not in await (await site.client.get("/readyz")).text()


async def test_scrape_is_prometheus_text(site: Site) -> None:
    reply = await site.client.get("/metrics")
    assert reply.status == 200
    assert reply.content_type == "text/plain"
    text = await reply.text()
    assert "voicecore_calls_limit 3.0" in text
    assert "process_resident_memory_bytes" in text


def test_the_vad_backend_is_told() -> None:
    metrics = Metrics()
    assert not [key for key in samples(metrics) if key[0] == "voicecore_vad_backend"]
    metrics.vad_backend("native", "avx2")
    assert samples(metrics)["voicecore_vad_backend", ("avx2", "native")] == 1


def test_calls_are_counted() -> None:
    metrics = Metrics()
    metrics.call_opened("server_offer")
    metrics.call_opened("client_offer")
    metrics.call_ended("hung_up", 12.5)
    found = samples(metrics)
    assert found["voicecore_calls_opened_total", ("server_offer",)] == 1
    assert found["voicecore_calls_active", ()] == 1
    assert found["voicecore_calls_ended_total", ("hung_up",)] == 1
    assert found["voicecore_call_duration_seconds_sum", ()] == 12.5


def test_turns_barge_ins_ice_media_and_failures_are_counted() -> None:
    metrics = Metrics()
    metrics.turn({"endpoint": 0.48, "llm": 0.02, "total": -0.001})
    metrics.barge_in()
    metrics.ice_result("connected", "host", "prflx")
    metrics.ice_result("failed")
    metrics.media("lost", 3)
    metrics.media("lost", 0)
    metrics.media("concealed_ms", 60)
    metrics.media("stalls", 2)
    metrics.no_relay("refused")
    metrics.engine_failed("tts", "worker_died")
    metrics.loop_lag(0.003)
    found = samples(metrics)
    assert found["voicecore_turns_total", ()] == 1
    assert found["voicecore_turn_stage_seconds_bucket", ("0.48", "endpoint")] == 1
    assert found["voicecore_turn_stage_seconds_bucket", ("0.32", "endpoint")] == 0
    assert found["voicecore_turn_stage_seconds_sum", ("total",)] == 0
    assert found["voicecore_barge_ins_total", ()] == 1
    pair = {"result": "connected", "local": "host", "remote": "prflx"}
    assert metrics.registry.get_sample_value("voicecore_ice_results_total", pair) == 1
    assert found["voicecore_ice_results_total", ("failed", "none", "none")] == 1
    assert found["voicecore_media_packets_total", ("lost",)] == 3
    assert found["voicecore_media_seconds_total", ("concealed",)] == 0.06
    assert found["voicecore_media_streams_total", ("stalls",)] == 2
    assert found["voicecore_ice_no_relay_total", ("refused",)] == 1
    assert found["voicecore_engine_failures_total", ("tts", "worker_died")] == 1
    assert found["voicecore_event_loop_lag_seconds", ()] == 0.003


def test_counters_never_fall() -> None:
    with pytest.raises(MisuseError):
        Metrics().media("lost", -1)


def test_servers_in_one_process_count_apart() -> None:
    first, second = Metrics(), Metrics()
    first.barge_in()
    assert samples(second)["voicecore_barge_ins_total", ()] == 0


async def test_loop_lag_is_reported_until_cancelled() -> None:
    lags: list[float] = []
    enough = asyncio.Event()

    def report(lag_s: float) -> None:
        lags.append(lag_s)
        if len(lags) == 3:
            enough.set()

    task = asyncio.create_task(measure_loop_lag(report, period_s=0.001))
    await asyncio.wait_for(enough.wait(), 60)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert task.cancelled()
    assert all(lag >= 0 for lag in lags)


def test_stages_of_turns_and_recordings_are_counted() -> None:
    metrics = Metrics()
    metrics.suspicion("nothing", 0.3)
    metrics.speculation("used")
    metrics.stale_events(2)
    counts = {"opened": 3, "closed": 2, "truncated": 0, "failed": 1, "bytes": 77}
    metrics.watch_recordings(lambda: counts)
    read = metrics.registry.get_sample_value
    assert read("voicecore_suspicions_total", {"outcome": "nothing"}) == 1
    assert read("voicecore_suspicion_seconds_sum", {"outcome": "nothing"}) == 0.3
    assert read("voicecore_speculations_total", {"outcome": "used"}) == 1
    assert read("voicecore_stale_events_total") == 2
    assert read("voicecore_recordings_total", {"event": "failed"}) == 1
    assert read("voicecore_recording_bytes_total") == 77


DOWN = TurnState(1, "udp", up=False, fault=ServerFault.REFUSED)
SILENT = TurnState(2, "tls", up=False, fault=ServerFault.TIMEOUT)
UP = TurnState(2, "tls", up=True)


async def test_turn_servers_are_told_and_no_reason_where_calls_do_without(site: Site) -> None:
    async def told() -> dict[str, object]:
        reply = await site.client.get("/readyz")
        assert reply.status == 200
        return await reply.json()  # type: ignore[no-any-return]

    assert "turn" not in await told()
    site.ready.watch_turn(site.manager.turn, required=False)
    assert "turn" not in await told(), "none is configured"
    site.manager.turn_states = [DOWN, SILENT]
    assert (await told())["turn"] == [
        {
            "position": 1,
            "transport": "udp",
            "state": "down",
            "reason": "it refuses our user name and password",
        },
        {"position": 2, "transport": "tls", "state": "down", "reason": "it doesn't answer"},
    ]
    site.manager.turn_states = [TurnState(1, "tcp", up=None), UP]
    states = (await told())["turn"]
    assert [each["state"] for each in states] == ["unknown", "up"]  # type: ignore[attr-defined]


async def test_where_calls_need_a_turn_server_one_that_works_is_waited_for(site: Site) -> None:
    site.ready.watch_turn(site.manager.turn, required=True)
    site.manager.limit = 9
    for states, why in (
        ([TurnState(1, "udp", up=None)], "none has been asked yet"),
        ([SILENT, DOWN], "it refuses our user name and password"),
        ([SILENT, TurnState(1, "udp", up=None)], "it doesn't answer"),
    ):
        site.manager.turn_states = states
        reply = await site.client.get("/readyz")
        assert (reply.status, reply.headers["Retry-After"]) == (503, "2")
        error = (await reply.json())["error"]
        assert error["code"] == "not_ready"
        assert error["message"] == (
            f"turn: calls go through a TURN server here, and none gives a relay: {why}"
        )
        # Who comes nevertheless is told by the call itself what is wrong.
        assert (await site.client.post("/api/voice/session")).status == 200
    site.manager.turn_states = [DOWN, UP]
    assert (await site.client.get("/readyz")).status == 200


def test_turn_servers_are_measured_by_their_place() -> None:
    metrics = Metrics()
    states = [DOWN, UP, TurnState(3, "tcp", up=None)]
    metrics.watch_turn(lambda: states)
    up = {labels: value for (name, labels), value in samples(metrics).items() if "turn_up" in name}
    assert up == {("1", "udp"): 0, ("2", "tls"): 1}


async def test_the_directory_is_told_and_no_reason(site: Site) -> None:
    assert "directory" not in await (await site.client.get("/readyz")).json()
    site.ready.watch_directory(lambda: {"state": "away"})
    reply = await site.client.get("/readyz")
    assert reply.status == 200
    assert (await reply.json())["directory"] == {"state": "away"}
