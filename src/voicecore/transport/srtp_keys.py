"""What DTLS agreed on for SRTP."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class SrtpKeys:
    """A protection profile and both keys, each followed by its salt.

    ``profile`` is OpenSSL's name: ``SRTP_AEAD_AES_256_GCM`` (32 + 12 bytes),
    ``SRTP_AEAD_AES_128_GCM`` (16 + 12) or ``SRTP_AES128_CM_SHA1_80`` (16 + 14).
    One context per direction serves RTP and RTCP together: with a second one
    of the same key, AES-GCM would repeat its nonces.
    """

    profile: str
    transmit: bytes = field(repr=False)
    receive: bytes = field(repr=False)
