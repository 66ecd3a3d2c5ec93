"""The audio section of session descriptions: what each side says, and what holds.

Pure text in, text or values out; nothing here raises. The RTP stack under us
knows neither RED, telephone events, comfort noise nor transport-wide feedback,
so they are written into our descriptions behind its back and read from the far
end's by ourselves.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Literal, NamedTuple

TRANSPORT_CC = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"

_STATIC = {0: ("pcmu", 8000), 8: ("pcma", 8000), 9: ("g722", 8000), 13: ("cn", 8000)}
"""RFC 3551, section 6: payload types that need no ``a=rtpmap``."""

_OUR_RED_PT = 63
_OUR_DTMF = {110: 48000, 126: 8000}
_OUR_CN_PT = 13
_OUR_TRANSPORT_CC_ID = 3
_DTMF_CLOCKS_HZ = (8000, 48000)
_BITRATES_BPS = range(6000, 510_001)
"""RFC 7587, section 6.1; another value is no value."""

_DIGITS = re.compile(r"[0-9]{1,10}")


class Codec(NamedTuple):
    """What an ``a=rtpmap`` says: name in lower case, RTP clock."""

    name: str
    clock_hz: int


@dataclass(frozen=True, slots=True)
class AudioFormat:
    """What was negotiated for audio. Payload types and ids are -1 or 0 where there is none.

    ``payload_type`` is the one to send, in the far end's numbering; all others
    are what is received, in ours.
    """

    codec: Literal["opus", "pcmu", "pcma"]
    payload_type: int
    opus_pt: int = -1
    pcmu_pt: int = -1
    pcma_pt: int = -1
    red_pt: int = -1
    """RFC 2198 over Opus; may be sent, too."""
    red_first: bool = False
    """The far end was asked to send RED."""
    dtmf_pts: dict[int, int] = field(default_factory=dict)
    """RFC 4733: payload type to RTP clock in Hz."""
    cn_pt: int = -1
    """RFC 3389 comfort noise, at 8 kHz."""
    transport_cc_id: int = 0
    """Id of the transport-wide sequence number (RFC 8285, one byte: 1 to 14)."""
    nack: bool = False
    """The far end repeats on request, and may ask us to."""
    far_fec: bool = False
    """The far end gains by in-band FEC."""
    far_stereo: bool = False
    far_max_bitrate_bps: int = 0
    """What the far end wants at most; 0: it did not say."""
    remote_ssrc: int = -1
    """The far end's SSRC if it said one."""


@dataclass(frozen=True, slots=True)
class AudioSection:
    """One side's audio section, as far as we understand it. Calls share them: not to be changed."""

    payload_types: tuple[int, ...] = ()
    codecs: dict[int, Codec] = field(default_factory=dict)
    parameters: dict[int, dict[str, str]] = field(default_factory=dict)
    feedback: dict[int, set[str]] = field(default_factory=dict)
    extensions: dict[str, int] = field(default_factory=dict)
    ssrc: int = -1

    def find(self, name: str, clock_hz: int) -> int:
        """The first payload type of a codec, or -1."""
        for pt in self.payload_types:
            if self.codecs.get(pt) == (name, clock_hz):
                return pt
        return -1

    def red_of(self, opus_pt: int) -> int:
        """The payload type of RED whose blocks are all Opus, or -1."""
        for pt in self.payload_types:
            inner = next(iter(self.parameters.get(pt, {})), "")
            if self.codecs.get(pt) == ("red", 48000) and opus_pt >= 0:
                blocks = inner.split("/")
                if len(blocks) > 1 and set(blocks) == {str(opus_pt)}:
                    return pt
        return -1

    def transport_cc(self, opus_pt: int) -> int:
        """The id of the transport-wide sequence number if feedback on it is promised, else 0."""
        number = self.extensions.get(TRANSPORT_CC, 0)
        return number if 1 <= number <= 14 and self._feeds_back(opus_pt, "transport-cc") else 0

    def nack(self, opus_pt: int) -> bool:
        """Whether lost packets are asked for again."""
        return self._feeds_back(opus_pt, "nack")

    def _feeds_back(self, opus_pt: int, kind: str) -> bool:
        return any(kind in self.feedback.get(pt, ()) for pt in (opus_pt, _EVERY))


