"""What is offered, answered and agreed on for audio, against real offers and answers.

``offers/`` and ``answers/`` were written down from Chromium 156, Firefox 153
and aiortc 1.16; the answers are to offers of ours (``chromium_red``: RED first).
"""

from __future__ import annotations

from pathlib import Path

import pytest

from voicecore.transport.sdp_audio import (
    TRANSPORT_CC,
    AudioFormat,
    AudioWants,
    complete_answer,
    complete_offer,
    negotiated,
    read_audio,
    sections,
)

HERE = Path(__file__).parent
HEAD = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n"
CHANNEL = "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:1\r\n"
MAP = {"opus": "opus/48000/2", "pcmu": "PCMU/8000", "pcma": "PCMA/8000"}


def stack(*codecs: tuple[int, str], tail: str = CHANNEL) -> str:
    """A description as the RTP stack under us writes it."""
    types = " ".join(str(pt) for pt, _ in codecs)
    lines = [f"m=audio 9 UDP/TLS/RTP/SAVPF {types}", "c=IN IP4 0.0.0.0", "a=sendrecv",
             "a=extmap:1 urn:ietf:params:rtp-hdrext:sdes:mid", "a=mid:0"]  # fmt: skip
    lines += [f"a=rtpmap:{pt} {MAP[name]}" for pt, name in codecs]
    return HEAD + "".join(f"{line}\r\n" for line in [*lines, "a=ice-ufrag:x"]) + tail


ALL = ((96, "opus"), (0, "pcmu"), (8, "pcma"))


def recorded(name: str) -> str:
    return (HERE / name).read_bytes().decode()


def audio_lines(sdp: str, prefix: str = "") -> list[str]:
    return [line for line in sections(sdp)[1] if line.startswith(prefix)]


def answer_to(offer: str, *, wants: AudioWants | None = None) -> tuple[str, AudioFormat]:
    """Our answer to a recorded offer, and what then holds."""
    wants = wants or AudioWants()
    theirs = read_audio(offer)
    opus = theirs.find("opus", 48000)
    ours = complete_answer(stack((opus, "opus"), *ALL[1:]), theirs, wants)
    form = negotiated(read_audio(ours), theirs, red_first=wants.red_first)
    assert form is not None
    return ours, form


# -- our offer ------------------------------------------------------------------------


def test_our_offer_has_all_that_we_understand() -> None:
    offer = complete_offer(stack(*ALL), AudioWants())
    assert audio_lines(offer, "m=") == ["m=audio 9 UDP/TLS/RTP/SAVPF 96 63 0 8 13 110 126"]
    assert audio_lines(offer, "a=fmtp:") == [
        "a=fmtp:96 minptime=10;useinbandfec=1;stereo=0;sprop-stereo=0;maxaveragebitrate=32000",
        "a=fmtp:63 96/96",
        "a=fmtp:110 0-15",
        "a=fmtp:126 0-15",
    ]
    assert audio_lines(offer, "a=rtcp-fb:") == ["a=rtcp-fb:96 transport-cc", "a=rtcp-fb:96 nack"]
    assert f"a=extmap:3 {TRANSPORT_CC}" in audio_lines(offer)
    assert offer.endswith(CHANNEL)
    assert offer.startswith(HEAD)
    types = {int(line.split()[0].partition(":")[2]) for line in audio_lines(offer, "a=rtpmap:")}
    assert types == set(read_audio(offer).payload_types)


def test_red_wanted_stands_first_and_the_bit_rate_can_be_chosen() -> None:
    offer = complete_offer(stack(*ALL), AudioWants(20_000, red_first=True))
    assert audio_lines(offer, "m=")[0].split()[3:5] == ["63", "96"]
    assert "maxaveragebitrate=20000" in offer


def test_what_nobody_hears_is_not_asked_for() -> None:
    offer = complete_offer(stack(*ALL), AudioWants(dtx=True, wideband=True))
    line = next(line for line in audio_lines(offer, "a=fmtp:96 "))
    assert line.endswith(";maxaveragebitrate=32000;usedtx=1;maxplaybackrate=16000")
    answer, _ = answer_to(recorded("offers/chromium.sdp"), wants=AudioWants(wideband=True))
    assert "maxplaybackrate=16000" in answer
    assert "usedtx" not in answer


def test_without_opus_or_g711_their_companions_are_missing() -> None:
    g711 = complete_offer(stack((0, "pcmu")), AudioWants())
    assert audio_lines(g711, "m=")[0].split()[3:] == ["0", "13", "110", "126"]
    assert "red" not in g711
    assert TRANSPORT_CC not in g711
    opus = complete_offer(stack((96, "opus")), AudioWants())
    assert audio_lines(opus, "m=")[0].split()[3:] == ["96", "63", "110", "126"]


def test_text_without_audio_stays_as_it_is() -> None:
    assert complete_offer(HEAD + CHANNEL, AudioWants()) == HEAD + CHANNEL


