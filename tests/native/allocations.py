"""Run with ``count_allocations.so`` preloaded: requests for memory per path, as JSON.

Each path works through BLOCKS blocks after a warm-up, and what this thread asked malloc and its
kin for meanwhile is counted.
"""

from __future__ import annotations

import ctypes
import gc
import json
from collections.abc import Callable
from functools import partial

import numpy as np

from voicecore._native import g711, rtp
from voicecore._native import pcm as pcm_kernels
from voicecore._native.chunks import Splitter, VadFrames
from voicecore._native.echo import EchoGuard
from voicecore._native.echo_canceller import EchoCanceller
from voicecore._native.features import FeatureStream
from voicecore._native.inbound import Inbound
from voicecore._native.jitter import JitterBuffer
from voicecore._native.opus import Decoder, Encoder
from voicecore._native.outbound import Outbound
from voicecore._native.resample import Resampler
from voicecore._native.ring import AudioRing
from voicecore._native.rtcp import RtcpState
from voicecore._native.silero import SileroScorer, SileroWeights, shapes

BLOCKS = 10_000
MS = 1_000_000
TONE = (8000 * np.sin(np.arange(960) / 20)).astype(np.int16)

Step = Callable[[int], object]


def jitter_buffer() -> Step:
    """In order, with a swap, a loss and a duplicate now and then."""
    buffer = JitterBuffer()
    payload = bytes(80)
    moved = {5: 1, 6: -1, 11: 0, 17: -1}

    def step(i: int) -> None:
        number = i + moved.get(i % 20, 0)
        if i % 20 != 11:
            buffer.push(number & 0xFFFF, number * 960 & 0xFFFFFFFF, i * 20 * MS, payload)
        while buffer.pop(i * 20 * MS)[0] != "wait":
            pass

    return step


def ring() -> Step:
    ring = AudioRing(16_000)
    reader = ring.reader()
    block = TONE[:320].copy()

    def step(_: int) -> None:
        ring.write(block)
        reader.read(320)

    return step


def own_arrays() -> Step:
    """Everything that writes to arrays of the caller's."""
    ring = AudioRing(16_000)
    reader, frames = ring.reader(), VadFrames(ring)
    to_16k, floats = Resampler(48_000, 16_000), Resampler(24_000, 48_000, dtype="float32")
    pcm, frame = np.empty(320, np.int16), np.empty(576, np.float32)
    wide, wider = np.zeros(480, np.float32), np.empty(960, np.float32)
    codes = g711.ulaw_encode(TONE[:320])

    def step(_: int) -> None:
        to_16k.process(TONE, pcm)
        ring.write(pcm)
        reader.read_into(pcm)
        frames.read_into(frame)
        pcm_kernels.mix(pcm, pcm, 0.5, 0.25, pcm)
        pcm_kernels.to_float32(pcm, wide[:320])
        floats.process(wide, wider)
        g711.ulaw_decode(codes, pcm)

    return step


def splitter() -> Step:
    return partial(_ignoring, Splitter(AudioRing(16_000), (512, 1600), views=True).push)


def _ignoring(push: Callable[[np.ndarray], object], _: int) -> None:
    push(TONE[:320])


def silero() -> Step:
    """One frame of one stream; random weights cost the same."""
    draw = np.random.default_rng(1).standard_normal
    arrays = {
        name: (0.05 * draw(shape)).astype(np.float32) for name, shape in shapes(16_000).items()
    }
    score = SileroScorer(SileroWeights(16_000, arrays)).score
    frames, states = [np.zeros(576, np.float32)], [np.zeros((2, 1, 128), np.float32)]
    return lambda _: score(frames, states)


def features() -> Step:
    stream = FeatureStream(history_s=4)
    block = TONE[:320].copy()
    return lambda _: stream.push(block)


def vad_frames() -> Step:
    """A frame of 576 float32 a step: an array too big for NumPy's cache, one request each."""
    ring = AudioRing(16_000)
    frames = VadFrames(ring)
    block = TONE[:512].copy()

    def step(_: int) -> None:
        ring.write(block)
        frames.next()

    return step


def opus_decode() -> Step:
    packet = Encoder(24_000).encode(TONE[:480])
    decoder = Decoder(16_000)
    return lambda i: decoder.conceal(320) if i % 10 == 9 else decoder.decode(packet)


def opus_encode() -> Step:
    encoder = Encoder(24_000)
    block = TONE[:480].copy()
    return lambda _: encoder.encode(block)


def resample() -> Step:
    resampler = Resampler(48_000, 16_000)
    return lambda _: resampler.process(TONE)


def g711_both_ways() -> Step:
    block = TONE[:160].copy()
    return lambda _: g711.ulaw_decode(g711.ulaw_encode(block))