_OF_CODECS = ("a=rtpmap:", "a=fmtp:", "a=rtcp-fb:", "a=extmap:")
_KNOWN_SECTIONS, _KNOWN_CHARS = 16, 8192
"""Ours is always the same but for names, so is each browser's; reading one takes 0.2 ms."""

_EVERY = -1
"""Key of feedback that is for all payload types (``*``)."""


def sections(sdp: str) -> list[list[str]]:
    """The lines of a description: the session's part, then each media section's."""
    parts: list[list[str]] = [[]]
    for line in re.split(r"\r\n|\n|\r", sdp):
        if line.startswith("m="):
            parts.append([])
        parts[-1].append(line)
    return parts


def read_audio(sdp: str) -> AudioSection:
    """The first audio section; an empty one if there is none."""
    lines = next((part for part in sections(sdp)[1:] if is_audio(part)), None)
    return AudioSection() if lines is None else read_section(lines)


def is_audio(lines: list[str]) -> bool:
    """Whether a media section is of audio."""
    return lines[0].startswith("m=audio ")


def read_section(lines: list[str]) -> AudioSection:
    """What the lines of one audio section say; malformed ones say nothing."""
    told = tuple(line.rstrip() for line in lines[1:] if line.startswith(_OF_CODECS))
    read = _read_codecs if sum(map(len, told)) <= _KNOWN_CHARS else _read_codecs.__wrapped__
    heads = (line[7:].rstrip().partition(" ")[0] for line in lines if line.startswith("a=ssrc:"))
    ssrc = next((number for head in heads if (number := _number(head)) >= 0), -1)
    return replace(read(payload_types(lines), told), ssrc=ssrc if ssrc < 1 << 32 else -1)


def payload_types(lines: list[str]) -> tuple[int, ...]:
    """The payload types that a media section's lines announce, best first."""
    return tuple(pt for text in lines[0].split()[3:] if (pt := _number(text)) in range(128))


@lru_cache(maxsize=_KNOWN_SECTIONS)
def _read_codecs(types: tuple[int, ...], lines: tuple[str, ...]) -> AudioSection:
    found = AudioSection(types, {pt: Codec(*_STATIC[pt]) for pt in types if pt in _STATIC})
    for line in lines:
        name, _, value = line.removeprefix("a=").partition(":")
        head, _, rest = value.partition(" ")
        match name:
            case "rtpmap":
                codec = rest.lower().split("/")
                if len(codec) >= 2 and (clock_hz := _number(codec[1])) > 0:
                    found.codecs[_number(head)] = Codec(codec[0], clock_hz)
            case "fmtp":
                found.parameters[_number(head)] = _parameters(rest)
            case "rtcp-fb":
                pt = _EVERY if head == "*" else _number(head)
                if head == "*" or pt >= 0:
                    found.feedback.setdefault(pt, set()).add(rest.strip().lower())
            case "extmap":
                found.extensions[rest.split(" ")[0]] = _number(head.partition("/")[0])
    return found


