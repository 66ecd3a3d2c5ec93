"""What is kept is there at every rate before the first call, or there is no call."""

from __future__ import annotations

import asyncio

import pytest

from voicecore.engines.tts.stub import TtsStub
from voicecore.errors import EngineError
from voicecore.service.kept_speech import KeptSpeech

RATES_HZ = (8_000, 24_000)


@pytest.mark.parametrize("rate_hz", [8_000, 22_050, 24_000, 44_100])
def test_it_lasts_as_long_at_every_rate(rate_hz: int) -> None:
    voice = TtsStub(0.5, rate_hz=rate_hz)
    kept = asyncio.run(KeptSpeech.synthesise(voice, ["sorry", "bye"], RATES_HZ))
    for text in ("sorry", "bye"):
        for hz in RATES_HZ:
            assert len(kept.pcm(text, hz)) == pytest.approx(hz / 2, abs=hz * 0.005)
        assert kept.seconds(text) == pytest.approx(0.5, abs=0.005)
    assert kept.seconds("else") == 0


def test_a_voice_whose_rate_can_not_be_converted_is_refused() -> None:
    with pytest.raises(EngineError, match="23999") as refusal:
        asyncio.run(KeptSpeech.synthesise(TtsStub(0.5, rate_hz=23_999), ["sorry"], RATES_HZ))
    assert refusal.value.code == "tts_rate"
