"""A program with media threads that its parent stops and lets go on (``test_plane_stall.py``).

    python plane_stalled.py HOST PORT

Sends a tone to that address under keys of zeros. Prints where it listens, then what it counted
for each line that it reads.
"""

from __future__ import annotations

import json
import sys

from native.plane_kit import End, make_outbound, tone


def main() -> None:
    to = sys.argv[1], int(sys.argv[2])
    end = End(to[0])
    peer = end.threads.add_peer("far")
    end.threads.send(peer, end.port, b"\x16 hello", *to)
    session = end.session(peer, receive=bytes(30), send=bytes(30), outbound=make_outbound())
    session.outbound.write(tone(440, 20), 0)
    session.route(end.port, *to)
    print(json.dumps(end.address), flush=True)
    for _ in sys.stdin:
        found = end.threads.counters()
        found["position"], found["sent"] = session.outbound.position, session.stats()["sent"]
        print(json.dumps(found), flush=True)
    end.threads.close()


main()
