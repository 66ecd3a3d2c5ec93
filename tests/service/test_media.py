"""The media threads of a process: what they tell of their load, and what is given up."""

from __future__ import annotations

import ctypes.util
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from transport.kit import until
from voicecore._native.libs import find_libspeexdsp
from voicecore.core.overload import OverloadLevel
from voicecore.engines.vad.energy import EnergyVad
from voicecore.errors import MissingLibraryError
from voicecore.service.config import Settings
from voicecore.service.config_load import ConfigError
from voicecore.service.engine_factory import build_engines
from voicecore.service.media import Media, play_rates
from voicecore.service.metrics import Metrics
from voicecore.service.overload import MediaLoad
from voicecore.transport.hub import Port
from voicecore.transport.media_path import SelectedPair
from voicecore.transport.peer import AudioLink
from voicecore.transport.sdp_audio import AudioFormat
from voicecore.transport.srtp_keys import SrtpKeys


class FakeCounters:
    """Stands in for what the threads count."""

    def __init__(self) -> None:
        self.late = [0] * 64
        self.waited = [0] * 64
        self.now: dict[str, Any] = {"kernel_drops": 0, "datagrams_lost": 0, "events_lost": 0}
        self.now |= {"tx_late_max_ms": 0.0, "rx_late_max_ms": 0.0}
        self.spared: list[Any] = []

    def counters(self) -> dict[str, Any]:
        return self.now | {"tx_late_ms": list(self.late), "rx_late_ms": list(self.waited)}

    def set_sparing(self, sparing: bool) -> None:
        self.spared.append(sparing)


@asynccontextmanager
async def media(**settings: Any) -> AsyncIterator[Media]:
    made = Settings(**({"stt": "stub", "llm": "stub", "tts": "stub", "vad": "energy"} | settings))
    engines = build_engines(made)
    await engines.start(lambda _: None)
    found = Media(made, engines)
    try:
        yield found
    finally:
        await found.close()
        await engines.close()


async def test_load_is_of_the_time_since_it_was_last_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    async with media() as made:
        counted = FakeCounters()
        monkeypatch.setattr(made, "_threads", counted)
        assert made.load() == MediaLoad()
        counted.late[0], counted.late[7] = 980, 20
        counted.waited[0], counted.waited[30] = 490, 10
        counted.now |= {"tx_late_max_ms": 7.4, "kernel_drops": 3, "events_lost": 1}
        assert made.load() == MediaLoad(8.0, 7.4, 31.0, 4)
        counted.late[0] += 1000
        counted.waited[4] += 500
        counted.now |= {"tx_late_max_ms": 0.3, "datagrams_lost": 2}
        assert made.load() == MediaLoad(0.0, 0.3, 5.0, 2)
        assert made.counters()["kernel_drops"] == 3


def no_library(name: str) -> None:
    return None


async def test_an_echo_canceller_needs_the_vad_that_has_a_guard() -> None:
    with pytest.raises(ConfigError, match="echo guard finds, and that needs vad = silero"):
        async with media(echo_canceller="speexdsp"):
            pass


