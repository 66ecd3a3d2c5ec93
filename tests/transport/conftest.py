"""What tests of our halves of aiortc's transceivers need."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from aiortc import RTCBundlePolicy, RTCConfiguration, RTCPeerConnection
from aiortc.rtcdtlstransport import RTCDtlsTransport


@pytest.fixture
async def dtls() -> AsyncIterator[RTCDtlsTransport]:
    """A DTLS transport that nothing was done with."""
    pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    yield pc.addTransceiver("audio").receiver.transport
    await pc.close()


@pytest.fixture
async def connection() -> AsyncIterator[RTCPeerConnection]:
    """One of aiortc's own, to look into."""
    pc = RTCPeerConnection(RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE))
    yield pc
    await pc.close()
