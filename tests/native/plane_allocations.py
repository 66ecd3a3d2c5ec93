"""Run with ``count_allocations.so`` preloaded: what media threads ask for in a second, as JSON.

Calls of every SRTP profile talk over a wire without losses, with voice activity, reports,
transport-wide feedback, redundancy and retransmission on. What this thread asks for meanwhile
is taken off.
"""

from __future__ import annotations

import ctypes
import gc
import json
import threading
import time

import numpy as np

from native.plane_kit import KEY_BYTES, OPUS, Call, End, make_outbound, tone
from voicecore._native import echo_canceller
from voicecore._native.inbound import Inbound
from voicecore._native.silero import SileroWeights, shapes
from voicecore.errors import MissingLibraryError

WARM_S = 1.0
COUNTED, PATIENCE_S = 150, 60.0
"""Packets, and how long they are awaited."""


def weights() -> SileroWeights:
    """Random ones cost the same."""
    draw = np.random.default_rng(1).standard_normal
    return SileroWeights(
        16_000,
        {name: (0.05 * draw(shape)).astype(np.float32) for name, shape in shapes(16_000).items()},
    )


def speexdsp() -> bool:
    """Whether it is installed."""
    try:
        return bool(echo_canceller.library())
    except MissingLibraryError:
        return False


def settings() -> dict[str, object]:
    return {
        "inbound": Inbound(opus_pt=OPUS, red_pt=63, transport_cc_id=3),
        "outbound": make_outbound(red_pt=63, transport_cc_id=3),
        "vad": True,
        "echo_guard": True,
        "echo_canceller": speexdsp(),
        "nack": True,
        "transport_cc": True,
        "report_interval_ms": 100,
    }


def deliberate(library: ctypes.CDLL) -> int:
    """Another thread asks a hundred times: shows that it would be seen."""
    before = library.allocations_of_all() - library.allocations()
    thread = threading.Thread(target=lambda: [bytearray(4096) for _ in range(100)])
    thread.start()
    thread.join()
    return int(library.allocations_of_all() - library.allocations() - before)


def arrived(calls: list[Call]) -> int:
    return sum(call.at_a.stats()["srtp_packets"] for call in calls)


def main() -> None:
    library = ctypes.CDLL(None)
    library.allocations.restype = library.allocations_of_all.restype = ctypes.c_long
    found = {"deliberate": {"asked": deliberate(library), "packets": 0}}
    for profile in KEY_BYTES:
        a, b = End(vad=weights()), End(vad=weights())
        calls = [
            Call(a, b, profile=profile, settings_a=settings(), settings_b=settings())
            for _ in range(3)
        ]
        for call in calls:
            for session in (call.at_a, call.at_b):
                session.tap()
                session.outbound.configure(red=True)
                session.outbound.write(tone(300, 4), 0)
        time.sleep(WARM_S)
        gc.disable()
        before = library.allocations_of_all() - library.allocations()
        first = arrived(calls)
        end_s = time.monotonic() + PATIENCE_S
        while (packets := arrived(calls) - first) < COUNTED and time.monotonic() < end_s:
            time.sleep(0.02)
        asked = library.allocations_of_all() - library.allocations() - before
        gc.enable()
        found[profile] = {"asked": asked, "packets": packets}
        a.threads.close()
        b.threads.close()
    print(json.dumps(found))


if __name__ == "__main__":
    main()
