"""What is changed in session descriptions, and which are refused."""

from __future__ import annotations

import os
import random
import string
from pathlib import Path

import pytest

from voicecore.errors import PeerError
from voicecore.transport.sdp import ask_for_fec, require_audio, without_unreachable_candidates

HEAD = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n"
OPUS = "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=rtpmap:111 opus/48000/2\r\n"


def fmtp_lines(sdp: str) -> list[str]:
    return [line for line in sdp.split("\r\n") if line.startswith("a=fmtp:")]


# -- ask_for_fec ----------------------------------------------------------------------


def test_an_opus_line_gets_fec_and_mono() -> None:
    (line,) = fmtp_lines(ask_for_fec(HEAD + OPUS))
    assert line.startswith("a=fmtp:111 ")
    parameters = line.removeprefix("a=fmtp:111 ").split(";")
    for wanted in ("useinbandfec=1", "stereo=0", "sprop-stereo=0", "maxaveragebitrate=32000"):
        assert wanted in parameters


def test_the_line_stands_behind_its_rtpmap() -> None:
    lines = ask_for_fec(HEAD + OPUS + "a=sendrecv\r\n").split("\r\n")
    at = lines.index("a=rtpmap:111 opus/48000/2")
    assert lines[at + 1].startswith("a=fmtp:111 ")


def test_another_fmtp_of_the_same_type_is_replaced() -> None:
    old = "a=fmtp:111 minptime=20;stereo=1\r\n"
    for sdp in (HEAD + OPUS + old, HEAD + old + OPUS):
        (line,) = fmtp_lines(ask_for_fec(sdp))
        assert "stereo=1" not in line.split(";")


@pytest.mark.parametrize("rtpmap", ["opus/48000/2", "OPUS/48000/2", "opus/48000"])
def test_spellings_of_opus(rtpmap: str) -> None:
    sdp = HEAD + f"m=audio 9 UDP/TLS/RTP/SAVPF 96\r\na=rtpmap:96 {rtpmap}\r\n"
    assert len(fmtp_lines(ask_for_fec(sdp))) == 1


def test_fmtp_of_other_codecs_is_left_alone() -> None:
    other = "a=rtpmap:97 telephone-event/8000\r\na=fmtp:97 0-15\r\na=fmtp:11 x\r\n"
    lines = fmtp_lines(ask_for_fec(HEAD + OPUS + other))
    assert "a=fmtp:97 0-15" in lines
    assert "a=fmtp:11 x" in lines


def test_two_opus_types_get_a_line_each() -> None:
    sdp = HEAD + OPUS + "a=rtpmap:63 opus/48000/2\r\n"
    assert {line.split()[0] for line in fmtp_lines(ask_for_fec(sdp))} == {
        "a=fmtp:111",
        "a=fmtp:63",
    }


def test_without_opus_nothing_changes() -> None:
    sdp = HEAD + "m=audio 9 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n"
    assert ask_for_fec(sdp) == sdp


def test_bare_newlines_come_out_as_crlf_and_twice_is_once() -> None:
    once = ask_for_fec((HEAD + OPUS).replace("\r\n", "\n"))
    assert "\n" not in once.replace("\r\n", "")
    assert ask_for_fec(once) == once


def test_the_bit_rate_can_be_chosen() -> None:
    (line,) = fmtp_lines(ask_for_fec(HEAD + OPUS, max_average_bitrate_bps=20_000))
    assert line.endswith("maxaveragebitrate=20000")


# -- candidates -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        ("a=candidate:1 1 udp 2122260223 192.0.2.7 5000 typ host", True),
        ("a=candidate:1 1 udp 2122260223 fd00::1 5000 typ host", True),
        ("a=candidate:1 1 udp 1 198.51.100.1 5 typ srflx raddr 10.0.0.1 rport 9", True),
        ("a=candidate:1 1 tcp 1 192.0.2.7 9 typ host tcptype active", True),
        ("a=candidate:1 1 udp 1 0c6e3a1e-aaaa.local 5000 typ host", False),
        ("a=candidate:1 1 udp 1 0C6E3A1E-AAAA.LOCAL 5000 typ host", False),
        ("a=candidate:1 1 udp", True),  # cut short: the parser's to refuse
        ("a=end-of-candidates", False),
        ("a=end-of-candidates ", False),
        ("a=ice-ufrag:local", True),
    ],
)
@pytest.mark.parametrize("newline", ["\r\n", "\n"])
def test_which_candidate_lines_stay(line: str, kept: bool, newline: str) -> None:
    sdp = newline.join([*HEAD.split("\r\n")[:-1], line, "a=mid:0", ""])
    lines = without_unreachable_candidates(sdp).split("\r\n")
    assert (line in lines) is kept
    assert "a=mid:0" in lines


