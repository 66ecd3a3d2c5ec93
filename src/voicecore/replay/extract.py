"""A recording as files for other tools: stereo WAV (caller left, agent right) and JSON lines.

Both voices lie on the call's own time. The caller's audio is continuous where
it came in continuously: how early a stretch came is what counts, since a
network only ever makes it later. The agent's lies where the packets were sent.
"""

from __future__ import annotations

import json
import wave
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from voicecore._native.resample import Resampler
from voicecore.core.timeline import TIMELINE, Anchor
from voicecore.core.units import HEAR_RATE_HZ, NS_PER_S, ms_to_ns, ns_to_ms, samples_to_ns
from voicecore.replay.recording_file import AudioBlock, Recording, read_audio

_WINDOW = 10 * HEAR_RATE_HZ
_MOST_SAMPLES = (1 << 32) // 4 - 64
"""A WAV's length is a number of 32 bits."""

_AHEAD_NS = ms_to_ns(2000)
_SLACK_NS = ms_to_ns(100)
"""The caller's audio is taken in pieces; so much of their lateness is that, not the network."""

Piece = tuple[int, NDArray[np.int16]]
"""``(sample of the WAV, audio)``"""


def extract(file: BinaryIO, recording: Recording, directory: Path, stem: str) -> list[Path]:
    """Write ``stem.wav`` and ``stem.jsonl`` into ``directory`` (made if need be)."""
    directory.mkdir(parents=True, exist_ok=True)
    sound, text = directory / f"{stem}.wav", directory / f"{stem}.jsonl"
    write_wav(file, recording, sound)
    with text.open("w", encoding="utf-8") as out:
        records = [recording.header, *recording.steps]
        records += [r for r in recording.played if isinstance(r, Anchor)]
        if recording.finish is not None:
            records.append(recording.finish)
        for record in records:
            out.write(json.dumps(TIMELINE.encode(record)) + "\n")
    return [sound, text]


def write_wav(file: BinaryIO, recording: Recording, path: Path) -> None:
    """Stereo, 16 bits, 16 kHz; a call that doesn't fit into a WAV (18 h) is cut."""
    length = _sample_of(recording.end_ns, recording)
    left = _Track(caller_pieces(file, recording))
    right = _Track(agent_pieces(file, recording))
    with wave.open(str(path), "wb") as out:
        out.setnchannels(2)
        out.setsampwidth(2)
        out.setframerate(HEAR_RATE_HZ)
        for start in range(0, min(length, _MOST_SAMPLES), _WINDOW):
            n = min(_WINDOW, length - start, _MOST_SAMPLES - start)
            stereo = np.stack([left.take(start, n), right.take(start, n)], axis=1)
            out.writeframes(stereo.astype("<i2").tobytes())


def caller_pieces(file: BinaryIO, recording: Recording) -> Iterator[Piece]:
    """The caller's audio, each piece where it was said as far as can be told."""
    blocks = recording.heard
    offsets = [b.now_ns - samples_to_ns(b.position + b.samples, HEAR_RATE_HZ) for b in blocks]
    waiting: deque[int] = deque()
    """Numbers of blocks within two seconds, their offsets rising: the first is the least."""
    ahead, offset_ns = 0, offsets[0] if offsets else 0
    for i, block in enumerate(blocks):
        while ahead < len(blocks) and blocks[ahead].now_ns <= block.now_ns + _AHEAD_NS:
            while waiting and offsets[waiting[-1]] >= offsets[ahead]:
                waiting.pop()
            waiting.append(ahead)
            ahead += 1
        while waiting and waiting[0] < i:
            waiting.popleft()
        least_ns = offsets[waiting[0]] if waiting else offsets[i]
        if abs(offset_ns - least_ns) > _SLACK_NS:
            offset_ns = least_ns
        at_ns = offset_ns + samples_to_ns(block.position, HEAR_RATE_HZ)
        yield _sample_of(at_ns, recording), read_audio(file, block)


