"""The overload monitor, with time, processor and media in the test's hand."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from fakes.site import Site
from fakes.virtual_loop import virtually
from voicecore.core.overload import OverloadLevel
from voicecore.errors import CapacityError
from voicecore.service.calls import Calls
from voicecore.service.config import Settings
from voicecore.service.engine_factory import build_engines
from voicecore.service.engine_fields import cores
from voicecore.service.metrics import Metrics
from voicecore.service.overload import MediaLoad, OverloadMonitor, cpu_budget, p99

MS = 1_000_000
PERIOD_MS = 50
BROKEN = MediaLoad(tx_late_p99_ms=15)


class Machine:
    """What the monitor looks at."""

    def __init__(self, *, cpus: float = 2, enabled: bool = True) -> None:
        self.now_ns = 5_000 * MS
        self.cpu_ns = 777 * MS
        self.calls = 1
        self.media = MediaLoad()
        self.asked = 0
        self.told: list[OverloadLevel] = []
        self.metrics = Metrics()
        self.monitor = OverloadMonitor(
            self.metrics,
            active=lambda: self.calls,
            enabled=enabled,
            now=lambda: self.now_ns,
            cpu_time=lambda: self.cpu_ns,
            cpus=cpus,
        )
        self.monitor.media = self._media
        self.monitor.on_level = self.told.append

    def _media(self) -> MediaLoad:
        self.asked += 1
        return self.media

    def run(self, seconds: float, *, busy: float = 0.0, lag_s: float = 0.0) -> None:
        """Let time pass; ``busy`` processors are at work."""
        for _ in range(round(seconds * 1000 / PERIOD_MS)):
            self.now_ns += PERIOD_MS * MS
            self.cpu_ns += round(busy * PERIOD_MS * MS)
            self.monitor.note_lag(lag_s)

    def values(self) -> dict[str, float]:
        """Samples by name, with label values behind a colon."""
        return {
            ":".join([sample.name, *sample.labels.values()]): sample.value
            for family in text_string_to_metric_families(self.metrics.render()[0].decode())
            for sample in family.samples
        }


def test_media_is_asked_once_a_second_and_late_packets_refuse_at_once() -> None:
    machine = Machine()
    machine.monitor.check()
    machine.run(0.95)
    assert machine.asked == 0
    machine.media = BROKEN
    machine.run(0.05)
    assert machine.asked == 1
    assert machine.told == [OverloadLevel.REFUSING]
    with pytest.raises(CapacityError) as caught:
        machine.monitor.check()
    assert (caught.value.code, caught.value.retry_after_s) == ("overloaded", 5)


def test_processor_time_is_a_share_of_what_may_be_used() -> None:
    machine = Machine(cpus=2)
    machine.run(3, busy=1.3)
    assert machine.values()["voicecore_cpu_share"] == pytest.approx(0.65)
    assert machine.monitor.level is OverloadLevel.NORMAL
    machine.run(1, busy=1.7)
    assert machine.monitor.level is OverloadLevel.NORMAL
    machine.run(1, busy=1.7)
    assert machine.monitor.level is OverloadLevel.SPARING


def test_a_lasting_lag_of_the_loop_counts() -> None:
    machine = Machine()
    machine.run(1, lag_s=0.26)
    assert machine.told == []
    machine.run(1, lag_s=0.26)
    assert machine.told == [OverloadLevel.REFUSING]


def test_drops_count_by_the_second() -> None:
    machine = Machine()
    machine.media = MediaLoad(rx_dropped=60)
    # A loop that was held for two seconds asks for both of them together.
    machine.now_ns += 2000 * MS
    machine.monitor.note_lag(0.0)
    assert machine.told == [OverloadLevel.SPARING]


def test_calm_brings_everything_back_level_by_level() -> None:
    machine = Machine()
    machine.media = BROKEN
    machine.run(1)
    machine.media = MediaLoad()
    machine.run(20)
    assert machine.told == [
        OverloadLevel.REFUSING,
        OverloadLevel.SPARING,
        OverloadLevel.SAVING,
        OverloadLevel.NORMAL,
    ]
    machine.monitor.check()
    values = machine.values()
    assert values["voicecore_overload_level"] == 0
    for name in ("refusing", "sparing", "saving", "normal"):
        assert values[f"voicecore_overload_steps_total:{name}"] == 1


def test_the_level_is_in_the_metrics() -> None:
    machine = Machine()
    machine.media = MediaLoad(tx_late_p99_ms=9)
    machine.run(1, lag_s=0.002)
    values = machine.values()
    assert values["voicecore_overload_level"] == 2
    assert values["voicecore_event_loop_lag_seconds"] == 0.002


def test_off_measures_and_gives_nothing_up() -> None:
    machine = Machine(enabled=False)
    machine.media = BROKEN
    machine.run(5, busy=2, lag_s=0.3)
    machine.monitor.check()
    assert machine.told == []
    assert machine.values()["voicecore_cpu_share"] == pytest.approx(1)


def test_the_monitor_measures_the_loop_it_runs_on() -> None:
    async def main() -> None:
        metrics = Metrics()
        loop = asyncio.get_running_loop()
        asked: list[float] = []
        monitor = OverloadMonitor(
            metrics, active=lambda: 1, now=lambda: round(loop.time() * 1e9), cpu_time=lambda: 0
        )

        def media() -> MediaLoad:
            asked.append(loop.time())
            return BROKEN

        monitor.media = media
        monitor.start()
        await asyncio.sleep(3.5)
        assert len(asked) == 3
        assert monitor.level is OverloadLevel.REFUSING
        await monitor.close()
        await monitor.close()
        await asyncio.sleep(3)
        assert len(asked) == 3

    virtually(main())


def test_p99_is_the_nearest_rank() -> None:
    assert p99([]) == 0
    assert p99([5.0]) == 5
    assert p99([*range(100)]) == 98
    assert p99([3, 1, 2]) == 3


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("max 100000\n", math.inf),
        ("50000 100000\n", 0.5),
        ("99900000 100000\n", math.inf),
        ("nonsense", math.inf),
        ("1 0", math.inf),
        ("", math.inf),
    ],
)
def test_a_container_quota_bounds_the_processors(
    tmp_path: Path, text: str, expected: float
) -> None:
    (tmp_path / "cpu.max").write_text(text)
    assert cpu_budget(tmp_path / "cpu.max") == min(expected, cores())


def test_without_a_quota_file_all_cores_count() -> None:
    assert cpu_budget(Path("/nowhere/cpu.max")) == cores()


# -- admission and readiness -------------------------------------------------------------


def test_an_overloaded_server_admits_no_call_and_counts_it() -> None:
    async def main() -> None:
        settings = Settings(stt="stub", llm="stub", tts="stub", vad="energy", max_calls=5)
        engines = build_engines(settings)
        await engines.start(lambda _: None)
        machine = Machine()
        manager = Calls(settings, engines, machine.metrics, machine.monitor)
        await manager.start()
        machine.monitor.media = lambda: machine.media
        try:
            await manager.open()
            machine.media = BROKEN
            machine.run(1)
            assert manager.overload_level is OverloadLevel.REFUSING
            with pytest.raises(CapacityError) as caught:
                await manager.open()
            assert caught.value.code == "overloaded"
            assert machine.values()["voicecore_calls_refused_total:overloaded"] == 1
            assert manager.active == 1
        finally:
            await manager.close()
            await engines.close()

    virtually(main())


async def test_readiness_tells_degraded_from_overloaded(site: Site) -> None:
    reply = await site.client.get("/readyz")
    assert (await reply.json())["overload"] == "normal"
    site.manager.overload_level = OverloadLevel.SPARING
    reply = await site.client.get("/readyz")
    assert (reply.status, (await reply.json())["overload"]) == (200, "sparing")
    site.manager.overload_level = OverloadLevel.REFUSING
    reply = await site.client.get("/readyz")
    assert reply.status == 503
    assert (await reply.json())["error"]["message"] == "the server is too busy for more calls"
    assert (await site.client.get("/healthz")).status == 200
