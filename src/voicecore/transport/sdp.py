"""What we change in session descriptions, ours and theirs. Text in, text out.

The RTP stack's own answer carries no Opus parameters, so browsers would send
stereo and no forward error correction (RFC 7587, section 7). We ask for mono
with in-band FEC, line by line, per connection.
"""

from __future__ import annotations

import re

from voicecore.errors import PeerError

_RTPMAP = re.compile(r"^a=rtpmap:(\d+) opus/48000(?:/2)?\s*$", re.IGNORECASE)


def ask_for_fec(sdp: str, *, max_average_bitrate_bps: int = 32_000) -> str:
    """Add our ``a=fmtp`` after each Opus ``a=rtpmap`` line, replacing another one.

    ``max_average_bitrate_bps`` bounds what the caller sends us: a recogniser
    gains nothing beyond about 32 kb/s mono.
    """
    lines = sdp.replace("\r\n", "\n").split("\n")
    opus = {m.group(1) for line in lines if (m := _RTPMAP.match(line))}
    fmtp = (
        "minptime=10;useinbandfec=1;stereo=0;sprop-stereo=0;"
        f"maxaveragebitrate={max_average_bitrate_bps}"
    )
    out = []
    for line in lines:
        if any(line.startswith(f"a=fmtp:{pt} ") for pt in opus):
            continue
        out.append(line)
        if match := _RTPMAP.match(line):
            out.append(f"a=fmtp:{match.group(1)} {fmtp}")
    return "\r\n".join(out)


def without_unreachable_candidates(sdp: str) -> str:
    """Drop what would make our side wait or give up too early.

    Names under ``.local`` can't be resolved from a server (the browser's own
    checks reveal the address), and ``end-of-candidates`` would fail the
    connection before such a check arrives.
    """
    kept = [line for line in re.split(r"\r?\n", sdp) if not _is_unreachable(line)]
    return "\r\n".join(kept)


def _is_unreachable(line: str) -> bool:
    if line.startswith("a=candidate:"):
        fields = line.split()
        return len(fields) > 4 and fields[4].lower().endswith(".local")
    return line.strip() == "a=end-of-candidates"


def require_audio(sdp: str) -> None:
    """Refuse a description in which no audio can flow, saying what is missing."""
    if not sdp.lstrip().startswith("v=0"):
        raise PeerError("The session description must begin with v=0", code="bad_sdp")
    if not re.search(r"^m=audio \d+ ", sdp, re.MULTILINE):
        raise PeerError("The session description has no audio section", code="no_audio", status=422)
    rejected = re.search(r"^m=audio 0 ", sdp, re.MULTILINE)
    if rejected and not re.search(r"^m=audio [1-9]", sdp, re.MULTILINE):
        raise PeerError("The audio section is rejected (port 0)", code="no_audio", status=422)
    names = re.findall(r"^a=rtpmap:\d+ ([\w-]+)/", sdp, re.MULTILINE)
    static = re.findall(r"^m=audio \d+ \S+ ([\d ]+)", sdp, re.MULTILINE)
    known = {"opus", "pcmu", "pcma"} & {name.lower() for name in names}
    if not known and not {"0", "8"} & {pt for line in static for pt in line.split()}:
        raise PeerError(
            "None of the offered audio codecs is known: offer opus, PCMU or PCMA",
            code="no_codec",
            status=422,
        )
