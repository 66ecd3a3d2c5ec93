"""What the offer of an ICE restart may change, and our answer to it."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from aioice import Candidate

from transport.restarting import exchanged
from voicecore.errors import PeerError
from voicecore.transport.restart_sdp import Negotiated, read_offer, write_answer
from voicecore.transport.sdp_audio import (
    AudioWants,
    complete_answer,
    complete_offer,
    negotiated,
    read_audio,
    read_section,
    sections,
)

HERE = Path(__file__).parent
UFRAG, PASSWORD = "fresh", "p" * 24
WANTS = AudioWants()
NEAR = Candidate("1", 1, "udp", 5, "192.0.2.9", 4000, "host")


def described(folder: str, name: str) -> str:
    return (HERE / folder / f"{name}.sdp").read_text().replace("\r\n", "\n").replace("\n", "\r\n")


def stock(opus: int = 96, mids: tuple[str, ...] = ("0", "1")) -> str:
    """A description as the stack makes it, of audio and data."""
    audio, data = mids
    lines = [
        "v=0", "o=- 3900000000 3900000000 IN IP4 0.0.0.0", "s=-", "t=0 0",
        f"a=group:BUNDLE {audio} {data}", "a=msid-semantic:WMS *",
        f"m=audio 4000 UDP/TLS/RTP/SAVPF {opus} 0 8", "c=IN IP4 192.0.2.1", "a=sendrecv",
        "a=extmap:1 urn:ietf:params:rtp-hdrext:sdes:mid", f"a=mid:{audio}", "a=rtcp-mux",
        "a=ssrc:7 cname:x",
        f"a=rtpmap:{opus} opus/48000/2", "a=rtpmap:0 PCMU/8000", "a=rtpmap:8 PCMA/8000",
        "a=candidate:1 1 udp 2130706431 192.0.2.1 4000 typ host", "a=end-of-candidates",
        "a=ice-ufrag:old", "a=ice-pwd:" + "o" * 22, "a=fingerprint:sha-256 AB:CD",
        "a=setup:actpass",
        "m=application 4000 UDP/DTLS/SCTP webrtc-datachannel", "c=IN IP4 192.0.2.1",
        f"a=mid:{data}",
        "a=sctp-port:5000", "a=candidate:1 1 udp 2130706431 192.0.2.1 4000 typ host",
        "a=end-of-candidates", "a=ice-ufrag:old", "a=ice-pwd:" + "o" * 22,
        "a=fingerprint:sha-256 AB:CD", "a=setup:actpass", "",
    ]  # fmt: skip
    return "\r\n".join(lines)


def agreed(ours: str, theirs: str, *, dtls_client: bool = False) -> Negotiated:
    form = negotiated(read_audio(ours), read_audio(theirs), red_first=False)
    assert form is not None
    return Negotiated(ours, theirs, form.payload_type, dtls_client)


def offered_by_them(name: str = "chromium") -> Negotiated:
    """They made the first offer; our answer is as ``Peer.accept`` makes it."""
    theirs = described("offers", name)
    audio = read_audio(theirs)
    mids = tuple(re.findall(r"^a=mid:(\S+)", theirs, re.MULTILINE))
    ours = complete_answer(stock(audio.find("opus", 48_000), mids), audio, WANTS)
    return agreed(ours.replace("actpass", "passive"), theirs)


def offered_by_us(name: str = "chromium") -> Negotiated:
    """We made the first offer."""
    return agreed(complete_offer(stock(), WANTS), described("answers", name))


def restart_of(held: Negotiated) -> str:
    return exchanged(held.theirs, UFRAG, PASSWORD, [])


def answer_to(offer: str, held: Negotiated) -> str:
    read_offer(offer, held)
    return write_answer(offer, held, ufrag="ours", password="q" * 24, candidates=[NEAR], version=1)


everywhere = pytest.mark.parametrize(
    "held",
    [
        offered_by_us("chromium"),
        offered_by_us("chromium_red"),
        offered_by_us("firefox"),
        offered_by_them("chromium"),
        offered_by_them("firefox"),
        offered_by_them("aiortc"),
    ],
    ids=["our-chromium", "our-red", "our-firefox", "chromium", "firefox", "aiortc"],
)


@everywhere
def test_the_offer_tells_its_ice_alone(held: Negotiated) -> None:
    offer = restart_of(held)
    candidate = "a=candidate:1 1 udp 9 198.51.100.7 6000 typ host generation 1 ufrag fresh"
    useless = candidate.replace("udp", "tcp"), candidate.replace("198.51.100.7", "x.local")
    for line in (candidate, *useless):
        offer = offer.replace("a=mid:", f"{line}\r\na=mid:", 1)
    far = read_offer(offer, held)
    assert (far.ufrag, far.password, far.lite) == (UFRAG, PASSWORD, False)
    assert [(each.host, each.port) for each in far.candidates] == [("198.51.100.7", 6000)]
    assert PASSWORD not in repr(far)


@everywhere
def test_the_answer_restates_what_was_agreed_on(held: Negotiated) -> None:
    offer = restart_of(held)
    answer = answer_to(offer, held)
    for ours, theirs, first in zip(
        sections(answer)[1:], sections(offer)[1:], sections(held.ours)[1:], strict=True
    ):
        assert ours[0].split()[0] == theirs[0].split()[0]
        assert ours.count("a=ice-ufrag:ours") == ours.count("a=setup:passive") == 1
        for kept in ("a=mid:", "a=fingerprint:", "a=ssrc:", "a=sctp-port:", "a=rtcp-mux"):
            assert [x for x in ours if x.startswith(kept)] == [
                x for x in first if x.startswith(kept)
            ]
        assert [x for x in ours if x.startswith("a=candidate:")] == [f"a=candidate:{NEAR.to_sdp()}"]
        assert "c=IN IP4 192.0.2.9" in ours
    assert "a=ice-ufrag:old" not in answer
    assert re.findall(r"^o=.*$", answer, re.MULTILINE)[0].split()[1:3] == [
        "3900000000",
        "3900000001",
    ]
    before = negotiated(read_audio(held.ours), read_audio(held.theirs), red_first=False)
    after = negotiated(read_audio(answer), read_audio(offer), red_first=False)
    assert before is not None
    assert after is not None
    assert replace(after, remote_ssrc=before.remote_ssrc) == before
    audio = read_section(sections(answer)[1])
    assert set(audio.payload_types) <= set(read_audio(offer).payload_types)
    assert set(audio.extensions.items()) <= set(read_audio(offer).extensions.items())


def test_what_the_first_answer_left_out_stays_out() -> None:
    """A restart's offer lists again all that a browser knows (RFC 9429, section 5.2.2)."""
    theirs = described("answers", "chromium")
    lean = "\r\n".join(line for line in theirs.split("\r\n") if "transport" not in line)
    held = agreed(complete_offer(stock(), WANTS), lean)
    answer = answer_to(exchanged(theirs, UFRAG, PASSWORD, []), held)
    assert "transport" in theirs
    assert "transport" not in answer.partition("m=application")[0]