# -- require_audio --------------------------------------------------------------------

VIDEO = "m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=rtpmap:96 VP8/90000\r\n"
CHANNEL = "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n"


@pytest.mark.parametrize(
    "media",
    [
        OPUS,
        OPUS.replace("opus", "OPUS"),
        "m=audio 9 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n",
        "m=audio 49170 RTP/AVP 8\r\n",  # static, so without an rtpmap
        "m=audio 49170 RTP/AVP 18 0\r\n",
        VIDEO + OPUS,
        CHANNEL + OPUS,
        "m=audio 0 RTP/AVP 0\r\n" + OPUS,
        "m=audio 9 UDP/TLS/RTP/SAVPF 9 111\r\na=rtpmap:9 G722/8000\r\n"
        "a=rtpmap:111 opus/48000/2\r\n",
    ],
)
def test_descriptions_in_which_audio_can_flow(media: str) -> None:
    require_audio(HEAD + media)
    require_audio((HEAD + media).replace("\r\n", "\n"))


@pytest.mark.parametrize(
    ("sdp", "code", "status"),
    [
        ("", "bad_sdp", 400),
        ("hello", "bad_sdp", 400),
        ("\x00" * 50, "bad_sdp", 400),
        ("o=- 1 2 IN IP4 0.0.0.0\r\n" + OPUS, "bad_sdp", 400),
        ("{}", "bad_sdp", 400),
        (HEAD, "no_audio", 422),
        (HEAD + VIDEO, "no_audio", 422),
        (HEAD + CHANNEL, "no_audio", 422),
        (HEAD + "a=m=audio 9 RTP/AVP 0\r\n", "no_audio", 422),
        (HEAD + "m=audio nine RTP/AVP 0\r\n", "no_audio", 422),
        (HEAD + OPUS.replace("m=audio 9", "m=audio 0"), "no_audio", 422),
        (HEAD + "m=audio 9 RTP/AVP 9\r\na=rtpmap:9 G722/8000\r\n", "no_codec", 422),
        (HEAD + "m=audio 9 RTP/AVP 96\r\na=rtpmap:96 opusx/48000/2\r\n", "no_codec", 422),
        (HEAD + "m=audio 9 RTP/AVP 18 101\r\n", "no_codec", 422),
    ],
)
def test_descriptions_that_are_refused(sdp: str, code: str, status: int) -> None:
    with pytest.raises(PeerError) as caught:
        require_audio(sdp)
    assert (caught.value.code, caught.value.status) == (code, status)
    assert len(str(caught.value)) > 10


def refusal(sdp: str) -> str:
    """The code with which ``sdp`` is refused, or ``""``."""
    try:
        require_audio(sdp)
    except PeerError as error:
        return error.code
    return ""


def test_seeded_garbage_is_refused_or_passed_but_never_breaks() -> None:
    seed = int(os.environ.get("VOICECORE_SEED") or random.SystemRandom().randrange(2**32))
    print(f"VOICECORE_SEED={seed}")
    rng = random.Random(seed)
    whole = HEAD + OPUS + VIDEO
    for _ in range(300):
        text = list(whole)
        for _ in range(rng.randrange(1, 30)):
            text[rng.randrange(len(text))] = rng.choice(string.printable)
        sdp = "".join(text[: rng.randrange(1, len(text) + 1)])
        ask_for_fec(sdp)
        without_unreachable_candidates(sdp)
        assert refusal(sdp) in {"", "bad_sdp", "no_audio", "no_codec"}


def corpus() -> list[Path]:
    default = Path(__file__).parents[2].parent / "shared" / "cases"
    folder = Path(os.environ.get("VOICECORE_CASES", default)) / "fuzz_webrtc"
    return sorted(folder.glob("sdp-corpus__*"))


def test_recorded_fuzz_seeds_never_break() -> None:
    files = corpus()
    if not files:
        pytest.skip("no recorded cases: set VOICECORE_CASES")
    for file in files:
        sdp = file.read_bytes().decode("utf-8", "replace")
        ask_for_fec(sdp)
        without_unreachable_candidates(sdp)
        assert refusal(sdp) in {"", "bad_sdp", "no_audio", "no_codec"}