def _inbound(path: Inbound, payload_type: int, payload: bytes, ticks: int) -> Step:
    packets = [rtp.header(payload_type, i, i * ticks, 7) + payload for i in range(1 << 16)]

    def step(i: int) -> None:
        if i % 25 != 13:
            path.push(packets[i & 0xFFFF], i * 20 * MS)
        path.poll(i * 20 * MS)

    return step


def inbound_opus() -> Step:
    """With every 25th packet lost."""
    packet = Encoder(24_000).encode(TONE[:480])
    return _inbound(Inbound(opus_pt=111), 111, packet, 960)


def inbound_g711() -> Step:
    return _inbound(Inbound(pcmu_pt=0), 0, g711.ulaw_encode(TONE[:160].copy()), 160)


def inbound_tapped() -> Step:
    """The log of its packets goes round a hundred times."""
    packet = Encoder(24_000).encode(TONE[:480])
    path = Inbound(opus_pt=111, ring_ms=1000)
    path.tap()
    return _inbound(path, 111, packet, 960)


def reports_and_feedback() -> Step:
    """Two ends that report each second and tell of each other's packets each 100 ms."""
    near, far = (RtcpState(ssrc, "c", transport_cc=True) for ssrc in (1, 2))

    def step(i: int) -> None:
        now_ns = i * 20 * MS
        near.sent(i & 0xFFFF, now_ns, 100)
        if i % 7:
            far.arrived(i & 0xFFFF, now_ns)
        if i % 5 == 0:
            near.read(far.feedback(1, now_ns), now_ns)
        if i % 50 == 0:
            far.read(near.write(now_ns, packets=i), now_ns)
            near.read(far.write(now_ns, remote_ssrc=1, expected=i + 1, received=i), now_ns)

    return step


def outbound() -> Step:
    """Speech, silence, a hold, a flush and new settings now and then, with RED."""
    path = Outbound(
        codec="opus", payload_type=111, ssrc=1, sequence=0, timestamp=0, red_pt=63,
        transport_cc_id=5,
    )  # fmt: skip
    path.configure(red=True)
    block = TONE[:480].copy()

    def step(i: int) -> None:
        if i % 50 < 30:
            path.write(block, path.generation)
        if i % 50 == 10:
            path.hold()
        if i % 50 == 15:
            path.resume()
        if i % 50 == 20:
            path.flush()
            path.configure(bitrate_bps=40_000 + i % 3, expected_loss_percent=i // 50 % 2 * 10)
        path.next_packet()

    return step


def cancelled_echo() -> Step:
    """With a delay that is known; two blocks a frame."""
    guard, rng = EchoGuard(16_000), np.random.default_rng(1)
    canceller = EchoCanceller(guard)
    noise = rng.normal(0, 4000, 320 * 64).astype(np.int16).reshape(-1, 320)
    came = np.concatenate([np.zeros(4 * 320, np.int16), noise.ravel()])
    heard = np.zeros(576, np.float32)
    for end in range(512, len(noise) * 320, 512):
        for packet in range((end - 512) // 320, end // 320):
            guard.sent(noise[packet], packet * 20_000_000)
        heard[-min(end, 576) :] = came[max(end - 576, 0) : end] / 32768
        guard.hear(heard, end, end * 62_500)
        guard.share()
    assert guard.delay_ms is not None

    def step(i: int) -> None:
        pcm = noise[i // 2 % len(noise)]
        if i % 2 == 0:
            canceller.sent(pcm, i * 10_000_000)
        canceller.run(pcm[160 * (i % 2) : 160 * (i % 2) + 160])
        if i == 1000 + BLOCKS - 1:
            assert canceller.frames > BLOCKS // 2 - 50

    return step


def nothing() -> Step:
    return lambda _: None


def deliberate() -> Step:
    """Asks for memory at every block: shows that it would be seen."""
    return lambda _: bytearray(4096)


PATHS = (nothing, deliberate, jitter_buffer, ring, own_arrays, splitter, silero, features,
         vad_frames, opus_decode, opus_encode, resample, g711_both_ways, inbound_opus,
         inbound_g711, inbound_tapped, reports_and_feedback, outbound, cancelled_echo)  # fmt: skip


def main() -> None:
    counter = ctypes.CDLL(None).allocations
    counter.restype = ctypes.c_long
    counts = {}
    for path in PATHS:
        step = path()
        for i in range(1000):
            step(i)
        gc.collect()
        gc.disable()
        before = counter()
        for i in range(1000, 1000 + BLOCKS):
            step(i)
        counts[path.__name__] = counter() - before
        gc.enable()
    print(json.dumps(counts))


if __name__ == "__main__":
    main()
