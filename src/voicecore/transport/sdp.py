"""What we change in the far end's session descriptions before the stack reads them.

Text in, text out. What is changed in ours is in ``sdp_audio``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from voicecore.errors import PeerError
from voicecore.transport.sdp_audio import is_audio, payload_types, sections

_DIRECTION = re.compile(r"^a=(?:sendrecv|sendonly|recvonly|inactive)\s*$")
_FINGERPRINT = re.compile(r"^a=fingerprint:sha-(?:256|384|512) \S", re.MULTILINE | re.IGNORECASE)
_NOT_FOR_THE_STACK = ("a=fmtp:", "a=rtcp-fb:", "a=ssrc:", "a=ssrc-group:", "a=rtcp-xr:")
"""Read by ``sdp_audio``; the stack would stumble over odd ones and uses none."""
_CANDIDATES = ("a=candidate:", "a=end-of-candidates")
_STATIC_NAMES = {0: "PCMU/8000", 8: "PCMA/8000"}


def for_stack(sdp: str) -> str:
    """A description that the RTP stack reads as it is meant.

    Without candidates that our side can't use: names under ``.local`` (a
    server can't resolve them, the browser's own checks reveal the address),
    TCP, and RTCP's own (we multiplex). Without ``end-of-candidates``, which
    would fail the connection before such a check arrives. Audio gets what may
    be left out: a direction, and the names of static payload types.
    """
    parts = sections(sdp)
    direction = next((line for line in parts[0] if _DIRECTION.match(line)), "a=sendrecv")
    for index, part in enumerate(parts):
        kept = [line for line in part if not _is_useless(line)]
        parts[index] = _audio_for_stack(kept, direction) if index and is_audio(part) else kept
    return "\r\n".join(line for part in parts for line in part)


def audio_first(sdp: str) -> list[int]:
    """An order of the sections, for :func:`in_order`, that begins with the first audio.

    The stack bundles all on the transport of the first section and stops the
    others; ours is under the audio. Some far ends put their data channel first.
    """
    parts = sections(sdp)[1:]
    first = next((i for i, part in enumerate(parts) if is_audio(part)), 0)
    return [first, *(i for i in range(len(parts)) if i != first)]


def in_order(sdp: str, order: Sequence[int], *, back: bool = False) -> str:
    """The description with its sections in that order, or, ``back``, in that before it.

    The BUNDLE group (RFC 8843, section 7) names them in the new order too. A
    description of another number of sections stays as it is.
    """
    head, *parts = sections(sdp)
    if len(parts) != len(order) or list(order) == sorted(order):
        return sdp
    if back:
        order = sorted(range(len(order)), key=order.__getitem__)
    parts = [[line for line in parts[i] if line] for i in order]
    mids = [_mid(part) for part in parts]
    head = [_group_in_order(line, mids) for line in head]
    return "\r\n".join(line for part in (head, *parts) for line in part) + "\r\n"


def bundled(sdp: str) -> frozenset[str]:
    """The names (mids) of the sections that share one transport."""
    groups = re.findall(r"^a=group:BUNDLE (.*?)\s*$", sdp, re.MULTILINE)
    return frozenset(mid for group in groups[:1] for mid in group.split())


def _mid(lines: list[str]) -> str:
    found = (line.removeprefix("a=mid:").strip() for line in lines if line.startswith("a=mid:"))
    return next(found, "")


def _group_in_order(line: str, mids: list[str]) -> str:
    if not line.startswith("a=group:BUNDLE "):
        return line
    name, *named = line.split()
    return " ".join([name, *(mid for mid in mids if mid in named)])


def _audio_for_stack(lines: list[str], direction: str) -> list[str]:
    kept = [line for line in lines if not line.startswith(_NOT_FOR_THE_STACK)]
    while kept and not kept[-1].strip():
        kept.pop()
    named = {line.removeprefix("a=rtpmap:").partition(" ")[0] for line in kept}
    for pt in payload_types(lines):
        if pt in _STATIC_NAMES and str(pt) not in named:
            kept.append(f"a=rtpmap:{pt} {_STATIC_NAMES[pt]}")
    if not any(_DIRECTION.match(line) for line in kept):
        kept.append(direction)
    return [*kept, ""] if lines[-1:] == [""] else kept


def _is_useless(line: str) -> bool:
    if line.startswith("a=candidate:"):
        fields = line.split()
        return len(fields) > 4 and (
            fields[1] != "1" or fields[2].lower() != "udp" or fields[4].lower().endswith(".local")
        )
    return line.strip() == "a=end-of-candidates"


def with_candidates_everywhere(sdp: str) -> str:
    """A bundled description whose every section has the candidates of the first with any.

    Far ends name them once (RFC 8843, section 10.1.3); of a transport's sections
    the stack asks the last.
    """
    parts = sections(sdp)
    lists = [[line for line in part if line.startswith(_CANDIDATES)] for part in parts[1:]]
    found = next((lines for lines in lists if lines), [])
    for part, lines in zip(parts[1:], lists, strict=True):
        if not lines:
            at = len(part) - (part[-1] == "")
            part[at:at] = found
    return "\r\n".join(line for part in parts for line in part)


def ufrag_of(candidate: str) -> str:
    """The ICE name in a candidate's extensions (RFC 8839, section 5.1), or ``""``."""
    fields = candidate.split()[8:]
    return dict(zip(fields[::2], fields[1::2], strict=False)).get("ufrag", "")


def require_names(sdp: str) -> None:
    """Refuse sections that can't be told apart, and a BUNDLE of sections that aren't there.

    RFC 8843, section 7.1: each name in the group is a section's, each section has its own.
    """
    named = [
        [line.removeprefix("a=mid:").strip() for line in part if line.startswith("a=mid:")]
        for part in sections(sdp)[1:]
    ]
    mids = [mid for names in named for mid in names]
    if any(len(names) > 1 for names in named) or len(mids) != len(set(mids)):
        raise PeerError("Each section must have one name (a=mid) of its own", code="bad_sdp")
    if not bundled(sdp) <= set(mids):
        raise PeerError("a=group:BUNDLE names a section that isn't there", code="bad_sdp")


def require_fingerprint(sdp: str) -> None:
    """Refuse who doesn't say by which certificate he will be known (RFC 8122, section 5).

    The stack would notice only when DTLS begins, and the call would hold its place till then.
    """
    if not _FINGERPRINT.search(sdp):
        raise PeerError(
            "The session description has no a=fingerprint by SHA-256 or better:"
            " only encrypted media (DTLS-SRTP) are taken",
            code="bad_sdp",
        )


def may_be_dtls_client(sdp: str) -> bool:
    """Whether the far end of an offer would open DTLS itself (RFC 5763, section 5)."""
    setups = re.findall(r"^a=setup:(\w+)\s*$", sdp, re.MULTILINE)
    return bool(setups) and set(setups) <= {"actpass", "active"}


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