def negotiated(ours: AudioSection, theirs: AudioSection, *, red_first: bool) -> AudioFormat | None:
    """What holds after our description and theirs; None when no codec is in both."""
    codecs: tuple[tuple[Literal["opus", "pcmu", "pcma"], int], ...]
    codecs = (("opus", 48000), ("pcmu", 8000), ("pcma", 8000))
    both = {
        name: (ours.find(name, clock_hz), theirs.find(name, clock_hz))
        for name, clock_hz in codecs
        if ours.find(name, clock_hz) >= 0 and theirs.find(name, clock_hz) >= 0
    }
    codec = next((name for name, _ in codecs if name in both), None)
    if codec is None:
        return None
    none = (-1, -1)
    opus, far_opus = both.get("opus", none)
    red = ours.red_of(opus)
    far_red = theirs.red_of(far_opus)
    cc = ours.transport_cc(opus)
    far = theirs.parameters.get(far_opus, {})
    g711 = "pcmu" in both or "pcma" in both
    bitrate = _number(far.get("maxaveragebitrate", ""))
    return AudioFormat(
        codec=codec,
        payload_type=both[codec][1],
        opus_pt=opus,
        pcmu_pt=both.get("pcmu", none)[0],
        pcma_pt=both.get("pcma", none)[0],
        red_pt=red if red == far_red else -1,
        red_first=red_first and 0 <= red == far_red,
        dtmf_pts={
            pt: clock_hz
            for pt in ours.payload_types
            if (clock_hz := _dtmf_clock(ours, pt)) and theirs.find("telephone-event", clock_hz) >= 0
        },
        cn_pt=_OUR_CN_PT if g711 and _has_cn(ours) and _has_cn(theirs) else -1,
        transport_cc_id=cc if cc == theirs.transport_cc(far_opus) else 0,
        nack=opus >= 0 and ours.nack(opus) and theirs.nack(far_opus),
        far_fec=far.get("useinbandfec") == "1",
        far_stereo=far.get("stereo") == "1",
        far_max_bitrate_bps=bitrate if bitrate in _BITRATES_BPS else 0,
        remote_ssrc=theirs.ssrc,
    )


# -- our text -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AudioWants:
    """What we ask of the far end.

    ``max_average_bitrate_bps`` bounds what it sends: a recogniser gains
    nothing beyond about 32 kb/s mono. ``red_first``: it shall send RED, which
    doubles that (browsers do where RED stands first in our list). ``dtx``: it
    shall send next to nothing while its user is silent. ``wideband``: it need
    not code what lies above 8 kHz, which a listener at 16 kHz throws away
    after it was sent and decoded (RFC 7587: ``maxplaybackrate``).
    """

    max_average_bitrate_bps: int = 32_000
    red_first: bool = False
    dtx: bool = False
    wideband: bool = False


@dataclass(frozen=True, slots=True)
class _Extras:
    """What is added to the stack's own audio section."""

    red_pt: int
    dtmf: dict[int, int]
    cn: bool
    transport_cc_id: int
    nack: bool


def complete_offer(sdp: str, wants: AudioWants) -> str:
    """Our offer: the stack's, with all that we understand beside it."""
    extras = _Extras(_OUR_RED_PT, _OUR_DTMF, True, _OUR_TRANSPORT_CC_ID, True)
    return _complete(sdp, extras, wants)


def complete_answer(sdp: str, theirs: AudioSection, wants: AudioWants) -> str:
    """Our answer: the stack's, with what we understand of ``theirs`` beside it."""
    opus_pt = theirs.find("opus", 48000)
    dtmf = {pt: clock for pt in theirs.payload_types if (clock := _dtmf_clock(theirs, pt))}
    extras = _Extras(
        theirs.red_of(opus_pt),
        dtmf,
        _has_cn(theirs),
        theirs.transport_cc(opus_pt),
        theirs.nack(opus_pt),
    )
    return _complete(sdp, extras, wants)


def _complete(sdp: str, extras: _Extras, wants: AudioWants) -> str:
    parts = sections(sdp)
    for index, part in enumerate(parts[1:], 1):
        if is_audio(part):
            parts[index] = _complete_section(part, extras, wants)
            break
    return "\r\n".join(line for part in parts for line in part)