def agent_pieces(file: BinaryIO, recording: Recording) -> Iterator[Piece]:
    """The agent's audio as it was sent: what a flush dropped is not in it."""
    sending = _Sending(recording)
    for item in recording.played:
        if isinstance(item, AudioBlock):
            sending.queue(item.position, read_audio(file, item))
        elif item.kind in ("started", "resume"):
            sending.go_on(item)
        else:
            yield from sending.stop(item.position)
            if item.kind == "flush":
                sending.forget()
    yield from sending.stop(None)


class _Sending:
    """A playout ring: what is queued, up to where it was sent, and since when it is being sent."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._rate_hz = recording.header.play_rate_hz
        self._queued: deque[Piece] = deque()
        self._sent = 0
        self._since: Anchor | None = None

    def queue(self, position: int, pcm: NDArray[np.int16]) -> None:
        self._queued.append((position, pcm))

    def go_on(self, at: Anchor) -> None:
        # After a resume with nothing queued the voice begins later, which "started" tells.
        if at.kind == "started" or (self._queued and self._since is None):
            self._since = at

    def forget(self) -> None:
        self._queued.clear()

    def stop(self, position: int | None) -> Iterator[Piece]:
        """It was sent up to ``position`` (None: to the end of the recording)."""
        since, self._since = self._since, None
        if since is not None:
            if position is None:
                lasted_ns = max(self._recording.end_ns - since.now_ns, 0)
                position = since.position + lasted_ns * self._rate_hz // NS_PER_S
            pcm = self._take(position)
            at_ns = since.now_ns - samples_to_ns(since.position - self._sent, self._rate_hz)
            if len(pcm):
                yield _sample_of(at_ns, self._recording), _to_hear_rate(pcm, self._rate_hz)
        self._sent = max(self._sent, position or 0)

    def _take(self, end: int) -> NDArray[np.int16]:
        """Samples from what was sent to ``end``, out of what is queued."""
        found = []
        while self._queued and self._queued[0][0] < end:
            position, pcm = self._queued.popleft()
            found.append(pcm[max(self._sent - position, 0) : end - position])
            if position + len(pcm) > end:
                self._queued.appendleft((end, pcm[end - position :]))
                break
        return np.concatenate(found) if found else np.zeros(0, np.int16)


class _Track:
    """Pieces one after another, silence between them; none overlaps the one before."""

    def __init__(self, pieces: Iterator[Piece]) -> None:
        self._pieces = pieces
        self._next: Piece | None = None
        self._end = 0

    def take(self, start: int, n: int) -> NDArray[np.int16]:
        """Samples ``[start, start + n)``; called with rising, adjoining stretches."""
        out = np.zeros(n, np.int16)
        while (piece := self._next or self._pull()) is not None:
            at, pcm = piece
            if at >= start + n:
                self._next = piece
                return out
            fits = pcm[: start + n - at]
            out[at - start : at - start + len(fits)] = fits
            rest = pcm[len(fits) :]
            self._next = (start + n, rest) if len(rest) else None
            if len(rest):
                return out
        return out

    def _pull(self) -> Piece | None:
        piece = next(self._pieces, None)
        if piece is None:
            return None
        at = max(piece[0], self._end)
        self._end = at + len(piece[1])
        return at, piece[1]


def _to_hear_rate(pcm: NDArray[np.int16], rate_hz: int) -> NDArray[np.int16]:
    if rate_hz == HEAR_RATE_HZ:
        return pcm
    resampler = Resampler(rate_hz, HEAR_RATE_HZ)
    return np.concatenate([resampler.process(pcm), resampler.flush()])


def _sample_of(at_ns: int, recording: Recording) -> int:
    since_ms = ns_to_ms(max(at_ns - recording.header.began_ns, 0))
    return round(since_ms * HEAR_RATE_HZ / 1000)
