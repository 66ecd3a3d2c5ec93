"""What recording a call costs: the event loop per event, the process per call-second.

    python -m turns.recording        (with PYTHONPATH=bench)

A call-second is as the service makes it: two looks at the caller's ring, one
second of the agent's voice at 24 kHz in chunks of 100 ms for 40% of the time,
and ten events, each with an action and a short text.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np

from voicecore._native.ring import AudioRing
from voicecore.core import actions as act
from voicecore.core import events as ev
from voicecore.core.turn_settings import TurnSettings
from voicecore.service.recording import Recorder, Recordings

SECONDS = 600
EVENTS_PER_S = 10
TALK = 0.4


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as directory:
        recordings = Recordings(Path(directory), "a bench", start=False)
        ring = AudioRing(1 << 15)
        recorder = recordings.open("bench", TurnSettings(), ring=ring, play_rate_hz=24_000)
        loop_s, event_s, thread_s = measure(recordings, recorder, ring)
        recorder.close()
        recordings.close()
        size = recordings.counts["bytes"]
    events = SECONDS * EVENTS_PER_S
    print(f"event loop, an event            {event_s / events * 1e6:8.2f} µs")
    print(f"event loop, all                 {loop_s / SECONDS * 1e6:8.1f} µs a call-second")
    print(f"writing thread                  {thread_s / SECONDS * 1e6:8.1f} µs a call-second")
    print(f"disk                            {size / SECONDS / 1000:8.1f} kB a call-second")


def measure(
    recordings: Recordings, recorder: Recorder, ring: AudioRing
) -> tuple[float, float, float]:
    """Seconds of CPU: all on the event loop, of that the events, and the thread's."""
    half = np.random.default_rng(1).integers(-3000, 3000, 8000).astype(np.int16)
    chunk = half[:2400]
    loop_s = event_s = thread_s = position = 0.0
    for second in range(SECONDS):
        ring.write(half)
        began = time.process_time()
        recorder.heard()
        loop_s += time.process_time() - began
        ring.write(half)
        began = time.process_time()
        recorder.heard()
        for _ in range(round(TALK * 10)):
            recorder.played(int(position), chunk)
            position += len(chunk)
        events_began = time.process_time()
        for turn in range(EVENTS_PER_S):
            event = ev.ReplyText(turn, "It will stay so until Sunday.")
            told = act.Notify("agent", {"turn": turn, "text": "It will stay so until Sunday."})
            recorder.event(event, second * 10**9, [told])
        ended = time.process_time()
        event_s += ended - events_began
        loop_s += ended - began
        recordings.write_waiting()
        thread_s += time.process_time() - ended
    return loop_s, event_s, thread_s


if __name__ == "__main__":
    main()