def _complete_section(lines: list[str], extras: _Extras, wants: AudioWants) -> list[str]:
    section = read_section(lines)
    opus = section.find("opus", 48000)
    g711 = section.find("pcmu", 8000) >= 0 or section.find("pcma", 8000) >= 0
    if opus < 0:
        extras = replace(extras, red_pt=-1, transport_cc_id=0, nack=False)
    extras = replace(extras, cn=extras.cn and g711)
    taken = set(section.payload_types)
    if extras.red_pt in taken:
        extras = replace(extras, red_pt=-1)
    types = list(section.payload_types)
    if extras.red_pt >= 0:
        types.insert(types.index(opus) + (0 if wants.red_first else 1), extras.red_pt)
    types += [_OUR_CN_PT] if extras.cn and _OUR_CN_PT not in taken else []
    types += [pt for pt in extras.dtmf if pt not in taken]
    out = [" ".join([*lines[0].split()[:3], *map(str, types)])]
    last = max(
        (i for i, line in enumerate(lines) if line.startswith("a=rtpmap:")), default=len(lines) - 1
    )
    for i, line in enumerate(lines[1:], 1):
        if line.startswith(f"a=fmtp:{opus} "):
            continue
        out.append(line)
        if opus >= 0 and line.startswith(f"a=rtpmap:{opus} "):
            out += _opus_lines(opus, extras, wants)
        if i == last:
            out += _extra_lines(opus, extras, taken)
    if extras.transport_cc_id and TRANSPORT_CC not in section.extensions:
        out.insert(_after_extensions(out), f"a=extmap:{extras.transport_cc_id} {TRANSPORT_CC}")
    return out


def _opus_lines(pt: int, extras: _Extras, wants: AudioWants) -> Iterable[str]:
    # RFC 7587, section 7: without this, browsers send stereo and no FEC.
    if extras.transport_cc_id:
        yield f"a=rtcp-fb:{pt} transport-cc"
    if extras.nack:
        yield f"a=rtcp-fb:{pt} nack"
    yield (
        f"a=fmtp:{pt} minptime=10;useinbandfec=1;stereo=0;sprop-stereo=0;"
        f"maxaveragebitrate={wants.max_average_bitrate_bps}{';usedtx=1' if wants.dtx else ''}"
        f"{';maxplaybackrate=16000' if wants.wideband else ''}"
    )


def _extra_lines(opus: int, extras: _Extras, taken: set[int]) -> Iterable[str]:
    if extras.red_pt >= 0:
        yield f"a=rtpmap:{extras.red_pt} red/48000/2"
        yield f"a=fmtp:{extras.red_pt} {opus}/{opus}"
    if extras.cn and _OUR_CN_PT not in taken:
        yield f"a=rtpmap:{_OUR_CN_PT} CN/8000"
    for pt, clock_hz in extras.dtmf.items():
        if pt not in taken:
            yield f"a=rtpmap:{pt} telephone-event/{clock_hz}"
            yield f"a=fmtp:{pt} 0-15"


def _after_extensions(lines: list[str]) -> int:
    at = [i for i, line in enumerate(lines) if line.startswith(("a=extmap:", "a=mid:", "c="))]
    return max(at, default=0) + 1


# -- small things ---------------------------------------------------------------------


def _number(text: str) -> int:
    """A decimal number, or -1."""
    return int(text) if _DIGITS.fullmatch(text) else -1


def _parameters(text: str) -> dict[str, str]:
    """``a=b;c`` as ``{"a": "b", "c": ""}``."""
    pairs = (entry.strip().partition("=") for entry in text.split(";"))
    return {name.strip().lower(): value.strip() for name, _, value in pairs if name.strip()}


def _dtmf_clock(section: AudioSection, pt: int) -> int:
    """The clock of a telephone-event type that we can read, else 0."""
    codec = section.codecs.get(pt)
    usable = codec and codec.name == "telephone-event" and codec.clock_hz in _DTMF_CLOCKS_HZ
    return codec.clock_hz if codec and usable else 0


def _has_cn(section: AudioSection) -> bool:
    return _OUR_CN_PT in section.payload_types and section.codecs[_OUR_CN_PT] == ("cn", 8000)
