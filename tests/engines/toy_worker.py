"""A worker for the tests: echoes, hangs, prints or dies as its parameters say."""

from __future__ import annotations

import os
import sys
import time

from voicecore.engines.framing import Kind
from voicecore.engines.worker_side import Link, run_worker
from voicecore.errors import MissingLibraryError, MisuseError


def serve(link: Link, settings: dict) -> None:
    start = settings.get("start", "ok")
    if start == "missing":
        raise MissingLibraryError("libtoy is missing: apt-get install libtoy")
    if start == "misuse":
        raise MisuseError("no such thing")
    if start == "hang":
        time.sleep(60)
    if start == "exit":
        sys.exit(3)
    link.send_json(Kind.READY, 0, {"toy": True})
    mode = ""
    while (frame := link.receive()) is not None:
        if frame.kind is Kind.OPEN:
            mode = frame.json().get("mode", "echo")
        elif frame.kind is Kind.AUDIO:
            print("a library says something")
            os.write(1, b"and so does its C part\n")
            if mode == "garbage":
                link.send(Kind.AUDIO, frame.stream, b"")
                os.write(RAW_OUTPUT, b"\xff" * 64)
            if mode == "busy":
                while not link.cancelled(frame.stream):
                    time.sleep(0.001)
            if mode == "deaf":
                time.sleep(60)
            link.send(Kind.AUDIO, frame.stream, frame.payload)
        elif frame.kind in (Kind.FINISH, Kind.CANCEL):
            link.send_json(Kind.END, frame.stream, {"dropped": link.forget(frame.stream)})


if __name__ == "__main__":
    RAW_OUTPUT = os.dup(1)
    run_worker(serve)
