"""Sends a media session's packets the way that ICE has chosen."""

from __future__ import annotations

from voicecore._native.media_session import MediaSession
from voicecore.transport.media_path import RELAYED, SelectedPair


def follow(session: MediaSession, pair: SelectedPair | None) -> None:
    """Route ``session`` by the pair in use; None: nowhere."""
    if pair is None:
        session.unroute()
    elif pair.port == RELAYED:
        session.route_relayed()
    else:
        session.route(pair.port, pair.host, pair.udp_port)
