"""Audio's packets in Python: SRTP by pylibsrtp, where no native plane carries them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pylibsrtp import Error, Policy, Session

from voicecore.transport.media_path import MediaPath, SelectedPair
from voicecore.transport.srtp_keys import SrtpKeys

PacketHandler = Callable[[bytes], None]

_REPLAY_WINDOW = 1024
"""Twenty seconds of packets: what a stalled network lets go at once is not taken as replayed."""


class PacketTap:
    """Takes RTP and RTCP off a path and puts ours on it.

    ``on_rtp`` and ``on_rtcp`` get decrypted packets. Those that fail
    authentication are dropped and counted.
    """

    def __init__(
        self, path: MediaPath, keys: SrtpKeys, on_rtp: PacketHandler, on_rtcp: PacketHandler
    ) -> None:
        self._path = path
        self._receive = _session(keys.profile, keys.receive, Policy.SSRC_ANY_INBOUND)
        self._transmit = _session(keys.profile, keys.transmit, Policy.SSRC_ANY_OUTBOUND)
        self._on_rtp = on_rtp
        self._on_rtcp = on_rtcp
        self._closed = False
        self.received = 0
        self.rejected = 0
        self.unsent = 0
        path.attach(self)

    def on_packet(self, data: bytes) -> None:
        """Take one packet as it came."""
        if self._closed:
            return
        self.received += 1
        # RFC 5761, section 4: packet types 192..223 are RTCP.
        rtcp = len(data) >= 2 and 192 <= data[1] <= 223
        try:
            plain = self._receive.unprotect_rtcp(data) if rtcp else self._receive.unprotect(data)
        except (Error, TypeError, ValueError):
            self.rejected += 1
            return
        (self._on_rtcp if rtcp else self._on_rtp)(plain)

    def on_pair(self, pair: SelectedPair | None) -> None:
        """The path knows where to send."""

    def on_media(self, kind: int, *details: Any) -> None:
        """Events of native media threads: there are none here."""

    def send(self, packet: bytes, *, rtcp: bool = False) -> bool:
        """Protect and send one packet on the pair in use; False if there is none."""
        if self._closed or self._path.pair is None:
            self.unsent += 1
            return False
        protect = self._transmit.protect_rtcp if rtcp else self._transmit.protect
        return self._path.send(protect(packet))

    def close(self) -> None:
        """Deliver nothing and send nothing any more."""
        self._closed = True


def _session(profile: str, key: bytes, kind: int) -> Session:
    number = getattr(Policy, "SRTP_PROFILE_" + profile.removeprefix("SRTP_"))
    policy = Policy(key=key, ssrc_type=kind, srtp_profile=number)
    policy.allow_repeat_tx = True
    policy.window_size = _REPLAY_WINDOW
    return Session(policy)
