"""What a stranger may post: real offers, answers and candidates, damaged by a seed.

Damage has three depths: of bytes; of lines and words of a description; of the JSON around it.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from report import ROOT

_SDP = ROOT / "tests" / "transport"
_WORDS = (
    "", "0", "-1", "1", "9", "65535", "65536", "4294967295", "4294967296", "18446744073709551616",
    "1e999", "0x7f", "NaN", "٣", "²", "a", "A" * 300, "%s%n", "../..", "\x00", "\r", "\t", "\u2028",
    "\ufeff", "💥", "*", "127.0.0.1", "0.0.0.0", "::", "::1", "fe80::1%eth0", "256.1.1.1",
    "255.255.255.255", "224.0.0.1", "x.local", "evil.example", "udp", "tcp", "host", "relay",
    "opus/48000/2", "opus/0/0", "red/48000/2", "PCMU/8000", "active", "passive", "holdconn",
    "sha-1", "sha-256", "md5", "UDP/TLS/RTP/SAVPF", "RTP/AVP", "webrtc-datachannel",
)  # fmt: skip
_LINES = (
    "m=audio 9 UDP/TLS/RTP/SAVPF 111", "m=audio 0 UDP/TLS/RTP/SAVPF 0", "m=video 9 RTP/AVP 96",
    "m=application 9 UDP/DTLS/SCTP webrtc-datachannel", "m=", "m=audio", "a=", "a", "=", "v=1",
    "a=group:BUNDLE", "a=group:BUNDLE 0 0 0", "a=group:LS 0 1", "a=mid:", "a=mid:0", "a=mid:é",
    "a=rtcp-mux", "a=ice-lite", "a=ice-ufrag:", "a=ice-pwd:", "a=ice-ufrag:x y", "a=setup:actpass",
    "a=setup:holdconn", "a=fingerprint:sha-256", "a=fingerprint:sha-256 00", "a=sendrecv",
    "a=fingerprint:sha-512 " + ":".join(["00"] * 64), "a=inactive", "a=ssrc:", "a=ssrc:1",
    "a=ssrc-group:FID 1 2 3", "a=rtpmap:", "a=rtpmap:111", "a=rtpmap:111 opus", "a=fmtp:111",
    "a=rtpmap:999 opus/48000/2", "a=fmtp:63 111/111/111", "a=rtcp-fb:* nack", "a=rtcp-fb:",
    "a=extmap:0 x", "a=extmap:15 y", "a=extmap:1/x z", "a=candidate:", "a=candidate:1 1 udp",
    "a=candidate:1 1 udp 99999999999999999999 1.2.3.4 99999 typ host", "a=end-of-candidates",
    "a=sctp-port:", "a=sctp-port:99999999", "a=sctpmap:5000 x", "a=max-message-size:-1",
    "a=rid:1 send", "a=simulcast:send 1;2", "a=msid:", "a=msid-semantic: WMS *", "b=AS:-1",
    "c=IN IP4", "c=IN IP6 ::1", "c=IN IP9 x", "o=-", "t=", "s=",
)  # fmt: skip
_CANDIDATES = (
    "candidate:1 1 udp 2130706431 192.0.2.1 50000 typ host",
    "candidate:2 1 udp 1694498815 2001:db8::1 50001 typ srflx raddr 0.0.0.0 rport 0",
    "candidate:3 1 tcp 1518214911 192.0.2.2 9 typ host tcptype active generation 0",
    "candidate:4 2 udp 2130706430 aaaa-bbbb.local 50002 typ host generation 0 ufrag lo61",
    "candidate:5 1 udp 41885439 192.0.2.3 3478 typ relay raddr 192.0.2.4 rport 50003",
)  # fmt: skip
_JSON_LEAVES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1.5, 1e308, 2**63, 10**40, "", "x", "\ud800", "\x00", [], {}, [[]],
    {"": None}, "offer", "answer",
)  # fmt: skip
_CONTENT_TYPES = (
    "application/json", "application/json; charset=utf-8", "application/json; charset=latin-1",
    "application/json; charset=" + "x" * 200, "application/vnd.x+json", "text/plain", "", "a/b",
    "multipart/form-data", "application/x-www-form-urlencoded", "application/json;;;=",
)  # fmt: skip
_DEEP = (
    b"[" * 50_000,
    b'{"a":' * 20_000,
    b"[" * 900 + b"]" * 900,
    b"1" * 100_000,
    b"\xef\xbb\xbf{}",
)
_LARGEST_BODY = 300_000


@dataclass(frozen=True)
class Input:
    """A request. ``{session}`` and ``{target}`` in the path are the sender's to fill, an empty
    ``token`` too."""

    kind: str
    method: str
    path: str
    body: bytes
    content_type: str = "application/json"
    token: str = ""


class Inputs:
    """Inputs by seed, as many as wanted.

    ``restart``: an offer by which a call that stands could restart ICE; ``""``: none is posted.
    """

    def __init__(self, seed: int, restart: str = "") -> None:
        self._rng = random.Random(seed)
        self._offers = [path.read_text() for path in sorted(_SDP.glob("offers/*.sdp"))]
        self._answers = [path.read_text() for path in sorted(_SDP.glob("answers/*.sdp"))]
        self._makers: tuple[tuple[Callable[[], Input], int], ...] = (
            (self._offer, 35), (self._answer, 25), (self._candidate, 25), (self._request, 15),
        )  # fmt: skip

        self._restart_offer = restart
        if restart:
            self._makers += ((self._restart, 15),)

    def __iter__(self) -> Inputs:
        return self

    def __next__(self) -> Input:
        makers, weights = zip(*self._makers, strict=True)
        made: Input = self._rng.choices(makers, weights)[0]()
        return made

    # -- one for each kind ------------------------------------------------------------

    def _offer(self) -> Input:
        sdp = self._damaged_sdp(self._rng.choice(self._offers))
        body = {"type": "offer", "sdp": sdp}
        return Input("offer", "POST", "/api/voice/offer", self._as_json(body))

    def _answer(self) -> Input:
        sdp = self._damaged_sdp(self._rng.choice(self._answers))
        body = {"session_id": "{session}", "answer": {"type": "answer", "sdp": sdp}}
        return Input("answer", "POST", "/api/voice/answer", self._as_json(body))

    def _restart(self) -> Input:
        rng = self._rng
        fresh = f"a=ice-ufrag:{rng.getrandbits(32):08x}\r\na=ice-pwd:{rng.getrandbits(128):032x}"
        offer = re.sub(r"a=ice-ufrag:.*\r\na=ice-pwd:.*", fresh, self._restart_offer)
        body = {"type": "offer", "sdp": self._damaged_sdp(offer)}
        return Input("restart", "POST", "/api/voice/session/{target}/restart", self._as_json(body))

    def _candidate(self) -> Input:
        rng = self._rng
        listed = [
            {
                "candidate": self._damaged_line(rng.choice(_CANDIDATES), " "),
                "sdpMid": rng.choice(("0", "1", None, "x" * 50)),
                "sdpMLineIndex": rng.choice((0, 1, None, 65535, 7)),
            }
            for _ in range(rng.choice((1, 1, 1, 3, 64, 65)))
        ]
        body = {"candidates": listed} if rng.random() < 0.5 else {"candidate": listed[0]}
        return Input("candidate", "PATCH", "/api/voice/session/{session}", self._as_json(body))

    def _request(self) -> Input:
        rng = self._rng
        method, path = rng.choice((
            ("POST", "/api/voice/session"), ("POST", "/api/voice/offer"),
            ("POST", "/api/voice/answer"), ("PATCH", "/api/voice/session/{session}"),
            ("GET", "/api/voice/session/{session}"), ("PATCH", "/api/voice/session/" + _junk(rng)),
            ("DELETE", "/api/voice/session/" + _junk(rng)), ("GET", "/" + _junk(rng)),
        ))  # fmt: skip
        body = rng.choice((
            b"", b"null", b"{}", rng.randbytes(rng.randrange(200)), rng.choice(_DEEP),
            json.dumps(self._some_json(4)).encode(errors="replace"),
        ))  # fmt: skip
        token = rng.choice(("", "", "x", _junk(rng), "a.b.c"))
        return Input("request", method, path, body, rng.choice(_CONTENT_TYPES), token)

    # -- damage -----------------------------------------------------------------------

    def _damaged_sdp(self, sdp: str) -> str:
        rng = self._rng
        lines = sdp.split("\r\n")
        for _ in range(rng.choice((0, 1, 1, 1, 2, 2, 3, 5, 12))):
            at = rng.randrange(len(lines)) if lines else 0
            what = rng.randrange(8)
            if not lines or what == 0:
                lines.insert(at, rng.choice(_LINES))
            elif what == 1:
                del lines[at]
            elif what == 2:
                lines[at:at] = [lines[at]] * rng.choice((1, 2, 40))
            elif what == 3:
                other = rng.randrange(len(lines))
                lines[at], lines[other] = lines[other], lines[at]
            elif what == 4:
                end = min(len(lines), at + rng.randrange(1, 30))
                moved = lines[at:end]
                lines[at:end] = []
                where = rng.randrange(len(lines) + 1)
                lines[where:where] = moved * rng.choice((1, 1, 2))
            elif what == 5:
                lines = lines[:at]
            else:
                lines[at] = self._damaged_line(lines[at], r"[ :/;=,]")
        text = rng.choice(("\r\n", "\r\n", "\r\n", "\n", "\r")).join(lines)
        return self._damaged_text(text) if rng.random() < 0.1 else text

    def _damaged_line(self, line: str, between: str) -> str:
        """Words of it taken away, repeated, or replaced by odd ones; separators are kept."""
        rng = self._rng
        parts = re.split(f"({between})", line)
        for _ in range(rng.choice((0, 1, 1, 2, 4))):
            at = rng.randrange(len(parts))
            parts[at] = rng.choice((rng.choice(_WORDS), parts[at] * 2, "", rng.choice(parts)))
        return "".join(parts)

    def _damaged_text(self, text: str) -> str:
        rng = self._rng
        signs = list(text)
        for _ in range(rng.randrange(1, 20) if signs else 0):
            signs[rng.randrange(len(signs))] = chr(rng.choice((rng.randrange(128), 0x20AC, 0xFFFF)))
        return "".join(signs)

    def _as_json(self, body: Any) -> bytes:
        rng = self._rng
        if rng.random() < 0.1:
            body = self._damaged_json(body)
        raw = json.dumps(body, ensure_ascii=rng.random() < 0.8).encode(errors="replace")
        if rng.random() < 0.08:
            damaged = bytearray(raw)
            for _ in range(rng.randrange(1, 8)):
                damaged[rng.randrange(len(damaged))] = rng.randrange(256)
            raw = bytes(damaged[: rng.randrange(len(damaged))] if rng.random() < 0.3 else damaged)
        return raw[:_LARGEST_BODY]

    def _damaged_json(self, value: Any) -> Any:
        rng = self._rng
        if isinstance(value, dict) and value and rng.random() < 0.8:
            value, name = dict(value), rng.choice(list(value))
            what = rng.randrange(4)
            if what == 0:
                del value[name]
            elif what == 1:
                value[rng.choice(_WORDS)] = value.pop(name)
            else:
                value[name] = self._damaged_json(value[name])
            return value
        return self._some_json(2)

    def _some_json(self, depth: int) -> Any:
        rng = self._rng
        if not depth or rng.random() < 0.4:
            return rng.choice(_JSON_LEAVES)
        inner = [self._some_json(depth - 1) for _ in range(rng.randrange(5))]
        names = ("sdp", "type", "candidate", "candidates", "session_id", "token", "answer", "x")
        return inner if rng.random() < 0.4 else {rng.choice(names): one for one in inner}


def _junk(rng: random.Random) -> str:
    """Something that may stand in a path."""
    signs = "abc019-._~%2F%00%ff..;@:$&'()*+,=!"
    return "".join(rng.choices(signs, k=rng.randrange(1, 60))).replace("%", "%25")
