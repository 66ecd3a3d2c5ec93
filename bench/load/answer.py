"""What the native client can do beyond aiortc, written into aiortc's answer. Text in, text out.

aiortc answers neither transport-wide feedback nor NACK nor RED for audio. The
media of a call is the native client's, so it may promise them where they were
offered.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

TRANSPORT_CC = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"


FULLBAND_HZ, WIDEBAND_HZ = 20_000, 8_000
"""How far up an encoder codes."""


@dataclass(frozen=True)
class Extras:
    """What the caller would like, and, out of :func:`extend`, what was promised."""

    transport_cc: bool = False
    nack: bool = False
    red: bool = False


@dataclass(frozen=True)
class Answer:
    """The answer to send, and what it promises."""

    sdp: str
    opus: int
    """Payload type of Opus."""
    transport_cc_id: int
    """Of the header extension; 0: not promised."""
    nack: bool
    red: int
    """Payload type of RED; 0: not promised."""
    dtx: bool
    """The server asks for no more than is said (``usedtx``): browsers do as they are asked."""
    band_hz: int
    """The server plays no more than that (``maxplaybackrate``): nor do they send more."""


def extend(offer: str, answer: str, wanted: Extras) -> Answer:
    """``answer`` to ``offer`` with as many of ``wanted`` as were offered."""
    theirs, ours = _audio(offer), _lines(answer)
    opus = _payload_type(_audio(answer), "opus/48000")
    if opus is None:
        raise ValueError("the answer has no Opus")
    added = []
    extension = _match(theirs, r"a=extmap:(\d+)(?:/\w+)? " + re.escape(TRANSPORT_CC))
    cc = wanted.transport_cc and extension is not None and _feedback(theirs, "transport-cc")
    if cc:
        added += [f"a=extmap:{extension} {TRANSPORT_CC}", f"a=rtcp-fb:{opus} transport-cc"]
    nack = wanted.nack and _feedback(theirs, "nack")
    if nack:
        added.append(f"a=rtcp-fb:{opus} nack")
    red = _payload_type(theirs, "red/48000") if wanted.red else None
    if red is not None:
        added += [f"a=rtpmap:{red} red/48000/2", f"a=fmtp:{red} {opus}/{opus}"]
    out = []
    for line in ours:
        if red is not None and line.startswith("m=audio "):
            line = f"{line} {red}"
        out.append(line)
        if re.match(rf"a=rtpmap:{opus} ", line):
            out += added
    return Answer(
        "\r\n".join(out),
        opus,
        int(extension or 0) if cc else 0,
        nack,
        red or 0,
        _asks_for_dtx(theirs),
        WIDEBAND_HZ if _plays_wideband(theirs) else FULLBAND_HZ,
    )


def _lines(sdp: str) -> list[str]:
    return re.split(r"\r?\n", sdp)


def _audio(sdp: str) -> list[str]:
    """The lines of the first audio section."""
    section: list[str] = []
    inside = False
    for line in _lines(sdp):
        if line.startswith("m="):
            if inside:
                break
            inside = line.startswith("m=audio ")
        if inside:
            section.append(line)
    return section


def _match(lines: list[str], pattern: str) -> str | None:
    return next((m.group(1) for line in lines if (m := re.match(pattern, line))), None)


def _payload_type(lines: list[str], codec: str) -> int | None:
    found = _match(lines, rf"(?i)a=rtpmap:(\d+) {codec}")
    return None if found is None else int(found)


def _asks_for_dtx(lines: list[str]) -> bool:
    return any(re.match(r"a=fmtp:\d+ (.*;)?usedtx=1(;|\s|$)", line) for line in lines)


def _plays_wideband(lines: list[str]) -> bool:
    return any(re.match(r"a=fmtp:\d+ (.*;)?maxplaybackrate=16000(;|\s|$)", line) for line in lines)


def _feedback(lines: list[str], name: str) -> bool:
    return _match(lines, rf"(a=rtcp-fb:(?:\d+|\*) {name})\s*$") is not None