# -- our answers to real offers ---------------------------------------------------------


def test_chromium_gets_what_it_offers() -> None:
    answer, form = answer_to(recorded("offers/chromium.sdp"))
    assert audio_lines(answer, "m=")[0].split()[3:] == ["111", "63", "0", "8", "13", "110", "126"]
    assert "a=fmtp:63 111/111" in answer
    assert "a=rtcp-fb:111 transport-cc" in answer
    assert "nack" not in answer
    assert "G722" not in answer
    assert form == AudioFormat(
        "opus", 111, opus_pt=111, pcmu_pt=0, pcma_pt=8, red_pt=63, red_first=False,
        dtmf_pts={110: 48000, 126: 8000}, cn_pt=13, transport_cc_id=3, nack=False,
        far_fec=True, far_stereo=False, far_max_bitrate_bps=0, remote_ssrc=form.remote_ssrc,
    )  # fmt: skip
    assert form.remote_ssrc > 0


def test_chromium_is_asked_for_red() -> None:
    answer, form = answer_to(recorded("offers/chromium.sdp"), wants=AudioWants(red_first=True))
    assert audio_lines(answer, "m=")[0].split()[3:5] == ["63", "111"]
    assert (form.red_pt, form.red_first) == (63, True)


def test_firefox_gets_what_it_offers() -> None:
    answer, form = answer_to(recorded("offers/firefox.sdp"), wants=AudioWants(red_first=True))
    assert audio_lines(answer, "m=")[0].split()[3:] == ["109", "0", "8", "101"]
    assert f"a=extmap:7 {TRANSPORT_CC}" in answer
    assert (form.red_pt, form.red_first, form.cn_pt) == (-1, False, -1)
    assert (form.dtmf_pts, form.transport_cc_id) == ({101: 8000}, 7)
    assert (form.far_fec, form.far_stereo) == (True, True)


def test_aiortc_offers_nothing_beside_codecs() -> None:
    answer, form = answer_to(recorded("offers/aiortc.sdp"))
    assert audio_lines(answer, "m=")[0].split()[3:] == ["96", "0", "8"]
    assert audio_lines(answer, "a=rtcp-fb:") == []
    assert (form.far_fec, form.transport_cc_id, form.dtmf_pts) == (False, 0, {})


# -- real answers to our offer ------------------------------------------------------------


@pytest.mark.parametrize(("name", "red_first"), [("chromium", False), ("chromium_red", True)])
def test_chromiums_answer(name: str, red_first: bool) -> None:
    ours = read_audio(complete_offer(stack(*ALL), AudioWants(red_first=red_first)))
    form = negotiated(ours, read_audio(recorded(f"answers/{name}.sdp")), red_first=red_first)
    assert form is not None
    assert (form.payload_type, form.red_pt, form.red_first) == (96, 63, red_first)
    assert (form.dtmf_pts, form.cn_pt) == ({110: 48000, 126: 8000}, 13)
    assert (form.transport_cc_id, form.nack) == (3, False), "Chromium drops NACK for audio"


def test_firefoxs_answer() -> None:
    ours = read_audio(complete_offer(stack(*ALL), AudioWants()))
    form = negotiated(ours, read_audio(recorded("answers/firefox.sdp")), red_first=False)
    assert form is not None
    assert (form.payload_type, form.red_pt, form.cn_pt) == (96, -1, -1)
    assert (form.dtmf_pts, form.transport_cc_id) == ({126: 8000}, 3)


# -- the finer points ---------------------------------------------------------------------


def theirs(*lines: str, types: str = "111 63") -> str:
    head = f"m=audio 9 UDP/TLS/RTP/SAVPF {types}"
    return HEAD + "".join(f"{line}\r\n" for line in [head, "a=rtpmap:111 opus/48000/2", *lines])


RED, CC = "a=rtpmap:63 red/48000/2", f"a=extmap:5 {TRANSPORT_CC}"


@pytest.mark.parametrize(
    ("lines", "red_pt"),
    [
        ((RED, "a=fmtp:63 111/111"), 63),
        ((RED, "a=fmtp:63 111/111/111"), 63),
        (("a=fmtp:63 111/111", RED), 63),
        ((RED, "a=fmtp:63 111"), -1),
        ((RED, "a=fmtp:63 0/0"), -1),
        ((RED, "a=fmtp:63 111/0"), -1),
        ((RED,), -1),
        (("a=rtpmap:63 red/8000", "a=fmtp:63 111/111"), -1),
        (("a=rtpmap:64 red/48000/2", "a=fmtp:64 111/111"), -1),
    ],
)
def test_red_is_taken_over_opus_alone(lines: tuple[str, ...], red_pt: int) -> None:
    answer, form = answer_to(theirs(*lines))
    assert form.red_pt == red_pt
    assert ("63" in audio_lines(answer, "m=")[0].split()) == (red_pt >= 0)


