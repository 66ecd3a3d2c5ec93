"""Session descriptions of an ICE restart: the offer is checked, the answer written.

Text in, text out. The stack under us takes no part: all that was negotiated stays (JSEP,
RFC 9429, sections 5.2.2 and 5.3.2), so the answer is our own last description, with
what has changed exchanged.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from aiortc.sdp import DIRECTIONS

from voicecore.errors import PeerError
from voicecore.transport.aioice_seam import FarIce, IceCandidate
from voicecore.transport.sdp import bundled, for_stack, require_audio, require_names
from voicecore.transport.sdp_audio import (
    AudioSection,
    is_audio,
    payload_types,
    read_section,
    sections,
)

_EXCHANGED = (
    "a=candidate:",
    "a=end-of-candidates",
    "a=ice-ufrag:",
    "a=ice-pwd:",
    "a=setup:",
)
_OF_CODEC = re.compile(r"a=(?:rtpmap|fmtp|rtcp-fb):(\d+) ")
MOST_CANDIDATES = 64
"""More than any far end has; the rest is left out."""


@dataclass(frozen=True, slots=True)
class Negotiated:
    """What was agreed on: by our last description and the far end's, and in the media.

    ``payload_type`` is that of the audio sent; ``dtls_client``: we opened DTLS.
    """

    ours: str
    theirs: str
    payload_type: int
    dtls_client: bool


def read_offer(offer: str, agreed: Negotiated) -> FarIce:
    """The far end's new ICE parameters, if all else is as agreed.

    Raises PeerError: ``other_sections``, ``other_certificate``, ``other_dtls_role`` or
    ``other_codecs`` (422) for what an ICE restart can't change, ``no_audio``, ``no_codec``
    or ``bad_sdp`` for what is no description of a call.
    """
    require_audio(offer)
    require_names(offer)
    if _outline(offer) != _outline(agreed.theirs):
        raise _other("sections", "must have the same m-lines and mids, in their order,")
    if _fingerprints(offer) != _fingerprints(agreed.theirs):
        raise _other("certificate", "must have the same DTLS fingerprint")
    theirs = "passive" if agreed.dtls_client else "active"
    if not _values(offer, "setup") <= {"actpass", theirs}:
        # RFC 8842, section 5.5: another role would be another DTLS association.
        raise _other("dtls_role", f"must say a=setup:actpass, or {theirs} as agreed,")
    if _audio(offer)[0].split()[1] == "0":
        raise PeerError("The offer rejects the audio (port 0)", code="no_audio", status=422)
    if agreed.payload_type not in _common_types(offer, agreed):
        raise _other("codecs", "must keep the audio codecs")
    return _far_ice(offer)


def write_answer(
    offer: str,
    agreed: Negotiated,
    *,
    ufrag: str,
    password: str,
    candidates: Sequence[IceCandidate],
    version: int,
) -> str:
    """Our answer to an offer that :func:`read_offer` took; the ``version``-th since the first."""
    fresh = [f"a=ice-ufrag:{ufrag}", f"a=ice-pwd:{password}"]
    fresh += [f"a=candidate:{candidate.to_sdp()}" for candidate in candidates]
    fresh += ["a=end-of-candidates", f"a=setup:{'active' if agreed.dtls_client else 'passive'}"]
    default = candidates[0] if candidates else None
    head, *ours = sections(agreed.ours)
    audio = _audio(agreed.ours)
    out = [_head_line(line, version, bundled(offer)) for line in head]
    for mine, theirs in zip(ours, sections(offer)[1:], strict=True):
        lines = [line for line in mine if line and not line.startswith(_EXCHANGED)]
        if mine == audio:
            lines = _audio_as_offered(lines, offer, agreed)
        out += [_reached_at(line, default, theirs) for line in lines]
        out += fresh if out[-len(lines)].split()[1] != "0" else []
    return "\r\n".join(out) + "\r\n"


# -- the offer ------------------------------------------------------------------------


def _other(what: str, must: str) -> PeerError:
    return PeerError(
        f"An ICE restart changes the network path alone: the offer {must} as before;"
        " for anything else open a new session",
        code=f"other_{what}",
        status=422,
    )


def _values(sdp: str, name: str) -> set[str]:
    return set(re.findall(rf"^a={name}:(.*?)\s*$", sdp, re.MULTILINE))


def _fingerprints(sdp: str) -> set[tuple[str, ...]]:
    return {tuple(text.casefold().split()) for text in _values(sdp, "fingerprint")}


def _outline(sdp: str) -> list[tuple[str, str]]:
    return [(part[0].partition(" ")[0], _first(part, "mid")) for part in sections(sdp)[1:]]


def _first(lines: Iterable[str], name: str) -> str:
    start = f"a={name}:"
    return next((line[len(start) :].strip() for line in lines if line.startswith(start)), "")


def _audio(sdp: str) -> list[str]:
    """The lines of the audio section; there is one."""
    return next(part for part in sections(sdp)[1:] if is_audio(part))


def _common_types(offer: str, agreed: Negotiated) -> set[int]:
    """Payload types that mean the same in the offer and in what was agreed on."""
    read = [read_section(_audio(sdp)) for sdp in (offer, agreed.theirs, agreed.ours)]
    return {
        pt
        for pt in set.intersection(*(set(section.payload_types) for section in read))
        if len({section.codecs.get(pt) for section in read}) == 1
    }


def _far_ice(offer: str) -> FarIce:
    head, *parts = sections(for_stack(offer))
    group = bundled(offer)
    part = next((part for part in parts if _first(part, "mid") in group), parts[0])
    ufrag, password = (
        _first(part, name) or _first(head, name) for name in ("ice-ufrag", "ice-pwd")
    )
    lite = "a=ice-lite" in map(str.strip, head)
    texts = [line for part in parts for line in part if line.startswith("a=candidate:")]
    try:
        candidates = [
            IceCandidate.from_sdp(text.removeprefix("a=candidate:"))
            for text in dict.fromkeys(texts[:MOST_CANDIDATES])
        ]
        return FarIce(ufrag, password, tuple(candidates), lite=lite)
    except ValueError as error:
        raise PeerError(
            "The offer's ICE parameters can't be used (RFC 8839, section 5)", code="bad_sdp"
        ) from error


# -- the answer -----------------------------------------------------------------------


def _head_line(line: str, version: int, group: frozenset[str]) -> str:
    """RFC 9429, section 5.2.2: a description that differs has the next version in ``o=``."""
    name, *fields = line.split()
    if line.startswith("o=") and len(fields) > 1 and fields[1].isdigit():
        return " ".join([name, fields[0], str(int(fields[1]) + version), *fields[2:]])
    if line.startswith("a=group:BUNDLE"):
        return " ".join([name, *(mid for mid in fields if mid in group)])
    return line


def _reached_at(line: str, candidate: IceCandidate | None, offered: list[str]) -> str:
    host, port = (candidate.host, candidate.port) if candidate else ("0.0.0.0", 9)
    if line.startswith("c="):
        return f"c=IN {'IP6' if ':' in host else 'IP4'} {host}"
    if line.startswith("m=") and line.split()[1] != "0":
        kind, _, rest = line.split(" ", 2)
        rejected = offered[0].split()[1] == "0" and "a=bundle-only" not in offered
        return f"{kind} {0 if rejected else port} {rest}"
    return line


def _audio_as_offered(lines: list[str], offer: str, agreed: Negotiated) -> list[str]:
    """Our audio section without what the offer, or the first answer, leaves out."""
    offered, answered = read_section(_audio(offer)), read_section(_audio(agreed.theirs))
    kept = _common_types(offer, agreed)
    out: list[str] = []
    for line in lines:
        if line.startswith("m="):
            types = [pt for pt in payload_types([line]) if pt in kept]
            out.append(" ".join([*line.split()[:3], *map(str, types)]))
        elif (found := _OF_CODEC.match(line)) is not None:
            both = _both_feed_back(line, offered, answered)
            out += [line] if int(found[1]) in kept and both else []
        elif line.startswith("a=extmap:"):
            number, uri = line.removeprefix("a=extmap:").split()[:2]
            known = {offered.extensions.get(uri), answered.extensions.get(uri)}
            out += [line] if known == {int(number.partition("/")[0])} else []
        elif line.removeprefix("a=") in DIRECTIONS:
            out.append(_direction(line.removeprefix("a="), _audio(offer)))
        else:
            out.append(line)
    return out


def _both_feed_back(line: str, offered: AudioSection, answered: AudioSection) -> bool:
    if not line.startswith("a=rtcp-fb:"):
        return True
    number, kind = line.removeprefix("a=rtcp-fb:").split(" ", 1)
    told = (section.feedback.get(int(number), set()) for section in (offered, answered))
    return all(kind.strip().lower() in kinds for kinds in told)


def _direction(ours: str, offered: list[str]) -> str:
    theirs = next((line[2:].strip() for line in offered if line[2:].strip() in DIRECTIONS), "")
    bits = DIRECTIONS.index(theirs or "sendrecv")
    may = (bits >> 1 & 1) | (bits & 1) << 1  # what they send, we receive
    return f"a={DIRECTIONS[DIRECTIONS.index(ours) & may]}"
