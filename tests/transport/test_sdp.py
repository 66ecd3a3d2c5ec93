"""What is changed in session descriptions, and which are refused."""

from __future__ import annotations

import os
import random
import string
from pathlib import Path

import pytest

from voicecore.errors import PeerError
from voicecore.transport.sdp import (
    audio_first,
    for_stack,
    in_order,
    may_be_dtls_client,
    require_audio,
    with_candidates_everywhere,
)
from voicecore.transport.sdp_audio import (
    AudioWants,
    complete_answer,
    complete_offer,
    negotiated,
    read_audio,
)

HEAD = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n"
OPUS = "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=rtpmap:111 opus/48000/2\r\n"


OFFERS = Path(__file__).parent / "offers"


# -- candidates -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        ("a=candidate:1 1 udp 2122260223 192.0.2.7 5000 typ host", True),
        ("a=candidate:1 1 udp 2122260223 fd00::1 5000 typ host", True),
        ("a=candidate:1 1 udp 1 198.51.100.1 5 typ srflx raddr 10.0.0.1 rport 9", True),
        ("a=candidate:1 1 tcp 1 192.0.2.7 9 typ host tcptype active", False),
        ("a=candidate:1 2 udp 1 192.0.2.7 9 typ host", False),
        ("a=candidate:1 1 UDP 1 192.0.2.7 9 typ host", True),
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
    lines = for_stack(sdp).split("\r\n")
    assert (line in lines) is kept
    assert "a=mid:0" in lines


# -- what the stack is given -------------------------------------------------------------


def test_what_the_stack_would_stumble_over_is_kept_from_it() -> None:
    odd = "a=fmtp:77 x\r\na=rtcp-fb:77 nack\r\na=ssrc:1\r\na=ssrc-group:FID x\r\n"
    lines = for_stack(HEAD + OPUS + odd + VIDEO + "a=fmtp:96 x=1\r\n").split("\r\n")
    assert not [line for line in lines if line.startswith(("a=ssrc", "a=rtcp-fb"))]
    assert [line for line in lines if line.startswith("a=fmtp")] == ["a=fmtp:96 x=1"]
    assert lines[-1] == ""


def test_static_types_get_their_names_and_audio_a_direction() -> None:
    text = for_stack(HEAD + "m=audio 9 RTP/AVP 0 8 13 18\r\nc=IN IP4 192.0.2.1")
    assert text.split("\r\n")[-3:] == [
        "a=rtpmap:0 PCMU/8000",
        "a=rtpmap:8 PCMA/8000",
        "a=sendrecv",
    ]
    named = HEAD + "m=audio 9 RTP/AVP 0\r\na=rtpmap:0 pcmu/8000\r\na=sendonly\r\n"
    assert for_stack(named) == named


def test_a_direction_of_the_session_is_audios_own() -> None:
    text = for_stack(HEAD + "a=recvonly\r\n" + OPUS + VIDEO)
    audio = text[text.index("m=audio") : text.index("m=video")]
    assert audio.endswith("a=recvonly\r\n")


@pytest.mark.parametrize("name", ["chromium", "chromium_video", "firefox", "aiortc"])
def test_recorded_offers_stay_themselves(name: str) -> None:
    sdp = (OFFERS / f"{name}.sdp").read_bytes().decode()
    given = for_stack(sdp)
    assert for_stack(given) == given
    assert given.count("m=") == sdp.count("m=")
    assert given.count("a=rtpmap") == sdp.count("a=rtpmap")
    assert may_be_dtls_client(sdp)
    require_audio(sdp)


@pytest.mark.parametrize(
    ("setups", "client"),
    [
        (["actpass"], True),
        (["active", "actpass"], True),
        (["passive"], False),
        (["actpass", "passive"], False),
        (["holdconn"], False),
        ([], False),
    ],
)
def test_who_may_open_dtls(setups: list[str], client: bool) -> None:
    assert may_be_dtls_client(HEAD + "".join(f"a=setup:{s}\r\n" for s in setups)) is client


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


def survive(sdp: str) -> None:
    """Everything that reads a stranger's text, one after the other."""
    for_stack(sdp)
    may_be_dtls_client(sdp)
    theirs = read_audio(sdp)
    wants = AudioWants(red_first=True)
    ours = read_audio(complete_answer(HEAD + OPUS, theirs, wants))
    negotiated(ours, theirs, red_first=True)
    complete_offer(sdp, wants)
    complete_answer(sdp, theirs, wants)
    assert refusal(sdp) in {"", "bad_sdp", "no_audio", "no_codec"}


def test_seeded_garbage_is_refused_or_passed_but_never_breaks() -> None:
    seed = int(os.environ.get("VOICECORE_SEED") or random.SystemRandom().randrange(2**32))
    print(f"VOICECORE_SEED={seed}")
    rng = random.Random(seed)
    whole = (OFFERS / "chromium.sdp").read_bytes().decode()
    for _ in range(300):
        text = list(whole)
        for _ in range(rng.randrange(1, 30)):
            text[rng.randrange(len(text))] = rng.choice(string.printable)
        sdp = "".join(text[: rng.randrange(1, len(text) + 1)])
        survive(sdp)


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
        survive(sdp)


def test_sections_are_put_in_order_and_back() -> None:
    data = "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:d\r\n"
    video = "m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:v\r\n"
    audio = f"{OPUS}a=mid:a\r\n"
    group = "a=group:BUNDLE"
    theirs = f"{HEAD}{group} d v a\r\n{data}{video}{audio}"
    order = audio_first(theirs)
    ours = in_order(theirs, order)
    assert ours == f"{HEAD}{group} a d v\r\n{audio}{data}{video}"
    assert in_order(ours, order, back=True) == theirs
    assert audio_first(ours) == [0, 1, 2]
    assert in_order(ours, [0, 1, 2]) is ours
    assert in_order(ours, [1, 0]) is ours, "not of so many sections"
    assert in_order(f"{HEAD}{group} a\r\n{data}{audio}", [1, 0]).count("BUNDLE a\r\n") == 1


def test_candidates_named_once_are_every_sections() -> None:
    first = "v=0\r\nm=audio 9 X 0\r\na=candidate:1 x\r\na=end-of-candidates\r\na=mid:0\r\n"
    second = "m=application 9 X\r\na=mid:1\r\n"
    made = with_candidates_everywhere(first + second)
    assert made == first + second + "a=candidate:1 x\r\na=end-of-candidates\r\n"
    assert with_candidates_everywhere(made) == made
    assert with_candidates_everywhere(second) == second
    assert with_candidates_everywhere("") == ""
