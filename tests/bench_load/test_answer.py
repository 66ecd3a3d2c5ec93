"""What the native client adds to aiortc's answer, and only where it was offered."""

from __future__ import annotations

import pytest

from load.answer import FULLBAND_HZ, TRANSPORT_CC, WIDEBAND_HZ, Extras, extend

ANSWER = "\r\n".join(
    [
        "v=0",
        "m=audio 9 UDP/TLS/RTP/SAVPF 111 0",
        "a=rtpmap:111 opus/48000/2",
        "a=rtpmap:0 PCMU/8000",
        "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
        "a=mid:1",
        "",
    ]
)
OFFER = "\n".join(
    [
        "v=0",
        "m=audio 9 UDP/TLS/RTP/SAVPF 63 111 0",
        f"a=extmap:3 {TRANSPORT_CC}",
        "a=rtpmap:63 red/48000/2",
        "a=fmtp:63 111/111",
        "a=rtpmap:111 opus/48000/2",
        "a=rtcp-fb:111 transport-cc",
        "a=rtcp-fb:111 nack",
        "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
    ]
)
ALL = Extras(transport_cc=True, nack=True, red=True)


def test_everything_that_was_offered_is_promised() -> None:
    made = extend(OFFER, ANSWER, ALL)
    assert (made.opus, made.transport_cc_id, made.nack, made.red) == (111, 3, True, 63)
    lines = made.sdp.split("\r\n")
    assert lines[1] == "m=audio 9 UDP/TLS/RTP/SAVPF 111 0 63"
    audio = lines[: lines.index("m=application 9 UDP/DTLS/SCTP webrtc-datachannel")]
    for line in (
        f"a=extmap:3 {TRANSPORT_CC}",
        "a=rtcp-fb:111 transport-cc",
        "a=rtcp-fb:111 nack",
        "a=rtpmap:63 red/48000/2",
        "a=fmtp:63 111/111",
    ):
        assert line in audio


def test_nothing_is_promised_that_was_not_asked_for() -> None:
    made = extend(OFFER, ANSWER, Extras())
    assert made.sdp == ANSWER
    assert (made.transport_cc_id, made.nack, made.red) == (0, False, 0)


@pytest.mark.parametrize(
    ("parameters", "dtx", "band_hz"),
    [
        ("minptime=10;usedtx=1;maxplaybackrate=16000", True, WIDEBAND_HZ),
        ("maxplaybackrate=16000; usedtx=0", False, WIDEBAND_HZ),
        ("maxplaybackrate=160000", False, FULLBAND_HZ),
        ("useinbandfec=1", False, FULLBAND_HZ),
    ],
)
def test_what_the_server_hears_is_what_is_sent(parameters: str, dtx: bool, band_hz: int) -> None:
    offer = OFFER.replace("a=rtcp-fb:111 nack", f"a=fmtp:111 {parameters}")
    made = extend(offer, ANSWER, ALL)
    assert (made.dtx, made.band_hz) == (dtx, band_hz)


@pytest.mark.parametrize("absent", ["extmap", "transport-cc", "nack", "red/48000"])
def test_what_was_not_offered_is_not_promised(absent: str) -> None:
    offer = "\n".join(line for line in OFFER.split("\n") if absent not in line or "m=" in line)
    made = extend(offer, ANSWER, ALL)
    whole = extend(OFFER, ANSWER, ALL)
    assert (made.transport_cc_id, made.nack, made.red) != (
        whole.transport_cc_id,
        whole.nack,
        whole.red,
    )


def test_an_answer_without_opus_is_refused() -> None:
    with pytest.raises(ValueError, match="no Opus"):
        extend(OFFER, ANSWER.replace("opus", "speex"), ALL)
