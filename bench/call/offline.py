"""With the network cut off: is the page served, and a call answered by the embedded engines?

``python -m call.offline`` runs inside a network namespace of its own, which has
the loopback and one interface with a private address, no route and no DNS.
"""

from __future__ import annotations

import asyncio
import json
import random
import shutil
import subprocess
import sys
from typing import Any

import aiohttp

from caller.server import running
from load.caller import Caller, Calls, origin
from load.figures import LOUD
from load.native import Client
from load.voices import speech, voices
from report import Bar, Report

_CUT_OFF = """
ip link set lo up
ip link add v0 type veth peer name v1
ip address add 192.168.77.1/24 dev v0
ip link set v0 up
ip link set v1 up
exec "$@"
"""
_SEED = 4
_QUESTION = 1
"""Of ``voices``: a question about the weather."""
_GREETING_S = 10.0
_ANSWER_S = 20.0


async def measure(report: Report) -> None:
    """Add the bar; a machine without ``unshare`` and ``ip`` can't measure it."""
    outcome: dict[str, Any] | None = None
    if shutil.which("unshare") and shutil.which("ip"):
        inside = [sys.executable, "-m", "call.offline"]
        command = ["unshare", "-rn", "sh", "-euc", _CUT_OFF, "sh", *inside]
        process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
        output, _ = await process.communicate()
        outcome = json.loads(output) if process.returncode == 0 else None
    print(f"network cut off: {outcome or 'not measured'}")
    report.rows.append({"name": "offline", "outcome": outcome})
    figure = None if outcome is None else float(outcome["page"] == 200 and outcome["answered"])
    report.bars.append(Bar("network cut off: page served, call answered", figure, "", ">=", 1))


async def _inside() -> dict[str, Any]:
    client = Client(speech(), max_calls=1)
    try:
        async with running() as server, aiohttp.ClientSession() as http:
            async with http.get(server.url) as page:
                status = page.status
            begin = origin(random.Random(_SEED))
            caller = Caller(Calls(client), http, server.url, begin, _GREETING_S + _ANSWER_S + 5)
            await caller.call()
            await asyncio.sleep(_GREETING_S)
            before = len(caller.arrivals)
            caller.say(0, min(_QUESTION, len(voices()) - 1))
            heard = await _answer(caller)
            await caller.hang_up()
    finally:
        client.close()
    spoken = int((caller.levels()[before:] > LOUD).sum())
    return {"page": status, "answered": bool(heard) and spoken > 0, "loud_packets": spoken}


async def _answer(caller: Caller) -> str:
    """What was heard of the answer to what the caller said; "" if none came."""
    for _ in range(round(_ANSWER_S / 0.1)):
        events = [json.loads(text) for text in caller.texts]
        done = [e for e in events if e["type"] == "agent_done" and e["turn"] >= 1]
        if done:
            return str(done[-1]["heard"])
        await asyncio.sleep(0.1)
    return ""


if __name__ == "__main__":
    print(json.dumps(asyncio.run(_inside())))