@pytest.mark.parametrize(
    ("lines", "number"),
    [
        ((CC, "a=rtcp-fb:111 transport-cc"), 5),
        ((CC, "a=rtcp-fb:* transport-cc"), 5),
        ((CC.replace(":5", ":5/sendrecv"), "a=rtcp-fb:111 transport-cc"), 5),
        ((CC,), 0),
        (("a=rtcp-fb:111 transport-cc",), 0),
        ((CC, "a=rtcp-fb:0 transport-cc"), 0),
        ((CC.replace(":5", ":15"), "a=rtcp-fb:111 transport-cc"), 0),
        ((CC.replace(":5", ":0"), "a=rtcp-fb:111 transport-cc"), 0),
        ((CC.replace(":5", ":x"), "a=rtcp-fb:111 transport-cc"), 0),
    ],
)
def test_transport_cc_needs_its_extension_and_its_feedback(
    lines: tuple[str, ...], number: int
) -> None:
    answer, form = answer_to(theirs(*lines))
    assert form.transport_cc_id == number
    assert (TRANSPORT_CC in answer) == (number > 0)


@pytest.mark.parametrize(
    ("line", "nack"),
    [("a=rtcp-fb:111 nack", True), ("a=rtcp-fb:* nack", True), ("a=rtcp-fb:111 nack pli", False),
     ("a=rtcp-fb:0 nack", False)],
)  # fmt: skip
def test_nack_is_answered_where_it_is_offered(line: str, nack: bool) -> None:
    answer, form = answer_to(theirs(line))
    assert form.nack is nack
    assert ("a=rtcp-fb:111 nack" in audio_lines(answer)) is nack


@pytest.mark.parametrize(
    ("text", "bitrate"),
    [("20000", 20_000), ("5999", 0), ("510001", 0), ("x", 0), ("-1", 0), ("9" * 30, 0)],
)
def test_what_the_far_end_wants_of_opus(text: str, bitrate: int) -> None:
    line = f"a=fmtp:111 UseInbandFec=1; stereo=1;maxaveragebitrate={text}"
    _, form = answer_to(theirs(line))
    assert (form.far_fec, form.far_stereo, form.far_max_bitrate_bps) == (True, True, bitrate)


def test_payload_types_that_differ_are_kept_apart() -> None:
    """RFC 3264, section 5.1: each side receives under its own numbers."""
    ours = read_audio(complete_offer(stack(*ALL), AudioWants()))
    answer = theirs(RED, "a=fmtp:63 111/111", "a=rtpmap:101 telephone-event/8000",
                    types="111 63 101")  # fmt: skip
    form = negotiated(ours, read_audio(answer), red_first=False)
    assert form is not None
    assert (form.payload_type, form.opus_pt) == (111, 96)
    assert form.dtmf_pts == {126: 8000}


def test_codecs_of_nobody_are_no_format() -> None:
    ours = read_audio(complete_offer(stack((96, "opus")), AudioWants()))
    assert negotiated(ours, read_audio(stack((0, "pcmu"))), red_first=False) is None
    assert negotiated(ours, read_audio(HEAD), red_first=False) is None


def test_g711_alone_with_static_types() -> None:
    form = negotiated(
        read_audio(stack((0, "pcmu"), (8, "pcma"))),
        read_audio(HEAD + "m=audio 4000 RTP/AVP 8 13\r\n"),
        red_first=False,
    )
    assert form is not None
    assert (form.codec, form.payload_type, form.pcmu_pt, form.cn_pt) == ("pcma", 8, -1, -1)


def test_a_second_audio_section_is_not_ours() -> None:
    text = complete_offer(stack(*ALL, tail=OTHER), AudioWants())
    assert text.endswith(OTHER)


OTHER = "m=audio 0 UDP/TLS/RTP/SAVPF 96\r\na=rtpmap:96 opus/48000/2\r\na=inactive\r\n"


@pytest.mark.parametrize("ssrc", ["1", "4294967295", "4294967296", "x", "99999999999999"])
def test_the_far_ends_ssrc(ssrc: str) -> None:
    expected = int(ssrc) if ssrc.isdigit() and int(ssrc) < 1 << 32 else -1
    assert read_audio(theirs(f"a=ssrc:{ssrc} cname:x")).ssrc == expected


def test_codecs_that_were_read_before_are_not_read_again_but_their_ssrc_is() -> None:
    text = stack(*ALL, tail="")
    one, two = (read_audio(f"{text}a=ssrc:{ssrc} cname:x\r\n") for ssrc in (7, 8))
    assert (one.ssrc, two.ssrc) == (7, 8)
    assert one.codecs is two.codecs
    # What a hostile caller may send is not kept.
    long = text + "a=fmtp:96 " + "x" * 8192 + "\r\n"
    assert read_audio(long).codecs == one.codecs
    assert read_audio(long).codecs is not read_audio(long).codecs
