"""SRTP by single packets: against pylibsrtp, and what isn't authentic."""

from __future__ import annotations

import struct
import threading
from pathlib import Path

import numpy as np
import pytest

from native.plane_kit import KEY_BYTES
from voicecore._native import rtp, srtp
from voicecore._native.srtp import SrtpContext
from voicecore.errors import MisuseError, PeerError

pylibsrtp = pytest.importorskip("pylibsrtp")

PROFILE = "SRTP_AES128_CM_SHA1_80"
KEY = bytes(range(30))
OVERHEAD = {
    "SRTP_AES128_CM_SHA1_80": (10, 14),
    "SRTP_AES128_CM_SHA1_32": (4, 14),
    "SRTP_AEAD_AES_128_GCM": (16, 20),
    "SRTP_AEAD_AES_256_GCM": (16, 20),
}
REPORT = struct.pack(">BBHI", 0x80, 201, 1, 7)


def packet(number: int, payload: bytes = b"opus", ssrc: int = 7) -> bytes:
    return rtp.header(111, number & 0xFFFF, number * 960 & 0xFFFFFFFF, ssrc) + payload


def oracle(profile: str, key: bytes, *, sending: bool) -> pylibsrtp.Session:
    kind = pylibsrtp.Policy.SSRC_ANY_OUTBOUND if sending else pylibsrtp.Policy.SSRC_ANY_INBOUND
    number = getattr(pylibsrtp.Policy, profile.replace("SRTP_", "SRTP_PROFILE_"))
    return pylibsrtp.Session(pylibsrtp.Policy(key=key, ssrc_type=kind, srtp_profile=number))


def test_the_library_names_itself() -> None:
    path, version = srtp.library()
    assert version.startswith("libsrtp2 2.")
    assert Path(path).is_file()
    assert srtp.library() == (path, version)


@pytest.mark.parametrize("profile", KEY_BYTES)
def test_against_pylibsrtp(profile: str, rng: np.random.Generator) -> None:
    """Packet by packet the same bytes, both ways, across the wrap of the sequence number."""
    key = rng.bytes(KEY_BYTES[profile])
    ours = SrtpContext(profile, key, sending=True), SrtpContext(profile, key, sending=False)
    theirs = oracle(profile, key, sending=True), oracle(profile, key, sending=False)
    for number in range(65_500, 65_600):
        plain = packet(number, rng.bytes(int(rng.integers(0, 300))), ssrc=int(rng.integers(1, 4)))
        protected = ours[0].rtp(plain)
        assert protected == theirs[0].protect(plain)
        assert len(protected) == len(plain) + OVERHEAD[profile][0]
        assert ours[1].rtp(protected) == theirs[1].unprotect(protected) == plain
        protected = ours[0].rtcp(REPORT)
        assert protected == theirs[0].protect_rtcp(REPORT)
        assert len(protected) == len(REPORT) + OVERHEAD[profile][1]
        assert ours[1].rtcp(protected) == theirs[1].unprotect_rtcp(protected) == REPORT


@pytest.mark.parametrize("profile", KEY_BYTES)
def test_what_is_not_authentic(profile: str, rng: np.random.Generator) -> None:
    key = rng.bytes(KEY_BYTES[profile])
    sender = SrtpContext(profile, key, sending=True)
    receiver = SrtpContext(profile, key, sending=False)
    good = sender.rtp(packet(1))
    for at in range(len(good)):
        wrong = bytearray(good)
        wrong[at] ^= 1
        with pytest.raises(PeerError):
            receiver.rtp(bytes(wrong))
    for n in (0, 7, 8, 11, 12, len(good) - 1):
        with pytest.raises(PeerError) as caught:
            receiver.rtp(good[:n])
        assert caught.value.code == "bad_srtp"
    assert receiver.rtp(good) == packet(1)
    with pytest.raises(PeerError) as caught:
        receiver.rtp(good)
    assert caught.value.code == "replayed"
    with pytest.raises(PeerError):
        SrtpContext(profile, rng.bytes(KEY_BYTES[profile]), sending=False).rtp(good)


def test_lateness_up_to_the_window() -> None:
    sender, receiver = (SrtpContext(PROFILE, KEY, sending=s) for s in (True, False))
    packets = [sender.rtp(packet(i)) for i in range(1, 1500)]
    receiver.rtp(packets[-1])
    assert receiver.rtp(packets[-1020]) == packet(1499 - 1019)
    with pytest.raises(PeerError) as caught:
        receiver.rtp(packets[0])
    assert caught.value.code == "replayed"


def test_one_context_takes_both_kinds() -> None:
    sender, receiver = (SrtpContext(PROFILE, KEY, sending=s) for s in (True, False))
    for i in range(5):
        assert receiver.rtp(sender.rtp(packet(i))) == packet(i)
        assert receiver.rtcp(sender.rtcp(REPORT)) == REPORT


@pytest.mark.parametrize("size", [1501, 4096])
def test_oversized_packets(size: int) -> None:
    for sending in (True, False):
        with pytest.raises(PeerError):
            SrtpContext(PROFILE, KEY, sending=sending).rtp(packet(0, bytes(size - 12)))


def test_the_greatest_packet_fits() -> None:
    sender, receiver = (SrtpContext(PROFILE, KEY, sending=s) for s in (True, False))
    plain = packet(0, bytes(1500 - 12 - 10))
    assert receiver.rtp(sender.rtp(plain)) == plain


@pytest.mark.parametrize(
    ("profile", "key"),
    [("SRTP_NULL", KEY), ("", KEY), (PROFILE, b""), (PROFILE, bytes(29)), (PROFILE, bytes(31)),
     ("SRTP_AEAD_AES_128_GCM", bytes(30)), (PROFILE, bytes(200))],
)  # fmt: skip
def test_wrong_keys_and_profiles(profile: str, key: bytes) -> None:
    with pytest.raises(MisuseError):
        SrtpContext(profile, key, sending=True)


def test_closed() -> None:
    context = SrtpContext(PROFILE, KEY, sending=True)
    context.close()
    context.close()
    with pytest.raises(MisuseError) as caught:
        context.rtp(packet(0))
    assert caught.value.code == "closed"


def test_threads_with_contexts_of_their_own() -> None:
    wrong = []

    def work(seed: int) -> None:
        key = bytes([seed]) * 30
        sender, receiver = (SrtpContext(PROFILE, key, sending=s) for s in (True, False))
        for i in range(500):
            if receiver.rtp(sender.rtp(packet(i))) != packet(i):
                wrong.append(i)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
