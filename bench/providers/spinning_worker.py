"""A worker whose engine computes without end, holding the GIL of its process."""

from __future__ import annotations

from typing import Any

from voicecore.engines.framing import Kind
from voicecore.engines.worker_side import Link, run_worker


def serve(link: Link, settings: dict[str, Any]) -> None:
    """Spin from OPEN until the stream is cancelled."""
    link.send_json(Kind.READY, 0, {})
    while (frame := link.receive()) is not None:
        if frame.kind is Kind.OPEN:
            while not link.cancelled(frame.stream):
                sum(range(100_000))
        elif frame.kind in (Kind.FINISH, Kind.CANCEL):
            link.send_json(Kind.END, frame.stream, {"dropped": link.forget(frame.stream)})


if __name__ == "__main__":
    run_worker(serve)