def test_the_direction_is_the_offers_mirrored() -> None:
    held = offered_by_us()
    offer = restart_of(held)
    for theirs, ours in (
        ("sendrecv", "sendrecv"),
        ("sendonly", "recvonly"),
        ("recvonly", "sendonly"),
        ("inactive", "inactive"),
    ):
        changed = offer.replace("a=sendrecv", f"a={theirs}")
        assert f"a={ours}\r\n" in answer_to(changed, held)


def test_a_section_that_was_rejected_stays_rejected() -> None:
    held = offered_by_us()
    offer = re.sub(r"^m=application \d+", "m=application 0", restart_of(held), flags=re.MULTILINE)
    data = sections(answer_to(offer, held))[2]
    assert data[0].startswith("m=application 0 ")
    assert not any(line.startswith("a=ice-ufrag") for line in data)


@pytest.mark.parametrize(
    ("change", "refused"),
    [
        (lambda sdp: "nonsense", ("bad_sdp", 400)),
        (lambda sdp: sdp.partition("m=audio")[0], ("no_audio", 422)),
        (lambda sdp: re.sub("m=audio [0-9]+", "m=audio 0", sdp), ("no_audio", 422)),
        (
            lambda sdp: sdp.replace("BUNDLE 0 1", "BUNDLE 0").partition("m=application")[0],
            ("other_sections", 422),
        ),
        (lambda sdp: sdp + sdp[sdp.index("m=application") :], ("bad_sdp", 400)),
        (
            lambda sdp: sdp.replace("BUNDLE 0", "BUNDLE z").replace("a=mid:0", "a=mid:z"),
            ("other_sections", 422),
        ),
        (lambda sdp: sdp.replace("m=application", "m=video"), ("other_sections", 422)),
        (
            lambda sdp: re.sub("sha-256 ..", "sha-256 00", sdp),
            ("other_certificate", 422),
        ),
        (
            lambda sdp: re.sub("sha-256 ..", "sha-256 00", sdp, count=1),
            ("other_certificate", 422),
        ),
        (lambda sdp: re.sub("a=fingerprint[^\r]*\r\n", "", sdp), ("other_certificate", 422)),
        (lambda sdp: sdp.replace("setup:actpass", "setup:passive"), ("other_dtls_role", 422)),
        (lambda sdp: sdp.replace("setup:actpass", "setup:holdconn"), ("other_dtls_role", 422)),
        (lambda sdp: re.sub(r"\b96\b", "97", sdp), ("other_codecs", 422)),
        (lambda sdp: re.sub("ice-ufrag:.*", "ice-ufrag:a b", sdp), ("bad_sdp", 400)),
        (lambda sdp: re.sub("ice-pwd:.*", "ice-pwd:short", sdp), ("bad_sdp", 400)),
        (lambda sdp: re.sub("a=ice-ufrag[^\r]*\r\n", "", sdp), ("bad_sdp", 400)),
        (lambda sdp: sdp.replace("a=mid:0", "a=candidate:x 1 udp\r\na=mid:0"), ("bad_sdp", 400)),
    ],
)  # fmt: skip
def test_what_an_ice_restart_can_not_change(change: object, refused: tuple[str, int]) -> None:
    held = offered_by_us()
    offer = restart_of(held)
    read_offer(offer, held)
    with pytest.raises(PeerError) as caught:
        read_offer(change(offer), held)  # type: ignore[operator]
    assert (caught.value.code, caught.value.status) == refused


def test_the_role_agreed_on_may_be_said() -> None:
    held = offered_by_us()
    read_offer(restart_of(held).replace("setup:actpass", "setup:active"), held)
    turned = replace(held, dtls_client=True)
    offer = restart_of(held).replace("setup:actpass", "setup:passive")
    assert "a=setup:active" in answer_to(offer, turned)