async def test_an_echo_canceller_without_its_library_names_the_package(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse() -> str:
        monkeypatch.setattr(ctypes.util, "find_library", no_library)
        monkeypatch.delenv("VOICECORE_LIBSPEEXDSP", raising=False)
        return str(find_libspeexdsp())

    monkeypatch.setattr("voicecore.service.media.echo_canceller.library", refuse)
    monkeypatch.setattr(EnergyVad, "native_weights", object(), raising=False)
    with pytest.raises(MissingLibraryError, match="apt-get install libspeexdsp1"):
        async with media(echo_canceller="speexdsp"):
            pass


async def test_of_few_slots_a_single_late_one_is_the_maximum_and_not_the_quantile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with media() as made:
        counted = FakeCounters()
        monkeypatch.setattr(made, "_threads", counted)
        counted.late[0], counted.late[31] = 49, 1
        counted.now |= {"tx_late_max_ms": 31.6}
        assert made.load() == MediaLoad(0.0, 31.6, 0.0, 0)
        counted.late[0] += 48
        counted.late[15] += 2
        assert made.load().tx_late_p99_ms == 16.0, "two are no accident"
        counted.late[20] += 1
        assert made.load().tx_late_p99_ms == 0.0


async def test_the_level_decides_whether_frames_are_spared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with media() as made:
        counted = FakeCounters()
        monkeypatch.setattr(made, "_threads", counted)
        for level in OverloadLevel:
            made.set_level(level)
        assert counted.spared == [False, False, True, True]


async def test_a_port_that_is_taken_is_told_in_a_sentence() -> None:
    async with media() as one:
        udp_port = one.hub.ports()[0].udp_port
        with pytest.raises(ConfigError, match=f"can't open UDP port {udp_port}: .*in use"):
            async with media(udp_port=udp_port):
                raise AssertionError("two processes can't share a port")


async def test_a_call_is_reached_as_configured() -> None:
    settings: dict[str, Any] = {
        "public_ip": ["203.0.113.7"], "public_ip_only": True, "ask_for_red": True,
        "udp_port_min": 47_000, "udp_port_max": 47_001,
    }  # fmt: skip
    async with media(**settings) as made:
        config = made.peer_config()
        assert config.hub is made.hub
        assert (config.public_addresses, config.hide_private) == (("203.0.113.7",), True)
        assert config.wants.red_first
        assert [config.next_port() for _ in range(3)] == [47_000, 47_001, 47_000]
        assert (config.port_min, config.port_max) == (47_000, 47_001)


class FakePath:
    """A path of a peer that the threads know, from our port to itself."""

    def __init__(self, peer: int, port: Port) -> None:
        self.peer = peer
        self.pair = SelectedPair(port.id, port.host, port.udp_port, "host", "host")

    def attach(self, sink: Any) -> None:
        sink.on_pair(self.pair)

    def send(self, data: bytes) -> bool:
        return False


class Deaf:
    """A handler, and a sink, that hear of nothing."""

    def __getattr__(self, name: str) -> Any:
        return lambda *_: None


@pytest.mark.parametrize("vad", ["energy", "silero"])
@pytest.mark.parametrize("codec", ["opus", "pcmu", "pcma"])
async def test_a_plane_for_each_codec_and_kind_of_voice_activity(codec: Any, vad: str) -> None:
    async with media(vad=vad) as made:
        deaf: Any = Deaf()
        peer = made.hub.add_peer("oneone", deaf)
        path: Any = FakePath(peer, made.hub.ports()[0])
        form = AudioFormat(codec, {"opus": 111, "pcmu": 0, "pcma": 8}[codec], 111, 0, 8)
        keys = SrtpKeys("SRTP_AEAD_AES_128_GCM", b"a" * 28, b"b" * 28)
        plane = made.make_plane(AudioLink(form, 9, keys, path))
        plane.attach(deaf)
        assert plane.play_rate_hz in play_rates(24_000)
        assert plane.heard == 0
        plane.adapt()
        assert plane.stats()["received"] == 0
        await until(lambda: plane.stats()["sent"])  # silence goes out from the start
        plane.close()
        made.hub.remove_peer(peer)


def test_the_threads_are_in_the_metrics() -> None:
    metrics = Metrics()
    counted = FakeCounters()
    counted.late[0], counted.late[3], counted.late[63] = 90, 9, 1
    counted.waited[0], counted.waited[12] = 40, 2
    counted.now |= {"received": 700, "kernel_drops": 2}
    metrics.watch_media(counted.counters)
    values = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(metrics.render()[0].decode())
        for sample in family.samples
    }
    assert values["voicecore_media_threads_total", "received"] == 700
    assert values["voicecore_media_threads_total", "kernel_drops"] == 2
    assert values["voicecore_tx_late_seconds_bucket", "0.001"] == 90
    assert values["voicecore_tx_late_seconds_bucket", "0.005"] == 99
    assert values["voicecore_tx_late_seconds_bucket", "+Inf"] == 100
    assert values["voicecore_tx_late_seconds_count",] == 100
    assert values["voicecore_rx_late_seconds_bucket", "0.01"] == 40
    assert values["voicecore_rx_late_seconds_bucket", "0.02"] == 42
    assert values["voicecore_rx_late_seconds_count",] == 42
